"""Which subscription is in force when, and the billing periods that follow from it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from plans import calendar
from plans.models import Subscription


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
