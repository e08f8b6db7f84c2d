"""Thresholds at 80 % and 100 %: a row for each crossing, written in the transaction that crossed."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError

from accounts.models import Account
from metering.models import ThresholdCrossing
from metering.usage import ensure_current, usage
from tests.factories import ACTOR, NOW, deliver, event, put_account

DECEMBER = datetime.fromisoformat("2026-12-01T00:00:00Z")
COLUMNS = ("percent", "limit", "used", "crossed_at")


def opens(first: int, last: int, **attributes: Any) -> list[dict[str, Any]]:
    """One opened mail each of a row of people."""
    return [event(subject=f"p{number}@example.com", **attributes) for number in range(first, last)]


def limited(account: Account, limit: int) -> Account:
    """The account with a limit of its own."""
    return put_account(account.slug, limit_override=limit, signed_up_at=account.signed_up_at)


def crossings(*columns: str, **filters: Any) -> list[Any]:
    """What crossed, in the order in which it did."""
    found = ThresholdCrossing.objects.filter(**filters).order_by("pk")
    return list(found.values_list(*columns or COLUMNS, flat=len(columns) == 1))


@pytest.fixture
def ten(acme: Account) -> Account:
    """Acme with a limit of 10."""
    return limited(acme, 10)


def test_the_contact_that_reaches_80_percent_crosses_and_the_one_before_does_not(ten: Account):
    deliver(ten, opens(0, 7))
    assert crossings() == []

    deliver(ten, opens(7, 8), now=NOW + timedelta(minutes=1))

    assert crossings() == [(80, 10, 8, NOW + timedelta(minutes=1))]


def test_a_jump_crosses_both_in_order(ten: Account):
    deliver(ten, opens(0, 12))

    assert crossings() == [(80, 10, 8, NOW), (100, 10, 10, NOW)]


def test_what_comes_after_crosses_nothing_again(ten: Account):
    deliver(ten, opens(0, 8))

    deliver(ten, opens(0, 9), now=NOW + timedelta(hours=1))

    assert crossings() == [(80, 10, 8, NOW)]


@pytest.mark.parametrize(("limit", "people"), [(1, 1), (7, 6), (10, 8), (1_000, 800)])
def test_80_percent_is_reached_in_integers(acme: Account, limit: int, people: int):
    limited(acme, limit)
    deliver(acme, opens(0, people - 1))
    assert not ThresholdCrossing.objects.filter(percent=80).exists()

    deliver(acme, opens(people - 1, people))

    assert crossings("used", percent=80) == [people]


def test_a_higher_limit_arms_both_again(ten: Account):
    deliver(ten, opens(0, 10))

    limited(ten, 20)
    deliver(ten, opens(10, 16))

    assert crossings("percent", "limit", "used") == [(80, 10, 8), (100, 10, 10), (80, 20, 16)]


def test_a_lower_limit_below_the_count_is_crossed_at_once(acme: Account):
    deliver(acme, opens(0, 9))

    limited(acme, 10)

    assert crossings("percent", "limit", "used") == [(80, 10, 9)]


def test_what_is_carried_in_crosses_at_the_opening(ten: Account):
    deliver(ten, opens(0, 8, type="contact.matched"))
    at = DECEMBER + timedelta(hours=3)

    ensure_current(ten, at)

    assert crossings(period__starts_at=DECEMBER) == [(80, 10, 8, at)]


def test_a_carry_in_that_is_corrected_crosses_too(ten: Account):
    deliver(ten, opens(0, 7, type="contact.matched"))
    at = DECEMBER + timedelta(hours=3)
    ensure_current(ten, at)

    late = opens(7, 8, type="contact.matched", time=DECEMBER - timedelta(hours=1))
    deliver(ten, late, now=at)

    assert usage(ten, at)["used"] == 8
    assert crossings(period__starts_at=DECEMBER) == [(80, 10, 8, at)]


def test_the_next_period_may_cross_again(ten: Account):
    deliver(ten, opens(0, 8))

    deliver(ten, opens(0, 8, time=DECEMBER), now=DECEMBER)

    assert crossings("period__starts_at__month", "percent") == [(11, 80), (12, 80)]


def test_a_period_in_grace_crosses_nothing(ten: Account):
    deliver(ten, opens(0, 7))

    deliver(ten, opens(7, 10), now=DECEMBER + timedelta(hours=1))

    assert crossings() == []


def test_only_the_unit_of_the_plan_crosses(initech: Account):
    limited(initech, 10)

    deliver(initech, [event(source="typeform", subject="ann@example.com") for _ in range(8)])

    assert crossings("percent", "used") == [(80, 8)]


def test_activated_contacts_cross_by_their_own_count(globex: Account):
    limited(globex, 10)
    deliver(globex, opens(0, 10, source="lead-ads"))
    assert crossings() == []

    deliver(globex, opens(0, 8, source="instagram", type="automation.ai_reply"))

    assert crossings("percent", "used") == [(80, 8)]


def test_a_dry_run_crosses_nothing(ten: Account):
    receipt = deliver(ten, opens(0, 10), dry_run=True)

    assert receipt.usage["acme"].crossed == [80, 100]
    assert crossings() == []


def test_a_crossing_is_stored_once_per_period_limit_and_percentage(ten: Account):
    deliver(ten, opens(0, 8))
    stored = ThresholdCrossing.objects.get()
    stored.pk = None

    with pytest.raises(IntegrityError, match="crossed_once_per_period_limit_and_percent"):
        stored.save(force_insert=True)


def test_who_changed_the_limit_is_in_the_audit_trail(ten: Account):
    assert ten.audit.filter(action="account.changed", actor=ACTOR, after={"limit_override": 10}).count() == 1
