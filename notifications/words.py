"""How mails say numbers, dates, money, units and names. Pure."""

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from notifications.facts import TierFacts

LONGEST_NAME: Final = 80
"""Characters of a name in a text; what is longer is cut."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit's name, alone and counted, and what the count's next step is called."""

    one: str
    many: str
    next_one: str
    overlap: bool  # whether one of them can come from several connections

    def count(self, number: int) -> str:
        """`1 active contact`, `1,000 active contacts`."""
        return f"{number:,} {self.one if number == 1 else self.many}"


UNITS: Final = {
    "app_connector_events": Unit("app connector event", "app connector events", "next event", overlap=False),
    "active_contacts": Unit("active contact", "active contacts", "next new contact", overlap=True),
    "activated_contacts": Unit("activated contact", "activated contacts", "next new contact", overlap=True),
}


def plain(name: str, at_most: int = LONGEST_NAME) -> str:
    """A name on one line, without characters that steer (line breaks, direction marks), cut when too long."""
    kept = "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in name)
    line = " ".join(kept.split())
    return line if len(line) <= at_most else line[: at_most - 1].rstrip() + "…"


def events(number: int) -> str:
    """`1 event`, `1,000 events`."""
    return f"{number:,} event{'' if number == 1 else 's'}"


def ordinal(number: int) -> str:
    """`1st`, `12th`, `1,002nd`."""
    teen = 10 <= number % 100 < 20
    return f"{number:,}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def money(price: Decimal) -> str:
    """`EUR 1,290.00`."""
    return f"EUR {price:,.2f}"


def moment(at: datetime, timezone: str) -> str:
    """`1 December 2026, 00:00 (Europe/Berlin)`."""
    zone = _zone(timezone)
    local = at.astimezone(zone)
    return f"{local.day} {local:%B %Y, %H:%M} ({zone})"


def _zone(timezone: str) -> tzinfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a zone that is no more; the mail names what it used
        return UTC


def tier(tier: TierFacts, unit: Unit) -> str:
    """`growth (2,500 active contacts)`."""
    return f"{plain(tier.key)} ({'no limit' if tier.limit is None else unit.count(tier.limit)})"


def offer(tier: TierFacts, unit: Unit) -> str:
    """`growth (2,500 active contacts, EUR 99.00 per billing period)`."""
    limit = "no limit" if tier.limit is None else unit.count(tier.limit)
    return f"{plain(tier.key)} ({limit}, {money(tier.price)} per billing period)"


def listed(names: Sequence[str], at_most: int = 25) -> str:
    """`a, b and c`; of many the first ones `and 12 more`."""
    shown = [plain(name) for name in names[:at_most]]
    if len(names) > at_most:
        shown.append(f"{len(names) - at_most:,} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def wrapped(text: str, *, first: str = "", rest: str = "", width: int = 72) -> str:
    """A text in lines; long words, such as addresses, stay whole."""
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
