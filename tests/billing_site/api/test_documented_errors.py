"""Every error that the API's description documents can be provoked: each operation has a good request, and each of its
codes a way to spoil it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client, override_settings
from psycopg.errors import LockNotAvailable

from accounts.models import Account, ApiKey
from accounts.read_limit import take_read
from billing_site.api.bodies import MAX_OBJECT
from metering import steering
from metering.envelope import MAX_BODY, MAX_EVENTS
from metering.members import MAX_LINES
from metering.models import Event, EventState
from plans.models import Tier
from tests.billing_site.api.description import Operation, operations, undocumented
from tests.conftest import StoppedClock
from tests.factories import ACTOR, NOW, deliver, event, make_key, put_account, put_connection, unguarded

pytestmark = pytest.mark.django_db

JSON, LINES = "application/json", "application/x-ndjson"
LATER = datetime(2026, 12, 20, tzinfo=UTC)
ACCOUNT: dict[str, str] = {"account": "acme"}
WHY = {"reason": "the tests"}


@dataclass(frozen=True)
class Ask:
    """A request with the operator's key, or with `key`; `around` holds while it is made."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    more: str = ""
    key: Callable[[], str | None] = make_key
    around: Callable[[], Any] = nullcontext

    def answer(self) -> Any:
        key = self.key()
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        body = (
            b"" if self.body is None else self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        )
        if self.body is not None:
            headers["Content-Type"] = self.kind
        address = f"/api/v1{self.path}?{urlencode(self.query)}{self.more}"
        with self.around():
            return Client().generic(self.method, address, body, self.kind, headers={**headers, **self.headers})


def act(action: str, **given: str) -> Ask:
    return Ask("POST", f"/accounts/acme/{action}", body={**WHY, **given})


SYNC = "pipedrive-mailchimp"
GOOD: dict[str, Ask] = {
    "postEvents": Ask("POST", "/events", body=[event(account="acme", id="another")], kind=JSON),
    "voidEvent": Ask("POST", "/events/void", ACCOUNT, body={"source": SYNC, "id": "evt-1", **WHY}),
    "getUsage": Ask("GET", "/usage", ACCOUNT),
    "listDays": Ask("GET", "/usage/daily", ACCOUNT),
    "listPeriods": Ask("GET", "/usage/periods", ACCOUNT),
    "getPeriod": Ask("GET", "/usage/periods/2026-11-01T00:00:00Z", ACCOUNT),
    "getConnectionStatus": Ask("GET", f"/connections/{SYNC}/status", ACCOUNT),
    "listContacts": Ask("GET", "/usage/contacts", ACCOUNT),
    "exportContacts": Ask("GET", "/usage/export", ACCOUNT),
    "seeWhatIf": Ask("GET", "/usage/what-if", {**ACCOUNT, "without_reason": "email_sent"}),
    "getContact": Ask("GET", "/usage/contacts/ann@example.com", ACCOUNT),
    "listSubscriptions": Ask("GET", "/subscription", ACCOUNT),
    "listPlans": Ask("GET", "/plans", ACCOUNT),
    "listNotifications": Ask("GET", "/notifications", ACCOUNT),
    "listGaps": Ask("GET", "/gaps", ACCOUNT),
    "listHeld": Ask("GET", "/held", ACCOUNT),
    "listAccounts": Ask("GET", "/accounts"),
    "getAccount": Ask("GET", "/accounts/acme"),
    "putAccount": Ask("PUT", "/accounts/acme", body={"name": "Acme Ltd"}),
    "makeUsageLink": Ask("POST", "/accounts/acme/usage-link", body={}),
    "eraseContact": Ask("POST", "/accounts/acme/erase", body={"subject": "ann@example.com"}),
    "listConnections": Ask("GET", "/connections", ACCOUNT),
    "getConnection": Ask("GET", f"/accounts/acme/connections/{SYNC}"),
    "putConnection": Ask("PUT", f"/accounts/acme/connections/{SYNC}", body={"name": "A sync"}),
    "putMembers": Ask(
        "PUT", f"/accounts/acme/connections/{SYNC}/members", body=b'{"subject": "ann@example.com"}\n', kind=LINES
    ),
    "pauseAccount": act("pause"),
    "resumeAccount": act("resume"),
    "upgradeAccount": act("upgrade", tier="professional"),
    "downgradeAccount": act("downgrade", tier="starter"),
    "replayHeld": act("replay"),
    "closeAccount": act("close"),
}
KNOWS_ANN = ("voidEvent", "getContact", "eraseContact", "getPeriod")

