"""The plans that Headcount ships (DESIGN section 8). Prices are samples, in EUR, until prices are worked on."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction

from accounts.models import AtLimitPolicy
from accounts.refusals import Refused
from plans.models import PeriodRule, Plan, Tier, Unit

LAST_LEGACY_SIGN_UP = date(2022, 10, 24)


@dataclass(frozen=True, slots=True)
class ShippedTier:
    """A tier as shipped; a null limit is unlimited."""

    key: str
    limit: int | None
    price: str
    trial: bool = False


@dataclass(frozen=True, slots=True)
class ShippedPlan:
    """A plan as shipped."""

    key: str
    name: str
    unit: Unit
    period_rule: PeriodRule
    at_limit: AtLimitPolicy
    tiers: tuple[ShippedTier, ...]
    grace_hours: int = 24


SHIPPED = (
    ShippedPlan(
        "connect",
        "Connect",
        Unit.ACTIVE_CONTACTS,
        PeriodRule.ANNIVERSARY,
        AtLimitPolicy.BY_REPLAYABILITY,
        (
            ShippedTier("trial", 500, "0.00", trial=True),
            ShippedTier("starter", 1_000, "29.00"),
            ShippedTier("growth", 2_500, "59.00"),
            ShippedTier("professional", 10_000, "149.00"),
            ShippedTier("scale", 50_000, "449.00"),
        ),
    ),
    ShippedPlan(
        "connect-legacy",
        "Connect (legacy)",
        Unit.APP_CONNECTOR_EVENTS,
        PeriodRule.ANNIVERSARY,
        AtLimitPolicy.BY_REPLAYABILITY,
        (
            ShippedTier("s", 1_000, "19.00"),
            ShippedTier("m", 10_000, "79.00"),
            ShippedTier("l", 50_000, "249.00"),
        ),
    ),
    ShippedPlan(
        "social",
        "Social",
        Unit.ACTIVATED_CONTACTS,
        PeriodRule.CALENDAR_MONTH,
        AtLimitPolicy.LIMIT_NEW,
        (
            ShippedTier("free", 100, "0.00"),
            ShippedTier("pro-1k", 1_000, "19.00"),
            ShippedTier("pro-2k5", 2_500, "39.00"),
            ShippedTier("pro-5k", 5_000, "69.00"),
            ShippedTier("pro-10k", 10_000, "99.00"),
            ShippedTier("pro-25k", 25_000, "199.00"),
        ),
    ),
)


@transaction.atomic
def load(now: datetime) -> int:
    """Make and publish the shipped plans and tiers that are missing; how many rows were made.

    What is there already, be it a draft, is left as it is: its limits and prices belong to the people who run it.
    """
    made = 0
    for shipped in SHIPPED:
        plan, is_new = Plan.objects.get_or_create(
            key=shipped.key,
            defaults={
                "name": shipped.name,
                "unit": shipped.unit,
                "period_rule": shipped.period_rule,
                "at_limit": shipped.at_limit,
                "grace_hours": shipped.grace_hours,
                "published_at": now,
            },
        )
        known = set(plan.tiers.values_list("key", flat=True))
        missing = [tier for tier in shipped.tiers if tier.key not in known]
        Tier.objects.bulk_create(
            Tier(
                plan=plan,
                key=tier.key,
                limit=tier.limit,
                price=Decimal(tier.price),
                trial=tier.trial,
                published_at=plan.published_at and now,  # a draft of a plan has drafts of tiers
            )
            for tier in missing
        )
        made += is_new + len(missing)
    return made


def tier_for(plan_key: str | None, tier_key: str | None, signed_up_on: date) -> Tier:
    """The tier of a new account: by name, else by the (local) day of its sign-up.

    Who signed up on or before 24 Oct 2022 starts on the legacy plan, later ones on the trial. A plan without a tier
    means its lowest that is no trial. Raises `Refused` (`unknown_plan`, `unknown_tier`).
    """
    if plan_key is None:
        is_legacy = signed_up_on <= LAST_LEGACY_SIGN_UP
        plan_key = "connect-legacy" if is_legacy else "connect"
        tier_key = tier_key or ("s" if is_legacy else "trial")
    tiers = list(Tier.objects.newest().filter(plan__key=plan_key).select_related("plan"))
    if not tiers:
        raise Refused("unknown_plan", f"There is no plan {plan_key}.", field="plan", status=400)
    if tier_key is None:
        for_good = [tier for tier in tiers if not tier.trial]
        if not for_good:
            raise Refused("unknown_tier", f"Plan {plan_key} has trial tiers alone: name one.", field="tier", status=400)
        return min(for_good, key=_by_limit)
    for tier in tiers:
        if tier.key == tier_key:
            return tier
    raise Refused("unknown_tier", f"Plan {plan_key} has no tier {tier_key}.", field="tier", status=400)


def _by_limit(tier: Tier) -> tuple[bool, int]:
    return (tier.limit is None, tier.limit or 0)
