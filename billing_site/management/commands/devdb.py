"""`manage.py devdb start|stop|status|url|reset`: the embedded PostgreSQL."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, override

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing_site import devdb


class Command(BaseCommand):
    """Thin: every action is one call of `billing_site.devdb`."""

    help = "Start, stop or look at the embedded PostgreSQL, which is used while DATABASE_URL is not set."
    requires_system_checks = ()

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["start", "stop", "status", "url", "reset"])
        parser.add_argument("--yes", action="store_true", help="reset without asking")

    @override
    def handle(self, *args: Any, action: str, yes: bool, **options: Any) -> None:
        database = settings.DATABASES["default"]
        if "DATA_DIR" not in database:
            raise CommandError("DATABASE_URL is set, so there is no embedded PostgreSQL here.")
        data_dir = Path(database["DATA_DIR"])
        try:
            self._do(action, data_dir, sure=yes)
        except devdb.DevdbError as error:
            raise CommandError(str(error)) from error

    def _do(self, action: str, data_dir: Path, *, sure: bool) -> None:
        match action:
            case "start":
                devdb.start(data_dir)
                self.stdout.write(f"running: {devdb.status(data_dir)}")
            case "stop":
                self.stdout.write("stopped" if devdb.stop(data_dir) else "it was not running")
            case "status":
                running = devdb.status(data_dir)
                if running is None:
                    raise CommandError("not running", returncode=3)  # as pg_ctl has it
                self.stdout.write(f"running: {running}")
            case "url":
                devdb.start(data_dir)
                self.stdout.write(devdb.url(data_dir))
            case "reset":
                self._reset(data_dir, sure=sure)

    def _reset(self, data_dir: Path, *, sure: bool) -> None:
        """Asks first where there is somebody to ask."""
        if not sure and sys.stdin.isatty():
            answer = input(f"Remove the database in {data_dir} and all it holds? Type yes: ")
            if answer.strip().lower() != "yes":
                raise CommandError("nothing was removed")
        devdb.reset(data_dir)
        self.stdout.write("removed; the next connection begins anew")
