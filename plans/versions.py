"""How the catalogue changes: somebody drafts a plan or a version of a tier, and somebody publishes it.

A draft may be changed and discarded, and no subscription is on it. What is published stays as it is, for those who are
on it: a tier changes by a further version under its key, which new subscriptions and upgrades take from then on; a plan
by another plan. Each operation is one transaction that holds the plan, says who and why in the audit trail, and changes
nothing when what it asks for already holds (docs/decisions/0023-catalogue-versions.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple

from django.db import transaction

from accounts.audit import write_audit
from accounts.refusals import Refused, missing
from plans.models import Plan, Tier

PLAN_TERMS: Final = ("name", "unit", "period_rule", "at_limit", "grace_hours")


class Terms(NamedTuple):
    """What a tier gives for what."""

    limit: int | None
    price: Decimal
    trial: bool

    def audited(self) -> dict[str, Any]:
        """For the audit trail: the price as a decimal string."""
        return {"limit": self.limit, "price": f"{self.price:.2f}", "trial": self.trial}


class Drafted(StrEnum):
    """What became of a draft."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class By:
    """Who changes the catalogue, why, when."""

    actor: str
    reason: str
    now: datetime

    def audit(self, action: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Leave a row; the catalogue belongs to no account."""
        write_audit(
            None, f"catalogue.{action}", actor=self.actor, at=self.now, before=before, after=after, reason=self.reason
        )


def terms_of(tier: Tier) -> Terms:
    """The terms of a version."""
    return Terms(tier.limit, tier.price, tier.trial)


def seen(rows: Iterable[Plan | Tier]) -> str:
    """What somebody has read of these rows, to be compared with what they are when he says yes."""
    return "; ".join(
        f"{row.key}: {tuple(str(getattr(row, name)) for name in PLAN_TERMS)}"
        if isinstance(row, Plan)
        else f"{row.key} {row.version}: {row.limit}, {row.price:.2f}, {row.trial}"
        for row in rows
    )


def tiers_in_order(plan: Plan) -> list[Tier]:
    """All versions of all tiers of a plan, always in the same order."""
    return list(plan.tiers.order_by("key", "version"))


@transaction.atomic
def draft_plan(key: str, terms: Mapping[str, Any], by: By) -> tuple[Plan, Drafted]:
    """Make a plan that nobody can be on yet, or change one that is still a draft. `terms`: `PLAN_TERMS`.

    Raises `Refused` (`published`: naming the first term that would change).
    """
    plan, is_new = Plan.objects.get_or_create(key=key, defaults=terms)
    if is_new:
        by.audit("plan_drafted", {}, {"plan": key, **terms})
        return plan, Drafted.CREATED
    plan = _hold(plan.pk)
    before = {name: getattr(plan, name) for name in PLAN_TERMS if getattr(plan, name) != terms[name]}
    if not before:
        return plan, Drafted.UNCHANGED
    if plan.published_at is not None:
        raise Refused("published", f"Plan {key} is published: this cannot change any more.", field=next(iter(before)))
    _set(plan, {name: terms[name] for name in before})
    by.audit("plan_changed", {"plan": key, **before}, {"plan": key, **{name: terms[name] for name in before}})
    return plan, Drafted.CHANGED


@transaction.atomic
def rename_plan(plan_id: int, name: str, by: By) -> Plan:
    """Call a plan, published or not, by another name; its key stays. Raises `Refused` (`not_found`)."""
    plan = _hold(plan_id)
    before = plan.name
    if name != before:
        _set(plan, {"name": name})
        by.audit("plan_renamed", {"plan": plan.key, "name": before}, {"plan": plan.key, "name": name})
    return plan


@transaction.atomic
def draft_tier(plan_id: int, key: str, terms: Terms, by: By) -> tuple[Tier, Drafted]:
    """Make the draft of a new tier or of the next version of one, or change the draft that there is.

    Terms that the published version has already change nothing. A tier that is no trial cannot become one, nor the
    other way round: that would decide again where accounts may move. Raises `Refused` (`fixed`, `not_found`).
    """
    plan = _hold(plan_id)
    draft, published = _versions(plan, key)
    if published is not None and terms == terms_of(published):
        return published, Drafted.UNCHANGED
    if published is not None and terms.trial != published.trial:
        raise Refused("fixed", "Whether a tier is a trial is the same in all of its versions.", field="trial")
    if draft is None:
        version = 1 if published is None else published.version + 1
        draft = Tier.objects.create(plan=plan, key=key, version=version, **terms._asdict())
        before = {} if published is None else {"version": published.version, **terms_of(published).audited()}
        by.audit("tier_drafted", {**_named(draft), **before}, {**_named(draft), **terms.audited()})
        return draft, Drafted.CREATED
    was = terms_of(draft)
    if was == terms:
        return draft, Drafted.UNCHANGED
    _set(draft, terms._asdict())
    by.audit("tier_changed", {**_named(draft), **was.audited()}, {**_named(draft), **terms.audited()})
    return draft, Drafted.CHANGED


@transaction.atomic
def publish_plan(plan_id: int, by: By, *, as_seen: str | None = None) -> Plan:
    """Let accounts be on a plan and its tiers from now on. `as_seen`: what `seen` said of the plan and its tiers.

    Raises `Refused` (`no_tiers`, `changed_meanwhile`, `not_found`).
    """
    plan = _hold(plan_id)
    if plan.published_at is not None:
        return plan
    tiers = tiers_in_order(plan)
    if not tiers:
        raise Refused("no_tiers", f"Plan {plan.key} has no tiers: nobody could be on it.")
    _refuse_changed(as_seen, [plan, *tiers])
    _set(plan, {"published_at": by.now})
    for tier in tiers:
        _set(tier, {"published_at": by.now})
    terms = {name: getattr(plan, name) for name in PLAN_TERMS}
    after = {"plan": plan.key, **terms, "tiers": {tier.key: terms_of(tier).audited() for tier in tiers}}
    by.audit("plan_published", {}, after)
    return plan


@transaction.atomic
def publish_tier(tier_id: int, by: By, *, as_seen: str | None = None) -> Tier:
    """Let new subscriptions and upgrades take a version from now on; who is on an older one keeps that.

    `as_seen`: what `seen` said of the version. Raises `Refused` (`plan_unpublished`, `changed_meanwhile`, `not_found`:
    also a draft that is discarded by now).
    """
    plan, tier = _hold_with_tier(tier_id)
    if tier is None:
        raise missing()
    if tier.published_at is not None:
        return tier
    if plan.published_at is None:
        raise Refused("plan_unpublished", f"Plan {plan.key} is a draft itself: publish the plan, its tiers go with it.")
    _refuse_changed(as_seen, [tier])
    _, published = _versions(plan, tier.key)
    _set(tier, {"published_at": by.now})
    before = {} if published is None else {**_named(published), **terms_of(published).audited()}
    by.audit("tier_published", before, {**_named(tier), **terms_of(tier).audited()})
    return tier


@transaction.atomic
def discard_tier(tier_id: int, by: By) -> None:
    """Remove a draft; its number is free again. Raises `Refused` (`published`, `not_found`)."""
    _, tier = _hold_with_tier(tier_id)
    if tier is None:
        return
    if tier.published_at is not None:
        raise Refused("published", f"Version {tier.version} of {tier.key} is published: it cannot be removed.")
    by.audit("tier_discarded", {**_named(tier), **terms_of(tier).audited()}, {})
    tier.delete()


@transaction.atomic
def discard_plan(plan_id: int, by: By) -> None:
    """Remove a plan that was never published, with its tiers. Raises `Refused` (`published`, `not_found`)."""
    plan = _hold(plan_id)
    if plan.published_at is not None:
        raise Refused("published", f"Plan {plan.key} is published: it cannot be removed.")
    by.audit("plan_discarded", {"plan": plan.key, "tiers": sorted(tier.key for tier in plan.tiers.all())}, {})
    plan.tiers.all().delete()
    plan.delete()


def _hold(plan_id: int) -> Plan:
    """A plan as it is now; it and its tiers stay so until the transaction ends."""
    plan = Plan.objects.select_for_update().filter(pk=plan_id).first()
    if plan is None:
        raise missing()
    return plan


def _hold_with_tier(tier_id: int) -> tuple[Plan, Tier | None]:
    plan_id = Tier.objects.filter(pk=tier_id).values_list("plan_id", flat=True).first()
    if plan_id is None:
        raise missing()
    plan = _hold(plan_id)
    return plan, plan.tiers.filter(pk=tier_id).first()


def _versions(plan: Plan, key: str) -> tuple[Tier | None, Tier | None]:
    """The draft of a tier and its newest published version."""
    draft = plan.tiers.filter(key=key, published_at=None).first()
    return draft, plan.tiers.newest().filter(key=key).first()


def _refuse_changed(as_seen: str | None, rows: Iterable[Plan | Tier]) -> None:
    if as_seen is not None and as_seen != seen(rows):
        raise Refused("changed_meanwhile", "Somebody has changed the draft meanwhile: read it again. Nothing was done.")


def _named(tier: Tier) -> dict[str, Any]:
    return {"plan": tier.plan.key, "tier": tier.key, "version": tier.version}


def _set(row: Plan | Tier, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save(update_fields=[*values])
