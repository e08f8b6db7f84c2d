"""JSON that may be hostile: judged as text, and cut into items, before any of it becomes objects.

4 MiB of `{},{},…` is 127 MiB of Python objects, and JSON nested 5,000 deep ends a recursive parser
(RELIABILITY.md section 0, findings 7 and 9). So depth and number are found by counting brackets, and the
grammar is checked by msgspec while it skips over values that it leaves as text.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

MAX_BODY: Final = 8 * 2**20
"""Bytes of a body, after inflating."""

MAX_EVENTS: Final = 10_000
"""Items of a batch."""

MAX_DEPTH: Final = 1_000
"""Levels of a body, above which nothing of it is read; what one event may hold is far less."""

WHITE_SPACE: Final = b" \t\n\r"

# Text is looked at in windows: 8 MiB of `"",` split at once would be a list of 45 MB.
_WINDOW: Final = 256 * 2**10
_OPENING, _CLOSING = b"[{", b"]}"
_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(_OPENING + _CLOSING + b","))
_HALF = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_SURROGATE: Final = re.compile(_HALF)
_UP_TO_LONE_SURROGATE: Final = re.compile(rb"(?:[^\\]++|\\[^u]|(?!" + _HALF + rb")\\u|" + _PAIR + rb")*+")
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_LONE_SURROGATE_BYTES: Final = len(rb"\ud800")
_ANYTHING: Final = msgspec.json.Decoder(msgspec.Raw)
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class BadBody(ValueError):
    """A body of which nothing can be read: `code` and `detail` for the answer, `status` 400 or 413."""

    def __init__(self, code: str, detail: str, status: int = 400) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.status = status


class Item:
    """One value of a batch, still JSON text.

    `readable` is `given` with every lone surrogate escape turned into an escaped NUL: msgspec takes the one
    nowhere and the other everywhere, and our rules refuse both in the same places.
    """

    __slots__ = ("given", "readable")

    def __init__(self, given: bytes, readable: bytes) -> None:
        self.given = given
        self.readable = readable

    def ascii(self, most: int) -> bytes:
        """The item in at most `most` bytes of ASCII JSON: as it was given, but for escaped characters.

        One too long becomes an object of its length, its fingerprint and its first kilobyte, so that it is
        still JSON and still told apart from others. `most` is at least 8 KiB.
        """
        if len(self.given) <= most:
            escaped = _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], self.given.decode()).encode("ascii")
            if len(escaped) <= most:
                return escaped
        fingerprint = hashlib.sha256(self.given).hexdigest()
        begins = self.given[:1024].decode(errors="ignore")
        cut = {"cut": True, "bytes": len(self.given), "sha256": fingerprint, "begins": begins}
        return json.dumps(cut).encode("ascii")


def first_byte(body: bytes) -> bytes:
    """The first byte of `body` that is not white space, or none."""
    return body.lstrip(WHITE_SPACE)[:1]


def split(body: bytes, *, single: bool | None) -> Iterator[Item]:
    """The items of a batch, or the one item that the body is, each of them well-formed JSON of any kind.

    `body` has passed `check_encoding`. `single` asks for one object (True), an array (False), or takes either
    (None). Raises `BadBody`, and does so before the first item is asked for.
    """
    _check_shape(body)
    readable = _without_lone_surrogates(body)
    try:
        whole = _ANYTHING.decode(readable)
        kind = first_byte(body)
        if kind == b"[" and single is not True:
            return _items(body, readable, _ITEMS.decode(readable))
    except RecursionError:
        raise BadBody("too_deep", "The body is nested too deeply.") from None
    except msgspec.DecodeError as error:
        # msgspec names the byte and quotes nothing.
        raise BadBody("bad_json", f"The body is not JSON: {str(error).removeprefix('JSON is malformed: ')}.") from None
    if kind == b"{" and single is not False:
        return _items(body, readable, [whole])
    wanted = {
        True: "one event, an object",
        False: "a batch, an array",
        None: "an event or an array of events",
    }
    raise BadBody("not_events", f"The body must be {wanted[single]}.")


def check_encoding(body: bytes) -> None:
    """Raises `BadBody` unless `body` is UTF-8 without a byte order mark."""
    if body.startswith(b"\xef\xbb\xbf"):
        raise BadBody("bad_encoding", "The body begins with a byte order mark; send plain UTF-8.")
    if b"\0" in body[:4]:
        raise BadBody("bad_encoding", "The body looks like UTF-16 or UTF-32; send UTF-8.")
    try:
        if not body.isascii():
            body.decode()
    except UnicodeDecodeError as error:
        raise BadBody("bad_encoding", f"The body is not UTF-8 at byte {error.start}.") from None


def _check_shape(body: bytes) -> None:
    """Raises `BadBody` if `body` is nested too deeply or is an array of too many items.

    Of a body that is not JSON it may say anything or nothing.
    """
    if openings(body) <= MAX_DEPTH and body.count(b",") < MAX_EVENTS:
        return
    depth, items = 0, 1
    is_array = first_byte(body) == b"["
    for mark in itertools.chain.from_iterable(structure(body)):
        if mark in _OPENING:
            depth += 1
            if depth > MAX_DEPTH:
                raise BadBody("too_deep", f"The body is nested more than {MAX_DEPTH} levels deep.")
        elif mark in _CLOSING:
            depth -= 1
        elif depth == 1 and is_array:
            items += 1
            if items > MAX_EVENTS:
                raise BadBody("too_many_events", f"A batch has at most {MAX_EVENTS} events.", 413)


def openings(text: bytes) -> int:
    """How often an array or object may open in `text`; an upper bound, for strings may hold brackets."""
    return text.count(b"[") + text.count(b"{")


def outside_strings(text: bytes) -> Iterator[bytes]:
    """JSON `text`, window by window, without what is inside its strings; one `"` is left for each."""
    without_escapes = text.replace(rb"\\", b"").replace(rb"\"", b"")
    inside = 0
    for begin in range(0, len(without_escapes), _WINDOW):
        parts = without_escapes[begin : begin + _WINDOW].split(b'"')
        yield b'"'.join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2


def structure(text: bytes) -> Iterator[bytes]:
    """The brackets and commas of JSON `text`, window by window, without those inside strings."""
    return (window.translate(None, _NOT_STRUCTURE) for window in outside_strings(text))


def depth(text: bytes) -> int:
    """How many arrays and objects enclose the innermost value of well-formed JSON `text`."""
    here = deepest = 0
    for mark in itertools.chain.from_iterable(structure(text)):
        if mark in _OPENING:
            here += 1
            deepest = max(deepest, here)
        elif mark in _CLOSING:
            here -= 1
    return deepest


def _without_lone_surrogates(body: bytes) -> bytes:
    """`body`, byte for byte as long, with every escape of half a surrogate pair turned into `\\u0000`."""
    if _SURROGATE.search(body) is None:
        return body
    marked = bytearray(body)
    position = 0
    while up_to := _UP_TO_LONE_SURROGATE.match(marked, position):
        position = up_to.end() + _LONE_SURROGATE_BYTES
        if _SURROGATE.match(marked, up_to.end()) is None:
            break  # the end, or a backslash right before it: then the decoder will say that this is no JSON
        marked[up_to.end() : position] = rb"\u0000"
    return bytes(marked)


def _items(body: bytes, readable: bytes, values: list[Any]) -> Iterator[Item]:
    """Each of `values`, which are `msgspec.Raw` of `readable`, with the same bytes of `body` beside it."""
    end = 0
    for value in values:
        text = bytes(value)
        # Only white space, a comma or the first bracket lies between, so the first place found is the place.
        begin = readable.find(text, end)
        end = begin + len(text)
        yield Item(text if readable is body else body[begin:end], text)
