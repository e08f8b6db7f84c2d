"""`events/void`: the operator takes an event back."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import Account
from metering.models import BillingPeriod, EventVoid
from tests.factories import Caller, deliver, event, make_key, rows

pytestmark = pytest.mark.django_db

VISIT = {"source": "website", "id": "evt-1", "reason": "sent twice"}


@pytest.fixture
def visited(acme: Account, operator: Caller) -> Account:
    """Acme after one visit."""
    deliver(acme, [event(type="web.visited", source="website", id="evt-1", subject="ann@example.com")])
    return acme


def void(caller: Caller, body: Any = VISIT, **query: str) -> Any:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return caller.post(f"events/void?{asked}" if asked else "events/void", _json(body))


def _json(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def test_an_event_is_taken_back_and_again_with_the_same_answer(visited: Account, operator: Caller, clock: Any):
    answer = void(operator, account="acme")
    clock.advance(days=1)
    again = void(operator, {**VISIT, "account": "acme", "reason": "another"})

    assert answer.status_code == again.status_code == 200
    voided_at = "2026-11-22T12:00:00Z"
    assert answer.json() == {"source": "website", "id": "evt-1", "state": "voided", "voided_at": voided_at}
    assert again.json() == answer.json()
    assert rows(BillingPeriod, "active_contacts") == [0]
    [(actor, reason)] = rows(EventVoid, "actor", "reason")
    assert (actor.startswith("key hc_live_"), reason) == (True, "sent twice")


def test_a_duplicate_says_what_became_of_it(visited: Account, operator: Caller, acme_caller: Caller):
    void(operator, account="acme")

    again = event(type="web.visited", source="website", id="evt-1", subject="ann@example.com")
    assert acme_caller.send(again).json()["items"] == [
        {"index": 0, "id": "evt-1", "outcome": "duplicate", "first": "voided"}
    ]


def test_an_operator_names_the_account_once(visited: Account, globex: Account, operator: Caller):
    assert void(operator).json()["code"] == "account_required"
    assert void(operator, {**VISIT, "account": "acme"}, account="globex").json()["code"] == "two_accounts"
    assert void(operator, {**VISIT, "account": "acme"}, account="acme").status_code == 200


@pytest.mark.parametrize(
    ("body", "account"),
    [(VISIT, "globex"), (VISIT, "nobody"), (VISIT, "A/B"), ({**VISIT, "id": "evt-2"}, "acme")],
)
def test_what_is_missing_or_foreign_is_the_same_404(
    visited: Account, globex: Account, operator: Caller, body: Any, account: str
):
    answer = void(operator, body, account=account)

    assert (answer.status_code, answer.json()) == (404, operator.get("accounts/nobody").json())


def test_a_closed_period_is_a_409(visited: Account, operator: Caller, clock: Any):
    clock.move_to(datetime(2026, 12, 3, tzinfo=UTC))

    answer = void(operator, account="acme")

    assert (answer.status_code, answer.json()["code"]) == (409, "period_closed")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b"[]", "not_an_object"),
        (b"{", "bad_json"),
        ({}, "missing_field"),
        ({**VISIT, "id": 1}, "wrong_type"),
        ({**VISIT, "id": "\0"}, "bad_characters"),
        ({**VISIT, "id": "x" * 256}, "too_long"),
        ({**VISIT, "reason": " "}, "blank"),
        ({**VISIT, "reason": "x" * 1_001}, "too_long"),
        ({**VISIT, "why": "?"}, "unknown_field"),
    ],
)
def test_a_bad_body_is_refused(visited: Account, operator: Caller, body: Any, code: str):
    answer = void(operator, body, account="acme")

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert rows(BillingPeriod, "active_contacts") == [1]


def test_only_an_operator_may(visited: Account, acme_caller: Caller, stranger: Caller):
    assert void(acme_caller).status_code == 403
    assert void(Caller(make_key(None, "write", "read")), account="acme").status_code == 403
    assert void(stranger).status_code == 401
    assert acme_caller.get("events/void").status_code == 405
