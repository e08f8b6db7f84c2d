"""Bytes → events or refusals (DESIGN section 7; RELIABILITY section 3, body to data).

Of a batch with any fault the slow way alone decides, so a good item is read slowly by a bad one beside it.
"""

import contextlib
import json
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metering import event_data, json_text
from metering.envelope import MAX_BODY, MAX_DATA, MAX_EVENTS, MAX_KEPT, BadBody, Event, Refusal, read

GOOD = {
    "specversion": "1.0",
    "id": "evt-1",
    "source": "pipedrive-mailchimp",
    "type": "engagement.email_opened",
    "subject": "Ann@example.com",
    "time": "2026-11-22T10:00:00Z",
}
ABSENT = object()
NOON = datetime(2026, 11, 22, 10, tzinfo=UTC)


def item(**changes: object) -> str:
    """The good event as JSON text, with `changes`; `ABSENT` takes an attribute away."""
    return json.dumps({name: value for name, value in (GOOD | changes).items() if value is not ABSENT})


def with_raw(field: str, text: str) -> str:
    """The good event as JSON text, with the JSON `text` as it is for `field`."""
    return item(**{field: "HERE"}).replace('"HERE"', text)


def read_beside_good(text: str) -> Event | Refusal:
    """What the item `text` is in a batch between two good ones, which are kept."""
    first, found, last = read(f"[{item(id='first')},{text},{item(id='last')}]".encode(), single=False)
    assert isinstance(first, Event)
    assert isinstance(last, Event)
    assert (first.index, first.id, last.index, last.id) == (0, "first", 2, "last")
    assert found.index == 1
    return found


def _answer(body: bytes) -> list[Event | Refusal] | BadBody:
    """What becomes of `body`, refused or not."""
    try:
        return read(body, single=None)
    except BadBody as error:
        return error


def refused(text: str) -> Refusal:
    """The refusal of the item `text`."""
    found = read_beside_good(text)
    assert isinstance(found, Refusal)
    return found


def read_both_ways(text: str) -> Event:
    """The event that `text` is, the fast way and the slow way alike."""
    (fast,) = read(text.encode(), single=True)
    slow, bad = read(f"[{text},0]".encode(), single=False)
    assert isinstance(bad, Refusal)
    assert isinstance(fast, Event)
    assert fast == slow
    return fast


# --- good events ---


def test_an_event_is_read_whole() -> None:
    event = read_both_ways(item(account="acme", data={"value": 5}))

    assert event == Event(
        index=0,
        id="evt-1",
        source="pipedrive-mailchimp",
        type="engagement.email_opened",
        subject="Ann@example.com",
        identity="ann@example.com",
        time=NOON,
        account="acme",
        data={"value": 5},
    )
    assert event.time.tzinfo is UTC


@pytest.mark.parametrize("data", [ABSENT, {}])
def test_data_that_says_nothing_is_none(data: object) -> None:
    assert read_both_ways(item(data=data)).data is None


def test_an_account_may_be_left_out() -> None:
    assert read_both_ways(item()).account is None


@pytest.mark.parametrize("name", ["dataschema", "traceparent", "tracestate", "partitionkey"])
@pytest.mark.parametrize("value", ["", "x", "a\0b", "x" * 100_000])
def test_known_attributes_without_use_are_ignored(name: str, value: str) -> None:
    assert read_both_ways(item(**{name: value})) == read_both_ways(item())


