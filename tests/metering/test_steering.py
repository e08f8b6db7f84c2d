"""Staff and the operator steer an account: pause, resume, upgrade, downgrade, replay, close; and trials end."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account
from accounts.refusals import Refused
from metering import steering
from metering.models import BillingPeriod, Event, EventState, Gap, UpgradeCause
from metering.reconcile import differences
from metering.tasks import upgrade as upgrade_task
from metering.upkeep import accounts_with_due_work, do_due_work
from metering.usage import ensure_current, usage
from notifications.models import Notification
from plans.models import Subscription
from tests.factories import ACTOR, NOW, deliver, event, put_account, put_connection, rows
from tests.metering.test_at_limit import kinds, outcomes, people, with_policy

pytestmark = pytest.mark.django_db

DECEMBER, JANUARY = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
BY: dict[str, Any] = {"reason": "as they asked", "actor": ACTOR}


def actions(account: Account) -> list[str]:
    return list(account.audit.exclude(action__startswith="connection.").order_by("pk").values_list("action", flat=True))


def subscriptions(account: Account) -> list[tuple[str, datetime | None]]:
    found = Subscription.objects.filter(account=account).order_by("starts_at")
    return [(f"{row.tier.plan.key}/{row.tier.key}", row.ends_at) for row in found.select_related("tier__plan")]


# --- Pause and resume ---


def test_a_pause_by_staff_drops_everything_into_a_gap_until_it_is_resumed(acme: Account):
    deliver(acme, people(0, 2))

    paused = steering.pause(acme, now=LATER, **BY)
    dropped = deliver(acme, people(0, 4), now=LATER + timedelta(hours=1))
    resumed = steering.resume(acme, now=LATER + timedelta(hours=2), **BY)
    after = deliver(acme, people(4, 5), now=LATER + timedelta(hours=2))

    assert paused == (True, "paused_by_staff", LATER)
    assert set(outcomes(dropped)) == {"dropped"}
    assert dropped.usage["acme"].state == "paused"
    assert resumed == (False, None, None)
    assert outcomes(after) == ["recorded"]
    assert rows(Gap, "reason", "events", "starts_at", "ends_at") == [
        ("paused_by_staff", 4, LATER, LATER + timedelta(hours=2))
    ]
    assert kinds(acme) == ["paused", "resumed"]
    assert actions(acme)[-2:] == ["account.paused", "account.resumed"]
    assert differences(acme) == []


def test_a_pause_by_staff_survives_periods_and_upgrades_and_never_disables_a_connection(acme: Account):
    deliver(acme, people(0, 2))
    steering.pause(acme, now=NOW, **BY)

    steering.upgrade(acme, "growth", now=LATER, **BY)
    ensure_current(acme, DECEMBER)

    acme.refresh_from_db()
    assert usage(acme, DECEMBER)["state"] == "paused"
    assert outcomes(deliver(acme, people(5, 6, time=DECEMBER), now=DECEMBER)) == ["dropped"]
    assert acme.connections.filter(enabled=True).count() == 5
    assert "resumed" not in kinds(acme)


def test_pausing_and_resuming_again_change_nothing(acme: Account):
    deliver(acme, people(0, 1))
    first = steering.pause(acme, now=NOW, **BY)

    again = steering.pause(acme, now=LATER, **BY)
    steering.resume(acme, now=LATER, **BY)
    steering.resume(acme, now=LATER, **BY)

    assert again == first
    assert kinds(acme) == ["paused", "resumed"]
    assert actions(acme).count("account.paused") == actions(acme).count("account.resumed") == 1


def test_an_account_that_never_had_a_period_can_be_paused(acme: Account):
    assert steering.pause(acme, now=NOW, **BY).paused
    assert kinds(acme) == ["paused"]


def test_resuming_where_nothing_held_fits_changes_nothing(acme: Account):
    with_policy(acme, "hold", 1)
    deliver(acme, people(0, 3))
    since = BillingPeriod.objects.get().limit_state_since

    steering.resume(acme, now=LATER, **BY)

    assert BillingPeriod.objects.get().limit_state_since == since
    assert "account.resumed" not in actions(acme)
    assert "resumed" not in kinds(acme)


def test_resuming_at_the_limit_decides_the_next_contact_anew(acme: Account):
    with_policy(acme, "pause", 2)
    deliver(acme, people(0, 3))

    row = steering.resume(acme, now=LATER, **BY)
    receipt = deliver(acme, [*people(0, 1), *people(5, 6)], now=LATER)

    assert row.paused is False
    assert outcomes(receipt) == ["recorded", "dropped"]
    assert kinds(acme)[-3:] == ["paused", "resumed", "paused"]


def test_a_pause_by_staff_over_one_at_the_limit_leaves_no_gap_open(acme: Account):
    with_policy(acme, "pause", 1)
    deliver(acme, people(0, 2))
    steering.pause(acme, now=LATER, **BY)
    deliver(acme, people(3, 5), now=LATER)

    steering.resume(acme, now=LATER + timedelta(hours=1), **BY)

    assert not Gap.objects.filter(ends_at=None).exists()
    assert sorted(rows(Gap, "reason")) == ["limit_reached", "paused_by_staff"]


# --- Replay ---


def test_replay_records_what_there_is_room_for(acme: Account):
    with_policy(acme, "hold", 1)
    deliver(acme, people(0, 3))
    BillingPeriod.objects.update(limit=2)

    assert steering.replay(acme, now=NOW, **BY) == (1, 1)
    assert steering.replay(acme, now=NOW, **BY) == (0, 1)


def test_replay_is_refused_while_the_account_is_paused_and_brings_nothing_dropped_back(acme: Account):
    with_policy(acme, "pause", 1)
    deliver(acme, people(0, 21))

    with pytest.raises(Refused) as refused:
        steering.replay(acme, now=NOW, **BY)
    steering.resume(acme, now=NOW, **BY)

    assert refused.value.code == "paused"
    assert steering.replay(acme, now=NOW, **BY) == (0, 0)
    assert rows(Gap, "events") == [20]


# --- Upgrade ---


@pytest.mark.parametrize(
    ("tier", "code"), [("starter", "not_higher"), ("trial", "trial_tier"), ("nonsense", "unknown_tier")]
)
def test_an_upgrade_leads_to_a_higher_tier_for_good(acme: Account, tier: str, code: str):
    steering.upgrade(acme, "growth", now=NOW, **BY)

    with pytest.raises(Refused) as refused:
        steering.upgrade(acme, tier, now=LATER, **BY)

    assert refused.value.code == code
    assert subscriptions(acme)[-1][0] == "connect/growth"


def test_an_upgrade_to_the_present_tier_changes_nothing(acme: Account):
    row = steering.upgrade(acme, "starter", now=NOW, **BY)

    assert (row.tier.key, subscriptions(acme)) == ("starter", [("connect/starter", None)])
    assert (kinds(acme), actions(acme)) == ([], ["account.created"])


def test_an_upgrade_by_staff_keeps_the_count_and_is_mailed(acme: Account):
    deliver(acme, people(0, 5))

    steering.upgrade(acme, "growth", now=LATER, **BY)

    assert (usage(acme, LATER)["used"], usage(acme, LATER)["limit"], usage(acme, LATER)["tier"]) == (5, 2_500, "growth")
    assert subscriptions(acme) == [("connect/starter", LATER), ("connect/growth", None)]
    [mail] = Notification.objects.all()
    assert (mail.kind, mail.facts["reason"]) == ("upgraded", "asked_for")
    assert "as they asked" not in str(mail.facts)  # what staff note is for the audit trail


def test_an_upgrade_ends_the_pause_at_the_limit_and_replays_what_is_held(acme: Account):
    with_policy(acme, "hold", 3)
    deliver(acme, people(0, 5))

    steering.upgrade(acme, "growth", now=LATER, **BY)

    assert usage(acme, LATER)["used"] == 5
    assert kinds(acme)[-2:] == ["upgraded", "resumed"]


# --- Downgrade and change of plan ---


@pytest.fixture
def grown(acme: Account) -> Account:
    """Acme on connect/growth with three members."""
    deliver(acme, people(0, 3, type="contact.matched"))
    steering.upgrade(acme, "growth", now=NOW, **BY)
    return acme


def test_a_downgrade_takes_effect_at_the_next_period(grown: Account):
    row = steering.downgrade(grown, "starter", now=LATER, **BY)

    assert (row.tier.key, row.starts_at) == ("starter", DECEMBER)
    assert usage(grown, LATER)["limit"] == 2_500
    assert usage(grown, DECEMBER)["limit"] == 1_000
    assert usage(grown, DECEMBER)["tier"] == "starter"


def test_asking_for_the_same_downgrade_again_changes_nothing_and_another_replaces_it(grown: Account):
    steering.upgrade(grown, "professional", now=LATER, **BY)
    first = steering.downgrade(grown, "growth", now=LATER, **BY)

    again = steering.downgrade(grown, "growth", now=LATER, **BY)
    steering.downgrade(grown, "starter", now=LATER, **BY)

    assert again == first
    assert subscriptions(grown)[-1] == ("connect/starter", None)
    assert actions(grown).count("account.downgraded") == 2
    assert actions(grown).count("account.downgrade_cancelled") == 1


def test_an_upgrade_to_the_present_tier_cancels_a_pending_downgrade(grown: Account):
    steering.downgrade(grown, "starter", now=LATER, **BY)

    steering.upgrade(grown, "growth", now=LATER, **BY)

    assert subscriptions(grown)[-1] == ("connect/growth", None)


@pytest.mark.parametrize(
    ("tier", "plan", "code"),
    [
        ("growth", None, "not_lower"),
        ("professional", None, "not_lower"),
        ("trial", None, "trial_tier"),
        ("free", "social", None),
        ("starter", "nonsense", "unknown_plan"),
        ("nonsense", None, "unknown_tier"),
    ],
)
def test_what_a_downgrade_refuses(grown: Account, tier: str, plan: str | None, code: str | None):
    if code is None:
        steering.downgrade(grown, tier, plan, now=LATER, **BY)
        return
    with pytest.raises(Refused) as refused:
        steering.downgrade(grown, tier, plan, now=LATER, **BY)

    assert refused.value.code == code


def test_a_downgrade_is_refused_while_more_is_used_than_it_has(grown: Account):
    deliver(grown, people(3, 1_001))

    with pytest.raises(Refused) as refused:
        steering.downgrade(grown, "starter", now=LATER, **BY)

    assert refused.value.code == "over_target"
    assert len(subscriptions(grown)) == 2


def test_a_downgrade_lapses_if_what_is_carried_in_exceeds_it_and_all_are_told(grown: Account):
    steering.downgrade(grown, "starter", now=LATER, **BY)
    deliver(grown, people(3, 1_001, type="contact.matched"), now=LATER)

    ensure_current(grown, DECEMBER)

    seen = usage(grown, DECEMBER)
    assert (seen["tier"], seen["limit"], seen["used"]) == ("growth", 2_500, 1_001)
    assert subscriptions(grown)[-1] == ("connect/growth", None)
    assert rows(Notification, "audience", kind="downgrade_lapsed") == ["customer", "staff"]
    assert actions(grown)[-1] == "subscription.downgrade_lapsed"


def test_an_override_ends_when_a_downgrade_takes_effect(grown: Account):
    with_policy(grown, None, 5_000)
    steering.downgrade(grown, "starter", now=LATER, **BY)

    ensure_current(grown, DECEMBER)

    grown.refresh_from_db()
    assert (grown.limit_override, usage(grown, DECEMBER)["limit"]) == (None, 1_000)


def test_a_change_to_a_plan_with_other_boundaries_begins_with_a_period_up_to_the_first_new_one(initech: Account):
    one = event(source="typeform", subject="ann@example.com")
    deliver(initech, [one])
    assert usage(initech, NOW)["totals"]["active_contacts"] == 1

    steering.downgrade(initech, "pro-1k", "social", now=NOW, **BY)
    turn = datetime(2026, 12, 10, tzinfo=UTC)
    ensure_current(initech, turn)
    ensure_current(initech, JANUARY)

    assert rows(BillingPeriod, "starts_at", "ends_at", "subscription__tier__key") == [
        (datetime(2026, 11, 10, tzinfo=UTC), turn, "s"),
        (turn, JANUARY, "pro-1k"),
        (JANUARY, datetime(2027, 2, 1, tzinfo=UTC), "pro-1k"),
    ]
    assert usage(initech, JANUARY)["unit"] == "activated_contacts"


# --- Trial ---


@pytest.fixture
def trying(catalogue: None) -> Account:
    """On trial until an hour after `NOW`, with two members and room for 500."""
    account = put_account("trying", plan="connect", tier="trial", trial_ends_at=LATER)
    put_connection(account, "pipedrive-mailchimp")
    put_connection(account, "website", "web_tracking")
    deliver(account, people(0, 2, type="contact.matched"))
    return account


def test_a_trial_pauses_at_its_limit_and_never_upgrades(trying: Account):
    receipt = deliver(trying, people(2, 502))

    assert outcomes(receipt)[-2:] == ["dropped", "dropped"]
    assert usage(trying, NOW)["at_limit"]["action"] == "pause"
    assert [row[0] for row in subscriptions(trying)] == ["connect/trial"]


def test_at_its_end_a_trial_is_paused_whether_the_scheduler_has_run_or_not(trying: Account):
    before = deliver(trying, people(2, 3), now=LATER - timedelta(microseconds=1))
    at_the_end = deliver(trying, people(3, 4), now=LATER)
    assert accounts_with_due_work(LATER) == [trying.pk]
    do_due_work(trying, LATER)
    do_due_work(trying, LATER)

    assert (outcomes(before), outcomes(at_the_end)) == (["recorded"], ["dropped"])
    assert kinds(trying) == ["trial_ended"]
    assert usage(trying, LATER)["state"] == "paused"
    assert rows(Gap, "reason", "starts_at", "ends_at", "events") == [("trial_ended", LATER, None, 1)]
    assert accounts_with_due_work(LATER) == []


def test_after_the_trial_only_an_upgrade_helps_which_keeps_period_and_count(trying: Account):
    do_due_work(trying, LATER)
    with pytest.raises(Refused) as refused:
        steering.resume(trying, now=LATER, **BY)
    later = LATER + timedelta(days=1)
    deliver(trying, people(5, 6), now=later)

    steering.upgrade(trying, "starter", now=later, **BY)
    receipt = deliver(trying, people(6, 7), now=later)

    assert refused.value.code == "trial_ended"
    assert outcomes(receipt) == ["recorded"]
    assert (usage(trying, later)["used"], usage(trying, later)["limit"]) == (3, 1_000)
    assert BillingPeriod.objects.count() == 1
    assert rows(Gap, "ends_at") == [later]
    assert kinds(trying) == ["trial_ended", "upgraded", "resumed"]


def test_a_trial_that_is_prolonged_goes_on(trying: Account):
    do_due_work(trying, LATER)

    put_account("trying", now=LATER, trial_ends_at=LATER + timedelta(days=7))
    receipt = deliver(trying, people(6, 7), now=LATER)
    do_due_work(Account.objects.get(), LATER + timedelta(days=7))

    assert outcomes(receipt) == ["recorded"]
    assert kinds(trying) == ["trial_ended", "resumed", "trial_ended"]


def test_an_upgrade_before_the_end_of_the_trial_leaves_nothing_to_tell(trying: Account):
    steering.upgrade(trying, "starter", now=NOW, **BY)

    do_due_work(trying, LATER)

    assert kinds(trying) == ["upgraded"]
    assert accounts_with_due_work(LATER) == []


def test_a_pause_by_staff_after_the_trials_end_is_resumed_into_the_trials_pause(trying: Account):
    steering.pause(trying, now=NOW, **BY)

    row = steering.resume(trying, now=LATER, **BY)

    assert row == (True, "trial_ended", LATER)


# --- Closing ---


def test_a_closed_account_takes_events_up_to_the_end_of_its_period(acme: Account):
    deliver(acme, people(0, 2, type="contact.matched"))

    row = steering.close(acme, now=NOW, **BY)
    steering.close(acme, now=LATER, **BY)
    last = deliver(acme, people(2, 3))
    after = deliver(acme, people(3, 4, time=DECEMBER), now=DECEMBER)

    assert row.ends_at == DECEMBER
    assert outcomes(last) == ["recorded"]
    assert [item.verdict.code for item in after.items] == ["account_closed"]
    assert actions(acme).count("account.closed") == 1


def test_no_period_follows_the_last_one_of_a_closed_account(acme: Account):
    deliver(acme, people(0, 2, type="contact.matched"))
    steering.close(acme, now=NOW, **BY)

    for days in (0, 2, 60):
        do_due_work(Account.objects.get(), DECEMBER + timedelta(days=days))

    assert rows(BillingPeriod, "starts_at__month", "state") == [(11, "closed")]
    acme.refresh_from_db()
    assert usage(acme, JANUARY)["used"] == 2
    assert accounts_with_due_work(JANUARY) == []


@pytest.mark.parametrize("operation", [steering.upgrade, steering.downgrade])
def test_a_closed_account_changes_no_tier(grown: Account, operation: Any):
    steering.close(grown, now=LATER, **BY)

    with pytest.raises(Refused) as refused:
        operation(grown, "starter" if operation is steering.downgrade else "scale", now=LATER, **BY)

    assert refused.value.code == "account_closed"


def test_what_is_held_when_the_account_closes_is_given_up_in_time(acme: Account):
    with_policy(acme, "hold", 1)
    deliver(acme, people(0, 2))
    steering.close(acme, now=NOW, **BY)

    for days in (83, 90):
        do_due_work(Account.objects.get(), NOW + timedelta(days=days))

    assert sorted(rows(Event, "state")) == [EventState.RECORDED, EventState.GIVEN_UP]


def test_an_upgrade_that_a_closed_account_has_caused_is_still_made_for_its_last_period(acme: Account):
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 11))
    steering.close(acme, now=NOW, **BY)

    upgrade_task(UpgradeCause.objects.get().pk, NOW)

    assert subscriptions(acme)[-1] == ("connect/growth", DECEMBER)


# --- Before the sign-up ---


@pytest.fixture(params=[1, 5, 31, 70])
def soon(request: Any, catalogue: None) -> Account:
    """On connect/growth, signed up some days from now: what contains now is a period before its first."""
    return put_account("soon", signed_up_at=NOW + timedelta(days=request.param), plan="connect", tier="growth")


def test_an_upgrade_before_the_sign_up_is_in_force_from_the_start(soon: Account):
    for _ in range(2):
        row = steering.upgrade(soon, "scale", now=NOW, **BY)

    assert (row.tier.key, row.starts_at) == ("scale", soon.signed_up_at)
    assert subscriptions(soon) == [("connect/scale", None)]
    assert actions(soon) == ["account.created", "account.upgraded"]
    assert usage(soon, NOW)["limit"] == 50_000


@pytest.mark.parametrize(("tier", "plan"), [("starter", None), ("free", "social")])
def test_a_downgrade_before_the_sign_up_waits_for_the_end_of_the_first_period(
    soon: Account, tier: str, plan: str | None
):
    for _ in range(2):
        row = steering.downgrade(soon, tier, plan, now=NOW, **BY)

    assert row.tier.key == tier
    assert row.starts_at > soon.signed_up_at
    assert subscriptions(soon) == [("connect/growth", row.starts_at), (f"{plan or 'connect'}/{tier}", None)]
    assert actions(soon) == ["account.created", "account.downgraded"]
    assert usage(soon, row.starts_at)["tier"] == tier


def test_an_upgrade_before_the_sign_up_cancels_the_downgrade(soon: Account):
    steering.downgrade(soon, "starter", now=NOW, **BY)

    steering.upgrade(soon, "growth", now=NOW, **BY)

    assert subscriptions(soon) == [("connect/growth", None)]


def test_an_account_closed_before_its_sign_up_closes_at_the_end_of_its_first_period(soon: Account):
    for _ in range(2):
        row = steering.close(soon, now=NOW, **BY)

    soon.refresh_from_db()
    assert row.ends_at == soon.closed_at
    assert row.ends_at is not None
    assert row.ends_at > soon.signed_up_at
    put_connection(soon, "pipedrive-mailchimp")
    receipt = deliver(soon, [event(time=soon.signed_up_at), event(time=row.ends_at)], now=row.ends_at)
    assert [(item.verdict.outcome, item.verdict.code) for item in receipt.items] == [
        ("recorded", ""),
        ("rejected", "account_closed"),
    ]
