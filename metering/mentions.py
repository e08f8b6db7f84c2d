"""Whether something that was sent names one of some people, in any spelling: for erasure. Pure."""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, Final

from metering.identity import BadSubject, normalise

_ESCAPED: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_ADDRESS: Final = re.compile(r"""[^\s"'<>,;:(){}\[\]\\]{1,320}@[^\s"'<>,;:(){}\[\]\\@]{1,320}""")


class Mentions:
    """Finds people by their identities. An address is found wherever it stands; a channel user id, which may be any
    word, where a person is named, and in what cannot be read as JSON."""

    def __init__(self, identities: Iterable[str]) -> None:
        self._identities = frozenset(identities)
        addresses = [identity for identity in self._identities if "@" in identity]
        self._local_parts = {_folded(identity.partition("@")[0]) for identity in addresses}
        self._addresses = _words(addresses, r"(?<![\w.+%-])", r"(?![\w-])(?!\.\w)")
        self._user_ids = _words(self._identities.difference(addresses), r"(?<!\w)", r"(?!\w)")

    def in_body(self, body: bytes) -> bool:
        """Whether the body of a refused item, as the quarantine keeps it, names one of them."""
        text = body.decode(errors="replace")
        try:
            value = json.loads(text, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError):
            return self._in_broken_text(text)
        return self._is_named_by(value) or any(map(self.in_text, _texts(value)))

    def in_text(self, text: str) -> bool:
        """Whether a text holds the address of one of them."""
        return next(self._places(text), None) is not None

    def without(self, text: str) -> str:
        """A text without their addresses."""
        left, end = "", 0
        for begin, until in sorted(self._places(text)):
            if begin >= end:
                left += f"{text[end:begin]}(erased)"
            end = max(end, until)
        return left + text[end:]

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        yield from (found.span() for found in self._addresses.finditer(text))
        for found in _ADDRESS.finditer(text):
            spelling = found[0].rstrip(".")
            if _folded(spelling.partition("@")[0]) in self._local_parts and self._is_one(spelling):
                yield found.start(), found.start() + len(spelling)

    def _in_broken_text(self, text: str) -> bool:
        plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
        return self._user_ids.search(plain) is not None or self.in_text(plain)

    def _is_named_by(self, value: Any) -> bool:
        """Whether an event's subject or `data.from` is one of them, or the beginning of one that was cut names them."""
        for name, part in value if isinstance(value, _Pairs) else ():
            if name == "subject" and self._is_one(part):
                return True
            if name == "data" and isinstance(part, _Pairs) and any(k == "from" and self._is_one(v) for k, v in part):
                return True
            if name == "begins" and isinstance(part, str) and self._in_broken_text(part):
                return True
        return False

    def _is_one(self, spelling: Any) -> bool:
        try:
            return isinstance(spelling, str) and normalise(spelling) in self._identities
        except BadSubject:
            return False


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, repeated keys included."""


def _texts(value: Any) -> Iterator[str]:
    """Every text of a value of JSON, keys included."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, list | tuple):
            rest.extend(part)


def _words(texts: Iterable[str], before: str, after: str) -> re.Pattern[str]:
    any_of = "|".join(re.escape(text) for text in sorted(texts)) or "(?!)"
    return re.compile(f"{before}(?:{any_of}){after}", re.IGNORECASE)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
