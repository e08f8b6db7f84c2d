"""Rows of a CSV file as CloudEvents in JSON, so that one way of judging events serves both."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from metering.lines import MAX_LINE, BadFile, Line, refuse_text

COLUMNS: Final = ("id", "source", "type", "subject", "time", "data")

MAX_ROW_LINES: Final = 1_000
"""Lines that a row may extend over, inside quotes."""

_HEADER = ",".join(COLUMNS)
_ANY_VALUE = msgspec.json.Decoder(msgspec.Raw)


class _BadRow(ValueError):
    """The text is not one row; says why."""


class _PushBack:
    """Lines, some of which may be given back to be read again."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._given_back: deque[Line] = deque()

    def next(self) -> Line | None:
        return self._given_back.popleft() if self._given_back else next(self._lines, None)

    def give_back(self, lines: list[Line]) -> None:
        self._given_back.extendleft(reversed(lines))


def as_json(lines: Iterator[Line]) -> Iterator[Line]:
    """Each row as one line of JSON, numbered by the line on which it begins.

    A row extends over several lines if a quote is open. If that gives no good row, its first line alone is
    refused and reading goes on with the second, so that a stray quote costs no neighbours. Raises `BadFile`
    unless the first line names our columns, in any order.
    """
    names = _read_header(next(lines, None))
    source = _PushBack(lines)
    while (first := source.next()) is not None:
        if first.refusal is not None:
            yield first
            continue
        row = _read_on_while_quoted(first, source)
        try:
            values = _values(b"\n".join(line.text for line in row), len(names))
        except _BadRow as error:
            source.give_back(row[1:])
            yield Line(first.number, first.text, refuse_text("bad_csv", str(error), first.text))
        else:
            yield Line(first.number, _event(dict(zip(names, values, strict=True))))


def _read_header(line: Line | None) -> list[str]:
    if line is None:
        raise BadFile(f"is empty: a CSV file begins with {_HEADER}.")
    try:
        names = [name.strip() for name in _fields(line.text)]
    except _BadRow:
        names = []
    if not set(names).intersection(COLUMNS):
        raise BadFile(f"does not begin with the names of the columns: {_HEADER}.")
    if unknown := [name for name in names if name not in COLUMNS]:
        raise BadFile(f"has a column {unknown[0][:100]!r} that is not known; there are {_HEADER}.")
    if missing := [name for name in COLUMNS if name not in names]:
        raise BadFile(f"has no column {missing[0]!r}; there must be {_HEADER}.")
    if len(names) != len(COLUMNS):
        raise BadFile(f"names a column twice; there must be {_HEADER}.")
    return names


def _read_on_while_quoted(first: Line, source: _PushBack) -> list[Line]:
    """A line and those after it until every quote is closed, or until that takes too many."""
    row, size, quotes = [first], len(first.text), first.text.count(b'"')
    while quotes % 2 and len(row) < MAX_ROW_LINES and size < MAX_LINE:
        line = source.next()
        if line is None:
            break
        row.append(line)
        if line.refusal is not None:
            break
        size += len(line.text)
        quotes += line.text.count(b'"')
    return row


def _values(text: bytes, columns: int) -> list[str]:
    values = _fields(text)
    if len(values) != columns:
        raise _BadRow(f"The row has {len(values)} values, not {columns}.")
    return values


def _fields(text: bytes) -> list[str]:
    try:
        lines = (line + "\n" for line in text.decode().split("\n"))
        rows = list(csv.reader(lines, strict=True))
    except UnicodeDecodeError:
        raise _BadRow("The row is not UTF-8.") from None
    except csv.Error as error:
        raise _BadRow(f"The row is not CSV: {error}.") from None
    if len(rows) != 1:
        raise _BadRow("The row is not CSV: a quote is not where it belongs.")
    return rows[0]


def _event(values: dict[str, str]) -> bytes:
    data = values.pop("data").strip()
    event: dict[str, Any] = {"specversion": "1.0", **values}
    if data:
        event["data"] = msgspec.Raw(data.encode()) if _is_json(data) else data
    return msgspec.json.encode(event)


def _is_json(text: str) -> bool:
    """Whether a text is one JSON value. If not it goes on as a string, which the envelope refuses."""
    try:
        _ANY_VALUE.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
