"""Accounts of any size in no time: counted contacts, states and tallies written by the database itself."""

from datetime import datetime, timedelta

from accounts.models import Account
from metering import sql
from metering.models import BillingPeriod
from metering.registration import put_account, put_connection
from metering.usage import ensure_current

CONNECTIONS = {
    "crm-sync": "contact_sync",
    "shop-sync": "contact_sync",
    "mailer": "engagement",
    "tracker": "web_tracking",
    "scoring": "lead_scoring",
    "seldom": "engagement",
}

# Of a hundred contacts 10 have only a lead score, 30 are only members of a sync, and the others have several reasons
# on several connections. One in 20,000 filled in a form, on the connection `seldom`; one in 5,000 is refused.
_CONTACTS = """
INSERT INTO metering_contact (account_id, identity, display, last_engaged_at)
SELECT %(account)s, name, name, %(start)s::timestamptz
FROM (SELECT 'person-' || place || '@example.com' AS name FROM generate_series(1, %(contacts)s) AS place) AS people
"""

_COUNTED = """
INSERT INTO metering_countedcontact (account_id, period_id, unit, contact_id, reasons, carried_in, connections,
  event_reasons, carried_reasons, first_at, first_source, first_key, first_type,
  first_on, scored_at)
SELECT %(account)s, %(period)s, 1, id,
       CASE WHEN kind < 10 THEN 1024 WHEN kind < 40 THEN 1 WHEN seldom THEN 2 + 4 + 64 ELSE 2 + 4 + 512 END,
       kind < 40,
       CASE WHEN kind < 10 THEN ARRAY[%(scoring)s::bigint]
            WHEN kind < 40 THEN ARRAY[CASE kind %% 2 WHEN 0 THEN %(crm)s::bigint ELSE %(shop)s::bigint END]
            WHEN seldom THEN ARRAY[%(mailer)s::bigint, %(seldom)s::bigint]
            ELSE ARRAY[%(mailer)s::bigint, %(tracker)s::bigint] END,
       CASE WHEN kind < 40 THEN ARRAY[0] WHEN seldom THEN ARRAY[2 + 4, 64] ELSE ARRAY[2 + 4, 512] END,
       CASE WHEN kind < 10 THEN ARRAY[1024] WHEN kind < 40 THEN ARRAY[1] ELSE ARRAY[0, 0] END,
       CASE WHEN kind >= 40 THEN %(start)s::timestamptz + interval '1 hour' END,
       CASE WHEN kind >= 40 THEN 'mailer' ELSE '' END,
       CASE WHEN kind >= 40 THEN 'event ' || id ELSE '' END,
       CASE WHEN kind >= 40 THEN 10 END,
       CASE WHEN kind >= 40 THEN ((%(start)s::timestamptz + interval '1 hour') AT TIME ZONE 'UTC')::date END,
       CASE WHEN kind < 10 THEN %(start)s::timestamptz - (id %% 89 + 1) * interval '1 day' END
FROM (SELECT id, id %% 100 AS kind, id %% 20000 = 77 AS seldom FROM metering_contact
      WHERE account_id = %(account)s ORDER BY id) AS contact
"""

_SCORES = """
INSERT INTO metering_leadscore (account_id, contact_id, connection_id, holds, changed_at, changed_by, value)
SELECT %(account)s, id, %(scoring)s, true, %(start)s::timestamptz - (id %% 89 + 1) * interval '1 day', 'score ' || id, 5
FROM metering_contact WHERE account_id = %(account)s AND id %% 100 < 10
"""

_MEMBERS = """
INSERT INTO metering_syncmember (account_id, contact_id, connection_id, holds, changed_at, changed_by, refused_since)
SELECT %(account)s, id, CASE id %% 2 WHEN 0 THEN %(crm)s ELSE %(shop)s END, true,
       %(start)s::timestamptz - interval '1 day', 'match ' || id,
       CASE WHEN id %% 5000 = 11 THEN %(start)s::timestamptz - interval '1 day' END
FROM metering_contact WHERE account_id = %(account)s AND id %% 100 BETWEEN 10 AND 39
"""

_TALLIES = (
    """INSERT INTO metering_reasonsettally (account_id, period_id, unit, reasons, contacts)
       SELECT account_id, period_id, unit, reasons, count(*) FROM metering_countedcontact
       WHERE account_id = %(account)s GROUP BY account_id, period_id, unit, reasons""",
    """INSERT INTO metering_connectiontally (account_id, period_id, unit, connection_id, contacts, only_here)
       SELECT account_id, period_id, unit, link, count(*), count(*) FILTER (WHERE cardinality(connections) = 1)
       FROM metering_countedcontact, unnest(connections) AS link
       WHERE account_id = %(account)s GROUP BY account_id, period_id, unit, link""",
    """INSERT INTO metering_countedday (account_id, period_id, unit, day, counted)
       SELECT account_id, period_id, unit, first_on, count(*) FROM metering_countedcontact
       WHERE account_id = %(account)s AND first_on IS NOT NULL GROUP BY account_id, period_id, unit, first_on""",
    """UPDATE metering_billingperiod SET active_contacts = counted.contacts, carried_in = counted.carried_in
       FROM (SELECT count(*) AS contacts, count(*) FILTER (WHERE carried_in) AS carried_in
             FROM metering_countedcontact WHERE account_id = %(account)s) AS counted
       WHERE account_id = %(account)s""",
    """UPDATE metering_accountmeter SET contacts_known = %(contacts)s WHERE account_id = %(account)s""",
)

TABLES = ("contact", "countedcontact", "leadscore", "syncmember", "reasonsettally", "connectiontally", "countedday")


def filled_account(slug: str, contacts: int, now: datetime) -> Account:
    """An account whose current period counts so many active contacts."""
    fields = {"signed_up_at": now - timedelta(days=400), "limit_override": 10_000_000}
    account, _ = put_account(slug, fields, actor="benchmark", now=now)
    links = {
        key: put_connection(account, key, {"kind": kind}, actor="benchmark", now=now - timedelta(days=399))[0].pk
        for key, kind in CONNECTIONS.items()
    }
    ensure_current(account, now)
    period = BillingPeriod.objects.get(account=account)
    parameters = {
        "account": account.pk,
        "period": period.pk,
        "start": period.starts_at,
        "contacts": contacts,
        "crm": links["crm-sync"],
        "shop": links["shop-sync"],
        **{name: links[name] for name in ("mailer", "tracker", "scoring", "seldom")},
    }
    for statement in (_CONTACTS, _COUNTED, _SCORES, _MEMBERS, *_TALLIES):
        sql.run(statement, parameters)
    for table in TABLES:
        sql.run(f"VACUUM ANALYZE metering_{table}")
    return account
