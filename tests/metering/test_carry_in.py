"""Members and live scores count at once when a period opens, and late events put that right (DESIGN section 6)."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from accounts.models import Account
from metering.catalogue import reasons_in
from metering.lock import locked
from metering.models import BillingPeriod, ConnectionTally, CountedContact, ReasonSetTally
from metering.periods import do_due_work
from metering.reconcile import differences
from metering.usage import usage
from tests.factories import NOW, deliver, event, put_connection, rows

pytestmark = pytest.mark.django_db


def at(text: str) -> datetime:
    """An instant like `2026-12-01` or `2026-12-01 10:30`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


DECEMBER, JANUARY = at("2026-12-01"), at("2027-01-01")
AN_HOUR_LATER = DECEMBER + timedelta(hours=1)
SYNC, SECOND_SYNC = "pipedrive-mailchimp", "hubspot-brevo"


@pytest.fixture(autouse=True)
def _recount_is_silent(acme: Account):
    """Whatever a test did: every number is what a recount gives."""
    yield
    assert differences(acme) == []


def happens(account: Account, name: str, *people: str, when: datetime | str, now: datetime | None = None, **more: Any):
    """An event of a type for each of some people, taken in when it happens or later."""
    time = at(when) if isinstance(when, str) else when
    events = [event(type=name, subject=f"{person}@example.com", time=time, **more) for person in people]
    receipt = deliver(account, events, now=now or max(time, NOW))
    assert receipt.outcomes().keys() <= {"recorded", "late"}
    return receipt


def due(account: Account, now: datetime) -> None:
    with locked(account.pk):
        do_due_work(Account.objects.get(pk=account.pk), now)


def counted(start: datetime = DECEMBER) -> list[tuple[str, list[str], bool]]:
    """Who counts in a period, why, and whether carried in."""
    found = CountedContact.objects.filter(period__starts_at=start, unit=1).order_by("contact__identity")
    return [
        (
            row.contact.identity.partition("@")[0],
            [reason.label for reason in reasons_in(row.reasons)],
            row.carried_in,
        )
        for row in found
    ]


def carried(*people: str, reason: str = "contact_sync") -> list[tuple[str, list[str], bool]]:
    """These people, each carried in and nothing else."""
    return [(person, [reason], True) for person in people]


# --- At opening ------------------------------------------------------------------------------------------------------


def test_members_count_at_once_and_those_who_left_do_not(acme: Account):
    happens(acme, "contact.matched", "ann", "bob", "cid", when="2026-11-20")
    happens(acme, "contact.refused", "dee", when="2026-11-20")
    happens(acme, "contact.unmatched", "bob", when="2026-11-21")
    happens(acme, "engagement.email_opened", "eve", when="2026-11-21")

    due(acme, DECEMBER)

    assert counted() == carried("ann", "cid", "dee")
    assert rows(BillingPeriod, "active_contacts", "carried_in", starts_at=DECEMBER) == [(3, 3)]


def test_what_is_carried_in_stands_in_the_tallies_and_in_usage(acme: Account):
    happens(acme, "contact.matched", "ann", "bob", when="2026-11-20")
    happens(acme, "contact.matched", "bob", when="2026-11-20", source=SECOND_SYNC)

    answer = usage(acme, AN_HOUR_LATER)

    assert (answer["used"], answer["carried_in"], answer["new"]) == (2, 2, 0)
    assert answer["by_reason"] == [{"reason": "contact_sync", "contacts": 2, "only_here": 2}]
    assert answer["by_connection"] == [
        {"connection": SYNC, "contacts": 2, "only_here": 1},
        {"connection": SECOND_SYNC, "contacts": 1, "only_here": 0},
    ]
    assert rows(ReasonSetTally, "reasons", "contacts", period__starts_at=DECEMBER) == [(1, 2)]
    assert rows(ConnectionTally, "connection__key", "contacts", "only_here", period__starts_at=DECEMBER) == [
        (SECOND_SYNC, 1, 0),
        (SYNC, 2, 1),
    ]


