"""Errors that belong to no endpoint: unknown paths, other methods, our own failures."""

import logging
from typing import Any

import pytest
from django.db import OperationalError

from tests.conftest import StoppedClock
from tests.factories import Caller, event, make_key

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/",
        "/api/v1/usage/",
        "/api/v2/usage",
        "/api/v1/nope",
        "/api/%00",
        "/api/%ff",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("debug", [True, False])
def test_an_unknown_path_below_api_is_a_problem(stranger: Caller, settings: Any, path: str, method: str, debug: bool):
    settings.DEBUG = debug
    answer = stranger.client.generic(method, path)

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


def test_an_unknown_path_elsewhere_is_a_page(stranger: Caller):
    answer = stranger.client.get("/nope")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "OPTIONS", "PUT", "BREW"])
def test_another_method_is_told_which_there_are(acme_caller: Caller, method: str):
    answer = acme_caller._ask(method, "usage")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense", "*/*;q=0", "application/json; q=0"])
def test_there_is_one_representation_whatever_is_accepted(acme_caller: Caller, accept: str):
    headers = {"Authorization": f"Bearer {acme_caller.key}", "Accept": accept}

    answer = acme_caller.client.get("/api/v1/usage", headers=headers)
    problem = acme_caller.client.get("/api/v1/usage?x=1", headers=headers)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert (problem.status_code, problem.headers["Content-Type"]) == (400, "application/problem+json")


def test_a_head_is_a_get_without_a_body(acme_caller: Caller):
    answer = acme_caller._ask("HEAD", "usage")

    assert (answer.status_code, answer.content) == (200, b"")
    assert acme_caller._ask("HEAD", "usage?x=1").status_code == 400


def test_answers_are_not_for_caches(acme_caller: Caller):
    assert acme_caller.get("gaps").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("debug", [True, False])
def test_our_own_failure_tells_nothing_and_is_logged(
    acme: Any,
    clock: StoppedClock,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    debug: bool,
):
    def fail(*args: Any) -> None:
        raise RuntimeError("the secret is hunter2")

    settings.DEBUG = debug
    monkeypatch.setattr("billing_site.api.usage.usage", fail)

    with caplog.at_level(logging.ERROR):
        answer = Caller(make_key(acme), raises=False).get("usage")

    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal_error",
        "detail": "Something went wrong here. It was noted.",
    }
    [record] = caplog.records
    assert (record.levelname, record.exc_info is not None) == ("ERROR", True)


def test_in_tests_our_own_failure_is_raised(acme_caller: Caller, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("billing_site.api.usage.usage", lambda *args: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        acme_caller.get("usage")


def test_a_failure_before_a_view_is_a_problem_too(stranger: Caller, settings: Any, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: Any) -> None:
        raise RuntimeError("the secret is hunter2")

    stranger.client.raise_request_exception = False
    monkeypatch.setattr("django.middleware.common.CommonMiddleware.process_request", fail)

    answer = stranger.get("usage")
    page = stranger.client.get("/admin/")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert (page.status_code, page.headers["Content-Type"]) == (500, "text/html; charset=utf-8")


def test_a_host_that_we_are_not_is_a_bad_request(acme_caller: Caller):
    headers = {"Authorization": f"Bearer {acme_caller.key}", "Host": "evil.example"}

    answer = acme_caller.client.get("/api/v1/usage", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_database_that_does_not_answer_is_no_fault_of_the_client(
    acme_caller: Caller, monkeypatch: pytest.MonkeyPatch
):
    def gone(*args: Any, **options: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("billing_site.api.events.take_in", gone)

    answer = acme_caller.send([event()])

    assert (answer.status_code, answer.json()["code"]) == (503, "try_again")
    assert answer.headers["Retry-After"] == "2"
