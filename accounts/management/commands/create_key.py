"""`manage.py create_key`: a key for the HTTP API, shown this once."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.keys import create_key
from accounts.models import Account, Scope
from accounts.refusals import Refused


class Command(BaseCommand):
    """Prints the key, alone, on stdout; what is wrong goes to stderr, with exit code 1."""

    help = "Make a key for the HTTP API and print it: it cannot be shown again."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        # Judged in `handle`, for argparse exits with 2.
        parser.add_argument("--operator", action="store_true", help="a key of the product's own workers")
        parser.add_argument("--account", metavar="SLUG", help="a key of this account alone")
        parser.add_argument("--scope", action="append", default=[], help=f"once or more: {', '.join(Scope.values)}")
        parser.add_argument("--name", default="", help="what staff will know the key by")
        parser.add_argument("--expires", metavar="TIME", help="like 2027-01-01T00:00:00Z (default: never)")
        parser.add_argument(
            "--network", action="append", default=[], help="once or more: usable from there only, like 192.0.2.0/24"
        )

    @override
    def handle(
        self,
        *args: Any,
        operator: bool,
        account: str | None,
        scope: list[str],
        name: str,
        expires: str | None,
        network: list[str],
        **options: Any,
    ) -> None:
        if operator == (account is not None):
            raise CommandError("Say either --operator or --account SLUG.")
        if len(name) > 200 or not name.isprintable():
            raise CommandError("--name has at most 200 characters, all of them printable.")
        owner = None if account is None else _account(account)
        try:
            text, _ = create_key(
                account=owner,
                scopes=scope,
                actor="create_key",
                now=timezone.now(),
                name=name,
                expires_at=_instant(expires),
                networks=network,
            )
        except Refused as refused:
            raise CommandError(refused.detail) from refused
        self.stdout.write(text)


def _account(slug: str) -> Account:
    found = Account.objects.filter(slug=slug).first() if slug.isprintable() else None
    if found is None:
        raise CommandError(f"There is no account {slug!r}.")
    return found


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise CommandError(f"--expires {text!r}: say a time with its offset, like 2027-01-01T00:00:00Z.")
    return at
