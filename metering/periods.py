"""Billing periods as rows: open (with carry-in), end, close. Every function here runs under the account's lock.

Opening and closing are idempotent: whoever needs a period first opens it, whole or not at all, and any crash is
repaired by the next run.
"""

import hashlib
import json
from datetime import datetime, timedelta

from accounts.models import Account
from metering import limits, sql
from metering.breakdown import CONTACT_UNITS, breakdown
from metering.carry_in import carry_in
from metering.facts import Crossing, Meter, PeriodFacts
from metering.models import BillingPeriod, PeriodState
from metering.record import add_crossings
from plans.models import Subscription, Unit
from plans.subscriptions import bounds, grace, in_force, subscriptions_of

# No accepted event is older than 35 days, so no older period than this is looked for.
_LOOK_BACK = timedelta(days=36)


def effective_limit(account: Account, subscription: Subscription) -> int | None:
    """The account's override, else the tier's limit; None is unlimited."""
    return account.limit_override if account.limit_override is not None else subscription.tier.limit


def recent_periods(account: Account, subscriptions: list[Subscription], now: datetime) -> list[PeriodFacts]:
    """The opened periods that an accepted event may belong to, and the newest one; in order of time."""
    of_account = BillingPeriod.objects.filter(account_id=account.pk)
    recent = of_account.filter(ends_at__gt=now - _LOOK_BACK).select_related("subscription__tier__plan")
    rows = list(recent.order_by("starts_at"))
    befores = [None, *rows]
    return [
        PeriodFacts(
            row.pk,
            row.starts_at,
            row.ends_at,
            closed=row.state == PeriodState.CLOSED or row.closes_at <= now,
            provisional=is_provisional(account, row, before, in_force(subscriptions, row.starts_at), now),
            meter=_meter(row, now),
        )
        for before, row in zip(befores, rows, strict=False)
    ]


def _meter(row: BillingPeriod, now: datetime) -> Meter | None:
    if row.limit is None or row.ends_at <= now:
        return None
    unit = row.subscription.tier.plan.unit
    return Meter(CONTACT_UNITS.get(Unit(unit)), getattr(row, unit), row.limit)


def note_crossings(row: BillingPeriod, at: datetime) -> None:
    """Store the thresholds that a period's count has reached without an event: at its opening, or by a new limit.

    Nothing follows from the count of a period that has ended.
    """
    used: int = getattr(row, row.subscription.tier.plan.unit)
    if row.limit is not None and at < row.ends_at:
        reached = limits.newly_crossed(0, used, row.limit)
        add_crossings(row.account_id, [Crossing(row.pk, row.limit, percent, used, at) for percent in reached])


def closed_unopened(
    account: Account, subscriptions: list[Subscription], at: datetime, now: datetime
) -> PeriodFacts | None:
    """The period of an instant that no opened one contains, if its grace is over: closed, though never opened."""
    if BillingPeriod.objects.filter(account_id=account.pk, starts_at__lte=at).exists():
        return None
    subscription = in_force(subscriptions, at)
    start, end = bounds(subscription, at)
    if end + grace(subscription) > now:
        return None
    return PeriodFacts(None, start, end, closed=True, provisional=False)


def open_for(account: Account, subscriptions: list[Subscription], at: datetime, now: datetime) -> None:
    """Open the period of an instant. The first period of an account may be any, also an earlier one in grace; after
    the newest, each period up to the instant is opened in turn."""
    newest = BillingPeriod.objects.filter(account_id=account.pk).order_by("-starts_at").first()
    if newest is None or at < newest.starts_at:
        if not BillingPeriod.objects.filter(account_id=account.pk, starts_at__lte=at, ends_at__gt=at).exists():
            _open(account, subscriptions, at, now)
        return
    while at >= newest.ends_at:
        newest = _open(account, subscriptions, newest.ends_at, now, starts_at=newest.ends_at)


def open_current(account: Account, subscriptions: list[Subscription], now: datetime) -> BillingPeriod | None:
    """The period that contains the account's clock, opened if need be; None while the account has no period."""
    current = BillingPeriod.objects.filter(account_id=account.pk, starts_at__lte=now, ends_at__gt=now)
    row = current.first()
    if row is None and BillingPeriod.objects.filter(account_id=account.pk).exists():
        open_for(account, subscriptions, now, now)
        row = current.first()
    return row


