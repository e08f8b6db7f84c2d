"""Billing periods as rows: who opens them, how they end and close, and what is late (DESIGN section 6)."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Account
from metering.breakdown import breakdown
from metering.lock import locked
from metering.models import BillingPeriod, CountedContact, Event
from metering.periods import accounts_with_due_work, checksum, do_due_work, next_due
from metering.reconcile import differences
from metering.registration import put_account as put
from metering.usage import usage
from plans.models import Tier
from tests.factories import ACTOR, NOW, deliver, event, make_plan, put_account, put_connection, rows, unguarded

pytestmark = pytest.mark.django_db

MOMENT = timedelta(microseconds=1)


def at(text: str) -> datetime:
    """An instant like `2026-12-01` or `2026-12-01 10:30`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def periods(account: Account) -> list[str]:
    """An account's periods like `2026-11-01 open`, oldest first."""
    found = BillingPeriod.objects.filter(account=account).order_by("starts_at")
    return [f"{period.starts_at:%Y-%m-%d} {period.state}" for period in found]


def period(account: Account, day: str) -> BillingPeriod:
    return BillingPeriod.objects.get(account=account, starts_at=at(day))


def outcome(account: Account, when: str, *, now: datetime, **attributes: object) -> str:
    """What becomes of one event of that time."""
    [item] = deliver(account, [event(time=at(when), **attributes)], now=now).items
    return item.verdict.outcome


def do_due(account: Account, now: str) -> bool:
    with locked(account.pk):
        return do_due_work(Account.objects.get(pk=account.pk), at(now))


# --- The first period ------------------------------------------------------------------------------------------------


def test_the_first_accepted_event_opens_the_first_period(acme: Account):
    deliver(acme, [event(time=at("2026-11-20"))])

    assert rows(BillingPeriod, "starts_at", "ends_at", "closes_at", "state", "limit", "active_contacts") == [
        (at("2026-11-01"), at("2026-12-01"), at("2026-12-02"), "open", 1_000, 1)
    ]


def test_a_first_event_that_is_in_grace_opens_its_own_period_and_none_before_it(acme: Account):
    assert outcome(acme, "2026-10-31 23:00", now=at("2026-11-01 10:00")) == "recorded"

    assert periods(acme)[0] == "2026-10-01 ended"
    assert rows(BillingPeriod, "starts_at", active_contacts__gt=0) == [at("2026-10-01")]


def test_a_read_opens_the_period_that_contains_the_clock(acme: Account):
    usage(acme, NOW)

    assert periods(acme) == ["2026-11-01 open"]


def test_the_first_period_may_begin_before_the_sign_up_and_has_the_full_limit(catalogue: None):
    signed_up_at, anchor = at("2026-11-20"), at("2026-01-05")
    late_comer = put_account("late-comer", signed_up_at=signed_up_at, anchor=anchor, plan="connect", tier="starter")

    usage(late_comer, NOW)

    assert rows(BillingPeriod, "starts_at", "limit") == [(at("2026-11-05"), 1_000)]


def test_making_an_account_or_pushing_it_again_makes_no_period(acme: Account):
    put("acme", {"name": "Acme Inc", "limit_override": 5}, actor=ACTOR, now=NOW)

    assert periods(acme) == []


def test_the_scheduler_makes_no_first_period(acme: Account):
    assert do_due(acme, "2027-06-01") is False

    assert periods(acme) == []
    assert accounts_with_due_work(at("2027-06-01")) == []
    assert next_due(acme) is None


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"time": at("2026-10-20")}, "late"),
        ({"time": at("2026-11-23")}, "rejected"),
        ({"source": "nowhere"}, "rejected"),
        ({"type": "engagement.email_sent", "source": "hubspot-brevo"}, "ignored"),
    ],
)
def test_an_event_that_is_not_recorded_makes_no_first_period(acme: Account, sent: dict[str, object], expected: str):
    put_connection(acme, "hubspot-brevo", record_email_sent=False)

    receipt = deliver(acme, [event(**sent)])

    assert receipt.outcomes() == {expected: 1}
    assert periods(acme) == []


