"""An event that is taken back counts nowhere any more, and leaves what other events gave (DESIGN section 4, Void)."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Account, AuditEntry
from accounts.refusals import Refused
from metering.breakdown import breakdown
from metering.catalogue import reasons_in
from metering.lock import locked
from metering.models import (
    BillingPeriod,
    ConnectionDay,
    CountedContact,
    Event,
    EventVoid,
    Gap,
    LeadScore,
    SyncMember,
    ThresholdCrossing,
)
from metering.reconcile import differences
from metering.upkeep import do_due_work
from metering.voiding import Voided, void
from notifications.models import Notification
from plans.models import Unit
from tests.factories import ACTOR, NOW, deliver, event, put_account, rows
from tests.properties.world import undone

pytestmark = pytest.mark.django_db

MAIL, SYNC, SITE, SCORING = "mailchimp-pipedrive", "pipedrive-mailchimp", "website", "scoring"


def at(text: str) -> datetime:
    """An instant like `2026-12-01` or `2026-12-01 10:30`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


IN_GRACE = at("2026-12-01 12:00")
CLOSED = at("2026-12-03")


@pytest.fixture(autouse=True)
def _recount_is_silent(acme: Account):
    """Whatever a test did: every number is what a recount gives."""
    yield
    assert differences(acme) == []


def happens(name: str, person: str, key: str, source: str = SYNC, **more: Any) -> dict[str, Any]:
    """An event of a type for a person of example.com, in November unless said otherwise."""
    if isinstance(when := more.pop("when", None), str):
        more["time"] = at(when)
    return event(type=name, subject=f"{person}@example.com", id=key, source=source, **more)


def take(account: Account, *events: dict[str, Any], now: datetime = NOW) -> list[str]:
    """Take events in, one batch each; their outcomes."""
    return [next(iter(deliver(account, [each], now=now).outcomes())) for each in events]


def take_back(account: Account, key: str, source: str = SYNC, *, now: datetime = NOW) -> Voided:
    return void(account, source, key, reason="sent by mistake", actor=ACTOR, now=now)


def limit(account: Account, limit: int, at_limit: str, *, now: datetime = NOW) -> None:
    signed_up = {"signed_up_at": account.signed_up_at}
    put_account(account.slug, now=now, limit_override=limit, at_limit=at_limit, **signed_up)


def counted(start: str = "2026-11-01", unit: int = 1) -> list[tuple[str, list[str], str]]:
    """Who counts in a period, why, and since which event."""
    found = CountedContact.objects.filter(period__starts_at=at(start), unit=unit).select_related("contact")
    return sorted(
        (row.contact.identity.partition("@")[0], [reason.label for reason in reasons_in(row.reasons)], row.first_key)
        for row in found
    )


def used(start: str = "2026-11-01") -> tuple[int, int, int, int]:
    """Events, active and activated contacts, and how many of the active were carried in."""
    period = BillingPeriod.objects.get(starts_at=at(start))
    return (period.app_connector_events, period.active_contacts, period.activated_contacts, period.carried_in)


# --- What goes -------------------------------------------------------------------------------------------------------


def test_a_contact_with_no_other_reason_counts_no_more(acme: Account):
    take(acme, happens("engagement.email_opened", "ann", "1", MAIL), happens("web.visited", "bob", "2", SITE))

    assert take_back(acme, "1", MAIL) == Voided(MAIL, "1", NOW)

    assert counted() == [("bob", ["web_visit"], "2")]
    assert used() == (0, 1, 0, 0)
    assert rows(ConnectionDay, "connection__key", "events") == [(MAIL, 0), (SITE, 1)]
    assert rows(Event, "key", "state") == [("1", 5), ("2", 1)]


def test_a_contact_with_another_reason_goes_on_counting_for_that(acme: Account):
    take(
        acme,
        happens("engagement.email_opened", "ann", "1", MAIL, when="2026-11-20"),
        happens("engagement.email_opened", "ann", "2", MAIL, when="2026-11-21"),
        happens("web.visited", "ann", "3", SITE, when="2026-11-19 10:00"),
    )

    take_back(acme, "3", SITE)
    assert counted() == [("ann", ["email_opened"], "1")]
    take_back(acme, "1", MAIL)
    assert counted() == [("ann", ["email_opened"], "2")]
    assert used() == (1, 1, 0, 0)
    take_back(acme, "2", MAIL)
    assert (counted(), used()) == ([], (0, 0, 0, 0))


