"""The read side: usage in the shape of DESIGN section 7, and what a connection did on local days."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from metering.lock import locked
from metering.models import AccountMeter, BillingPeriod
from metering.overview import overview
from metering.periods import do_due_work
from metering.registration import put_account as put
from metering.usage import (
    UnknownPeriod,
    clock_of,
    connection_status,
    period_row,
    period_starting,
    usage,
)
from plans.models import Tier
from tests.factories import ACTOR, NOW, deliver, event, put_account, put_connection, rows, unguarded

pytestmark = pytest.mark.django_db

NOVEMBER, DECEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in (11, 12))


def happens(name: str, person: str, source: str = "pipedrive-mailchimp", **more: Any) -> dict[str, Any]:
    return event(type=name, subject=f"{person}@example.com", source=source, **more)


def queries(read: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        read()
    return len(captured)


MIXED = [
    ("contact.matched", "ann", "pipedrive-mailchimp"),
    ("contact.created_in_crm", "ann", "hubspot-brevo"),
    ("engagement.email_opened", "ann", "mailchimp-pipedrive"),
    ("engagement.email_opened", "ann", "mailchimp-pipedrive"),
    ("engagement.email_clicked", "bob", "mailchimp-pipedrive"),
    ("web.visited", "cid", "website"),
    ("automation.ai_reply", "dee", "website"),
    ("automation.scenario_run", "ann", "website"),
    ("crm.tagged", "eve", "website"),
]
"""Three active contacts, two activated, four billable events; five people."""


def deliver_mixed(account: Account) -> None:
    deliver(account, [happens(*row) for row in MIXED])


# --- Usage in each unit ----------------------------------------------------------------------------------------------


def test_usage_of_a_plan_that_charges_by_active_contacts(acme: Account):
    deliver_mixed(acme)
    deliver(acme, [event(id="evt-9", source="nowhere"), happens("contact.unmatched", "ann")])

    assert usage(acme, NOW) == {
        "account": "acme",
        "plan": "connect",
        "tier": "starter",
        "unit": "active_contacts",
        "period": {"start": NOVEMBER, "end": DECEMBER, "state": "open", "provisional": False},
        "used": 3,
        "limit": 1_000,
        "remaining": 997,
        "percent": 0,
        "state": "ok",
        "carried_in": 0,
        "new": 3,
        "by_reason": [
            {"reason": "contact_sync", "contacts": 1, "only_here": 0},
            {"reason": "email_clicked", "contacts": 1, "only_here": 1},
            {"reason": "email_opened", "contacts": 1, "only_here": 0},
            {"reason": "web_visit", "contacts": 1, "only_here": 1},
        ],
        "by_connection": [
            {"connection": "mailchimp-pipedrive", "contacts": 2, "only_here": 1},
            {"connection": "hubspot-brevo", "contacts": 1, "only_here": 0},
            {"connection": "pipedrive-mailchimp", "contacts": 1, "only_here": 0},
            {"connection": "website", "contacts": 1, "only_here": 1},
        ],
        "totals": {"app_connector_events": 4, "active_contacts": 3, "activated_contacts": 2},
        "contacts_known": 5,
        "outcomes": {"recorded": 10, "rejected": 1},
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
        "forecast": {"used_at_period_end": 3, "limit_reached_on": None},
    }


def test_usage_of_a_plan_that_charges_by_events(initech: Account):
    for key in ("pipedrive-mailchimp", "hubspot-brevo", "mailchimp-pipedrive", "website"):
        put_connection(initech, key)
    deliver_mixed(initech)

    answer = usage(initech, NOW)

    assert answer["period"] == {
        "start": datetime(2026, 11, 10, tzinfo=UTC),
        "end": datetime(2026, 12, 10, tzinfo=UTC),
        "state": "open",
        "provisional": False,
    }
    assert (answer["plan"], answer["tier"], answer["unit"]) == ("connect-legacy", "s", "app_connector_events")
    assert (answer["used"], answer["carried_in"], answer["new"]) == (4, 0, 4)
    assert answer["by_reason"] == [
        {"type": "engagement.email_opened", "events": 2},
        {"type": "contact.created_in_crm", "events": 1},
        {"type": "engagement.email_clicked", "events": 1},
    ]
    assert answer["by_connection"] == [
        {"connection": "mailchimp-pipedrive", "events": 3},
        {"connection": "hubspot-brevo", "events": 1},
    ]
    assert answer["totals"] == {"app_connector_events": 4, "active_contacts": 3, "activated_contacts": 2}


def test_usage_of_a_plan_that_charges_by_activated_contacts(globex: Account):
    for key in ("pipedrive-mailchimp", "hubspot-brevo", "mailchimp-pipedrive", "website"):
        put_connection(globex, key)
    deliver_mixed(globex)

    answer = usage(globex, NOW)

    assert (answer["plan"], answer["tier"], answer["unit"]) == ("social", "free", "activated_contacts")
    assert (answer["used"], answer["limit"], answer["percent"], answer["remaining"]) == (2, 100, 2, 98)
    assert answer["by_reason"] == [
        {"reason": "ai_reply", "contacts": 1, "only_here": 1},
        {"reason": "scenario_run", "contacts": 1, "only_here": 1},
    ]
    assert answer["by_connection"] == [{"connection": "website", "contacts": 2, "only_here": 2}]
    assert answer["period"]["start"] == datetime(2026, 10, 31, 23, tzinfo=UTC)


def test_carried_in_contacts_are_none_of_another_unit(initech: Account, globex: Account):
    for account, now in ((initech, datetime(2026, 12, 10, 1, tzinfo=UTC)), (globex, DECEMBER)):
        put_connection(account, "sync")
        deliver(account, [happens("contact.matched", "ann", "sync")])

        answer = usage(account, now)

        assert (answer["used"], answer["carried_in"], answer["new"]) == (0, 0, 0)
        assert answer["totals"]["active_contacts"] == 1


def test_used_is_what_was_carried_in_and_what_is_new(acme: Account):
    deliver(acme, [happens("contact.matched", "ann"), happens("web.visited", "bob")])
    deliver(acme, [happens("web.visited", "cid", time=DECEMBER)], now=DECEMBER)

    answer = usage(acme, DECEMBER)

    assert (answer["used"], answer["carried_in"], answer["new"]) == (2, 1, 1)
    assert answer["period"]["provisional"] is True


def test_an_account_without_events_has_used_nothing(acme: Account):
    answer = usage(acme, NOW)

    assert (answer["used"], answer["by_reason"], answer["by_connection"], answer["outcomes"]) == (0, [], [], {})
    assert (answer["contacts_known"], answer["state"]) == (0, "ok")


# --- Beside the limit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "percent", "remaining", "state"),
    [
        (0, 0, 7, "ok"),
        (5, 71, 2, "ok"),
        (6, 85, 1, "warning"),
        (7, 100, 0, "limit_reached"),
        (9, 128, 0, "limit_reached"),
    ],
)
def test_of_a_limit_of_7_the_6th_is_a_warning_and_the_7th_reaches_it(
    acme: Account, used: int, percent: int, remaining: int, state: str
):
    put("acme", {"limit_override": 7}, actor=ACTOR, now=NOW)
    deliver(acme, [event() for _ in range(used)])

    answer = usage(acme, NOW)

    assert (answer["used"], answer["limit"]) == (used, 7)
    assert (answer["percent"], answer["remaining"], answer["state"]) == (percent, remaining, state)
    assert [row.state for row in overview([acme], NOW)] == [state]


def test_a_percentage_is_rounded_down(acme: Account):
    deliver(acme, [event() for _ in range(2)])
    BillingPeriod.objects.update(active_contacts=999)

    assert usage(acme, NOW)["percent"] == 99


def test_an_unlimited_tier_is_always_ok(acme: Account):
    with unguarded():
        Tier.objects.filter(key="starter").update(limit=None)
    deliver(acme, [event() for _ in range(9)])

    answer = usage(acme, NOW)

    assert {name: answer[name] for name in ("used", "limit", "remaining", "percent", "state")} == {
        "used": 9,
        "limit": None,
        "remaining": None,
        "percent": None,
        "state": "ok",
    }


def test_an_account_whose_current_period_nobody_opened_is_ok_and_stays_unopened(acme: Account):
    assert [row.state for row in overview([acme], NOW)] == ["ok"]
    assert rows(BillingPeriod, "pk") == []


def test_many_accounts_are_seen_at_a_glance_each_by_its_own_clock(acme: Account, globex: Account, initech: Account):
    put("acme", {"limit_override": 1}, actor=ACTOR, now=NOW)
    deliver(acme, [event()])
    deliver(globex, [event(source="instagram", type="automation.ai_reply")])
    AccountMeter.objects.filter(account=acme).update(clock=datetime(2026, 5, 5, tzinfo=UTC))
    one_account, three_accounts = [acme], [initech, acme, globex]

    found = overview(three_accounts, NOW)

    assert [(row.account.slug, row.plan, row.tier, row.state) for row in found] == [
        ("initech", "connect-legacy", "s", "ok"),
        ("acme", "connect", "starter", "ok"),
        ("globex", "social", "free", "ok"),
    ]
    AccountMeter.objects.update(clock=None)
    assert [row.state for row in overview(three_accounts, NOW)] == ["ok", "limit_reached", "ok"]
    assert queries(lambda: overview(three_accounts, NOW)) == queries(lambda: overview(one_account, NOW)) == 3


# --- When ------------------------------------------------------------------------------------------------------------


def test_outcomes_are_of_the_period_in_which_they_came_in(acme: Account):
    deliver(acme, [event(), event(source="nowhere")])
    deliver(acme, [event(time=DECEMBER - timedelta(minutes=1))], now=DECEMBER)

    assert usage(acme, NOW)["outcomes"] == {"recorded": 1, "rejected": 1}
    assert usage(acme, DECEMBER)["outcomes"] == {"recorded": 1}
    assert rows(BillingPeriod, "starts_at", "active_contacts") == [(NOVEMBER, 2), (DECEMBER, 0)]


def test_duplicates_are_deliveries_too(acme: Account):
    sent = event()

    deliver(acme, [sent, sent])
    deliver(acme, [sent, sent | {"subject": "bob@example.com"}])

    assert usage(acme, NOW)["outcomes"] == {"conflict": 1, "duplicate": 2, "recorded": 1}


def test_usage_follows_the_clock_of_an_import(acme: Account):
    AccountMeter.objects.filter(account=acme).update(clock=datetime(2026, 5, 5, tzinfo=UTC))

    assert clock_of(acme, NOW) == datetime(2026, 5, 5, tzinfo=UTC)
    assert usage(acme, NOW)["period"]["start"] == datetime(2026, 5, 1, tzinfo=UTC)


def test_a_period_of_the_history_is_a_row(acme: Account):
    deliver(acme, [happens("contact.matched", "ann")])
    with locked(acme.pk):
        do_due_work(acme, datetime(2026, 12, 2, tzinfo=UTC))

    closed = period_row(period_starting(acme, NOVEMBER), DECEMBER)
    current = period_row(period_starting(acme, DECEMBER), DECEMBER)

    assert closed | {"checksum": len(closed["checksum"])} == {
        "start": NOVEMBER,
        "end": DECEMBER,
        "state": "closed",
        "plan": "connect",
        "tier": "starter",
        "unit": "active_contacts",
        "used": 1,
        "limit": 1_000,
        "carried_in": 0,
        "new": 1,
        "totals": {"app_connector_events": 0, "active_contacts": 1, "activated_contacts": 0},
        "checksum": 64,
    }
    assert (current["state"], current["carried_in"], current["new"], current["checksum"]) == ("open", 1, 0, None)


def test_a_period_shows_as_ended_before_the_scheduler_has_run(acme: Account):
    deliver(acme, [event()])

    row = period_row(period_starting(acme, NOVEMBER), DECEMBER)

    assert row["state"] == "ended"


def test_a_period_that_does_not_start_then_is_unknown(acme: Account):
    deliver(acme, [event()])

    with pytest.raises(UnknownPeriod):
        period_starting(acme, NOVEMBER + timedelta(seconds=1))


# --- What a connection did -------------------------------------------------------------------------------------------


def test_the_status_of_a_connection_tells_families_types_and_days(acme: Account):
    deliver(
        acme,
        [
            happens("contact.created_in_marketing", "ann", time=datetime(2026, 11, 20, 10, tzinfo=UTC)),
            happens("contact.matched", "bob", time=datetime(2026, 11, 20, 11, tzinfo=UTC)),
            happens("engagement.email_opened", "ann", time=datetime(2026, 11, 22, tzinfo=UTC)),
            happens("engagement.email_opened", "bob", time=datetime(2026, 11, 22, 1, tzinfo=UTC)),
            happens("web.visited", "bob", time=datetime(2026, 11, 22, 2, tzinfo=UTC)),
            happens("engagement.email_opened", "bob", time=datetime(2026, 11, 19, 23, 59, tzinfo=UTC)),
            happens("engagement.email_opened", "bob", "hubspot-brevo"),
            event(source="pipedrive-mailchimp", type="nothing"),
        ],
    )
    link = acme.connections.get(key="pipedrive-mailchimp")

    assert connection_status(link, date(2026, 11, 20), date(2026, 11, 22)) == {
        "connection": "pipedrive-mailchimp",
        "from": date(2026, 11, 20),
        "to": date(2026, 11, 22),
        "contact_events": 1,
        "engagement_events": 2,
        "by_type": {
            "contact.created_in_marketing": 1,
            "contact.matched": 1,
            "engagement.email_opened": 2,
            "web.visited": 1,
        },
        "daily": [
            {
                "date": date(2026, 11, 20),
                "contact_events": 1,
                "engagement_events": 0,
                "by_type": {"contact.created_in_marketing": 1, "contact.matched": 1},
            },
            {"date": date(2026, 11, 21), "contact_events": 0, "engagement_events": 0, "by_type": {}},
            {
                "date": date(2026, 11, 22),
                "contact_events": 0,
                "engagement_events": 2,
                "by_type": {"engagement.email_opened": 2, "web.visited": 1},
            },
        ],
    }


def days(account: Account, key: str, first: date, last: date) -> list[int]:
    """Engagement events on each day of a range."""
    status = connection_status(account.connections.get(key=key), first, last)
    return [row["engagement_events"] for row in status["daily"]]


def test_a_day_is_a_local_one_and_may_have_25_hours(globex: Account):
    """On 25 October 2026 clocks in Berlin go back: the day lasts from 22:00 to 23:00 UTC."""
    moments = [
        datetime(2026, 10, 24, 21, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 10, 24, 22, tzinfo=UTC),
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 22, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 10, 25, 23, tzinfo=UTC),
    ]

    deliver(globex, [event(source="lead-ads", time=each) for each in moments], now=datetime(2026, 10, 27, tzinfo=UTC))

    assert days(globex, "lead-ads", date(2026, 10, 24), date(2026, 10, 26)) == [1, 4, 1]


def test_a_day_on_which_clocks_go_forward_has_23_hours(catalogue: None):
    berlin = put_account("berlin", plan="connect", timezone="Europe/Berlin")
    put_connection(berlin, "mails", "engagement")
    moments = [datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 21, 59, tzinfo=UTC)]
    after = datetime(2026, 3, 29, 22, tzinfo=UTC)

    deliver(berlin, [event(source="mails", time=each) for each in [*moments, after]], now=after)

    assert days(berlin, "mails", date(2026, 3, 29), date(2026, 3, 30)) == [2, 1]


def test_days_are_local_ones_as_of_when_the_events_came(globex: Account):
    late_evening = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)
    deliver(globex, [event(source="lead-ads", time=late_evening)])
    put("globex", {"timezone": "Asia/Tokyo"}, actor=ACTOR, now=NOW)

    deliver(globex, [event(source="lead-ads", time=late_evening)])

    assert days(globex, "lead-ads", date(2026, 11, 20), date(2026, 11, 21)) == [1, 1]


def test_late_events_are_on_no_day(acme: Account):
    deliver(acme, [event(time=datetime(2026, 10, 30, tzinfo=UTC))])

    assert days(acme, "pipedrive-mailchimp", date(2026, 10, 30), date(2026, 10, 30)) == [0]


# --- How much work ---------------------------------------------------------------------------------------------------


def test_usage_takes_as_many_queries_for_50_connections_as_for_one(acme: Account):
    deliver(acme, [event()])
    few = queries(lambda: usage(acme, NOW))
    for number in range(50):
        put_connection(acme, f"sync-{number}")
    deliver(
        acme,
        [
            event(source=f"sync-{number}", type=name)
            for number in range(50)
            for name in ("contact.matched", "web.visited")
        ],
    )

    assert len(usage(acme, NOW)["by_connection"]) == 51
    assert queries(lambda: usage(acme, NOW)) == few <= 15


def test_a_status_takes_one_query_for_a_year(acme: Account, django_assert_num_queries: Any):
    deliver(acme, [event(time=NOW - timedelta(days=number)) for number in range(21)])
    link = acme.connections.get(key="pipedrive-mailchimp")

    with django_assert_num_queries(1):
        status = connection_status(link, date(2026, 1, 1), date(2026, 12, 31))

    assert (len(status["daily"]), status["engagement_events"]) == (365, 21)


def test_intake_takes_as_many_queries_of_the_orm_for_500_events_as_for_one(acme: Account):
    deliver(acme, [event()])

    one = queries(lambda: deliver(acme, [event()]))
    many = queries(lambda: deliver(acme, [event() for _ in range(500)]))

    assert many == one