@pytest.mark.parametrize(
    "value",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        'application/json; charset="utf-8"',
    ],
)
def test_the_data_may_be_said_to_be_json(value: str) -> None:
    assert read_both_ways(item(datacontenttype=value)) == read_both_ways(item())


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-22T10:00:00Z", NOON),
        ("2026-11-22t10:00:00z", NOON),
        ("2026-11-22T10:00:00+00:00", NOON),
        ("2026-11-22T10:00:00-00:00", NOON),
        ("2026-11-22T12:00:00+02:00", NOON),
        ("2026-11-23T09:59:00+23:59", NOON),
        ("2026-11-22T04:15:00-05:45", NOON),
        ("2026-11-22T10:00:00.5Z", NOON.replace(microsecond=500_000)),
        ("2026-11-22T10:00:00.000001Z", NOON.replace(microsecond=1)),
        ("2026-11-22T10:00:00.9999999Z", NOON.replace(microsecond=999_999)),
        ("2026-11-22T12:00:00.000001999999999999+02:00", NOON.replace(microsecond=1)),
        ("2026-11-22T10:00:00." + "9" * 5000 + "Z", NOON.replace(microsecond=999_999)),
        ("0001-01-01T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_time_is_an_instant_in_utc(text: str, instant: datetime) -> None:
    event = read_both_ways(item(time=text))
    assert (event.time, event.time.tzinfo) == (instant, UTC)


@pytest.mark.parametrize(
    ("name", "text", "data"),
    [
        ("30 digits", '{"n": 123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
        ("30 digits with a point", '{"n": -0.12345678901234567890123456789}', {"n": -0.12345678901234568}),
        ("exponent 299", '{"n": [1e299, 1E-299, 1e+00000005]}', {"n": [1e299, 1e-299, 1e5]}),
        (
            "what looks like a wild number in a string",
            '{"n": "1e999 ' + "9" * 40 + '"}',
            {"n": "1e999 " + "9" * 40},
        ),
        ("what looks like NUL in a string", r'{"n": "\\u0000"}', {"n": r"\u0000"}),
        ("what looks like brackets in a string", '{"n": "' + "[{" * 500 + '"}', {"n": "[{" * 500}),
        ("what looks like keys in a string", '{"n": "' + ":" * 5000 + r"\"" + '"}', {"n": ":" * 5000 + '"'}),
        ("escaped quotes and backslashes", r'{"\"\\": "\\\"[[[\\"}', {'"\\': '\\"[[[\\'}),
        ("a whole surrogate pair", r'{"n": "\ud83d\ude00"}', {"n": "😀"}),
        ("other control characters", r'{"n": "\u0001\u200b"}', {"n": "\x01\u200b"}),
        ("a repeated key", '{"n": 1, "n": 2}', {"n": 2}),
        ("white space", '{ "n" :\t1\r\n}', {"n": 1}),
        ("null inside", '{"n": null, "": true}', {"n": None, "": True}),
        ("16 levels", '{"n": ' + "[" * 15 + "]" * 15 + "}", None),
        (
            "17 brackets but 2 levels",
            '{"n": ' + "[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]" + "}",
            None,
        ),
        ("1,000 keys", json.dumps({str(number): 0 for number in range(1000)}), None),
        ("64 KiB", json.dumps({"n": "x" * (MAX_DATA - 9)}), None),
    ],
)
def test_data_is_kept(name: str, text: str, data: dict[str, Any] | None) -> None:
    event = read_both_ways(with_raw("data", text))
    assert event.data == (json.loads(text) if data is None else data)


def test_of_repeated_attributes_the_last_wins_both_ways() -> None:
    text = '{"id": 5, "data": [], "id": "first", ' + item(id="last", data={"n": 1})[1:]
    event = read_both_ways(text)
    assert (event.id, event.data) == ("last", {"n": 1})


def test_an_attribute_repeated_badly_is_bad() -> None:
    assert refused(item()[:-1] + ', "id": null}').code == "wrong_type"


def test_identifiers_are_not_folded() -> None:
    small, large = read(f"[{item(id='a')},{item(id='A')}]".encode(), single=None)
    assert (small.id, large.id) == ("a", "A")


# --- refused items ---

WRONG_TYPES = ["null", "1", "true", "[]", "{}", "1e400", "9" * 4000]
REQUIRED = ["specversion", "id", "source", "type", "subject", "time"]
OPTIONAL = ["account", "datacontenttype", "dataschema", "traceparent", "tracestate", "partitionkey"]
DEEP_500 = "[" * 500 + "]" * 500

REFUSED_ITEMS = [
    # envelope
    *[
        (f"item {text[:9]}", text, "not_an_object", None)
        for text in ("null", "1", '"x"', "[]", "true", "1e400", DEEP_500)
    ],
    ("item of 10,000 digits", "9" * 10_000, "not_an_object", None),
    ("item of a lone surrogate", r'"\udc00"', "not_an_object", None),
    ("empty object", "{}", "missing_attribute", "specversion"),
    *[(f"no {name}", item(**{name: ABSENT}), "missing_attribute", name) for name in REQUIRED],
    *[
        (f"{name} {text[:9]}", with_raw(name, text), "wrong_type", name)
        for name in REQUIRED + OPTIONAL
        for text in WRONG_TYPES
    ],
    *[(f"blank {name}", item(**{name: " "}), "blank", name) for name in [*REQUIRED[1:], "account"]],
    *[(f"empty {name}", item(**{name: ""}), "blank", name) for name in [*REQUIRED[1:], "account"]],
    ("specversion 0.3", item(specversion="0.3"), "unsupported_specversion", "specversion"),
    ("specversion 1.0 with a space", item(specversion="1.0 "), "unsupported_specversion", "specversion"),
    ("specversion empty", item(specversion=""), "unsupported_specversion", "specversion"),
    ("unknown attribute", item(colour="red"), "unknown_attribute", "colour"),
    ("attribute in other case", item(Subject="x"), "unknown_attribute", "Subject"),
    ("data_base64", item(data_base64="e30="), "unknown_attribute", "data_base64"),
    ("empty attribute name", item(**{"": 1}), "unknown_attribute", ""),
    ("attribute name in backticks", item(**{"`a` - at `$`": 1}), "unknown_attribute", "`a` - at `$`"),
    ("attribute name of 500", item(**{"x" * 500: 1}), "unknown_attribute", "x" * 99 + "…"),
    ("attribute name with NUL", item(**{"a\0b": 1}), "unknown_attribute", "a\ufffdb"),
    ("attribute name half a pair", item(**{"a\ud800": 1}), "unknown_attribute", "a\ufffd"),
    ("unknown attribute of 500 levels", with_raw("colour", DEEP_500), "unknown_attribute", "colour"),
    ("media type XML", item(datacontenttype="text/xml"), "unsupported_datacontenttype", "datacontenttype"),
    (
        "media type of another charset",
        item(datacontenttype="application/json; charset=utf-16"),
        "unsupported_datacontenttype",
        "datacontenttype",
    ),
    ("media type blank", item(datacontenttype=" "), "unsupported_datacontenttype", "datacontenttype"),
    # identifiers
    *[
        (f"{name} {what}", item(**{name: text}), code, name)
        for name in ("id", "source", "type")
        for what, text, code in [
            ("of 256 characters", "x" * 256, "too_long"),
            ("of 256 bytes of emoji", "😀" * 64, "too_long"),
            ("with NUL", "a\0b", "bad_characters"),
            ("with a line break", "a\r\nb", "bad_characters"),
            ("with zero width", "a\u200bb", "bad_characters"),
            ("right to left", "\u202eab", "bad_characters"),
            ("half a pair", "a\ud800", "bad_characters"),
            ("half a pair alone", "\udfff", "bad_characters"),
            ("half a pair before a letter", "\ud83dA", "bad_characters"),
            ("with a space after", "k ", "bad_characters"),
        ]
    ],
    ("account with capitals", item(account="Acme"), "bad_characters", "account"),
    ("account with a line break", item(account="acme\n"), "bad_characters", "account"),
    ("account with other digits", item(account="acme١"), "bad_characters", "account"),
    ("account of 64", item(account="a" * 64), "too_long", "account"),
    # time
    *[
        (f"time {text[:40]}", item(time=text), "bad_time", "time")
        for text in [
            "2026-11-22T10:00:00",
            "2026-11-22",
            "2026-11-22 10:00:00Z",
            "2026-11-22T10:00Z",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00:00,5Z",
            "2026-11-22T10:00:00+02",
            "2026-11-22T10:00:00+0200",
            "2026-11-22T10:00:00+24:00",
            "2026-11-22T10:00:00 Z",
            " 2026-11-22T10:00:00Z",
            "2026-11-22T10:00:00Z\n",
            "20261122T100000Z",
            "2026-W47-7T10:00:00Z",
            "2026-326T10:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T23:59:60Z",
            "2026-11-22T10:60:00Z",
            "2026-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-00-01T10:00:00Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "12026-11-22T10:00:00Z",
            "-2026-11-22T10:00:00Z",
            "٢٠٢٦-11-22T10:00:00Z",
            "1763805600",
            "now",
            "x" * 100_000,
            "2026-11-22T10:00:00\0Z",
            "2026-11-22T10:00:00\ud800Z",
        ]
    ],
    # subject
    ("subject without domain", item(subject="a@"), "bad_address", "subject"),
    ("subject without local part", item(subject="@b"), "bad_address", "subject"),
    ("subject with two @", item(subject="a@b@c"), "bad_address", "subject"),
    ("subject of 500", item(subject="x" * 494 + "@x.com"), "too_long", "subject"),
    ("subject of 256 bytes", item(subject="x" * 256), "too_long", "subject"),
    ("subject with a header", item(subject="a\r\nBcc: x@y"), "bad_characters", "subject"),
    ("subject with NUL", item(subject="a\0"), "bad_characters", "subject"),
    ("subject half a pair", item(subject="\ud800@x.com"), "bad_characters", "subject"),
    # data
    *[
        (f"data {text[:9]}", with_raw("data", text), "bad_data", "data")
        for text in ("null", "1", '"{}"', "[]", "true", "1e400", DEEP_500)
    ],
    *[
        (f"data with {what}", with_raw("data", '{"n": [' + text + "]}"), "bad_data", "data")
        for what, text in [
            ("1e400", "1e400"),
            ("-1e400", "-1e400"),
            ("1e300", "1e300"),
            ("1e-300", "1e-300"),
            ("a huge exponent", "1e" + "9" * 5000),
            ("31 digits", "1" * 31),
            ("31 digits and a point", "0." + "0" * 30),
            ("4,000 digits", "1" * 4000),
            ("10,000 digits", "1" * 10_000),
            ("500 levels", DEEP_500),
            ("17 levels", "[" * 15 + "]" * 15),
            ("17 levels of objects", '{"n":' * 15 + "0" + "}" * 15),
            ("NUL", r'"\u0000"'),
            ("NUL after a backslash", r'"\\\u0000"'),
            ("NUL in a key", r'{"a\u0000": 1}'),
            ("half a pair", r'"\ud800"'),
            ("the other half", r'"x\uDFFF"'),
            ("the halves in the wrong order", r'"\ude00\ud83d"'),
            ("half a pair in a key", r'{"\ud800": 1}'),
            ("1,000 keys in objects inside", ",".join(['{"a": 0}'] * 1000)),
        ]
    ],
    (
        "data of 4,000 keys",
        with_raw("data", "{" + ",".join(f'"{n}":0' for n in range(4_000)) + "}"),
        "bad_data",
        "data",
    ),
    ("data of 1,001 keys", item(data={str(number): 0 for number in range(1001)}), "bad_data", "data"),
    (
        "data of 64 KiB and a byte",
        with_raw("data", json.dumps({"n": "x" * (MAX_DATA - 8)})),
        "too_large",
        "data",
    ),
    ("data of 10,000 keys", item(data={f"k{n}": n for n in range(10_000)}), "too_large", "data"),
    ("data of 1 MiB", item(data={"n": "x" * 2**20}), "too_large", "data"),
]


@pytest.mark.parametrize(("name", "text", "code", "field"), REFUSED_ITEMS, ids=[row[0] for row in REFUSED_ITEMS])
def test_a_bad_item_is_refused_by_name_and_costs_no_neighbour(
    name: str, text: str, code: str, field: str | None
) -> None:
    refusal = refused(text)

    assert (refusal.code, refusal.field) == (code, field)
    assert refusal.detail.endswith(".")
    assert len(refusal.detail) < 250
    assert all(character.isprintable() for character in refusal.detail + (refusal.field or ""))
    assert refusal.body.isascii()
    assert len(refusal.body) <= MAX_KEPT


@pytest.mark.parametrize(("name", "text", "code", "field"), REFUSED_ITEMS, ids=[row[0] for row in REFUSED_ITEMS])
def test_a_bad_item_alone_is_refused_the_same(name: str, text: str, code: str, field: str | None) -> None:
    (refusal,) = read(f"[{text}]".encode(), single=False)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == (code, field)


def test_the_first_fault_in_the_stated_order_is_told() -> None:
    faults: list[tuple[str, object, str]] = [
        ("specversion", "0.3", "unsupported_specversion"),
        ("id", 1, "wrong_type"),
        ("source", " ", "blank"),
        ("type", ABSENT, "missing_attribute"),
        ("subject", "a@", "bad_address"),
        ("time", "now", "bad_time"),
        ("account", "A", "bad_characters"),
        ("colour", "red", "unknown_attribute"),
        ("traceparent", 1, "wrong_type"),
        ("datacontenttype", "x", "unsupported_datacontenttype"),
        ("data", [], "bad_data"),
    ]
    wrong = {field: value for field, value, _ in reversed(faults)}
    for field, _, code in faults:
        refusal = refused(item(**wrong))
        assert (refusal.field, refusal.code) == (field, code)
        del wrong[field]


def test_a_refusal_names_what_could_be_read() -> None:
    refusal = refused(item(id="evt-7", source="s", account="acme", specversion=1))
    assert (refusal.id, refusal.source, refusal.account) == ("evt-7", "s", "acme")


def test_a_refusal_names_nothing_that_could_not_be_a_key() -> None:
    refusal = refused(item(id="x" * 256, source="a\0", account="A"))
    assert (refusal.id, refusal.source, refusal.account) == (None, None, None)


def test_a_refused_item_is_kept_as_it_was_sent_in_ascii() -> None:
    text = r'{"id": "é😀\ud800\u00e9", "n": 1e400, "n": [[[]]]}'
    (refusal,) = read(f" [ {text} ] ".encode(), single=None)
    assert isinstance(refusal, Refusal)
    assert refusal.body == text.replace("é😀", r"\u00e9\ud83d\ude00").encode("ascii")


@pytest.mark.parametrize("filling", ["x", "é", '"'])
def test_a_long_refused_item_is_kept_in_part_and_told_apart(filling: str) -> None:
    one, other = (refused(item(data={"n": filling * 70_000 + end}, id=1)).body for end in ("a", "b"))
    assert len(one) <= MAX_KEPT
    assert json.loads(one)["begins"].startswith('{"specversion"')
    assert one != other


def test_a_single_bad_event_is_refused_too() -> None:
    (refusal,) = read(b"{}", single=True)
    assert isinstance(refusal, Refusal)
    assert (refusal.index, refusal.code) == (0, "missing_attribute")


# --- bodies ---


@pytest.mark.parametrize(
    ("name", "body", "code", "status"),
    [
        ("empty", b"", "empty_body", 400),
        ("white space", b" \r\n\t", "empty_body", 400),
        ("truncated", item().encode()[:-5], "bad_json", 400),
        ("truncated array", f"[{item()},".encode(), "bad_json", 400),
        ("trailing comma", f"[{item()},]".encode(), "bad_json", 400),
        ("trailing junk", f"{item()} x".encode(), "bad_json", 400),
        ("two values", f"{item()}{item()}".encode(), "bad_json", 400),
        ("lines of JSON", f"{item()}\n{item()}".encode(), "bad_json", 400),
        ("a byte order mark", b"\xef\xbb\xbf[]", "bad_encoding", 400),
        ("UTF-16", "[]".encode("utf-16"), "bad_encoding", 400),
        ("UTF-16 without mark", "[]".encode("utf-16-le"), "bad_encoding", 400),
        ("UTF-32 without mark", "[]".encode("utf-32-be"), "bad_encoding", 400),
        ("latin-1", '["é"]'.encode("latin-1"), "bad_encoding", 400),
        ("latin-1 in what is ignored", with_raw("tracestate", '"é"').encode("latin-1"), "bad_encoding", 400),
        ("surrogate in UTF-8", b'["\xed\xa0\x80"]', "bad_encoding", 400),
        ("overlong UTF-8", b'["\xc0\x80"]', "bad_encoding", 400),
        ("null", b"null", "not_events", 400),
        ("a number", b" 1 ", "not_events", 400),
        ("a string", b'"x"', "not_events", 400),
        ("a misspelt null", b"nul", "bad_json", 400),
        ("NaN", b"NaN", "bad_json", 400),
        ("NaN in an item", with_raw("data", '{"n": NaN}').encode(), "bad_json", 400),
        ("Infinity", f"[{with_raw('data', '{"n": Infinity}')}]".encode(), "bad_json", 400),
        ("-Infinity", f"[{with_raw('data', '{"n": -Infinity}')}]".encode(), "bad_json", 400),
        ("leading zero", b"[01]", "bad_json", 400),
        ("single quotes", b"['x']", "bad_json", 400),
        ("a comment", b"[] // none", "bad_json", 400),
        ("a raw line break in a string", b'["a\nb"]', "bad_json", 400),
        ("an unknown escape", b'["\\x41"]', "bad_json", 400),
        ("half an escape", b'["\\u00"]', "bad_json", 400),
        ("half a pair misspelt", rb'["\ud8[0"]', "bad_json", 400),
        ("half an escape of half a pair", b'["\\ud8', "bad_json", 400),
        ("a form", b"id=1&source=2", "bad_json", 400),
        ("XML", b"<event/>", "bad_json", 400),
        ("5,000 levels", b"[" * 5000 + b"]" * 5000, "too_deep", 400),
        ("5,000 levels in data", with_raw("data", "[" * 5000 + "]" * 5000).encode(), "too_deep", 400),
        ("5,000 objects", with_raw("data", "{\"n\":" * 5000 + "0" + "}" * 5000).encode(), "too_deep", 400),
        ("5,000 levels of objects", b'[{"n":' * 2500 + b"0" + b"}]" * 2500, "too_deep", 400),
        ("1,001 levels", b"[" * 1001 + b"]" * 1001, "too_deep", 400),
        ("8 MiB of brackets", b"[" * MAX_BODY, "too_deep", 400),
        ("8 MiB and a byte", b"[" + b" " * (MAX_BODY - 1) + b"]", "body_too_large", 413),
        ("10,001 objects", b"[" + b"{}," * MAX_EVENTS + b"{}]", "too_many_events", 413),
        ("10,001 numbers", b"[" + b"1," * MAX_EVENTS + b"1]", "too_many_events", 413),
        ("10,001 good events", f"[{','.join([item()] * (MAX_EVENTS + 1))}]".encode(), "too_many_events", 413),
    ],
)  # fmt: skip
def test_a_body_of_which_nothing_can_be_read_is_refused_whole(name: str, body: bytes, code: str, status: int) -> None:
    with pytest.raises(BadBody) as caught:
        read(body, single=None)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert len(caught.value.detail) < 120


@pytest.mark.parametrize(
    ("single", "body", "count"),
    [
        (None, b"[]", 0),
        (False, b" [\n] ", 0),
        (None, f"[{item()}]".encode(), 1),
        (None, f" {item()}\n".encode(), 1),
        (True, item().encode(), 1),
        (False, f"[{item()},{item()}]".encode(), 2),
        (None, f"[{','.join([item()] * MAX_EVENTS)}]".encode(), MAX_EVENTS),
        (None, b"[" + b"{}," * (MAX_EVENTS - 1) + b"{}]", MAX_EVENTS),
        (None, b"[" + b"[],{}," * (MAX_EVENTS // 2 - 1) + b'[1,2,{"a":[1,2]}],"]},,,{["]', MAX_EVENTS),
        (None, b"[" * 1000 + b"]" * 1000, 1),
        (None, b"[" + b" " * (MAX_BODY - 2) + b"]", 0),
    ],
)
def test_a_body_holds_so_many_items(single: bool | None, body: bytes, count: int) -> None:
    assert [found.index for found in read(body, single=single)] == list(range(count))


@pytest.mark.parametrize("body", [b"[]", f"[{item()}]".encode(), b"1"])
def test_the_media_type_of_one_event_takes_no_batch(body: bytes) -> None:
    with pytest.raises(BadBody, match="not_events"):
        read(body, single=True)


@pytest.mark.parametrize("body", [b"{}", item().encode(), b"1"])
def test_the_media_type_of_a_batch_takes_no_single_event(body: bytes) -> None:
    with pytest.raises(BadBody, match="not_events"):
        read(body, single=False)


# --- properties ---

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**29), 10**29) | st.floats(-1e299, 1e299) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
EVENTS = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": NAMES,
        "source": NAMES,
        "type": NAMES,
        "subject": st.emails() | st.text("abü١😀 ", min_size=1, max_size=20).map(lambda text: f"u{text}"),
        "time": st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(  # noqa: DTZ001 (hypothesis wants it so)
            lambda at: f"{at.isoformat()}+01:30"
        ),
    },
    optional={
        "account": st.from_regex(r"[a-z0-9-]{1,63}", fullmatch=True),
        "data": st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=5),
        "datacontenttype": st.just("application/json"),
        "tracestate": st.text(),
    },
)
ANYTHING = st.recursive(
    EVENTS | JSON_VALUES | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "data", "x"]), inner, max_size=9)
    ),
    max_leaves=6,
)


