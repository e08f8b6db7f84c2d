"""Bodies, bounded while they are read: of the right media type, inflated if need be; for most, one object.

REST framework's parsers are not used: they read a body whole before they judge it, and one that comes in
chunks (without a length) not at all.
"""

import re
import zlib
from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec
from django.http import HttpRequest

from billing_site.api.problems import Problem
from metering.envelope import MAX_BODY, BadBody
from metering.json_text import check_encoding

MAX_OBJECT: Final = 64 * 2**10
"""Bytes of a body that is one object of a dozen short fields."""

_CHUNK: Final = 64 * 2**10
_GZIP: Final = 16 + zlib.MAX_WBITS
_UTF_8: Final = ("charset=utf-8", 'charset="utf-8"', "")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_DECODE = msgspec.json.Decoder().decode


def media_type(request: HttpRequest, accepted: Collection[str]) -> str:
    """Which of the accepted media types the body has. Raises `Problem`, 415; no charset but UTF-8."""
    kind, *parameters = request.META.get("CONTENT_TYPE", "").split(";")
    found: str = kind.strip(" \t").lower()
    if found not in accepted:
        detail = f"Send the body with a Content-Type: {' or '.join(sorted(accepted))}."
        raise Problem(415, "unsupported_media_type", detail)
    if any(parameter.strip(" \t").lower() not in _UTF_8 for parameter in parameters):
        detail = "The only parameter of the Content-Type is charset, and the only charset UTF-8."
        raise Problem(415, "unsupported_charset", detail)
    return found


def read_body(request: HttpRequest, most: int = MAX_BODY) -> bytes:
    """The body, inflated if it is gzip, never holding more than `most` bytes of it and a chunk.

    Raises `Problem` as `stream_body` does.
    """
    return b"".join(stream_body(request, most))


def stream_body(request: HttpRequest, most: int) -> Iterator[bytes]:
    """The body in pieces, inflated if it is gzip, of at most `most` bytes in all.

    Raises `Problem` on the way: 413 `body_too_large`, 415 `unsupported_encoding`, 400 `bad_gzip`, `cut_off`.
    """
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "identity").strip(" \t").lower()
    if encoding not in ("identity", "", "gzip", "x-gzip"):
        detail = "The body may be sent as it is or as gzip."
        raise Problem(415, "unsupported_encoding", detail, headers={"Accept-Encoding": "gzip"})
    chunks = _chunks(request, most)
    if "gzip" in encoding:
        chunks = _inflated(chunks)
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        yield chunk


def read_object(request: HttpRequest) -> dict[str, Any]:
    """The JSON object that a body is. Raises `Problem`, `BadBody`. Of duplicate keys the last wins."""
    media_type(request, ["application/json"])
    body = read_body(request, MAX_OBJECT)
    check_encoding(body)
    if not body.strip(b" \t\r\n"):
        raise BadBody("empty_body", "The body is empty; send a JSON object.")
    try:
        value = _DECODE(body)
    except RecursionError:
        raise BadBody("too_deep", "The body is nested too deeply.") from None
    except msgspec.DecodeError as error:
        # msgspec names the byte and quotes nothing.
        raise BadBody("bad_json", f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise BadBody("not_an_object", "The body must be a JSON object.")
    return value


def _chunks(request: HttpRequest, most: int) -> Iterator[bytes]:
    """What comes from the network; from a server that ends the stream itself (gunicorn) in chunks, too."""
    length = request.META.get("CONTENT_LENGTH") or ""
    declared = int(length) if _LENGTH.fullmatch(length) else None
    if declared is not None and declared > most:
        raise _too_large(most)
    ends_itself = request.META.get("wsgi.input_terminated", False)
    stream = request.META["wsgi.input"] if ends_itself and declared is None else request
    seen = 0
    while True:
        try:
            chunk: bytes = stream.read(_CHUNK)
        except Exception as error:  # each server has its own for a bad chunk or a client that went away
            raise _cut_off() from error
        if not chunk:
            break
        seen += len(chunk)
        if seen > most:
            raise _too_large(most)
        yield chunk
    if declared is not None and seen < declared:
        raise _cut_off()


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of one gzip member and nothing after it, a chunk at a time."""
    inflater = zlib.decompressobj(_GZIP)
    for chunk in chunks:
        if inflater.eof:
            raise _bad_gzip("something follows its end")
        pending = chunk
        while pending:
            try:
                yield inflater.decompress(pending, _CHUNK)
            except zlib.error:
                raise _bad_gzip("it is damaged") from None
            pending = inflater.unconsumed_tail
        if inflater.unused_data:
            raise _bad_gzip("something follows its end")
    yield inflater.flush()
    if not inflater.eof:
        raise _bad_gzip("it is cut off")


def _too_large(most: int) -> Problem:
    return Problem(413, "body_too_large", f"A body has at most {most} bytes here, inflated.")


def _bad_gzip(why: str) -> Problem:
    return Problem(400, "bad_gzip", f"The body is not gzip as it should be: {why}.")


def _cut_off() -> Problem:
    return Problem(400, "cut_off", "The body ended before its end.")
