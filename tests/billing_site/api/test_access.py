"""Who may do what: keys, scopes, and whose data is whose."""

import logging
from datetime import timedelta
from typing import Any

import pytest

from accounts import keys
from accounts.models import Account, ApiKey
from tests.factories import NOW, Caller, event, make_key

pytestmark = pytest.mark.django_db

READS = [
    "usage",
    "usage/periods",
    "usage/periods/2026-11-01T00:00:00Z",
    "connections/website/status",
    "subscription",
    "plans",
    "notifications",
    "gaps",
    "held",
]
OPERATOR_PATHS = ["accounts", "accounts/acme", "accounts/nobody", "accounts/acme/connections/website"]
NO_SUCH_RESOURCE = {
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "code": "not_found",
    "detail": "There is no such resource.",
}


def _bad_headers(acme: Account) -> list[str | None]:
    good = make_key(acme)
    revoked = make_key(acme)
    ApiKey.objects.filter(prefix=revoked[:16]).update(revoked_at=NOW)
    wrong_secret = f"{good[:16]}_{'A' * 43}"
    return [
        None,
        "",
        "Bearer",
        "Bearer ",
        good,
        f"Basic {good}",
        f"Bearer {good} {good}",
        f"Bearer {good}x",
        f"Bearer {good[:-1]}",
        f"Bearer {wrong_secret}{keys._checksum(wrong_secret)}",
        f"Bearer {revoked}",
        f"Bearer {make_key(acme, now=NOW - timedelta(days=2), expires_at=NOW - timedelta(days=1))}",
        "Bearer " + "x" * 10_000,
        "Bearer \0",
        "Bearer é",
        "Bearer hc_live_",
    ]


def test_without_a_good_key_every_answer_is_the_same_401(acme: Account, clock: Any):
    answers = set()
    for header in _bad_headers(acme):
        headers = {} if header is None else {"Authorization": header}
        answer = Caller(None).client.get("/api/v1/usage", headers=headers)
        assert answer.status_code == 401, header
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        answers.add(answer.content)

    assert len(answers) == 1


def test_every_path_wants_a_key(stranger: Caller, db: None):
    for path in READS + OPERATOR_PATHS:
        assert stranger.get(path).status_code == 401
    assert stranger.send([event()]).status_code == 401
    assert stranger.put("accounts/acme", {}).status_code == 401


def test_a_key_in_the_query_string_is_no_key(acme: Account, stranger: Caller):
    assert stranger.get("usage", key=make_key(acme)).status_code == 401


def test_the_scheme_is_written_as_one_likes(acme: Account, clock: Any):
    good = make_key(acme)
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {good}"}
        assert Caller(None).client.get("/api/v1/usage", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("scope", "of_operator"),
    [("write", True), ("write", False), ("read", True), ("read", False), ("operate", True)],
)
def test_each_scope_opens_its_own_paths_and_no_other(acme: Account, clock: Any, scope: str, of_operator: bool):
    caller = Caller(make_key(None if of_operator else acme, scope))
    query = {"account": "acme"} if of_operator else {}

    assert caller.send([]).status_code == (200 if scope == "write" else 403)
    for path in READS:
        caller_may = scope == "read"
        assert (caller.get(path, **query).status_code == 403) is not caller_may, path
    for path in OPERATOR_PATHS:
        assert (caller.get(path).status_code == 403) is (scope != "operate"), path
    assert caller.put("accounts/acme", {}).status_code == (200 if scope == "operate" else 403)


def test_lacking_scope_has_one_body(acme: Account, clock: Any):
    caller = Caller(make_key(acme, "write"))

    assert len({caller.get(path).content for path in READS + OPERATOR_PATHS}) == 1


@pytest.mark.parametrize("path", READS)
def test_an_operator_says_whose_data_it_asks_for(acme: Account, operator: Caller, path: str):
    answer = operator.get(path)

    assert (answer.status_code, answer.json()["code"]) == (400, "account_required")
    assert operator.get(path, account="acme").status_code == 200
    assert operator.get(path, account="nobody").json() == NO_SUCH_RESOURCE


@pytest.mark.parametrize("slug", ["", "\0", "A", "a" * 64, "acme\n", "acme ", "\ud7ff", "../acme"])
def test_what_cannot_be_a_slug_names_no_account(acme: Account, operator: Caller, slug: str):
    answer = operator.get("usage", account=slug)

    assert (answer.status_code, answer.json()) == (404, NO_SUCH_RESOURCE)


def test_an_account_may_name_itself(acme_caller: Caller):
    for path in READS:
        assert acme_caller.get(path, account="acme").content == acme_caller.get(path).content


@pytest.mark.parametrize("path", READS)
def test_a_foreign_account_cannot_be_told_from_a_missing_one(
    globex: Account, acme_caller: Caller, django_assert_num_queries: Any, path: str
):
    acme_caller.get("usage")  # the use of the key is noted

    with django_assert_num_queries(1):
        foreign = acme_caller.get(path, account="globex")
    with django_assert_num_queries(1):
        missing = acme_caller.get(path, account="nobody")

    assert foreign.status_code == 404
    assert (foreign.content, foreign.headers) == (missing.content, missing.headers)


def test_a_foreign_connection_cannot_be_told_from_a_missing_one(
    globex: Account, acme_caller: Caller, django_assert_num_queries: Any
):
    acme_caller.get("usage")

    with django_assert_num_queries(2):
        foreign = acme_caller.get("connections/instagram/status")
    with django_assert_num_queries(2):
        missing = acme_caller.get("connections/nothing/status")

    assert foreign.status_code == 404
    assert (foreign.content, foreign.headers) == (missing.content, missing.headers)


def test_the_use_of_a_key_is_noted(acme_caller: Caller):
    acme_caller.get("usage")

    assert ApiKey.objects.get().last_used_at == NOW


def test_no_key_reaches_a_log(acme: Account, clock: Any, caplog: pytest.LogCaptureFixture):
    good = make_key(acme)
    with caplog.at_level(logging.DEBUG):
        Caller(good).get("nowhere")
        Caller(good).send([{}])
        Caller(good[:-1] + "!").get("usage")
        Caller(None).get("usage", key=good)

    assert good[17:50] not in caplog.text