@given(st.lists(EVENTS, max_size=4), st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=300, deadline=None)
def test_both_ways_of_reading_agree_on_every_good_item(
    events: list[dict[str, Any]], as_ascii: bool, indent: int | None
) -> None:
    fast = read(json.dumps(events, ensure_ascii=as_ascii, indent=indent).encode(), single=False)
    *slow, bad = read(json.dumps([*events, 0], ensure_ascii=as_ascii, indent=indent).encode(), single=False)

    assert isinstance(bad, Refusal)
    assert fast == slow
    assert [repr(found) for found in fast] == [repr(found) for found in slow]  # 1, 1.0 and True are equal


@given(st.lists(ANYTHING, max_size=4), st.sampled_from([None, 0]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_an_item_is_judged_alike_alone_and_beside_others(items: list[object], other: object, as_ascii: bool) -> None:
    def text(values: list[object]) -> bytes:
        return json.dumps(values, ensure_ascii=as_ascii).encode("utf-8", "replace")

    together = read(text([*items, other]), single=False)[:-1]
    alone = [read(text([value]), single=False)[0] for value in items]
    assert [_unplaced(found) for found in together] == [_unplaced(found) for found in alone]


def _unplaced(found: Event | Refusal) -> list[object]:
    """All that `found` says but its index."""
    return [getattr(found, name) for name in found.__struct_fields__ if name != "index"]


def _is_json(body: bytes) -> bool:
    """What the standard library, told to be strict, thinks of `body`; digits are not its to judge."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(body.decode(), parse_constant=refuse, parse_int=len, parse_float=len)
    except ValueError:
        return False
    return True


@given(
    st.lists(ANYTHING, max_size=3).map(lambda items: json.dumps(items).encode()),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.sampled_from([*b'[]{}",:\\ue1-.0 \x00\n\xff\xc3']))),
)
@example(rb'["\\\ud800\\ud800\ud83d\ude00\ud83d"]', [])
@example(rb'["\ud83d\\ude00"]', [])
@example(rb'["\ud8[04\udc1a"]', [])
@example(rb'["\ud83d\ude0"]', [])
@settings(max_examples=6000, deadline=None)
def test_no_body_raises_anything_but_a_bad_body_and_that_only_if_it_is_no_json(
    body: bytes, edits: list[tuple[int, int, int]]
) -> None:
    for place, removed, byte in edits:
        body = body[:place] + bytes([byte]) + body[place + removed :]
    found = _answer(body)
    if isinstance(found, BadBody):
        assert found.code == "not_events" or not _is_json(body)
    else:
        assert _is_json(body)
        assert len(found) == (len(json.loads(body, parse_int=len)) if body.lstrip()[:1] == b"[" else 1)


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_but_a_bad_body(body: bytes) -> None:
    found = _answer(body)
    assert not isinstance(found, BadBody) or found.status == 400


@given(JSON_VALUES)
def test_depth_is_the_number_of_enclosing_brackets(value: object) -> None:
    def levels(inner: object) -> int:
        if isinstance(inner, dict):
            return 1 + max(map(levels, inner.values()), default=0)
        return 1 + max(map(levels, inner), default=0) if isinstance(inner, list) else 0

    assert json_text.depth(json.dumps(value).encode()) == levels(value)


@given(st.binary(max_size=30))
def test_data_raises_nothing_but_bad_data(text: bytes) -> None:
    with contextlib.suppress(event_data.BadData):
        assert event_data.read(b"{" + text) == (json.loads(b"{" + text) or None)


# --- cost ---


def _filled(unit: bytes, before: bytes = b"[", after: bytes = b"0]") -> bytes:
    """A body of 8 MiB of `unit` over and over."""
    return before + unit * ((MAX_BODY - len(before) - len(after)) // len(unit)) + after


IN_DATA = item()[:-1].encode() + b', "data": '
HOSTILE: dict[str, Callable[[], bytes]] = {
    "objects": lambda: _filled(b"{},"),
    "empty strings": lambda: _filled(b'"",'),
    "brackets": lambda: _filled(b"[", b"", b""),
    "one string": lambda: _filled(b"a", b'["', b'"]'),
    "one wide string": lambda: _filled("😀".encode(), b'[{"specversion":"1.0","id":"', b'"}]'),
    "halves of pairs": lambda: _filled(rb"\ud800", b'[{"specversion":"1.0","id":"', b'"}]'),
    "backslashes": lambda: _filled(rb"\\", b'[{"specversion":"1.0","id":"', rb'\ud800"}]'),
    "objects in data": lambda: _filled(b'{"":0},', b"[" + IN_DATA + b'{"n":[', b"0]}}]"),
    "unknown attributes": lambda: _filled(b'"x":0,', b"[{", b'"y":0}]'),
    "much data, one bad": lambda: b"[" + (IN_DATA + b'{"n":[' + b"[0]," * 16_000 + b"0]}},") * 126 + b"0]",
    "refused items": lambda: f"[{','.join([item(specversion='0.3', data={'n': 'x' * 500})] * 10_000)}]".encode(),
    "international subjects": lambda: (
        f"[{','.join(item(subject=f'änn@mün{n}.bücher{n}.de') for n in range(10_000))}]".encode()
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_answered_in_bounded_time(name: str) -> None:
    body = HOSTILE[name]()
    assert len(body) <= MAX_BODY
    began = time.process_time()
    _answer(body)
    assert time.process_time() - began < 10  # at most 2 where it was measured; room for slower machines


@pytest.mark.parametrize("name", ["objects", "empty strings", "brackets", "one wide string", "objects in data"])
def test_a_hostile_body_takes_bounded_memory(name: str) -> None:
    body = HOSTILE[name]()
    tracemalloc.start()
    _answer(body)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 * 2**20


def test_a_clean_batch_is_read_quickly() -> None:
    body = f"[{','.join(item(id=f'evt-{n}', subject=f'ann{n}@example.com') for n in range(5000))}]".encode()
    read(body, single=None)
    began = time.process_time()
    read(body, single=None)
    assert time.process_time() - began < 0.1  # about 0.008 on the machine it was measured on
