"""The plans that are shipped, and which of them a new account starts on."""

from datetime import date
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command

from accounts.refusals import Refused
from plans.catalogue import load, tier_for
from plans.models import Plan, Tier
from tests.factories import NOW, rows, unguarded

pytestmark = pytest.mark.django_db

# plan: unit, period rule, policy at the limit, grace | tiers with their limits (DESIGN sections 2, 6 and 8)
PLANS = {
    "connect": ("active_contacts", "anniversary", "by_replayability", 24),
    "connect-legacy": ("app_connector_events", "anniversary", "by_replayability", 24),
    "social": ("activated_contacts", "calendar_month", "limit_new", 24),
}
TIERS = {
    "connect": {"trial": 500, "starter": 1_000, "growth": 2_500, "professional": 10_000, "scale": 50_000},
    "connect-legacy": {"s": 1_000, "m": 10_000, "l": 50_000},
    "social": {
        "free": 100,
        "pro-1k": 1_000,
        "pro-2k5": 2_500,
        "pro-5k": 5_000,
        "pro-10k": 10_000,
        "pro-25k": 25_000,
    },
}


def test_these_plans_and_tiers_are_shipped_and_no_others(db: None):
    assert load(NOW) == 3 + 5 + 3 + 6

    assert rows(Plan, "key", "unit", "period_rule", "at_limit", "grace_hours") == [
        (key, *terms) for key, terms in PLANS.items()
    ]
    assert rows(Tier, "plan__key", "key", "limit") == sorted(
        ((plan, tier, limit) for plan, tiers in TIERS.items() for tier, limit in tiers.items()), key=repr
    )
    assert rows(Tier, "plan__key", "key", trial=True) == [("connect", "trial")]


def test_a_higher_limit_of_a_plan_costs_more(db: None):
    load(NOW)

    for plan in TIERS:
        prices = list(Tier.objects.filter(plan__key=plan).order_by("limit").values_list("price", flat=True))
        assert prices == sorted(set(prices))


def test_loading_again_makes_nothing(db: None):
    load(NOW)
    before = rows(Tier, "pk", "limit", "price")

    assert load(NOW) == 0

    assert rows(Tier, "pk", "limit", "price") == before


def test_loading_makes_what_is_missing_and_leaves_what_people_have_changed(db: None):
    load(NOW)
    with unguarded():
        Tier.objects.filter(key="starter").update(limit=7, price=Decimal("1.50"))
        Plan.objects.filter(key="social").update(grace_hours=0, name="Chat")
        Tier.objects.filter(key__in=["growth", "free"]).delete()

    assert load(NOW) == 2

    assert rows(Tier, "limit", "price", key="starter") == [(7, Decimal("1.50"))]
    assert rows(Plan, "grace_hours", "name", key="social") == [(0, "Chat")]
    assert rows(Tier, "limit", key="growth") == [2_500]


def test_the_command_says_what_it_made(db: None):
    said = StringIO()

    call_command("load_catalogue", stdout=said)
    call_command("load_catalogue", stdout=said)

    assert said.getvalue() == "17 plans and tiers made\nall plans and tiers are there\n"


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("plan", "tier", "signed_up_on", "expected"),
    [
        (None, None, date(2022, 10, 24), ("connect-legacy", "s")),
        (None, None, date(2022, 10, 25), ("connect", "trial")),
        (None, "m", date(2022, 10, 24), ("connect-legacy", "m")),
        (None, "growth", date(2022, 10, 25), ("connect", "growth")),
        ("connect", None, date(2020, 1, 1), ("connect", "starter")),
        ("connect", "trial", date(2020, 1, 1), ("connect", "trial")),
        ("social", None, date(2026, 1, 1), ("social", "free")),
    ],
)
def test_a_new_account_starts_on_a_tier_by_name_or_by_its_sign_up(
    plan: str | None, tier: str | None, signed_up_on: date, expected: tuple[str, str]
):
    found = tier_for(plan, tier, signed_up_on)

    assert (found.plan.key, found.key) == expected


@pytest.mark.usefixtures("catalogue")
def test_the_lowest_tier_is_the_one_with_the_lowest_limit_and_never_an_unlimited_one():
    with unguarded():
        Tier.objects.filter(key="starter").update(limit=None)

    assert tier_for("connect", None, date(2026, 1, 1)).key == "growth"


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("plan", "tier", "code"),
    [("nothing", None, "unknown_plan"), ("connect", "s", "unknown_tier"), (None, "s", "unknown_tier")],
)
def test_what_does_not_exist_is_refused_by_name(plan: str | None, tier: str | None, code: str):
    with pytest.raises(Refused) as refused:
        tier_for(plan, tier, date(2026, 1, 1))

    assert (refused.value.code, refused.value.status) == (code, 400)


@pytest.mark.usefixtures("catalogue")
def test_a_plan_of_trials_alone_needs_its_tier_named():
    with unguarded():
        Tier.objects.filter(plan__key="connect", trial=False).delete()

    with pytest.raises(Refused) as refused:
        tier_for("connect", None, date(2026, 1, 1))

    assert (refused.value.code, refused.value.field) == ("unknown_tier", "tier")
    assert tier_for("connect", "trial", date(2026, 1, 1)).trial
