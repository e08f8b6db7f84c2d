"""How fast intake is beside the fastest way to write the same events: COPY into the same indexed table, same run.

usage: python -m benchmarks.intake [--events 400000] [--batch 5000] [--contacts 50000]

Runs in a database of its own, which it makes and drops.
"""

import argparse
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import django
import msgspec

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")
django.setup()

from django.db import connection, transaction  # noqa: E402
from psycopg.types.json import Jsonb  # noqa: E402

from metering import sql  # noqa: E402
from metering.envelope import read  # noqa: E402
from metering.intake import take_in  # noqa: E402
from metering.models import Event  # noqa: E402
from metering.reconcile import differences  # noqa: E402
from metering.record import EVENT_COLUMNS  # noqa: E402
from metering.registration import put_account, put_connection  # noqa: E402
from plans import catalogue  # noqa: E402

NOW = datetime(2026, 11, 20, tzinfo=UTC)
TYPES = (
    "contact.updated_in_marketing",
    "contact.matched",
    "engagement.email_sent",
    "engagement.email_opened",
    "engagement.email_clicked",
    "web.visited",
    "score.set",
    "automation.scenario_run",
)
CONNECTIONS = {
    "crm-sync": "contact_sync",
    "mailer": "engagement",
    "tracker": "web_tracking",
    "chat": "automation",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--batch", type=int, default=5_000)
    parser.add_argument("--contacts", type=int, default=50_000)
    options = parser.parse_args()
    original = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        compare(options.events, options.batch, options.contacts)
    finally:
        connection.creation.destroy_test_db(original, verbosity=0)
    return 0


def compare(events: int, batch: int, contacts: int) -> None:
    """Print both rates and their ratio."""
    catalogue.load(NOW)
    fields = {"signed_up_at": NOW - timedelta(days=90), "limit_override": 10_000_000}
    account, _ = put_account("bench", fields, actor="benchmark", now=NOW)
    for key, kind in CONNECTIONS.items():
        put_connection(account, key, {"kind": kind}, actor="benchmark", now=NOW)
    sql.run("CREATE TABLE benchmark_event (LIKE metering_event INCLUDING ALL)")
    intake_seconds = copy_seconds = 0.0
    for body in make_bodies(events, batch, contacts):  # turn and turn about, so that both meet the same machine
        intake_seconds += timed_intake(body)
        copy_seconds += timed_copy(batch)
    found = differences(account)
    print(f"COPY    {events / copy_seconds:>9,.0f} events/s")
    print(f"intake  {events / intake_seconds:>9,.0f} events/s, batches of {batch:,}, {contacts:,} contacts at most")
    print(f"ratio   {copy_seconds / intake_seconds:>9.3f}")
    print(f"recount {found or 'agrees'}")
    if found:
        sys.exit(1)


def make_bodies(events: int, batch: int, contacts: int) -> Iterator[bytes]:
    """Batches as senders post them: a few types and connections, heavy-tailed contacts, 20 days in order."""
    chance = random.Random(7)
    day = timedelta(days=20) * batch / events
    for place in range(events // batch):
        start = NOW - timedelta(days=20) + day * place
        yield msgspec.json.encode([make_event(chance, contacts, start, day) for _ in range(batch)])


def make_event(chance: random.Random, contacts: int, start: datetime, span: timedelta) -> dict[str, object]:
    """One event of a random contact and type."""
    at = start + span * chance.random()
    kind = chance.choice(TYPES)
    return {
        "specversion": "1.0",
        "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "source": chance.choice(list(CONNECTIONS)),
        "type": kind,
        "subject": f"user{int(chance.paretovariate(0.6)) % contacts}@example.com",
        "time": at.isoformat().replace("+00:00", "Z"),
        "account": "bench",
        **({"data": {"value": 5}} if kind == "score.set" else {}),
    }


def timed_intake(body: bytes) -> float:
    """Seconds from bytes to committed rows."""
    started = time.perf_counter()
    receipt = take_in(read(body, single=False), sender=None, now=NOW)
    seconds = time.perf_counter() - started
    outcomes = receipt.outcomes()
    assert set(outcomes) == {"recorded"}, outcomes
    return seconds


def timed_copy(batch: int) -> float:
    """Seconds to COPY the rows of the last batch, in its order, into a twin of the event table with its indexes."""
    newest = list(Event.objects.order_by("-id").values_list(*EVENT_COLUMNS)[:batch])
    rows = [(*row[:9], row[9], None if row[10] is None else Jsonb(row[10])) for row in reversed(newest)]
    started = time.perf_counter()
    with transaction.atomic():
        sql.copy_rows("benchmark_event", EVENT_COLUMNS, rows)
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
