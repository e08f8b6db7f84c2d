"""Pages of lists, by cursor; and query parameters of every endpoint, strictly read."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from accounts.models import Account
from metering.models import AccountMeter
from tests.conftest import StoppedClock
from tests.factories import Caller, deliver, event, put_account

pytestmark = pytest.mark.django_db


@pytest.fixture
def seven_accounts(catalogue: None) -> list[str]:
    slugs = [f"customer-{number}" for number in range(7)]
    for slug in reversed(slugs):
        put_account(slug)
    return slugs


def _follow(caller: Caller, address: str) -> Any:
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc) == ("http", "testserver")
    return caller.get(f"{parts.path.removeprefix('/api/v1/')}?{parts.query}").json()


def _slugs(page: Any) -> list[str]:
    return [row["slug"] for row in page["results"]]


def test_pages_are_followed_there_and_back(seven_accounts: list[str], operator: Caller):
    first = operator.get("accounts", page_size=3).json()
    second = _follow(operator, first["next"])
    third = _follow(operator, second["next"])

    assert [_slugs(page) for page in (first, second, third)] == [
        seven_accounts[:3],
        seven_accounts[3:6],
        seven_accounts[6:],
    ]
    assert (first["previous"], third["next"]) == (None, None)
    assert _slugs(_follow(operator, third["previous"])) == seven_accounts[3:6]
    assert _slugs(_follow(operator, second["previous"])) == seven_accounts[:3]


def test_a_row_that_comes_in_between_neither_repeats_nor_hides_another(seven_accounts: list[str], operator: Caller):
    first = operator.get("accounts", page_size=3).json()
    put_account("customer-00")

    assert _slugs(_follow(operator, first["next"])) == seven_accounts[3:6]


@pytest.mark.parametrize("size", ["0", "-1", "1001", "1e3", "1_0", "NaN", "", "%00", "٣", "9" * 30, "10.0", "+5"])
def test_a_page_has_1_to_1000_rows(operator: Caller, size: str):
    answer = operator.get(f"accounts?page_size={size.replace('+', '%2B')}")

    assert (answer.status_code, answer.json()["code"]) == (400, "out_of_range")


def test_a_page_may_have_one_row_or_a_thousand(seven_accounts: list[str], operator: Caller):
    assert len(operator.get("accounts", page_size=1).json()["results"]) == 1
    assert len(operator.get("accounts", page_size=1000).json()["results"]) == 7


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "%00", "cD1hY21l", "cD0yMDI2LTAxLTAx", "bz0xJnA9Zm9v:x:y", "é", "x" * 5_000, "%ff:%ff"],
)
def test_a_cursor_that_was_made_up_is_refused(acme_caller: Caller, operator: Caller, cursor: str):
    for answer in (
        operator.get(f"accounts?cursor={cursor}"),
        acme_caller.get(f"usage/periods?cursor={cursor}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


def test_a_cursor_belongs_to_one_list_of_one_account(
    acme: Account, acme_caller: Caller, initech_caller: Caller, operator: Caller, clock: StoppedClock
):
    deliver(acme, [event()])
    clock.advance(days=20)
    page = acme_caller.get("usage/periods", page_size=1).json()
    [cursor] = parse_qs(urlsplit(page["next"]).query)["cursor"]

    assert _follow(acme_caller, page["next"])["results"][0]["start"] == "2026-11-01T00:00:00Z"
    assert operator.get("usage/periods", account="acme", cursor=cursor).status_code == 200
    for answer in (
        initech_caller.get("usage/periods", cursor=cursor),
        operator.get("usage/periods", account="initech", cursor=cursor),
        operator.get("accounts", cursor=cursor),
        acme_caller.get("usage/periods", cursor=cursor[:-1]),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


ENDPOINTS = ["accounts", "accounts/acme", "accounts/acme/connections/website", "usage?account=acme"]
UNKNOWN = [
    "x=1",
    "key=%00",
    "%00=1",
    "=",
    "%ff=%ff",
    "format=xml",
    "account__keys__digest__startswith=a",
    "limit=-1",
    "offset=1e9",
    "&".join(f"p{number}=1" for number in range(2_000)),
]


@pytest.mark.parametrize("query", UNKNOWN, ids=range(len(UNKNOWN)))
@pytest.mark.parametrize("path", ENDPOINTS)
def test_an_unknown_parameter_is_refused_everywhere(acme: Account, operator: Caller, path: str, query: str):
    answer = operator.get(f"{path}{'&' if '?' in path else '?'}{query}")

    assert answer.status_code == 400
    assert answer.json()["code"] in ("unknown_parameter", "bad_request")


@pytest.mark.parametrize(
    "address",
    [
        "usage?account=acme&account=acme",
        "usage?account=acme&acc%6Funt=acme",
        "accounts?page_size=1&page_size=2",
    ],
)
def test_a_repeated_parameter_is_refused(acme: Account, operator: Caller, address: str):
    assert operator.get(address).json()["code"] == "repeated_parameter"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"dry_run": "1"}, "bad_switch"),
        ({"dry_run": "True"}, "bad_switch"),
        ({"dry_run": ""}, "bad_switch"),
        ({"dryrun": "true"}, "unknown_parameter"),
        ({"account": "acme"}, "unknown_parameter"),
    ],
)
def test_posts_and_puts_read_their_parameters_as_strictly(
    acme: Account, operator: Caller, query: dict[str, Any], code: str
):
    answer = operator.send([event()], **query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)

    assert operator.put("accounts/acme?x=1", {}).json()["code"] == "unknown_parameter"


def test_the_clock_of_an_account_decides_what_is_current(acme: Account, operator: Caller):
    AccountMeter.objects.update(clock=datetime(2026, 5, 5, tzinfo=UTC))

    assert operator.get("usage", account="acme").json()["period"]["start"] == "2026-05-01T00:00:00Z"
    assert operator.get("accounts/acme").json()["state"] == "ok"
