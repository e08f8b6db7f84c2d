"""Read events from a file in bounded memory: CloudEvents in lines of JSON, or CSV (DESIGN section 8).

What is wrong with a file as a whole raises `BadFile`; a bad line becomes a `Refusal` and costs no neighbour.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

import msgspec

from metering import csv_rows
from metering.envelope import Event, Refusal, read
from metering.json_text import BadBody
from metering.lines import BadFile, Line, read_lines, refuse_text

__all__ = ["BadFile", "Batch", "Format", "batches", "check_file", "format_of"]

Format = Literal["ndjson", "csv"]

BATCH_EVENTS: Final = 5_000
BATCH_BYTES: Final = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes through intake at once; `lines[item.index]` is the line on which an item begins, from 1."""

    items: list[Event | Refusal]
    lines: list[int]


def format_of(name: str) -> Format:
    """The format that a file's name tells: CSV by its extension, else lines of JSON."""
    return "csv" if name.lower().endswith(".csv") else "ndjson"


def check_file(stream: BinaryIO, file_format: Format) -> None:
    """Look at the beginning of a file. Raises `BadFile` if it is not text or has not our columns."""
    next(_lines(stream, file_format), None)


def batches(stream: BinaryIO, file_format: Format, *, check: Callable[[Event], Event | Refusal]) -> Iterator[Batch]:
    """The items of a file in batches of 5,000 events or 4 MiB. `check` may refuse an event in good form.

    Raises `BadFile`, and whatever `OSError` reading raises.
    """
    batch, size = Batch([], []), 0
    for line in _lines(stream, file_format):
        item = _item(line)
        if isinstance(item, Event):
            item = check(item)
        batch.items.append(msgspec.structs.replace(item, index=len(batch.items)))
        batch.lines.append(line.number)
        size += len(line.text)
        if len(batch.items) >= BATCH_EVENTS or size >= BATCH_BYTES:
            yield batch
            batch, size = Batch([], []), 0
    if batch.items:
        yield batch


def _lines(stream: BinaryIO, file_format: Format) -> Iterator[Line]:
    lines = read_lines(stream)
    return csv_rows.as_json(lines) if file_format == "csv" else lines


def _item(line: Line) -> Event | Refusal:
    if line.refusal is not None:
        return line.refusal
    try:
        return read(line.text, single=True)[0]
    except BadBody as error:
        return refuse_text(error.code, error.detail.replace("The body", "The line"), line.text)
