"""`POST events`: what a client sends and what it is told."""

import gzip
import json
from datetime import timedelta
from threading import Event as Signal
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django_q.models import OrmQ

from accounts.models import Account
from jobs.models import Job
from metering.models import (
    BillingPeriod,
    Contact,
    CountedContact,
    Event,
    Gap,
    OutcomeTally,
    QuarantinedEvent,
    ThresholdCrossing,
    UpgradeCause,
)
from notifications.models import Notification
from plans.models import Subscription
from tests.factories import NOW, Caller, event, make_key, put_account, put_connection, rows, unguarded

pytestmark = pytest.mark.django_db


def test_a_batch_is_answered_event_by_event(acme_caller: Caller):
    acme_caller.send([event(id="evt-a", subject="ann@example.com")])

    answer = acme_caller.send(
        [
            event(id="evt-b", subject="bob@example.com"),
            event(id="evt-a", subject="ann@example.com"),
            event(id="evt-a", subject="cid@example.com"),
            event(id="evt-c", type="engagement.email_opend"),
            event(id="evt-d", source="nowhere"),
        ]
    )

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "received": 5,
        "outcomes": {"recorded": 1, "duplicate": 1, "conflict": 1, "rejected": 2},
        "items": [
            {"index": 1, "id": "evt-a", "outcome": "duplicate", "first": "recorded"},
            {
                "index": 2,
                "id": "evt-a",
                "outcome": "conflict",
                "code": "conflict",
                "field": "id",
                "detail": "an event with this source and id is stored with another type, subject or time",
            },
            {
                "index": 3,
                "id": "evt-c",
                "outcome": "rejected",
                "code": "unknown_type",
                "field": "type",
                "detail": "no event type engagement.email_opend; did you mean engagement.email_opened?",
            },
            {
                "index": 4,
                "id": "evt-d",
                "outcome": "rejected",
                "code": "unknown_source",
                "field": "source",
                "detail": "the account has no connection nowhere",
            },
        ],
        "usage": {"acme": {"unit": "active_contacts", "used": 2, "limit": 1000, "state": "ok"}},
    }
    assert rows(Event, "key") == ["evt-a", "evt-b"]


def test_an_item_that_is_no_object_has_no_id_and_no_field(acme_caller: Caller):
    [item] = acme_caller.send([17]).json()["items"]

    assert (item["index"], item["id"], item["code"], item["field"]) == (0, None, "not_an_object", None)


def test_an_ignored_event_says_why_without_a_code(acme: Account, acme_caller: Caller):
    put_connection(acme, "quiet", "engagement", record_email_sent=False)

    [item] = acme_caller.send([event(id="e", source="quiet", type="engagement.email_sent")]).json()["items"]

    assert item == {
        "index": 0,
        "id": "e",
        "outcome": "ignored",
        "detail": "recording of this type is switched off on the connection",
    }


def test_an_event_of_a_closed_period_is_late(acme_caller: Caller):
    answer = acme_caller.send([event(time=NOW - timedelta(days=25))]).json()

    assert answer["outcomes"] == {"late": 1}
    assert answer["items"][0]["outcome"] == "late"


def test_an_empty_batch_is_received(acme_caller: Caller):
    assert acme_caller.send([]).json() == {"received": 0, "outcomes": {}, "items": [], "usage": {}}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/cloudevents+json", event()),
        ("application/cloudevents-batch+json", [event()]),
        ("application/json", event()),
        ("application/json", [event()]),
        ("application/json; charset=utf-8", [event()]),
        ('Application/JSON;charset="UTF-8"', [event()]),
        ("application/cloudevents-batch+json ; charset=UTF-8 ;", [event()]),
    ],
)
def test_the_media_types_of_events_are_taken(acme_caller: Caller, content_type: str, body: Any):
    answer = acme_caller.post("events", json.dumps(body).encode(), content_type)

    assert answer.json()["outcomes"] == {"recorded": 1}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/cloudevents+json", [event()]), ("application/cloudevents-batch+json", event())],
)
def test_a_batch_is_no_event_and_an_event_no_batch(acme_caller: Caller, content_type: str, body: Any):
    answer = acme_caller.post("events", json.dumps(body).encode(), content_type)

    assert (answer.status_code, answer.json()["code"]) == (400, "not_events")


def test_a_gzipped_batch_is_inflated(acme_caller: Caller):
    body = gzip.compress(json.dumps([event() for _ in range(500)]).encode())

    for name in ("gzip", "GZIP", "x-gzip"):
        answer = acme_caller.post("events", body, content_encoding=name)
        assert answer.json()["received"] == 500


