"""REQUIREMENTS A: the legacy unit counts every move of data. Initech's period runs from 10 November."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Account
from tests.conftest import StoppedClock
from tests.factories import NOW, Caller, deliver, event, put_connection
from tests.requirements.shorthand import by_connection, by_reason, each, people, used

pytestmark = pytest.mark.django_db

SYNC = "salesforce-mailchimp"


@pytest.fixture
def initech(initech: Account) -> Account:
    """Initech with what else its requirements need: engagement, meetings, and an advertising audience."""
    put_connection(initech, "mailchimp-salesforce", "engagement")
    put_connection(initech, "calendly", "engagement")
    put_connection(initech, "facebook-audience", "contact_sync")
    return initech


def test_a1_each_move_of_data_is_one_event(initech: Account):
    assert used(initech) == 0

    deliver(initech, each(people(3), SYNC, "contact.created_in_marketing"))

    assert used(initech) == 3


def test_a2_a_contact_created_in_the_marketing_tool_is_one_event(initech: Account):
    deliver(initech, [event(source=SYNC, type="contact.created_in_marketing")])

    assert by_reason(initech) == [("contact.created_in_marketing", 1)]
    assert used(initech) == 1


def test_a3_a_subscriber_a_form_contact_and_a_meeting_contact_created_in_the_crm_are_three(initech: Account):
    sources = ["mailchimp-salesforce", "typeform", "calendly"]

    deliver(initech, [event(source=source, type="contact.created_in_crm") for source in sources])

    assert by_reason(initech) == [("contact.created_in_crm", 3)]
    assert by_connection(initech) == [("calendly", 1), ("mailchimp-salesforce", 1), ("typeform", 1)]
    assert used(initech) == 3


def test_a4_an_update_pushed_to_a_marketing_tool_or_an_audience_is_one_event(initech: Account):
    deliver(initech, [event(source="facebook-audience", type="contact.updated_in_marketing")])
    assert used(initech) == 1

    deliver(initech, [event(source=SYNC, type="contact.updated_in_marketing")])
    assert used(initech) == 2


def test_a5_an_update_of_seven_fields_is_one_event(initech: Account):
    changed = ["name", "phone", "city", "zip", "stage", "owner", "title"]

    deliver(initech, [event(source=SYNC, type="contact.updated_in_marketing", data={"fields": changed})])

    assert used(initech) == 1


def test_a6_each_of_the_five_engagements_is_one_event(initech: Account):
    kinds = ["email_bounced", "email_clicked", "email_opened", "email_sent", "unsubscribed"]

    deliver(
        initech,
        [event(source="mailchimp-salesforce", type=f"engagement.{kind}", subject="ann@example.com") for kind in kinds],
    )

    assert by_reason(initech) == [(f"engagement.{kind}", 1) for kind in kinds]
    assert used(initech) == 5


def test_a7_a_form_a_lead_ad_and_a_meeting_on_contacts_that_exist_are_one_event_each(initech: Account):
    deliver(initech, each(people(3), SYNC, "contact.matched"))
    ann, bob, cid = people(3)

    deliver(
        initech,
        [
            event(source="typeform", type="engagement.form_submitted", subject=ann),
            event(source="facebook-audience", type="engagement.lead_ad_submitted", subject=bob),
            event(source="calendly", type="engagement.meeting_scheduled", subject=cid),
        ],
    )

    assert by_reason(initech) == [
        ("engagement.form_submitted", 1),
        ("engagement.lead_ad_submitted", 1),
        ("engagement.meeting_scheduled", 1),
    ]
    assert used(initech) == 3


def test_a8_a_form_that_creates_a_contact_and_records_an_activity_is_two_events(initech: Account):
    deliver(
        initech,
        [
            event(source="typeform", type="contact.created_in_crm", subject="new@example.com"),
            event(source="typeform", type="engagement.form_submitted", subject="new@example.com"),
        ],
    )

    assert by_reason(initech) == [("contact.created_in_crm", 1), ("engagement.form_submitted", 1)]
    assert used(initech) == 2


def test_a9_an_opened_mail_that_also_creates_the_contact_is_two_events(initech: Account):
    deliver(
        initech,
        [
            event(source="mailchimp-salesforce", type="contact.created_in_crm", subject="new@example.com"),
            event(source="mailchimp-salesforce", type="engagement.email_opened", subject="new@example.com"),
        ],
    )

    assert by_reason(initech) == [("contact.created_in_crm", 1), ("engagement.email_opened", 1)]
    assert used(initech) == 2


def test_a10_an_opened_mail_of_a_contact_that_exists_is_one_event(initech: Account):
    deliver(initech, [event(source=SYNC, type="contact.created_in_marketing", subject="ann@example.com")])
    before = used(initech)

    deliver(initech, [event(source="mailchimp-salesforce", subject="ann@example.com")])

    assert (before, used(initech)) == (1, 2)


def test_a11_one_person_who_opens_forty_mails_is_forty_events(initech: Account):
    deliver(initech, each(["ann@example.com"] * 40, "mailchimp-salesforce", "engagement.email_opened"))

    assert by_reason(initech) == [("engagement.email_opened", 40)]
    assert used(initech) == 40


@pytest.mark.parametrize(
    ("signed_up_at", "plan", "unit"),
    [
        ("2022-10-24T23:59:00Z", "connect-legacy", "app_connector_events"),
        ("2022-10-25T00:00:00Z", "connect", "active_contacts"),
    ],
)
def test_a12_who_signed_up_after_24_october_2022_pays_by_active_contacts(
    catalogue: None, operator: Caller, signed_up_at: str, plan: str, unit: str
):
    made = operator.put("accounts/hooli", {"name": "Hooli", "signed_up_at": signed_up_at})
    seen = operator.get("usage", account="hooli").json()

    assert made.status_code == 201
    assert (seen["plan"], seen["unit"]) == (plan, unit)


def test_a12_the_date_only_chooses_the_plan_and_the_plan_decides(catalogue: None, operator: Caller):
    operator.put("accounts/hooli", {"signed_up_at": "2021-05-01T00:00:00Z", "plan": "connect"})

    assert operator.get("usage", account="hooli").json()["unit"] == "active_contacts"


def test_a14_usage_shows_the_total_of_the_current_period(initech: Account, initech_caller: Caller, clock: StoppedClock):
    for now, events in [(datetime(2026, 11, 5, 12, tzinfo=UTC), 120), (NOW, 45)]:
        clock.move_to(now)
        initech_caller.send(each(people(events), SYNC, "contact.updated_in_marketing", time=now))

    answer = initech_caller.get("usage").json()

    assert answer["period"]["start"] == "2026-11-10T00:00:00Z"
    assert answer["used"] == 45
    history = initech_caller.get("usage/periods").json()["results"]
    assert [(row["start"], row["used"]) for row in history] == [
        ("2026-11-10T00:00:00Z", 45),
        ("2026-10-10T00:00:00Z", 120),
    ]


def test_a15_the_rows_by_kind_sum_to_the_total(initech: Account, initech_caller: Caller):
    initech_caller.send(each(people(20), SYNC, "contact.updated_in_marketing"))
    initech_caller.send(each(people(10), SYNC, "contact.created_in_marketing"))
    initech_caller.send(each(people(15), "typeform", "engagement.form_submitted"))

    answer = initech_caller.get("usage").json()

    assert answer["used"] == 45
    assert answer["by_reason"] == [
        {"type": "contact.updated_in_marketing", "events": 20},
        {"type": "engagement.form_submitted", "events": 15},
        {"type": "contact.created_in_marketing", "events": 10},
    ]
    assert answer["by_connection"] == [
        {"connection": SYNC, "events": 30},
        {"connection": "typeform", "events": 15},
    ]


def test_a16_every_connection_has_a_status_with_its_own_numbers_only(initech: Account, initech_caller: Caller):
    initech_caller.send(each(people(2), SYNC, "contact.created_in_marketing"))
    initech_caller.send(each(people(3), "typeform", "engagement.form_submitted"))

    seen = {
        key: initech_caller.get(f"connections/{key}/status").json()["by_type"] for key in (SYNC, "typeform", "calendly")
    }

    assert seen == {
        SYNC: {"contact.created_in_marketing": 2},
        "typeform": {"engagement.form_submitted": 3},
        "calendly": {},
    }


def test_a17_status_tells_contact_events_from_engagement_events(initech: Account, initech_caller: Caller):
    initech_caller.send(each(people(10), SYNC, "contact.updated_in_marketing"))
    initech_caller.send(each(people(4), SYNC, "engagement.email_opened"))

    answer = initech_caller.get(f"connections/{SYNC}/status").json()

    assert (answer["contact_events"], answer["engagement_events"]) == (10, 4)


def test_a18_status_is_for_any_days_across_billing_periods(
    initech: Account, initech_caller: Caller, clock: StoppedClock
):
    for day in (1, 10, 20):
        clock.move_to(datetime(2026, 3, day, 12, tzinfo=UTC))
        initech_caller.send(event(source=SYNC, type="contact.updated_in_marketing", time=clock.now))

    answer = initech_caller.get(f"connections/{SYNC}/status", from_="2026-03-05", to="2026-03-20").json()

    assert answer["contact_events"] == 2
    days = [row["date"] for row in answer["daily"] if row["contact_events"]]
    assert days == ["2026-03-10", "2026-03-20"]
    periods = initech_caller.get("usage/periods").json()["results"]
    assert [row["used"] for row in periods] == [2, 1]


def test_a18_the_first_and_the_last_day_are_whole_days(initech: Account, initech_caller: Caller):
    instant = timedelta(microseconds=1)
    first, after_last = datetime(2026, 11, 15, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)
    for at in (first - instant, first, after_last - instant, after_last):
        initech_caller.send(event(source=SYNC, type="contact.updated_in_marketing", time=at))

    answer = initech_caller.get(f"connections/{SYNC}/status", from_="2026-11-15", to="2026-11-20").json()

    assert [(row["date"], row["contact_events"]) for row in answer["daily"]] == [
        ("2026-11-15", 1),
        ("2026-11-16", 0),
        ("2026-11-17", 0),
        ("2026-11-18", 0),
        ("2026-11-19", 0),
        ("2026-11-20", 1),
    ]


def test_a18_the_days_are_those_of_the_account(globex: Account, globex_caller: Caller):
    midnight_in_berlin = datetime(2026, 11, 20, 23, tzinfo=UTC)
    globex_caller.send(event(source="lead-ads", type="engagement.lead_ad_submitted", time=midnight_in_berlin))

    answer = globex_caller.get("connections/lead-ads/status", from_="2026-11-21", to="2026-11-21").json()

    assert answer["engagement_events"] == 1


def test_a20_an_event_that_arrives_three_times_is_one(initech: Account, initech_caller: Caller):
    once = event(source=SYNC, type="contact.created_in_marketing", id="delivery-1")

    answers = [initech_caller.send(once).json() for _ in range(3)]

    assert [answer["outcomes"] for answer in answers] == [{"recorded": 1}, {"duplicate": 1}, {"duplicate": 1}]
    seen = initech_caller.get("usage").json()
    assert (seen["used"], seen["outcomes"]) == (1, {"duplicate": 2, "recorded": 1})


@pytest.mark.parametrize("nothing_moved", ["contact.matched", "contact.refused"])
def test_a21_where_nothing_moved_nothing_is_counted_but_the_run_is_logged(
    initech: Account, initech_caller: Caller, nothing_moved: str
):
    initech_caller.send(event(source=SYNC, type=nothing_moved))

    assert initech_caller.get("usage").json()["used"] == 0
    status = initech_caller.get(f"connections/{SYNC}/status").json()
    assert (status["contact_events"], status["by_type"]) == (0, {nothing_moved: 1})


def test_a22_one_change_that_moves_to_two_tools_is_two_events(initech: Account):
    deliver(
        initech,
        [
            event(
                source=destination,
                type="contact.updated_in_marketing",
                subject="ann@example.com",
                id="change-1",
            )
            for destination in (SYNC, "facebook-audience")
        ],
    )

    assert by_connection(initech) == [("facebook-audience", 1), (SYNC, 1)]
    assert used(initech) == 2
