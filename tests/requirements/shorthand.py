"""Short words for the requirement tests: many people, the same about each, and what an account then sees."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from accounts.models import Account
from metering.usage import usage
from tests.factories import NOW, event

DECEMBER = datetime(2026, 12, 1, tzinfo=NOW.tzinfo)
"""When acme's next period begins; it stands at 22 November."""


def people(number: int, *, of: str = "contact") -> list[str]:
    """So many addresses, the same each time: `contact-0@example.com` and on."""
    return [f"{of}-{place}@example.com" for place in range(number)]


def followers(number: int, *, of: str = "follower") -> list[str]:
    """So many channel user ids, the same each time."""
    return [f"{of}-{place}" for place in range(number)]


def each(subjects: Iterable[str], source: str, kind: str, **attributes: Any) -> list[dict[str, Any]]:
    """One event of this type on this connection about each of these people."""
    return [event(subject=subject, source=source, type=kind, **attributes) for subject in subjects]


def used(account: Account, at: datetime = NOW) -> int:
    """The one number of the current period."""
    count: int = usage(account, at)["used"]
    return count


def by_reason(account: Account, at: datetime = NOW) -> list[tuple[str, int]]:
    """The rows by reason (by type on the event unit), in the order in which they are shown."""
    return [(row.get("reason") or row["type"], _number(row)) for row in usage(account, at)["by_reason"]]


def by_connection(account: Account, at: datetime = NOW) -> list[tuple[str, int]]:
    """The rows by connection, in the order in which they are shown."""
    return [(row["connection"], _number(row)) for row in usage(account, at)["by_connection"]]


def _number(row: dict[str, Any]) -> int:
    number: int = row["contacts"] if "contacts" in row else row["events"]
    return number
