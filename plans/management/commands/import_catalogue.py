"""`manage.py import_catalogue FILE`: drafts of what a CSV file says."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from plans.exchange import Import, NotACatalogue, bring_in
from plans.versions import By


class Command(BaseCommand):
    """Makes drafts; publishing is done by staff, in the admin."""

    help = "Draft the plans and tiers of a CSV file. Changes nothing that is published; with a faulty line, nothing."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="CSV as export_catalogue prints it")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be drafted")

    @override
    def handle(self, *args: Any, file: Path, dry_run: bool, **options: Any) -> None:
        by = By("import_catalogue", f"file {file.name}", timezone.now())
        try:
            found = bring_in(file.read_text(encoding="utf-8"), by, dry_run=dry_run)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise CommandError(f"{file} is not UTF-8") from error
        except NotACatalogue as error:
            raise CommandError(str(error)) from error
        self._say(found)
        if found.is_faulty:
            raise CommandError("nothing was drafted: lines are at fault")
        verb = "would be drafted" if dry_run else "drafted"
        self.stdout.write(f"{found.changes} of {len(found.lines)} lines {verb}")

    def _say(self, found: Import) -> None:
        for line in found.lines:
            for name, text in line.errors:
                self.stderr.write(f"line {line.number}, {line.plan}/{line.tier}: {name}: {text}")
            for text in line.done:
                self.stdout.write(f"line {line.number}, {line.plan}/{line.tier}: {text}")
