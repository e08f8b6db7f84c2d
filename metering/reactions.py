"""What follows from a count, in its transaction: thresholds, causes to upgrade, states at the limit, and their mails.

A live account's mails and upgrades are carried out by tasks that are queued here; of replayed history the mails are
written as historical, and `intake` settles the upgrades itself.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from accounts.models import Account
from jobs.queue import enqueue
from metering import announce, limits, sql
from metering.facts import Cause, Crossing, Decision, LimitMove
from metering.gaps import end_gaps
from metering.lock import is_live
from metering.models import (
    BillingPeriod,
    CauseOutcome,
    Event,
    EventState,
    GapReason,
    LimitState,
    ThresholdCrossing,
    UpgradeCause,
)
from metering.notices import facts_of, tell
from metering.policy import enabled_connections, policy_of
from metering.state import own_pause
from notifications.models import Kind, Notification

UPGRADE = "metering.upgrade"
REPLAY = "metering.replay"


def react(account: Account, decision: Decision) -> None:
    """Carry out what a decision, which is recorded already, calls for. The caller holds the lock."""
    if decision.held_in_grace:
        queue_replay(account.pk, decision.held_in_grace)
    if not (decision.crossings or decision.moves or decision.causes):
        return
    periods = _periods(account, decision)
    cross(account, periods, decision.crossings)
    for move in decision.moves:
        _take_state(account, periods[move.period_id], move)
    for cause in decision.causes:
        _cause_upgrade(account, cause)


def _periods(account: Account, decision: Decision) -> dict[int, BillingPeriod]:
    ids = {row.period_id for rows in (decision.crossings, decision.moves, decision.causes) for row in rows}
    found = BillingPeriod.objects.filter(account_id=account.pk, pk__in=ids)
    return {period.pk: period for period in found.select_related("subscription__tier__plan")}


def cross(
    account: Account,
    periods: dict[int, BillingPeriod],
    crossings: Sequence[Crossing],
    told_in: Notification | None = None,
) -> None:
    """Store threshold crossings, once each, and tell of each that is new: by mail, or in another, and by webhook."""
    if not crossings:
        return
    new = sql.run(
        """INSERT INTO metering_thresholdcrossing (account_id, period_id, "limit", percent, used, crossed_at)
           SELECT %s::bigint, new.*
           FROM unnest(%s::bigint[], %s::bigint[], %s::smallint[], %s::bigint[], %s::timestamptz[]) AS new
           ON CONFLICT (account_id, period_id, "limit", percent) DO NOTHING
           RETURNING id, period_id, "limit", percent, used, crossed_at""",
        (account.pk, *(list(column) for column in zip(*crossings, strict=True))),
    )
    for pk, *fields in new:
        crossing = Crossing(*fields)
        notification = told_in or _tell_crossing(account, periods[crossing.period_id], crossing)
        ThresholdCrossing.objects.filter(account_id=account.pk, pk=pk).update(notification=notification)
        announce.crossed(account, periods[crossing.period_id], crossing)


def _tell_crossing(account: Account, period: BillingPeriod, crossing: Crossing) -> Notification:
    facts = facts_of(account, period, used=crossing.used, limit=crossing.limit, at=crossing.at)
    key = f"{period.pk}:{crossing.limit}:{crossing.percent}"
    return tell(account, period, Kind.THRESHOLD, facts, key=key, percent=crossing.percent)


def cross_without_event(
    account: Account, period: BillingPeriod, at: datetime, told_in: Notification | None = None
) -> None:
    """Store the thresholds that a period's count has reached without an event: at its opening, or by a new limit.

    Nothing is told of the count of a period that has ended.
    """
    if period.limit is None or at >= period.ends_at:
        return
    used: int = getattr(period, period.subscription.tier.plan.unit)
    crossings = [
        Crossing(period.pk, period.limit, percent, used, at) for percent in limits.newly_crossed(0, used, period.limit)
    ]
    cross(account, {period.pk: period}, crossings, told_in)


def exceed_by_carry_in(account: Account, period: BillingPeriod, at: datetime) -> None:
    """A period that opens with more than its limit is in the state that its policy says, or causes an upgrade."""
    used: int = getattr(period, period.subscription.tier.plan.unit)
    if period.limit is None or used <= period.limit:
        return
    action = policy_of(account, period.subscription, enabled_connections(account.pk)).action
    if action == "upgrade":
        _cause_upgrade(account, Cause(period.pk, period.limit, used, at))
    else:
        state = limits.STATE_OF[action]
        _take_state(account, period, LimitMove(period.pk, state, period.limit, used, at, False, "", None))


def _take_state(account: Account, period: BillingPeriod, move: LimitMove) -> None:
    set_state(period, move.state, move.at)
    if move.left == LimitState.PAUSED:
        end_gaps(account.pk, GapReason.LIMIT_REACHED, move.at)
    if move.ended:
        return
    if move.state in _AT_A_STOP:
        if move.at >= period.starts_at:  # else it was opened early: told when it begins
            tell_stop(account, period, move.at)
    elif move.state == LimitState.NONE and not queue_replay(account.pk, move.at):
        tell_if_running(account, period, move.at, "count_fell")


def set_state(period: BillingPeriod, state: str, at: datetime) -> None:
    """Have a period do this at its limit from now on; "" is nothing."""
    period.limit_state = state
    period.limit_state_since = at if state else None
    period.save(update_fields=["limit_state", "limit_state_since"])


_STOPS = (Kind.PAUSED, Kind.HELD, Kind.TRIAL_ENDED)
_AT_A_STOP = (LimitState.PAUSED, LimitState.HOLDING)


def tell_if_running(account: Account, period: BillingPeriod | None, at: datetime, reason: str) -> None:
    """Write the mail that a pause or a hold is over, if it is, and the last that was told was that it began."""
    if period is None or period.limit_state in _AT_A_STOP or _is_stopped(account, period, at):
        return
    told = _last_told(account.pk)
    if told is None or told.kind == Kind.RESUMED or _has_yet_to_replay(account, period):
        return
    facts = facts_of(account, period, at=at, reason=reason, events=held_events(account.pk))
    mail = tell(account, period, Kind.RESUMED, facts, key=f"after:{told.pk}")
    if told.kind != Kind.HELD:
        announce.resumed(account, mail, reason=reason)


def _last_told(account_id: int) -> Notification | None:
    """The last mail that said whether the account runs."""
    told = Notification.objects.filter(account_id=account_id, kind__in=[*_STOPS, Kind.RESUMED])
    return told.order_by("-pk").first()


def _is_stopped(account: Account, period: BillingPeriod, at: datetime) -> bool:
    """By a pause of its own, or as it is closed: what a period does at its limit changes nothing then."""
    closed = account.closed_at is not None and account.closed_at <= at
    return closed or own_pause(account, period.subscription, at) is not None


def _has_yet_to_replay(account: Account, period: BillingPeriod) -> bool:
    """Something is held and there is room: a task replays it, and tells afterwards."""
    used: int = getattr(period, period.subscription.tier.plan.unit)
    return (period.limit is None or used < period.limit) and held_events(account.pk) > 0


def tell_stop(account: Account, period: BillingPeriod, at: datetime) -> None:
    """Write the mail that a period is paused or holds at its limit, if it is; once, and again if meanwhile another word
    was the last. Not while the account is paused as a whole, which was told."""
    if period.limit_state not in _AT_A_STOP or _is_stopped(account, period, at):
        return
    kind = Kind.PAUSED if period.limit_state == LimitState.PAUSED else Kind.HELD
    told = _last_told(account.pk)
    if told is not None and (told.kind, told.limit, told.period_start) == (kind, period.limit, period.starts_at):
        return
    facts = facts_of(account, period, at=at, reason="limit_reached" if kind == Kind.PAUSED else "")
    after = "" if told is None else f":after:{told.pk}"
    mail = tell(account, period, kind, facts, key=f"{period.pk}:{period.limit}{after}")
    if kind == Kind.PAUSED:
        announce.paused(account, mail, reason="limit_reached", since=period.limit_state_since or at)
    elif told is not None and told.kind in (Kind.PAUSED, Kind.TRIAL_ENDED):
        announce.resumed(account, mail, reason="holding")


def held_events(account_id: int) -> int:
    """How many events of an account are held."""
    return Event.objects.filter(account_id=account_id, state=EventState.HELD).count()


def _cause_upgrade(account: Account, cause: Cause) -> None:
    """Write a cause, once per period and limit; one that is settled is opened again, as its limit is exceeded again."""
    connections = [asdict(row) for row in enabled_connections(account.pk)]
    facts = {"used": cause.used, "crossed_at": cause.at, "connections": connections}
    row, is_new = UpgradeCause.objects.get_or_create(
        account=account, period_id=cause.period_id, limit=cause.limit, defaults=facts
    )
    if not is_new:
        settled = UpgradeCause.objects.filter(account=account, pk=row.pk).exclude(outcome=CauseOutcome.PENDING)
        is_new = bool(settled.update(outcome=CauseOutcome.PENDING, settled_at=None, **facts))
    if is_new and is_live(account.pk):
        enqueue(UPGRADE, row.pk, account_id=account.pk, now=cause.at)


def queue_replay(account_id: int, now: datetime) -> bool:
    """Whether an account holds anything; if it is live a task replays it, and tells afterwards if it runs again."""
    held = Event.objects.filter(account_id=account_id, state=EventState.HELD).exists()
    if held and is_live(account_id):
        enqueue(REPLAY, account_id, account_id=account_id, now=now)
    return held
