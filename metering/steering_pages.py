"""The staff pages that steer an account: what an operation will do, then the operation itself.

One page for all: `STEPS` says what each is called, asks, tells beforehand and does. The doing is one call of the same
domain operation that the API calls.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from accounts.models import Account, AtLimitPolicy
from accounts.refusals import Refused
from metering import steering
from metering.limits import remaining
from metering.lock import AccountBusy
from metering.notices import tier_facts
from metering.registration import put_account
from metering.standing import Standing, standing_of
from metering.standing_words import connections_table, in_figures
from metering.steering_forms import (
    POLICIES,
    DowngradeForm,
    LimitForm,
    OptOutForm,
    PolicyForm,
    SteeringForm,
    UpgradeForm,
)
from metering.warnings import opt_out_warning
from notifications.at_limit import LOST, WHAT_STOPS, what_happens
from notifications.words import UNITS, events, moment, offer, tier
from plans.models import Unit
from plans.tiers import higher_tiers, is_higher, newer_version

BUSY: Final = "Somebody else is changing this account at this very moment. Nothing was changed: try again."


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks for an operation on which account, with what answers, when."""

    account: Account
    answers: dict[str, Any]
    actor: str
    now: datetime

    @property
    def said(self) -> dict[str, Any]:
        """What every operation is told."""
        return {"reason": self.answers["reason"], "actor": self.actor, "now": self.now}

    def put(self, **settings: Any) -> None:
        """Change settings of the account."""
        put_account(self.account.slug, settings, **self.said)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that staff can do: its page tells the effect beforehand, `operate` answers what holds afterwards."""

    key: str
    title: str
    effect: Callable[[Standing], Sequence[str]]
    operate: Callable[[Call], str]
    form: type[SteeringForm] = SteeringForm
    is_offered: Callable[[Standing], bool] = field(default=lambda standing: standing.account.closed_at is None)
    is_grave: bool = False


# -- what is told beforehand -------------------------------------------------------------------------------------------


def _opting_out(standing: Standing) -> list[str]:
    return [opt_out_warning(standing.account), *_told(standing)]


def _opting_in(standing: Standing) -> list[str]:
    ends = [f"What it does at its limit now ({standing.state}) ends at once."] if standing.period.limit_state else []
    return ["At its limit the account moves up by itself again, where its policy says so.", *ends, *_held(standing)]


def _pausing(standing: Standing) -> list[str]:
    return [
        f"At once {WHAT_STOPS} stop. {LOST}",
        "The pause lasts until somebody resumes the account: a new billing period or an upgrade does not end it.",
        *_told(standing),
    ]


def _resuming(standing: Standing) -> list[str]:
    paused = standing.paused
    if paused is not None and paused.reason == "trial_ended":
        return ["The trial has ended: only an upgrade lets the account go on."]
    if paused is None and not standing.period.limit_state:
        return ["The account is not paused: nothing will change."]
    return [
        "Data is taken in again from now on. What was dropped in the meantime stays lost.",
        *_held(standing),
        f"What would exceed the limit is decided anew; {_room(standing)}",
    ]


def _upgrading(standing: Standing) -> list[str]:
    account, pending = standing.account, standing.pending
    lines = [f"The tier holds at once. Period and count stay as they are: {_used(standing)}."]
    if account.limit_override is not None:
        lines.append(f"The custom limit of {account.limit_override:,} ends with it.")
    if pending is not None:
        lines.append(f"The change to {pending.tier.plan.key}/{pending.tier.key}, which waits, is cancelled.")
    return [*lines, *_held(standing), *_told(standing)]


def _renewing(standing: Standing) -> list[str]:
    newest = newer_version(standing.tier)
    if newest is None:
        return ["The account has the newest version of its tier: nothing will change."]
    unit = UNITS[standing.facts.unit]
    lines = [f"Now: {offer(tier_facts(standing.tier), unit)}.", f"Then: {offer(tier_facts(newest), unit)}."]
    follows = _upgrading(standing) if is_higher(newest, standing.tier) else _downgrading(standing)
    return [*lines, *follows]


def _downgrading(standing: Standing) -> list[str]:
    lines = [
        f"Takes effect with the next billing period: {moment(standing.period.ends_at, standing.facts.timezone)}.",
        "It is refused while more is used than the new tier allows, and lapses if what is carried into the new period "
        "exceeds it.",
    ]
    if standing.pending is not None:
        lines.append(f"It takes the place of the waiting one to {standing.pending.tier.key}.")
    return [*lines, "A custom limit ends with it." if standing.account.limit_override is not None else ""]


def _limiting(standing: Standing) -> list[str]:
    present = "The tier's limit applies" if standing.account.limit_override is None else "A custom limit applies"
    ends = (
        f"What the account does at its limit now ({standing.state}) ends at once, and the next event that would exceed"
    )
    return [
        f"{present}: {_used(standing)}. The tier is {tier(standing.facts.tier, UNITS[standing.facts.unit])}.",
        f"{ends} is decided anew." if standing.period.limit_state else "",
        "A limit below the count undoes nothing: the next event that would exceed it is decided by policy.",
        "An upgrade, a downgrade or a change of plan ends a custom limit.",
        *_held(standing),
    ]


def _choosing_policy(standing: Standing) -> list[str]:
    return [
        *(f"Now: {paragraph.text}" for paragraph in what_happens(standing.facts)),
        f"The plan says: {POLICIES[AtLimitPolicy(standing.tier.plan.at_limit)]}.",
        "On a trial all but limiting new contacts means a pause; so does what would upgrade, while automatic upgrades "
        "are off.",
        "What an account counts by events cannot be limited to known contacts: the plan's rule is followed instead."
        if standing.facts.unit == Unit.APP_CONNECTOR_EVENTS
        else "",
        *_held(standing),
    ]


def _replaying(standing: Standing) -> list[str]:
    if not standing.held:
        return ["Nothing is held: nothing will change."]
    return [
        f"{events(standing.held)} held: replayed now, the oldest first, as far as there is room. {_room(standing)}",
        "What does not fit stays held. What was dropped cannot be replayed.",
    ]


def _closing(standing: Standing) -> list[str]:
    return [
        f"Closes at the end of its billing period: {moment(standing.period.ends_at, standing.facts.timezone)}. Until "
        "then everything goes on.",
        "Afterwards all of its events are rejected. There is no way to open it again.",
        *([f"The change to {standing.pending.tier.key} that waits is cancelled."] if standing.pending else []),
    ]


def _used(standing: Standing) -> str:
    limit = "no limit" if standing.limit is None else f"{standing.limit:,}"
    return f"{standing.used:,} of {limit} used"


def _room(standing: Standing) -> str:
    left = remaining(standing.used, standing.limit)
    return "there is no limit." if left is None else f"there is room for {left:,} more."


def _held(standing: Standing) -> list[str]:
    return [f"{events(standing.held)} held, and tried again first."] if standing.held else []


def _told(standing: Standing) -> list[str]:
    address = standing.account.billing_email
    return [f"The account is told by mail at {address}." if address else "The account has no address to be told at."]


# -- what is done, and said to be done ---------------------------------------------------------------------------------


def _opt_out(call: Call) -> str:
    call.put(auto_upgrade=False)
    return "Automatic upgrades are off."


def _opt_in(call: Call) -> str:
    call.put(auto_upgrade=True)
    return "Automatic upgrades are on."


def _pause(call: Call) -> str:
    steering.pause(call.account, **call.said)
    return "The account is paused."


def _resume(call: Call) -> str:
    row = steering.resume(call.account, **call.said)
    return f"The account is still paused: {row.reason}." if row.paused else "The account is not paused."


def _upgrade(call: Call) -> str:
    row = steering.upgrade(call.account, call.answers["tier"].key, **call.said)
    return f"The account is on {row.tier.plan.key}/{row.tier.key}."


def _downgrade(call: Call) -> str:
    target = call.answers["tier"]
    row = steering.downgrade(call.account, target.key, target.plan.key, **call.said)
    return f"The account moves to {target.plan.key}/{target.key} on {moment(row.starts_at, row.timezone)}."


def _renew(call: Call) -> str:
    row = steering.renew(call.account, **call.said)
    begins = f" from {moment(row.starts_at, row.timezone)} on" if row.starts_at > call.now else ""
    return f"The account is on version {row.tier.version} of {row.tier.plan.key}/{row.tier.key}{begins}."


def _set_limit(call: Call) -> str:
    limit: int | None = call.answers["limit_override"]
    call.put(limit_override=limit)
    return "The limit is that of the tier." if limit is None else f"The limit is {limit:,}."


def _set_policy(call: Call) -> str:
    policy: str | None = call.answers["at_limit"]
    call.put(at_limit=policy)
    return f"At the limit: {'as the plan says' if policy is None else policy}."


def _replay(call: Call) -> str:
    row = steering.replay(call.account, **call.said)
    return f"{events(row.replayed)} replayed; {row.held:,} still held."


def _close(call: Call) -> str:
    row = steering.close(call.account, **call.said)
    assert row.ends_at is not None  # noqa: S101 - a closed account's last subscription ends
    return f"The account closes on {moment(row.ends_at, row.timezone)}."


# -- the table ---------------------------------------------------------------------------------------------------------


def _can_move_up(standing: Standing) -> bool:
    return standing.account.closed_at is None and bool(higher_tiers(standing.tier))


def _can_be_renewed(standing: Standing) -> bool:
    if standing.account.closed_at is not None or standing.tier.trial:
        return False
    return newer_version(standing.tier) is not None


def _can_be_resumed(standing: Standing) -> bool:
    return standing.paused is not None or bool(standing.period.limit_state)


STEPS: Final = {
    step.key: step
    for step in (
        Step("upgrade", "Upgrade", _upgrading, _upgrade, UpgradeForm, _can_move_up),
        Step("downgrade", "Downgrade or change plan", _downgrading, _downgrade, DowngradeForm),
        Step("renew", "Move to the newest version", _renewing, _renew, is_offered=_can_be_renewed),
        Step("limit", "Set a custom limit", _limiting, _set_limit, LimitForm),
        Step("policy", "Choose what happens at the limit", _choosing_policy, _set_policy, PolicyForm),
        Step(
            "opt-out",
            "Switch automatic upgrades off",
            _opting_out,
            _opt_out,
            OptOutForm,
            lambda standing: standing.account.auto_upgrade,
            is_grave=True,
        ),
        Step(
            "opt-in",
            "Switch automatic upgrades on",
            _opting_in,
            _opt_in,
            is_offered=lambda standing: not standing.account.auto_upgrade,
        ),
        Step(
            "pause",
            "Pause the account",
            _pausing,
            _pause,
            is_offered=lambda standing: standing.account.paused_at is None,
            is_grave=True,
        ),
        Step("resume", "Resume the account", _resuming, _resume, is_offered=_can_be_resumed),
        Step("replay", "Replay held events", _replaying, _replay, is_offered=lambda standing: standing.held > 0),
        Step("close", "Close the account", _closing, _close, is_grave=True),
    )
}
"""What staff can do to an account, in the order of the buttons."""


def offered(standing: Standing) -> list[Step]:
    """The steps that make sense now."""
    return [step for step in STEPS.values() if step.is_offered(standing)]


def steer(
    request: HttpRequest, account: Account, step: Step, *, now: datetime, back: str, context: dict[str, Any]
) -> HttpResponse:
    """The page of a step: shows what will follow, and on POST does it and leads `back`. The caller has asked whether
    this user may."""
    standing = standing_of(account, now)
    form = step.form(request.POST if request.method == "POST" else None, standing=standing)
    if form.is_bound and form.is_valid():
        call = Call(account, form.cleaned_data, f"staff {request.user.get_username()}", now)
        done = _try(step, call, form)
        if done is not None:
            messages.success(request, f"{account.slug}: {done}")
            return HttpResponseRedirect(back)
    about = {
        **context,
        **in_figures(standing),
        "title": f"{step.title}: {account.name}",
        "step": step,
        "account": account,
        "effect": [line for line in step.effect(standing) if line],
        "connections": connections_table(standing.facts.links) if step.is_grave else {},
        "form": form,
        "back": back,
    }
    return TemplateResponse(request, "metering/steering.html", about)


def _try(step: Step, call: Call, form: SteeringForm) -> str | None:
    """Do it: what holds now, or None if the form says why nothing was changed."""
    try:
        return step.operate(call)
    except Refused as refusal:
        form.add_error(refusal.field if refusal.field in form.fields else None, refusal.detail)
    except AccountBusy:
        form.add_error(None, BUSY)
    return None
