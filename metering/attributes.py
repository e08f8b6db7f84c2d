"""What the text of each attribute must look like, one attribute at a time, for both ways of reading.

Subjects and identifiers, which are used outside envelopes too, have theirs in `identity`.
"""

import re
from datetime import UTC, datetime
from typing import Final

from metering.characters import shown

MAX_SLUG: Final = 63
"""Characters of an account's slug (DESIGN.md section 7, Rows)."""

# Stricter than datetime.fromisoformat, which also reads weeks, bare dates and, from Python 3.14, 24:00.
_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])(\.[0-9]+)?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_LONGEST_PLAIN: Final = len("2026-11-22T10:00:00.123456Z")
_SLUG: Final = re.compile(r"[a-z0-9-]{1,63}")
_JSON_MEDIA_TYPE: Final = re.compile(r'application/json(?:[ \t]*;[ \t]*charset="?utf-8"?)?', re.IGNORECASE)


class Fault(Exception):
    """What is wrong with an item: becomes its `Refusal`."""

    def __init__(self, code: str, field: str | None, detail: str) -> None:
        super().__init__(code, field, detail)
        self.code = code
        self.field = field
        self.detail = detail


def check_account(account: str) -> None:
    """Raises `Fault` unless `account` could be a slug."""
    if _SLUG.fullmatch(account):
        return
    if not account or account.isspace():
        raise Fault("blank", "account", "account must hold more than white space.")
    if len(account) > MAX_SLUG:
        raise Fault("too_long", "account", f"account has at most {MAX_SLUG} characters.")
    raise Fault("bad_characters", "account", "account holds only a-z, 0-9 and hyphens.")


def read_time(text: str) -> datetime:
    """The instant that `text`, RFC 3339 with an offset, names, in UTC. Raises `Fault`.

    Cut to microseconds, never rounded: an event at 23:59:59.9999999 belongs to that day and that period.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        if not text or text.isspace():
            raise Fault("blank", "time", "time must hold more than white space.")
        raise Fault("bad_time", "time", f'time must be like 2026-11-22T10:00:00Z, not "{shown(text)}".')
    try:
        if text[-1] == "Z" and len(text) <= _LONGEST_PLAIN and text[10] == "T":
            return datetime.fromisoformat(text)  # as nearly every sender writes it
        day, clock, fraction, offset = match.groups()
        if offset in "Zz":
            return datetime.fromisoformat(f"{day}T{clock}{(fraction or '')[:7]}Z")
        return datetime.fromisoformat(f"{day}T{clock}{(fraction or '')[:7]}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise Fault("bad_time", "time", f'"{shown(text)}" is no time that exists in UTC.') from None


def check_media_type(text: str) -> None:
    """Raises `Fault` unless `text` is the media type of JSON, with or without its charset."""
    if text != "application/json" and not _JSON_MEDIA_TYPE.fullmatch(text):
        detail = f'datacontenttype must be application/json, not "{shown(text)}".'
        raise Fault("unsupported_datacontenttype", "datacontenttype", detail)
