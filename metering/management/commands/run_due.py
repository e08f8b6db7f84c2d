"""`manage.py run_due`: all scheduled work that is due, once, in the foreground."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jobs.runner import Ran, run_all_due
from metering.due import run_due


class Command(BaseCommand):
    """What the scheduler does every minute, for a person to do."""

    help = (
        "Do all scheduled work that is due, once: billing periods, trials, what is held, and every job that waits, "
        "mails and upgrades among them. Idempotent."
    )

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as-of", metavar="TIME", help="like 2026-11-22T10:00:00Z (default: now)")

    @override
    def handle(self, *args: Any, as_of: str | None, **options: Any) -> None:
        at = timezone.now() if as_of is None else _instant(as_of)
        done = run_due(at)
        self.stdout.write(str(done))
        ran = run_all_due(lambda: at)
        for outcome, number in sorted(ran.items()):
            self.stdout.write(f"{number:,} jobs {outcome}")
        if done.failed or ran[Ran.PARKED]:
            raise CommandError("Not everything that is due could be done; the log says why.")


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise CommandError(f"--as-of {text!r}: say a time with its offset, like 2026-11-22T10:00:00Z.")
    return at
