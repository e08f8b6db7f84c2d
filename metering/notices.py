"""The facts of a notification: what a mail about an account in a period must know, frozen when it is written."""

from datetime import datetime
from typing import Any

from accounts.models import Account, Connection
from metering.breakdown import breakdown
from metering.lock import is_live
from metering.models import BillingPeriod, LimitState
from metering.policy import enabled_connections, policy_of
from metering.state import own_pause
from notifications.facts import Facts, Link, Source, TierFacts
from notifications.models import Audience, Kind, Notification
from notifications.outbox import post
from plans.models import Subscription, Tier
from plans.tiers import smallest_fitting, tiers_of

_SOURCES = 3


def tier_facts(tier: Tier) -> TierFacts:
    """A tier as a notification shows it."""
    return TierFacts(tier.key, tier.limit, tier.price)


def facts_of(
    account: Account,
    period: BillingPeriod,
    *,
    at: datetime,
    used: int | None = None,
    limit: int | None = None,
    **more: Any,
) -> Facts:
    """How an account stands in a period at an instant; `used` and `limit` are given if they were others then."""
    subscription: Subscription = period.subscription
    tier = subscription.tier
    connections = enabled_connections(account.pk)
    effective = limit if limit is not None else period.limit
    action, why = policy_of(account, subscription, connections)
    return Facts(
        unit=tier.plan.unit,
        plan=tier.plan.name,
        tier=tier_facts(tier),
        used=getattr(period, tier.plan.unit) if used is None else used,
        limit=effective,
        timezone=account.timezone,
        resets_at=period.ends_at,
        action="none" if effective is None else action,
        why=why,
        links=[Link(row.key, row.name, row.replayable) for row in connections],
        sources=_largest_sources(period),
        next_tier=_next_tier(tier, effective),
        paused=_paused(account, period, at),
        at=at,
        **more,
    )


def _paused(account: Account, period: BillingPeriod, at: datetime) -> str:
    own = own_pause(account, period.subscription, at)
    if own is not None:
        return own.reason
    return "limit_reached" if period.limit_state == LimitState.PAUSED else ""


def tell(
    account: Account,
    period: BillingPeriod,
    kind: Kind,
    facts: Facts,
    *,
    key: str,
    percent: int | None = None,
    audience: Audience = Audience.CUSTOMER,
) -> Notification:
    """Write a notification about a period, once per `key`. `facts.at` is when it happened."""
    assert facts.at is not None  # noqa: S101 - whoever tells says when
    return post(
        account.pk,
        kind,
        facts,
        key=key,
        at=facts.at,
        live=is_live(account.pk),
        audience=audience,
        period_start=period.starts_at,
        percent=percent,
    )


def _largest_sources(period: BillingPeriod) -> list[Source]:
    rows = breakdown(period, period.subscription.tier.plan.unit)["by_connection"][:_SOURCES]
    names = dict(
        Connection.objects.filter(
            account_id=period.account_id, key__in=[row["connection"] for row in rows]
        ).values_list("key", "name")
    )
    return [
        Source(row["connection"], names[row["connection"]], row.get("contacts", row.get("events", 0))) for row in rows
    ]


def _next_tier(tier: Tier, limit: int | None) -> TierFacts | None:
    """The tier that an upgrade would lead to: with more room than there is now, by an override perhaps."""
    higher = smallest_fitting(tiers_of(tier.plan), tier, (limit or 0) + 1)
    return None if higher is None else tier_facts(higher)