def test_a_member_stays_counted_in_the_period_in_which_it_left(acme: Account):
    happens(acme, "contact.matched", "ann", when="2026-11-20")
    happens(acme, "contact.unmatched", "ann", when="2026-11-21")

    assert counted(at("2026-11-01")) == [("ann", ["contact_sync"], False)]


def test_a_contact_of_another_kind_of_connection_is_no_member(acme: Account):
    happens(acme, "contact.created_in_crm", "ann", when="2026-11-20", source="website")

    due(acme, DECEMBER)

    assert counted() == []


@pytest.mark.parametrize(
    ("days", "data", "lives"),
    [
        (None, {}, True),
        (None, {"expires_at": "2026-12-01T00:00:00Z"}, False),
        (None, {"expires_at": "2026-12-01T00:00:00.000001Z"}, True),
        (10, {}, False),
        (11, {}, True),
        (10, {"expires_at": "2027-06-01T00:00:00Z"}, True),
        (60, {"expires_at": "2026-11-30T00:00:00Z"}, False),
    ],
)
def test_a_score_counts_again_while_it_lives(acme: Account, days: int | None, data: dict[str, Any], lives: bool):
    """Set on 21 November at midnight: ten days later is 1 December."""
    put_connection(acme, "scoring", "lead_scoring", score_expiry_days=days)
    happens(acme, "score.set", "ann", when="2026-11-21", source="scoring", data={"value": 5, **data})

    due(acme, DECEMBER)

    assert counted() == (carried("ann", reason="lead_score") if lives else [])


@pytest.mark.parametrize("name", ["score.cleared", "score.set"])
def test_a_cleared_score_does_not_count_again(acme: Account, name: str):
    happens(acme, "score.set", "ann", "bob", when="2026-11-20", source="scoring", data={"value": 5})
    happens(acme, name, "ann", when="2026-11-21", source="scoring", data={"value": 0})

    due(acme, DECEMBER)

    assert counted() == carried("bob", reason="lead_score")


def test_a_shorter_expiry_holds_for_scores_that_were_set_before(acme: Account):
    happens(acme, "score.set", "ann", when="2026-11-01 00:00:01", source="scoring", data={"value": 5}, now=NOW)
    happens(acme, "score.set", "bob", when="2026-11-25", source="scoring", data={"value": 5})
    put_connection(acme, "scoring", "lead_scoring", score_expiry_days=60)

    due(acme, DECEMBER)
    assert counted() == carried("ann", "bob", reason="lead_score")
    put_connection(acme, "scoring", "lead_scoring", score_expiry_days=40)
    due(acme, JANUARY)

    assert counted(JANUARY) == carried("bob", reason="lead_score")
    assert counted() == carried("ann", "bob", reason="lead_score")


@pytest.mark.parametrize(
    ("off", "on", "carries"),
    [
        ("2026-11-25", None, False),
        ("2026-12-01", None, False),
        ("2026-12-01 00:00:00.000001", None, True),
        ("2026-11-25", "2026-11-26", True),
        ("2026-11-25", "2026-12-01", True),
        ("2026-11-25", "2026-12-01 00:00:00.000001", False),
    ],
)
def test_a_connection_that_is_disabled_at_the_start_carries_nothing_in(
    acme: Account, off: str, on: str | None, carries: bool
):
    happens(acme, "contact.matched", "ann", when="2026-11-20")
    happens(acme, "score.set", "bob", when="2026-11-20", data={"value": 1})
    put_connection(acme, SYNC, enabled=False, now=at(off))
    if on:
        put_connection(acme, SYNC, enabled=True, now=at(on))

    due(acme, AN_HOUR_LATER)

    assert counted() == (carried("ann") + carried("bob", reason="lead_score") if carries else [])