def test_a_dry_run_answers_the_same_and_what_would_be_and_writes_nothing(acme: Account, clock: Any):
    put_account("acme", limit_override=5)
    caller = Caller(make_key(acme))
    batch = [event() for _ in range(4)] + [event(type="nope")]

    dry = caller.send(batch, dry_run="true").json()

    assert dry["outcomes"] == {"recorded": 4, "rejected": 1}
    assert dry["usage"] == {"acme": {"unit": "active_contacts", "used": 4, "limit": 5, "state": "warning"}}
    assert dry["would"] == {"acme": {"thresholds": [80], "upgrade": None, "state": "warning"}}
    for model in (Event, BillingPeriod, QuarantinedEvent, OutcomeTally):
        assert not model._default_manager.exists()
    wet = caller.send(batch, dry_run="false").json()
    del dry["would"]
    assert wet == dry


EVERYTHING = (
    BillingPeriod,
    Contact,
    CountedContact,
    Event,
    Gap,
    Job,
    Notification,
    OrmQ,
    OutcomeTally,
    QuarantinedEvent,
    ThresholdCrossing,
    UpgradeCause,
)
"""The tables that a batch may write to."""


def test_a_dry_run_tells_thresholds_and_the_upgrade_and_writes_nothing(acme: Account, acme_caller: Caller):
    put_account("acme", limit_override=5)

    dry = acme_caller.send([event() for _ in range(6)], dry_run="true").json()

    assert dry["outcomes"] == {"recorded": 6}
    assert dry["usage"] == {"acme": {"unit": "active_contacts", "used": 6, "limit": 5, "state": "limit_reached"}}
    assert dry["would"] == {"acme": {"thresholds": [80, 100], "upgrade": "growth", "state": "limit_reached"}}
    assert [model for model in EVERYTHING if model._default_manager.exists()] == []
    assert rows(Subscription, "tier__key") == ["starter"]


def test_what_a_dry_run_said_comes_true(acme: Account, acme_caller: Caller):
    put_account("acme", limit_override=5)
    batch = [event() for _ in range(6)]
    dry = acme_caller.send(batch, dry_run="true").json()

    wet = acme_caller.send(batch).json()

    assert {**wet, "would": dry["would"]} == dry
    assert rows(ThresholdCrossing, "percent") == [100, 80]
    assert rows(Job, "task", task="metering.upgrade") == ["metering.upgrade"]


@pytest.mark.parametrize(
    ("policy", "outcome", "state"),
    [("hold", "held", "holding"), ("limit_new", "limited", "limiting"), ("pause", "dropped", "paused")],
)
def test_a_dry_run_tells_what_happens_at_the_limit(
    acme: Account, acme_caller: Caller, policy: str, outcome: str, state: str
):
    put_account("acme", limit_override=5, at_limit=policy)

    dry = acme_caller.send([event() for _ in range(6)], dry_run="true").json()

    assert dry["outcomes"] == {"recorded": 5, outcome: 1}
    assert dry["would"] == {"acme": {"thresholds": [80, 100], "upgrade": None, "state": state}}
    assert [model for model in EVERYTHING if model._default_manager.exists()] == []


def test_a_dry_run_over_the_top_tier_upgrades_to_nothing(acme: Account, acme_caller: Caller):
    put_account("acme", limit_override=1)
    with unguarded():
        acme.subscriptions.get().tier.plan.tiers.exclude(key__in=["trial", "starter"]).delete()

    dry = acme_caller.send([event(), event()], dry_run="true").json()

    assert dry["would"]["acme"]["upgrade"] is None


@pytest.mark.parametrize(
    ("policy", "outcome", "detail"),
    [
        ("hold", "held", "it would raise the count above the limit: kept, and counted when there is room"),
        ("limit_new", "limited", "it would raise the count above the limit: new contacts are not served"),
        ("pause", "dropped", "the account is paused at its limit: this is lost"),
    ],
)
def test_an_event_above_the_limit_says_what_became_of_it(
    acme: Account, acme_caller: Caller, policy: str, outcome: str, detail: str
):
    put_account("acme", limit_override=1, at_limit=policy)

    answer = acme_caller.send([event(), event(id="above")]).json()

    assert answer["outcomes"] == {"recorded": 1, outcome: 1}
    assert answer["items"] == [{"index": 1, "id": "above", "outcome": outcome, "detail": detail}]
    assert answer["usage"]["acme"]["used"] == 1


