"""Import events from files through the same intake as HTTP, by the wall clock or by a clock of their own."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import BinaryIO, Final

from accounts.models import Account
from metering import history
from metering.envelope import Event, Refusal
from metering.event_files import BadFile, Batch, Format, batches
from metering.intake import ItemOutcome, take_in_for
from metering.lock import AccountBusy
from metering.resolve import refuse

SHOWN_REJECTIONS: Final = 5
ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class EventFile:
    """A file to import, open for reading bytes."""

    name: str
    stream: BinaryIO
    format: Format


@dataclass(frozen=True, slots=True)
class Rejection:
    """An item that was rejected, and where in which file it begins."""

    file: str
    line: int
    code: str
    field: str
    detail: str


@dataclass(slots=True)
class Imported:
    """What became of the items so far, and the first few that were rejected."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rejections: list[Rejection] = field(default_factory=list)

    @property
    def items(self) -> int:
        return self.outcomes.total()


def import_files(
    account: Account, files: Sequence[EventFile], *, now: Callable[[], datetime], by_event_clock: bool
) -> Iterator[Imported]:
    """Import files of one account, in turn, as one history; yields what became of the items after each batch.

    With `by_event_clock` the account has a clock of its own until all is read. Whatever is raised on the way,
    what was yielded is committed and importing the same files again is right: `BadFile`, `AccountBusy`,
    `Refused` (`account_is_live`, before anything is read).
    """
    imported = Imported()
    if by_event_clock:
        history.take_clock(account, now())
    for file in files:
        for batch in _batches(file, account):
            outcomes = _patiently(partial(_take_in, account, batch, now, by_event_clock))
            _add(imported, outcomes, file.name, batch)
            yield imported
    if by_event_clock:
        _patiently(lambda: history.release_clock(account, now()))


def _batches(file: EventFile, account: Account) -> Iterator[Batch]:
    """The batches of a file; what is wrong with the file says its name."""
    try:
        yield from batches(file.stream, file.format, check=lambda event: _of_account(event, account))
    except BadFile as error:
        raise BadFile(f"{file.name} {error}") from error
    except OSError as error:
        raise BadFile(f"{file.name} cannot be read any further: {error.strerror}.") from error


def _of_account(event: Event, account: Account) -> Event | Refusal:
    if event.account is not None and event.account != account.slug:
        return refuse(event, "unknown_account", "account", f"this import is for the account {account.slug}")
    return event


def _take_in(account: Account, batch: Batch, now: Callable[[], datetime], by_event_clock: bool) -> list[ItemOutcome]:
    take = history.replay if by_event_clock else take_in_for
    outcomes, _ = take(account, batch.items, now=now())
    return outcomes


def _patiently[Result](attempt: Callable[[], Result]) -> Result:
    """Try again while others hold the account; each attempt waits for two seconds by itself."""
    for remaining in reversed(range(ATTEMPTS)):
        try:
            return attempt()
        except AccountBusy as busy:
            if not remaining:
                raise
            time.sleep(busy.retry_after_seconds)
    raise AssertionError("unreachable")


def _add(imported: Imported, outcomes: Sequence[ItemOutcome], file: str, batch: Batch) -> None:
    for item in sorted(outcomes, key=lambda item: item.index):
        verdict = item.verdict
        imported.outcomes[verdict.outcome] += 1
        if verdict.outcome == "rejected" and len(imported.rejections) < SHOWN_REJECTIONS:
            line = batch.lines[item.index]
            imported.rejections.append(Rejection(file, line, verdict.code, verdict.field, verdict.detail))
