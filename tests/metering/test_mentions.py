"""Whom a refused body names: any spelling of an address, and nobody else's (for erasure)."""

import json
from typing import Any

import pytest

from metering.mentions import Mentions

ANN = Mentions(["ann@example.com", "o'neil@xn--bcher-kva.example", "ig:42"])


def body(**attributes: Any) -> bytes:
    return json.dumps({"specversion": "1.0", "id": "evt-1", **attributes}).encode()


NAMED: dict[str, bytes] = {
    "as a subject": body(subject="ann@example.com"),
    "in another spelling": body(subject="  ANN@Example.COM "),
    "in Unicode": body(subject="O'Neil@Bücher.example"),
    "as a channel user id": body(subject="ig:42"),
    "as an old address": body(subject="x@y.example", data={"from": " Ann@example.com"}),
    "as an old channel user id": body(subject="x@y.example", data={"from": "ig:42"}),
    "in an id": body(id="sent-to:ann@example.com:7"),
    "as a name": body(**{"ann@example.com": 1}),
    "deep inside": body(data={"list": [{"note": "ask <Ann@Example.com>, please"}]}),
    "before it is repeated": b'{"subject": "ann@example.com", "subject": "bob@example.com"}',
    "as an item that is no object": b'"ann@example.com"',
    "beside half a character": b'{"id": "\\ud800", "subject": "ann@example.com"}',
    "in what is cut off": b'{"subject": "ann@example.com',
    "escaped in what is cut off": b'{"subject": "\\u0041nn@example.com", ',
    "as a channel user id in what is cut off": b'{"subject": "ig:42',
    "at the beginning of what is too long": json.dumps(
        {"cut": True, "begins": '{"subject": "Ann@example.com", '}
    ).encode(),
    "as a channel user id there": json.dumps({"cut": True, "begins": '{"subject": "ig:42", '}).encode(),
    "at the end of a sentence": b"not JSON: ann@example.com.",
}
NOT_NAMED: dict[str, bytes] = {
    "somebody else": body(subject="bob@example.com"),
    "a longer address": body(subject="joann@example.com"),
    "an address with a tag": body(subject="ann+news@example.com"),
    "a longer domain": b"not JSON: ann@example.com.au",
    "a longer domain in Unicode": "not JSON: ann@example.comü".encode(),
    "a channel user id as a word": body(data={"note": "ig:42"}, source="ig:42"),
    "a longer channel user id": b'{"subject": "ig:421',
    "nothing": b"",
    "a deep one": b"[" * 100_000,
    "many strangers": b"{" + b"a@b.example, " * 4_000,
}


@pytest.mark.parametrize("text", NAMED.values(), ids=NAMED)
def test_whoever_is_named_is_found(text: bytes):
    assert ANN.in_body(text)


@pytest.mark.parametrize("text", NOT_NAMED.values(), ids=NOT_NAMED)
def test_nobody_is_found_who_is_not_named(text: bytes):
    assert not ANN.in_body(text)


def test_of_nobody_nothing_is_found():
    assert not Mentions([]).in_body(b"")
    assert not Mentions([]).in_text("ann@example.com")


def test_a_text_is_rid_of_addresses():
    assert ANN.without("Ann@Example.com asked (ann@example.com), not joann@example.com") == (
        "(erased) asked ((erased)), not joann@example.com"
    )
