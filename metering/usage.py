"""The read side: what an account has used, of what, and where it came from. No read counts raw events."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from accounts.models import Account, Connection
from metering import limits
from metering.breakdown import breakdown
from metering.catalogue import BY_CODE, BY_NAME, Family
from metering.daily import curve
from metering.forecast import Forecast, forecast
from metering.lock import locked
from metering.models import (
    AccountMeter,
    BillingPeriod,
    ConnectionDay,
    LimitState,
    OutcomeTally,
    PeriodState,
    ThresholdCrossing,
)
from metering.periods import current_period, is_provisional, open_for, period_at
from metering.policy import enabled_connections, policy_of
from metering.sql import one_snapshot
from metering.state import own_pause
from plans.calendar import local_day
from plans.models import Unit
from plans.subscriptions import in_force, subscriptions_of

_STANDSTILLS = (LimitState.HOLDING, LimitState.LIMITING, LimitState.PAUSED)


class UnknownPeriod(LookupError):
    """The account has no billing period that starts then."""


def clock_of(account: Account, now: datetime) -> datetime:
    """The account's time: its own while history is imported, else the wall clock."""
    meter = AccountMeter.objects.only("clock").get(account_id=account.pk)
    return meter.clock or now


def ensure_current(account: Account, at: datetime) -> None:
    """Open the period that contains an instant if nobody has. Raises `AccountBusy`."""
    if period_at(account.pk, at) is None and (account.closed_at is None or at < account.closed_at):
        with locked(account.pk):
            open_for(Account.objects.get(pk=account.pk), subscriptions_of(account.pk), at, at)


def usage(account: Account, now: datetime) -> dict[str, Any]:
    """An account's usage in its current billing period, in the shape of DESIGN section 7. Raises `AccountBusy`."""
    at = clock_of(account, now)
    ensure_current(account, at)
    with one_snapshot():
        period = current_period(account.pk, at)
        if period is None:
            raise UnknownPeriod(f"no period of account {account.slug} contains {at}")
        return _usage_of(account, period, at)


def _usage_of(account: Account, period: BillingPeriod, at: datetime) -> dict[str, Any]:
    unit = period.subscription.tier.plan.unit
    used: int = getattr(period, unit)
    carried_in = period.carried_in if unit == Unit.ACTIVE_CONTACTS else 0
    subscriptions = subscriptions_of(account.pk)
    before = BillingPeriod.objects.filter(account_id=account.pk, starts_at__lt=period.starts_at)
    provisional = is_provisional(
        account,
        period,
        before.order_by("-starts_at").first(),
        in_force(subscriptions, period.starts_at),
        at,
    )
    paused = own_pause(account, in_force(subscriptions, at), at) is not None
    return {
        "account": account.slug,
        "plan": period.subscription.tier.plan.key,
        "tier": period.subscription.tier.key,
        "unit": unit,
        "period": {
            "start": period.starts_at,
            "end": period.ends_at,
            "state": state_at(period, at),
            "provisional": provisional,
        },
        "used": used,
        "limit": period.limit,
        "remaining": limits.remaining(used, period.limit),
        "percent": limits.percent(used, period.limit),
        "state": limits.standing(used, period.limit, limit_state=period.limit_state, paused=paused),
        "carried_in": carried_in,
        "new": used - carried_in,
        **breakdown(period, unit),
        "totals": totals(period),
        "contacts_known": AccountMeter.objects.only("contacts_known").get(account_id=account.pk).contacts_known,
        "outcomes": _outcomes(account, period),
        "thresholds": thresholds(period),
        "at_limit": at_limit(account, period),
        "forecast": forecast_of(account, period, at, paused=paused)._asdict(),
    }


def forecast_of(account: Account, period: BillingPeriod, at: datetime, *, paused: bool) -> Forecast:
    """Where a period's count will stand at its end. `paused`: the account, by staff or as its trial has ended."""
    closed = account.closed_at is not None and account.closed_at <= at
    stands = paused or closed or period.limit_state in _STANDSTILLS
    return forecast(curve(period, account.timezone), period.limit, local_day(at, account.timezone), stands=stands)


