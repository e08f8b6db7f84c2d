"""What staff and the operator do to an account: pause, resume, upgrade, downgrade, replay, close.

Each is one transaction under the account's lock, says who and why in the audit trail, and changes nothing when what it
asks for already holds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from accounts.audit import write_audit
from accounts.models import Account
from accounts.refusals import Refused
from metering import announce
from metering.gaps import end_gaps
from metering.limit_changes import reconsider
from metering.lock import locked
from metering.models import BillingPeriod, GapReason, LimitState
from metering.notices import facts_of, tell
from metering.periods import cancel_downgrade, newest_period, open_current, open_for, period_at, take_effect_early
from metering.reactions import held_events, queue_replay, tell_if_running, tell_stop
from metering.replay import replay_some
from metering.state import own_pause
from metering.upgrades import move_to
from metering.upkeep import do_due_work
from notifications.models import Kind
from plans.models import Plan, Subscription, Tier
from plans.subscriptions import bounds, follow, in_force, pending_after, subscriptions_of
from plans.tiers import is_higher, is_same, newer_version, rank, tier_named


class PauseRow(NamedTuple):
    """How an account stands after a pause or a resume: `since` and `reason` are None if nothing is paused."""

    paused: bool
    reason: str | None
    since: datetime | None


@dataclass(slots=True)
class Steered:
    """An account that is held, with what is due done: its time, subscriptions and current period."""

    account: Account
    clock: datetime
    subscriptions: list[Subscription]

    @property
    def subscription(self) -> Subscription:
        return in_force(self.subscriptions, self.clock)

    def period(self) -> BillingPeriod:
        """The current period, opened if need be; of a closed account the last."""
        period = open_current(self.account, self.subscriptions, self.clock)
        if period is None:
            open_for(self.account, self.subscriptions, self.clock, self.clock)
            period = newest_period(self.account.pk)
        assert period is not None  # noqa: S101 - opened just now
        return period

    def turn(self, period_end: datetime) -> datetime:
        """When what waits for the end of a period takes effect: of an account whose sign-up is yet to come, at the
        first end after that."""
        begins = self.subscription.starts_at
        return period_end if period_end > begins else bounds(self.subscription, begins)[1]

    def pause_row(self) -> PauseRow:
        own = own_pause(self.account, self.subscription, self.clock)
        if own is not None:
            return PauseRow(paused=True, reason=own.reason, since=own.since)
        period = period_at(self.account.pk, self.clock)
        if period is not None and period.limit_state == LimitState.PAUSED:
            return PauseRow(paused=True, reason=GapReason.LIMIT_REACHED.value, since=period.limit_state_since)
        return PauseRow(paused=False, reason=None, since=None)


@contextmanager
def steered(account: Account, now: datetime) -> Iterator[Steered]:
    """Hold an account while something is done to it, with what is due done first. Raises `AccountBusy`."""
    with locked(account.pk) as meter:
        fresh, clock = Account.objects.get(pk=account.pk), meter.clock or now
        do_due_work(fresh, clock)
        yield Steered(fresh, clock, subscriptions_of(fresh.pk))


def pause(account: Account, *, reason: str, actor: str, now: datetime) -> PauseRow:
    """Pause an account until it is resumed: everything that arrives is dropped. Raises `AccountBusy`."""
    with steered(account, now) as it:
        account = it.account
        if account.paused_at is None:
            account.paused_at, account.paused_by, account.pause_reason = it.clock, actor, reason
            account.save(update_fields=["paused_at", "paused_by", "pause_reason"])
            after = {"paused_at": it.clock}
            write_audit(account, "account.paused", actor=actor, at=now, before={}, after=after, reason=reason)
            facts = facts_of(account, it.period(), at=it.clock, reason="paused_by_staff")
            mail = tell(account, it.period(), Kind.PAUSED, facts, key=f"staff:{it.clock.isoformat()}")
            announce.paused(account, mail, reason="paused_by_staff", since=it.clock)
        return it.pause_row()


def resume(account: Account, *, reason: str, actor: str, now: datetime) -> PauseRow:
    """End a pause by staff and what the current period does at its limit; held events are tried first.

    Raises `Refused` (`trial_ended`: only an upgrade ends that), `AccountBusy`.
    """
    with steered(account, now) as it:
        account = it.account
        paused_at, period = account.paused_at, period_at(account.pk, it.clock)
        state = "" if period is None else period.limit_state
        account.paused_at, account.paused_by, account.pause_reason = None, "", ""
        own = own_pause(account, it.subscription, it.clock)
        if own is not None and paused_at is None:
            raise Refused("trial_ended", "The trial has ended: upgrade the account to go on.")
        if paused_at is None and not state:
            return it.pause_row()
        account.save(update_fields=["paused_at", "paused_by", "pause_reason"])
        if paused_at is not None:
            end_gaps(account.pk, GapReason.PAUSED_BY_STAFF, it.clock)
        moved = own is None and reconsider(account, it.clock, "resume")
        if paused_at is not None and own is None:
            tell_stop(account, it.period(), it.clock)
            tell_if_running(account, it.period(), it.clock, "resume")
        if paused_at is not None or moved:
            before = {"paused_at": paused_at, "limit_state": state}
            write_audit(account, "account.resumed", actor=actor, at=now, before=before, after={}, reason=reason)
        return it.pause_row()


def upgrade(account: Account, tier_key: str, *, reason: str, actor: str, now: datetime) -> Subscription:
    """Move an account to a higher tier of its plan, at once. Cancels a downgrade that is pending.

    Its own tier holds already, in whatever version: `renew` moves to another. Raises `Refused` (`unknown_tier`,
    `not_higher`, `trial_tier`, `account_closed`), `AccountBusy`.
    """
    with steered(account, now) as it:
        present = it.subscription
        target = tier_named(present.tier.plan, tier_key)
        _refuse_closed(it)
        if is_same(target, present.tier):
            _cancel_downgrade(it, actor=actor, now=now, reason=reason)
            return present
        if target.trial:
            raise Refused("trial_tier", "Nothing moves an account to a trial tier.", field="tier")
        if not is_higher(target, present.tier):
            detail = f"{target.key} is not higher than {present.tier.key}; use downgrade."
            raise Refused("not_higher", detail, field="tier")
        return move_to(
            it.account, target, crossed_at=it.clock, now=it.clock, actor=actor, reason="asked_for", note=reason
        )


def downgrade(
    account: Account, tier_key: str, plan_key: str | None = None, *, reason: str, actor: str, now: datetime
) -> Subscription:
    """Move an account to a lower tier, or to another plan, when its next period begins; returns what is pending.

    Checked again then: it lapses if what is carried in exceeds it. Raises `Refused` (`unknown_plan`, `unknown_tier`,
    `over_target`, `not_lower`, `trial_tier`, `account_closed`), `AccountBusy`.
    """
    with steered(account, now) as it:
        present = it.subscription
        plan = present.tier.plan if plan_key is None else Plan.objects.published().filter(key=plan_key).first()
        if plan is None:
            raise Refused("unknown_plan", f"There is no plan {plan_key}.", field="plan", status=400)
        target = tier_named(plan, tier_key)
        _refuse_closed(it)
        pending = pending_after(it.subscriptions, it.clock)
        if pending is not None and is_same(target, pending.tier):
            return pending
        if target.trial:
            raise Refused("trial_tier", "Nothing moves an account to a trial tier.", field="tier")
        if is_same(target, present.tier) or (plan == present.tier.plan and rank(target) >= rank(present.tier)):
            detail = f"{target.key} is not lower than {present.tier.key}; use upgrade."
            raise Refused("not_lower", detail, field="tier")
        return _change_at_the_turn(it, target, reason=reason, actor=actor, now=now)


def renew(account: Account, *, reason: str, actor: str, now: datetime) -> Subscription:
    """Move an account to the newest version of its own tier: at once, as an upgrade, if that has a higher limit, else
    when its next period begins, as a downgrade. Without a newer one nothing changes.

    Raises `Refused` (`over_target`, `trial_tier`, `account_closed`), `AccountBusy`.
    """
    with steered(account, now) as it:
        present = it.subscription
        newest = newer_version(present.tier)
        _refuse_closed(it)
        if newest is None:
            return present
        pending = pending_after(it.subscriptions, it.clock)
        if pending is not None and pending.tier_id == newest.pk:
            return pending
        if newest.trial:
            raise Refused("trial_tier", "Nothing moves an account to a trial tier: upgrade it.", field="tier")
        if is_higher(newest, present.tier):
            return move_to(
                it.account, newest, crossed_at=it.clock, now=it.clock, actor=actor, reason="asked_for", note=reason
            )
        return _change_at_the_turn(it, newest, reason=reason, actor=actor, now=now)


def _change_at_the_turn(it: Steered, target: Tier, *, reason: str, actor: str, now: datetime) -> Subscription:
    """Let an account be on another tier from its next period on, in the place of what was waiting for it."""
    present, plan = it.subscription.tier, target.plan
    used = _used_by_now(it, plan.unit)
    if target.limit is not None and used > target.limit:
        detail = f"The account has used {used:,}, more than the {target.limit:,} of {target.key}."
        raise Refused("over_target", detail, field="tier")
    _cancel_downgrade(it, actor=actor, now=now, reason=reason)
    at = it.turn(it.period().ends_at)
    row = follow(it.subscriptions, it.subscription, target, at=at, reason=reason, timezone=it.account.timezone)
    take_effect_early(it.account, it.subscriptions, it.period(), it.clock)
    before = {"plan": present.plan.key, "tier": present.key, "version": present.version}
    after = {"plan": plan.key, "tier": target.key, "version": target.version, "from": at}
    write_audit(it.account, "account.downgraded", actor=actor, at=now, before=before, after=after, reason=reason)
    return row


def _used_by_now(it: Steered, unit: str) -> int:
    """What the current period has used, or the next one if it was opened early and has used more."""
    period = it.period()
    following = BillingPeriod.objects.filter(account_id=it.account.pk, starts_at=period.ends_at).first()
    used: int = max(getattr(row, unit) for row in (period, following) if row is not None)
    return used


def _refuse_closed(it: Steered) -> None:
    if it.account.closed_at is not None:
        raise Refused("account_closed", f"The account is closed from {it.account.closed_at:%Y-%m-%d %H:%M} UTC on.")


def _cancel_downgrade(it: Steered, *, actor: str, now: datetime, reason: str) -> None:
    cancelled = cancel_downgrade(it.account, it.subscriptions, it.clock)
    if cancelled is not None:
        before = {"plan": cancelled.tier.plan.key, "tier": cancelled.tier.key, "from": cancelled.starts_at}
        write_audit(
            it.account, "account.downgrade_cancelled", actor=actor, at=now, before=before, after={}, reason=reason
        )


class ReplayRow(NamedTuple):
    """How many held events were recorded, and how many are held still."""

    replayed: int
    held: int


def replay(account: Account, *, reason: str, actor: str, now: datetime) -> ReplayRow:
    """Replay what is held as far as there is room; what is left of much is queued. Dropped data never comes back.

    Raises `Refused` (`paused`: nothing is replayed then), `AccountBusy`.
    """
    with steered(account, now) as it:
        if it.pause_row().paused:
            raise Refused("paused", "The account is paused: resume it first. What was dropped cannot be replayed.")
        held = held_events(it.account.pk)
        step = replay_some(it.account, it.clock)
        if step.goes_on:
            queue_replay(it.account.pk, it.clock)
        if step.events:
            after = {"replayed": step.events, "held": held - step.events}
            before = {"held": held}
            write_audit(it.account, "account.replayed", actor=actor, at=now, before=before, after=after, reason=reason)
        return ReplayRow(step.events, held - step.events)


def close(account: Account, *, reason: str, actor: str, now: datetime) -> Subscription:
    """Close an account at the end of its period; afterwards its events are rejected. Returns its last subscription."""
    with steered(account, now) as it:
        account, present = it.account, it.subscription
        if account.closed_at is not None:
            return present
        _cancel_downgrade(it, actor=actor, now=now, reason=reason)
        present = it.subscription
        period = period_at(account.pk, it.clock)
        account.closed_at = it.turn(bounds(present, it.clock)[1] if period is None else period.ends_at)
        account.save(update_fields=["closed_at"])
        present.ends_at = account.closed_at
        present.save(update_fields=["ends_at"])
        after = {"closed_at": account.closed_at}
        write_audit(account, "account.closed", actor=actor, at=now, before={}, after=after, reason=reason)
        return present
