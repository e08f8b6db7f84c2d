"""The first stage of intake: bytes → events or refusals, one for each item of the batch, in its order.

CloudEvents 1.0 JSON (DESIGN.md section 7). A batch in which everything is right is decoded in one go. If
anything at all is wrong with it, it is read once more, item by item, so that one bad item does not cost its
neighbours; that way alone refuses. What exists (types, connections, accounts) is unknown here, and the time.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from metering import event_data, json_text
from metering.attributes import Fault, check_account, check_media_type, read_time
from metering.characters import shown
from metering.event_data import MAX_DATA, BadData
from metering.identity import (
    BadIdentifier,
    BadSubject,
    BadText,
    check_identifier,
    normalise,
)
from metering.json_text import MAX_BODY, MAX_EVENTS, BadBody, Item

__all__ = ["MAX_BODY", "MAX_DATA", "MAX_EVENTS", "MAX_KEPT", "BadBody", "Event", "Refusal", "read"]

MAX_KEPT: Final = 64 * 2**10
"""Bytes of a refused item that are kept for the quarantine."""

_UNKNOWN_FIELD: Final = re.compile(r"unknown field `(.*)`", re.DOTALL)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event in good form. Whether its type, source and account exist is decided later."""

    index: int
    """Its place in the batch, from 0."""
    id: str
    source: str
    type: str
    subject: str
    """As it was given, for display."""
    identity: str
    """The normalised subject."""
    time: datetime
    """UTC, cut to whole microseconds."""
    account: str | None
    """The slug the event names, if it names one."""
    data: dict[str, Any] | None
    """None if absent or empty."""


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """One item that is no event in good form, and the first reason why."""

    index: int
    """Its place in the batch, from 0."""
    id: str | None
    source: str | None
    account: str | None
    """These three as far as they can be read and would be allowed, each on its own."""
    code: str
    field: str | None
    """The attribute at fault; None if the item is no object. At most 100 characters."""
    detail: str
    """One sentence for whoever sent it, with at most 100 characters of what they sent."""
    body: bytes
    """The item in ASCII JSON, at most `MAX_KEPT` bytes; a longer one is described and begun."""


class _CleanEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An item as the fast way takes it. Its attributes and those of `_Attributes` are the same."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: str
    account: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    datacontenttype: str | UnsetType = UNSET
    dataschema: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    tracestate: str | UnsetType = UNSET
    partitionkey: str | UnsetType = UNSET


class _Attributes(msgspec.Struct, gc=False):
    """An item as the slow way takes it: each known attribute as its JSON text."""

    specversion: Raw | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    source: Raw | UnsetType = UNSET
    type: Raw | UnsetType = UNSET
    subject: Raw | UnsetType = UNSET
    time: Raw | UnsetType = UNSET
    account: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    datacontenttype: Raw | UnsetType = UNSET
    dataschema: Raw | UnsetType = UNSET
    traceparent: Raw | UnsetType = UNSET
    tracestate: Raw | UnsetType = UNSET
    partitionkey: Raw | UnsetType = UNSET


class _KnownAttributes(_Attributes, forbid_unknown_fields=True, gc=False):
    """The same, refusing what it does not know."""


_CLEAN_BATCH: Final = msgspec.json.Decoder(list[_CleanEvent])
_CLEAN_SINGLE: Final = msgspec.json.Decoder(_CleanEvent)
_ATTRIBUTES: Final = msgspec.json.Decoder(_Attributes)
_KNOWN_ATTRIBUTES: Final = msgspec.json.Decoder(_KnownAttributes)
_STRING: Final = msgspec.json.Decoder(str)


def read(body: bytes, *, single: bool | None) -> list[Event | Refusal]:
    """What each item of `body` is, in order; `[]` for an empty batch.

    `single` comes from the media type: True for one event, False for a batch, None for either. Raises
    `BadBody` for a body of which nothing can be read.
    """
    if len(body) > MAX_BODY:
        raise BadBody("body_too_large", f"A body has at most {MAX_BODY} bytes, inflated.", 413)
    json_text.check_encoding(body)
    first = json_text.first_byte(body)
    if not first:
        raise BadBody("empty_body", "The body is empty; send an event or an array of events.")
    if first == b"[" and single is not True:
        events = _read_clean(body, _CLEAN_BATCH.decode)
    elif first == b"{" and single is not False:
        events = _read_clean(body, lambda text: [_CLEAN_SINGLE.decode(text)])
    else:
        events = None
    if events is not None:
        return events
    return [_judge(index, item) for index, item in enumerate(json_text.split(body, single=single))]


def _read_clean(body: bytes, decode: Callable[[bytes], list[_CleanEvent]]) -> list[Event | Refusal] | None:
    """The events of a body without any fault, or None: then look again, slowly.

    Decoding stops at the first item that is no event. The shortest event has 97 bytes, so even a full body of
    too many of them needs some 125 MB.
    """
    try:
        items = decode(body)
        if len(items) > MAX_EVENTS:
            return None
        return _clean_events(items)
    except (msgspec.DecodeError, RecursionError, BadText, BadData, Fault):
        return None


