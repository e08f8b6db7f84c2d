"""Two accounts times every URL and method: what is another's answers exactly as what does not exist.

Every URL of the API has an entry here; a new one without fails `test_every_url_and_method_is_asked`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import pytest

from accounts.models import Account
from billing_site.api.urls import urlpatterns
from tests.factories import Caller, deliver, event
from tests.wire import statements

pytestmark = pytest.mark.django_db

THEIRS = {
    "account": "globex",
    "connection": "instagram",
    "subject": "theirs@example.com",
    "start": "2026-10-31T23:00:00Z",
    "event": "their-event",
}
"""What Acme and its key are asked about: all of it exists, as Globex's."""

NOBODYS = {
    "account": "nobody",
    "connection": "nonesuch1",
    "subject": "nobody@example.com",
    "start": "2026-10-31T22:00:00Z",
    "event": "no-event-ev",
}
"""The same of nobody's."""


class Asked(NamedTuple):
    """A request by Acme's key, or the operator's, that names something; what it is answered if that does not exist."""

    request: str
    status: int = 404
    by: str = "acme"
    body: Any = None


def reads(path: str) -> Sequence[Asked]:
    """A list of an account: by its name, which is nobody else's to say."""
    return [Asked(f"GET {path}?account={{account}}")]


def is_the_operators(*requests: str) -> Sequence[Asked]:
    """An account's key may do nothing here, whether there is such an account or not."""
    return [Asked(request, status=403) for request in requests]


VOIDED = {"source": "{connection}", "id": "{event}", "reason": "a mistake", "account": "acme"}
ENTRIES: Mapping[str, Sequence[Asked]] = {
    "events": [
        Asked("POST events", 200, body=event(id="1", account="{account}")),
        Asked("POST events", 200, body=event(id="1", source="{connection}")),
    ],
    "events/void": [
        *is_the_operators("POST events/void?account={account}"),
        Asked("POST events/void", by="operator", body=VOIDED),
    ],
    "accounts": is_the_operators("GET accounts"),
    "accounts/<str:slug>": is_the_operators("GET accounts/{account}", "PUT accounts/{account}"),
    "accounts/<str:slug>/connections/<str:key>": [
        *is_the_operators("GET accounts/{account}/connections/{connection}"),
        *is_the_operators("PUT accounts/{account}/connections/{connection}"),
        Asked("GET accounts/acme/connections/{connection}", by="operator"),
        Asked("PUT accounts/acme/connections/{connection}", 201, by="operator", body={"kind": "automation"}),
    ],
    "accounts/<str:slug>/connections/<str:key>/members": [
        *is_the_operators("PUT accounts/{account}/connections/{connection}/members"),
        Asked("PUT accounts/acme/connections/{connection}/members", by="operator", body={"subject": "a@example.com"}),
    ],
    "accounts/<str:slug>/erase": [
        *is_the_operators("POST accounts/{account}/erase"),
        Asked("POST accounts/acme/erase", by="operator", body={"subject": "{subject}"}),
    ],
    **{
        f"accounts/<str:slug>/{action}": is_the_operators(f"POST accounts/{{account}}/{action}")
        for action in ("usage-link", "pause", "resume", "upgrade", "downgrade", "replay", "close")
    },
    "usage": reads("usage"),
    "usage/daily": reads("usage/daily"),
    "usage/periods": reads("usage/periods"),
    "usage/periods/<str:start>": [
        Asked("GET usage/periods/{start}"),
        Asked("GET usage/periods/2026-11-01T00:00:00Z?account={account}"),
    ],
    "usage/contacts": [
        *reads("usage/contacts"),
        Asked("GET usage/contacts?connection={connection}"),
        Asked("GET usage/contacts?period={start}"),
    ],
    "usage/contacts/<path:subject>": [
        Asked("GET usage/contacts/{subject}"),
        Asked("GET usage/contacts/ours@example.com?account={account}"),
    ],
    "usage/export": [
        *reads("usage/export"),
        Asked("GET usage/export?connection={connection}"),
        Asked("GET usage/export?period={start}"),
    ],
    "usage/what-if": [
        Asked("GET usage/what-if?without_reason=email_sent&account={account}"),
        Asked("GET usage/what-if?without_connection={connection}"),
    ],
    "connections": reads("connections"),
    "connections/<str:key>/status": [
        Asked("GET connections/{connection}/status"),
        Asked("GET connections/website/status?account={account}"),
    ],
    "subscription": reads("subscription"),
    "plans": reads("plans"),
    "notifications": reads("notifications"),
    "gaps": reads("gaps"),
    "held": reads("held"),
}
URLS: Mapping[str, Any] = {str(each.pattern): cast(Any, each.callback).view_class for each in urlpatterns}
ALL_METHODS = ("GET", "HEAD", "PUT", "POST")


@pytest.fixture
def callers(acme: Account, globex: Account, acme_caller: Caller, operator: Caller) -> Mapping[str, Caller]:
    """Who asks. Both accounts have counted; what a key and a first read leave behind is written already."""
    deliver(acme, [event(subject="ours@example.com")])
    deliver(globex, [event(subject="theirs@example.com", id="their-event", source="instagram")])
    acme_caller.get("usage")
    operator.get("usage", account="globex")
    return {"acme": acme_caller, "operator": operator}


class Answer(NamedTuple):
    status: int
    body: str
    queries: int


def ask(caller: Caller, request: str, body: Any, names: Mapping[str, str]) -> Answer:
    """What is answered to a request in which these names stand; in the answer they are called alike."""
    method, _, path = _filled(request, {name: quote(value) for name, value in names.items()}).partition(" ")
    sent = b"" if body is None else _filled(json.dumps(body), names).encode()
    kinds = {"events": "application/cloudevents+json", "members": "application/x-ndjson"}
    kind = kinds.get(path.partition("?")[0].rpartition("/")[2], "application/json")
    with statements() as executed:
        answer = caller._ask(method, path, sent, kind if sent else "")
    text = answer.getvalue().decode()
    for name, value in names.items():
        text = text.replace(value, f"<{name}>")
    return Answer(answer.status_code, text, len(executed))


def _filled(text: str, names: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: names[found[1]], text)


@pytest.mark.parametrize("asked", [each for entry in ENTRIES.values() for each in entry], ids=lambda each: each.request)
def test_what_is_anothers_is_answered_as_what_does_not_exist(callers: Mapping[str, Caller], asked: Asked):
    theirs, nobodys = (ask(callers[asked.by], asked.request, asked.body, names) for names in (THEIRS, NOBODYS))

    assert theirs == nobodys
    assert theirs.status == asked.status


@pytest.mark.parametrize(
    "request_", sorted({each.request.partition("?")[0] for entry in ENTRIES.values() for each in entry})
)
def test_no_other_method_tells_them_apart(callers: Mapping[str, Caller], request_: str):
    for method in ALL_METHODS:
        request = f"{method} {request_.partition(' ')[2]}"
        theirs, nobodys = (ask(callers["acme"], request, None, names) for names in (THEIRS, NOBODYS))
        assert theirs == nobodys, request


def test_every_url_and_method_is_asked():
    asked = {(url, each.request.partition(" ")[0]) for url, entry in ENTRIES.items() for each in entry}

    assert asked == {(url, method) for url, view in URLS.items() for method in view.scopes}