def test_the_other_unit_is_left_alone(acme: Account):
    take(acme, happens("automation.ai_reply", "ann", "1", SITE), happens("web.visited", "ann", "2", SITE))

    take_back(acme, "2", SITE)

    assert (counted(), counted(unit=2)) == ([], [("ann", ["ai_reply"], "1")])
    assert used() == (0, 0, 1, 0)


def test_what_counts_for_nobody_is_taken_out_of_its_day(acme: Account):
    take(acme, happens("crm.tagged", "ann", "1"), happens("score.set", "bob", "2", SCORING, data={"value": 0}))

    take_back(acme, "1")
    take_back(acme, "2", SCORING)

    assert rows(ConnectionDay, "events") == [0, 0]
    assert (counted(), used()) == ([], (0, 0, 0, 0))


def test_it_goes_from_its_day_though_the_zone_has_changed_since(acme: Account):
    take(acme, happens("web.visited", "ann", "1", SITE, when="2026-11-20 23:30"))
    put_account("acme", timezone="Asia/Tokyo")

    take_back(acme, "1", SITE)

    assert rows(ConnectionDay, "day", "events") == [(at("2026-11-20").date(), 0)]


def test_of_a_renamed_contact_what_its_old_address_did_can_be_taken_back(acme: Account):
    renamed = happens("contact.renamed", "anna", "2", data={"from": "ann@example.com"})
    take(acme, happens("contact.matched", "ann", "1"), renamed, happens("web.visited", "anna", "3", SITE))

    take_back(acme, "1")

    assert counted() == [("anna", ["web_visit"], "3")]
    assert rows(SyncMember, "contact__identity", "holds") == [("anna@example.com", False)]


def test_of_two_that_counted_before_they_were_one_only_the_one_goes(acme: Account):
    renamed = happens("contact.renamed", "bob", "3", data={"from": "ann@example.com"})
    take(acme, happens("web.visited", "ann", "1", SITE), happens("web.visited", "bob", "2", SITE), renamed)

    take_back(acme, "1", SITE)

    assert counted() == [("bob", ["web_visit"], "2")]


def test_who_when_and_why_are_kept_without_an_address(acme: Account):
    take(acme, happens("web.visited", "ann", "1", SITE))

    take_back(acme, "1", SITE)

    assert rows(EventVoid, "event__key", "at", "actor", "reason") == [("1", NOW, ACTOR, "sent by mistake")]
    [entry] = AuditEntry.objects.filter(action="event.voided")
    assert (entry.actor, entry.reason, entry.before) == (ACTOR, "sent by mistake", {"state": "recorded"})
    assert entry.after == {"state": "voided", "source": SITE, "id": "1"}


def test_taking_it_back_again_changes_nothing_and_answers_the_same(acme: Account):
    take(acme, happens("web.visited", "ann", "1", SITE), happens("web.visited", "ann", "2", SITE))
    first = take_back(acme, "1", SITE)

    assert take_back(acme, "1", SITE, now=at("2026-11-25")) == first

    assert used() == (0, 1, 0, 0)
    assert (EventVoid.objects.count(), AuditEntry.objects.filter(action="event.voided").count()) == (1, 1)


def test_when_it_comes_again_it_is_told_what_it_is_now(acme: Account):
    again = happens("web.visited", "ann", "1", SITE)
    take(acme, again)
    take_back(acme, "1", SITE)

    [item] = deliver(acme, [again]).items

    assert (item.verdict.outcome, item.verdict.first) == ("duplicate", "voided")
    assert counted() == []


# --- What cannot be taken back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "key"), [("nowhere", "1"), (SITE, "2"), (MAIL, "1"), ("", ""), (SITE, "1 ")])
def test_what_does_not_exist_is_not_found(acme: Account, globex: Account, source: str, key: str):
    take(acme, happens("web.visited", "ann", "1", SITE))

    with pytest.raises(Refused) as refused:
        take_back(acme, key, source)
    assert (refused.value.code, refused.value.status) == ("not_found", 404)
    with pytest.raises(Refused):
        take_back(globex, "1", SITE)
    assert (used(), EventVoid.objects.count()) == ((0, 1, 0, 0), 0)


