"""REQUIREMENTS A13, B14 to B21, C17 to C26, C37 and C38: what happens as the count nears its limit, and at it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse

from accounts.models import Account, User
from accounts.refusals import Refused
from metering import steering
from metering.models import Event, EventState, Gap, UpgradeCause
from metering.tasks import upgrade
from metering.usage import usage
from notifications.models import Notification
from notifications.tasks import send
from plans.models import Subscription
from tests.conftest import StoppedClock
from tests.factories import ACTOR, NOW, Caller, deliver, event, join, put_account, put_connection, rows
from tests.requirements.shorthand import DECEMBER, each, followers, people, used

CAMPAIGN, SCENARIO = "automation.campaign_message", "automation.scenario_run"
BY: dict[str, Any] = {"reason": "as they asked", "actor": ACTOR}

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(catalogue: None) -> Account:
    """With the limit of its tier, 1,000 active contacts."""
    return join("acme")


@pytest.fixture
def globex(catalogue: None) -> Account:
    """With the limit of its tier, 100 activated contacts."""
    return join("globex")


@pytest.fixture
def initech(catalogue: None) -> Account:
    """With the limit of its tier, 1,000 events."""
    return join("initech")


def outcomes(answer: Any) -> dict[str, int]:
    found: dict[str, int] = answer.json()["outcomes"]
    return found


def settle_upgrades(at: datetime = NOW) -> None:
    """What the task cluster does."""
    for cause in UpgradeCause.objects.filter(outcome="pending"):
        upgrade(cause.pk, at)


def subjects(account: Account) -> list[str]:
    """What arrives in the account's mailbox."""
    for row in Notification.objects.filter(account=account, state="pending").order_by("pk"):
        send(row.pk, NOW)
    found: list[EmailMessage] = mail.outbox
    return [str(message.subject) for message in found]


def replayable_only(account: Account) -> None:
    """Leave the account its contact syncs and scores."""
    for key, kind in (("website", "web_tracking"), ("mailchimp-pipedrive", "engagement")):
        put_connection(account, key, kind, enabled=False)


# --- A ---


def test_a13_the_1001st_event_of_1000_is_over_the_limit(initech: Account, initech_caller: Caller):
    one = {"source": "typeform", "kind": "engagement.form_submitted"}
    initech_caller.send(each(people(1_000), **one))
    assert initech_caller.get("usage").json()["state"] == "limit_reached"

    initech_caller.send(each(people(1), **one))

    seen = initech_caller.get("usage").json()
    assert (seen["used"], seen["limit"], seen["at_limit"]["action"]) == (1_001, 1_000, "upgrade")
    assert rows(UpgradeCause, "used", "limit") == [(1_001, 1_000)]


# --- B: social/free has 100 ---


@pytest.fixture
def full(globex: Account, globex_caller: Caller) -> Caller:
    """Globex has activated 100 of 100."""
    globex_caller.send(each(followers(100), "instagram", CAMPAIGN))
    return globex_caller


def test_b14_the_101st_is_not_activated_and_its_run_is_limited(full: Caller):
    known, new = full.send(each(followers(1), "instagram", SCENARIO)), full.send(each(["zoe"], "instagram", SCENARIO))

    assert (outcomes(known), outcomes(new)) == ({"recorded": 1}, {"limited": 1})
    assert full.get("usage").json()["used"] == 100


def test_b15_pro_begins_with_1000(full: Caller, globex: Account):
    steering.upgrade(globex, "pro-1k", now=NOW, **BY)

    assert full.get("usage").json()["limit"] == 1_000


def test_b16_pro_can_be_upgraded_further_at_once_and_the_count_stays(full: Caller, globex: Account):
    steering.upgrade(globex, "pro-1k", now=NOW, **BY)
    steering.upgrade(globex, "pro-5k", now=NOW + timedelta(minutes=1), **BY)

    seen = usage(globex, NOW + timedelta(minutes=1))
    assert (seen["limit"], seen["used"]) == (5_000, 100)


def test_b17_scenarios_and_campaigns_stop_for_the_new_contacts_only(full: Caller):
    answer = full.send(each(["follower-7", "zoe", "follower-8"], "instagram", SCENARIO)).json()

    assert [(item["index"], item["outcome"]) for item in answer["items"]] == [(1, "limited")]
    assert answer["usage"]["globex"]["state"] == "limiting"


def test_b18_a_campaign_that_is_larger_than_what_is_left_is_served_partly(globex: Account, globex_caller: Caller):
    globex_caller.send(each(followers(40), "instagram", CAMPAIGN))

    answer = globex_caller.send(each(followers(90, of="new"), "instagram", CAMPAIGN))

    assert outcomes(answer) == {"recorded": 60, "limited": 30}
    assert [item["index"] for item in answer.json()["items"]] == list(range(60, 90))


