"""The tiers of a plan beside each other: which is higher, and which is the smallest that fits."""

from collections.abc import Iterable

from accounts.refusals import Refused
from plans.models import Plan, Tier


def tiers_of(plan: Plan) -> list[Tier]:
    """The tiers of a plan, the lowest first."""
    return sorted(Tier.objects.filter(plan=plan).select_related("plan"), key=rank)


def rank(tier: Tier) -> tuple[bool, bool, int]:
    """The order of the tiers of a plan: trials first, then by limit; unlimited is the highest."""
    return (not tier.trial, tier.limit is None, tier.limit or 0)


def is_higher(tier: Tier, than: Tier) -> bool:
    """Whether a tier is a step up. Any tier for good is higher than a trial; nothing leads up to a trial."""
    return not tier.trial and rank(tier) > rank(than)


def smallest_fitting(tiers: Iterable[Tier], present: Tier, used: int) -> Tier | None:
    """The smallest higher tier, none of them a trial, that has room for what is used."""
    fitting = [tier for tier in tiers if is_higher(tier, present) and (tier.limit is None or tier.limit >= used)]
    return min(fitting, key=rank, default=None)


def tier_named(plan: Plan, key: str) -> Tier:
    """A tier of a plan. Raises `Refused` (`unknown_tier`)."""
    found = Tier.objects.filter(plan=plan, key=key).select_related("plan").first()
    if found is None:
        raise Refused("unknown_tier", f"Plan {plan.key} has no tier {key}.", field="tier", status=400)
    return found
