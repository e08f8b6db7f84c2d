"""How much longer reads take for an account with many counted contacts than for one with 10,000, in the same run.

usage: python -m benchmarks.usage [--contacts 100000] [--rounds 60]

SCALE=full asks for 1,000,000. Fails if `GET usage` takes more than 1.5 times as long, or another number of queries.
Runs in a database of its own, which it makes and drops.
"""

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")
django.setup()

from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext, setup_test_environment  # noqa: E402

from accounts.keys import create_key  # noqa: E402
from benchmarks.filling import filled_account  # noqa: E402
from plans import catalogue  # noqa: E402

FEW: Final = 10_000
MOST_TIMES_AS_LONG: Final = 1.5

READS: Final = (
    "what-if?without_reason=email_sent",
    "what-if?without_connection=mailer",
    "what-if?score_expiry_days=30",
    "contacts?page_size=100",
    "contacts?page_size=1000",
    "contacts?reason=email_sent",
    "contacts?reason=form_submitted",
    "contacts?connection=seldom",
    "contacts?refused=true",
    "contacts?refused=false",
)
"""Of the many, 1 in 20,000 has submitted a form, on the connection `seldom`."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    many = 1_000_000 if os.environ.get("SCALE") == "full" else 100_000
    parser.add_argument("--contacts", type=int, default=many)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    original = connection.settings_dict["NAME"]
    setup_test_environment()
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        return compare(options.contacts, options.rounds)
    finally:
        connection.creation.destroy_test_db(original, verbosity=0)


def compare(many: int, rounds: int) -> int:
    """Print how long reads take for both accounts; 1 if `GET usage` takes too much longer for the greater."""
    now = datetime.now(UTC)
    catalogue.load(now)
    for slug, contacts in (("few", FEW), ("many", many)):
        filled_account(slug, contacts, now)
    text, _ = create_key(account=None, scopes=["read"], actor="benchmark", now=now)
    client = Client(headers={"Authorization": f"Bearer {text}"})

    def read(slug: str, path: str = "?") -> Callable[[], object]:
        address = f"/api/v1/usage{path}&account={slug}"

        def read() -> None:
            answer = client.get(address)
            assert answer.status_code == 200, answer

        return read

    queries = {slug: count_queries(read(slug)) for slug in ("few", "many")}
    few, much = medians(read("few"), read("many"), rounds)
    print(f"GET usage   {FEW:>9,} contacts {few:>8.2f} ms, {queries['few']} queries")
    print(f"GET usage   {many:>9,} contacts {much:>8.2f} ms, {queries['many']} queries")
    print(f"ratio       {much / few:>27.2f}, at most {MOST_TIMES_AS_LONG}")
    for asked in READS:
        few_ms, many_ms = medians(read("few", f"/{asked}"), read("many", f"/{asked}"), max(rounds // 6, 3))
        print(f"{asked:<42}{few_ms:>9.2f} ms {many_ms:>9.2f} ms")
    print_export(client, many)
    return int(much / few > MOST_TIMES_AS_LONG or queries["few"] != queries["many"])


def count_queries(read: Callable[[], object]) -> int:
    read()
    with CaptureQueriesContext(connection) as captured:
        read()
    return len(captured)


def medians(one: Callable[[], object], other: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Milliseconds of both, turn and turn about, so that they meet the same machine."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for place, read in enumerate((one, other)):
            started = time.perf_counter()
            read()
            taken[place].append((time.perf_counter() - started) * 1_000)
    return statistics.median(taken[0]), statistics.median(taken[1])


def print_export(client: Client, many: int) -> None:
    """How fast the file of the greater account comes, and how much memory that takes at most."""
    before, started, lines = _peak_of_memory(), time.perf_counter(), 0
    answer = client.get("/api/v1/usage/export?account=many")
    for chunk in answer.streaming_content:  # type: ignore[attr-defined]
        lines += chunk.count(b"\n")
    seconds = time.perf_counter() - started
    assert lines == many + 1
    grown = (_peak_of_memory() - before) / 1024
    print(f"export      {many:>9,} lines    {many / seconds:>8,.0f} lines/s, {grown:.0f} MiB more memory at most")


def _peak_of_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