def _open(
    account: Account,
    subscriptions: list[Subscription],
    at: datetime,
    now: datetime,
    *,
    starts_at: datetime | None = None,
) -> BillingPeriod:
    """Open the period of an instant. After another it starts where that one ends, even if the zone's rules have
    changed since."""
    start, end = bounds(in_force(subscriptions, at), at)
    start = starts_at or start
    # An upgrade in mid-period holds for all of it: the one in force at its last moment so far.
    subscription = in_force(subscriptions, max(start, min(now, end - timedelta(microseconds=1))))
    row = BillingPeriod.objects.create(
        account=account,
        subscription=subscription,
        starts_at=start,
        ends_at=end,
        closes_at=end + grace(subscription),
        limit=effective_limit(account, subscription),
    )
    carry_in(row)
    row.refresh_from_db(fields=["active_contacts", "carried_in"])
    note_crossings(row, now)
    return row


def is_provisional(
    account: Account,
    row: BillingPeriod,
    before: BillingPeriod | None,
    subscription: Subscription,
    now: datetime,
) -> bool:
    """Whether the carry-in of a period may still be corrected: until the period before it closes.

    That one may not be opened, or not exist: nothing from before the sign-up is accepted.
    """
    if account.signed_up_at >= row.starts_at:
        return False
    if before is None:
        return now < row.starts_at + grace(subscription)
    return before.state != PeriodState.CLOSED and now < before.closes_at


def do_due_work(account: Account, as_of: datetime) -> bool:
    """End, open and close whatever is due for an account that has a period; say whether anything was."""
    newest = BillingPeriod.objects.filter(account_id=account.pk).order_by("-starts_at").first()
    if newest is None:
        return False
    if newest.ends_at <= as_of:
        open_for(account, subscriptions_of(account.pk), as_of, as_of)
    unclosed = BillingPeriod.objects.filter(account_id=account.pk).exclude(state=PeriodState.CLOSED)
    ended = unclosed.filter(state=PeriodState.OPEN, ends_at__lte=as_of).update(state=PeriodState.ENDED)
    due = list(unclosed.filter(closes_at__lte=as_of).order_by("starts_at"))
    for period in due:
        _close(period, as_of)
    return bool(newest.ends_at <= as_of or ended or due)


def next_due(account_id: int) -> datetime | None:
    """When the next period of an account ends or closes; None for an account without a period."""
    ends = BillingPeriod.objects.filter(account_id=account_id).order_by("-starts_at").values_list("ends_at", flat=True)
    closes = BillingPeriod.objects.filter(account_id=account_id).exclude(state=PeriodState.CLOSED)
    first = closes.order_by("closes_at").values_list("closes_at", flat=True).first()
    newest_end = ends.first()
    return min((at for at in (first, newest_end) if at is not None), default=None)


def _close(period: BillingPeriod, as_of: datetime) -> None:
    """Freeze totals, breakdown and a checksum; later events of the period are `late`."""
    unit = period.subscription.tier.plan.unit
    period.breakdown = breakdown(period, unit)
    period.checksum = checksum(period)
    period.state = PeriodState.CLOSED
    period.closed_at = as_of
    period.save(update_fields=["breakdown", "checksum", "state", "closed_at"])


def checksum(period: BillingPeriod) -> str:
    """SHA-256 (hex) of a period's bounds, totals, limit and breakdown, and of who counts in it and why, in no order.

    Contacts enter by id, so erasing their addresses does not change it.
    """
    [[contacts]] = sql.run(
        """SELECT coalesce(sum(hashtextextended(unit || ':' || contact_id || ':' || reasons || ':' || carried_in, 0)
                               ::numeric), 0)::text
           FROM metering_countedcontact WHERE account_id = %s AND period_id = %s""",
        (period.account_id, period.pk),
    )
    facts = (
        period.starts_at.isoformat(),
        period.ends_at.isoformat(),
        period.app_connector_events,
        period.active_contacts,
        period.activated_contacts,
        period.carried_in,
        period.limit,
        json.dumps(period.breakdown, sort_keys=True),
        contacts,
    )
    return hashlib.sha256("|".join(map(str, facts)).encode()).hexdigest()


def accounts_with_due_work(as_of: datetime) -> list[int]:
    """The accounts, on the wall clock, that have a period to end, open or close."""
    rows = sql.run(
        """SELECT DISTINCT period.account_id
           FROM metering_billingperiod AS period
           JOIN metering_accountmeter AS meter ON meter.account_id = period.account_id
           WHERE meter.clock IS NULL
             AND ((period.state = 'open' AND period.ends_at <= %s)
                  OR (period.state <> 'closed' AND period.closes_at <= %s))
           ORDER BY period.account_id""",
        (as_of, as_of),
    )
    return [account_id for (account_id,) in rows]
