"""The staff pages that change the catalogue: what will follow, why it is done, then one operation of `versions`.

`plan_steps` and `tier_steps` say which steps make sense now; a page opens for the others too, so that a second click
finds done what the first has done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts.refusals import Refused
from plans import shown, versions
from plans.catalogue_forms import PlanForm, PublishForm, ReasonForm, RenameForm, TierForm
from plans.models import Plan, Tier
from plans.versions import PLAN_TERMS, By, Drafted, Terms, terms_of

DRAFTS: Final = (
    "A draft changes nothing for anybody: accounts can be on it, and the API shows it, once it is published."
)
SAID: Final = {
    Drafted.CREATED: "is drafted",
    Drafted.CHANGED: "has changed",
    Drafted.UNCHANGED: "has these terms already: nothing was changed",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `operate` takes the answers and says what holds afterwards."""

    key: str
    title: str
    effect: Sequence[str]
    operate: Callable[[dict[str, Any], By], str]
    permission: str
    form: type[ReasonForm] = ReasonForm
    initial: dict[str, Any] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    table: dict[str, Any] | None = None
    subject: str = ""
    removes_plan: bool = False


# -- plans -------------------------------------------------------------------------------------------------------------


def new_plan() -> Step:
    """Draft a plan."""

    def operate(answers: dict[str, Any], by: By) -> str:
        key = answers["plan"]
        other = Plan.objects.filter(key=key).first()
        if other is not None and any(getattr(other, name) != value for name, value in _terms(answers).items()):
            raise Refused("exists", f"There is a plan {key} already.", field="plan")
        _, became = versions.draft_plan(key, _terms(answers), by)
        return f"Plan {key} {SAID[became]}. Give it tiers, then publish it."

    effect = [DRAFTS, "Once it is published, nothing of it changes but its name and its tiers."]
    return Step("new", "New plan", effect, operate, "plans.add_plan", PlanForm, {"grace_hours": 24})


def plan_steps(plan: Plan) -> list[tuple[str, str, str]]:
    """Key, title and permission of what makes sense for a plan now."""
    more = ("tier", "New tier", "plans.add_tier")
    if plan.published_at is not None:
        return [more, ("rename", "Rename", "plans.change_plan")]
    return [
        more,
        ("publish", "Publish", "plans.change_plan"),
        ("terms", "Change the draft", "plans.add_plan"),
        ("discard", "Discard", "plans.add_plan"),
    ]


def plan_step(plan: Plan, key: str) -> Step | None:
    """A step by its key."""
    makers = {
        "tier": _new_tier,
        "publish": _publish_plan,
        "terms": _change_plan,
        "rename": _rename,
        "discard": _discard_plan,
    }
    return makers[key](plan) if key in makers else None


def _new_tier(plan: Plan) -> Step:
    def operate(answers: dict[str, Any], by: By) -> str:
        key = answers["tier"]
        other = plan.tiers.filter(key=key).order_by("-version").first()
        if other is not None and terms_of(other) != _tier_terms(answers):
            raise Refused("exists", f"There is a tier {key} already: give it a new version.", field="tier")
        _, became = versions.draft_tier(plan.pk, key, _tier_terms(answers), by)
        return f"Tier {key} {SAID[became]}."

    return Step("tier", "New tier", [DRAFTS], operate, "plans.add_tier", TierForm)


def _change_plan(plan: Plan) -> Step:
    def operate(answers: dict[str, Any], by: By) -> str:
        _, became = versions.draft_plan(plan.key, _terms(answers), by)
        return f"Plan {plan.key} {SAID[became]}."

    initial = {"plan": plan.key, **{name: getattr(plan, name) for name in PLAN_TERMS}}
    return Step("terms", "Change the draft", [DRAFTS], operate, "plans.add_plan", PlanForm, initial, ("plan",))


def _rename(plan: Plan) -> Step:
    def operate(answers: dict[str, Any], by: By) -> str:
        return f"Plan {plan.key} is called {versions.rename_plan(plan.pk, answers['name'], by).name}."

    effect = [
        f"Pages and mails of now on call plan {plan.key} so; mails that were sent, and the API, do not change.",
        "All else of a published plan stays as it is, for those who are on it: what should work otherwise is a new "
        "plan.",
    ]
    return Step("rename", "Rename", effect, operate, "plans.change_plan", RenameForm, {"name": plan.name})


def _publish_plan(plan: Plan) -> Step:
    tiers = shown.in_rows(plan)

    def operate(answers: dict[str, Any], by: By) -> str:
        versions.publish_plan(plan.pk, by, as_seen=answers["as_seen"])
        return f"Plan {plan.key} is published."

    return Step(
        "publish",
        "Publish",
        [
            f"From now on accounts may be on plan {plan.key}: it charges by {plan.unit}, its periods follow "
            f"{plan.period_rule}, at the limit it says {plan.at_limit}, its grace is {plan.grace_hours} hours.",
            "None of that can be changed afterwards, and neither the plan nor its tiers can be removed.",
        ],
        operate,
        "plans.change_plan",
        PublishForm,
        {"as_seen": versions.seen([plan, *versions.tiers_in_order(plan)])},
        table=shown.comparison(*((tier.key, tier) for tier in tiers)),
    )


