"""What tests are made of: a small cast, events, keys, and someone who speaks HTTP with a key.

The cast (fixtures of the same names in `conftest.py`), all of it signed up long before `NOW`, Sunday
22 November 2026 at noon UTC, which is where the `clock` fixture stands:

    acme     connect/starter (active contacts, 1,000)             UTC            period 1 Nov to 1 Dec
    globex   social/free (activated contacts, 100)                Europe/Berlin  period of the local month
    initech  connect-legacy/s (events, 1,000)                     UTC            period 10 Nov to 10 Dec

    put_account(slug, **fields)         an account as the operator's worker makes it
    put_connection(account, key, kind)  a connection of it
    event(**attributes)                 a CloudEvent, good unless you say otherwise
    deliver(account, events)            take events in without HTTP → Receipt
    make_key(account, *scopes)          the text of a key
    Caller(key)                         HTTP with that key: get, put, post, send
    make_plan(key, limits)              a plan with tiers that is published
    unguarded()                         within, published tiers may be changed
    rows(Model, *columns, **filters)    what a table holds, to compare with a list
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.db import connection, transaction
from django.db.models import Model
from django.test import Client
from factory.base import DictFactory
from factory.declarations import LazyAttributeSequence

from accounts.keys import create_key
from accounts.models import Account, Connection, Scope
from metering import envelope, registration
from metering.intake import Receipt, take_in
from plans.models import Plan, Tier
from tests.billing_site.api.description import undocumented

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
"""Where the clock of the tests stands."""

ACTOR = "the tests"

CAST: dict[str, dict[str, Any]] = {
    "acme": {
        "name": "Acme Ltd",
        "billing_email": "billing@acme.example",
        "signed_up_at": datetime(2026, 3, 1, tzinfo=UTC),
        "plan": "connect",
        "tier": "starter",
    },
    "globex": {
        "name": "Globex GmbH",
        "billing_email": "rechnung@globex.example",
        "timezone": "Europe/Berlin",
        "signed_up_at": datetime(2026, 2, 14, 8, tzinfo=UTC),
        "plan": "social",
        "tier": "free",
    },
    "initech": {
        "name": "Initech Inc",
        "billing_email": "tps@initech.example",
        "signed_up_at": datetime(2021, 6, 10, tzinfo=UTC),
        "plan": "connect-legacy",
        "tier": "s",
    },
}
"""Who plays, as the operator pushes them."""

CONNECTIONS: dict[str, dict[str, str]] = {
    "acme": {
        "pipedrive-mailchimp": "contact_sync",
        "hubspot-brevo": "contact_sync",
        "mailchimp-pipedrive": "engagement",
        "website": "web_tracking",
        "scoring": "lead_scoring",
    },
    "globex": {"instagram": "automation", "messenger": "automation", "lead-ads": "engagement"},
    "initech": {"salesforce-mailchimp": "contact_sync", "typeform": "engagement"},
}
"""The keys and kinds of their connections."""


def _numbered(form: str) -> LazyAttributeSequence:
    return LazyAttributeSequence(lambda made, number: form.format(number))


class EventFactory(DictFactory):
    """A CloudEvent as it is sent: all ids and people differ; an opened mail on a sync, an hour old."""

    specversion = "1.0"
    id = _numbered("evt-{}")
    source = "pipedrive-mailchimp"
    type = "engagement.email_opened"
    subject = _numbered("person-{}@example.com")
    time = NOW - timedelta(hours=1)


def event(**attributes: Any) -> dict[str, Any]:
    """A good event but for `attributes`, which may be of any type; a `time` may be a datetime."""
    made: Any = EventFactory(**attributes)
    if isinstance(made["time"], datetime):
        made["time"] = made["time"].isoformat().replace("+00:00", "Z")
    return made


def put_account(slug: str, *, now: datetime = NOW, **fields: Any) -> Account:
    """An account as the operator's worker makes it; signed up on 1 March 2026 unless told otherwise."""
    given = {"signed_up_at": datetime(2026, 3, 1, tzinfo=UTC), **fields}
    account, _ = registration.put_account(slug, given, actor=ACTOR, now=now)
    return account


def put_connection(
    account: Account, key: str, kind: str = "contact_sync", *, now: datetime = NOW, **fields: Any
) -> Connection:
    """A connection of an account, made or changed."""
    made, _ = registration.put_connection(account, key, {"kind": kind, **fields}, actor=ACTOR, now=now)
    return made