def test_a_dry_run_opens_nothing(acme: Account):
    assert deliver(acme, [event()], dry_run=True).outcomes() == {"recorded": 1}

    assert periods(acme) == []


# --- One after another -----------------------------------------------------------------------------------------------


def test_after_a_silence_every_period_up_to_the_event_is_opened(acme: Account):
    deliver(acme, [event()])

    assert outcome(acme, "2027-03-05", now=at("2027-03-05 12:00")) == "recorded"

    over = [f"{day} ended" for day in ("2026-11-01", "2026-12-01", "2027-01-01", "2027-02-01")]
    assert periods(acme) == [*over, "2027-03-01 open"]


def test_after_a_silence_a_read_opens_every_period_up_to_now(acme: Account):
    deliver(acme, [event()])

    answer = usage(acme, at("2027-01-15"))

    assert answer["period"]["start"] == at("2027-01-01")
    assert periods(acme) == ["2026-11-01 ended", "2026-12-01 ended", "2027-01-01 open"]


def test_a_late_event_of_a_silent_month_is_stored_in_no_period(acme: Account):
    deliver(acme, [event()])

    assert outcome(acme, "2027-01-20", now=at("2027-02-10"), id="evt-late") == "late"

    assert rows(Event, "key", "period", key="evt-late") == [("evt-late", None)]
    assert rows(BillingPeriod, "starts_at", active_contacts__gt=0) == [at("2026-11-01")]


def test_an_event_in_grace_opens_its_period_even_if_a_later_one_exists(acme: Account):
    assert outcome(acme, "2026-11-01 09:00", now=at("2026-11-01 10:00")) == "recorded"

    assert outcome(acme, "2026-10-31 23:59", now=at("2026-11-01 10:00")) == "recorded"

    assert periods(acme) == ["2026-10-01 ended", "2026-11-01 open"]
    assert rows(BillingPeriod, "starts_at", "active_contacts") == [(at("2026-10-01"), 1), (at("2026-11-01"), 1)]


def test_events_of_two_periods_in_one_batch_open_both(acme: Account):
    events = [event(time=at("2026-11-01 09:00")), event(time=at("2026-10-31 23:59"))]

    assert deliver(acme, events, now=at("2026-11-01 10:00")).outcomes() == {"recorded": 2}

    assert periods(acme) == ["2026-10-01 ended", "2026-11-01 open"]


def test_a_period_whose_grace_is_over_is_closed_though_it_was_never_opened(acme: Account):
    deliver(acme, [event()])

    assert outcome(acme, "2026-10-31 23:59", now=at("2026-11-22"), id="evt-late") == "late"

    assert periods(acme) == ["2026-11-01 open"]
    assert rows(Event, "state", "period", key="evt-late") == [(2, None)]


@pytest.mark.parametrize(
    ("now", "expected", "opened"),
    [
        (at("2026-11-02") - MOMENT, "recorded", ["2026-10-01 ended", "2026-11-01 open"]),
        (at("2026-11-02"), "late", ["2026-11-01 open"]),
    ],
)
def test_a_period_can_be_opened_until_its_grace_is_over(acme: Account, now: datetime, expected: str, opened: list[str]):
    outcome(acme, "2026-11-01", now=at("2026-11-01 10:00"))

    assert outcome(acme, "2026-10-31", now=now) == expected
    assert periods(acme) == opened


def test_an_event_five_minutes_ahead_opens_the_next_period(acme: Account):
    deliver(acme, [event()])

    assert outcome(acme, "2026-12-01", now=at("2026-11-30 23:55")) == "recorded"

    assert periods(acme) == ["2026-11-01 open", "2026-12-01 open"]
    assert usage(acme, at("2026-11-30 23:55"))["period"]["start"] == at("2026-11-01")


