"""The forms of the staff pages that steer an account. Each asks why; none changes anything itself."""

from typing import Any, Final, cast

from django import forms
from unfold.widgets import (
    UnfoldAdminBigIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from accounts.models import AtLimitPolicy
from metering.notices import tier_facts
from metering.standing import Standing
from notifications.words import UNITS, offer
from plans.models import Tier
from plans.tiers import higher_tiers, rank

MAX_LIMIT: Final = 2**53
"""As in the API."""


class Choice(UnfoldAdminRadioSelectWidget):  # type: ignore[misc]  # unfold carries no types
    """One of several, each with a label of any length."""

    option_template_name = "metering/radio_option.html"


class SteeringForm(forms.Form):
    """Why it is done: what the audit trail will say."""

    reason = forms.CharField(
        label="Reason",
        max_length=1_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Kept in the audit trail with your name. Mails of a pause or an upgrade quote it.",
    )

    def __init__(self, *args: Any, standing: Standing, **kwargs: Any) -> None:
        self.standing = standing
        super().__init__(*args, **kwargs)


class OptOutForm(SteeringForm):
    """Somebody has read what will be lost."""

    accepted = forms.BooleanField(
        label="I understand that this data will be lost and cannot be replayed.",
        widget=UnfoldBooleanWidget,
        error_messages={"required": "Nothing was changed: the loss of data must be accepted."},
    )
    field_order = ("accepted",)


class _TierForm(SteeringForm):
    """A choice among tiers that depends on the account."""

    tier = forms.TypedChoiceField(label="Tier", coerce=int, widget=Choice)
    field_order = ("tier",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tiers = {tier.pk: tier for tier in self.choices()}
        choices = [(tier.pk, self.label(tier)) for tier in self.tiers.values()]
        cast(forms.TypedChoiceField, self.fields["tier"]).choices = choices

    def clean_tier(self) -> Tier:
        """The tier itself."""
        return self.tiers[self.cleaned_data["tier"]]

    def choices(self) -> list[Tier]:
        """Where the account may go."""
        raise NotImplementedError

    def label(self, tier: Tier) -> str:
        """A tier as it is offered."""
        raise NotImplementedError


class UpgradeForm(_TierForm):
    """A higher tier of the plan."""

    def choices(self) -> list[Tier]:
        """Also the present one in what is sent: a second click asks for what the first has done."""
        present = self.standing.tier
        again = [present] if self.is_bound else []
        return [*again, *higher_tiers(present)]

    def label(self, tier: Tier) -> str:
        over = tier.limit is not None and self.standing.used > tier.limit
        note = f": {self.standing.used:,} are used, more than its limit" if over else ""
        return f"{offer(tier_facts(tier), UNITS[tier.plan.unit])}{note}"


class DowngradeForm(_TierForm):
    """A lower tier of the plan, or any of another."""

    def choices(self) -> list[Tier]:
        present = self.standing.tier
        tiers = Tier.objects.newest().filter(trial=False).exclude(plan=present.plan_id, key=present.key)
        possible = [
            tier
            for tier in tiers.select_related("plan")
            if tier.plan_id != present.plan_id or rank(tier) < rank(present)
        ]
        return sorted(possible, key=lambda tier: (tier.plan_id != present.plan_id, tier.plan.key, *rank(tier)))

    def label(self, tier: Tier) -> str:
        used: int = getattr(self.standing.period, tier.plan.unit)
        fits = tier.limit is None or used <= tier.limit
        plan = "" if tier.plan_id == self.standing.tier.plan_id else f"{tier.plan.name}, "
        return (
            f"{plan}{offer(tier_facts(tier), UNITS[tier.plan.unit])}: "
            f"{used:,} used so far, {'fits' if fits else 'does not fit'}"
        )


class LimitForm(SteeringForm):
    """A limit of the account's own."""

    limit_override = forms.IntegerField(
        label="Custom limit",
        required=False,
        min_value=1,
        max_value=MAX_LIMIT,
        widget=UnfoldAdminBigIntegerFieldWidget,
        help_text="Empty: the limit of the tier.",
    )
    field_order = ("limit_override",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.setdefault("limit_override", self.standing.account.limit_override)


POLICIES: Final = {
    AtLimitPolicy.BY_REPLAYABILITY: "By what can be replayed: hold if all of its data can be read again, else upgrade",
    AtLimitPolicy.UPGRADE: "Upgrade to the next higher tier and go on counting",
    AtLimitPolicy.HOLD: "Hold what would raise the count, and replay it later",
    AtLimitPolicy.PAUSE: "Pause: drop everything that arrives, for good",
    AtLimitPolicy.LIMIT_NEW: "Limit new contacts: serve only those who are counted already",
}
"""What each policy means, for staff."""


class PolicyForm(SteeringForm):
    """What happens at the limit of this account."""

    at_limit = forms.ChoiceField(
        label="At the limit",
        required=False,
        widget=Choice,
        choices=[("", "As the plan says"), *((policy.value, text) for policy, text in POLICIES.items())],
    )
    field_order = ("at_limit",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.setdefault("at_limit", self.standing.account.at_limit or "")

    def clean_at_limit(self) -> str | None:
        """None is "as the plan says"."""
        return self.cleaned_data["at_limit"] or None
