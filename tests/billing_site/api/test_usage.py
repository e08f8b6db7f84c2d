"""The reads: `usage`, `usage/periods` and a connection's status."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from metering.models import BillingPeriod
from notifications.models import Notification
from tests.conftest import StoppedClock
from tests.factories import CONNECTIONS, NOW, Caller, deliver, event, put_account, put_connection, unguarded

pytestmark = pytest.mark.django_db

NOVEMBER = {
    "start": "2026-11-01T00:00:00Z",
    "end": "2026-12-01T00:00:00Z",
    "state": "open",
    "plan": "connect",
    "tier": "starter",
    "unit": "active_contacts",
    "used": 0,
    "limit": 1000,
    "carried_in": 0,
    "new": 0,
    "totals": {"app_connector_events": 0, "active_contacts": 0, "activated_contacts": 0},
    "checksum": None,
}


def test_usage_tells_how_much_of_what_and_why(acme: Account, acme_caller: Caller):
    deliver(
        acme,
        [
            event(type="contact.matched", subject="ann@example.com"),
            event(type="engagement.form_submitted", source="mailchimp-pipedrive", subject="ann@example.com"),
            event(type="web.visited", source="website", subject="bob@example.com"),
            event(type="automation.ai_reply", source="website", subject="cid@example.com"),
            event(type="nonsense"),
        ],
    )

    assert acme_caller.get("usage").json() == {
        "account": "acme",
        "plan": "connect",
        "tier": "starter",
        "unit": "active_contacts",
        "period": {
            "start": "2026-11-01T00:00:00Z",
            "end": "2026-12-01T00:00:00Z",
            "state": "open",
            "provisional": False,
        },
        "used": 2,
        "limit": 1000,
        "remaining": 998,
        "percent": 0,
        "state": "ok",
        "carried_in": 0,
        "new": 2,
        "by_reason": [
            {"reason": "contact_sync", "contacts": 1, "only_here": 0},
            {"reason": "form_submitted", "contacts": 1, "only_here": 0},
            {"reason": "web_visit", "contacts": 1, "only_here": 1},
        ],
        "by_connection": [
            {"connection": "mailchimp-pipedrive", "contacts": 1, "only_here": 0},
            {"connection": "pipedrive-mailchimp", "contacts": 1, "only_here": 0},
            {"connection": "website", "contacts": 1, "only_here": 1},
        ],
        "totals": {"app_connector_events": 1, "active_contacts": 2, "activated_contacts": 1},
        "contacts_known": 3,
        "outcomes": {"recorded": 4, "rejected": 1},
        "thresholds": [],
        "at_limit": {
            "action": "upgrade",
            "because": [
                {"connection": "hubspot-brevo", "replayable": True},
                {"connection": "mailchimp-pipedrive", "replayable": False},
                {"connection": "pipedrive-mailchimp", "replayable": True},
                {"connection": "scoring", "replayable": True},
                {"connection": "website", "replayable": False},
            ],
        },
        "forecast": {"used_at_period_end": 2, "limit_reached_on": None},
    }


def test_usage_tells_the_thresholds_it_crossed_and_when_they_were_told(acme: Account, acme_caller: Caller):
    put_account("acme", limit_override=5)
    deliver(acme, [event() for _ in range(4)], now=NOW - timedelta(hours=1))
    Notification.objects.update(state="sent", sent_at=NOW - timedelta(minutes=59))
    deliver(acme, [event()])

    assert acme_caller.get("usage").json()["thresholds"] == [
        {
            "percent": 80,
            "limit": 5,
            "crossed_at": "2026-11-22T11:00:00Z",
            "notified_at": "2026-11-22T11:01:00Z",
        },
        {"percent": 100, "limit": 5, "crossed_at": "2026-11-22T12:00:00Z", "notified_at": None},
    ]


def test_what_happens_at_the_limit_follows_from_the_enabled_connections(acme: Account, acme_caller: Caller):
    for key in ("mailchimp-pipedrive", "website", "scoring"):
        put_connection(acme, key, CONNECTIONS["acme"][key], enabled=False)

    at_limit = acme_caller.get("usage").json()["at_limit"]

    assert at_limit == {
        "action": "hold",
        "because": [
            {"connection": "hubspot-brevo", "replayable": True},
            {"connection": "pipedrive-mailchimp", "replayable": True},
        ],
    }


def test_who_opted_out_of_upgrades_is_paused_at_the_limit(acme: Account, acme_caller: Caller):
    put_account("acme", auto_upgrade=False)

    assert acme_caller.get("usage").json()["at_limit"]["action"] == "pause"


def test_at_no_limit_nothing_happens(acme: Account, acme_caller: Caller):
    with unguarded():
        acme.subscriptions.get().tier.plan.tiers.update(limit=None)

    assert acme_caller.get("usage").json()["at_limit"]["action"] is None


def test_a_first_look_opens_the_period(acme: Account, acme_caller: Caller):
    answer = acme_caller.get("usage").json()

    assert (answer["used"], answer["period"]["start"]) == (0, "2026-11-01T00:00:00Z")
    assert BillingPeriod.objects.count() == 1


def test_an_unlimited_account_has_no_remainder_and_no_per_cent(catalogue: None, operator: Caller, acme: Account):
    with unguarded():
        acme.subscriptions.get().tier.plan.tiers.update(limit=None)

    answer = operator.get("usage", account="acme").json()

    assert (answer["limit"], answer["remaining"], answer["percent"]) == (None, None, None)


def test_periods_are_listed_newest_first(acme: Account, acme_caller: Caller, clock: StoppedClock):
    deliver(acme, [event(type="contact.matched", subject="ann@example.com")])
    clock.advance(days=20)

    listed = acme_caller.get("usage/periods").json()

    december = NOVEMBER | {
        "start": "2026-12-01T00:00:00Z",
        "end": "2027-01-01T00:00:00Z",
        "used": 1,
        "carried_in": 1,
        "totals": {"app_connector_events": 0, "active_contacts": 1, "activated_contacts": 0},
    }
    november = NOVEMBER | {"state": "ended", "used": 1, "new": 1, "totals": december["totals"]}
    assert listed == {"results": [december, november], "next": None, "previous": None}


@pytest.mark.parametrize(
    "start",
    [
        "2026-11-01T00:00:00Z",
        "2026-11-01T00:00:00.000Z",
        "2026-11-01T00%3A00%3A00Z",
        "2026-11-01T01:00:00+01:00",
        "2026-11-01T01:00:00%2B01:00",
    ],
)
def test_a_period_is_found_by_its_start(acme_caller: Caller, start: str):
    assert acme_caller.get(f"usage/periods/{start}").json() == NOVEMBER


@pytest.mark.parametrize(
    "start",
    [
        "2026-10-01T00:00:00Z",
        "2026-11-01T00:00:01Z",
        "2026-11-01",
        "0001-01-01T00:00:00%2B23:59",
        "9999-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "yesterday",
        "%00",
        "%ff",
        "9" * 4000,
    ],
)
def test_a_period_that_is_not_there_is_missing(acme_caller: Caller, start: str):
    answer = acme_caller.get(f"usage/periods/{start}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_connections_status_is_by_whole_local_days(globex: Account, globex_caller: Caller, clock: StoppedClock):
    late_on_saturday = NOW.replace(day=21, hour=22, minute=59)  # 23:59 in Berlin
    for time, kind in [
        (late_on_saturday, "engagement.lead_ad_submitted"),
        (late_on_saturday + timedelta(minutes=1), "engagement.lead_ad_submitted"),
        (late_on_saturday + timedelta(minutes=1), "contact.created_in_crm"),
        (late_on_saturday + timedelta(minutes=1), "contact.matched"),
    ]:
        deliver(globex, [event(source="lead-ads", type=kind, time=time)])

    answer = globex_caller.get("connections/lead-ads/status", from_="2026-11-21", to="2026-11-22").json()

    saturday = {"engagement.lead_ad_submitted": 1}
    sunday = {"contact.created_in_crm": 1, "contact.matched": 1, "engagement.lead_ad_submitted": 1}
    assert answer == {
        "connection": "lead-ads",
        "from": "2026-11-21",
        "to": "2026-11-22",
        "contact_events": 1,
        "engagement_events": 2,
        "by_type": {
            "contact.created_in_crm": 1,
            "contact.matched": 1,
            "engagement.lead_ad_submitted": 2,
        },
        "daily": [
            {"date": "2026-11-21", "contact_events": 0, "engagement_events": 1, "by_type": saturday},
            {"date": "2026-11-22", "contact_events": 1, "engagement_events": 1, "by_type": sunday},
        ],
    }


def test_a_status_is_of_the_current_period_up_to_today_unless_asked_otherwise(
    acme_caller: Caller, globex_caller: Caller, clock: StoppedClock
):
    answer = acme_caller.get("connections/website/status").json()
    assert (answer["from"], answer["to"], len(answer["daily"])) == ("2026-11-01", "2026-11-22", 22)

    clock.move_to(NOW.replace(day=30, hour=23, minute=30))  # December in Berlin
    answer = globex_caller.get("connections/instagram/status").json()
    assert (answer["from"], answer["to"]) == ("2026-12-01", "2026-12-01")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("from=2026-13-45", "bad_date"),
        ("from=2026-02-29", "bad_date"),
        ("from=20261101", "bad_date"),
        ("from=2026-W45-1", "bad_date"),
        ("from=2026-11-1", "bad_date"),
        ("from=2026-11-01T00:00:00Z", "bad_date"),
        ("from=0000-01-01", "bad_date"),
        ("from=", "bad_date"),
        ("from=%00", "bad_date"),
        ("from=%D9%A2%D9%A0%D9%A2%D9%A6-11-01", "bad_date"),
        ("to=tomorrow", "bad_date"),
        ("from=2026-11-02&to=2026-11-01", "from_after_to"),
        ("to=2026-10-31", "from_after_to"),
        ("from=2026-01-01&to=2027-02-05", "too_many_days"),
        ("from=0001-01-01&to=9999-12-31", "too_many_days"),
        ("from=1926-11-22", "too_many_days"),
        ("from=2026-11-01&from=2026-11-02", "repeated_parameter"),
        ("since=2026-11-01", "unknown_parameter"),
    ],
)
def test_days_that_cannot_be_are_refused(acme_caller: Caller, query: str, code: str):
    answer = acme_caller.get(f"connections/website/status?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("days", ["from=2026-01-01&to=2027-02-04", "from=9999-12-31&to=9999-12-31"])
def test_days_at_the_bounds_are_fine(acme_caller: Caller, days: str):
    assert acme_caller.get(f"connections/website/status?{days}").status_code == 200


@pytest.mark.parametrize("key", ["nothing", "%00", "a%0A", "%ff", "x" * 101, "a%20b", "%F0%9F%98%80"])
def test_a_connection_that_is_not_there_is_missing(acme_caller: Caller, key: str):
    answer = acme_caller.get(f"connections/{key}/status")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_cost_of_a_read_does_not_grow_with_what_was_sent(acme: Account, acme_caller: Caller):
    deliver(acme, [event()])
    acme_caller.get("usage")
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as asked:
            acme_caller.get("usage")
            acme_caller.get("usage/periods")
            acme_caller.get("connections/website/status")
        counts.append(len(asked))
        deliver(acme, [event() for _ in range(200)])

    assert counts[0] == counts[1]