def test_an_instant_on_the_boundary_belongs_to_the_later_period(acme: Account):
    now = at("2026-12-01 01:00")

    deliver(acme, [event(time=at("2026-12-01") - MOMENT), event(time=at("2026-12-01"))], now=now)

    assert rows(BillingPeriod, "starts_at", "app_connector_events") == [(at("2026-11-01"), 1), (at("2026-12-01"), 1)]


def test_a_calendar_month_is_the_local_one_of_the_subscription(globex: Account):
    deliver(globex, [event(source="instagram", type="automation.ai_reply")])

    assert rows(BillingPeriod, "starts_at", "ends_at") == [(at("2026-10-31 23:00"), at("2026-11-30 23:00"))]


def test_a_later_change_of_the_zone_does_not_move_the_bounds(globex: Account):
    put("globex", {"timezone": "Asia/Tokyo"}, actor=ACTOR, now=NOW)

    deliver(globex, [event(source="instagram")])

    assert rows(BillingPeriod, "starts_at", "ends_at") == [(at("2026-10-31 23:00"), at("2026-11-30 23:00"))]


# --- Ending and closing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "did_anything", "expected"),
    [
        ("2026-11-30 23:59:59.999999", False, ["2026-11-01 open"]),
        ("2026-12-01 00:00", True, ["2026-11-01 ended", "2026-12-01 open"]),
        ("2026-12-01 23:59:59.999999", True, ["2026-11-01 ended", "2026-12-01 open"]),
        ("2026-12-02 00:00", True, ["2026-11-01 closed", "2026-12-01 open"]),
        ("2027-01-01 12:00", True, ["2026-11-01 closed", "2026-12-01 ended", "2027-01-01 open"]),
        ("2027-02-15 00:00", True, ["2026-11-01 closed", "2026-12-01 closed", "2027-01-01 closed", "2027-02-01 open"]),
    ],
)
def test_what_is_due_is_done(acme: Account, now: str, did_anything: bool, expected: list[str]):
    deliver(acme, [event()])

    assert do_due(acme, now) is did_anything

    assert periods(acme) == expected
    assert differences(acme) == []


@pytest.mark.parametrize("now", ["2026-12-01 00:00", "2026-12-02 00:00", "2027-02-15 00:00"])
def test_doing_what_is_due_twice_changes_nothing(acme: Account, now: str):
    deliver(acme, [event()])
    do_due(acme, now)
    before = list(BillingPeriod.objects.order_by("pk").values())

    assert do_due(acme, now) is False

    assert list(BillingPeriod.objects.order_by("pk").values()) == before


def test_due_work_step_by_step_comes_to_the_same_as_at_once(acme: Account, initech: Account):
    for account in (acme, initech):
        sync = account.connections.filter(kind="contact_sync").order_by("pk")[0].key
        deliver(account, [event(type="contact.matched", source=sync, time=at("2026-11-12"))])
    for now in ("2026-12-01", "2026-12-02", "2026-12-10", "2026-12-11", "2027-01-01", "2027-01-02", "2027-01-11"):
        do_due(acme, now)
    do_due(initech, "2027-01-11")

    for account in (acme, initech):
        found = rows(BillingPeriod, "state", "active_contacts", "carried_in", account=account)
        assert found == [("closed", 1, 0), ("closed", 1, 1), ("open", 1, 1)]


def test_the_accounts_with_due_work_are_those_with_a_period_to_end_or_to_close(acme: Account, globex: Account):
    put_account("umbrella", plan="connect")
    deliver(acme, [event()])
    deliver(globex, [event(source="instagram")])

    due = {now: accounts_with_due_work(at(now)) for now in ("2026-11-30 22:59", "2026-11-30 23:00", "2026-12-01")}

    assert due == {
        "2026-11-30 22:59": [],
        "2026-11-30 23:00": [globex.pk],
        "2026-12-01": sorted([acme.pk, globex.pk]),
    }
    do_due(acme, "2026-12-01")
    assert accounts_with_due_work(at("2026-12-01")) == [globex.pk]
    assert accounts_with_due_work(at("2026-12-02")) == sorted([acme.pk, globex.pk])


