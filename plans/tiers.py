"""The tiers of a plan beside each other, each in its newest version: which is higher, and which is the smallest that
fits."""

from collections.abc import Iterable

from accounts.refusals import Refused
from plans.models import Plan, Tier


def tiers_of(plan: Plan) -> list[Tier]:
    """The tiers of a plan, the lowest first."""
    return sorted(Tier.objects.newest().filter(plan=plan).select_related("plan"), key=rank)


def rank(tier: Tier) -> tuple[bool, bool, int]:
    """The order of the tiers of a plan: trials first, then by limit; unlimited is the highest."""
    return (not tier.trial, tier.limit is None, tier.limit or 0)


def is_higher(tier: Tier, than: Tier) -> bool:
    """Whether a tier is a step up. Any tier for good is higher than a trial; nothing leads up to a trial."""
    return not tier.trial and rank(tier) > rank(than)


def higher_tiers(present: Tier) -> list[Tier]:
    """The other tiers of its plan that are a step up, the lowest first. A newer version of its own is none of them."""
    return [tier for tier in tiers_of(present.plan) if is_higher(tier, present) and not is_same(tier, present)]


def smallest_fitting(tiers: Iterable[Tier], present: Tier, used: int) -> Tier | None:
    """The smallest higher tier, none of them a trial, that has room for what is used."""
    fitting = [tier for tier in tiers if is_higher(tier, present) and (tier.limit is None or tier.limit >= used)]
    return min(fitting, key=lambda tier: (*rank(tier), tier.price, tier.key), default=None)


def tier_named(plan: Plan, key: str) -> Tier:
    """A tier of a plan. Raises `Refused` (`unknown_tier`)."""
    found = Tier.objects.newest().filter(plan=plan, key=key).select_related("plan").first()
    if found is None:
        raise Refused("unknown_tier", f"Plan {plan.key} has no tier {key}.", field="tier", status=400)
    return found


def is_same(tier: Tier, other: Tier) -> bool:
    """Whether two are one tier, in whatever versions."""
    return (tier.plan_id, tier.key) == (other.plan_id, other.key)


def newer_version(tier: Tier) -> Tier | None:
    """The newest version of a tier, if that is another one."""
    newest = Tier.objects.newest().filter(plan=tier.plan_id, key=tier.key, version__gt=tier.version)
    return newest.select_related("plan").first()
