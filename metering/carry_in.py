"""Count members and live scores into a period that opens: the state at its start, by event time (DESIGN section 6)."""

from datetime import datetime
from typing import Any

from accounts.models import Connection
from metering import sql
from metering.catalogue import ContactUnit, Reason
from metering.models import BillingPeriod
from metering.state import connection_facts

# The state at a start, a row per contact and connection. Which transition was the last before the start: the last of
# all, or the one kept beside it. `set_at`: when a score was set; `by_setting`: none has an expiry of its own.
STATE_AT_START = """
  SELECT contact_id, connection_id, bit_or(reason) AS reason, max(set_at) AS set_at, bool_and(by_setting) AS by_setting
  FROM (
    SELECT contact_id, connection_id, %(synced)s::int AS reason, NULL::timestamptz AS set_at, true AS by_setting
    FROM metering_syncmember
    WHERE account_id = %(account)s AND connection_id = ANY(%(connections)s::bigint[])
      AND CASE WHEN changed_at < %(start)s THEN holds
               ELSE coalesce(prior_holds AND prior_changed_at < %(start)s, false) END
    UNION ALL
    SELECT score.contact_id, score.connection_id, %(scored)s::int, score.set_at, score.expires_at IS NULL
    FROM (
      SELECT contact_id, connection_id,
             CASE WHEN changed_at < %(start)s THEN holds
                  ELSE coalesce(prior_holds AND prior_changed_at < %(start)s, false) END AS holds,
             CASE WHEN changed_at < %(start)s THEN changed_at ELSE prior_changed_at END AS set_at,
             CASE WHEN changed_at < %(start)s THEN expires_at ELSE prior_expires_at END AS expires_at
      FROM metering_leadscore WHERE account_id = %(account)s
    ) AS score
    JOIN unnest(%(connections)s::bigint[], %(expiries)s::interval[]) AS enabled (connection_id, expiry)
      ON enabled.connection_id = score.connection_id
    WHERE score.holds
      AND (coalesce(score.expires_at, score.set_at + enabled.expiry) > %(start)s
           OR (score.expires_at IS NULL AND enabled.expiry IS NULL))
  ) AS state
  GROUP BY contact_id, connection_id
"""

_CARRY_IN = f"""
INSERT INTO metering_countedcontact
  (account_id, period_id, unit, contact_id, reasons, carried_in, connections, event_reasons, carried_reasons,
   scored_at)
SELECT %(account)s, %(period)s, %(unit)s, contact_id, bit_or(reason), true,
       array_agg(connection_id ORDER BY connection_id), array_fill(0, ARRAY[count(*)::int]),
       array_agg(reason ORDER BY connection_id), CASE WHEN bool_and(by_setting) THEN max(set_at) END
FROM ({STATE_AT_START}) AS place
GROUP BY contact_id
"""  # noqa: S608 - both are texts of this file

_TALLY_REASONS = """
INSERT INTO metering_reasonsettally (account_id, period_id, unit, reasons, contacts)
SELECT account_id, period_id, unit, reasons, count(*) FROM metering_countedcontact
WHERE account_id = %(account)s AND period_id = %(period)s GROUP BY account_id, period_id, unit, reasons
"""

_TALLY_CONNECTIONS = """
INSERT INTO metering_connectiontally (account_id, period_id, unit, connection_id, contacts, only_here)
SELECT account_id, period_id, unit, connection_id, count(*), count(*) FILTER (WHERE cardinality(connections) = 1)
FROM metering_countedcontact, unnest(connections) AS connection_id
WHERE account_id = %(account)s AND period_id = %(period)s GROUP BY account_id, period_id, unit, connection_id
"""

_TOTAL = """
UPDATE metering_billingperiod AS period SET active_contacts = counted.contacts, carried_in = counted.contacts
FROM (SELECT count(*) AS contacts FROM metering_countedcontact
      WHERE account_id = %(account)s AND period_id = %(period)s) AS counted
WHERE period.account_id = %(account)s AND period.id = %(period)s
"""


def carry_in(period: BillingPeriod) -> None:
    """Count whoever is a member or has a live score at the start of a period that was just made.

    A connection that was disabled at the start carries nothing in.
    """
    state = parameters_of_state(period.account_id, period.starts_at)
    if not state["connections"]:
        return
    parameters = {**state, "period": period.pk, "unit": ContactUnit.ACTIVE.value}
    for statement in (_CARRY_IN, _TALLY_REASONS, _TALLY_CONNECTIONS, _TOTAL):
        sql.run(statement, parameters)


def parameters_of_state(account_id: int, start: datetime) -> dict[str, Any]:
    """What `STATE_AT_START` asks for; `connections` are those that were enabled then."""
    enabled = [
        facts
        for facts in map(connection_facts, Connection.objects.filter(account_id=account_id))
        if facts.enabled_at(start)
    ]
    return {
        "account": account_id,
        "synced": Reason.CONTACT_SYNC.value,
        "scored": Reason.LEAD_SCORE.value,
        "start": start,
        "connections": [facts.id for facts in enabled],
        "expiries": [
            None if facts.score_expiry_days is None else f"{facts.score_expiry_days} days" for facts in enabled
        ],
    }