def test_the_next_due_moment_is_an_end_or_a_closing(acme: Account):
    deliver(acme, [event()])

    moments = [next_due(acme)]
    for now in ("2026-12-01", "2026-12-02", "2027-01-01"):
        do_due(acme, now)
        moments.append(next_due(acme))

    assert moments == [at("2026-12-01"), at("2026-12-02"), at("2027-01-01"), at("2027-01-02")]


def test_closing_freezes_totals_breakdown_and_a_checksum(acme: Account):
    deliver(
        acme,
        [
            event(subject="ann@example.com"),
            event(subject="ann@example.com", type="contact.matched", source="hubspot-brevo"),
            event(subject="bob@example.com", type="automation.ai_reply"),
        ],
    )

    do_due(acme, "2026-12-02 07:00")

    closed = period(acme, "2026-11-01")
    assert (closed.state, closed.closed_at, closed.checksum) == ("closed", at("2026-12-02 07:00"), checksum(closed))
    assert len(closed.checksum) == 64
    assert closed.breakdown == {
        "by_reason": [
            {"reason": "contact_sync", "contacts": 1, "only_here": 0},
            {"reason": "email_opened", "contacts": 1, "only_here": 0},
        ],
        "by_connection": [
            {"connection": "hubspot-brevo", "contacts": 1, "only_here": 0},
            {"connection": "pipedrive-mailchimp", "contacts": 1, "only_here": 0},
        ],
    }
    assert closed.breakdown == breakdown(closed, "active_contacts")
    assert (closed.app_connector_events, closed.active_contacts, closed.activated_contacts) == (1, 1, 1)


@pytest.mark.parametrize("scheduler_ran", [True, False], ids=["after the scheduler", "before the scheduler"])
def test_after_the_grace_an_event_is_late_and_moves_nothing(acme: Account, scheduler_ran: bool):
    deliver(acme, [event()])
    if scheduler_ran:
        do_due(acme, "2026-12-02")

    assert outcome(acme, "2026-11-30", now=at("2026-12-02 00:00")) == "late"

    do_due(acme, "2026-12-02")
    closed = period(acme, "2026-11-01")
    assert (closed.state, closed.active_contacts, closed.checksum) == ("closed", 1, checksum(closed))
    assert differences(acme) == []


def test_until_the_end_of_the_grace_an_event_counts(acme: Account):
    deliver(acme, [event()])
    do_due(acme, "2026-12-01")

    assert outcome(acme, "2026-11-30", now=at("2026-12-02") - MOMENT) == "recorded"

    assert period(acme, "2026-11-01").active_contacts == 2


def test_a_checksum_depends_on_who_counts_and_why(acme: Account):
    deliver(acme, [event(subject="ann@example.com")])
    before = checksum(period(acme, "2026-11-01"))

    CountedContact.objects.filter(account=acme).update(reasons=3)

    assert checksum(period(acme, "2026-11-01")) != before


# --- Grace -----------------------------------------------------------------------------------------------------------


def hurried(hours: int) -> Account:
    """An account on a plan with another grace."""
    make_plan("hurried", {"only": 7}, at_limit="by_replayability", grace_hours=hours)
    account = put_account("hurried", plan="hurried")
    put_connection(account, "pipedrive-mailchimp")
    deliver(account, [event(type="contact.matched", subject="ann@example.com")])
    return account


def test_without_a_grace_a_period_closes_when_it_ends(catalogue: None):
    account = hurried(0)

    assert outcome(account, "2026-11-30", now=at("2026-12-01") - MOMENT) == "recorded"
    assert do_due(account, "2026-12-01")
    assert periods(account) == ["2026-11-01 closed", "2026-12-01 open"]
    assert outcome(account, "2026-11-30", now=at("2026-12-01")) == "late"
    assert usage(account, at("2026-12-01"))["period"]["provisional"] is False