LIMIT_OF_BODY = {"postEvents": MAX_BODY, "putMembers": 256 * 2**20}
TEXT_FIELD = {"putAccount": "name", "putConnection": "name", "eraseContact": "subject"}


# --- The world, and what goes wrong in it ----------------------------------------------------------------------------


@pytest.fixture
def acme_with_ann(catalogue: None, clock: StoppedClock) -> Account:
    account = put_account("acme", plan="connect", tier="growth")
    put_connection(account, SYNC)
    put_connection(account, "website", "web_tracking")
    return account


def know_ann(account: Account) -> None:
    deliver(account, [event(id="evt-1", source=SYNC, type="contact.matched", subject="ann@example.com")])


@contextmanager
def no_database() -> Iterator[None]:
    def fail(*args: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(fail):
        yield


@contextmanager
def somebody_holds_the_account() -> Iterator[None]:
    def wait(execute: Any, sql: str, *args: Any) -> Any:
        if "FOR UPDATE" in sql:
            raise OperationalError("canceling statement due to lock timeout") from LockNotAvailable()
        return execute(sql, *args)

    with connection.execute_wrapper(wait):
        yield


@contextmanager
def one_read_a_second() -> Iterator[None]:
    with override_settings(READ_RATE=1):
        yield


def key_that_has_read() -> str:
    key = make_key(Account.objects.get(slug="acme"), "read")
    take_read(ApiKey.objects.latest("pk").pk, 1, NOW)
    return key


# --- How a good request is spoilt, whatever it is --------------------------------------------------------------------

type Spoil = Callable[[Operation, Ask], Ask]


def asking(**query: str) -> Spoil:
    return lambda operation, ask: replace(ask, query={**ask.query, **query})


def sending(body: Any) -> Spoil:
    return lambda operation, ask: replace(ask, body=body)


def with_header(**headers: str) -> Spoil:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda operation, ask: replace(ask, headers=named)


def with_field(**given: Any) -> Spoil:
    return lambda operation, ask: replace(ask, body={**ask.body, **given})


def with_text(value: Any) -> Spoil:
    """In a text field that the operation has."""
    return lambda operation, ask: replace(ask, body={**ask.body, TEXT_FIELD.get(operation.id, "reason"): value})


def elsewhere(path: str) -> Spoil:
    return lambda operation, ask: replace(ask, path=path)


def without_scope(operation: Operation, ask: Ask) -> Ask:
    [[scope]] = [each["key"] for each in operation.found["security"]]
    others = [each for each in ("read", "write", "operate") if each != scope]
    return replace(ask, key=lambda: make_key(None, *others))


def twice(operation: Operation, ask: Ask) -> Ask:
    name = next(each["name"] for each in operation.found["parameters"] if each["in"] == "query")
    value = ask.query.get(name, "1")
    return replace(ask, query={**ask.query, name: value}, more=f"&{urlencode({name: value})}")


def without_account(operation: Operation, ask: Ask) -> Ask:
    return replace(ask, query={})


def of_nobody(operation: Operation, ask: Ask) -> Ask:
    if "account" in ask.query:
        return replace(ask, query={**ask.query, "account": "nobody"})
    return replace(ask, path=ask.path.replace("/acme", "/nobody"))


def too_large(operation: Operation, ask: Ask) -> Ask:
    return replace(ask, headers={"Content-Length": str(LIMIT_OF_BODY.get(operation.id, MAX_OBJECT) + 1)})


def cut_off(operation: Operation, ask: Ask) -> Ask:
    return replace(ask, headers={"Content-Length": "40000"})


def in_latin_1(operation: Operation, ask: Ask) -> Ask:
    return replace(ask, kind=f"{ask.kind}; charset=latin-1")


def as_plain_text(operation: Operation, ask: Ask) -> Ask:
    return replace(ask, kind="text/plain")


def while_held(operation: Operation, ask: Ask) -> Ask:
    return replace(ask, around=somebody_holds_the_account)


def without_database(operation: Operation, ask: Ask) -> Ask:
    return replace(ask, around=no_database)


def without_key(operation: Operation, ask: Ask) -> Ask:
    return replace(ask, key=lambda: None)


def too_fast(operation: Operation, ask: Ask) -> Ask:
    return replace(ask, key=key_that_has_read, around=one_read_a_second)


def missing(operation: Operation, ask: Ask) -> Ask:
    return replace(ask, body={})


SPOILT: dict[str, Spoil] = {
    "unauthorized": without_key,
    "forbidden": without_scope,
    "not_found": of_nobody,
    "account_busy": while_held,
    "try_again": without_database,
    "too_many_requests": too_fast,
    "precondition_failed": with_header(If_Match='"another"'),
    "bad_request": with_header(Host="evil.example"),
    "unknown_parameter": asking(nothing="1"),
    "repeated_parameter": twice,
    "account_required": without_account,
    "bad_cursor": asking(cursor="made up"),
    "bad_date": asking(**{"from": "yesterday"}),
    "from_after_to": asking(**{"from": "2026-11-22", "to": "2026-11-21"}),
    "too_many_days": asking(**{"from": "2024-01-01", "to": "2026-01-01"}),
    "body_too_large": too_large,
    "unsupported_media_type": as_plain_text,
    "unsupported_charset": in_latin_1,
    "unsupported_encoding": with_header(Content_Encoding="br"),
    "bad_gzip": with_header(Content_Encoding="gzip"),
    "cut_off": cut_off,
    "bad_encoding": sending(b"\xff\xfe{}"),
    "empty_body": sending(b" "),
    "too_deep": sending(b'{"a":' * 10_000),
    "bad_json": sending(b"{"),
    "not_an_object": sending(b"[]"),
    "unknown_field": with_field(nothing=1),
    "missing_field": missing,
    "wrong_type": with_text([]),
    "null": with_text(None),
    "blank": with_text(" "),
    "too_long": with_text("x" * 2_000),
    "bad_characters": with_text("\a"),
    "invalid": lambda operation, ask: with_field(nothing=1)(operation, with_text([])(operation, ask)),
}


# --- And what only some can answer -----------------------------------------------------------------------------------


def of_list(code: str, body: bytes) -> dict[tuple[str, str], Spoil]:
    return {("putMembers", code): sending(body)}


def after(prepare: Callable[[Account], Any], spoil: Spoil = lambda operation, ask: ask) -> Spoil:
    """The account is brought into a state first."""

    def spoilt(operation: Operation, ask: Ask) -> Ask:
        prepare(Account.objects.get(slug="acme"))
        return spoil(operation, ask)

    return spoilt


def close(account: Account) -> None:
    steering.close(account, actor=ACTOR, now=NOW, **WHY)


def pause(account: Account) -> None:
    steering.pause(account, actor=ACTOR, now=NOW, **WHY)


def end_trial(account: Account) -> None:
    with unguarded():
        Tier.objects.filter(key="growth").update(trial=True)
    put_account("acme", trial_ends_at=datetime(2026, 11, 20, tzinfo=UTC))


def use_too_much(account: Account) -> None:
    with unguarded():
        Tier.objects.filter(key="starter").update(limit=1)
    deliver(account, [event(source=SYNC), event(source=SYNC)])


def make_late(account: Account) -> None:
    Event.objects.update(state=EventState.LATE)


OWN: dict[tuple[str, str], Spoil] = {
    ("postEvents", "bad_switch"): asking(dry_run="1"),
    ("postEvents", "not_events"): sending(b"1"),
    ("postEvents", "too_many_events"): sending(b"[" + b"{}," * MAX_EVENTS + b"{}]"),
    ("voidEvent", "two_accounts"): with_field(account="globex"),
    ("voidEvent", "not_counted"): after(make_late),
    ("listContacts", "bad_time"): asking(period="yesterday"),
    ("listContacts", "unknown_reason"): asking(reason="nothing"),
    ("listContacts", "bad_switch"): asking(refused="1"),
    ("exportContacts", "bad_time"): asking(period="yesterday"),
    ("exportContacts", "unknown_reason"): asking(reason="nothing"),
    ("exportContacts", "bad_switch"): asking(refused="1"),
    ("seeWhatIf", "one_change"): asking(score_expiry_days="30"),
    ("seeWhatIf", "unknown_reason"): asking(without_reason="nothing"),
    ("seeWhatIf", "out_of_range"): lambda operation, ask: replace(ask, query={**ACCOUNT, "score_expiry_days": "0"}),
    ("putAccount", "bad_slug"): elsewhere("/accounts/A"),
    ("putAccount", "bad_address"): with_field(billing_email="x"),
    ("putAccount", "bad_time"): with_field(signed_up_at="x"),
    ("putAccount", "out_of_range"): with_field(limit_override=0),
    ("putAccount", "unknown_choice"): with_field(at_limit="x"),
    ("putAccount", "unknown_timezone"): with_field(timezone="x"),
    ("putAccount", "unknown_plan"): lambda operation, ask: replace(ask, path="/accounts/new", body={"plan": "x"}),
    ("putAccount", "unknown_tier"): lambda operation, ask: replace(ask, path="/accounts/new", body={"tier": "x"}),
    ("putAccount", "fixed"): with_field(anchor="2026-03-02T00:00:00Z"),
    ("putAccount", "use_upgrade_or_downgrade"): with_field(tier="starter"),
    ("makeUsageLink", "unknown_field"): with_field(nothing=1),
    ("eraseContact", "bad_address"): with_field(subject="a@b@c"),
    ("putConnection", "bad_key"): elsewhere("/accounts/acme/connections/a%20b"),
    ("putConnection", "missing_field"): elsewhere("/accounts/acme/connections/new"),
    ("putConnection", "out_of_range"): with_field(score_expiry_days=0),
    ("putConnection", "unknown_choice"): with_field(kind="x"),
    ("putConnection", "fixed"): with_field(kind="automation"),
    ("putMembers", "not_a_contact_sync"): elsewhere("/accounts/acme/connections/website/members"),
    **of_list("bad_json", b"{"),
    **of_list("not_an_object", b"[]"),
    **of_list("unknown_field", b'{"subject": "ann@example.com", "nothing": 1}'),
    **of_list("missing_field", b"{}"),
    **of_list("wrong_type", b'{"subject": 1}'),
    **of_list("blank", b'{"subject": " "}'),
    **of_list("bad_characters", b'{"subject": "\\u0007"}'),
    **of_list("bad_address", b'{"subject": "a@b@c"}'),
    **of_list("too_long", b" " * 20_000),
    **of_list("too_many_lines", b"\n" * (MAX_LINES + 1)),
    ("resumeAccount", "trial_ended"): after(end_trial),
    ("upgradeAccount", "unknown_tier"): with_field(tier="x"),
    ("upgradeAccount", "not_higher"): with_field(tier="starter"),
    ("upgradeAccount", "trial_tier"): with_field(tier="trial"),
    ("upgradeAccount", "account_closed"): after(close),
    ("downgradeAccount", "unknown_plan"): with_field(plan="x"),
    ("downgradeAccount", "unknown_tier"): with_field(tier="x"),
    ("downgradeAccount", "not_lower"): with_field(tier="professional"),
    ("downgradeAccount", "trial_tier"): with_field(tier="trial"),
    ("downgradeAccount", "over_target"): after(use_too_much),
    ("downgradeAccount", "account_closed"): after(close),
    ("replayHeld", "paused"): after(pause),
}
# Of lists, a page that cannot be.
OWN |= {(name, "out_of_range"): asking(page_size="0") for name in GOOD if name.startswith("list")}

LATER_ON = {("getContact", "account_busy"), ("getPeriod", "account_busy"), ("voidEvent", "period_closed")}
"""What happens when the time has moved into another period."""
AS_IT_IS: Spoil = lambda operation, ask: ask  # noqa: E731 - of the table
OWN[("voidEvent", "period_closed")] = AS_IT_IS


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.id)
def test_every_documented_error_can_be_provoked(operation: Operation, acme_with_ann: Account, clock: StoppedClock):
    if operation.id in KNOWS_ANN:
        know_ann(acme_with_ann)

    found = {}
    for status, code in operation.codes():
        with transaction.atomic():
            spoil = OWN.get((operation.id, code)) or SPOILT[code]
            ask = spoil(operation, GOOD[operation.id])
            clock.move_to(LATER if (operation.id, code) in LATER_ON else NOW)
            answer = ask.answer()
            found[status, code] = (answer.status_code, answer.json().get("code"))
            assert list(undocumented(ask.method, ask.path, answer)) == []
            transaction.set_rollback(True)

    assert found == {documented: documented for documented in operation.codes()}


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.id)
def test_every_operation_has_a_good_request(operation: Operation, acme_with_ann: Account, clock: StoppedClock):
    if operation.id in KNOWS_ANN:
        know_ann(acme_with_ann)
    ask = GOOD[operation.id]

    answer = ask.answer()

    assert answer.status_code == 200
    assert list(undocumented(ask.method, ask.path, answer)) == []
