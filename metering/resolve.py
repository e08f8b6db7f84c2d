"""Events in good form → arrivals of known connections and types, or refusals (DESIGN section 4, outcome 1). Pure."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from metering.attributes import Fault, read_time
from metering.catalogue import (
    BY_NAME,
    ORIGINS,
    SCORE_CLEARED,
    SCORE_SET,
    Effect,
    EventType,
)
from metering.characters import shown
from metering.envelope import MAX_KEPT, Event, Refusal
from metering.facts import Arrival, ConnectionFacts
from metering.identity import BadSubject, normalise
from metering.json_text import Item

# Suggesting the nearest type costs a millisecond or so each: enough for people, too much for 10,000 strangers.
_SUGGESTIONS_PER_BATCH = 10


def refuse(event: Event, code: str, field: str, detail: str) -> Refusal:
    """A refusal of an event in good form, with its body for the quarantine."""
    sent = {"specversion": "1.0", "id": event.id, "source": event.source, "type": event.type, "subject": event.subject}
    named = {} if event.account is None else {"account": event.account}
    data = {} if event.data is None else {"data": event.data}
    text = msgspec.json.encode({**sent, "time": event.time, **named, **data})
    body = Item(text, text).ascii(MAX_KEPT)
    return Refusal(event.index, event.id, event.source, event.account, code, field, detail, body)


def resolve(events: Iterable[Event], connections: Mapping[str, ConnectionFacts]) -> tuple[list[Arrival], list[Refusal]]:
    """Match events of one account with its connections and the catalogue."""
    arrivals: list[Arrival] = []
    refusals: list[Refusal] = []
    unknown_types = 0
    for event in events:
        kind = BY_NAME.get(event.type)
        if kind is None:
            unknown_types += 1
            detail = _unknown_type(event.type, suggest=unknown_types <= _SUGGESTIONS_PER_BATCH)
            refusals.append(refuse(event, "unknown_type", "type", detail))
            continue
        connection = connections.get(event.source)
        if connection is None:
            detail = f"the account has no connection {shown(event.source)}"
            refusals.append(refuse(event, "unknown_source", "source", detail))
            continue
        try:
            arrivals.append(_arrival(event, kind, connection))
        except Fault as fault:
            refusals.append(refuse(event, fault.code, "data", fault.detail))
    return arrivals, refusals


@lru_cache(maxsize=16_384)
def fingerprint(identity: str) -> int:
    """What is left of an identity after erasure: with type and instant it tells a duplicate from a conflict.

    64 bits, as PostgreSQL's bigint: it is only ever compared with that of the one event of the same id.
    """
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), signed=True)


def _arrival(event: Event, kind: EventType, connection: ConnectionFacts) -> Arrival:
    meaning, score, renamed_from, origin = kind, None, None, ""
    reader = _DATA_READERS.get(kind.code)
    if reader is not None:
        meaning, score, renamed_from, origin = reader(event.data or {}, kind, event.time)
    return Arrival(
        event.index,
        event.id,
        connection,
        meaning,
        kind.code,
        event.identity,
        event.subject,
        event.time,
        fingerprint(event.identity),
        event.data,
        score,
        renamed_from,
        origin,
    )


def meaning_of(
    kind: EventType, data: Mapping[str, Any] | None, at: datetime
) -> tuple[EventType, tuple[float, datetime | None] | None]:
    """What a stored event means, and its score if it sets one; it was in good form when it came."""
    reader = _DATA_READERS.get(kind.code)
    if reader is None or kind.effect is not Effect.SETS_SCORE:
        return kind, None
    meaning, score, _, _ = reader(data or {}, kind, at)
    return meaning, score


Reading = tuple[EventType, tuple[float, datetime | None] | None, str | None, str]


def _read_score(data: Mapping[str, Any], kind: EventType, at: datetime) -> Reading:
    """`value`, a number, and optionally `expires_at`, after the event's time. A value of 0 clears the score."""
    value = data.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Fault("bad_data", "data", f"{SCORE_SET.name} needs data.value, a number")
    expires_at = None
    if "expires_at" in data:
        expires_at = _read_expiry(data["expires_at"])
        if expires_at <= at:
            raise Fault("bad_data", "data", "data.expires_at must be after the event's time")
    if value == 0:
        return SCORE_CLEARED, None, None, ""
    return kind, (float(value), expires_at), None, ""


def _read_expiry(value: object) -> datetime:
    if isinstance(value, str):
        try:
            return read_time(value)
        except Fault:
            pass
    raise Fault("bad_data", "data", "data.expires_at must be a time like 2026-11-22T10:00:00Z")


def _read_rename(data: Mapping[str, Any], kind: EventType, _at: datetime) -> Reading:
    """`from`, the old address or channel user id."""
    old = data.get("from")
    if not isinstance(old, str):
        raise Fault("bad_data", "data", "contact.renamed needs data.from, the old address")
    try:
        return kind, None, normalise(old), ""
    except BadSubject as error:
        raise Fault("bad_data", "data", f"data.from: {error.detail}") from None


def _read_origin(data: Mapping[str, Any], kind: EventType, _at: datetime) -> Reading:
    """`origin`, optional: where the lead came from."""
    origin = data.get("origin", "")
    if "origin" in data and origin not in ORIGINS:
        raise Fault("bad_data", "data", f"data.origin must be one of {', '.join(ORIGINS)}")
    return kind, None, None, origin


_READERS = {Effect.SETS_SCORE: _read_score, Effect.IS_RENAMED: _read_rename, Effect.GIVES_ORIGIN: _read_origin}
_DATA_READERS: dict[int, Callable[[Mapping[str, Any], EventType, datetime], Reading]] = {
    kind.code: _READERS[kind.effect] for kind in BY_NAME.values() if kind.effect in _READERS
}


def _unknown_type(name: str, *, suggest: bool) -> str:
    nearest = get_close_matches(name[:100], BY_NAME, n=1) if suggest else []
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"no event type {shown(name)}{hint}"
