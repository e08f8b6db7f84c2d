"""schemathesis over the API's description against the running server: it finds nothing.

It makes up requests that the description allows, requests that it does not, and ways through the API along its links,
and checks each answer. The same ones in every run; `FUZZING_EXAMPLES=200 FUZZING_SEED=…` looks for new ones.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings

from accounts.models import Account
from plans.catalogue import load
from tests.billing_site.api.description import FILE
from tests.billing_site.programs import ROOT, environment
from tests.cluster import address_of_the_test_database
from tests.factories import deliver, event, make_key, put_account, put_connection
from tests.fuzzing.hooks import ACCOUNTS, CONNECTIONS, EVENT, MEMBERS

pytestmark = pytest.mark.django_db(transaction=True)

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES, SEED = os.environ.get("FUZZING_EXAMPLES"), os.environ.get("FUZZING_SEED", "1")


@pytest.fixture
def now() -> datetime:
    """The real time, by which the server goes."""
    return datetime.now(UTC)


@pytest.fixture
def world(db: None, now: datetime) -> list[Account]:
    """The accounts that `hooks` knows: some people, a counted one, a limit, a pause."""
    load(now)
    signed_up_at = now - timedelta(days=100)
    accounts = [
        put_account(slug, now=now, plan="connect", tier="starter", signed_up_at=signed_up_at) for slug in ACCOUNTS
    ]
    for account in accounts:
        for key, kind in zip(CONNECTIONS, ("contact_sync", "web_tracking"), strict=True):
            put_connection(account, key, kind, now=now)
        who = [event(source=CONNECTIONS[0], type="contact.matched", subject=each, time=now) for each in MEMBERS]
        deliver(account, [*who, event(source=CONNECTIONS[0], id=EVENT, subject=MEMBERS[0], time=now)], now=now)
    return accounts


@pytest.fixture
def address(world: list[Account]) -> Iterator[str]:
    """Of a server on the test database."""
    with subprocess.Popen(
        [sys.executable, "manage.py", "serve", "--port", "0", "--workers", "2", "--no-worker"],
        cwd=ROOT,
        env=environment(
            DATABASE_URL=address_of_the_test_database(),
            SECRET_KEY=settings.SECRET_KEY,
            KEY_PEPPER=settings.KEY_PEPPER,
            LOG_LEVEL="ERROR",
            READ_RATE="0",  # it asks faster than anybody may
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().split()[3]
        finally:
            process.terminate()
            process.wait(20)


def schemathesis(address: str, key: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).with_name("st")),
        f"--config-file={CONFIGURATION}",
        "run",
        str(FILE),
        f"--url={address}api/v1",
        f"--header=Authorization: Bearer {key}",
        *([f"--max-examples={EXAMPLES}"] if EXAMPLES else []),
        f"--seed={SEED}",
        "--continue-on-failure",
        "--no-color",
        *options,
    ]
    return subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT, env=environment()
    )


def test_the_server_does_what_the_description_says(address: str, world: list[Account], now: datetime):
    by_operator = schemathesis(address, make_key(now=now))
    # The same reads by the account itself, which names nobody; the rest is not its business.
    reads = [f"--include-tag={tag}" for tag in ("Usage", "Contacts", "Ledgers")]
    by_account = schemathesis(address, make_key(world[0], now=now), "--phases=examples,fuzzing", *reads)

    for found in (by_operator, by_account):
        assert found.returncode == 0, found.stdout[-20_000:] + found.stderr
        assert "Tested: " in found.stdout