def test_with_the_longest_grace_a_period_stays_in_grace_until_just_before_the_next_ends(catalogue: None):
    account = hurried(27 * 24)
    do_due(account, "2026-12-01")

    assert outcome(account, "2026-11-30", now=at("2026-12-28") - MOMENT) == "recorded"
    assert usage(account, at("2026-12-28") - MOMENT)["period"]["provisional"] is True
    assert outcome(account, "2026-11-30", now=at("2026-12-28")) == "late"
    assert usage(account, at("2026-12-28"))["period"]["provisional"] is False
    assert do_due(account, "2026-12-28")
    assert periods(account) == ["2026-11-01 closed", "2026-12-01 open"]
    assert differences(account) == []


# --- Provisional -----------------------------------------------------------------------------------------------------


def provisional(account: Account, now: str) -> bool:
    return bool(usage(account, at(now))["period"]["provisional"])


def test_a_period_is_provisional_until_the_one_before_it_closes(acme: Account):
    deliver(acme, [event()])
    do_due(acme, "2026-12-01")

    assert provisional(acme, "2026-12-01")
    assert provisional(acme, "2026-12-01 23:59:59.999999")
    assert not provisional(acme, "2026-12-02")
    do_due(acme, "2026-12-02")
    assert not provisional(acme, "2026-12-02")


def test_a_first_period_is_provisional_while_the_one_before_it_could_still_be_opened(acme: Account):
    assert provisional(acme, "2026-11-01 10:00")
    assert not provisional(acme, "2026-11-02")


def test_the_period_of_the_sign_up_is_not_provisional(catalogue: None):
    fresh = put_account("fresh", signed_up_at=NOW, plan="connect", tier="starter")

    assert not provisional(fresh, "2026-11-22 12:00")


def test_a_period_after_a_silence_is_not_provisional(acme: Account):
    deliver(acme, [event()])

    assert not provisional(acme, "2027-02-10")


# --- Limits ----------------------------------------------------------------------------------------------------------


def test_an_override_changes_the_limit_of_periods_that_have_not_ended(acme: Account):
    deliver(acme, [event()])
    outcome(acme, "2026-12-31", now=at("2026-12-31"))
    outcome(acme, "2027-01-01", now=at("2026-12-31 23:58"))

    put("acme", {"limit_override": 50}, actor=ACTOR, now=at("2026-12-31 23:58"))

    assert rows(BillingPeriod, "starts_at", "limit") == [
        (at("2026-11-01"), 1_000),
        (at("2026-12-01"), 50),
        (at("2027-01-01"), 50),
    ]


def test_a_period_that_ends_at_this_moment_keeps_its_limit(acme: Account):
    deliver(acme, [event()])

    put("acme", {"limit_override": 50}, actor=ACTOR, now=at("2026-12-01"))
    do_due(acme, "2026-12-01")

    assert rows(BillingPeriod, "starts_at", "limit") == [(at("2026-11-01"), 1_000), (at("2026-12-01"), 50)]


def test_without_its_override_a_period_has_the_limit_of_the_tier_again(acme: Account):
    put("acme", {"limit_override": 50}, actor=ACTOR, now=NOW)
    deliver(acme, [event()])
    assert rows(BillingPeriod, "limit") == [50]

    put("acme", {"limit_override": None}, actor=ACTOR, now=NOW)

    assert rows(BillingPeriod, "limit") == [1_000]


def test_a_period_of_an_unlimited_tier_has_no_limit(acme: Account):
    with unguarded():
        Tier.objects.filter(plan__key="connect", key="starter").update(limit=None)

    deliver(acme, [event()])

    assert rows(BillingPeriod, "limit") == [None]