def test_a_closed_period_stays_as_it_is(acme: Account):
    take(acme, happens("web.visited", "ann", "1", SITE))

    with pytest.raises(Refused) as refused:
        take_back(acme, "1", SITE, now=CLOSED)

    assert (refused.value.code, refused.value.status) == ("period_closed", 409)
    assert (used(), rows(Event, "state")) == ((0, 1, 0, 0), [1])


def test_an_ended_period_is_corrected_until_it_closes(acme: Account):
    take(acme, happens("web.visited", "ann", "1", SITE), happens("web.visited", "bob", "2", SITE))

    take_back(acme, "1", SITE, now=IN_GRACE)

    assert (counted(), used()) == ([("bob", ["web_visit"], "2")], (0, 1, 0, 0))
    with locked(acme.pk):
        do_due_work(acme, CLOSED)


def test_what_is_late_counts_nowhere(acme: Account):
    take(acme, happens("web.visited", "ann", "0", SITE))
    assert take(acme, happens("web.visited", "bob", "1", SITE, when="2026-11-20"), now=CLOSED) == ["late"]

    with pytest.raises(Refused) as refused:
        take_back(acme, "1", SITE, now=CLOSED)

    assert (refused.value.code, refused.value.status) == ("not_counted", 409)


def test_what_is_limited_counts_nowhere(acme: Account):
    limit(acme, 1, "limit_new")
    two = [happens("web.visited", "ann", "1", SITE), happens("web.visited", "bob", "2", SITE)]
    assert take(acme, *two) == ["recorded", "limited"]

    with pytest.raises(Refused) as refused:
        take_back(acme, "2", SITE)

    assert refused.value.code == "not_counted"


# --- States ----------------------------------------------------------------------------------------------------------


def test_a_membership_ends_with_its_last_transition(acme: Account):
    take(acme, happens("contact.matched", "ann", "1", when="2026-11-10"))
    take(acme, happens("contact.created_in_crm", "ann", "2", when="2026-11-11"))

    take_back(acme, "2")

    assert rows(SyncMember, "holds", "changed_at", "changed_by") == [(False, at("2026-11-11"), "2")]
    assert counted() == [("ann", ["contact_sync"], "1")]


def test_a_membership_stays_without_an_earlier_transition(acme: Account):
    take(acme, happens("contact.matched", "ann", "1", when="2026-11-10"))
    take(acme, happens("contact.created_in_crm", "ann", "2", when="2026-11-11"))

    take_back(acme, "1")

    assert rows(SyncMember, "holds", "changed_by") == [(True, "2")]


def test_a_member_that_left_does_not_return(acme: Account):
    take(acme, happens("contact.matched", "ann", "1", when="2026-11-10"))
    take(acme, happens("contact.unmatched", "ann", "2", when="2026-11-11"))

    take_back(acme, "2")

    assert rows(SyncMember, "holds", "changed_by") == [(False, "2")]


def test_a_refusal_that_is_taken_back_refuses_nobody(acme: Account):
    take(acme, happens("contact.refused", "ann", "1"))

    take_back(acme, "1")

    assert rows(SyncMember, "holds", "refused_since") == [(False, None)]


def test_a_score_ends_with_its_last_transition(acme: Account):
    take(acme, happens("score.set", "ann", "1", SCORING, data={"value": 9, "expires_at": "2027-01-01T00:00:00Z"}))

    take_back(acme, "1", SCORING)

    assert rows(LeadScore, "holds", "value", "expires_at") == [(False, 0.0, None)]
    assert take(acme, happens("web.visited", "bob", "2", SITE, when="2026-12-05"), now=at("2026-12-05")) == ["recorded"]
    assert counted("2026-12-01") == [("bob", ["web_visit"], "2")]


@pytest.mark.parametrize(
    ("name", "source", "data"), [("contact.matched", SYNC, {}), ("score.set", SCORING, {"value": 5})]
)
def test_what_it_carried_into_a_provisional_period_goes_too(acme: Account, name: str, source: str, data: Any):
    take(acme, happens(name, "ann", "1", source, data=data))
    take(acme, happens("web.visited", "bob", "2", SITE, when="2026-12-01 01:00"), now=IN_GRACE)
    assert used("2026-12-01") == (0, 2, 0, 1)

    take_back(acme, "1", source, now=IN_GRACE)

    assert (counted(), counted("2026-12-01")) == ([], [("bob", ["web_visit"], "2")])
    assert used("2026-12-01") == (0, 1, 0, 0)


