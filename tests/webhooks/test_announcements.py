"""What happens to accounts is told to those who listen, with its numbers, once; and nothing that did not happen."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from standardwebhooks import Webhook

from accounts.models import Account
from jobs.models import Job
from jobs.registry import TASKS
from jobs.runner import Ran, run_all_due
from metering import due, steering
from metering.models import BillingPeriod, ThresholdCrossing, UpgradeCause
from metering.tasks import upgrade
from metering.upkeep import do_due_work
from metering.usage import ensure_current
from notifications.models import Notification
from tests.factories import ACTOR, NOW, deliver, put_account, put_connection, rows
from tests.metering.test_at_limit import people, with_policy
from tests.metering.test_history import SIGN_UP, opened, relive
from tests.webhooks.messages import URL, listen
from tests.webhooks.receiver import Receiver
from webhooks import delivery
from webhooks.models import Delivery, Endpoint, Message

pytestmark = pytest.mark.django_db

DECEMBER, JANUARY = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
BY: dict[str, Any] = {"reason": "as they asked", "actor": ACTOR}


@pytest.fixture(autouse=True)
def listener(db: None) -> None:
    """Somebody wants to know everything."""
    listen()


def everything() -> list[dict[str, Any]]:
    """All that was told, in order."""
    return [json.loads(payload) for payload in Message.objects.order_by("pk").values_list("payload", flat=True)]


def told(about: str) -> list[Any]:
    """The data of what was told of one type, in order."""
    return [each["data"] for each in everything() if each["type"] == about]


def reasons() -> list[str]:
    """Pauses and resumes with their reasons, in order."""
    return [
        f"{each['type'].partition('.')[2]} {each['data']['reason']}"
        for each in everything()
        if each["type"] in ("account.paused", "account.resumed")
    ]


def test_a_crossing_is_told_with_its_numbers(acme: Account):
    with_policy(acme, "hold")

    deliver(acme, people(0, 8))

    assert told("threshold.crossed") == [
        {
            "account": "acme",
            "unit": "active_contacts",
            "period_start": "2026-11-01T00:00:00Z",
            "period_end": "2026-12-01T00:00:00Z",
            "percent": 80,
            "limit": 10,
            "used": 8,
        }
    ]


def test_a_jump_tells_both_crossings_in_order_and_once(acme: Account):
    with_policy(acme, "hold")

    deliver(acme, people(0, 12))
    deliver(acme, people(0, 14))

    assert [(each["percent"], each["used"]) for each in told("threshold.crossed")] == [(80, 8), (100, 10)]


def test_every_crossing_that_is_stored_was_told_also_those_inside_the_mail_of_an_upgrade(acme: Account):
    with_policy(acme, None, 5)
    deliver(acme, people(0, 4))
    put_account("acme", signed_up_at=acme.signed_up_at, limit_override=4)
    steering.upgrade(acme, "growth", now=NOW, **BY)
    with_policy(acme, "upgrade", 10)
    deliver(acme, people(0, 11))
    upgrade(UpgradeCause.objects.get().pk, NOW)

    crossings = ThresholdCrossing.objects.order_by("pk").values_list("limit", "percent", "used")
    assert [(each["limit"], each["percent"], each["used"]) for each in told("threshold.crossed")] == list(crossings)
    assert len(crossings) >= 5


def test_a_crossing_found_by_an_upgrade_has_no_mail_of_its_own_but_is_told_here(acme: Account):
    deliver(acme, people(0, 2_100, type="contact.matched"))
    upgrade(UpgradeCause.objects.get().pk, NOW)

    crossing = ThresholdCrossing.objects.get(limit=2_500)
    assert crossing.notification is not None
    assert crossing.notification.kind == "upgraded"
    assert [(each["limit"], each["percent"]) for each in told("threshold.crossed")][-1] == (2_500, 80)


def test_an_upgrade_by_the_limit_is_told_once(acme: Account):
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 12))

    for _ in range(2):
        upgrade(UpgradeCause.objects.get().pk, NOW)

    assert told("account.upgraded") == [
        {
            "account": "acme",
            "from_tier": "starter",
            "to_tier": "growth",
            "limit": 2_500,
            "used": 12,
            "reason": "limit_reached",
        }
    ]


def test_an_upgrade_by_staff_is_told_and_asking_again_is_not(acme: Account):
    deliver(acme, people(0, 3))

    for _ in range(2):
        steering.upgrade(acme, "scale", now=NOW, **BY)

    [only] = told("account.upgraded")
    assert (only["from_tier"], only["to_tier"], only["used"], only["reason"]) == ("starter", "scale", 3, "asked_for")


def test_a_pause_by_staff_and_its_end_are_told(acme: Account):
    deliver(acme, people(0, 1))

    for _ in range(2):
        steering.pause(acme, now=NOW, **BY)
    for _ in range(2):
        steering.resume(acme, now=NOW + timedelta(hours=1), **BY)

    assert told("account.paused") == [{"account": "acme", "reason": "paused_by_staff", "since": "2026-11-22T12:00:00Z"}]
    assert told("account.resumed") == [{"account": "acme", "reason": "resume"}]


def test_a_pause_at_the_limit_and_its_end_with_the_period_are_told(acme: Account):
    with_policy(acme, "pause")
    deliver(acme, people(0, 12))

    due.run_due(DECEMBER)

    assert reasons() == ["paused limit_reached", "resumed new_period"]
    assert told("account.paused")[0]["since"] == "2026-11-22T12:00:00Z"


def test_an_upgrade_ends_a_pause(acme: Account):
    with_policy(acme, "pause")
    deliver(acme, people(0, 12))

    steering.upgrade(acme, "growth", now=NOW, **BY)

    assert reasons() == ["paused limit_reached", "resumed upgrade"]


def test_the_end_of_a_trial_pauses_until_an_upgrade(acme: Account):
    ends_at = NOW + timedelta(days=2)
    trying = put_account("trying", plan="connect", tier="trial", trial_ends_at=ends_at)
    put_connection(trying, "pipedrive-mailchimp")
    deliver(trying, people(0, 1))

    for hours in (1, 2):
        do_due_work(Account.objects.get(pk=trying.pk), ends_at + timedelta(hours=hours))
    steering.upgrade(trying, "starter", now=ends_at + timedelta(days=1), **BY)

    assert reasons() == ["paused trial_ended", "resumed upgrade"]
    assert told("account.paused")[0]["since"] == "2026-11-24T12:00:00Z"


def test_holding_is_no_pause(acme: Account):
    with_policy(acme, "hold")
    deliver(acme, people(0, 12))
    steering.upgrade(acme, "growth", now=NOW, **BY)

    assert list(Notification.objects.filter(kind__in=["held", "resumed"]).values_list("kind", flat=True))
    assert reasons() == []


def test_a_pause_that_ends_in_holding_is_over(acme: Account):
    with_policy(acme, "hold")
    deliver(acme, people(0, 12))
    steering.pause(acme, now=NOW, **BY)

    steering.resume(acme, now=NOW, **BY)

    assert reasons() == ["paused paused_by_staff", "resumed holding"]


def test_what_still_pauses_it_keeps_it_from_being_resumed(acme: Account):
    ends_at = NOW + timedelta(days=2)
    trying = put_account("trying", plan="connect", tier="trial", trial_ends_at=ends_at)
    steering.pause(trying, now=NOW, **BY)

    steering.resume(trying, now=ends_at + timedelta(days=1), **BY)

    assert reasons() == ["paused paused_by_staff", "paused trial_ended"]


def test_the_closing_of_a_period_is_told_once_with_its_last_numbers(acme: Account):
    deliver(acme, people(0, 3))

    for _ in range(2):
        due.run_due(DECEMBER + timedelta(days=1))

    period = BillingPeriod.objects.get(state="closed")
    assert told("period.closed") == [
        {
            "account": "acme",
            "start": "2026-11-01T00:00:00Z",
            "end": "2026-12-01T00:00:00Z",
            "unit": "active_contacts",
            "used": 3,
            "limit": 1_000,
            "totals": {"app_connector_events": 3, "active_contacts": 3, "activated_contacts": 0},
            "checksum": period.checksum,
        }
    ]
    assert len(period.checksum) == 64


def test_nothing_tells_a_mail_address(acme: Account):
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 12))
    upgrade(UpgradeCause.objects.get().pk, NOW)
    steering.pause(acme, now=NOW, reason="ann@example.com asked", actor="bob@example.com")
    steering.resume(acme, now=NOW, reason="ann@example.com asked", actor="bob@example.com")
    due.run_due(JANUARY)

    assert len({each["type"] for each in everything()}) == 5
    assert "@" not in json.dumps(everything())


def test_replayed_history_is_told_to_nobody(catalogue: None):
    veteran = put_account("veteran", signed_up_at=SIGN_UP, plan="connect", tier="starter", limit_override=10)
    put_connection(veteran, "pipedrive-mailchimp")
    put_account("veteran", signed_up_at=SIGN_UP, at_limit="upgrade")

    relive(veteran, opened(*range(12), 45))

    assert {each["type"] for each in everything()} == {"threshold.crossed", "account.upgraded", "period.closed"}
    assert set(rows(Delivery, "state")) == {"historical"}
    assert not Job.objects.filter(task="webhooks.deliver").exists()


def test_the_history_of_one_account_silences_no_other(acme: Account):
    veteran = put_account("veteran", signed_up_at=SIGN_UP, plan="connect", tier="starter")
    put_connection(veteran, "pipedrive-mailchimp")
    relive(veteran, opened(0, 45))

    with_policy(acme, "hold")
    deliver(acme, people(0, 8))

    assert rows(Delivery, "state", account=acme) == ["pending"]


@pytest.mark.django_db(transaction=True)
def test_what_is_undone_was_never_told(acme: Account):
    with_policy(acme, "pause")

    with transaction.atomic():
        deliver(acme, people(0, 12))
        assert Message.objects.count() == 3
        transaction.set_rollback(True)

    assert ThresholdCrossing.objects.count() == Message.objects.count() == Delivery.objects.count() == 0


def test_a_dry_run_tells_nothing(acme: Account):
    with_policy(acme, "pause")

    deliver(acme, people(0, 12), dry_run=True)

    assert everything() == []


def test_a_batch_that_crosses_nothing_asks_nothing_about_webhooks(acme: Account, django_assert_max_num_queries: Any):
    deliver(acme, people(0, 1))

    with django_assert_max_num_queries(200) as asked:
        deliver(acme, people(1, 3))

    assert not [query for query in asked.captured_queries if "webhooks_" in query["sql"]]


@pytest.mark.django_db(transaction=True)
def test_from_an_event_to_the_receiver(acme: Account, server: Receiver, monkeypatch: pytest.MonkeyPatch):
    """Through the intake and the queue, by the real clock, to a server that verifies what it gets."""
    now = datetime.now(UTC)
    monkeypatch.setitem(TASKS, "webhooks.deliver", partial(delivery.deliver, net=server.net()))
    Endpoint.objects.all().delete()
    endpoint = listen(server.url, acme, "threshold.crossed", now=now)
    with_policy(acme, "hold")

    deliver(acme, people(0, 8, time=now), now=now)
    Job.objects.exclude(task="webhooks.deliver").delete()
    ran = run_all_due(lambda: datetime.now(UTC))

    assert ran == {Ran.DONE: 1}
    [heard] = server.heard
    verified = Webhook(endpoint.secret).verify(heard.body, heard.headers)
    assert verified["type"] == "threshold.crossed"
    assert (verified["data"]["account"], verified["data"]["percent"], verified["data"]["used"]) == ("acme", 80, 8)
    assert Delivery.objects.get(endpoint=endpoint).state == "sent"


def test_an_endpoint_of_somebody_else_hears_nothing(acme: Account, globex: Account):
    theirs = listen(URL, globex)

    with_policy(acme, "hold")
    deliver(acme, people(0, 8))
    ensure_current(globex, NOW)

    assert not Delivery.objects.filter(endpoint=theirs).exists()
