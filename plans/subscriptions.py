"""Which subscription is in force when, and the billing periods that follow from it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from plans import calendar
from plans.models import Subscription, Tier


class NoSubscription(LookupError):
    """The account has no subscription."""


def subscriptions_of(account_id: int) -> list[Subscription]:
    """An account's subscriptions in order of time, with tier and plan."""
    rows = Subscription.objects.filter(account_id=account_id).select_related("tier__plan")
    return list(rows.order_by("starts_at"))


def in_force(subscriptions: Sequence[Subscription], at: datetime) -> Subscription:
    """The subscription at an instant; the first also before it begins, as a period may begin before the sign-up.

    Raises `NoSubscription` for an empty list.
    """
    if not subscriptions:
        raise NoSubscription
    return next((row for row in reversed(subscriptions) if row.starts_at <= at), subscriptions[0])


def bounds(subscription: Subscription, at: datetime) -> tuple[datetime, datetime]:
    """The billing period `[start, end)` of a subscription that contains an instant."""
    rule = cast(calendar.PeriodRule, subscription.period_rule)
    return calendar.period_containing(rule, subscription.anchor, at, subscription.timezone)


def grace(subscription: Subscription) -> timedelta:
    """How long a period of this subscription takes its own events after its end."""
    return timedelta(hours=subscription.tier.plan.grace_hours)


def pending_after(subscriptions: Sequence[Subscription], at: datetime) -> Subscription | None:
    """The subscription that is to begin after an instant: a downgrade or change of plan that waits for its period.

    Never the first: that is in force also before it begins.
    """
    return next((row for row in subscriptions[1:] if row.starts_at > at), None)


def cancel_pending(subscriptions: list[Subscription], at: datetime) -> Subscription | None:
    """Remove what is to begin after an instant, from the database and the list: the one in force then goes on.

    Returns what was removed. The caller holds the account's lock and writes the audit.
    """
    pending = pending_after(subscriptions, at)
    if pending is None:
        return None
    present = in_force(subscriptions, at)
    pending.delete()
    subscriptions.remove(pending)
    present.ends_at = None
    present.save(update_fields=["ends_at"])
    return pending


def replace(present: Subscription, tier: Tier, *, reason: str) -> Subscription:
    """Put another tier of the same plan in the place of one that has only just begun."""
    present.tier, present.reason = tier, reason
    present.save(update_fields=["tier", "reason"])
    return present


def follow(
    subscriptions: list[Subscription],
    present: Subscription,
    tier: Tier,
    *,
    at: datetime,
    reason: str,
    timezone: str | None = None,
) -> Subscription:
    """End a subscription at an instant and begin one on another tier there, with the same anchor, and on the same plan
    the same rule and zone, so that its periods go on as they were. The caller holds the account's lock."""
    same_plan, until = tier.plan_id == present.tier.plan_id, present.ends_at
    present.ends_at = at
    present.save(update_fields=["ends_at"])
    row = Subscription.objects.create(
        account_id=present.account_id,
        tier=tier,
        starts_at=at,
        ends_at=until,
        period_rule=present.period_rule if same_plan else tier.plan.period_rule,
        anchor=present.anchor,
        timezone=present.timezone if same_plan else timezone or present.timezone,
        reason=reason,
    )
    subscriptions.append(row)
    return row
