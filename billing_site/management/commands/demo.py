"""`manage.py demo`: everything ready to be looked at, with one command."""

import secrets
import sys
from argparse import ArgumentParser
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, override

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.utils import timezone

from accounts import usage_link
from accounts.keys import create_key
from accounts.models import Account, ApiKey, Scope, User
from billing_site import schedules
from billing_site.demo.load import load_all
from billing_site.demo.samples import LARGEST, SAMPLES
from billing_site.process_tree import CannotListen, serve_forever
from metering.usage import usage
from plans.catalogue import load

NAME = "demo"
LINK_LASTS = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in."""

    password: str
    operator_key: str
    account_key: str
    usage_path: str
    standings: list[str]


class Command(BaseCommand):
    """Idempotent: what is there is kept, only the password and the keys are new each time. Sends nothing to anyone."""

    help = "Load sample accounts through the real intake, then serve and print how to get in."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="0 is any free one (default: 8000)")

    @override
    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        access = self._prepare()
        connections.close_all()
        try:
            code = serve_forever(
                host, port, workers=2, with_tasks=True, on_ready=lambda address: self._show(address, access)
            )
        except CannotListen as error:
            raise CommandError(str(error)) from error
        sys.exit(code)

    def _prepare(self) -> Access:
        self._say("Preparing the database …")
        call_command("migrate", interactive=False, verbosity=0)
        if not settings.DEBUG:
            _refuse_real_data()
            call_command("collectstatic", interactive=False, verbosity=0)
        load(timezone.now())
        schedules.sync(timezone.now())
        load_all(timezone.now, self._say)
        return _make_access(timezone.now())

    def _show(self, address: str, access: Access) -> None:
        self._say(f"\nHeadcount is at {address} (Ctrl-C stops it)\n")
        for standing in access.standings:
            self._say(f"  {standing}")
        self._say(f"\nUsage page of {LARGEST}   {address.rstrip('/')}{access.usage_path}")
        self._say(f"Staff login    {address}admin/   user {NAME}   password {access.password}")
        self._say(f"Operator key   {access.operator_key}")
        self._say(f"Key of {LARGEST}   {access.account_key}")
        self._say(f"\nTry:  curl -H 'Authorization: Bearer {access.account_key}' {address}api/v1/usage\n")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _refuse_real_data() -> None:
    """Without DEBUG the database might be a real one, where a login of ours has no business."""
    others = Account.objects.exclude(slug__in=[sample.slug for sample in SAMPLES])
    if others.exists():
        raise CommandError("This database holds accounts of others: demo is not for it.")


def _make_access(now: datetime) -> Access:
    password = secrets.token_urlsafe(9)
    user, _ = User.objects.get_or_create(username=NAME)
    user.is_active = user.is_staff = user.is_superuser = True
    user.set_password(password)
    user.save()
    ApiKey.objects.filter(name=NAME).delete()
    operator_key, _ = create_key(account=None, scopes=Scope.values, actor=NAME, now=now, name=NAME)
    largest = Account.objects.get(slug=LARGEST)
    scopes = [Scope.WRITE, Scope.READ]
    account_key, _ = create_key(account=largest, scopes=scopes, actor=NAME, now=now, name=NAME)
    window = usage_link.make(LARGEST, now=now, lasts=LINK_LASTS, people=True)
    standings = [_standing(sample.slug, now) for sample in SAMPLES]
    return Access(password, operator_key, account_key, window.path, standings)


def _standing(slug: str, now: datetime) -> str:
    row = usage(Account.objects.get(slug=slug), now)
    used = f"{row['used']:>6,} of {row['limit']:>6,} {row['unit']}, {row['percent']} %"
    return f"{slug:<20}{row['plan'] + '/' + row['tier']:<22}{row['state'].replace('_', ' '):<15}{used}"