def join(slug: str) -> Account:
    """One of the cast, with its connections. The catalogue is loaded."""
    account = put_account(slug, **CAST[slug])
    for key, kind in CONNECTIONS[slug].items():
        put_connection(account, key, kind)
    return account


def deliver(account: Account | None, events: Iterable[Any], *, now: datetime = NOW, dry_run: bool = False) -> Receipt:
    """Take a batch in as if it came with the account's key, or (None) the operator's; without HTTP."""
    body = msgspec.json.encode(list(events))
    return take_in(envelope.read(body, single=False), sender=account, now=now, dry_run=dry_run)


def make_key(
    account: Account | None = None,
    *scopes: str,
    now: datetime = NOW,
    expires_at: datetime | None = None,
    networks: Iterable[str] = (),
) -> str:
    """The text of a key of an account, or (None) of the operator; with all scopes unless some are named."""
    possible = [scope for scope in Scope.values if account is None or scope != Scope.OPERATE]
    text, _ = create_key(
        account=account, scopes=scopes or possible, actor=ACTOR, now=now, expires_at=expires_at, networks=networks
    )
    return text


def make_plan(key: str, limits: Mapping[str, int | None], *, trials: Collection[str] = (), **terms: Any) -> Plan:
    """A published plan with published tiers, each at the price of its place; of active contacts unless told."""
    given = {"name": key.title(), "unit": "active_contacts", "period_rule": "anniversary", "at_limit": "pause"}
    plan = Plan.objects.create(key=key, published_at=NOW, **(given | terms))
    Tier.objects.bulk_create(
        Tier(plan=plan, key=tier, limit=limit, price=price, trial=tier in trials, published_at=NOW)
        for price, (tier, limit) in enumerate(limits.items())
    )
    return plan


@contextmanager
def unguarded() -> Iterator[None]:
    """Within, published plans and tiers may be changed and deleted, as if they had been published so."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # tables of which something waits cannot be altered
        cursor.execute("ALTER TABLE plans_plan DISABLE TRIGGER USER; ALTER TABLE plans_tier DISABLE TRIGGER USER")
        yield
        cursor.execute("ALTER TABLE plans_plan ENABLE TRIGGER USER; ALTER TABLE plans_tier ENABLE TRIGGER USER")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


class Caller:
    """Speaks HTTP with a key (None: with none). Paths are below `/api/v1/`; answers as from a test client, each checked
    to be one that the API's description documents.

    With `raises=False` a view's exception becomes the 500 that a client would see.
    """

    def __init__(self, key: str | None, *, raises: bool = True) -> None:
        self.key = key
        self.client = Client(raise_request_exception=raises)

    def get(self, path: str, **query: Any) -> Any:
        """GET with query parameters; `from` is `from_`."""
        return self._ask("GET", _with_query(path, query))

    def put(self, path: str, body: Any) -> Any:
        """PUT a value as JSON."""
        return self._ask("PUT", path, json.dumps(body, default=_as_time).encode(), "application/json")

    def post(self, path: str, body: bytes, content_type: str = "application/json", **headers: str) -> Any:
        """POST bytes as they are."""
        return self._ask("POST", path, body, content_type, headers)

    def send(self, events: Sequence[Any] | dict[str, Any], **query: Any) -> Any:
        """POST one event or a batch of them, as their media type says."""
        kind = "cloudevents" if isinstance(events, dict) else "cloudevents-batch"
        body = json.dumps(events, default=_as_time).encode()
        return self.post(_with_query("events", query), body, f"application/{kind}+json")

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = "",
        headers: dict[str, str] | None = None,
    ) -> Any:
        sent = {"Authorization": f"Bearer {self.key}"} if self.key is not None else {}
        if content_type:
            sent["Content-Type"] = content_type  # the test client leaves it out where there is no body
        headers = {**sent, **(headers or {})}
        answer = self.client.generic(method, f"/api/v1/{path}", body, content_type, headers=headers)
        assert list(undocumented(method, f"/{path}", answer)) == []
        return answer


def rows(model: type[Model], *columns: str, **filters: Any) -> list[Any]:
    """What a table holds in these columns, sorted; single values where there is one column."""
    found = model._default_manager.filter(**filters).values_list(*columns, flat=len(columns) == 1)
    return sorted(found, key=repr)


def _with_query(path: str, query: dict[str, Any]) -> str:
    if not query:
        return path
    return f"{path}?{urlencode({name.rstrip('_'): value for name, value in query.items()})}"


def _as_time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} is no JSON")