def test_what_it_carried_in_goes_though_another_transition_came_since(acme: Account):
    take(acme, happens("contact.matched", "ann", "1"))
    take(acme, happens("contact.matched", "ann", "2", when="2026-12-01 01:00"), now=IN_GRACE)

    take_back(acme, "1", now=IN_GRACE)

    assert counted("2026-12-01") == [("ann", ["contact_sync"], "2")]
    assert used("2026-12-01") == (0, 1, 0, 0)
    assert rows(SyncMember, "holds", "prior_holds") == [(True, False)]


def test_what_another_event_carried_in_stays(acme: Account):
    take(acme, happens("contact.matched", "ann", "1", when="2026-11-10"))
    take(acme, happens("contact.created_in_crm", "ann", "2", when="2026-11-11"))
    take(acme, happens("web.visited", "bob", "3", SITE, when="2026-12-01 01:00"), now=IN_GRACE)

    take_back(acme, "1", now=IN_GRACE)

    assert used("2026-12-01") == (0, 2, 0, 1)


# --- At the limit ----------------------------------------------------------------------------------------------------

THREE = [happens("web.visited", person, str(place), SITE) for place, person in enumerate(["ann", "bob", "cid"])]


def test_where_it_held_the_oldest_held_event_takes_the_room(acme: Account):
    limit(acme, 1, "hold")
    assert take(acme, *THREE) == ["recorded", "held", "held"]

    take_back(acme, "0", SITE)

    assert counted() == [("bob", ["web_visit"], "1")]
    assert rows(Event, "key", "state") == [("0", 5), ("1", 1), ("2", 3)]
    assert rows(BillingPeriod, "active_contacts", "limit_state") == [(1, "holding")]
    take_back(acme, "2", SITE)
    take_back(acme, "1", SITE)
    assert rows(BillingPeriod, "active_contacts", "limit_state") == [(0, "")]
    assert take(acme, happens("web.visited", "dee", "3", SITE)) == ["recorded"]


def test_of_events_the_next_one_has_room(initech: Account):
    limit(initech, 1, "hold")
    forms = [happens("engagement.form_submitted", "ann", str(place), "typeform") for place in range(3)]
    assert take(initech, *forms) == ["recorded", "held", "held"]

    take_back(initech, "0", "typeform")

    assert rows(BillingPeriod, "app_connector_events", "limit_state") == [(1, "holding")]
    assert rows(Event, "key", "state") == [("0", 5), ("1", 1), ("2", 3)]
    assert differences(initech) == []


def test_where_it_paused_events_are_taken_in_again(acme: Account):
    limit(acme, 1, "pause")
    assert take(acme, *THREE) == ["recorded", "dropped", "dropped"]

    take_back(acme, "0", SITE, now=at("2026-11-23"))

    assert rows(BillingPeriod, "limit_state") == [""]
    assert rows(Gap, "reason", "events", "ends_at") == [("limit_reached", 2, at("2026-11-23"))]
    assert take(acme, *THREE[1:], now=at("2026-11-23")) == ["recorded", "dropped"]
    assert "resumed" in rows(Notification, "kind")


def test_where_it_limited_the_next_new_contact_is_served(acme: Account):
    limit(acme, 1, "limit_new")
    assert take(acme, *THREE[:2]) == ["recorded", "limited"]

    take_back(acme, "0", SITE)

    assert rows(BillingPeriod, "limit_state") == [""]
    assert take(acme, THREE[1], THREE[2]) == ["recorded", "limited"]
    assert counted() == [("bob", ["web_visit"], "1")]


def test_a_count_that_stays_at_the_limit_changes_nothing_there(acme: Account):
    limit(acme, 1, "hold")
    take(acme, *THREE, happens("engagement.email_opened", "ann", "9", MAIL))

    take_back(acme, "0", SITE)

    assert counted() == [("ann", ["email_opened"], "9")]
    assert rows(BillingPeriod, "active_contacts", "limit_state") == [(1, "holding")]


def test_an_event_that_is_held_is_never_replayed_and_ends_nothing(acme: Account):
    limit(acme, 1, "hold")
    held = happens("contact.matched", "bob", "2")
    assert take(acme, happens("web.visited", "ann", "1", SITE), held) == ["recorded", "held"]

    take_back(acme, "2")
    limit(acme, 100, "hold")

    assert counted() == [("ann", ["web_visit"], "1")]
    assert rows(SyncMember, "contact") == []