def test_members_count_again_when_their_connection_is_enabled_again(acme: Account):
    happens(acme, "contact.matched", "ann", when="2026-11-20")
    put_connection(acme, SYNC, enabled=False, now=at("2026-11-25"))
    due(acme, DECEMBER)
    put_connection(acme, SYNC, enabled=True, now=at("2026-12-10"))

    due(acme, JANUARY)

    assert (counted(), counted(JANUARY)) == ([], carried("ann"))


def test_a_contact_with_two_states_counts_once_with_both_reasons(acme: Account):
    happens(acme, "contact.matched", "ann", when="2026-11-20")
    happens(acme, "contact.matched", "ann", when="2026-11-20", source=SECOND_SYNC)
    happens(acme, "score.set", "ann", when="2026-11-20", data={"value": 1})

    due(acme, DECEMBER)

    assert counted() == [("ann", ["contact_sync", "lead_score"], True)]
    [row] = CountedContact.objects.filter(period__starts_at=DECEMBER)
    keys = dict(acme.connections.values_list("pk", "key"))
    assert dict(zip([keys[each] for each in row.connections], row.carried_reasons, strict=True)) == {
        SYNC: 1 | 1 << 10,
        SECOND_SYNC: 1,
    }
    assert (row.event_reasons, row.first_at) == ([0, 0], None)


def test_members_count_through_silent_months(acme: Account):
    happens(acme, "contact.matched", "ann", "bob", when="2026-11-20")

    happens(acme, "contact.unmatched", "bob", when="2027-02-10")

    for start in ("2026-12-01", "2027-01-01", "2027-02-01"):
        assert counted(at(start)) == carried("ann", "bob")
    due(acme, at("2027-03-01"))
    assert counted(at("2027-03-01")) == carried("ann")


def test_a_carried_in_contact_that_does_something_keeps_both(acme: Account):
    happens(acme, "contact.matched", "ann", when="2026-11-20")

    happens(acme, "engagement.email_opened", "ann", when="2026-12-05", id="evt-1")

    assert counted() == [("ann", ["contact_sync", "email_opened"], True)]
    assert rows(CountedContact, "first_at", "first_key", period__starts_at=DECEMBER) == [(at("2026-12-05"), "evt-1")]
    assert rows(BillingPeriod, "active_contacts", "carried_in", starts_at=DECEMBER) == [(1, 1)]


def test_who_joins_at_the_first_instant_is_new_and_not_carried_in(acme: Account):
    happens(acme, "contact.matched", "ann", when=DECEMBER)

    assert counted() == [("ann", ["contact_sync"], False)]


# --- Corrected while provisional -------------------------------------------------------------------------------------


def test_an_unmatched_of_the_last_minute_takes_its_contact_out_again(acme: Account):
    happens(acme, "contact.matched", "ann", "bob", when="2026-11-20")
    due(acme, DECEMBER)
    assert counted() == carried("ann", "bob")

    happens(acme, "contact.unmatched", "ann", when="2026-11-30 23:59", now=AN_HOUR_LATER)

    assert counted() == carried("bob")
    answer = usage(acme, AN_HOUR_LATER)
    assert (answer["used"], answer["carried_in"], answer["new"], answer["totals"]["active_contacts"]) == (1, 1, 0, 1)
    assert answer["by_reason"] == [{"reason": "contact_sync", "contacts": 1, "only_here": 1}]
    assert answer["by_connection"] == [{"connection": SYNC, "contacts": 1, "only_here": 1}]
    assert rows(ReasonSetTally, "contacts", period__starts_at=DECEMBER) == [1]
    assert rows(ConnectionTally, "contacts", "only_here", period__starts_at=DECEMBER) == [(1, 1)]
    assert counted(at("2026-11-01")) == [(person, ["contact_sync"], False) for person in ("ann", "bob")]


def test_a_matched_of_the_last_minute_puts_its_contact_in(acme: Account):
    happens(acme, "engagement.email_opened", "ann", when="2026-11-20")
    due(acme, DECEMBER)

    happens(acme, "contact.matched", "ann", "bob", when="2026-11-30 23:59", now=AN_HOUR_LATER)

    assert counted() == carried("ann", "bob")
    answer = usage(acme, AN_HOUR_LATER)
    assert (answer["used"], answer["carried_in"], answer["new"]) == (2, 2, 0)


