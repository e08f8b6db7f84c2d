"""Move an account to a higher tier: by a cause that intake has written, or as staff or the operator ask.

An upgrade keeps the period and the count, and takes effect at the crossing that caused it (DESIGN section 5).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from accounts.audit import write_audit
from accounts.models import Account
from metering import announce, limits
from metering.limit_changes import refresh_limit
from metering.models import BillingPeriod, CauseOutcome, LimitState, UpgradeCause
from metering.notices import facts_of, tell, tier_facts
from metering.periods import cancel_downgrade, current_period, effective_limit, end_trial_gaps, open_for
from metering.policy import enabled_connections, policy_of
from metering.reactions import set_state, tell_if_running
from notifications.models import Audience, Kind, Notification
from plans.models import Subscription, Tier
from plans.subscriptions import follow, in_force, replace, subscriptions_of
from plans.tiers import smallest_fitting, tiers_of

ACTOR = "automatic upgrade"
_MOMENT = timedelta(microseconds=1)


def settle_pending(account: Account, now: datetime) -> bool:
    """Settle the causes of an account that nobody has settled; whether there were any. The caller holds the lock."""
    pending = UpgradeCause.objects.filter(account_id=account.pk, outcome=CauseOutcome.PENDING).order_by("pk")
    causes = list(pending)
    for cause in causes:
        settle(account, cause, now)
    return bool(causes)


def settle(account: Account, cause: UpgradeCause, now: datetime) -> None:
    """Upgrade for a cause, once: to the smallest higher tier that fits by now, if the count still exceeds its limit.

    Without such a tier the account is over its top tier: it goes on counting, and staff are told. Who has opted out
    meanwhile is not upgraded any more. The caller holds the lock.
    """
    if cause.outcome != CauseOutcome.PENDING:
        return
    period = BillingPeriod.objects.select_related("subscription__tier__plan").get(
        account_id=account.pk, pk=cause.period_id
    )
    present = in_force(subscriptions_of(account.pk), now)
    used: int = getattr(period, period.subscription.tier.plan.unit)
    limit = effective_limit(account, present)
    target = smallest_fitting(tiers_of(present.tier.plan), present.tier, used)
    if limit is None or used <= limit or present.starts_at >= period.ends_at:  # or it has changed at the turn
        _note(cause, CauseOutcome.FITTED, now)
    elif policy_of(account, present, enabled_connections(account.pk)).action != "upgrade":
        _note(cause, CauseOutcome.WITHDRAWN, now)
    elif target is None:
        _note(cause, CauseOutcome.OVER_TOP_TIER, now)
        _stay_over_the_top(account, period, now)
    else:
        _note(cause, CauseOutcome.UPGRADED, now)
        move_to(
            account,
            target,
            period=period,
            crossed_at=cause.crossed_at,
            now=now,
            actor=ACTOR,
            reason="limit_reached",
            because={"used": cause.used, "limit_exceeded": cause.limit, "connections": cause.connections},
        )


def tier_in_sight(account: Account, period: BillingPeriod) -> str | None:
    """The tier that a pending cause of a period will lead to; None without one, or over the top tier."""
    if period.limit is None or getattr(period, period.subscription.tier.plan.unit) <= period.limit:
        return None
    pending = UpgradeCause.objects.filter(account_id=account.pk, period=period, outcome=CauseOutcome.PENDING)
    if not pending.exists():
        return None
    tier = period.subscription.tier
    target = smallest_fitting(tiers_of(tier.plan), tier, getattr(period, tier.plan.unit))
    return None if target is None else target.key


def _note(cause: UpgradeCause, outcome: CauseOutcome, now: datetime) -> None:
    cause.outcome, cause.settled_at = outcome, now
    cause.save(update_fields=["outcome", "settled_at"])


def _stay_over_the_top(account: Account, period: BillingPeriod, now: datetime) -> None:
    if now < period.ends_at:
        set_state(period, LimitState.OVER_TOP_TIER, now)
    facts = facts_of(account, period, at=now)
    tell(account, period, Kind.OVER_TOP_TIER, facts, key=f"{period.pk}:{period.limit}", audience=Audience.STAFF)


def move_to(
    account: Account,
    tier: Tier,
    *,
    crossed_at: datetime,
    now: datetime,
    period: BillingPeriod | None = None,
    actor: str,
    reason: str,
    note: str = "",
    because: Mapping[str, Any] | None = None,
) -> Subscription:
    """Put an account on a higher tier of its plan, effective from `crossed_at`, and tell it. The caller holds the lock.

    `period` is the one that the mail tells of; by default the current one. Ends an override of the limit, a downgrade
    that is pending, and the pause of a trial that has ended.
    """
    now = max(now, crossed_at)  # the clock of another machine
    subscriptions = subscriptions_of(account.pk)
    cancelled = cancel_downgrade(account, subscriptions, now)
    present = in_force(subscriptions, now)
    left, at = present.tier, max(crossed_at, present.starts_at + _MOMENT)
    if at > now:  # two upgrades at one instant: the first was never in force
        row = replace(present, tier, reason=note or reason)
    else:
        row = follow(subscriptions, present, tier, at=at, reason=note or reason)
    before = {"tier": left.key, "limit": left.limit, "limit_override": account.limit_override}
    if cancelled is not None:
        before["pending_downgrade"] = cancelled.tier.key
    account.limit_override = None
    account.save(update_fields=["limit_override"])
    after = {"tier": tier.key, "limit": tier.limit, "from": row.starts_at, **(because or {})}
    write_audit(account, "account.upgraded", actor=actor, at=now, before=before, after=after, reason=note or reason)
    exceeded = None if because is None else because["limit_exceeded"]
    mail = _tell_upgrade(account, period, left, row, now, reason=reason, exceeded=exceeded)
    refresh_limit(account, now, "upgrade", told_in=mail)
    end_trial_gaps(account, row, now)
    tell_if_running(account, current_period(account.pk, now), now, "upgrade")
    return row


def _tell_upgrade(
    account: Account,
    period: BillingPeriod | None,
    left: Tier,
    row: Subscription,
    now: datetime,
    *,
    reason: str,
    exceeded: int | None,
) -> Notification:
    period = period or current_period(account.pk, now)
    if period is None:  # what is told is told of a period
        open_for(account, subscriptions_of(account.pk), now, now)
        period = BillingPeriod.objects.select_related("subscription__tier__plan").get(account_id=account.pk)
    period.subscription, period.limit = row, row.tier.limit
    used: int = getattr(period, row.tier.plan.unit)
    reached = limits.newly_crossed(0, used, period.limit)
    facts = facts_of(
        account, period, at=now, reason=reason, exceeded=exceeded, before=tier_facts(left), percents=reached
    )
    announce.upgraded(account, left, row, used=used, reason=reason, at=now)
    return tell(account, period, Kind.UPGRADED, facts, key=f"{row.pk}:{row.tier.key}")
