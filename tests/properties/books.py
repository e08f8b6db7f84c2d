"""What is stored about an account, in the words of the oracle; and what must be true of it at any moment."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.apps import apps
from django.db import connection

from accounts.models import Account
from metering.breakdown import breakdown
from metering.catalogue import reasons_in
from metering.lock import locked
from metering.models import (
    AccountMeter,
    BillingPeriod,
    Contact,
    CountedContact,
    CountedDay,
    LeadScore,
    OutcomeTally,
    SyncMember,
)
from metering.periods import do_due_work
from metering.reconcile import differences
from metering.usage import totals, usage
from tests.properties.oracle import (
    ACTIVATED,
    ACTIVE,
    EVENT_UNIT,
    Count,
    Expected,
    Happening,
    accepted,
    expected,
    last_changes,
)
from tests.properties.world import LINKS, PERIODS, Beforehand

Came = Mapping[Happening, datetime]
"""What came in, and when first."""


def run_scheduler(account: Account, now: datetime) -> None:
    """Whatever is due for the account is done."""
    with locked(account.pk):
        do_due_work(account, now)


def come_by(account: Account, who: Beforehand, now: datetime) -> None:
    """Someone who needs the present period, or nobody."""
    if who == "a read":
        usage(account, now)
    elif who == "the scheduler":
        run_scheduler(account, now)


def opened(account: Account) -> list[BillingPeriod]:
    """The periods of an account, in order of time."""
    periods = BillingPeriod.objects.filter(account_id=account.pk).order_by("starts_at")
    return list(periods.select_related("account", "subscription__tier__plan"))


def who_counts(period: BillingPeriod) -> dict[tuple[str, str], Count]:
    """Who counts in a period, in which unit, and why."""
    sources = dict(period.account.connections.values_list("pk", "key"))
    counted = CountedContact.objects.filter(account_id=period.account_id, period=period)
    who = {}
    for row in counted.select_related("contact"):
        first = None if row.first_at is None else (row.first_at, row.first_source, row.first_key)
        count = Count(first=first)
        for link, given, carried in zip(row.connections, row.event_reasons, row.carried_reasons, strict=True):
            count.given |= {(sources[link], reason.label) for reason in reasons_in(given)}
            count.carried |= {(sources[link], reason.label) for reason in reasons_in(carried)}
        key = (row.get_unit_display(), row.contact.identity)
        assert key not in who, "a contact counts twice"
        who[key] = count
    return who


def check_is_exact(account: Account, came: Came) -> None:
    """Every number, reason, first cause and state is what the oracle says of what came."""
    kept = {period.starts_at: period for period in opened(account)}
    for start, end in PERIODS:
        should_be = expected(came, LINKS, start, end)
        if start in kept:
            _check_period(kept[start], should_be)
        else:
            assert not should_be.events, "a period with events was not opened"
            assert not any(count.given for count in should_be.who.values())
    assert {*kept} <= {start for start, _ in PERIODS}
    stored = [it for it in came if accepted(it, LINKS)]
    assert states(account) == {key: _state_left_by(it) for key, it in last_changes(stored, LINKS).items()}
    known = AccountMeter.objects.get(account_id=account.pk).contacts_known
    assert known == len({it.person for it in stored})


def _state_left_by(it: Happening) -> tuple[Any, ...]:
    refused_since = it.at if it.name == "refused" else None
    return it.holds, it.at, it.key, refused_since, it.data.get("expires_at") if it.holds else None


def _check_period(period: BillingPeriod, should_be: Expected) -> None:
    who = should_be.who
    assert who_counts(period) == who
    assert period.carried_in == sum(bool(count.carried) for count in who.values())
    people = {unit: [count for (of, _), count in who.items() if of == unit] for unit in (ACTIVE, ACTIVATED)}
    assert totals(period) == {
        EVENT_UNIT: should_be.events.total(),
        **{unit: len(counts) for unit, counts in people.items()},
    }
    for unit, counts in people.items():
        zone = ZoneInfo(period.account.timezone)
        new = [count.first[0].astimezone(zone).date() for count in counts if count.first and not count.carried]
        assert days_of(period, unit) == Counter(new)
        places = [count.given | count.carried for count in counts]
        assert breakdown_in(period, unit) == (
            Counter(reason for place in places for reason in {reason for _, reason in place}),
            Counter(source for place in places for source in {source for source, _ in place}),
        )
    by_type: Counter[str] = Counter()
    by_source: Counter[str] = Counter()
    for (source, kind), events in should_be.events.items():
        by_type[kind] += events
        by_source[source] += events
    assert breakdown_in(period, EVENT_UNIT) == (by_type, by_source)


def days_of(period: BillingPeriod, unit: str) -> Counter[date]:
    """What each local day added to a period's count in a unit."""
    code = {EVENT_UNIT: 0, ACTIVE: 1, ACTIVATED: 2}[unit]
    days = CountedDay.objects.filter(account_id=period.account_id, period=period, unit=code)
    return Counter({day: counted for day, counted in days.values_list("day", "counted") if counted})


