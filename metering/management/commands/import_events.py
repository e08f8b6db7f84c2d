"""`manage.py import_events`: events from files, through the same intake as HTTP."""

import os
import stat
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, override

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from accounts.models import Account
from accounts.refusals import Refused
from metering.event_files import BadFile, check_file, format_of
from metering.import_file import EventFile, Imported, import_files
from metering.intake import summary
from metering.lock import AccountBusy
from metering.usage import clock_of
from plans.subscriptions import subscriptions_of

SECONDS_BETWEEN_LINES = 10
AGAIN = "What was read so far is stored. Import the same files again: nothing counts twice."


class Report(Protocol):
    """Says how far an import has come."""

    def __call__(self, imported: Imported) -> None: ...


class Command(BaseCommand):
    """Reads to the end whatever the outcomes; what prevents that is one sentence on stderr, exit code 1."""

    help = (
        "Import events of one account from files: CloudEvents in lines of JSON, or CSV with the header "
        "id,source,type,subject,time,data. Importing again is safe. Several files are one history: give them "
        "together."
    )

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", metavar="FILE", nargs="+", help="- is standard input")
        parser.add_argument("--account", metavar="SLUG", required=True)
        parser.add_argument("--format", choices=["ndjson", "csv"], help="default: by the name of each file")
        parser.add_argument(
            "--clock", choices=["event"], help="event: replay history as if live, by the times of the events"
        )

    @override
    def handle(self, *args: Any, files: list[str], **options: Any) -> None:
        account = _account(options["account"])
        by_event_clock = options["clock"] == "event"
        imported = Imported()
        with ExitStack() as opened:
            sources = [_open(opened, name, options["format"]) for name in files]
            try:
                report = opened.enter_context(_reporting(sources, quiet=options["verbosity"] == 0))
                for imported in import_files(account, sources, now=timezone.now, by_event_clock=by_event_clock):
                    report(imported)
            except BadFile as error:
                raise CommandError(f"{error} {AGAIN}" if imported.items else str(error)) from error
            except Refused as refused:
                raise CommandError(refused.detail) from refused
            except AccountBusy as busy:
                raise CommandError(f"Others keep the account {account} busy. {AGAIN}") from busy
            except (OperationalError, InterfaceError) as error:
                reason = str(error).strip().partition("\n")[0]
                raise CommandError(f"The database failed: {reason}. {AGAIN}") from error
            except KeyboardInterrupt as interrupt:
                raise CommandError(f"Interrupted. {AGAIN}") from interrupt
        if options["verbosity"]:
            self._show(account, imported)

    def _show(self, account: Account, imported: Imported) -> None:
        self.stdout.write(f"{imported.items:,} events read")
        for outcome, number in sorted(imported.outcomes.items()):
            self.stdout.write(f"  {outcome:<10}{number:>12,}")
        if imported.rejections:
            self.stdout.write(f"rejected, the first {len(imported.rejections)}:")
        for rejection in imported.rejections:
            code = f"{rejection.code} ({rejection.field})" if rejection.field else rejection.code
            self.stdout.write(f"  {rejection.file}, line {rejection.line}: {code}: {rejection.detail}")
        at = clock_of(account, timezone.now())
        usage = summary(account, subscriptions_of(account.pk), at)
        limit = "unlimited" if usage.limit is None else f"of {usage.limit:,}"
        self.stdout.write(f"{account} has used {usage.used:,} {usage.unit} ({limit}) in its current period")


def _account(slug: str) -> Account:
    found = Account.objects.filter(slug=slug).first() if slug.isprintable() else None
    if found is None:
        raise CommandError(f"There is no account {slug!r}.")
    return found


def _open(opened: ExitStack, name: str, wanted_format: str | None) -> EventFile:
    """Open a file, and look at its beginning if it can be read again from the start."""
    file_format = "csv" if wanted_format == "csv" else "ndjson" if wanted_format else format_of(name)
    try:
        stream = sys.stdin.buffer if name == "-" else opened.enter_context(_reader(name))
        if stream.seekable() and name != "-":
            check_file(stream, file_format)
            stream.seek(0)
    except BadFile as error:
        raise CommandError(f"{name} {error}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"{name!r} cannot be read: {reason}.") from error
    return EventFile(name, stream, file_format)


def _reader(name: str) -> BinaryIO:
    return Path(name).open("rb")


@contextmanager
def _reporting(files: list[EventFile], *, quiet: bool) -> Iterator[Report]:
    """On a terminal a bar, else a line now and then, on stderr; nothing when quiet."""
    if quiet:
        yield lambda imported: None
    elif sys.stderr.isatty():
        with _bar() as progress:
            task = progress.add_task("", total=_size_of(files))
            yield lambda imported: progress.update(
                task, completed=_position_in(files), description=f"{imported.items:,} events"
            )
    else:
        yield _Lines()


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


class _Lines:
    """Says how far an import has come, every ten seconds."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def __call__(self, imported: Imported) -> None:
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            self._said_at = time.monotonic()
            print(f"{imported.items:,} events read", file=sys.stderr, flush=True)


def _size_of(files: list[EventFile]) -> int | None:
    """Bytes of all files, if all of them are files."""
    found = [os.fstat(file.stream.fileno()) for file in files]
    return sum(each.st_size for each in found) if all(stat.S_ISREG(each.st_mode) for each in found) else None


def _position_in(files: list[EventFile]) -> int:
    return sum(file.stream.tell() for file in files if file.stream.seekable())
