"""Which subscription is in force when, and the billing periods that follow from it."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Account
from plans.models import Subscription, Tier
from plans.subscriptions import NoSubscription, bounds, grace, in_force, subscriptions_of

pytestmark = pytest.mark.django_db

MOMENT = timedelta(microseconds=1)
SIGN_UP, UPGRADE = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 6, 15, 9, tzinfo=UTC)


@pytest.fixture
def upgraded(acme: Account) -> Account:
    """Acme, on growth since 15 June."""
    first = acme.subscriptions.get()
    Subscription.objects.filter(pk=first.pk).update(ends_at=UPGRADE)
    Subscription.objects.create(
        account=acme,
        tier=Tier.objects.get(key="growth"),
        starts_at=UPGRADE,
        period_rule=first.period_rule,
        anchor=first.anchor,
        timezone=first.timezone,
        reason="upgrade",
    )
    return acme


def test_subscriptions_come_in_order_of_time_and_of_one_account(upgraded: Account, globex: Account):
    assert [(row.starts_at, row.tier.key) for row in subscriptions_of(upgraded.pk)] == [
        (SIGN_UP, "starter"),
        (UPGRADE, "growth"),
    ]


def test_subscriptions_come_with_tier_and_plan(upgraded: Account, django_assert_num_queries: pytest.FixtureRequest):
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert [row.tier.plan.key for row in subscriptions_of(upgraded.pk)] == ["connect", "connect"]


@pytest.mark.parametrize(
    ("at", "tier"),
    [
        (SIGN_UP - timedelta(days=20), "starter"),
        (SIGN_UP, "starter"),
        (UPGRADE - MOMENT, "starter"),
        (UPGRADE, "growth"),
        (UPGRADE + timedelta(days=9_999), "growth"),
    ],
)
def test_the_subscription_in_force_is_the_last_that_has_begun_else_the_first(
    upgraded: Account, at: datetime, tier: str
):
    assert in_force(subscriptions_of(upgraded.pk), at).tier.key == tier


def test_an_account_without_a_subscription_has_none_in_force():
    with pytest.raises(NoSubscription):
        in_force([], SIGN_UP)


def test_an_anniversary_is_counted_from_the_anchor_in_the_zone_of_the_subscription(acme: Account):
    subscription = acme.subscriptions.get()
    subscription.anchor = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    subscription.timezone = "Europe/Berlin"

    # 1 February, 0:30 in Berlin, and so on each first of a month; clocks have gone forward in between.
    assert bounds(subscription, datetime(2026, 4, 10, tzinfo=UTC)) == (
        datetime(2026, 3, 31, 22, 30, tzinfo=UTC),
        datetime(2026, 4, 30, 22, 30, tzinfo=UTC),
    )


def test_a_calendar_month_does_not_look_at_the_anchor(globex: Account):
    subscription = globex.subscriptions.get()
    subscription.anchor = datetime(2026, 1, 17, tzinfo=UTC)

    assert bounds(subscription, datetime(2026, 11, 22, tzinfo=UTC)) == (
        datetime(2026, 10, 31, 23, tzinfo=UTC),
        datetime(2026, 11, 30, 23, tzinfo=UTC),
    )


def test_grace_is_that_of_the_plan(acme: Account):
    subscription = acme.subscriptions.select_related("tier__plan").get()
    assert grace(subscription) == timedelta(days=1)

    subscription.tier.plan.grace_hours = 0

    assert grace(subscription) == timedelta(0)
