"""`manage.py overdue`: what should have been done by now and was not."""

import sys
from typing import Any, override

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing_site.overdue import Finding, findings


class Command(BaseCommand):
    """A line for each kind of work; exit code 1 if any of it is late."""

    help = "Say what is overdue: periods, mails, held events, jobs, the task cluster. Exit code 1 if anything is."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        found = findings(timezone.now())
        for finding in found:
            self.stdout.write(_line(finding))
        if any(finding.late for finding in found):
            sys.exit(1)


def _line(finding: Finding) -> str:
    since = "none" if finding.since is None else f"since {finding.since:%Y-%m-%d %H:%M} UTC"
    return f"{'LATE' if finding.late else 'ok':<6}{finding.name:<16}{finding.what}: {since}"
