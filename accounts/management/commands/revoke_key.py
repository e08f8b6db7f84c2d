"""`manage.py revoke_key`: end a key of the HTTP API."""

from argparse import ArgumentParser
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.keys import PREFIX_LENGTH, revoke_key
from accounts.refusals import Refused


class Command(BaseCommand):
    """Says when the key was revoked; what is wrong goes to stderr, with exit code 1."""

    help = "Revoke a key of the HTTP API: it is refused from the next request on. Repeating it changes nothing."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", metavar="PREFIX", help=f"its first {PREFIX_LENGTH} characters, or all of it")
        parser.add_argument("--reason", default="", help="why, for the audit trail")

    @override
    def handle(self, *args: Any, key: str, reason: str, **options: Any) -> None:
        if len(reason) > 1_000 or not reason.isprintable():
            raise CommandError("--reason has at most 1,000 characters, all of them printable.")
        prefix = key[:PREFIX_LENGTH]
        if not prefix.isprintable():
            raise CommandError("That is no key.")
        try:
            row = revoke_key(prefix, reason=reason, actor="revoke_key", now=timezone.now())
        except Refused as refused:
            said = f"There is no key {prefix}." if refused.code == "not_found" else f"{refused.detail} (--reason)"
            raise CommandError(said) from refused
        self.stdout.write(f"{row.prefix} was revoked at {row.revoked_at:%Y-%m-%d %H:%M:%S} UTC.")
