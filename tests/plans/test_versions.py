"""The catalogue changes by drafts and versions: what is published stays, whoever is on it keeps it."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Account, AuditEntry
from accounts.refusals import Refused
from plans import versions
from plans.catalogue import load, tier_for
from plans.models import Plan, Subscription, Tier
from plans.tiers import higher_tiers, newer_version, rank, smallest_fitting, tiers_of
from plans.versions import By, Drafted, Terms, draft_plan, draft_tier, publish_plan, publish_tier, seen
from tests.at_once import at_once
from tests.factories import NOW, make_plan, rows

pytestmark = pytest.mark.django_db

BY = By("staff sam", "prices of 2027", NOW)
MORE = Terms(1_500, Decimal("39.00"), trial=False)
TERMS = {
    "name": "Club",
    "unit": "active_contacts",
    "period_rule": "anniversary",
    "at_limit": "hold",
    "grace_hours": 24,
}


@pytest.fixture
def connect(catalogue: None) -> Plan:
    return Plan.objects.get(key="connect")


@pytest.fixture
def draft(connect: Plan) -> Tier:
    """The second version of connect/starter, with more for more."""
    return draft_tier(connect.pk, "starter", MORE, BY)[0]


@pytest.fixture
def club(db: None) -> Plan:
    """A plan that nobody can be on yet, with a tier."""
    plan, _ = draft_plan("club", TERMS, BY)
    draft_tier(plan.pk, "gold", Terms(10, Decimal(5), trial=False), BY)
    return plan


def versions_of(key: str) -> list[Any]:
    return rows(Tier, "version", "limit", "published_at", key=key)


def refused(operation: Any, *values: Any, **named: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as refusal:
        operation(*values, **named)
    return refusal.value.code, refusal.value.field


def audited() -> list[tuple[str, str, str]]:
    found = AuditEntry.objects.filter(account=None).order_by("pk")
    return list(found.values_list("action", "actor", "reason"))


# -- drafts ------------------------------------------------------------------------------------------------------------


def test_a_draft_is_the_next_version_of_its_tier(draft: Tier):
    assert versions_of("starter") == [(1, 1_000, NOW), (2, 1_500, None)]


def test_a_draft_changes_and_stays_one(connect: Plan, draft: Tier):
    again, became = draft_tier(connect.pk, "starter", MORE._replace(limit=1_600), BY)

    assert (again.pk, became) == (draft.pk, Drafted.CHANGED)
    assert versions_of("starter") == [(1, 1_000, NOW), (2, 1_600, None)]


@pytest.mark.parametrize("terms", [MORE, Terms(1_000, Decimal("29.00"), trial=False)], ids=["draft", "published"])
def test_terms_that_hold_already_change_nothing(connect: Plan, draft: Tier, terms: Terms):
    before = audited()

    assert draft_tier(connect.pk, "starter", terms, BY)[1] == Drafted.UNCHANGED
    assert versions_of("starter") == [(1, 1_000, NOW), (2, 1_500, None)]
    assert audited() == before


def test_every_step_says_who_and_why(connect: Plan, draft: Tier):
    draft_tier(connect.pk, "starter", MORE._replace(limit=1_600), BY)
    publish_tier(draft.pk, BY)

    assert audited() == [
        (f"catalogue.tier_{step}", "staff sam", "prices of 2027") for step in ("drafted", "changed", "published")
    ]
    [entry] = AuditEntry.objects.filter(action="catalogue.tier_published")
    assert entry.before == {
        "plan": "connect", "tier": "starter", "version": 1, "limit": 1_000, "price": "29.00", "trial": False,
    }  # fmt: skip
    assert entry.after == {
        "plan": "connect", "tier": "starter", "version": 2, "limit": 1_600, "price": "39.00", "trial": False,
    }  # fmt: skip


def test_a_trial_stays_one_in_every_version(connect: Plan):
    assert refused(draft_tier, connect.pk, "trial", MORE, BY) == ("fixed", "trial")


def test_a_discarded_draft_is_gone_and_its_number_free(connect: Plan, draft: Tier):
    versions.discard_tier(draft.pk, BY)

    assert versions_of("starter") == [(1, 1_000, NOW)]
    assert draft_tier(connect.pk, "starter", MORE, BY)[0].version == 2


def test_what_is_published_is_not_discarded(connect: Plan):
    assert refused(versions.discard_plan, connect.pk, BY) == ("published", "")
    assert refused(versions.discard_tier, Tier.objects.get(key="starter").pk, BY) == ("published", "")


def test_a_plan_in_draft_changes_and_is_discarded_with_its_tiers(club: Plan):
    assert draft_plan("club", {**TERMS, "unit": "activated_contacts"}, BY)[1] == Drafted.CHANGED
    assert rows(Plan, "unit", key="club") == ["activated_contacts"]

    versions.discard_plan(club.pk, BY)

    assert not Plan.objects.exists()
    assert not Tier.objects.exists()


@pytest.mark.parametrize("term", ["unit", "period_rule", "at_limit", "grace_hours", "name"])
def test_a_published_plan_is_drafted_no_more(connect: Plan, term: str):
    other = {"unit": "activated_contacts", "period_rule": "calendar_month", "grace_hours": 1}
    same = {name: getattr(connect, name) for name in versions.PLAN_TERMS}

    assert draft_plan("connect", same, BY)[1] == Drafted.UNCHANGED
    assert refused(draft_plan, "connect", {**same, term: other.get(term, "hold")}, BY) == ("published", term)


def test_a_published_plan_may_be_called_otherwise(connect: Plan):
    versions.rename_plan(connect.pk, "Connect 2026", BY)
    versions.rename_plan(connect.pk, "Connect 2026", BY)

    assert rows(Plan, "name", key="connect") == ["Connect 2026"]
    assert audited() == [("catalogue.plan_renamed", "staff sam", "prices of 2027")]


# -- publishing --------------------------------------------------------------------------------------------------------


def test_publishing_twice_publishes_once(draft: Tier):
    publish_tier(draft.pk, BY)
    publish_tier(draft.pk, By("staff kim", "again", NOW + timedelta(days=1)))

    assert versions_of("starter") == [(1, 1_000, NOW), (2, 1_500, NOW)]
    assert [action for action, *_ in audited()] == ["catalogue.tier_drafted", "catalogue.tier_published"]


def test_a_plan_is_published_with_its_tiers(club: Plan):
    publish_plan(club.pk, BY)
    publish_plan(club.pk, By("staff kim", "again", NOW + timedelta(days=1)))

    assert rows(Plan, "published_at") == rows(Tier, "published_at") == [NOW]
    assert tier_for("club", None, date(2026, 1, 1)).key == "gold"


def test_a_plan_without_tiers_is_not_published(db: None):
    plan, _ = draft_plan("club", TERMS, BY)

    assert refused(publish_plan, plan.pk, BY) == ("no_tiers", "")


def test_a_tier_is_not_published_before_its_plan(club: Plan):
    assert refused(publish_tier, club.tiers.get().pk, BY) == ("plan_unpublished", "")


def test_a_draft_that_has_changed_since_it_was_read_is_not_published(connect: Plan, draft: Tier):
    read = seen([draft])
    draft_tier(connect.pk, "starter", MORE._replace(price=Decimal(1)), BY)

    assert refused(publish_tier, draft.pk, BY, as_seen=read) == ("changed_meanwhile", "")
    assert versions_of("starter")[1] == (2, 1_500, None)


def test_a_draft_that_is_gone_is_missing(draft: Tier):
    versions.discard_tier(draft.pk, BY)

    assert refused(publish_tier, draft.pk, BY) == ("not_found", "")


@pytest.mark.django_db(transaction=True)
def test_of_two_publishers_at_once_one_publishes():
    load(NOW)
    draft, _ = draft_tier(Plan.objects.get(key="connect").pk, "starter", MORE, BY)

    at_once(*(lambda who=who: publish_tier(draft.pk, By(who, "now", NOW)) for who in ("sam", "kim")))

    assert [action for action, *_ in audited()].count("catalogue.tier_published") == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_that_draft_at_once_one_makes_the_draft_and_the_other_changes_it():
    load(NOW)
    plan = Plan.objects.get(key="connect")

    became = at_once(
        *(lambda limit=limit: draft_tier(plan.pk, "starter", MORE._replace(limit=limit), BY)[1] for limit in (7, 8))
    )

    assert sorted(became) == ["changed", "created"]
    assert Tier.objects.filter(key="starter", published_at=None).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_draft_that_is_published_and_discarded_at_once_is_either():
    load(NOW)
    draft, _ = draft_tier(Plan.objects.get(key="connect").pk, "starter", MORE, BY)

    answers = at_once(lambda: publish_tier(draft.pk, BY), lambda: versions.discard_tier(draft.pk, BY))

    assert [isinstance(answer, Refused) for answer in answers].count(True) == 1


# -- which version counts ----------------------------------------------------------------------------------------------


def test_a_draft_is_nobody_s_tier(connect: Plan, draft: Tier, club: Plan):
    assert draft not in tiers_of(connect)
    assert tier_for("connect", "starter", date(2026, 1, 1)).version == 1
    assert newer_version(Tier.objects.get(key="starter", version=1)) is None
    with pytest.raises(Refused):
        tier_for("club", "gold", date(2026, 1, 1))


def test_new_subscriptions_and_upgrades_take_the_newest_version(connect: Plan, draft: Tier):
    publish_tier(draft.pk, BY)

    assert draft in tiers_of(connect)
    assert [tier.key for tier in tiers_of(connect)] == ["trial", "starter", "growth", "professional", "scale"]
    assert tier_for("connect", "starter", date(2026, 1, 1)) == draft
    assert tier_for("connect", None, date(2026, 1, 1)) == draft


def test_the_smallest_that_fits_may_be_the_newer_version_of_one_s_own_tier(connect: Plan, draft: Tier):
    publish_tier(draft.pk, BY)
    present = Tier.objects.get(key="starter", version=1)

    found = smallest_fitting(tiers_of(connect), present, 1_001)

    assert found == draft
    assert [tier.key for tier in higher_tiers(present)] == ["growth", "professional", "scale"]


def test_of_two_tiers_of_one_limit_the_cheaper_fits_first(connect: Plan):
    draft, _ = draft_tier(connect.pk, "starter", Terms(2_500, Decimal("60.00"), trial=False), BY)
    publish_tier(draft.pk, BY)

    found = smallest_fitting(tiers_of(connect), Tier.objects.get(key="trial"), 2_000)

    assert found is not None
    assert found.key == "growth"


@pytest.mark.parametrize("published", [0, 1, 4])
@given(limits=st.lists(st.none() | st.integers(1, 5), min_size=5, max_size=5))
def test_of_each_tier_there_is_just_the_version_published_last(published: int, limits: list[int | None]):
    with transaction.atomic():
        plan = make_plan("club", {"a": 1, "b": 2})
        for limit in limits[:published]:
            draft, became = draft_tier(plan.pk, "a", Terms(limit, Decimal(1), trial=False), BY)
            if became != Drafted.UNCHANGED:
                publish_tier(draft.pk, BY)
        draft_tier(plan.pk, "a", Terms(99, Decimal(1), trial=False), BY)

        found = tiers_of(plan)

        assert sorted(tier.key for tier in found) == ["a", "b"]
        assert found == sorted(found, key=rank)
        numbers = [tier.version for tier in plan.tiers.filter(key="a").order_by("version")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert [tier.version for tier in found if tier.key == "a"] == numbers[-2:-1]
        transaction.set_rollback(True)


# -- what the database refuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guard", "change"),
    [
        ("tier_is_fixed_once_published", {"limit": 7}),
        ("tier_is_fixed_once_published", {"limit": None}),
        ("tier_is_fixed_once_published", {"price": 7}),
        ("tier_is_fixed_once_published", {"trial": True}),
        ("tier_is_fixed_once_published", {"key": "beginner"}),
        ("tier_is_fixed_once_published", {"version": 7}),
        ("tier_is_fixed_once_published", {"published_at": None}),
        ("plan_is_fixed_once_published", {"key": "other"}),
        ("plan_is_fixed_once_published", {"unit": "activated_contacts"}),
        ("plan_is_fixed_once_published", {"period_rule": "calendar_month"}),
        ("plan_is_fixed_once_published", {"at_limit": "pause"}),
        ("plan_is_fixed_once_published", {"grace_hours": 1}),
        ("plan_is_fixed_once_published", {"published_at": None}),
    ],
    ids=str,
)
def test_the_database_lets_nothing_published_change(connect: Plan, guard: str, change: dict[str, Any]):
    table = Plan.objects.all() if guard.startswith("plan") else connect.tiers.filter(key="starter")

    with pytest.raises(IntegrityError, match="is published") as error, transaction.atomic():
        table.update(**change)

    assert error.value.__cause__.diag.constraint_name == guard  # type: ignore[union-attr]


def test_the_database_lets_nothing_published_go(connect: Plan):
    for table in (Tier.objects.filter(key="starter"), Plan.objects.filter(key="connect")):
        with pytest.raises(IntegrityError, match="is published"), transaction.atomic():
            table._raw_delete(table.db)


def test_the_database_lets_drafts_change_and_a_plan_be_renamed(connect: Plan, draft: Tier):
    assert Tier.objects.filter(pk=draft.pk).update(limit=7, price=8) == 1
    assert Plan.objects.filter(pk=connect.pk).update(name="Other") == 1


def test_the_database_lets_nobody_be_on_a_draft(acme: Account):
    plan = Plan.objects.get(key="connect")
    draft, _ = draft_tier(plan.pk, "starter", MORE, BY)

    with pytest.raises(IntegrityError, match="is a draft"), transaction.atomic():
        Subscription.objects.update(tier=draft)