def test_a_contact_with_another_reason_stays_counted(acme: Account):
    happens(acme, "contact.matched", "ann", when="2026-11-20")
    happens(acme, "engagement.email_opened", "ann", when="2026-12-01 00:30")

    happens(acme, "contact.unmatched", "ann", when="2026-11-30 23:59", now=AN_HOUR_LATER)

    assert counted() == [("ann", ["email_opened"], False)]
    assert rows(BillingPeriod, "active_contacts", "carried_in", starts_at=DECEMBER) == [(1, 0)]


def test_a_contact_with_a_second_membership_stays_carried_in_by_that(acme: Account):
    happens(acme, "contact.matched", "ann", when="2026-11-20")
    happens(acme, "contact.matched", "ann", when="2026-11-20", source=SECOND_SYNC)
    due(acme, DECEMBER)

    happens(acme, "contact.unmatched", "ann", when="2026-11-30 23:59", now=AN_HOUR_LATER)

    assert counted() == carried("ann")
    assert usage(acme, AN_HOUR_LATER)["by_connection"] == [{"connection": SECOND_SYNC, "contacts": 1, "only_here": 1}]
    happens(acme, "contact.unmatched", "ann", when="2026-11-30 23:59", now=AN_HOUR_LATER, source=SECOND_SYNC)
    assert counted() == []


TRANSITIONS = (
    ("contact.matched", "2026-11-30 23:50"),
    ("contact.unmatched", "2026-11-30 23:55"),
    ("contact.matched", "2026-12-01 00:05"),
)


@pytest.mark.parametrize("order", list(permutations(TRANSITIONS)))
def test_the_order_in_which_transitions_arrive_does_not_matter(acme: Account, order: tuple[tuple[str, str], ...]):
    due_first = [event(subject="zed@example.com", time=at("2026-11-20"))]
    deliver(acme, due_first)

    for minutes, (name, when) in enumerate(order):
        happens(acme, name, "ann", when=when, now=AN_HOUR_LATER + timedelta(minutes=minutes))

    assert counted() == [("ann", ["contact_sync"], False)]
    due(acme, JANUARY)
    assert counted(JANUARY) == carried("ann")


@pytest.mark.parametrize("order", list(permutations(TRANSITIONS[:2])))
@pytest.mark.parametrize("opened_before", [True, False])
def test_a_reordered_pair_leaves_the_right_state(acme: Account, order: tuple[Any, ...], opened_before: bool):
    happens(acme, "engagement.email_opened", "zed", when="2026-11-20")
    if opened_before:
        due(acme, DECEMBER)

    for name, when in order:
        happens(acme, name, "ann", when=when, now=AN_HOUR_LATER)
    due(acme, AN_HOUR_LATER)

    assert counted() == []


def test_an_old_event_behind_a_newer_one_still_corrects_the_carry_in(acme: Account):
    happens(acme, "contact.matched", "ann", when="2026-11-20")
    happens(acme, "contact.matched", "ann", when="2026-12-01 00:30")
    assert counted() == carried("ann")

    happens(acme, "contact.unmatched", "ann", when="2026-11-30 23:59", now=AN_HOUR_LATER)

    assert counted() == [("ann", ["contact_sync"], False)]
    due(acme, JANUARY)
    assert counted(JANUARY) == carried("ann")


def test_a_resent_correction_corrects_nothing_twice(acme: Account):
    happens(acme, "contact.matched", "ann", "bob", when="2026-11-20")
    due(acme, DECEMBER)
    sent = event(type="contact.unmatched", subject="ann@example.com", time=at("2026-11-30 23:59"))

    outcomes = [deliver(acme, [sent, sent], now=AN_HOUR_LATER).outcomes() for _ in range(2)]

    assert outcomes == [{"recorded": 1, "duplicate": 1}, {"duplicate": 2}]
    assert rows(BillingPeriod, "active_contacts", "carried_in", starts_at=DECEMBER) == [(1, 1)]


