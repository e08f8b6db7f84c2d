"""Bodies and media types that are refused: each with a code, none with a 5xx, none at the cost of memory."""

import gzip
import io
import json
import tracemalloc
import zlib
from typing import Any

import pytest
from django.test import RequestFactory

from billing_site.api.bodies import read_body
from billing_site.api.problems import Problem
from billing_site.wsgi import application
from metering.envelope import MAX_BODY
from metering.models import Event
from tests.factories import Caller, event

pytestmark = pytest.mark.django_db

GOOD = json.dumps([event()]).encode()

BAD_BODIES: list[tuple[str, bytes, int]] = [
    ("empty", b"", 400),
    ("white space", b" \r\n\t", 400),
    ("truncated", GOOD[:-5], 400),
    ("trailing junk", GOOD + b"x", 400),
    ("two values", GOOD + GOOD, 400),
    ("BOM", b"\xef\xbb\xbf" + GOOD, 400),
    ("UTF-16", GOOD.decode().encode("utf-16"), 400),
    ("UTF-16 without BOM", GOOD.decode().encode("utf-16-le"), 400),
    ("UTF-32", GOOD.decode().encode("utf-32"), 400),
    ("latin-1", '[{"id": "é"}]'.encode("latin-1"), 400),
    ("surrogate bytes", b'[{"id": "\xed\xa0\x80"}]', 400),
    ("null", b"null", 400),
    ("a number", b"1", 400),
    ("a string", b'"x"', 400),
    ("true", b"true", 400),
    ("NaN", b"[NaN]", 400),
    ("Infinity", b"-Infinity", 400),
    ("single quotes", b"[{'id': 1}]", 400),
    ("a bare NUL", b"\0", 400),
    ("5,000 levels", b"[" * 5_000 + b"]" * 5_000, 400),
    ("100,000 levels, never closed", b'{"a":' * 100_000, 400),
    ("10,001 events", json.dumps([{}] * 10_001).encode(), 413),
    ("4 MiB of empty objects", b"[" + b"{}," * 1_398_100 + b"{}]", 413),
    ("8 MiB and a byte", b" " * (MAX_BODY + 1), 413),
]


@pytest.mark.parametrize(("body", "status"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES])
@pytest.mark.parametrize("content_type", ["application/json", "application/cloudevents-batch+json"])
def test_a_body_of_which_nothing_can_be_read_is_refused(
    acme_caller: Caller, body: bytes, status: int, content_type: str
):
    answer = acme_caller.post("events", body, content_type)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"]
    assert not Event.objects.exists()


BAD_ITEMS: list[Any] = [
    None,
    1,
    "x",
    [],
    {},
    {**event(), "id": "\0"},
    {**event(), "id": "a\u202eb"},
    {**event(), "id": "x" * 256},
    {**event(), "source": "\r\n"},
    {**event(), "type": "\0"},
    {**event(), "subject": "a\r\nBcc: x@y"},
    {**event(), "subject": ""},
    {**event(), "subject": "x" * 500},
    {**event(), "time": "2026-11-22"},
    {**event(), "time": "0000-01-01T00:00:00Z"},
    {**event(), "time": "9999-12-31T23:59:59-23:59"},
    {**event(), "time": 1},
    {**event(), "specversion": "0.3"},
    {**event(), "account": None},
    {**event(), "data": []},
    {**event(), "nonsense": 1},
    {**event(), "type": "score.set", "data": {"value": "many"}},
    {**event(), "data": {"text": "\0"}},
]


