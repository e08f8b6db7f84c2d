"""`manage.py reconcile`: recount, print differences, exit 1 if any; repair only with --write."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.models import Account
from accounts.refusals import Refused
from metering.lock import AccountBusy
from metering.reconcile import Difference, differences, repair


class Command(BaseCommand):
    help = "Recount every number from the stored rows and print what differs. Exit 1 if anything does."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--account", metavar="SLUG", help="only this account")
        parser.add_argument("--write", action="store_true", help="repair what differs")

    def handle(self, *args: Any, **options: Any) -> None:
        accounts = Account.objects.order_by("slug")
        if options["account"]:
            accounts = accounts.filter(slug=options["account"])
            if not accounts.exists():
                raise CommandError(f"There is no account {options['account']}.")
        found = 0
        for account in accounts.iterator():
            rows = self._reconcile(account, write=options["write"])
            found += len(rows)
            for row in rows:
                verb = "was" if options["write"] else "is"
                self.stdout.write(
                    f"{account.slug}: {row.check}, {row.where}: {verb} {row.stored}, a recount gives {row.recounted}"
                )
        if found:
            raise CommandError(f"{found} {'repaired' if options['write'] else 'differ'}.", returncode=1)

    def _reconcile(self, account: Account, *, write: bool) -> list[Difference]:
        if not write:
            return differences(account)
        try:
            return repair(account, actor="reconcile --write", at=timezone.now())
        except Refused as refused:
            raise CommandError(f"{account.slug}: {refused.detail}") from None
        except AccountBusy:
            raise CommandError(f"{account.slug} is busy; run this again.") from None