def test_b19_an_upgrade_serves_the_next_at_once(full: Caller, globex: Account):
    refused = each(["zoe"], "instagram", SCENARIO)
    full.send(refused)
    steering.upgrade(globex, "pro-1k", now=NOW, **BY)

    assert outcomes(full.send(each(["zoe"], "instagram", SCENARIO))) == {"recorded": 1}
    assert outcomes(full.send(refused)) == {"recorded": 1}  # the limited run, sent again
    assert full.get("usage").json()["used"] == 101


def test_b20_the_next_month_serves_again(full: Caller, clock: StoppedClock):
    december = datetime(2026, 12, 2, tzinfo=UTC)
    clock.move_to(december)

    answer = full.send(each(["zoe"], "instagram", SCENARIO, time=december))

    assert outcomes(answer) == {"recorded": 1}
    assert full.get("usage").json()["used"] == 1


def test_b21_this_unit_never_upgrades_by_itself(full: Caller, globex: Account):
    steering.upgrade(globex, "pro-1k", now=NOW, **BY)
    full.send(each(followers(1_200, of="new"), "instagram", CAMPAIGN))
    settle_upgrades()

    seen = full.get("usage").json()
    assert (seen["used"], seen["limit"], seen["tier"], seen["at_limit"]["action"]) == (
        1_000,
        1_000,
        "pro-1k",
        "limit_new",
    )
    assert not UpgradeCause.objects.exists()


# --- C: connect/starter has 1,000 ---


def visits(first: int, last: int, **attributes: Any) -> list[dict[str, Any]]:
    return [
        event(subject=f"v{number}@example.com", source="website", type="web.visited", **attributes)
        for number in range(first, last)
    ]


@pytest.mark.django_db(transaction=True)
def test_c17_c18_c19_c20_one_mail_at_80_and_one_at_100_to_the_main_address(acme: Account, acme_caller: Caller):
    acme_caller.send(visits(0, 799))
    assert subjects(acme) == []

    acme_caller.send(visits(799, 800))
    assert [("80 %" in subject) for subject in subjects(acme)] == [True]
    acme_caller.send(visits(800, 999))
    assert len(subjects(acme)) == 1
    acme_caller.send(visits(999, 1_000))

    eighty, hundred = subjects(acme)
    assert ("100 %" in hundred, "100 %" in eighty, "80 %" in hundred) == (True, False, False)
    assert {tuple(message.to) for message in mail.outbox} == {("billing@acme.example",)}
    acme_caller.send(visits(0, 1_000))
    assert len(subjects(acme)) == 2


@pytest.mark.django_db(transaction=True)
def test_c18_from_0_to_1000_in_one_batch_both_come_in_order(acme: Account, acme_caller: Caller):
    acme_caller.send(visits(0, 1_000))

    first, second = subjects(acme)
    assert ("80 %" in first, "100 %" in second) == (True, True)


def test_c20_the_next_period_may_tell_again(acme: Account):
    deliver(acme, visits(0, 800))
    deliver(acme, visits(0, 800, time=DECEMBER), now=DECEMBER)

    told = Notification.objects.filter(kind="threshold").order_by("pk").values_list("percent", "period_start__month")
    assert list(told) == [(80, 11), (80, 12)]


def test_c21_the_1001st_with_web_tracking_enabled_upgrades_and_is_kept(acme: Account, acme_caller: Caller):
    acme_caller.send(visits(0, 1_000))

    answer = acme_caller.send(visits(1_000, 1_001))
    settle_upgrades()

    assert outcomes(answer) == {"recorded": 1}
    seen = acme_caller.get("usage").json()
    assert (seen["tier"], seen["limit"], seen["used"]) == ("growth", 2_500, 1_001)
    [audit] = acme.audit.filter(action="account.upgraded")
    assert (audit.reason, audit.after["used"]) == ("limit_reached", 1_001)


def test_c22_with_only_a_sync_that_can_be_replayed_the_1001st_is_held(acme: Account, acme_caller: Caller):
    replayable_only(acme)
    acme_caller.send(each(people(1_000), "pipedrive-mailchimp", "contact.matched"))

    answer = acme_caller.send(each(["zoe@example.com"], "pipedrive-mailchimp", "contact.matched"))
    settle_upgrades()

    assert outcomes(answer) == {"held": 1}
    assert (used(acme), Subscription.objects.get().tier.key) == (1_000, "starter")
    assert rows(Event, "key", state=EventState.HELD) == [answer.json()["items"][0]["id"]]


