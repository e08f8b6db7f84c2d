"""What each local day added to the count of its period."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account
from metering import steering
from metering.daily import daily
from metering.erasure import erase
from metering.lock import locked
from metering.models import BillingPeriod, CountedContact, CountedDay
from metering.periods import do_due_work
from metering.reconcile import differences
from metering.replay import replay_all
from metering.usage import usage
from metering.voiding import void
from tests.conftest import StoppedClock
from tests.factories import ACTOR, NOW, Caller, deliver, event, put_account, put_connection, rows

pytestmark = pytest.mark.django_db

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


def on(day: int, hour: int = 9, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def new(account: Account, first: int = 1, last: int = 30, month: int = 11) -> dict[str, int]:
    """The days of a month that added something."""
    found = daily(account, date(2026, month, first), date(2026, month, last))
    return {f"{row['date']:%m-%d}": row["new_counted"] for row in found if row["new_counted"]}


def open_at(account: Account, at: datetime) -> BillingPeriod:
    """The period that contains an instant, everything due before it being done."""
    with locked(account.pk):
        do_due_work(account, at)
    return BillingPeriod.objects.get(account=account, starts_at__lte=at, ends_at__gt=at)


def test_a_contact_is_new_on_the_day_of_its_first_cause_whatever_came_first(acme: Account):
    deliver(acme, [event(subject="ann@example.com", time=on(20)), event(subject="bob@example.com", time=on(20))])
    deliver(acme, [event(subject="ann@example.com", time=on(21)), event(subject="bob@example.com", time=on(3))])

    assert new(acme) == {"11-03": 1, "11-20": 1}


def test_days_are_those_of_the_accounts_zone(globex: Account):
    """23:30 UTC on the 2nd is the 3rd in Berlin; 22:30 UTC on the 31st of October is still October there."""
    late = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
    deliver(globex, [event(source="instagram", type="automation.ai_reply", time=late)])

    assert new(globex) == {"11-03": 1}


def test_carried_in_contacts_are_new_on_no_day_though_they_do_something(acme: Account):
    deliver(acme, [event(type="contact.matched", subject="ann@example.com", time=on(20))])
    open_at(acme, on(2, month=12))

    deliver(acme, [event(subject="ann@example.com", time=on(2, month=12))], now=on(2, 10, month=12))

    assert (new(acme), new(acme, month=12)) == ({"11-20": 1}, {})
    assert [row["events"] for row in daily(acme, date(2026, 12, 2), date(2026, 12, 2))] == [1]


def test_who_proves_to_have_been_carried_in_is_not_new_any_more(acme: Account):
    deliver(acme, [event(subject="ann@example.com", time=on(1, month=12))], now=on(1, 10, month=12))
    assert new(acme, month=12) == {"12-01": 1}

    deliver(acme, [event(type="contact.matched", subject="ann@example.com", time=on(30))], now=on(1, 11, month=12))

    assert (new(acme), new(acme, month=12)) == ({"11-30": 1}, {})


def test_replayed_events_are_new_on_the_day_of_the_replay(acme: Account):
    put_account("acme", limit_override=1, at_limit="hold")
    deliver(acme, [event(time=on(10)), event(subject="ann@example.com", time=on(11))], now=on(11, 12))
    assert new(acme) == {"11-10": 1}

    put_account("acme", limit_override=5, now=on(15))
    with locked(acme.pk):
        replay_all(Account.objects.get(pk=acme.pk), on(15))

    assert new(acme) == {"11-10": 1, "11-15": 1}
    assert rows(CountedContact, "first_at", "first_on", contact__identity="ann@example.com") == [
        (on(11), date(2026, 11, 15))
    ]
    assert differences(acme) == []


def test_replayed_billable_events_count_on_the_day_of_the_replay(initech: Account):
    put_account("initech", limit_override=1, at_limit="hold", signed_up_at=initech.signed_up_at)
    deliver(initech, [event(source="typeform", time=on(11, hour)) for hour in (1, 2, 3)], now=on(11, 12))

    put_account("initech", limit_override=5, now=on(15), signed_up_at=initech.signed_up_at)
    with locked(initech.pk):
        replay_all(Account.objects.get(pk=initech.pk), on(15))

    assert new(initech, 10) == {"11-11": 1, "11-15": 2}
    assert differences(initech) == []


def test_a_voided_event_takes_its_day_with_it(acme: Account):
    deliver(
        acme,
        [
            event(id="first", subject="ann@example.com", time=on(5)),
            event(id="second", subject="ann@example.com", time=on(7), type="engagement.email_clicked"),
        ],
    )

    void(acme, "pipedrive-mailchimp", "first", reason="a test", actor=ACTOR, now=NOW)

    assert new(acme) == {"11-07": 1}
    void(acme, "pipedrive-mailchimp", "second", reason="a test", actor=ACTOR, now=NOW)
    assert (new(acme), differences(acme)) == ({}, [])


def test_a_voided_event_takes_the_day_it_was_counted_on_though_the_zone_has_changed(initech: Account):
    deliver(initech, [event(id="evt-1", source="typeform", time=on(20, 23)), event(source="typeform", time=on(12))])
    put_account("initech", timezone="Europe/Berlin", signed_up_at=initech.signed_up_at)

    void(initech, "typeform", "evt-1", reason="a test", actor=ACTOR, now=NOW)

    assert (new(initech, 10), differences(initech)) == ({"11-12": 1}, [])


def test_a_rename_moves_nobody_to_another_day(acme: Account):
    deliver(acme, [event(subject="ann@example.com", time=on(5)), event(subject="new@example.com", time=on(6))])

    deliver(
        acme, [event(type="contact.renamed", subject="other@example.com", data={"from": "ann@example.com"}, time=on(9))]
    )

    assert new(acme) == {"11-05": 1, "11-06": 1}
    assert differences(acme) == []


def test_all_three_units_have_their_days(acme: Account):
    deliver(
        acme,
        [
            event(subject="ann@example.com", time=on(5)),
            event(subject="ann@example.com", time=on(6)),
            event(type="automation.ai_reply", subject="ann@example.com", time=on(7)),
        ],
    )

    assert rows(CountedDay, "unit", "day", "counted") == [
        (0, date(2026, 11, 5), 1),
        (0, date(2026, 11, 6), 1),
        (1, date(2026, 11, 5), 1),
        (2, date(2026, 11, 7), 1),
    ]


def test_the_days_of_a_period_sum_to_what_is_new(acme: Account):
    deliver(acme, [event(type="contact.matched", time=on(20)) for _ in range(3)])
    open_at(acme, on(2, month=12))
    deliver(acme, [event(time=on(day, month=12)) for day in (1, 1, 2)], now=on(2, 12, month=12))

    seen = usage(acme, on(3, month=12))

    assert (seen["used"], seen["carried_in"], seen["new"]) == (6, 3, 3)
    assert new(acme, month=12) == {"12-01": 2, "12-02": 1}


def test_a_day_of_two_periods_adds_to_both(catalogue: None):
    """The boundary lies in the middle of a local day, as the zone was changed since."""
    account = put_account("shifted", plan="connect", tier="starter", signed_up_at=datetime(2026, 3, 1, tzinfo=UTC))
    put_connection(account, "pipedrive-mailchimp")
    put_account("shifted", timezone="America/Los_Angeles")
    before, after = NOVEMBER - timedelta(hours=1), NOVEMBER + timedelta(hours=1)

    deliver(account, [event(time=before), event(time=after)], now=NOVEMBER + timedelta(hours=2))

    assert new(account, 31, 31, month=10) == {"10-31": 2}


def test_the_api_lists_every_day_of_the_period_so_far(acme: Account, acme_caller: Caller):
    deliver(
        acme,
        [
            event(subject="ann@example.com", time=on(5)),
            event(type="web.visited", source="website", subject="ann@example.com", time=on(5)),
            event(type="crm.tagged", source="website", subject="bob@example.com", time=on(22)),
        ],
    )

    answer = acme_caller.get("usage/daily").json()

    assert (answer["next"], answer["previous"], len(answer["results"])) == (None, None, 22)
    assert [row for row in answer["results"] if row["events"]] == [
        {
            "date": "2026-11-05",
            "new_counted": 1,
            "events": 2,
            "by_type": {"engagement.email_opened": 1, "web.visited": 1},
        },
        {"date": "2026-11-22", "new_counted": 0, "events": 1, "by_type": {"crm.tagged": 1}},
    ]
    assert answer["results"][0] == {"date": "2026-11-01", "new_counted": 0, "events": 0, "by_type": {}}


def test_the_days_of_a_period_between_two_plans_begin_with_it(
    initech: Account, initech_caller: Caller, clock: StoppedClock
):
    steering.downgrade(initech, "free", "social", reason="as they asked", actor=ACTOR, now=NOW)
    clock.move_to(datetime(2026, 12, 12, tzinfo=UTC))

    days = dates(initech_caller.get("usage/daily"))

    assert days == ["2026-12-10", "2026-12-11", "2026-12-12"]
    assert initech_caller.get("usage").json()["period"]["start"] == "2026-12-10T00:00:00Z"
    assert dates(initech_caller.get("usage/daily")) == days


def test_the_days_of_a_closed_account_are_those_of_its_last_period(
    acme: Account, acme_caller: Caller, clock: StoppedClock
):
    deliver(acme, [event(time=on(5))])
    steering.close(acme, reason="as they asked", actor=ACTOR, now=NOW)
    clock.move_to(datetime(2027, 3, 15, tzinfo=UTC))

    days = dates(acme_caller.get("usage/daily"))

    assert (days[0], days[-1]) == ("2026-11-01", "2026-11-30")


def beyond(answer: Any, which: str) -> str:
    """The address of a neighbouring page, below the API's."""
    address: str = answer.json()[which]
    return address.partition("/api/v1/")[2]


