"""Where a turn, the limit and a change meet; also when an event ahead of the clock opens the next period early."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from accounts.models import Account
from jobs.models import Job
from metering import envelope, history, steering
from metering.due import run_due
from metering.models import BillingPeriod, Event, EventState, Gap, UpgradeCause
from metering.reconcile import differences
from metering.tasks import replay, upgrade
from metering.upkeep import accounts_with_due_work, do_due_work
from metering.usage import ensure_current, usage
from notifications.models import Notification
from plans.models import Subscription
from tests.factories import ACTOR, NOW, deliver, make_plan, put_account, put_connection, rows
from tests.metering.test_at_limit import kinds, outcomes, people, with_policy

pytestmark = pytest.mark.django_db

DECEMBER, JANUARY = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
LATER = NOW + HOUR
BY: dict[str, Any] = {"reason": "as they asked", "actor": ACTOR}


def fresh() -> Account:
    return Account.objects.get(slug="acme")


def open_december_early(account: Account, at: datetime = DECEMBER - SECOND) -> datetime:
    """A sender's clock is a little ahead."""
    deliver(account, people(50, 51, time=DECEMBER + SECOND), now=at)
    assert BillingPeriod.objects.filter(starts_at=DECEMBER).exists()
    return at


def run_jobs(at: datetime) -> None:
    for job in Job.objects.filter(task__startswith="metering.", state="queued"):
        {"metering.replay": replay, "metering.upgrade": upgrade}[job.task](job.subject_id, at)
        Job.objects.filter(pk=job.pk).update(state="done", finished_at=at)


# --- The next period is opened up to five minutes early ---


def test_what_is_held_is_replayed_after_the_turn_though_the_period_was_opened_before_it(acme: Account):
    with_policy(acme, "hold")
    deliver(acme, people(0, 13))
    run_jobs(open_december_early(acme))

    run_due(DECEMBER + MINUTE)
    run_jobs(DECEMBER + MINUTE)

    assert usage(fresh(), DECEMBER + MINUTE)["used"] == 4
    assert kinds(acme)[-1] == "resumed"
    assert Notification.objects.get(kind="resumed").created_at == DECEMBER + MINUTE
    assert differences(acme) == []


def test_an_upgrade_before_the_turn_reaches_the_period_that_was_opened_early(acme: Account):
    deliver(acme, people(0, 3))
    at = open_december_early(acme)

    steering.upgrade(acme, "growth", now=at, **BY)

    assert rows(BillingPeriod, "starts_at__month", "limit", "subscription__tier__key") == [
        (11, 2_500, "growth"),
        (12, 2_500, "growth"),
    ]


def test_an_upgrade_cancels_a_downgrade_that_an_early_period_has_taken_up(acme: Account):
    deliver(acme, people(0, 3))
    steering.upgrade(acme, "growth", now=NOW, **BY)
    steering.downgrade(acme, "starter", now=LATER, **BY)
    at = open_december_early(acme)
    assert BillingPeriod.objects.get(starts_at=DECEMBER).limit == 1_000

    steering.upgrade(acme, "professional", now=at, **BY)

    assert rows(BillingPeriod, "subscription__tier__key") == ["professional"] * 2
    assert [row.tier.key for row in Subscription.objects.order_by("starts_at")] == ["starter", "growth", "professional"]


def test_a_downgrade_before_the_turn_takes_effect_in_the_period_that_was_opened_early(acme: Account):
    deliver(acme, people(0, 3))
    steering.upgrade(acme, "growth", now=NOW, **BY)
    at = open_december_early(acme)

    steering.downgrade(acme, "starter", now=at, **BY)

    assert (usage(fresh(), DECEMBER)["tier"], usage(fresh(), DECEMBER)["limit"]) == ("starter", 1_000)
    assert (usage(fresh(), at)["tier"], usage(fresh(), at)["limit"]) == ("growth", 2_500)


def test_closing_before_the_turn_closes_at_the_turn(acme: Account):
    deliver(acme, people(0, 3))
    at = open_december_early(acme)

    steering.close(acme, now=at, **BY)

    assert fresh().closed_at == DECEMBER


