"""`manage.py create_webhook`: an endpoint for webhooks; its secret is shown this once."""

from argparse import ArgumentParser
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.models import Account
from accounts.refusals import Refused
from webhooks import endpoints
from webhooks.models import EventType


class Command(BaseCommand):
    """Prints the secret, alone, on stdout; what is wrong goes to stderr, with exit code 1."""

    help = "Add an endpoint for webhooks and print its secret: it cannot be shown again."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        # Judged in `handle`, for argparse exits with 2.
        parser.add_argument("--url", default="", help="where messages are posted to: https://…")
        parser.add_argument("--account", metavar="SLUG", help="what happens to this account alone (default: to any)")
        parser.add_argument(
            "--type", action="append", default=[], help=f"once or more (default: all): {', '.join(EventType.values)}"
        )
        parser.add_argument("--description", default="", help="what staff will know the endpoint by")

    @override
    def handle(
        self, *args: Any, url: str, account: str | None, type: list[str], description: str, **options: Any
    ) -> None:
        if not url:
            raise CommandError("Say --url https://….")
        if len(description) > 200 or not description.isprintable():
            raise CommandError("--description has at most 200 characters, all of them printable.")
        owner = None if account is None else _account(account)
        try:
            row = endpoints.create(
                url,
                account=owner,
                types=type,
                description=description,
                actor="create_webhook",
                now=timezone.now(),
            )
        except Refused as refused:
            raise CommandError(refused.detail) from refused
        self.stdout.write(row.secret)


def _account(slug: str) -> Account:
    found = Account.objects.filter(slug=slug).first() if slug.isprintable() else None
    if found is None:
        raise CommandError(f"There is no account {slug!r}.")
    return found