def dates(answer: Any) -> list[str]:
    return [row["date"] for row in answer.json()["results"]]


def test_days_come_in_pages_there_and_back(acme_caller: Caller):
    asked = {"from": "2026-11-01", "to": "2026-11-05", "page_size": 2}
    first = acme_caller.get("usage/daily", **asked)
    second = acme_caller.get(beyond(first, "next"))
    third = acme_caller.get(beyond(second, "next"))
    back = acme_caller.get(beyond(third, "previous"))

    assert [dates(page) for page in (first, second, third, back)] == [
        ["2026-11-01", "2026-11-02"],
        ["2026-11-03", "2026-11-04"],
        ["2026-11-05"],
        ["2026-11-03", "2026-11-04"],
    ]
    assert (first.json()["previous"], third.json()["next"]) == (None, None)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"from": "2026-11-31"}, "bad_date"),
        ({"to": "yesterday"}, "bad_date"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "from_after_to"),
        ({"from": "2025-10-27", "to": "2026-12-01"}, "too_many_days"),
        ({"page_size": "0"}, "out_of_range"),
        ({"cursor": "made-up"}, "bad_cursor"),
        ({"day": "2026-11-01"}, "unknown_parameter"),
    ],
)
def test_days_that_cannot_be_asked_for_are_refused(acme_caller: Caller, asked: dict[str, str], code: str):
    answer = acme_caller.get("usage/daily", **asked)

    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("first", ["0001-01-01", "9999-01-01"])
def test_the_ends_of_the_calendar_are_days_too(acme_caller: Caller, first: str):
    last = f"{first[:4]}-12-31"
    page = acme_caller.get("usage/daily", **{"from": first, "to": last, "page_size": 364})
    end = acme_caller.get(beyond(page, "next"))
    again = acme_caller.get(beyond(end, "previous").replace("page_size=364", "page_size=1000"))

    assert (dates(page)[0], dates(end), len(dates(again))) == (first, [last], 364)


def test_many_days_take_as_many_queries_as_few(acme: Account, django_assert_num_queries: Any):
    deliver(acme, [event(time=on(day)) for day in range(1, 22)])

    for last in (1, 30):
        with django_assert_num_queries(4):
            daily(acme, date(2026, 11, 1), date(2026, 11, last))


def test_who_is_erased_stays_on_the_day(acme: Account):
    deliver(acme, [event(subject="ann@example.com", time=on(5))])

    erase(acme, "ann@example.com", actor=ACTOR, now=NOW)

    assert (new(acme), differences(acme)) == ({"11-05": 1}, [])
