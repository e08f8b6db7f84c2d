"""Counted contacts as CSV, line by line: any number in bounded memory, and nothing that a spreadsheet would run."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from metering.counted import EVERYBODY, Wanted, contact_rows, counted_in
from metering.models import BillingPeriod

COLUMNS: Final = (
    "subject",
    "origin",
    "carried_in",
    "reasons",
    "first_time",
    "first_connection",
    "first_id",
    "first_type",
    "refused_since",
    "last_engaged_at",
)

CHUNK: Final = 1_000
"""Contacts read at once."""

# What makes a spreadsheet take a cell for a formula, at its beginning.
_RUNS: Final = ("=", "+", "-", "@", "\t", "\r")


class _Lines:
    """A file that hands on what is written to it."""

    def write(self, line: str) -> str:
        return line


def contacts_as_csv(period: BillingPeriod, wanted: Wanted = EVERYBODY) -> Iterator[str]:
    """The lines of a file, a header and a line per counted contact, as chunks of text.

    No transaction lasts over two chunks, so that a slow reader holds nothing up: of a closed period all lines are of
    one moment, of one that still counts each is of its own; nobody is listed twice.
    """
    writer = csv.writer(_Lines())
    yield writer.writerow(COLUMNS)
    for rows in _chunks(period, wanted):
        yield "".join(writer.writerow(_cells(row)) for row in rows)


def file_name(account: str, period: BillingPeriod) -> str:
    """What to call the file of an account's period: the account's slug and the day on which the period starts."""
    return f"contacts-{account}-{period.starts_at:%Y-%m-%d}.csv"


def _chunks(period: BillingPeriod, wanted: Wanted) -> Iterator[list[dict[str, Any]]]:
    rest = counted_in(period, wanted).order_by("contact_id")
    after = 0
    while chunk := list(rest.filter(contact_id__gt=after)[:CHUNK]):
        yield contact_rows(period.account_id, chunk)
        after = chunk[-1].contact_id


def _cells(row: Mapping[str, Any]) -> Iterable[str]:
    first = row["first"] or {}
    reasons = " ".join(f"{each['reason']}:{each['connection']}" for each in row["reasons"])
    cells = (
        row["subject"],
        row["origin"] or "",
        "true" if row["carried_in"] else "false",
        reasons,
        _time(first.get("time")),
        first.get("connection", ""),
        first.get("id", ""),
        first.get("type", ""),
        _time(row["refused_since"]),
        _time(row["last_engaged_at"]),
    )
    return map(_harmless, cells)


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_RUNS) else cell


def _time(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
