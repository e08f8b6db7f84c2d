"""`accounts/{slug}/erase`: the operator has a person forgotten."""

import json
from typing import Any

import pytest

from accounts.models import Account, AuditEntry
from metering.identity import is_pseudonym
from metering.models import Contact
from tests.factories import Caller, deliver, event, make_key, rows

pytestmark = pytest.mark.django_db


def erase(caller: Caller, subject: Any = "ann@example.com", slug: str = "acme", **more: Any) -> Any:
    return caller.post(f"accounts/{slug}/erase", json.dumps({"subject": subject, **more}).encode())


@pytest.fixture
def visited(acme: Account, operator: Caller) -> Account:
    """Acme after one visit of ann's, and a tag of bob's that counts for nobody."""
    ann = event(type="web.visited", source="website", subject="ann@example.com")
    deliver(acme, [ann, event(type="crm.tagged", subject="bob@example.com")])
    return acme


def test_a_person_is_erased_and_again_with_the_same_answer(visited: Account, operator: Caller):
    answer, again = erase(operator, " ANN@example.com"), erase(operator)

    assert answer.status_code == again.status_code == 200
    assert answer.json() == again.json() == {"erased": True, "counted_until": "2026-12-01T00:00:00Z"}
    assert [is_pseudonym(name) for name in rows(Contact, "identity")] == [True, False]


def test_one_whom_no_period_counts_is_forgotten_at_once(visited: Account, operator: Caller):
    assert erase(operator, "bob@example.com").json() == {"erased": True, "counted_until": None}
    assert erase(operator, "bob@example.com").status_code == 404


def test_the_reason_is_kept(visited: Account, operator: Caller):
    erase(operator, reason="by letter of 20 November")

    [(reason, actor)] = rows(AuditEntry, "reason", "actor", action="contact.erased")
    assert (reason, actor.startswith("key hc_live_")) == ("by letter of 20 November", True)


@pytest.mark.parametrize(
    ("subject", "slug"), [("cid@example.com", "acme"), ("ann@example.com", "globex"), ("ann@example.com", "nobody")]
)
def test_who_is_missing_or_foreign_is_the_same_404(
    visited: Account, globex: Account, operator: Caller, subject: str, slug: str
):
    answer = erase(operator, subject, slug)

    assert (answer.status_code, answer.json()) == (404, operator.get("accounts/nobody").json())


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("a@b@c", "bad_address"),
        ("", "blank"),
        (" ", "blank"),
        (None, "null"),
        (1, "wrong_type"),
        ("x" * 321, "too_long"),
        ("x" * 256, "too_long"),
        ("\x7fabc", "bad_characters"),
        ("a\0b", "bad_characters"),
    ],
)
def test_a_bad_subject_is_refused(visited: Account, operator: Caller, subject: Any, code: str):
    answer = erase(operator, subject)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert [error["field"] for error in answer.json()["errors"]] == ["subject"]


def test_only_an_operator_may(visited: Account, acme_caller: Caller, stranger: Caller):
    assert erase(acme_caller).status_code == 403
    assert erase(Caller(make_key(None, "write", "read"))).status_code == 403
    assert erase(stranger).status_code == 401
    assert rows(Contact, "identity") == ["ann@example.com", "bob@example.com"]
