"""`POST events`: what a client sends and what it is told."""

import gzip
import json
from datetime import timedelta
from threading import Event as Signal
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import Account
from metering.models import BillingPeriod, Event, OutcomeTally, QuarantinedEvent
from tests.factories import NOW, Caller, event, make_key, put_account, put_connection, rows

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