def thresholds(period: BillingPeriod) -> list[dict[str, Any]]:
    """The thresholds that a period has crossed, in order, and when the mail that tells of each was sent."""
    crossings = ThresholdCrossing.objects.filter(account_id=period.account_id, period_id=period.pk)
    rows = crossings.select_related("notification").order_by("crossed_at", "pk")
    return [
        {
            "percent": row.percent,
            "limit": row.limit,
            "crossed_at": row.crossed_at,
            "notified_at": None if row.notification is None else row.notification.sent_at,
        }
        for row in rows
    ]


def at_limit(account: Account, period: BillingPeriod) -> dict[str, Any]:
    """What happens with the first event that would exceed the limit, and every enabled connection that has a say in it.

    `action` is null for an unlimited period: there nothing happens.
    """
    connections = enabled_connections(account.pk)
    action = policy_of(account, period.subscription, connections).action
    return {
        "action": None if period.limit is None else action,
        "because": [{"connection": row.key, "replayable": row.replayable} for row in connections],
    }


def state_at(period: BillingPeriod, at: datetime) -> str:
    """A period's state by the clock: the stored one may lag behind until the scheduler has run."""
    if period.state == PeriodState.OPEN and period.ends_at <= at:
        return PeriodState.ENDED.value
    return period.state


def totals(period: BillingPeriod) -> dict[str, int]:
    """A period's count in each of the three units, whatever the plan charges by."""
    return {unit.value: getattr(period, unit) for unit in Unit}


def _outcomes(account: Account, period: BillingPeriod) -> dict[str, int]:
    tallies = OutcomeTally.objects.filter(account_id=account.pk, period_starts_at=period.starts_at)
    return dict(tallies.order_by("outcome").values_list("outcome", "deliveries"))


def period_row(period: BillingPeriod, at: datetime) -> dict[str, Any]:
    """A period as a row of the history. The checksum is null until it is closed."""
    tier = period.subscription.tier
    unit = tier.plan.unit
    used: int = getattr(period, unit)
    carried_in = period.carried_in if unit == Unit.ACTIVE_CONTACTS else 0
    return {
        "start": period.starts_at,
        "end": period.ends_at,
        "state": state_at(period, at),
        "plan": tier.plan.key,
        "tier": tier.key,
        "unit": unit,
        "used": used,
        "limit": period.limit,
        "carried_in": carried_in,
        "new": used - carried_in,
        "totals": totals(period),
        "checksum": period.checksum or None,
    }


def period_starting(account: Account, start: datetime) -> BillingPeriod:
    """The period of an account that starts at an instant. Raises `UnknownPeriod`."""
    periods = BillingPeriod.objects.select_related("subscription__tier__plan")
    row = periods.filter(account_id=account.pk, starts_at=start).first()
    if row is None:
        raise UnknownPeriod(f"no period of account {account.slug} starts at {start}")
    return row


def connection_status(link: Connection, first_day: date, last_day: date) -> dict[str, Any]:
    """What a connection did on whole local days, both inclusive: recorded events by family, type and day.

    `contact_events` and `engagement_events` are the billable ones of their family; `by_type` and `daily` list every
    type, and every day of the range.
    """
    tallies = ConnectionDay.objects.filter(
        account_id=link.account_id, connection_id=link.pk, day__range=(first_day, last_day), events__gt=0
    )
    by_type: defaultdict[str, int] = defaultdict(int)
    by_day: defaultdict[date, dict[str, int]] = defaultdict(dict)
    for day, code, events in tallies.order_by("day", "type").values_list("day", "type", "events"):
        by_type[BY_CODE[code].name] += events
        by_day[day][BY_CODE[code].name] = events
    days = (last_day - first_day).days + 1
    return {
        "connection": link.key,
        "from": first_day,
        "to": last_day,
        **_billable_events(by_type),
        "by_type": dict(sorted(by_type.items())),
        "daily": [_day_row(first_day + timedelta(days=place), by_day) for place in range(days)],
    }


def _day_row(day: date, by_day: Mapping[date, dict[str, int]]) -> dict[str, Any]:
    by_type = by_day.get(day, {})
    return {"date": day, **_billable_events(by_type), "by_type": by_type}


def _billable_events(by_type: Mapping[str, int]) -> dict[str, int]:
    """The billable events of the two families that the Status page tells apart."""
    events = {Family.CONTACT: 0, Family.ENGAGEMENT: 0}
    for name, number in by_type.items():
        kind = BY_NAME[name]
        if kind.billable and kind.family in events:
            events[kind.family] += number
    return {"contact_events": events[Family.CONTACT], "engagement_events": events[Family.ENGAGEMENT]}
