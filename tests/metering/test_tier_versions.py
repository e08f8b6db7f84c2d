"""A new version of a tier: for those who come, not for those who are there, until they are moved."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Account
from accounts.refusals import Refused
from metering import steering
from metering.ledgers import plan_row, plans
from metering.models import BillingPeriod, UpgradeCause
from metering.reconcile import differences
from metering.tasks import upgrade as upgrade_task
from metering.upkeep import do_due_work
from metering.usage import usage
from notifications.models import Notification
from plans.models import Plan, Subscription, Tier
from plans.versions import By, Terms, draft_plan, draft_tier, publish_tier
from tests.factories import ACTOR, NOW, Caller, deliver, put_account, rows
from tests.metering.test_at_limit import kinds, people, with_policy

pytestmark = pytest.mark.django_db

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
BY: dict[str, Any] = {"reason": "as they asked", "actor": ACTOR}


def publish(key: str, limit: int | None, price: str = "31.00", *, trial: bool = False) -> Tier:
    """A new version of a tier of the plan connect."""
    by = By("staff sam", "prices of 2027", NOW)
    draft, _ = draft_tier(Plan.objects.get(key="connect").pk, key, Terms(limit, Decimal(price), trial), by)
    return publish_tier(draft.pk, by)


def tiers(account: Account) -> list[Any]:
    found = Subscription.objects.filter(account=account).order_by("starts_at")
    return [(row.tier.key, row.tier.version, row.starts_at) for row in found.select_related("tier")]


def refusal(operation: Any, *values: Any, **named: Any) -> str:
    with pytest.raises(Refused) as refused:
        operation(*values, now=NOW, **BY, **named)
    return refused.value.code


# --- Those who are there keep theirs ---


def test_who_is_there_keeps_limit_and_price_also_in_the_next_period(acme: Account):
    deliver(acme, people(0, 1))
    publish("starter", 5)

    do_due_work(acme, DECEMBER)
    deliver(acme, people(0, 1), now=DECEMBER)

    assert tiers(acme) == [("starter", 1, acme.signed_up_at)]
    assert rows(BillingPeriod, "limit") == [1_000, 1_000]
    assert usage(acme, DECEMBER)["limit"] == 1_000


def test_who_comes_takes_the_newest(acme: Account):
    publish("starter", 1_200)

    newcomer = put_account("newcomer", plan="connect", tier="starter")

    assert usage(newcomer, NOW)["limit"] == 1_200


def test_a_nightly_push_that_repeats_plan_and_tier_changes_nothing(acme: Account):
    publish("starter", 1_200)

    put_account("acme", signed_up_at=acme.signed_up_at, plan="connect", tier="starter")

    assert tiers(acme) == [("starter", 1, acme.signed_up_at)]


def test_asking_for_the_tier_that_an_account_is_on_changes_nothing(acme: Account):
    publish("starter", 1_200)

    row = steering.upgrade(acme, "starter", now=NOW, **BY)

    assert row.tier.version == 1
    assert tiers(acme) == [("starter", 1, acme.signed_up_at)]
    assert kinds(acme) == []


def test_a_smaller_version_of_one_s_own_tier_is_no_lower_tier(acme: Account):
    publish("starter", 900)

    assert refusal(steering.downgrade, acme, "starter") == "not_lower"


def test_the_plans_are_shown_in_their_newest_versions_and_without_drafts(acme: Account, acme_caller: Caller):
    publish("starter", 1_200)
    by = By("staff sam", "later", NOW)
    draft_tier(Plan.objects.get(key="connect").pk, "starter", Terms(7, Decimal(1), trial=False), by)
    draft_plan(
        "club",
        {"name": "C", "unit": "active_contacts", "period_rule": "anniversary", "at_limit": "hold", "grace_hours": 1},
        by,
    )

    assert [plan.key for plan in plans().order_by("key")] == ["connect", "connect-legacy", "social"]
    assert plan_row(plans().get(key="connect"))["tiers"][:3] == [
        {"key": "trial", "limit": 500, "price": "0.00", "trial": True},
        {"key": "starter", "limit": 1_200, "price": "31.00", "trial": False},
        {"key": "growth", "limit": 2_500, "price": "59.00", "trial": False},
    ]
    assert [row["limit"] for row in acme_caller.get("subscription").json()["results"]] == [1_000]


def test_a_plan_in_draft_is_unknown_to_who_wants_to_move_there(acme: Account):
    draft_plan(
        "club",
        {"name": "C", "unit": "active_contacts", "period_rule": "anniversary", "at_limit": "hold", "grace_hours": 1},
        By("staff sam", "later", NOW),
    )

    assert refusal(steering.downgrade, acme, "gold", "club") == "unknown_plan"


# --- Upgrades and downgrades take the newest ---


def test_an_upgrade_takes_the_newest_version(acme: Account):
    publish("growth", 3_000)

    assert steering.upgrade(acme, "growth", now=NOW, **BY).tier.version == 2
    assert usage(acme, NOW)["limit"] == 3_000


def test_an_automatic_upgrade_takes_the_smallest_that_fits_of_the_newest_versions(acme: Account):
    with_policy(acme, "upgrade", 1)
    publish("growth", 900)
    publish("growth", 3_000)

    deliver(acme, people(0, 2))
    upgrade_task(UpgradeCause.objects.get().pk, NOW)

    assert tiers(acme)[-1][:2] == ("growth", 3)


def test_an_automatic_upgrade_may_lead_to_more_room_in_the_same_tier(acme: Account):
    with_policy(acme, "upgrade", 1)
    publish("starter", 1_200)

    deliver(acme, people(0, 2))
    upgrade_task(UpgradeCause.objects.get().pk, NOW)

    assert tiers(acme)[-1][:2] == ("starter", 2)
    assert usage(acme, NOW)["limit"] == 1_200


def test_a_downgrade_takes_the_newest_version_and_asked_again_stays_what_it_is(acme: Account):
    steering.upgrade(acme, "growth", now=NOW, **BY)
    publish("starter", 900)
    steering.downgrade(acme, "starter", now=NOW, **BY)
    publish("starter", 800)

    again = steering.downgrade(acme, "starter", now=NOW, **BY)

    assert (again.tier.version, again.starts_at) == (2, DECEMBER)


# --- Moved by staff ---


def test_a_newest_version_with_more_room_holds_at_once_and_is_mailed(acme: Account):
    deliver(acme, people(0, 3))
    publish("starter", 1_200)

    row = steering.renew(acme, now=NOW, **BY)
    again = steering.renew(acme, now=NOW, **BY)

    assert row == again
    assert tiers(acme) == [("starter", 1, acme.signed_up_at), ("starter", 2, NOW)]
    assert rows(BillingPeriod, "limit", "active_contacts") == [(1_200, 3)]
    assert kinds(acme) == ["upgraded"]
    facts = Notification.objects.get().facts
    assert (facts["before"]["limit"], facts["tier"]["limit"]) == (1_000, 1_200)
    [audit] = acme.audit.filter(action="account.upgraded")
    assert (audit.before["limit"], audit.after["limit"], audit.reason) == (1_000, 1_200, "as they asked")
    assert differences(acme) == []


@pytest.mark.parametrize(("limit", "price"), [(1_000, "35.00"), (900, "29.00")], ids=["price", "less room"])
def test_a_newest_version_without_more_room_waits_for_the_next_period(acme: Account, limit: int, price: str):
    publish("starter", limit, price)

    row = steering.renew(acme, now=NOW, **BY)
    again = steering.renew(acme, now=NOW, **BY)

    assert row == again
    assert tiers(acme) == [("starter", 1, acme.signed_up_at), ("starter", 2, DECEMBER)]
    [audit] = acme.audit.filter(action="account.downgraded")
    assert (audit.before["version"], audit.after["version"]) == (1, 2)
    do_due_work(acme, DECEMBER)
    assert usage(acme, DECEMBER)["limit"] == limit


def test_asking_for_the_tier_takes_a_move_that_waits_back(acme: Account):
    publish("starter", 900)
    steering.renew(acme, now=NOW, **BY)

    steering.upgrade(acme, "starter", now=NOW, **BY)

    assert tiers(acme) == [("starter", 1, acme.signed_up_at)]


def test_without_a_newer_version_nothing_changes(acme: Account):
    publish("growth", 3_000)

    steering.renew(acme, now=NOW, **BY)

    assert tiers(acme) == [("starter", 1, acme.signed_up_at)]
    assert kinds(acme) == []


def test_who_has_used_more_than_the_newest_version_allows_stays(acme: Account):
    deliver(acme, people(0, 3))
    publish("starter", 2)

    assert refusal(steering.renew, acme) == "over_target"


def test_a_trial_is_not_moved_to_another_trial(catalogue: None):
    tester = put_account("tester", plan="connect", tier="trial")
    publish("trial", 600, "0.00", trial=True)

    assert refusal(steering.renew, tester) == "trial_tier"


def test_a_closed_account_stays(acme: Account):
    publish("starter", 1_200)
    steering.close(acme, now=NOW, **BY)

    assert refusal(steering.renew, acme) == "account_closed"