def _clean_events(items: list[_CleanEvent]) -> list[Event | Refusal]:
    """Each of `items` as an event. Raises for the first fault, in whatever order is quickest."""
    events: list[Event | Refusal] = []
    names: set[str] = set()  # batches repeat few sources, types and accounts: each is checked once
    accounts: set[str] = set()
    for index, item in enumerate(items):
        check_identifier(item.id, "id")
        if item.source not in names:
            check_identifier(item.source, "source")
            names.add(item.source)
        if item.type not in names:
            check_identifier(item.type, "type")
            names.add(item.type)
        account = None if item.account is UNSET else item.account
        if account is not None and account not in accounts:
            check_account(account)
            accounts.add(account)
        if item.datacontenttype is not UNSET:
            check_media_type(item.datacontenttype)
        subject = item.subject
        data = None if item.data is UNSET else event_data.read(bytes(item.data))
        event = Event(
            index,
            item.id,
            item.source,
            item.type,
            subject,
            normalise(subject),
            read_time(item.time),
            account,
            data,
        )
        events.append(event)
    return events


def _judge(index: int, item: Item) -> Event | Refusal:
    """The event that `item` is, or why it is none."""
    try:
        attributes = _ATTRIBUTES.decode(item.readable)
    except msgspec.ValidationError:
        attributes = _Attributes()
        fault = Fault("not_an_object", None, "An event is a JSON object.")
    else:
        try:
            return _event(index, attributes, item)
        except Fault as found:
            fault = found
    return Refusal(
        index,
        _if_good(lambda: _identifier(attributes.id, "id")),
        _if_good(lambda: _identifier(attributes.source, "source")),
        _if_good(lambda: _account(attributes.account)),
        fault.code,
        None if fault.field is None else shown(fault.field, 100),
        fault.detail,
        item.ascii(MAX_KEPT),
    )


def _event(index: int, attributes: _Attributes, item: Item) -> Event:
    """The event that `item` with these `attributes` is. Raises `Fault` for the first fault in this order."""
    specversion = _string(attributes.specversion, "specversion")
    if specversion != "1.0":
        detail = f'specversion must be "1.0", not "{shown(specversion)}".'
        raise Fault("unsupported_specversion", "specversion", detail)
    identifier = _identifier(attributes.id, "id")
    source = _identifier(attributes.source, "source")
    event_type = _identifier(attributes.type, "type")
    subject = _string(attributes.subject, "subject")
    try:
        identity = normalise(subject)
    except BadSubject as error:
        raise Fault(error.code, "subject", error.detail) from None
    time = read_time(_string(attributes.time, "time"))
    account = _account(attributes.account)
    _check_all_known(item.readable)
    _check_lesser_attributes(attributes)
    return Event(index, identifier, source, event_type, subject, identity, time, account, _data(attributes.data))


def _string(value: Raw | UnsetType, field: str) -> str:
    """The text of an attribute that must be there. Raises `Fault`; null is a wrong type, not an absence."""
    if value is UNSET:
        raise Fault("missing_attribute", field, f"{field} is missing.")
    try:
        return _STRING.decode(value)
    except msgspec.ValidationError:
        raise Fault("wrong_type", field, f"{field} must be a string.") from None


def _identifier(value: Raw | UnsetType, field: str) -> str:
    """The text of an attribute that must be a usable key. Raises `Fault`."""
    text = _string(value, field)
    try:
        check_identifier(text, field)
    except BadIdentifier as error:
        raise Fault(error.code, field, error.detail) from None
    return text


def _account(value: Raw | UnsetType) -> str | None:
    """The account named, or None if none is. Raises `Fault`."""
    if value is UNSET:
        return None
    account = _string(value, "account")
    check_account(account)
    return account


def _check_all_known(text: bytes) -> None:
    """Raises `Fault` for the first attribute that no rule speaks of."""
    try:
        _KNOWN_ATTRIBUTES.decode(text)
    except msgspec.ValidationError as error:
        match = _UNKNOWN_FIELD.search(str(error))
        name = match[1] if match else ""
        detail = f'"{shown(name)}" is not an attribute Headcount knows; what an event carries belongs in data.'
        raise Fault("unknown_attribute", name, detail) from None


def _check_lesser_attributes(attributes: _Attributes) -> None:
    """Raises `Fault` unless what is ignored is at least text, and `data`, if any, is said to be JSON."""
    for field in ("dataschema", "traceparent", "tracestate", "partitionkey"):
        value: Raw | UnsetType = getattr(attributes, field)
        if value is not UNSET:
            _string(value, field)
    if attributes.datacontenttype is not UNSET:
        check_media_type(_string(attributes.datacontenttype, "datacontenttype"))


def _data(value: Raw | UnsetType) -> dict[str, Any] | None:
    """The data of an event, None if absent or empty. Raises `Fault`."""
    if value is UNSET:
        return None
    try:
        return event_data.read(bytes(value))
    except BadData as error:
        raise Fault(error.code, "data", error.detail) from None


def _if_good(attribute: Callable[[], str | None]) -> str | None:
    """What `attribute` reads, or None if it finds a fault."""
    try:
        return attribute()
    except Fault:
        return None
