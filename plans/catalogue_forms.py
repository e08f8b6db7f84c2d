"""What is asked of whoever changes the catalogue. None of these forms changes anything itself."""

from typing import Any, Final, override

from django import forms
from django.core.validators import RegexValidator
from unfold.widgets import (
    UnfoldAdminBigIntegerFieldWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from accounts.models import AtLimitPolicy
from plans.models import MAX_GRACE_HOURS, PeriodRule, Unit

MAX_LIMIT: Final = 2**53
"""As in the API: the greatest number that JSON readers all read alike."""

is_key: Final = RegexValidator(r"^[a-z0-9][a-z0-9-]*\Z", "Use small letters, digits and hyphens only.")


def choice(choices: Any, label: str, **more: Any) -> forms.ChoiceField:
    """One of the words that the domain knows, shown as they are."""
    words = [(word, word) for word in choices.values]
    return forms.ChoiceField(label=label, choices=words, widget=UnfoldAdminSelectWidget, **more)


class PlanFields(forms.Form):
    """A plan: its key and its terms."""

    plan = forms.CharField(
        label="Key",
        max_length=60,
        validators=[is_key],
        widget=UnfoldAdminTextInputWidget,
        help_text="What the API calls it. It never changes.",
    )
    name = forms.CharField(
        label="Name", max_length=100, widget=UnfoldAdminTextInputWidget, help_text="What mails and pages call it."
    )
    unit = choice(Unit, "Unit", help_text="What it charges by.")
    period_rule = choice(PeriodRule, "Billing periods")
    at_limit = choice(AtLimitPolicy, "At the limit", help_text="Unless an account has a rule of its own.")
    grace_hours = forms.IntegerField(
        label="Grace (hours)",
        min_value=0,
        max_value=MAX_GRACE_HOURS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How long an ended period still takes its own events.",
    )

    @override
    def clean(self) -> dict[str, Any]:
        """Events are not contacts, of which some are known and some new."""
        found = self.cleaned_data
        if found.get("unit") == Unit.APP_CONNECTOR_EVENTS and found.get("at_limit") == AtLimitPolicy.LIMIT_NEW:
            self.add_error("at_limit", "A plan that charges by events cannot limit new contacts.")
        return found


class TierFields(forms.Form):
    """A version of a tier: its key and its terms."""

    tier = forms.CharField(
        label="Key",
        max_length=60,
        validators=[is_key],
        widget=UnfoldAdminTextInputWidget,
        help_text="What the API calls it. It never changes.",
    )
    limit = forms.IntegerField(
        label="Limit",
        required=False,
        min_value=1,
        max_value=MAX_LIMIT,
        widget=UnfoldAdminBigIntegerFieldWidget,
        help_text="How much counts in a billing period. Empty: unlimited.",
    )
    price = forms.DecimalField(
        label="Price (EUR)",
        min_value=0,
        max_digits=12,
        decimal_places=2,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "0.01"}),
        help_text="Per billing period.",
    )
    trial = forms.BooleanField(
        label="Trial",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="The same in all versions of a tier.",
    )


class ReasonForm(forms.Form):
    """Why it is done: what the audit trail will say."""

    reason = forms.CharField(
        label="Reason",
        max_length=1_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Kept in the audit trail with your name.",
    )

    def __init__(self, *args: Any, fixed: tuple[str, ...] = (), **kwargs: Any) -> None:
        """`fixed`: what is shown and cannot be answered otherwise."""
        super().__init__(*args, **kwargs)
        for name in fixed:
            self.fields[name].disabled = True


class PlanForm(PlanFields, ReasonForm):
    """A draft of a plan."""

    field_order = (*PlanFields.base_fields, "reason")


class TierForm(TierFields, ReasonForm):
    """A draft of a tier."""

    field_order = (*TierFields.base_fields, "reason")


class RenameForm(ReasonForm):
    """Another name for a plan."""

    name = forms.CharField(label="Name", max_length=100, widget=UnfoldAdminTextInputWidget)
    field_order = ("name", "reason")


class PublishForm(ReasonForm):
    """Somebody has read what will be published."""

    as_seen = forms.CharField(widget=forms.HiddenInput, max_length=100_000, strip=False)


class UploadForm(forms.Form):
    """A file of the catalogue, to be looked at first."""

    file = forms.FileField(
        label="File",
        widget=UnfoldAdminFileFieldWidget,
        allow_empty_file=True,
        help_text="A CSV file as the export makes it. Nothing is changed before you have seen what it would do.",
    )


class ImportForm(ReasonForm):
    """The content of a file that somebody has seen the effect of."""

    content = forms.CharField(widget=forms.HiddenInput, strip=False)
