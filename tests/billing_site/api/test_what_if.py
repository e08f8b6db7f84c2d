"""`usage/what-if`: how much less, without something."""

from typing import Any

import pytest

from accounts.models import Account
from tests.factories import Caller, deliver, event
from tests.metering.test_usage import deliver_mixed

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ({"without_reason": "web_visit"}, {"used": 3, "would_be": 2, "saved": 1}),
        ({"without_connection": "mailchimp-pipedrive"}, {"used": 3, "would_be": 2, "saved": 1}),
        ({"score_expiry_days": 30}, {"used": 3, "would_be": 3, "saved": 0}),
    ],
)
def test_what_if_tells_the_exact_saving(acme: Account, acme_caller: Caller, query: Any, answer: dict[str, int]):
    deliver_mixed(acme)

    assert acme_caller.get("usage/what-if", **query).json() == answer


def test_on_the_event_unit_a_reason_is_a_type(initech: Account, initech_caller: Caller):
    deliver(initech, [event(source="typeform")])

    answer = initech_caller.get("usage/what-if", without_reason="engagement.email_opened").json()

    assert answer == {"used": 1, "would_be": 0, "saved": 1}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, "one_change"),
        ({"without_reason": "web_visit", "score_expiry_days": 3}, "one_change"),
        ({"without_reason": "opens"}, "unknown_reason"),
        ({"score_expiry_days": 0}, "out_of_range"),
        ({"score_expiry_days": 36_501}, "out_of_range"),
        ({"score_expiry_days": "a week"}, "out_of_range"),
        ({"without_type": "web.visited"}, "unknown_parameter"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(acme_caller: Caller, query: Any, code: str):
    answer = acme_caller.get("usage/what-if", **query)

    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("key", ["nowhere", "", "?"])
def test_a_connection_that_does_not_exist_is_not_found(acme_caller: Caller, key: str):
    assert acme_caller.get("usage/what-if", without_connection=key).status_code == 404