def test_what_is_sent_again_is_told_what_it_was_first(acme: Account, acme_caller: Caller):
    put_account("acme", limit_override=1, at_limit="hold")
    batch = [event(id="a"), event(id="b"), event(id="c", time=NOW - timedelta(days=25))]
    assert acme_caller.send(batch).json()["outcomes"] == {"recorded": 1, "held": 1, "late": 1}

    items = acme_caller.send(batch).json()["items"]

    assert items == [
        {"index": 0, "id": "a", "outcome": "duplicate", "first": "recorded"},
        {"index": 1, "id": "b", "outcome": "duplicate", "first": "held"},
        {"index": 2, "id": "c", "outcome": "duplicate", "first": "late"},
    ]


def test_what_was_held_is_recorded_first_once_it_is_replayed(acme: Account, acme_caller: Caller):
    put_account("acme", limit_override=1, at_limit="hold")
    batch = [event(id="a"), event(id="b")]
    acme_caller.send(batch)
    put_account("acme", limit_override=2)

    items = acme_caller.send(batch).json()["items"]

    assert [item["first"] for item in items] == ["recorded", "recorded"]


def test_what_was_limited_is_decided_afresh_and_what_was_dropped_is_new(acme: Account, acme_caller: Caller):
    put_account("acme", limit_override=1, at_limit="limit_new")
    acme_caller.send([event()])
    limited, dropped = event(id="limited"), event(id="dropped")
    assert acme_caller.send([limited]).json()["outcomes"] == {"limited": 1}
    assert acme_caller.send([limited]).json()["outcomes"] == {"limited": 1}
    put_account("acme", at_limit="pause")
    assert acme_caller.send([dropped]).json()["outcomes"] == {"dropped": 1}

    put_account("acme", limit_override=3)

    assert acme_caller.send([limited, dropped]).json()["outcomes"] == {"recorded": 2}


def test_a_pause_by_staff_drops_whatever_the_limit(acme: Account, operator: Caller, acme_caller: Caller):
    operator.post("accounts/acme/pause", b'{"reason": "unpaid"}')

    [item] = acme_caller.send([event(id="e")]).json()["items"]

    assert item == {"index": 0, "id": "e", "outcome": "dropped", "detail": "the account is paused: this is lost"}


def test_usage_is_told_to_a_key_that_may_read(acme: Account, clock: Any):
    answer = Caller(make_key(acme, "write")).send([event()])

    assert answer.json() == {"received": 1, "outcomes": {"recorded": 1}, "items": []}


def test_an_operator_key_names_the_account_of_each_event(acme: Account, globex: Account, operator: Caller):
    answer = operator.send(
        [
            event(account="acme"),
            event(account="globex", source="instagram", type="automation.ai_reply"),
            event(id="a"),
            event(id="b", account="nobody"),
        ]
    ).json()

    assert answer["outcomes"] == {"recorded": 2, "rejected": 2}
    assert [(item["id"], item["code"], item["field"]) for item in answer["items"]] == [
        ("a", "missing_attribute", "account"),
        ("b", "unknown_account", "account"),
    ]
    assert {slug: usage["used"] for slug, usage in answer["usage"].items()} == {"acme": 1, "globex": 1}


def test_an_account_key_may_name_its_own_account_and_no_other(globex: Account, acme_caller: Caller):
    answer = acme_caller.send(
        [event(account="acme"), event(account="globex", id="f"), event(account="nobody", id="m")]
    ).json()

    assert answer["outcomes"] == {"recorded": 1, "rejected": 2}
    foreign, missing = answer["items"]
    assert foreign["code"] == missing["code"] == "unknown_account"
    assert foreign["detail"].replace("globex", "nobody") == missing["detail"]
    assert rows(Event, "account__slug") == ["acme"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
def test_events_are_only_posted(acme_caller: Caller, method: str):
    answer = acme_caller._ask(method, "events")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.django_db(transaction=True)
def test_while_another_writer_holds_the_account_the_answer_is_to_try_again(acme: Account, acme_caller: Caller):
    held, done = Signal(), Signal()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM metering_accountmeter WHERE account_id = %s FOR UPDATE", [acme.pk])
            held.set()
            done.wait(10)
        connection.close()

    holder = Thread(target=hold)
    holder.start()
    try:
        assert held.wait(10)
        answer = acme_caller.send([event()])
    finally:
        done.set()
        holder.join()

    assert (answer.status_code, answer.json()["code"]) == (503, "account_busy")
    assert answer.headers["Retry-After"] == "2"
    assert not Event.objects.exists()