def test_resuming_before_the_turn_resumes_the_period_that_still_runs(acme: Account):
    with_policy(acme, "pause", 3)
    deliver(acme, people(0, 4))
    at = open_december_early(acme)
    assert steering.resume(acme, now=at, **BY).paused is False

    assert outcomes(deliver(acme, people(0, 1, time=at), now=at)) == ["recorded"]


def test_what_is_dropped_after_the_early_opening_is_in_a_gap_that_ends_with_its_period(acme: Account):
    with_policy(acme, "pause", 3)
    deliver(acme, people(0, 4))
    at = open_december_early(acme)
    deliver(acme, people(9, 10, source="website", type="web.visited", time=at), now=at)
    assert "resumed" not in kinds(acme)

    run_due(DECEMBER + MINUTE)

    assert rows(Gap, "connection__key", "ends_at") == [("pipedrive-mailchimp", DECEMBER), ("website", DECEMBER)]


def test_after_months_of_silence_what_was_held_is_replayed_and_told_too(acme: Account):
    with_policy(acme, "hold")
    deliver(acme, people(0, 12))

    ensure_current(acme, datetime(2027, 2, 10, tzinfo=UTC))
    run_jobs(datetime(2027, 2, 10, tzinfo=UTC))

    assert usage(fresh(), datetime(2027, 2, 10, tzinfo=UTC))["used"] == 2
    assert kinds(acme)[-1] == "resumed"


# --- Grace ---


def test_what_an_ended_period_holds_is_queued_for_replay_into_the_open_one(acme: Account):
    with_policy(acme, "hold", 2)
    deliver(acme, people(0, 2))
    run_due(DECEMBER + HOUR)
    run_jobs(DECEMBER + HOUR)

    deliver(acme, people(5, 8), now=DECEMBER + HOUR + MINUTE)
    run_jobs(DECEMBER + HOUR + MINUTE)

    assert usage(fresh(), DECEMBER + HOUR + MINUTE)["used"] == 2
    assert Event.objects.filter(state=EventState.HELD).count() == 1


def test_two_periods_that_pause_at_one_instant_share_a_gap_that_is_open_while_one_is_paused(acme: Account):
    with_policy(acme, "pause", 1)
    deliver(acme, people(0, 1))
    at = DECEMBER + HOUR
    deliver(acme, people(0, 1, time=at), now=at)

    deliver(acme, [*people(3, 4), *people(4, 5, time=at)], now=at)

    assert rows(Gap, "starts_at", "ends_at", "events") == [(at, None, 2)]


def test_a_gap_of_a_closed_account_ends_with_its_last_period(acme: Account):
    with_policy(acme, "pause", 1)
    deliver(acme, people(0, 2))
    steering.close(acme, now=LATER, **BY)

    do_due_work(fresh(), DECEMBER)

    assert rows(Gap, "ends_at") == [DECEMBER]


# --- Causes and upgrades ---


def test_a_cause_that_had_fitted_upgrades_when_the_limit_is_exceeded_again(acme: Account):
    with_policy(acme, "upgrade", 2)
    deliver(acme, people(0, 3, type="contact.matched"))
    upgrade(UpgradeCause.objects.get().pk, NOW)
    put_account("acme", limit_override=2, signed_up_at=acme.signed_up_at)
    deliver(acme, people(3, 4), now=LATER)

    run_jobs(LATER)

    assert usage(fresh(), LATER)["tier"] == "professional"
    assert kinds(acme).count("upgraded") == 2


def test_resuming_over_the_top_tier_comes_back_to_it(acme: Account):
    steering.upgrade(acme, "scale", now=NOW, **BY)
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 11))
    run_jobs(NOW)
    steering.resume(acme, now=LATER, **BY)

    deliver(acme, people(11, 12), now=LATER)
    run_jobs(LATER)

    assert usage(fresh(), LATER)["state"] == "over_top_tier"
    assert kinds(acme).count("over_top_tier") == 1


