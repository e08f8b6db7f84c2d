"""REQUIREMENTS B: a contact counts once a month if an automated action touched it. Globex is in Berlin."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account
from metering.models import Contact
from metering.usage import usage
from tests.conftest import StoppedClock
from tests.factories import NOW, Caller, deliver, event, rows
from tests.requirements.shorthand import by_connection, by_reason, each, followers, used

pytestmark = pytest.mark.django_db

CAMPAIGN, SCENARIO, AI_REPLY = (
    "automation.campaign_message",
    "automation.scenario_run",
    "automation.ai_reply",
)


def test_b1_a_contact_that_a_scenario_messages_is_activated(globex: Account, globex_caller: Caller):
    assert globex_caller.get("usage").json()["used"] == 0

    globex_caller.send(event(source="instagram", type=SCENARIO, subject="ig-ann"))

    seen = globex_caller.get("usage").json()
    assert (seen["unit"], seen["used"]) == ("activated_contacts", 1)


def test_b2_a_campaign_that_reaches_25_contacts_activates_25(globex: Account):
    deliver(globex, each(followers(25), "instagram", CAMPAIGN))

    assert by_reason(globex) == [("campaign_message", 25)]
    assert used(globex) == 25


def test_b3_ten_people_who_trigger_a_scenario_are_ten(globex: Account):
    deliver(globex, each(followers(7), "instagram", CAMPAIGN))

    deliver(globex, each(followers(10, of="new"), "instagram", SCENARIO))

    assert by_reason(globex) == [("scenario_run", 10), ("campaign_message", 7)]
    assert used(globex) == 17


def test_b4_a_reply_of_the_ai_activates(globex: Account):
    deliver(globex, [event(source="messenger", type=AI_REPLY, subject="fb-bob")])

    assert by_reason(globex) == [("ai_reply", 1)]
    assert used(globex) == 1


def test_b5_three_campaigns_and_five_scenario_runs_with_one_contact_are_one(globex: Account):
    deliver(globex, each(["ig-ann"] * 3, "instagram", CAMPAIGN))
    deliver(globex, each(["ig-ann"] * 5, "messenger", SCENARIO))

    assert used(globex) == 1
    assert by_reason(globex) == [("campaign_message", 1), ("scenario_run", 1)]
    assert by_connection(globex) == [("instagram", 1), ("messenger", 1)]


def test_b6_the_count_begins_at_0_each_month_and_history_keeps_the_old_one(
    globex: Account, globex_caller: Caller, clock: StoppedClock
):
    globex_caller.send(each(followers(87), "instagram", CAMPAIGN))

    clock.move_to(datetime(2026, 12, 2, tzinfo=UTC))

    seen = globex_caller.get("usage").json()
    assert (seen["used"], seen["carried_in"], seen["by_reason"]) == (0, 0, [])
    history = globex_caller.get("usage/periods").json()["results"]
    assert [(row["start"], row["used"]) for row in history] == [
        ("2026-11-30T23:00:00Z", 0),
        ("2026-10-31T23:00:00Z", 87),
    ]


def test_b7_a_contact_counted_in_june_counts_again_at_its_first_automation_in_july(globex: Account):
    june, july = datetime(2026, 6, 15, tzinfo=UTC), datetime(2026, 7, 2, tzinfo=UTC)
    deliver(globex, [event(source="instagram", type=SCENARIO, subject="ig-ann", time=june)], now=june)
    assert (used(globex, june), used(globex, july)) == (1, 0)

    deliver(globex, [event(source="instagram", type=SCENARIO, subject="ig-ann", time=july)], now=july)

    assert used(globex, july) == 1


def test_b7_the_month_begins_at_midnight_where_the_account_is(globex: Account):
    midnight_in_berlin = datetime(2026, 6, 30, 22, tzinfo=UTC)
    instants = (midnight_in_berlin - timedelta(microseconds=1), midnight_in_berlin)

    for at in instants:
        deliver(globex, [event(source="instagram", type=SCENARIO, subject="ig-ann", time=at)], now=at)

    assert [used(globex, at) for at in instants] == [1, 1]


def test_b8_500_captured_leads_are_in_the_crm_and_not_activated(globex: Account):
    deliver(globex, _leads(500))

    seen = usage(globex, NOW)
    assert (seen["contacts_known"], seen["used"]) == (500, 0)


def test_b9_of_500_leads_the_3_that_an_automation_touched_are_activated(globex: Account):
    deliver(globex, _leads(500))

    deliver(globex, each(followers(3), "instagram", SCENARIO))

    seen = usage(globex, NOW)
    assert (seen["contacts_known"], seen["used"]) == (500, 3)


def test_b10_a_lead_is_in_the_crm_with_where_it_came_from(globex: Account):
    deliver(globex, [_lead("ig-ann", "organic"), _lead("ig-bob", "ad"), _lead("ig-cid", "collaboration")])
    deliver(globex, [_lead("ig-ann", "ad") | {"time": "2026-11-22T11:30:00Z"}])

    assert rows(Contact, "identity", "origin") == [
        ("ig-ann", "organic"),
        ("ig-bob", "ad"),
        ("ig-cid", "collaboration"),
    ]
    assert used(globex) == 0


def test_b11_adding_200_contacts_to_a_segment_activates_none(globex: Account):
    receipt = deliver(globex, each(followers(200), "instagram", "crm.segment_added"))

    assert receipt.outcomes() == {"recorded": 200}
    assert (used(globex), by_reason(globex)) == (0, [])


def test_b12_adding_200_contacts_to_a_folder_activates_none(globex: Account):
    receipt = deliver(globex, each(followers(200), "instagram", "crm.folder_added"))

    assert receipt.outcomes() == {"recorded": 200}
    assert (used(globex), by_reason(globex)) == (0, [])


@pytest.mark.parametrize("kind", ["crm.tagged", "crm.note_added", "crm.message_sent_by_hand"])
def test_b13_what_people_do_by_hand_activates_none(globex: Account, kind: str):
    receipt = deliver(globex, each(followers(50), "instagram", kind))

    assert receipt.outcomes() == {"recorded": 50}
    assert used(globex) == 0


def test_b13_engagement_and_syncs_activate_none(globex: Account):
    deliver(globex, each(followers(50), "lead-ads", "engagement.lead_ad_submitted"))
    deliver(globex, each(followers(50), "lead-ads", "contact.created_in_crm"))

    seen = usage(globex, NOW)
    assert seen["used"] == 0
    assert seen["totals"] == {"app_connector_events": 100, "active_contacts": 50, "activated_contacts": 0}


def test_b22_contacts_known_and_contacts_activated_are_two_numbers(globex: Account, globex_caller: Caller):
    globex_caller.send(_leads(5_000))
    globex_caller.send(each(followers(42), "instagram", CAMPAIGN))

    seen = globex_caller.get("usage").json()

    assert (seen["contacts_known"], seen["used"]) == (5_000, 42)


def _lead(subject: str, origin: str) -> dict[str, Any]:
    return event(source="lead-ads", type="crm.lead_captured", subject=subject, data={"origin": origin})


def _leads(number: int) -> list[dict[str, Any]]:
    origins = ("ad", "organic", "collaboration")
    return [_lead(subject, origins[place % 3]) for place, subject in enumerate(followers(number))]