def _discard_plan(plan: Plan) -> Step:
    def operate(answers: dict[str, Any], by: By) -> str:
        versions.discard_plan(plan.pk, by)
        return f"The draft of plan {plan.key} is gone."

    effect = [f"The draft of plan {plan.key} goes, with its tiers. Nobody is on it."]
    return Step("discard", "Discard", effect, operate, "plans.add_plan", removes_plan=True)


# -- tiers -------------------------------------------------------------------------------------------------------------


def tier_steps(tier: Tier, of_plan: Sequence[Tier]) -> list[tuple[str, str, str]]:
    """Key, title and permission of what makes sense for a version of a tier now; `of_plan`: all versions of all tiers
    of its plan."""
    if tier.published_at is None:
        publish = [] if tier.plan.published_at is None else [("publish", "Publish", "plans.change_tier")]
        return [*publish, ("terms", "Change", "plans.add_tier"), ("discard", "Discard", "plans.add_tier")]
    has_draft = any(row.key == tier.key and row.published_at is None for row in of_plan)
    is_newest = shown.on_offer(of_plan)[tier.key] == tier
    return [("terms", "New version", "plans.add_tier")] if is_newest and not has_draft else []


def tier_step(tier: Tier, key: str, now: datetime) -> Step | None:
    """A step by its key."""
    newest = Tier.objects.newest().filter(plan=tier.plan_id, key=tier.key).first()
    match key:
        case "terms":
            return _draft(tier, newest)
        case "publish":
            return _publish_tier(tier, newest, now)
        case "discard":
            return _discard_tier(tier)
    return None


def _draft(tier: Tier, newest: Tier | None) -> Step:
    def operate(answers: dict[str, Any], by: By) -> str:
        draft, became = versions.draft_tier(tier.plan_id, tier.key, _tier_terms(answers), by)
        return f"Version {draft.version} of {tier.key} {SAID[became]}."

    initial = {"tier": tier.key, **terms_of(tier)._asdict()}
    fixed = ("tier",) if newest is None else ("tier", "trial")
    table = None if newest is None else shown.comparison(("On offer", newest))
    title = "Change the draft" if tier.published_at is None else "New version"
    effect = [DRAFTS, "Publish it from the page of the plan."]
    return Step("terms", title, effect, operate, "plans.add_tier", TierForm, initial, fixed, table, tier.key)


def _publish_tier(tier: Tier, newest: Tier | None, now: datetime) -> Step:
    def operate(answers: dict[str, Any], by: By) -> str:
        versions.publish_tier(tier.pk, by, as_seen=answers["as_seen"])
        return f"Version {tier.version} of {tier.key} is published."

    effect = [
        f"From now on new subscriptions to {tier.plan.key}/{tier.key}, upgrades and downgrades to it take "
        f"version {tier.version}.",
        "It cannot be changed afterwards: a change is a further version.",
    ]
    rows = [("Then", tier)]
    if newest is not None:
        kept = shown.subscribers_of_older(tier, now)
        rows.insert(0, ("Now", newest))
        effect.append(
            f"{kept:,} account{'' if kept == 1 else 's'} on older versions keep limit and price of theirs until staff "
            "move them, on the page of each, or until they exceed their limit and are upgraded."
        )
    return Step(
        "publish",
        "Publish",
        effect,
        operate,
        "plans.change_tier",
        PublishForm,
        {"as_seen": versions.seen([tier])},
        table=shown.comparison(*rows),
        subject=f"{tier.key} version {tier.version}",
    )


def _discard_tier(tier: Tier) -> Step:
    def operate(answers: dict[str, Any], by: By) -> str:
        versions.discard_tier(tier.pk, by)
        return f"The draft of {tier.key} is gone."

    effect = ["The draft goes. Nobody is on it; what is published stays as it is."]
    table, subject = shown.comparison(("Draft", tier)), f"{tier.key} version {tier.version}"
    return Step("discard", "Discard", effect, operate, "plans.add_tier", table=table, subject=subject)


def _terms(answers: dict[str, Any]) -> dict[str, Any]:
    return {name: answers[name] for name in PLAN_TERMS}


def _tier_terms(answers: dict[str, Any]) -> Terms:
    return Terms(answers["limit"], answers["price"], answers["trial"])


# -- the page of a step ------------------------------------------------------------------------------------------------


def take(
    request: HttpRequest, step: Step, *, plan: Plan | None, now: datetime, context: dict[str, Any]
) -> HttpResponse:
    """The page of a step: shows what will follow, and on POST does it and leads back to the plan, or to the list of
    plans. The caller has asked whether this user may."""
    plans, about = reverse("admin:plans_plan_changelist"), "Plans" if plan is None else plan.name
    back = plans if plan is None else reverse("admin:plans_plan_change", args=[plan.pk])
    form = step.form(request.POST if request.method == "POST" else None, initial=step.initial, fixed=step.fixed)
    if form.is_bound and form.is_valid():
        by = By(f"staff {request.user.get_username()}", form.cleaned_data["reason"], now)
        try:
            done = step.operate(form.cleaned_data, by)
        except Refused as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, refusal.detail)
        else:
            messages.success(request, done)
            return HttpResponseRedirect(plans if step.removes_plan else back)
    shown_then = {
        **context,
        "title": f"{step.title}: {step.subject or about}",
        "about": about,
        "step": step,
        "form": form,
        "back": back,
    }
    return TemplateResponse(request, "plans/catalogue_step.html", shown_then)
