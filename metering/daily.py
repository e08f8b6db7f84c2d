"""What each local day added to an account's count, and what was recorded on it: read from the maintained tallies."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Sum

from accounts.models import Account
from metering.breakdown import CONTACT_UNITS
from metering.catalogue import BY_CODE
from metering.forecast import Curve
from metering.models import EVENT_UNIT, BillingPeriod, ConnectionDay, CountedDay
from plans.calendar import local_day
from plans.models import Unit

_ONE_DAY = timedelta(days=1)


def daily(account: Account, first: date, last: date) -> list[dict[str, Any]]:
    """Every day of a range of local days, both inclusive: what it added to the count of its period, in the unit of that
    period's plan, and the recorded events by type. In four queries."""
    new = _new_by_day(account, first, last)
    by_type: defaultdict[date, dict[str, int]] = defaultdict(dict)
    tallies = ConnectionDay.objects.filter(account_id=account.pk, day__range=(first, last))
    sums = tallies.values_list("day", "type").annotate(total=Sum("events")).filter(total__gt=0)
    for day, code, events in sums.order_by("day", "type"):
        by_type[day][BY_CODE[code].name] = events
    return [
        {
            "date": day,
            "new_counted": new.get(day, 0),
            "events": sum(by_type[day].values()),
            "by_type": dict(sorted(by_type[day].items())),
        }
        for day in _days(first, last)
    ]


def _new_by_day(account: Account, first: date, last: date) -> dict[date, int]:
    """What is new on each day; one that belongs to two periods adds to both."""
    rows = CountedDay.objects.filter(account_id=account.pk, day__range=(first, last))
    units = _units(account, {period_id for (period_id,) in rows.values_list("period_id").distinct()})
    new: defaultdict[date, int] = defaultdict(int)
    for period_id, unit, day, counted in rows.values_list("period_id", "unit", "day", "counted"):
        if units[period_id] == unit:
            new[day] += counted
    return new


def _units(account: Account, periods: set[int]) -> dict[int, int]:
    """The stored unit that each period's plan charges by."""
    rows = BillingPeriod.objects.filter(account_id=account.pk, pk__in=periods)
    return {pk: stored_unit(unit) for pk, unit in rows.values_list("pk", "subscription__tier__plan__unit")}


def stored_unit(unit: str) -> int:
    """A plan's unit as `CountedDay` stores it."""
    return EVENT_UNIT if unit == Unit.APP_CONNECTOR_EVENTS else CONTACT_UNITS[Unit(unit)].value


def curve(period: BillingPeriod, zone: str) -> Curve:
    """A period's curve in the unit of its plan, by the local days of a zone."""
    unit = period.subscription.tier.plan.unit
    days = CountedDay.objects.filter(account_id=period.account_id, period_id=period.pk, unit=stored_unit(unit))
    first, last = days_of(period, zone)
    return Curve(
        first,
        last,
        period.carried_in if unit == Unit.ACTIVE_CONTACTS else 0,
        dict(days.values_list("day", "counted")),
        saturates=unit != Unit.APP_CONNECTOR_EVENTS,
    )


def days_of(period: BillingPeriod, zone: str) -> tuple[date, date]:
    """The first and the last local day of a period."""
    last_moment: datetime = period.ends_at - timedelta(microseconds=1)
    return local_day(period.starts_at, zone), local_day(last_moment, zone)


def _days(first: date, last: date) -> Iterator[date]:
    return (first + place * _ONE_DAY for place in range((last - first).days + 1))