def breakdown_in(period: BillingPeriod, unit: str) -> tuple[Counter[str], Counter[str]]:
    """A period's breakdown in a unit: by reason (or type) and by connection."""
    number, what = ("events", "type") if unit == EVENT_UNIT else ("contacts", "reason")
    lists = breakdown(period, unit)
    return (
        Counter({row[what]: row[number] for row in lists["by_reason"]}),
        Counter({row["connection"]: row[number] for row in lists["by_connection"]}),
    )


def states(account: Account) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    """Every membership and score: whether it holds, since when, by which event, refused since when, until when."""
    found: dict[tuple[str, str, str], tuple[Any, ...]] = {}
    for member in SyncMember.objects.filter(account_id=account.pk).select_related("contact", "connection"):
        key = (member.contact.identity, member.connection.key, "contact_sync")
        found[key] = (member.holds, member.changed_at, member.changed_by, member.refused_since, None)
    for score in LeadScore.objects.filter(account_id=account.pk).select_related("contact", "connection"):
        key = (score.contact.identity, score.connection.key, "lead_score")
        found[key] = (score.holds, score.changed_at, score.changed_by, None, score.expires_at)
    return found


def check_books(account: Account) -> None:
    """What is true of any account at any moment: a recount agrees, the lists sum up, nobody counts twice."""
    assert differences(account) == []
    known = Contact.objects.filter(account_id=account.pk).count()
    for period in opened(account):
        for parts in breakdown_in(period, EVENT_UNIT):
            assert parts.total() == period.app_connector_events
        counted = CountedContact.objects.filter(account_id=account.pk, period=period)
        for unit, used in [(1, period.active_contacts), (2, period.activated_contacts)]:
            contacts = counted.filter(unit=unit).values_list("contact", flat=True)
            assert used == len(contacts) == len(set(contacts)) <= known
        new = totals(period) | {ACTIVE: period.active_contacts - period.carried_in}
        assert {unit: days_of(period, unit).total() for unit in new} == new
        assert period.carried_in <= period.active_contacts


def tallied(account: Account) -> Counter[str]:
    """Deliveries by outcome, over all periods."""
    found: Counter[str] = Counter()
    for row in OutcomeTally.objects.filter(account_id=account.pk):
        found[row.outcome] += row.deliveries
    return found


def everything_stored() -> dict[str, str]:
    """What every table of ours holds, as one digest each."""
    tables = [
        model._meta.db_table
        for app in ("accounts", "plans", "metering")
        for model in apps.get_app_config(app).get_models()
    ]
    digests = {}
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(
                f"SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} AS t"  # noqa: S608 - our own tables
            )
            [digests[table]] = cursor.fetchone() or [""]
    return digests
