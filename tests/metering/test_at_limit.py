"""At the limit, with a database: what is recorded, held, limited, dropped; what is told, and what ends it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django_q.models import OrmQ

from accounts.models import Account
from jobs.models import Job
from metering import steering
from metering.intake import Receipt
from metering.models import BillingPeriod, Contact, Event, EventState, Gap, UpgradeCause
from metering.reconcile import differences
from metering.tasks import replay, upgrade
from metering.upkeep import do_due_work
from metering.usage import ensure_current, usage
from notifications.models import Notification
from plans.models import Subscription
from tests.factories import ACTOR, NOW, deliver, event, put_account, put_connection, rows, unguarded

pytestmark = pytest.mark.django_db

DECEMBER, JANUARY = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def people(first: int, last: int, **attributes: Any) -> list[dict[str, Any]]:
    """One opened mail each of a row of people."""
    return [event(subject=f"p{number}@example.com", **attributes) for number in range(first, last)]


def with_policy(account: Account, at_limit: str | None, limit: int = 10, **more: Any) -> Account:
    """The account with a small limit and a policy of its own."""
    return put_account(account.slug, at_limit=at_limit, limit_override=limit, signed_up_at=account.signed_up_at, **more)


def outcomes(receipt: Receipt) -> list[str]:
    return [item.verdict.outcome for item in receipt.items]


def current(account: Account) -> BillingPeriod:
    return BillingPeriod.objects.filter(account=account).order_by("-starts_at")[0]


def kinds(account: Account) -> list[str]:
    """The mails of an account in the order in which they were written, with their per cent."""
    found = Notification.objects.filter(account=account).order_by("pk").values_list("kind", "percent")
    return [kind if percent is None else f"{kind} {percent}" for kind, percent in found]


def due_jobs() -> list[tuple[str, int]]:
    return list(Job.objects.filter(task__startswith="metering.").order_by("pk").values_list("task", "subject_id"))


# --- Each policy, in a batch that crosses in its middle ---


@pytest.mark.parametrize(
    ("policy", "eleventh", "state", "used"),
    [
        ("hold", "held", "holding", 10),
        ("limit_new", "limited", "limiting", 10),
        ("pause", "dropped", "paused", 10),
        ("upgrade", "recorded", "limit_reached", 12),
        (None, "recorded", "limit_reached", 12),
    ],
)
def test_the_limit_th_counts_and_the_next_is_decided_by_policy(
    acme: Account, policy: str | None, eleventh: str, state: str, used: int
):
    with_policy(acme, policy)

    receipt = deliver(acme, people(0, 12))

    assert outcomes(receipt) == ["recorded"] * 10 + [eleventh] * 2
    assert usage(acme, NOW)["used"] == used
    assert usage(acme, NOW)["state"] == state == receipt.usage["acme"].state
    assert differences(acme) == []


@pytest.mark.parametrize(
    ("policy", "known", "left"), [("hold", "recorded", "recorded"), ("limit_new", "recorded", "recorded")]
)
def test_known_contacts_are_served_and_what_raises_nothing_flows_on(acme: Account, policy: str, known: str, left: str):
    with_policy(acme, policy)
    deliver(acme, people(0, 12))

    receipt = deliver(
        acme,
        [
            *people(0, 1, type="web.visited"),
            *people(20, 21, type="contact.unmatched"),
            *people(20, 21, type="crm.lead_captured"),
            *people(20, 21, type="automation.ai_reply"),
        ],
    )

    assert outcomes(receipt) == [known, left, "recorded", "recorded"]


def test_while_paused_all_but_leaving_clearing_and_renaming_is_dropped(acme: Account):
    with_policy(acme, "pause")
    deliver(acme, people(0, 11))

    receipt = deliver(
        acme,
        [
            *people(0, 1),  # known, and dropped all the same
            *people(20, 21, type="crm.tagged"),
            *people(0, 1, type="contact.unmatched"),
            *people(0, 1, type="score.cleared"),
            *people(0, 1, type="score.set", data={"value": 0}),
            *people(30, 31, type="contact.renamed", data={"from": "p0@example.com"}),
        ],
    )

    assert outcomes(receipt) == ["dropped"] * 2 + ["recorded"] * 4
    assert not Contact.objects.filter(identity="p20@example.com").exists()
    assert usage(acme, NOW)["used"] == 10
    assert differences(acme) == []


def test_events_are_held_by_their_own_unit(initech: Account):
    with_policy(initech, "hold")
    one = {"source": "typeform", "subject": "ann@example.com"}

    receipt = deliver(initech, [event(**one) for _ in range(12)])
    flows = deliver(initech, [event(type="web.visited", source="typeform"), event(**one)])

    assert outcomes(receipt) == ["recorded"] * 10 + ["held"] * 2
    assert outcomes(flows) == ["recorded", "held"]
    assert usage(initech, NOW)["used"] == 10


def test_activated_contacts_are_limited_by_the_plan(globex: Account):
    campaign = {"source": "instagram", "type": "automation.campaign_message"}
    deliver(globex, people(0, 100, **campaign))

    receipt = deliver(globex, [*people(99, 101, **campaign), *people(100, 101, source="lead-ads")])

    assert outcomes(receipt) == ["recorded", "limited", "recorded"]
    assert usage(globex, NOW)["state"] == "limiting"


def test_an_unlimited_account_has_no_limit_to_stand_at(acme: Account):
    with unguarded():
        Subscription.objects.get().tier.plan.tiers.filter(key="starter").update(limit=None)

    receipt = deliver(acme, people(0, 30))

    assert set(outcomes(receipt)) == {"recorded"}
    assert usage(acme, NOW)["at_limit"]["action"] is None


# --- Once, and again ---


def test_a_limited_event_that_is_sent_again_is_decided_afresh_in_the_same_row(globex: Account):
    with_policy(globex, None, 1)
    sent = people(0, 2, source="instagram", type="automation.ai_reply")
    deliver(globex, sent)
    [limited] = Event.objects.filter(state=EventState.LIMITED)

    again = deliver(globex, sent)
    with_policy(globex, None, 2)
    served = deliver(globex, sent)
    once_more = deliver(globex, sent)

    assert outcomes(again) == ["duplicate", "limited"]
    assert outcomes(served) == ["duplicate", "recorded"]
    assert [item.verdict.first for item in once_more.items] == ["recorded", "recorded"]
    limited.refresh_from_db()
    assert limited.state == EventState.RECORDED
    assert Event.objects.count() == 2
    assert differences(globex) == []


def test_a_limited_id_with_another_content_is_a_conflict(globex: Account):
    with_policy(globex, None, 1)
    deliver(globex, people(0, 2, id="one", source="instagram", type="automation.ai_reply")[:1])
    deliver(globex, people(1, 2, id="two", source="instagram", type="automation.ai_reply"))

    receipt = deliver(globex, people(2, 3, id="two", source="instagram", type="automation.ai_reply"))

    assert outcomes(receipt) == ["conflict"]


def test_a_held_event_is_a_duplicate_when_it_comes_again(acme: Account):
    with_policy(acme, "hold", 1)
    sent = people(0, 2)
    deliver(acme, sent)

    receipt = deliver(acme, sent)

    assert [item.verdict.first for item in receipt.items] == ["recorded", "held"]


def test_a_dropped_event_burns_no_id(acme: Account):
    with_policy(acme, "pause", 1)
    sent = people(0, 2)
    deliver(acme, sent)
    with_policy(acme, "pause", 2)

    receipt = deliver(acme, sent)

    assert outcomes(receipt) == ["duplicate", "recorded"]


# --- Gaps ---


def test_a_gap_counts_ids_once_and_attempts_each_time(acme: Account):
    with_policy(acme, "pause", 1)
    lost = [*people(1, 5), *people(1, 3, source="website", type="web.visited")]
    deliver(acme, people(0, 1))

    deliver(acme, lost)
    deliver(acme, [*lost, *lost], now=NOW + timedelta(hours=1))

    columns = ("reason", "connection__key", "type", "events", "attempts", "starts_at", "ends_at")
    assert rows(Gap, *columns) == [
        ("limit_reached", "pipedrive-mailchimp", 11, 4, 12, NOW, None),
        ("limit_reached", "website", 20, 2, 6, NOW, None),
    ]
    assert rows(Event, "state") == [EventState.RECORDED]


def test_a_gap_ends_with_the_pause_and_the_next_one_is_another(acme: Account):
    with_policy(acme, "pause", 1)
    deliver(acme, people(0, 2))
    later = NOW + timedelta(hours=1)

    put_account("acme", now=later, limit_override=2, signed_up_at=acme.signed_up_at)
    deliver(acme, people(2, 4), now=later)

    assert rows(Gap, "starts_at", "ends_at", "events") == [(NOW, later, 1), (later, None, 1)]
    assert kinds(acme)[-2:] == ["threshold 100", "paused"]


def test_what_a_period_in_grace_drops_belongs_to_the_time_when_it_was_paused(acme: Account):
    with_policy(acme, "pause", 1)
    deliver(acme, people(0, 2))
    after = DECEMBER + timedelta(hours=2)
    ensure_current(acme, after)

    receipt = deliver(acme, [*people(5, 7), *people(8, 9, time=after)], now=after)

    assert outcomes(receipt) == ["dropped", "dropped", "recorded"]
    assert rows(Gap, "starts_at", "ends_at", "events") == [(NOW, DECEMBER, 3)]


# --- States end ---


def test_the_next_period_begins_without_the_state_and_replays_what_is_held(acme: Account):
    with_policy(acme, "hold")
    deliver(acme, people(0, 13))
    at = DECEMBER + timedelta(minutes=1)

    ensure_current(acme, at)

    assert (current(acme).limit_state, current(acme).active_contacts) == ("", 0)
    assert due_jobs() == [("metering.replay", acme.pk)]
    replay(acme.pk, at)
    assert usage(acme, at)["used"] == 3
    assert rows(Event, "period__starts_at", state=EventState.RECORDED).count(DECEMBER) == 3
    assert kinds(acme)[-2:] == ["held", "resumed"]
    assert differences(acme) == []


def test_held_events_replay_oldest_first_and_stop_at_the_limit(acme: Account):
    with_policy(acme, "hold", 1)
    deliver(acme, people(0, 1))
    early, late = NOW - timedelta(hours=3), NOW - timedelta(hours=2)
    deliver(
        acme,
        [
            event(id="c", subject="cyd@example.com", time=late),
            event(id="b", subject="bob@example.com", time=late),
            event(id="z", subject="ann@example.com", time=early),
        ],
    )

    with_policy(acme, "hold", 3)

    assert rows(Event, "key", state=EventState.HELD) == ["c"]
    assert (usage(acme, NOW)["used"], usage(acme, NOW)["state"]) == (3, "holding")
    assert kinds(acme).count("held") == 2  # of the limits 1 and 3
    assert differences(acme) == []


def test_held_memberships_take_effect_when_they_are_replayed(acme: Account):
    with_policy(acme, "hold", 1)
    deliver(acme, people(0, 1))
    deliver(acme, people(1, 3, type="contact.matched", time=NOW - timedelta(hours=2)))
    deliver(acme, people(2, 3, type="contact.unmatched", time=NOW - timedelta(hours=1)))

    with_policy(acme, "hold", 5)
    ensure_current(acme, DECEMBER)

    assert usage(acme, DECEMBER)["carried_in"] == 1  # who left since is a member no more
    assert differences(acme) == []


def test_what_was_held_is_tried_before_what_comes_after(acme: Account):
    with_policy(acme, "hold", 10)
    deliver(acme, people(0, 15))

    with_policy(acme, "hold", 12)
    receipt = deliver(acme, people(20, 22))

    assert outcomes(receipt) == ["held", "held"]
    assert usage(acme, NOW)["used"] == 12


def test_a_connection_that_cannot_be_replayed_turns_holding_into_an_upgrade(acme: Account):
    for key in ("website", "mailchimp-pipedrive"):
        put_connection(acme, key, acme.connections.get(key=key).kind, enabled=False)
    with_policy(acme, None)
    assert outcomes(deliver(acme, people(0, 12)))[-1] == "held"

    put_connection(acme, "website", "web_tracking", enabled=True)

    assert (usage(acme, NOW)["used"], usage(acme, NOW)["state"]) == (12, "limit_reached")
    assert due_jobs() == [("metering.upgrade", UpgradeCause.objects.get().pk)]


def test_a_pause_ends_when_upgrades_are_allowed_again_and_the_next_contact_upgrades(acme: Account):
    with_policy(acme, None, auto_upgrade=False)
    deliver(acme, people(0, 12))
    assert usage(acme, NOW)["state"] == "paused"

    with_policy(acme, None, auto_upgrade=True)
    receipt = deliver(acme, people(20, 21))

    assert outcomes(receipt) == ["recorded"]
    assert UpgradeCause.objects.get().used == 11
    assert kinds(acme) == ["threshold 80", "threshold 100", "paused", "resumed"]


def test_opting_out_is_confirmed_by_mail_but_not_at_creation(acme: Account):
    put_account("new", auto_upgrade=False)
    deliver(acme, people(0, 1))

    with_policy(acme, None, 1_000, auto_upgrade=False)

    assert rows(Notification, "account__slug", "kind") == [("acme", "opted_out")]


# --- Upgrades ---


def test_an_upgrade_goes_to_the_smallest_tier_that_fits_once_and_from_the_crossing(acme: Account):
    put_account("acme", at_limit="upgrade", signed_up_at=acme.signed_up_at)
    deliver(acme, people(0, 1_001))
    deliver(acme, people(1_001, 2_600), now=NOW + timedelta(minutes=3))
    [cause] = UpgradeCause.objects.all()

    upgrade(cause.pk, NOW + timedelta(minutes=5))
    upgrade(cause.pk, NOW + timedelta(minutes=6))

    assert rows(Subscription, "tier__key", "starts_at", "ends_at", "reason") == [
        ("professional", NOW, None, "limit_reached"),
        ("starter", acme.signed_up_at, NOW, "sign-up"),
    ]
    cause.refresh_from_db()
    assert (cause.used, cause.limit, cause.outcome) == (1_001, 1_000, "upgraded")
    assert {row["key"]: row["replayable"] for row in cause.connections}["website"] is False
    seen = usage(acme, NOW)
    assert (seen["tier"], seen["limit"], seen["used"], seen["state"]) == ("professional", 10_000, 2_600, "ok")
    assert kinds(acme) == ["threshold 80", "threshold 100", "upgraded"]
    [audit] = acme.audit.filter(action="account.upgraded")
    assert (audit.actor, audit.before["tier"], audit.after["tier"]) == ("automatic upgrade", "starter", "professional")
    assert differences(acme) == []


def test_after_an_upgrade_the_thresholds_are_those_of_the_new_limit(acme: Account):
    deliver(acme, people(0, 1_001))
    upgrade(UpgradeCause.objects.get().pk, NOW)

    deliver(acme, people(1_001, 1_999))
    assert kinds(acme) == ["threshold 80", "threshold 100", "upgraded"]
    deliver(acme, people(1_999, 2_000))

    assert rows(Notification, "percent", "limit", kind="threshold") == [(100, 1_000), (80, 1_000), (80, 2_500)]


def test_a_threshold_of_the_new_limit_that_is_crossed_already_is_told_by_the_upgrade(acme: Account):
    deliver(acme, people(0, 1_001))
    deliver(acme, people(1_001, 2_100))

    upgrade(UpgradeCause.objects.get().pk, NOW)

    [mail] = Notification.objects.filter(kind="upgraded")
    assert mail.facts["percents"] == [80]
    assert kinds(acme) == ["threshold 80", "threshold 100", "upgraded"]
    told = {row["percent"]: row["limit"] for row in usage(acme, NOW)["thresholds"] if row["limit"] == 2_500}
    assert told == {80: 2_500}


def test_an_upgrade_that_is_not_needed_any_more_does_nothing(acme: Account):
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 11))
    with_policy(acme, "upgrade", 20)

    upgrade(UpgradeCause.objects.get().pk, NOW)

    assert UpgradeCause.objects.get().outcome == "fitted"
    assert Subscription.objects.count() == 1


def test_a_limit_that_is_exceeded_again_after_it_had_fitted_upgrades_all_the_same(acme: Account):
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 11))
    with_policy(acme, "upgrade", 20)
    [cause] = UpgradeCause.objects.all()
    upgrade(cause.pk, NOW)
    with_policy(acme, "upgrade", 10)

    deliver(acme, people(11, 12), now=NOW + timedelta(hours=1))
    upgrade(cause.pk, NOW + timedelta(hours=1))

    cause.refresh_from_db()
    assert (cause.outcome, cause.used, cause.crossed_at) == ("upgraded", 12, NOW + timedelta(hours=1))
    assert usage(acme, NOW + timedelta(hours=1))["tier"] == "growth"


def test_over_the_top_tier_it_goes_on_counting_and_staff_are_told(acme: Account):
    steering.upgrade(acme, "scale", reason="as asked", actor=ACTOR, now=NOW)
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 11))

    upgrade(UpgradeCause.objects.get().pk, NOW)
    receipt = deliver(acme, people(11, 14))

    assert outcomes(receipt) == ["recorded"] * 3
    assert usage(acme, NOW)["state"] == "over_top_tier"
    assert rows(Notification, "kind", audience="staff") == ["over_top_tier"]
    assert UpgradeCause.objects.count() == 1


def test_an_upgrade_ends_an_override_and_a_pending_downgrade(acme: Account):
    deliver(acme, people(0, 3))
    steering.upgrade(acme, "growth", reason="up", actor=ACTOR, now=NOW)
    with_policy(acme, None, 1_500)
    steering.downgrade(acme, "starter", reason="down", actor=ACTOR, now=NOW)

    steering.upgrade(acme, "professional", reason="up again", actor=ACTOR, now=NOW + timedelta(hours=1))

    acme.refresh_from_db()
    assert acme.limit_override is None
    assert [row.tier.key for row in Subscription.objects.order_by("starts_at")] == [
        "starter",
        "growth",
        "professional",
    ]
    assert Subscription.objects.filter(ends_at=None).count() == 1
    assert usage(acme, NOW)["limit"] == 10_000


def test_of_two_upgrades_at_one_instant_only_the_second_was_ever_in_force(acme: Account):
    deliver(acme, people(0, 3))

    for tier in ("growth", "professional"):
        steering.upgrade(acme, tier, reason="up", actor=ACTOR, now=NOW)

    assert [row.tier.key for row in Subscription.objects.order_by("starts_at")] == ["starter", "professional"]
    assert kinds(acme) == ["upgraded", "upgraded"]
    assert usage(acme, NOW)["limit"] == 10_000


def test_a_live_upgrade_is_queued_in_the_transaction_that_crossed(acme: Account):
    with_policy(acme, "upgrade")

    deliver(acme, people(0, 11), dry_run=True)
    assert (due_jobs(), OrmQ.objects.count()) == ([], 0)
    deliver(acme, people(0, 11))

    assert due_jobs() == [("metering.upgrade", UpgradeCause.objects.get().pk)]


# --- Openings, grace, corrected carry-in ---


@pytest.mark.parametrize(
    ("policy", "state", "mail"),
    [("hold", "holding", "held"), ("pause", "paused", "paused"), ("limit_new", "limiting", None)],
)
def test_what_is_carried_in_counts_in_full_and_the_period_opens_in_its_state(
    acme: Account, policy: str, state: str, mail: str | None
):
    deliver(acme, people(0, 12, type="contact.matched"))
    with_policy(acme, policy)

    ensure_current(acme, DECEMBER)

    assert (usage(acme, DECEMBER)["used"], usage(acme, DECEMBER)["state"]) == (12, state)
    expected = ["threshold 80", "threshold 100"]  # of November, whose limit was lowered below its count
    assert kinds(acme) == expected * 2 + ([mail] if mail else [])


def test_a_carry_in_above_the_limit_upgrades(acme: Account):
    deliver(acme, people(0, 1_001, type="contact.matched"), now=NOW)
    upgrade(UpgradeCause.objects.get().pk, NOW)
    with_policy(acme, "upgrade", 500)

    ensure_current(acme, DECEMBER)

    cause = UpgradeCause.objects.order_by("-pk")[0]
    assert (cause.limit, cause.used, cause.crossed_at) == (500, 1_001, DECEMBER)


def test_a_carry_in_that_is_corrected_beyond_the_limit_puts_the_period_into_its_state(acme: Account):
    deliver(acme, people(0, 10, type="contact.matched"))
    with_policy(acme, "hold")
    ensure_current(acme, DECEMBER + timedelta(minutes=1))
    assert usage(acme, DECEMBER + timedelta(minutes=1))["state"] == "limit_reached"
    put_account("acme", now=DECEMBER + timedelta(hours=1), limit_override=10, signed_up_at=acme.signed_up_at)

    late = people(0, 1, type="contact.refused", time=DECEMBER - timedelta(hours=1))
    deliver(acme, late, now=DECEMBER + timedelta(hours=1))
    assert usage(acme, DECEMBER + timedelta(hours=1))["used"] == 10
    BillingPeriod.objects.filter(starts_at__lt=DECEMBER).update(limit=20)
    more = people(10, 11, type="contact.matched", time=DECEMBER - timedelta(hours=1))
    receipt = deliver(acme, more, now=DECEMBER + timedelta(hours=1))

    assert outcomes(receipt) == ["recorded"]
    seen = usage(acme, DECEMBER + timedelta(hours=1))
    assert (seen["used"], seen["state"]) == (11, "holding")


def test_a_carry_in_that_is_withdrawn_below_the_limit_ends_the_state(acme: Account):
    deliver(acme, people(0, 11, type="contact.matched"))
    with_policy(acme, "pause", 11)
    at = DECEMBER + timedelta(hours=1)
    ensure_current(acme, at)
    deliver(acme, people(20, 21, time=at), now=at)
    assert usage(acme, at)["state"] == "paused"

    left = people(0, 2, type="contact.unmatched", time=DECEMBER - timedelta(hours=1))
    deliver(acme, left, now=at)

    assert (usage(acme, at)["used"], usage(acme, at)["state"]) == (9, "warning")
    assert rows(Gap, "starts_at", "ends_at", "events") == [(at, at, 1)]
    assert kinds(acme)[-1] == "resumed"
    assert differences(acme) == []


@pytest.mark.parametrize(
    ("policy", "outcome"), [("hold", "held"), ("limit_new", "limited"), ("pause", "dropped"), ("upgrade", "recorded")]
)
def test_an_ended_period_decides_by_its_own_limit_and_state_and_tells_nothing(acme: Account, policy: str, outcome: str):
    with_policy(acme, policy)
    deliver(acme, people(0, 9))
    at = DECEMBER + timedelta(hours=2)
    ensure_current(acme, at)
    before = kinds(acme)

    receipt = deliver(acme, people(9, 12), now=at)

    assert outcomes(receipt) == ["recorded", outcome, outcome]
    assert kinds(acme) == before
    assert not UpgradeCause.objects.exists()
    assert differences(acme) == []


def test_what_an_ended_period_holds_replays_into_the_open_one(acme: Account):
    with_policy(acme, "hold")
    deliver(acme, people(0, 10))
    at = DECEMBER + timedelta(hours=2)
    ensure_current(acme, at)
    deliver(acme, people(10, 12), now=at)

    replay(acme.pk, at)

    assert usage(acme, at)["used"] == 2
    assert not Event.objects.filter(state=EventState.HELD).exists()


def test_the_scheduler_opens_the_period_and_has_what_is_held_replayed(acme: Account):
    with_policy(acme, "hold")
    deliver(acme, people(0, 11))

    do_due_work(acme, DECEMBER)

    assert due_jobs() == [("metering.replay", acme.pk)]


# --- Lowering a limit ---


def test_lowering_a_limit_below_the_count_stops_nothing_until_the_next_that_would_exceed(acme: Account):
    deliver(acme, people(0, 20))

    with_policy(acme, "pause", 10)
    assert usage(acme, NOW)["state"] == "limit_reached"
    assert kinds(acme) == ["threshold 80", "threshold 100"]
    receipt = deliver(acme, [*people(0, 1), *people(20, 21), *people(0, 1)])

    assert outcomes(receipt) == ["recorded", "dropped", "dropped"]
    assert usage(acme, NOW)["used"] == 20


# --- What is held for too long ---


def test_held_for_90_days_it_is_given_up_into_a_gap_and_that_is_told_a_week_before(acme: Account):
    with_policy(acme, "hold", 1)
    deliver(acme, people(0, 1, type="contact.matched"))
    deliver(acme, people(1, 4))
    held_until = NOW + timedelta(days=90)

    do_due_work(acme, held_until - timedelta(days=7, minutes=1))
    assert "giving_up_soon" not in kinds(acme)
    do_due_work(acme, held_until - timedelta(days=7))
    do_due_work(acme, held_until - timedelta(minutes=1))
    [warning] = Notification.objects.filter(kind="giving_up_soon")
    assert (warning.facts["events"], warning.facts["until"]) == (3, "2027-02-20T12:00:00Z")
    assert not Gap.objects.exists()
    do_due_work(acme, held_until)
    do_due_work(acme, held_until)

    assert rows(Gap, "reason", "events", "attempts", "starts_at", "ends_at") == [("given_up", 3, 3, NOW, held_until)]
    assert rows(Event, "state") == [EventState.RECORDED, *[EventState.GIVEN_UP] * 3]
