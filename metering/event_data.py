"""The `data` of an event: JSON text → a small plain dict, or why not."""

import re
from typing import Any, Final

import msgspec

from metering import json_text

MAX_DATA: Final = 64 * 2**10
"""Bytes of `data` as it was sent, from its first brace to its last."""

MAX_DEPTH: Final = 16
"""Levels of objects and arrays, `data` itself being the first."""

MAX_KEYS: Final = 1_000
"""Keys in all its objects together, repeated ones included."""

MAX_DIGITS: Final = 30
"""Digits of a number as written, exponent aside."""

MAX_EXPONENT: Final = 300
"""The exponent of a number as written lies below this, either way."""

_WILD_NUMBER: Final = re.compile(
    rb"[0-9](?:(?:\.?[0-9]){30}|[eE][+-]?0*+(?:[3-9][0-9][0-9]|[1-9][0-9]{3}))"  # from 31 digits, from 1e300
)
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])


class BadData(ValueError):
    """The data cannot be kept: `code` is `bad_data` or `too_large`, `detail` says why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


def read(text: bytes) -> dict[str, Any] | None:
    """The object that `text`, one JSON value without white space around it, stands for; None if it is empty.

    The text is judged before it is decoded, so what is refused costs no memory. Raises `BadData`, also for
    text that is not well-formed JSON.
    """
    if not text.startswith(b"{"):
        raise BadData("bad_data", "data must be an object.")
    if len(text) > MAX_DATA:
        raise BadData("too_large", f"data has at most {MAX_DATA} bytes.")
    _check_text(text)
    try:
        return _DECODER.decode(text) or None
    except (msgspec.DecodeError, UnicodeDecodeError):
        # What is left of a well-formed text here: an infinite number, half a surrogate pair.
        raise BadData("bad_data", "data holds a number or a character that cannot be stored.") from None


def _check_text(text: bytes) -> None:
    """Raises `BadData` for what may not stand in the text; each exact look comes after a cheap one."""
    if json_text.openings(text) > MAX_DEPTH and json_text.depth(text) > MAX_DEPTH:
        raise BadData("bad_data", f"data is nested more than {MAX_DEPTH} levels deep.")
    if text.count(b":") > MAX_KEYS and _bare(text).count(b":") > MAX_KEYS:
        raise BadData("bad_data", f"data has more than {MAX_KEYS} keys.")
    if _WILD_NUMBER.search(text) and _WILD_NUMBER.search(_bare(text)):
        raise BadData("bad_data", f"A number has at most {MAX_DIGITS} digits and an exponent below {MAX_EXPONENT}.")
    if rb"\u0000" in text and rb"\u0000" in text.replace(rb"\\", b""):
        raise BadData("bad_data", "data holds a NUL or half a surrogate pair, which cannot be stored.")


def _bare(text: bytes) -> bytes:
    """`text`, at most `MAX_DATA` bytes, without what is inside its strings."""
    return b"".join(json_text.outside_strings(text))