def test_a_membership_outlives_a_held_event_that_is_taken_back(initech: Account):
    limit(initech, 1, "hold")
    link = "salesforce-mailchimp"
    events = [
        happens("contact.created_in_crm", "ann", "1", link, when="2026-11-20"),
        happens("contact.updated_in_marketing", "ann", "2", link, when="2026-11-21"),
    ]
    assert take(initech, *events) == ["recorded", "held"]

    take_back(initech, "2", link)

    assert rows(SyncMember, "holds", "changed_by") == [(True, "1")]
    assert differences(initech) == []


def test_a_replayed_event_goes_from_the_period_that_it_counts_in(acme: Account):
    limit(acme, 1, "hold")
    take(acme, happens("web.visited", "ann", "1", SITE), happens("contact.matched", "bob", "2"))
    december = at("2026-12-05")
    with locked(acme.pk):
        do_due_work(acme, december)
    limit(acme, 2, "hold", now=december)
    assert counted("2026-12-01") == [("bob", ["contact_sync"], "2")]

    take_back(acme, "2", now=december)

    assert (counted(), counted("2026-12-01")) == ([("ann", ["web_visit"], "1")], [])
    assert rows(SyncMember, "holds") == [False]


def test_an_ended_period_leaves_its_state_and_the_open_one_keeps_its_own(acme: Account):
    limit(acme, 1, "limit_new")
    take(acme, *THREE[:2])
    late = happens("web.visited", "dee", "7", SITE, when="2026-11-30")
    limit(acme, 5, "limit_new", now=IN_GRACE)
    assert take(acme, late, now=IN_GRACE) == ["limited"]

    take_back(acme, "0", SITE, now=IN_GRACE)

    assert rows(BillingPeriod, "starts_at", "limit_state") == [(at("2026-11-01"), ""), (at("2026-12-01"), "")]
    assert take(acme, late, now=IN_GRACE) == ["recorded"]


def test_what_was_crossed_stays_crossed(acme: Account):
    limit(acme, 1, "hold")
    take(acme, THREE[0])

    take_back(acme, "0", SITE)

    assert rows(ThresholdCrossing, "percent", "used") == [(100, 1), (80, 1)]


# --- As if it had never come -----------------------------------------------------------------------------------------

_HAPPENED = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cid"]),
        st.sampled_from(
            [
                ("contact.created_in_crm", SYNC),
                ("contact.matched", "hubspot-brevo"),
                ("contact.unmatched", SYNC),
                ("engagement.email_opened", MAIL),
                ("web.visited", SITE),
                ("score.set", SCORING),
                ("automation.ai_reply", SITE),
                ("crm.tagged", SYNC),
            ]
        ),
        st.integers(0, 3),
    ),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(happened=_HAPPENED, back=st.sets(st.integers(0, 11)), unsorted=st.randoms(use_true_random=False))
def test_what_is_taken_back_might_as_well_never_have_come(acme: Account, happened: Any, back: set[int], unsorted: Any):
    events = [
        happens(name, person, str(place), source, when=f"2026-11-2{hour // 2} 0{hour % 2}:00", data={"value": hour % 2})
        for place, (person, (name, source), hour) in enumerate(happened)
    ]
    gone = [place for place in back if place < len(events)]
    unsorted.shuffle(gone)
    with undone():
        take(acme, happens("crm.note_added", "dee", "x"), *events)
        for place in gone:
            take_back(acme, str(place), events[place]["source"])
        assert differences(acme) == []
        corrected = books(acme)
    with undone():
        kept = [each for place, each in enumerate(events) if place not in back]
        take(acme, happens("crm.note_added", "dee", "x"), *kept)
        assert books(acme) == corrected


def books(account: Account) -> list[Any]:
    """Every number, reason and first cause, by address."""
    [period] = BillingPeriod.objects.filter(account=account)
    shown = ("unit", "contact__identity", "reasons", "connections", "event_reasons", "first_at", "first_key")
    return [
        used(),
        [breakdown(period, unit) for unit in Unit.values],
        rows(CountedContact, *shown),
        rows(ConnectionDay, "connection__key", "day", "type", "events", events__gt=0),
    ]
