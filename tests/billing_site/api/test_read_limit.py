"""How often an account may read, what it is told of that, and whom the limit leaves alone."""

from typing import Any

import pytest

from accounts.models import Account
from tests.conftest import StoppedClock
from tests.factories import Caller, event, make_key

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def three_a_second(settings: Any) -> None:
    """The limit of these tests."""
    settings.READ_RATE = 3


def told(answer: Any) -> tuple[int, str | None, str | None]:
    """Status, and what the headers say of the limit."""
    return answer.status_code, answer.headers.get("RateLimit-Policy"), answer.headers.get("RateLimit")


def test_every_read_says_how_many_more_may_follow(acme_caller: Caller):
    policy = '"reads";q=3;w=1'

    assert [told(acme_caller.get("usage")) for _ in range(4)] == [
        (200, policy, '"reads";r=2;t=1'),
        (200, policy, '"reads";r=1;t=1'),
        (200, policy, '"reads";r=0;t=1'),
        (429, policy, '"reads";r=0;t=1'),
    ]


def test_one_too_many_is_a_problem_that_says_when_to_go_on(acme_caller: Caller, clock: StoppedClock):
    *_, answer = [acme_caller.get("usage") for _ in range(4)]

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert (answer.json()["title"], answer.json()["code"]) == ("Too Many Requests", "too_many_requests")
    clock.advance(seconds=1)
    assert acme_caller.get("usage").status_code == 200


def test_reads_that_fail_count_too(acme_caller: Caller):
    paths = ["connections/nothing/status", "usage?nonsense=1", "usage?account=globex", "usage"]

    assert [acme_caller.get(path).status_code for path in paths] == [404, 400, 404, 429]


def test_a_head_is_a_read(acme_caller: Caller):
    headers = {"Authorization": f"Bearer {acme_caller.key}"}

    found = [acme_caller.client.head("/api/v1/usage", headers=headers).status_code for _ in range(4)]

    assert found == [200, 200, 200, 429]


def test_each_key_has_its_own(acme: Account, acme_caller: Caller):
    assert [acme_caller.get("usage").status_code for _ in range(4)][-1] == 429

    assert Caller(make_key(acme)).get("usage").status_code == 200


def test_events_are_never_limited(acme_caller: Caller):
    assert [acme_caller.get("usage").status_code for _ in range(4)][-1] == 429

    assert {told(acme_caller.send([event()])) for _ in range(9)} == {(200, None, None)}


def test_the_operator_is_never_limited(acme: Account, operator: Caller):
    assert {told(operator.get("usage", account="acme")) for _ in range(9)} == {(200, None, None)}


def test_zero_is_no_limit(acme_caller: Caller, settings: Any):
    settings.READ_RATE = 0

    assert {told(acme_caller.get("usage")) for _ in range(9)} == {(200, None, None)}


def test_a_limited_read_costs_one_query_more(acme_caller: Caller, django_assert_num_queries: Any):
    acme_caller.get("usage")  # the use of the key is noted

    with django_assert_num_queries(2):
        acme_caller.get("usage", account="globex")
    with django_assert_num_queries(2):
        acme_caller.get("usage", account="nobody")


def test_a_refused_read_is_not_even_looked_at(acme_caller: Caller, django_assert_num_queries: Any):
    for _ in range(3):
        acme_caller.get("usage")

    with django_assert_num_queries(2):
        acme_caller.get("usage?nonsense=1")