def test_c23_the_decision_lists_every_enabled_connection_with_yes_or_no(acme: Account, acme_caller: Caller):
    put_connection(acme, "old", "web_tracking", enabled=False)
    expected = {
        "hubspot-brevo": True,
        "mailchimp-pipedrive": False,
        "pipedrive-mailchimp": True,
        "scoring": True,
        "website": False,
    }

    beforehand = acme_caller.get("usage").json()["at_limit"]
    acme_caller.send(visits(0, 1_001))
    settle_upgrades()

    assert beforehand["action"] == "upgrade"
    assert {row["connection"]: row["replayable"] for row in beforehand["because"]} == expected
    assert {row["key"]: row["replayable"] for row in UpgradeCause.objects.get().connections} == expected
    [audit] = acme.audit.filter(action="account.upgraded")
    assert {row["key"]: row["replayable"] for row in audit.after["connections"]} == expected


@pytest.fixture
def stopped(acme: Account, acme_caller: Caller) -> Caller:
    """Acme has opted out of upgrades and stands at 1,000 of 1,000."""
    put_account("acme", auto_upgrade=False, signed_up_at=acme.signed_up_at)
    acme_caller.send(visits(0, 1_000))
    return acme_caller


def test_c24_who_opted_out_is_paused_in_all_four_kinds_at_the_1001st(stopped: Caller, acme: Account):
    stopped.send(visits(1_000, 1_001))
    settle_upgrades()

    seen = stopped.get("usage").json()
    assert (seen["state"], seen["used"], seen["tier"]) == ("paused", 1_000, "starter")
    known = "v1@example.com"
    answer = stopped.send(
        [
            event(subject=known, source="pipedrive-mailchimp", type="contact.matched"),
            event(subject=known, source="mailchimp-pipedrive", type="engagement.email_opened"),
            event(subject=known, source="website", type="web.visited"),
            event(subject=known, source="scoring", type="score.set", data={"value": 5}),
        ]
    )
    assert outcomes(answer) == {"dropped": 4}


def test_c25_20_more_are_dropped_into_the_gap_and_a_replay_brings_none_back(stopped: Caller, acme: Account):
    stopped.send(visits(1_000, 1_001))

    stopped.send([*visits(2_000, 2_012), *each(people(8), "mailchimp-pipedrive", "engagement.email_clicked")])
    with pytest.raises(Refused, match="cannot be replayed"):
        steering.replay(acme, now=NOW, **BY)
    steering.resume(acme, now=NOW + timedelta(hours=1), **BY)
    replayed = steering.replay(acme, now=NOW + timedelta(hours=1), **BY)

    assert rows(Gap, "connection__key", "events", "starts_at", "ends_at", "reason") == [
        ("mailchimp-pipedrive", 8, NOW, NOW + timedelta(hours=1), "limit_reached"),
        ("website", 13, NOW, NOW + timedelta(hours=1), "limit_reached"),
    ]
    assert (replayed, used(acme)) == ((0, 0), 1_000)


def test_c26_staff_who_switch_upgrades_off_must_accept_the_loss_and_it_is_audited(acme: Account):
    deliver(acme, visits(0, 3))
    staff = Client()
    staff.force_login(User.objects.create(username="sam", is_staff=True, is_superuser=True))
    page = reverse("admin:accounts_account_steer", args=[acme.pk, "opt-out"])

    warned = staff.get(page).content.decode()
    refused = staff.post(page, {"reason": "they asked"})
    acme.refresh_from_db()
    assert ("leaves gaps" in warned, "cannot be replayed" in warned) == (True, True)
    assert (refused.status_code, acme.auto_upgrade) == (200, True)
    staff.post(page, {"reason": "they asked", "accepted": "on"})

    acme.refresh_from_db()
    assert acme.auto_upgrade is False
    [audit] = acme.audit.filter(action="account.changed")
    assert (audit.actor, audit.reason, audit.before, audit.after) == (
        "staff sam",
        "they asked",
        {"auto_upgrade": True},
        {"auto_upgrade": False},
    )
    assert rows(Notification, "kind") == ["opted_out"]


@pytest.mark.django_db(transaction=True)
def test_c37_both_mails_offer_the_support_address_and_the_usage_page(acme: Account, acme_caller: Caller):
    acme_caller.send(visits(0, 1_000))
    subjects(acme)

    for message in mail.outbox:
        assert "support@localhost" in str(message.body)
        assert "/usage/?token=" in str(message.body)


def test_c38_after_the_upgrade_the_thresholds_are_those_of_2500(acme: Account, acme_caller: Caller):
    acme_caller.send(visits(0, 1_001))
    settle_upgrades()
    acme_caller.send(visits(1_001, 1_999))
    before = rows(Notification, "percent", "limit", kind="threshold")

    acme_caller.send(visits(1_999, 2_000))

    assert before == [(100, 1_000), (80, 1_000)]
    assert rows(Notification, "percent", "limit", kind="threshold") == [*before, (80, 2_500)]
