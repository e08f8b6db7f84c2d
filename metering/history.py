"""Replay history into an account as if it were live, by a clock of the account's own (DESIGN section 8).

Take the clock, replay the events in batches, release the clock. The clock moves forward with the events, and
whatever falls due on the way (a period's end, its closing) is done at its own time, between two events. What is
interrupted is repeated from the start: what was stored is a duplicate then, and the clock goes on from where it
stands.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from accounts.models import Account
from accounts.refusals import Refused
from metering import models
from metering.decide import Clock
from metering.envelope import Event, Refusal
from metering.intake import ItemOutcome, UsageSummary, summary, take_in_locked
from metering.lock import locked
from metering.models import AccountMeter, BillingPeriod
from metering.resolve import resolve
from metering.state import connections_of
from metering.upkeep import do_due_work, next_due, settle_history
from plans.models import Subscription
from plans.subscriptions import bounds, grace, in_force, subscriptions_of

# Due moments done in one transaction on release: others wait for the account's lock for two seconds at most.
_AT_ONCE = 50
_BEFORE_ALL_TIME = datetime.min.replace(tzinfo=UTC)
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)  # for the clock; well inside the billing calendar


def take_clock(account: Account, now: datetime) -> None:
    """Give an account a clock of its own, or leave it the one that it has.

    It starts at the sign-up, or where an earlier history ended. Raises `Refused` (`account_is_live`) if the
    account holds events taken in by the wall clock, and `AccountBusy`.
    """
    with locked(account.pk) as meter:
        if meter.holds_live_events:
            detail = "The account holds events taken in by the wall clock; history cannot be replayed into it."
            raise Refused("account_is_live", detail)
        if meter.clock is None:
            _forget_unused_periods(account.pk)
            _set_clock(account.pk, _end_of_history(account, now))


def replay(account: Account, items: Sequence[Event | Refusal], now: datetime) -> tuple[list[ItemOutcome], UsageSummary]:
    """Take in a batch of history, in one transaction; the account's clock never passes `now`, the wall clock.

    The batch is cut into runs such that nothing falls due within a run, and what is due is done before each.
    Raises `AccountBusy`, and `Refused` (`clock_released`) if the account has no clock of its own.
    """
    outcomes: list[ItemOutcome] = []
    with locked(account.pk) as meter:
        if meter.clock is None:
            detail = "The account's clock was released while its history was replayed."
            raise Refused("clock_released", detail)
        account = Account.objects.get(pk=account.pk)
        subscriptions = subscriptions_of(account.pk)
        times = _times(account, items)
        clock = Clock(_start_of_batch(meter, times), moves_until=now)
        run: list[Event | Refusal] = []
        started, turn = clock, _BEFORE_ALL_TIME
        for item, at in zip(items, times, strict=True):
            clock = clock if at is None else clock.after(at)
            if clock.reading >= turn:
                outcomes += take_in_locked(account, subscriptions, run, started, live=False)
                _do_due_until(account, clock.reading)
                account.refresh_from_db()
                subscriptions = subscriptions_of(account.pk)
                run, started, turn = [], clock, _next_turn(account, subscriptions, clock.reading)
            run.append(item)
        outcomes += take_in_locked(account, subscriptions, run, started, live=False)
        _set_clock(account.pk, clock.reading)
        after = summary(account, subscriptions_of(account.pk), clock.reading)
    return outcomes, after


def release_clock(account: Account, now: datetime) -> None:
    """Do what is due up to the wall clock, each at its own time, and put the account back on the wall clock.

    In several transactions, as there may be decades of periods; after an interruption call it again. Raises
    `AccountBusy`.
    """
    released = False
    while not released:
        with locked(account.pk) as meter:
            if meter.clock is None:
                return
            account = Account.objects.get(pk=account.pk)  # an upgrade, say, has changed it
            _forget_unused_periods(account.pk)
            last = _do_due_until(account, now, at_most=_AT_ONCE)
            released = last is None
            if released:
                settle_history(account, now)
            _set_clock(account.pk, None if last is None else max(last, meter.clock))


def _times(account: Account, items: Sequence[Event | Refusal]) -> list[datetime | None]:
    """When each item happened; None for one that is refused for its form, which moves no clock."""
    events = [item for item in items if isinstance(item, Event)]
    arrivals, _ = resolve(events, connections_of(account.pk, (event.source for event in events)))
    at = {arrival.index: arrival.time for arrival in arrivals}
    return [at.get(item.index) for item in items]


def _start_of_batch(meter: AccountMeter, times: Sequence[datetime | None]) -> datetime:
    """What the clock reads before a batch: until an event is stored, no later than the first of the batch.

    So an event from long before the sign-up is refused for that, and not for being old.
    """
    reading = meter.clock
    assert reading is not None  # noqa: S101 - the caller has looked
    if _forget_unused_periods(meter.account_id):
        first = next((at for at in times if at is not None), reading)
        return min(max(first, _EARLIEST), reading)
    return reading


def _forget_unused_periods(account_id: int) -> bool:
    """If an account has no events, remove the periods that reads have opened; whether it has none."""
    if models.Event.objects.filter(account_id=account_id).exists():
        return False
    BillingPeriod.objects.filter(account_id=account_id).delete()
    return True


def _end_of_history(account: Account, now: datetime) -> datetime:
    """The last thing that fell due in an account's history, or its sign-up."""
    periods = BillingPeriod.objects.filter(account_id=account.pk)
    newest_start = periods.order_by("-starts_at").values_list("starts_at", flat=True).first()
    if newest_start is None:
        return min(account.signed_up_at, now)
    closings = periods.filter(closed_at__isnull=False).order_by("-closed_at")
    last_closing = closings.values_list("closed_at", flat=True).first()
    return max(newest_start, last_closing or newest_start)


def _next_turn(account: Account, subscriptions: list[Subscription], reading: datetime) -> datetime:
    """When next, after a reading of the clock, anything falls due.

    Also the end of the current period and of the grace of the one before, though neither may be opened: an
    event of the coming run may open them.
    """
    subscription = in_force(subscriptions, reading)
    start, end = bounds(subscription, reading)
    moments = (start + grace(subscription), end, next_due(account))
    return min(at for at in moments if at is not None and at > reading)


def _do_due_until(account: Account, reading: datetime, *, at_most: int | None = None) -> datetime | None:
    """Do what falls due up to a reading of the clock, in turn, each as of its own time.

    Returns None when nothing is left; else, after `at_most` of them, the time of the last.
    """
    done = 0
    while (due := next_due(account)) is not None and due <= reading:
        do_due_work(account, due)
        settle_history(account, due)
        done += 1
        if done == at_most:
            return due
    return None


def _set_clock(account_id: int, reading: datetime | None) -> None:
    AccountMeter.objects.filter(account_id=account_id).update(clock=reading)
