"""The lines of a file, however long or broken, in bounded memory."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from metering.envelope import Refusal

MAX_LINE: Final = 2**20
"""Bytes of a line; a longer one is refused without being held in memory."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NOT_TEXT = {
    b"PK\x03\x04": "is a zip archive or a workbook: unpack it, or save it as CSV.",
    b"\x1f\x8b": "is compressed with gzip: unpack it first.",
    b"\xff\xfe": "is UTF-16: save it as UTF-8.",
    b"\xfe\xff": "is UTF-16: save it as UTF-8.",
    b"\0": "is not text in UTF-8.",
}
_KEPT = 1024  # bytes of a bad line that the quarantine shows
_CHUNK = 2**16


class BadFile(ValueError):
    """A file cannot be read as a whole; the message goes on after its name."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank, with its number, from 1; or what became of one that cannot be read."""

    number: int
    text: bytes
    refusal: Refusal | None = None


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    """The lines that are not blank, without their ends. Raises `BadFile` for what is not text in UTF-8."""
    line = stream.readline(MAX_LINE + 1)
    _check_is_text(line)
    line = line.removeprefix(_BYTE_ORDER_MARK) or b"\n"
    number = 1
    while line:
        if len(line) > MAX_LINE:
            yield _pass_over(number, line, stream)
        elif not line.isspace():
            yield Line(number, line.rstrip(b"\r\n"))
        line = stream.readline(MAX_LINE + 1)
        number += 1


def refuse_text(code: str, detail: str, text: bytes) -> Refusal:
    """A refusal of a line that is no event's JSON."""
    return _refusal(code, detail, text, len(text), hashlib.sha256(text).hexdigest())


def _check_is_text(beginning: bytes) -> None:
    for mark, meaning in _NOT_TEXT.items():
        if beginning.startswith(mark):
            raise BadFile(meaning)
    if b"\0" in beginning[:4]:
        raise BadFile("looks like UTF-16 or UTF-32: save it as UTF-8.")


def _pass_over(number: int, begins: bytes, stream: BinaryIO) -> Line:
    """Read to the end of a line that is too long, keeping its beginning alone."""
    size, fingerprint, rest = len(begins), hashlib.sha256(begins), begins
    while rest and not rest.endswith(b"\n"):
        rest = stream.readline(_CHUNK)
        size += len(rest)
        fingerprint.update(rest)
    detail = f"A line has at most {MAX_LINE} bytes."
    return Line(number, b"", _refusal("too_large", detail, begins, size, fingerprint.hexdigest()))


def _refusal(code: str, detail: str, begins: bytes, size: int, fingerprint: str) -> Refusal:
    """The quarantine keeps, as JSON, how such a line begins and a fingerprint to tell it apart."""
    shown = begins[:_KEPT].decode(errors="replace")
    body = json.dumps({"cut": size > _KEPT, "bytes": size, "sha256": fingerprint, "begins": shown})
    return Refusal(0, None, None, None, code, None, detail, body.encode("ascii"))