def test_who_opts_out_before_the_task_runs_is_not_upgraded(acme: Account):
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 11))
    put_account("acme", now=LATER, at_limit=None, auto_upgrade=False, signed_up_at=acme.signed_up_at)

    run_jobs(LATER)

    assert UpgradeCause.objects.get().outcome == "withdrawn"
    assert Subscription.objects.count() == 1
    assert outcomes(deliver(acme, people(20, 21), now=LATER)) == ["dropped"]


def test_a_task_whose_clock_is_behind_the_crossing_rewrites_no_history(acme: Account):
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 11))

    upgrade(UpgradeCause.objects.get().pk, NOW - timedelta(milliseconds=5))

    assert rows(Subscription, "tier__key", "starts_at") == [("growth", NOW), ("starter", acme.signed_up_at)]


def test_a_cause_of_a_period_whose_plan_has_changed_at_the_turn_leads_to_nothing(acme: Account):
    deliver(acme, people(0, 3))
    steering.upgrade(acme, "growth", now=NOW, **BY)
    steering.downgrade(acme, "starter", now=LATER, **BY)
    with_policy(acme, "upgrade", 3)
    deliver(acme, people(3, 4), now=LATER)
    ensure_current(acme, DECEMBER)

    run_jobs(DECEMBER)

    assert UpgradeCause.objects.get().outcome == "fitted"
    assert usage(fresh(), DECEMBER)["tier"] == "starter"


# --- Trials ---


@pytest.fixture
def trying(catalogue: None) -> Account:
    account = put_account("acme", plan="connect", tier="trial", trial_ends_at=LATER)
    put_connection(account, "pipedrive-mailchimp")
    deliver(account, people(0, 2, type="contact.matched"))
    return account


def test_the_end_of_a_trial_is_told_though_a_change_of_plan_is_pending(trying: Account):
    steering.downgrade(trying, "pro-1k", "social", now=NOW, **BY)
    deliver(trying, people(5, 6), now=LATER)
    assert accounts_with_due_work(LATER) == [trying.pk]

    run_due(LATER)
    run_due(DECEMBER)

    assert "trial_ended" in kinds(trying)
    assert rows(Gap, "reason", "ends_at") == [("trial_ended", DECEMBER)]
    assert outcomes(deliver(trying, people(6, 7, time=DECEMBER), now=DECEMBER)) == ["recorded"]


def test_a_trial_that_ended_under_a_pause_by_staff_leaves_no_gap_open_after_the_upgrade(trying: Account):
    run_due(LATER)
    deliver(trying, people(5, 6), now=LATER)
    steering.pause(trying, now=LATER + MINUTE, **BY)
    steering.upgrade(trying, "starter", now=LATER + HOUR, **BY)
    assert "resumed" not in kinds(trying)

    steering.resume(trying, now=LATER + 2 * HOUR, **BY)

    assert not Gap.objects.filter(ends_at=None).exists()
    assert kinds(trying)[-1] == "resumed"
    assert trying.audit.filter(action="account.trial_ended").count() == 1


# --- "Running again" is told when it is so ---


def test_nothing_is_told_to_run_again_while_staff_have_paused_it(acme: Account):
    with_policy(acme, "pause", 1)
    deliver(acme, people(0, 2))
    steering.pause(acme, now=LATER, **BY)
    steering.upgrade(acme, "growth", now=LATER, **BY)
    run_due(DECEMBER)
    assert "resumed" not in kinds(acme)

    steering.resume(acme, now=DECEMBER + HOUR, **BY)

    assert kinds(acme)[-1] == "resumed"


def test_the_end_of_a_pause_by_staff_over_a_hold_is_told(acme: Account):
    with_policy(acme, "hold", 1)
    deliver(acme, people(0, 2))
    steering.pause(acme, now=LATER, **BY)

    steering.resume(acme, now=LATER + HOUR, **BY)

    assert kinds(acme)[-2:] == ["paused", "held"]  # that it is not dropped any more, but held
    assert usage(fresh(), LATER + HOUR)["state"] == "holding"


