"""The catalogue in words and tables, for staff. Reads; changes nothing."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q

from plans.models import Plan, Subscription, Tier


def limit(tier: Tier) -> str:
    """`1,000`, or that there is none."""
    return "unlimited" if tier.limit is None else f"{tier.limit:,}"


def price(tier: Tier) -> str:
    """`EUR 1,290.00`."""
    return f"EUR {tier.price:,.2f}"


def state(tier: Tier, newest: Tier | None) -> str:
    """Whether a version is a draft, the one that is sold, or one that only its subscribers are on."""
    if tier.published_at is None:
        return "draft"
    return "on offer" if tier == newest else "replaced"


def subscribers(plan: Plan, now: datetime) -> dict[int, int]:
    """How many accounts are on each version of the tiers of a plan, or will be: one query."""
    lasting = Subscription.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), tier__plan=plan)
    return dict(lasting.values_list("tier_id").annotate(accounts=Count("account_id", distinct=True)))


def subscribers_of_older(tier: Tier, now: datetime) -> int:
    """How many accounts stay on older versions of a tier."""
    lasting = Subscription.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), tier__plan=tier.plan_id)
    older = lasting.filter(tier__key=tier.key, tier__version__lt=tier.version)
    return older.aggregate(accounts=Count("account_id", distinct=True))["accounts"]  # type: ignore[no-any-return]


def in_rows(plan: Plan) -> list[Tier]:
    """All versions of the tiers of a plan: the tiers as they are sold, the lowest first, each with its newest above."""
    versions = list(plan.tiers.order_by(F("limit").asc(nulls_last=True), "key"))
    newest = {tier.key: tier for tier in sorted(versions, key=lambda tier: tier.version)}

    def place(tier: Tier) -> tuple[Any, ...]:
        leading = newest[tier.key]
        return (not leading.trial, leading.limit is None, leading.limit or 0, tier.key, -tier.version)

    return sorted(versions, key=place)


def on_offer(tiers: Iterable[Tier]) -> dict[str, Tier]:
    """Of each tier the version that is sold."""
    published = (tier for tier in tiers if tier.published_at is not None)
    return {tier.key: tier for tier in sorted(published, key=lambda tier: tier.version)}


def comparison(*rows: tuple[str, Tier]) -> dict[str, Any]:
    """Versions beside each other, each under a word for what it is."""
    return {
        "headers": ["", "Version", "Limit", "Price", "Trial"],
        "rows": [[word, tier.version, limit(tier), price(tier), "yes" if tier.trial else "no"] for word, tier in rows],
    }