@pytest.mark.parametrize("item", BAD_ITEMS)
def test_a_bad_item_costs_its_neighbours_nothing(acme_caller: Caller, item: Any):
    answer = acme_caller.send([event(id="before"), item, event(id="after")])

    assert answer.status_code == 200
    assert answer.json()["outcomes"] == {"recorded": 2, "rejected": 1}
    [refused] = answer.json()["items"]
    assert refused["index"] == 1
    assert refused["code"]
    assert refused["detail"]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"id": "x", "data": {"n": 1e400}}',
        b'{"data": {"n": ' + b"9" * 5_000 + b"}}",
        b'{"data": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
    ],
)
def test_an_item_that_only_the_slow_way_can_read_costs_its_neighbours_nothing(acme_caller: Caller, raw: bytes):
    body = b"[" + json.dumps(event()).encode() + b"," + raw + b"]"

    answer = acme_caller.post("events", body)

    assert answer.status_code == 200
    assert answer.json()["outcomes"] == {"recorded": 1, "rejected": 1}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/xml",
        "text/plain",
        "text/json",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/x-ndjson",
        "*/*",
        "application/json, application/json",
        "application/json; charset=utf-16",
        "application/json; charset=nope",
        "application/json; charset=latin-1",
        "application/json; charset=hex",
        "application/json; charset=idna",
        "application/json; version=1",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json" + "; " * 2_000 + "x",
    ],
)
def test_another_media_type_or_charset_is_refused(acme_caller: Caller, content_type: str):
    answer = acme_caller.post("events", GOOD, content_type)

    assert answer.status_code == 415
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "content_type",
    [
        *(
            f"application/json; charset={charset}"
            for charset in ("hex", "rot13", "undefined", "utf-16", "idna", "unicode_escape", "é")
        ),
        "application/json; charset*=nope''utf-8",
        "application/json; charset*=utf-8''%ff",
        "application/json; charset",
        "x" * 20_000,
        ";",
    ],
)
def test_no_content_type_breaks_a_request_before_it_reaches_us(acme_caller: Caller, content_type: str):
    environ = RequestFactory().get("/api/v1/usage?account=acme").environ
    environ |= {"CONTENT_TYPE": content_type, "HTTP_AUTHORIZATION": f"Bearer {acme_caller.key}"}
    post = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/v1/events", "QUERY_STRING": "dry_run=true"}

    answers = [application.get_response(application.request_class(each)) for each in (environ, environ | post)]

    assert [answer.status_code for answer in answers] == [200, 415]


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "nope", "gzip;q=1"])
def test_another_content_encoding_is_refused(acme_caller: Caller, encoding: str):
    answer = acme_caller.post("events", GOOD, content_encoding=encoding)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")
    assert answer.headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        GOOD,
        b"\x1f\x8b",
        gzip.compress(GOOD)[:-1],
        gzip.compress(GOOD)[:-8] + b"\0" * 8,
        gzip.compress(GOOD) + b"x",
        gzip.compress(GOOD) + gzip.compress(GOOD),
        zlib.compress(GOOD),
    ],
)
def test_a_gzip_that_is_none_is_cut_off_or_goes_on_is_refused(acme_caller: Caller, body: bytes):
    answer = acme_caller.post("events", body, content_encoding="gzip")

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_gzip")
    assert not Event.objects.exists()


def test_a_gzip_bomb_is_refused_before_memory_grows(acme_caller: Caller):
    bomb = gzip.compress(b" " * 100_000_000)
    assert len(bomb) < 100_000

    tracemalloc.start()
    answer = acme_caller.post("events", bomb, content_encoding="gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert peak < 4 * MAX_BODY


def test_a_body_of_eight_mebibytes_is_read(acme_caller: Caller):
    body = GOOD + b" " * (MAX_BODY - len(GOOD))

    assert acme_caller.post("events", body).json()["outcomes"] == {"recorded": 1}
    assert acme_caller.post("events", gzip.compress(body), content_encoding="gzip").status_code == 200


class Endless(io.RawIOBase):
    """A client that sends chunks for ever, and counts what was taken from it."""

    taken = 0

    def read(self, size: int = -1, /) -> bytes:
        self.taken += size
        return b" " * size


def _chunked(stream: Any, **environ: Any) -> Any:
    return RequestFactory().post(
        "/", **{"wsgi.input": stream, "wsgi.input_terminated": True, "CONTENT_LENGTH": "", **environ}
    )


def test_a_body_in_chunks_without_a_length_is_read():
    assert read_body(_chunked(io.BytesIO(GOOD))) == GOOD
    assert read_body(_chunked(io.BytesIO(gzip.compress(GOOD)), HTTP_CONTENT_ENCODING="gzip")) == GOOD


@pytest.mark.parametrize("encoding", ["identity"])
def test_a_body_in_chunks_that_does_not_end_is_left_at_the_bound(encoding: str):
    stream = Endless()

    with pytest.raises(Problem) as refused:
        read_body(_chunked(stream, HTTP_CONTENT_ENCODING=encoding))

    assert refused.value.status == 413
    assert stream.taken <= MAX_BODY + 2 * 64 * 1024


def test_a_declared_length_beyond_the_bound_is_refused_unread():
    stream = Endless()

    with pytest.raises(Problem) as refused:
        read_body(_chunked(stream, CONTENT_LENGTH=str(MAX_BODY + 1)))

    assert (refused.value.status, stream.taken) == (413, 0)


def test_a_body_shorter_than_it_said_is_refused():
    with pytest.raises(Problem) as refused:
        read_body(_chunked(io.BytesIO(GOOD), CONTENT_LENGTH=str(len(GOOD) + 1)))

    assert refused.value.code == "cut_off"


class Broken(io.RawIOBase):
    """A client whose chunks cannot be parsed, as a server tells it: with an exception of its own."""

    def read(self, size: int = -1, /) -> bytes:
        raise RuntimeError("invalid chunk size")


def test_a_broken_stream_is_the_clients_fault():
    with pytest.raises(Problem) as refused:
        read_body(_chunked(Broken()))

    assert (refused.value.status, refused.value.code) == (400, "cut_off")