def test_a_score_that_proves_cleared_or_set_corrects_the_carry_in(acme: Account):
    happens(acme, "score.set", "ann", when="2026-11-20", source="scoring", data={"value": 5})
    due(acme, DECEMBER)

    last_minute = at("2026-11-30 23:59")
    happens(acme, "score.cleared", "ann", when=last_minute, now=AN_HOUR_LATER, source="scoring")
    happens(acme, "score.set", "bob", when=last_minute, now=AN_HOUR_LATER, source="scoring", data={"value": 1})

    assert counted() == carried("bob", reason="lead_score")


def test_a_score_that_had_expired_by_the_start_corrects_nothing(acme: Account):
    put_connection(acme, "scoring", "lead_scoring", score_expiry_days=10)
    happens(acme, "engagement.email_opened", "zed", when="2026-11-20")
    due(acme, DECEMBER)

    happens(acme, "score.set", "ann", when="2026-11-15", now=AN_HOUR_LATER, source="scoring", data={"value": 5})

    assert counted() == []


def test_a_correction_in_the_batch_that_opens_the_period_counts(acme: Account):
    happens(acme, "contact.matched", "ann", "bob", when="2026-11-20")
    events = [
        event(subject="bob@example.com", time=at("2026-12-01 00:10")),
        event(type="contact.unmatched", subject="ann@example.com", time=at("2026-11-30 23:59")),
    ]

    deliver(acme, events, now=AN_HOUR_LATER)

    assert counted() == [("bob", ["contact_sync", "email_opened"], True)]


def test_an_early_opened_period_is_corrected_by_what_still_happens_before_it(acme: Account):
    happens(acme, "contact.matched", "ann", when="2026-11-20")
    happens(acme, "engagement.email_opened", "zed", when=DECEMBER, now=at("2026-11-30 23:56"))
    assert counted() == [*carried("ann"), ("zed", ["email_opened"], False)]

    happens(acme, "contact.unmatched", "ann", when="2026-11-30 23:57")
    happens(acme, "contact.matched", "bob", when="2026-11-30 23:58")

    assert counted() == [*carried("bob"), ("zed", ["email_opened"], False)]


def test_after_the_previous_period_has_closed_nothing_is_corrected(acme: Account):
    happens(acme, "contact.matched", "ann", when="2026-11-20")
    due(acme, DECEMBER)
    after_grace = at("2026-12-02")
    due(acme, after_grace)

    happens(acme, "contact.unmatched", "ann", when="2026-11-30 23:59", now=after_grace)
    happens(acme, "contact.matched", "bob", when="2026-11-30 23:59", now=after_grace)

    assert counted() == carried("ann")
    due(acme, JANUARY)
    assert counted(JANUARY) == carried("bob")


def test_a_grace_that_is_over_by_the_clock_is_over_before_the_scheduler_has_run(acme: Account):
    happens(acme, "contact.matched", "ann", when="2026-11-20")
    due(acme, DECEMBER)

    receipt = happens(acme, "contact.unmatched", "ann", when="2026-11-30 23:59", now=at("2026-12-02"))

    assert receipt.outcomes() == {"late": 1}
    assert counted() == carried("ann")


def test_an_event_in_grace_that_opens_its_period_counts_who_was_a_member_then(acme: Account):
    """A late event of September makes a member; November is opened before October."""
    happens(acme, "contact.matched", "ann", when="2026-09-29", now=at("2026-10-30"))
    happens(acme, "engagement.email_opened", "zed", when="2026-11-01 09:00", now=at("2026-11-01 10:00"))

    happens(acme, "engagement.email_opened", "zed", when="2026-10-31 23:00", now=at("2026-11-01 10:00"))

    assert counted(at("2026-10-01")) == [*carried("ann"), ("zed", ["email_opened"], False)]
    assert counted(at("2026-11-01")) == [*carried("ann"), ("zed", ["email_opened"], False)]
