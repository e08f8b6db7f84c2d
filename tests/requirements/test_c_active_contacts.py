"""REQUIREMENTS C: who is active, and where it shows. Later periods: `test_c_active_contacts_over_time`."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account
from metering.models import Contact, SyncMember
from metering.usage import usage
from plans.models import Subscription
from tests.factories import NOW, Caller, deliver, event, put_connection, rows
from tests.requirements.shorthand import DECEMBER, by_connection, by_reason, each, people, used

pytestmark = pytest.mark.django_db

SYNC, OTHER_SYNC, MAIL, WEBSITE, SCORING = (
    "pipedrive-mailchimp",
    "hubspot-brevo",
    "mailchimp-pipedrive",
    "website",
    "scoring",
)


def _score(subject: str, value: float = 12) -> dict[str, Any]:
    return event(source=SCORING, type="score.set", subject=subject, data={"value": value})


def _visit(subject: str) -> dict[str, Any]:
    return event(source=WEBSITE, type="web.visited", subject=subject)


def _open(subject: str) -> dict[str, Any]:
    return event(source=MAIL, type="engagement.email_opened", subject=subject)


def _match(subject: str, source: str = SYNC) -> dict[str, Any]:
    return event(source=source, type="contact.matched", subject=subject)


def test_c1_2000_contacts_in_a_sync_are_2000(acme: Account):
    deliver(acme, each(people(2_000), SYNC, "contact.matched"))

    assert by_reason(acme) == [("contact_sync", 2_000)]
    assert used(acme) == 2_000


def test_c2_a_recorded_engagement_makes_active(acme: Account):
    deliver(acme, [_open("ann@example.com")])

    assert by_reason(acme) == [("email_opened", 1)]
    assert used(acme) == 1


@pytest.mark.parametrize(
    "reason",
    [
        "email_sent",
        "email_opened",
        "email_clicked",
        "email_bounced",
        "unsubscribed",
        "form_submitted",
        "lead_ad_submitted",
        "meeting_scheduled",
    ],
)
def test_c2_every_kind_of_engagement_does(acme: Account, reason: str):
    deliver(acme, [event(source=MAIL, type=f"engagement.{reason}")])

    assert by_reason(acme) == [(reason, 1)]


def test_c3_a_visit_of_a_known_contact_makes_active(acme: Account):
    deliver(acme, [event(source=MAIL, type="crm.lead_captured", subject="ann@example.com")])
    assert used(acme) == 0

    deliver(acme, [_visit("ann@example.com")])

    assert by_reason(acme) == [("web_visit", 1)]
    assert used(acme) == 1


def test_c4_a_contact_with_a_score_and_nothing_else_counts_also_in_the_next_period(acme: Account):
    deliver(acme, [_score("ann@example.com", 12)])

    assert (used(acme), used(acme, DECEMBER)) == (1, 1)
    assert by_reason(acme, DECEMBER) == [("lead_score", 1)]


def test_c5_any_one_of_the_four_suffices(acme: Account):
    ann, bob, cid, dan = people(4)

    deliver(acme, [_match(ann), _open(bob), _visit(cid), _score(dan)])

    assert by_reason(acme) == [("contact_sync", 1), ("email_opened", 1), ("lead_score", 1), ("web_visit", 1)]
    assert used(acme) == 4


def test_c6_all_four_at_once_are_one_with_four_reasons(acme: Account):
    ann = "ann@example.com"

    deliver(acme, [_match(ann), _open(ann), _visit(ann), _score(ann)])

    assert by_reason(acme) == [("contact_sync", 1), ("email_opened", 1), ("lead_score", 1), ("web_visit", 1)]
    assert used(acme) == 1


def test_c7_two_syncs_and_a_score_are_one(acme: Account):
    ann = "ann@example.com"

    deliver(acme, [_match(ann), _match(ann, OTHER_SYNC), _score(ann)])

    assert used(acme) == 1
    assert by_reason(acme) == [("contact_sync", 1), ("lead_score", 1)]
    assert by_connection(acme) == [(OTHER_SYNC, 1), (SYNC, 1), (SCORING, 1)]


def test_c9_10000_updates_of_one_contact_are_one_and_none_is_refused(acme: Account):
    receipt = deliver(acme, each(["ann@example.com"] * 10_000, SYNC, "contact.updated_in_marketing"))

    assert receipt.outcomes() == {"recorded": 10_000}
    assert usage(acme, NOW)["totals"] == {
        "app_connector_events": 10_000,
        "active_contacts": 1,
        "activated_contacts": 0,
    }


def test_c10_of_10000_contacts_the_2000_in_a_sync_count(acme: Account):
    deliver(acme, each(people(10_000), SYNC, "crm.lead_captured"))

    deliver(acme, each(people(2_000), SYNC, "contact.matched"))

    seen = usage(acme, NOW)
    assert (seen["contacts_known"], seen["used"]) == (10_000, 2_000)


def test_c11_one_address_in_two_spellings_from_two_apps_is_one(acme: Account):
    deliver(acme, [_match("Ann@X.com"), _match("ann@x.com ", OTHER_SYNC)])

    assert rows(Contact, "identity", "display") == [("ann@x.com", "Ann@X.com")]
    assert used(acme) == 1


def test_c11_plus_tags_and_dots_make_another_address(acme: Account):
    deliver(acme, each(["ann.b@gmail.com", "annb@gmail.com", "annb+x@gmail.com"], SYNC, "contact.matched"))

    assert used(acme) == 3


def test_c12_a_new_sync_over_the_same_contacts_changes_neither_count_nor_bill(acme: Account):
    deliver(acme, each(people(500), SYNC, "contact.matched"))
    bill = rows(Subscription, "tier__key", "starts_at", "ends_at", account=acme)

    deliver(acme, each(people(500), OTHER_SYNC, "contact.matched"))

    assert used(acme) == 500
    assert by_connection(acme) == [(OTHER_SYNC, 500), (SYNC, 500)]
    assert rows(Subscription, "tier__key", "starts_at", "ends_at", account=acme) == bill


def test_c13_a_new_sync_that_overlaps_adds_only_the_new(acme: Account):
    deliver(acme, each(people(500), SYNC, "contact.matched"))

    deliver(acme, each(people(600)[100:], OTHER_SYNC, "contact.matched"))

    assert used(acme) == 600
    assert by_connection(acme) == [(OTHER_SYNC, 500), (SYNC, 500)]


def test_c14_usage_shows_the_distinct_contacts_of_the_current_period(acme: Account, acme_caller: Caller):
    acme_caller.send([_open(person) for person in people(30)] + [_visit(person) for person in people(40)])

    seen = acme_caller.get("usage").json()

    assert seen["unit"] == "active_contacts"
    assert seen["period"]["start"] == "2026-11-01T00:00:00Z"
    assert (seen["used"], seen["carried_in"], seen["new"]) == (40, 0, 40)


def test_c15_the_rows_by_reason_overlap_and_the_total_does_not(acme: Account, acme_caller: Caller):
    acme_caller.send([_match(person) for person in people(300)])
    acme_caller.send([_open(person) for person in people(450)[250:]])

    rows_shown, total = by_reason(acme), acme_caller.get("usage").json()["used"]
    assert (rows_shown, total) == ([("contact_sync", 300), ("email_opened", 200)], 450)
    assert sum(contacts for _, contacts in rows_shown) - total == 50


def test_c16_the_connections_are_listed_by_how_many_they_generate(acme: Account):
    deliver(acme, [_visit(person) for person in people(10)])
    deliver(acme, [_open(person) for person in people(20)])
    deliver(acme, [_match(person) for person in people(30)])

    assert by_connection(acme) == [(SYNC, 30), (MAIL, 20), (WEBSITE, 10)]


def test_c28_contacts_that_the_destination_refuses_count_and_are_flagged(acme: Account):
    deliver(acme, each(people(10), SYNC, "contact.matched", time=NOW - timedelta(hours=2)))
    refused = people(3)

    deliver(acme, each(refused, SYNC, "contact.refused"))

    assert used(acme) == 10
    assert rows(SyncMember, "contact__identity", refused_since__isnull=False) == refused
    assert rows(SyncMember, "contact__identity", holds=True) == people(10)


def test_c28_a_contact_that_was_refused_from_the_start_counts_too(acme: Account):
    deliver(acme, [event(source=SYNC, type="contact.refused", subject="ann@example.com")])

    assert by_reason(acme) == [("contact_sync", 1)]
    assert used(acme, DECEMBER) == 1


def test_c30_with_sends_not_recorded_opens_count_and_sends_do_not(acme: Account, acme_caller: Caller):
    put_connection(acme, MAIL, "engagement", record_email_sent=False)

    acme_caller.send(each(people(1_000), MAIL, "engagement.email_sent"))
    acme_caller.send(each(people(80, of="reader"), MAIL, "engagement.email_opened"))

    seen = acme_caller.get("usage").json()
    assert seen["used"] == 80
    assert by_reason(acme) == [("email_opened", 80)]
    assert seen["outcomes"] == {"ignored": 1_000, "recorded": 80}


def test_c30_clicks_bounces_and_unsubscribes_stay(acme: Account):
    put_connection(acme, MAIL, "engagement", record_email_sent=False)
    kinds = ["email_bounced", "email_clicked", "unsubscribed"]

    deliver(acme, [event(source=MAIL, type=f"engagement.{kind}") for kind in kinds])

    assert by_reason(acme) == [(kind, 1) for kind in kinds]
    assert used(acme) == 3