def test_holding_again_after_it_ran_again_is_told_again(acme: Account):
    with_policy(acme, "hold", 10)
    deliver(acme, people(0, 11))
    with_policy(acme, "hold", 20)
    with_policy(acme, "hold", 10)

    deliver(acme, people(30, 31), now=LATER)

    assert [kind for kind in kinds(acme) if not kind.startswith("threshold")] == ["held", "resumed", "held"]


def test_a_gap_ends_though_the_clock_of_who_ends_it_was_read_before_it_began(acme: Account):
    with_policy(acme, "pause", 1)
    deliver(acme, people(0, 2), now=NOW + SECOND)

    steering.resume(acme, now=NOW, **BY)

    assert rows(Gap, "starts_at", "ends_at") == [(NOW + SECOND, NOW + SECOND)]


# --- Giving up, and what mails say ---


def test_nothing_is_given_up_before_a_week_has_passed_since_it_was_told(acme: Account):
    with_policy(acme, "hold", 1)
    deliver(acme, people(0, 1, type="contact.matched"))
    deliver(acme, people(1, 3))
    late = NOW + timedelta(days=91)  # the scheduler was down

    run_due(late)
    run_due(late + timedelta(days=6))
    assert Event.objects.filter(state=EventState.HELD).count() == 2
    run_due(late + timedelta(days=7))

    [warning] = Notification.objects.filter(kind="giving_up_soon")
    assert warning.facts["until"] == "2027-02-28T12:00:00Z"
    assert Event.objects.filter(state=EventState.GIVEN_UP).count() == 2


def test_an_opt_out_with_a_new_limit_tells_the_new_limit(acme: Account):
    deliver(acme, people(0, 1))

    with_policy(acme, None, 50, auto_upgrade=False)

    assert Notification.objects.get(kind="opted_out").limit == 50


def test_the_next_tier_of_a_mail_has_more_room_than_the_override(acme: Account):
    with_policy(acme, "upgrade", 3_000)
    deliver(acme, people(0, 2_400))

    assert Notification.objects.get(kind="threshold").facts["next_tier"]["key"] == "professional"


def test_a_lapsed_change_to_another_unit_is_told_in_that_unit(initech: Account):
    deliver(initech, people(0, 2, source="salesforce-mailchimp", type="contact.matched"))
    make_plan("tiny", {"three": 3})
    steering.downgrade(initech, "three", "tiny", now=NOW, **BY)
    deliver(initech, people(2, 6, source="salesforce-mailchimp", type="contact.matched"))

    ensure_current(initech, datetime(2026, 12, 10, tzinfo=UTC))

    facts = Notification.objects.get(kind="downgrade_lapsed", audience="customer").facts
    assert (facts["unit"], facts["used"], facts["limit"]) == ("active_contacts", 6, 3)


# --- Found by a second look ---


def test_a_batch_that_crosses_to_and_fro_is_cut_once_per_threshold(acme: Account, django_assert_max_num_queries: Any):
    deliver(acme, people(0, 10, type="contact.matched"))
    with_policy(acme, "limit_new", 10)
    at = DECEMBER + HOUR
    ensure_current(acme, at)
    to_and_fro = [
        sent
        for number in range(9)
        for sent in (
            *people(number, number + 1, type="contact.unmatched", time=DECEMBER - MINUTE),
            *people(30 + number, 31 + number, type="web.visited", source="website", time=at),
        )
    ]

    with django_assert_max_num_queries(60):
        deliver(acme, to_and_fro, now=at)

    assert usage(fresh(), at)["used"] == 10
    assert differences(acme) == []


def test_the_end_of_an_import_goes_by_what_the_import_has_made_of_the_account(catalogue: None):
    long_ago = NOW - timedelta(days=200)
    account = put_account("old", plan="connect", tier="starter", signed_up_at=long_ago, limit_override=3)
    put_account("old", at_limit="upgrade", signed_up_at=long_ago)
    put_connection(account, "pipedrive-mailchimp", now=long_ago)
    stale = Account.objects.get(slug="old")
    history.take_clock(stale, NOW)
    body = msgspec.json.encode(people(0, 5, type="contact.matched", time=long_ago + HOUR))
    history.replay(stale, envelope.read(body, single=False), NOW)

    history.release_clock(stale, NOW)

    limits = rows(BillingPeriod, "limit", account__slug="old")
    assert len(limits) > 6
    assert set(limits) == {2_500}


