"""Whatever falls due for one account as time goes by: periods, the end of its trial, what it holds for too long.

Everything here runs under the account's lock, is told the time, and does nothing when it is run again.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import F, Q

from accounts.audit import write_audit
from accounts.models import Account
from metering import announce, periods, sql
from metering.gaps import Loss, add_losses
from metering.lock import is_live
from metering.models import BillingPeriod, Event, EventState, GapReason
from metering.notices import facts_of, tell
from metering.replay import replay_all
from metering.state import trial_end
from metering.upgrades import settle_pending
from notifications.models import Kind, Notification
from plans.subscriptions import in_force, subscriptions_of

HELD_FOR: Final = timedelta(days=90)
"""How long an event is held before it is given up."""

WARNED_BEFORE: Final = timedelta(days=7)
"""How long before that it is told."""

COVERED_BY_A_WARNING: Final = timedelta(days=14)
"""A warning tells of what is given up within this time: so there is one a week at most, and each event has its week."""

_GIVEN_UP_AT_ONCE: Final = 5_000


def do_due_work(account: Account, as_of: datetime) -> bool:
    """Do what is due for an account, of much that is to be given up a part; say whether anything was."""
    done = periods.do_due_work(account, as_of)
    done |= _end_trial(account, as_of)
    done |= _warn_of_giving_up(account, as_of)
    done |= _give_up(account, as_of)
    return done


def settle_history(account: Account, as_of: datetime) -> None:
    """What tasks do for a live account is done at once for one whose history is replayed."""
    if is_live(account.pk):
        return
    settle_pending(account, as_of)
    replay_all(account, as_of)


def next_due(account: Account) -> datetime | None:
    """When next anything falls due for an account."""
    moments = (periods.next_due(account), _untold_trial_end(account), _warning_due(account), _giving_up_due(account))
    return min((at for at in moments if at is not None), default=None)


def accounts_with_due_work(as_of: datetime) -> list[int]:
    """The accounts, on the wall clock, for which something is due."""
    found = set(periods.accounts_with_due_work(as_of))
    found.update(
        Account.objects.filter(trial_ends_at__lte=as_of, trial_ended_at=None, meter__clock=None)
        .filter(
            Q(subscriptions__ends_at=None) | Q(subscriptions__ends_at__gt=F("trial_ends_at")),
            subscriptions__tier__trial=True,
            subscriptions__starts_at__lte=F("trial_ends_at"),
        )
        .values_list("pk", flat=True)
    )
    held = Event.objects.filter(state=EventState.HELD, received_at__lte=as_of - HELD_FOR + WARNED_BEFORE)
    found.update(held.filter(account__meter__clock=None).values_list("account_id", flat=True).distinct())
    return sorted(found)


def _untold_trial_end(account: Account) -> datetime | None:
    if account.trial_ended_at is not None or account.trial_ends_at is None:
        return None
    subscriptions = subscriptions_of(account.pk)
    return trial_end(account, in_force(subscriptions, account.trial_ends_at))


def _end_trial(account: Account, as_of: datetime) -> bool:
    """Tell that a trial has ended: that it drops everything from then on needs no row."""
    ended_at = _untold_trial_end(account)
    if ended_at is None or ended_at > as_of:
        return False
    account.trial_ended_at = ended_at
    account.save(update_fields=["trial_ended_at"])
    write_audit(
        account, "account.trial_ended", actor="scheduler", at=as_of, before={}, after={"trial_ended_at": ended_at}
    )
    period = _some_period(account, as_of)
    facts = facts_of(account, period, at=as_of, reason="trial_ended")
    mail = tell(account, period, Kind.TRIAL_ENDED, facts, key=ended_at.isoformat())
    announce.paused(account, mail, reason="trial_ended", since=ended_at)
    return True


def _some_period(account: Account, now: datetime) -> BillingPeriod:
    """The current period of an account, of which things are told; its first is opened if need be."""
    period = periods.current_period(account.pk, now)
    if period is None:
        periods.open_for(account, subscriptions_of(account.pk), now, now)
        period = periods.newest_period(account.pk)
    assert period is not None  # noqa: S101 - opened just now
    return period


def _held(account: Account) -> Any:
    return Event.objects.filter(account_id=account.pk, state=EventState.HELD)


def _warnings(account: Account) -> list[datetime]:
    """When it was told that held events are about to be given up, the latest first; only the last few matter."""
    told = Notification.objects.filter(account_id=account.pk, kind=Kind.GIVING_UP_SOON).order_by("-created_at")
    return list(told.values_list("created_at", flat=True)[:10])


def _warning_due(account: Account) -> datetime | None:
    """When to warn of the oldest held event that no warning has covered."""
    held = _held(account)
    for last in _warnings(account)[:1]:
        held = held.filter(received_at__gt=last + COVERED_BY_A_WARNING - HELD_FOR)
    oldest = held.order_by("received_at").values_list("received_at", flat=True).first()
    return None if oldest is None else oldest + HELD_FOR - WARNED_BEFORE


def _warn_of_giving_up(account: Account, as_of: datetime) -> bool:
    due = _warning_due(account)
    if due is None or due > as_of:
        return False
    covered = _held(account).filter(received_at__lte=as_of + COVERED_BY_A_WARNING - HELD_FOR)
    oldest = covered.order_by("received_at").values_list("received_at", flat=True).first()
    until = max(oldest + HELD_FOR, as_of + WARNED_BEFORE)
    facts = facts_of(account, _some_period(account, as_of), at=as_of, events=covered.count(), until=until)
    tell(account, _some_period(account, as_of), Kind.GIVING_UP_SOON, facts, key=as_of.isoformat())
    return True


def _giving_up_due(account: Account) -> datetime | None:
    """When the oldest held event is given up: after its time, and a week after it was told. None before that."""
    oldest = _held(account).order_by("received_at").values_list("received_at", flat=True).first()
    if oldest is None:
        return None
    told = [at for at in _warnings(account) if oldest + HELD_FOR <= at + COVERED_BY_A_WARNING]
    return max(oldest + HELD_FOR, min(told) + WARNED_BEFORE) if told else None


def _give_up(account: Account, as_of: datetime) -> bool:
    """Give up what has been held for 90 days and was told a week ago, into a gap; whether there was any."""
    told = [at for at in _warnings(account) if at <= as_of - WARNED_BEFORE]
    if not told:
        return False
    held_until = min(as_of, max(told) + COVERED_BY_A_WARNING) - HELD_FOR
    rows = sql.run(
        """UPDATE metering_event AS event SET state = %s
           FROM (SELECT id FROM metering_event WHERE account_id = %s AND state = %s AND received_at <= %s
                 ORDER BY received_at, id LIMIT %s) AS old
           WHERE event.account_id = %s AND event.id = old.id
           RETURNING event.connection_id, event.type, event.key, event.received_at""",
        (
            EventState.GIVEN_UP.value,
            account.pk,
            EventState.HELD.value,
            held_until,
            _GIVEN_UP_AT_ONCE,
            account.pk,
        ),
    )
    lost: dict[tuple[int, int], list[str]] = {}
    for connection_id, kind, key, _ in rows:
        lost.setdefault((connection_id, kind), []).append(key)
    since = min((row[3] for row in rows), default=as_of)
    losses = [
        Loss(GapReason.GIVEN_UP.value, since, as_of, connection_id, kind, keys)
        for (connection_id, kind), keys in lost.items()
    ]
    if losses:
        add_losses(account.pk, losses)
    return bool(losses)
