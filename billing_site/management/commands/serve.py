"""`manage.py serve`: everything Headcount needs to run, in one foreground process tree."""

import sys
from argparse import ArgumentParser
from typing import Any, override

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.utils import timezone

from billing_site import schedules
from billing_site.process_tree import CannotListen, serve_forever


class Command(BaseCommand):
    """Prepares database and static files, then hands over to the process tree."""

    help = "Migrate, then run the site and its task cluster until Ctrl-C or SIGTERM."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="0 is any free one (default: 8000)")
        parser.add_argument("--workers", type=int, default=2, help="processes of the site, 16 threads each")
        parser.add_argument("--no-worker", action="store_true", help="without the task cluster")

    @override
    def handle(self, *args: Any, host: str, port: int, workers: int, no_worker: bool, **options: Any) -> None:
        if workers < 1:
            raise CommandError(f"--workers {workers}: say 1 or more.")
        call_command("migrate", interactive=False, verbosity=0)
        if not settings.DEBUG:
            call_command("collectstatic", interactive=False, verbosity=0)
        schedules.sync(timezone.now())
        connections.close_all()
        try:
            code = serve_forever(host, port, workers, with_tasks=not no_worker, on_ready=self._announce)
        except CannotListen as error:
            raise CommandError(str(error)) from error
        sys.exit(code)

    def _announce(self, address: str) -> None:
        self.stdout.write(f"Headcount is at {address} (Ctrl-C stops it)")
        self.stdout.flush()
