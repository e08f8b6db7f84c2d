"""Usage that has not changed is not sent again."""

from typing import Any

import pytest

from accounts.models import Account
from tests.factories import Caller, deliver, event

pytestmark = pytest.mark.django_db


def ask(caller: Caller, method: str = "GET", path: str = "usage", **headers: str) -> Any:
    """A request with headers."""
    return caller.client.generic(
        method, f"/api/v1/{path}", headers={"Authorization": f"Bearer {caller.key}", **headers}
    )


def etag_of(caller: Caller) -> str:
    """What stands for the answer as it is now."""
    return str(ask(caller).headers["ETag"])


def test_usage_may_be_kept_by_who_asks_but_must_be_asked_about(acme_caller: Caller):
    answer = ask(acme_caller)

    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["ETag"].startswith('"')  # a strong one


@pytest.mark.parametrize("form", ["{0}", "W/{0}", '"other", {0}', '"other",W/{0}', "*"])
def test_who_has_it_already_gets_304_and_no_body(acme_caller: Caller, form: str):
    etag = etag_of(acme_caller)

    answer = ask(acme_caller, **{"If-None-Match": form.format(etag)})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == etag
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert "Content-Type" not in answer.headers


@pytest.mark.parametrize("sent", ['"other"', 'W/"other", "another"', "nonsense", "", '"', "é"])
def test_who_has_something_else_gets_it(acme_caller: Caller, sent: str):
    answer = ask(acme_caller, **{"If-None-Match": sent})

    assert answer.status_code == 200
    assert answer.json()["used"] == 0


def test_when_it_changes_so_does_its_etag(acme: Account, acme_caller: Caller):
    before = etag_of(acme_caller)
    deliver(acme, [event()])

    answer = ask(acme_caller, **{"If-None-Match": before})

    assert (answer.status_code, answer.json()["used"]) == (200, 1)


def test_a_head_is_answered_as_a_get_without_the_body(acme_caller: Caller):
    etag = etag_of(acme_caller)

    assert ask(acme_caller, "HEAD").headers["ETag"] == etag
    assert ask(acme_caller, "HEAD", **{"If-None-Match": etag}).status_code == 304


def test_the_limit_of_reads_is_told_with_a_304_too(acme_caller: Caller, settings: Any):
    settings.READ_RATE = 5
    etag = etag_of(acme_caller)

    answer = ask(acme_caller, **{"If-None-Match": etag})

    assert (answer.status_code, answer.headers["RateLimit"]) == (304, '"reads";r=3;t=1')


def test_an_error_has_no_etag_and_is_never_304(acme_caller: Caller):
    answer = ask(acme_caller, path="usage?account=globex", **{"If-None-Match": "*"})

    assert answer.status_code == 404
    assert "ETag" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


def test_two_accounts_that_have_the_same_number_have_answers_of_their_own(acme_caller: Caller, globex_caller: Caller):
    assert etag_of(acme_caller) != etag_of(globex_caller)


def test_a_condition_that_does_not_hold_is_a_problem(acme_caller: Caller):
    answer = ask(acme_caller, **{"If-Match": '"other"'})

    assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert ask(acme_caller, **{"If-Match": etag_of(acme_caller)}).status_code == 200


def test_other_reads_are_not_kept(acme_caller: Caller):
    answer = ask(acme_caller, path="subscription")

    assert (answer.headers["Cache-Control"], "ETag" in answer.headers) == ("no-store", False)