@pytest.mark.parametrize("policy", ["pause", "hold"])
def test_a_change_of_limit_before_the_turn_ends_the_state_of_the_period_that_was_opened_early(
    acme: Account, policy: str
):
    deliver(acme, people(0, 3, type="contact.matched"))
    with_policy(acme, policy, 3)
    at = open_december_early(acme)
    assert BillingPeriod.objects.get(starts_at=DECEMBER).limit_state != ""

    put_account("acme", now=at, limit_override=100, signed_up_at=acme.signed_up_at)

    receipt = deliver(acme, people(70, 71, time=DECEMBER + MINUTE), now=DECEMBER + MINUTE)
    assert outcomes(receipt) == ["recorded"]


def test_a_pause_that_began_before_the_scheduler_ended_the_old_period_keeps_its_gap(acme: Account):
    deliver(acme, people(0, 3, type="contact.matched"))
    open_december_early(acme)
    with_policy(acme, "pause", 4)
    soon = DECEMBER + 10 * SECOND
    deliver(acme, people(60, 62, time=soon), now=soon)

    run_due(DECEMBER + MINUTE)

    assert rows(Gap, "starts_at", "ends_at", "events") == [(soon, None, 2)]


def test_what_a_period_that_was_opened_early_does_is_told_when_it_begins(acme: Account):
    with_policy(acme, "pause", 3)
    deliver(acme, people(0, 4, type="contact.matched"))
    at = open_december_early(acme)
    steering.resume(acme, now=at, **BY)
    assert kinds(acme)[-1] == "resumed"
    BillingPeriod.objects.filter(starts_at=DECEMBER).update(limit_state="paused", limit_state_since=at)

    run_due(DECEMBER + MINUTE)

    assert kinds(acme)[-1] == "paused"


def test_nothing_is_told_to_be_held_while_staff_have_paused_the_account(acme: Account):
    deliver(acme, people(0, 5, type="contact.matched"))
    with_policy(acme, "hold", 3)
    steering.pause(acme, now=LATER, **BY)

    run_due(DECEMBER)

    assert "held" not in kinds(acme)
    steering.resume(acme, now=DECEMBER + HOUR, **BY)
    assert kinds(acme)[-1] == "resumed"  # nothing is held yet: the next new contact is decided anew


def test_an_ended_period_goes_on_as_it_was_whatever_is_changed_in_its_grace(acme: Account):
    with_policy(acme, "hold", 3)
    deliver(acme, people(0, 4))
    at = DECEMBER + HOUR
    run_due(at)
    put_account("acme", now=at, at_limit="pause", signed_up_at=acme.signed_up_at)

    receipt = deliver(acme, people(8, 9), now=at)

    assert outcomes(receipt) == ["held"]
    assert BillingPeriod.objects.get(starts_at__month=11).limit_state == "holding"


def test_a_closed_account_is_told_nothing_more_of_its_limit(acme: Account):
    with_policy(acme, "pause", 1)
    deliver(acme, people(0, 2))
    steering.close(acme, now=LATER, **BY)
    run_due(DECEMBER + MINUTE)
    before = kinds(acme)

    steering.resume(acme, now=DECEMBER + HOUR, **BY)

    assert kinds(acme) == before


def test_a_downgrade_into_a_period_that_was_opened_early_crosses_its_thresholds(acme: Account):
    steering.upgrade(acme, "growth", now=NOW, **BY)
    deliver(acme, people(0, 850, type="contact.matched"))
    at = open_december_early(acme)

    steering.downgrade(acme, "starter", now=at, **BY)

    assert Notification.objects.filter(kind="threshold", period_start=DECEMBER, limit=1_000).count() == 1
