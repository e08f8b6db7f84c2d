"""Whether the time that a bad key takes tells if there is a key with its id, and what a limited read costs.

usage: python -m benchmarks.keys [--times 2000]

Runs in a database of its own, which it makes and drops.
"""

import argparse
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")
django.setup()

from django.db import connection  # noqa: E402

from accounts import keys  # noqa: E402
from accounts.models import ApiKey  # noqa: E402
from accounts.read_limit import take_read  # noqa: E402

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2_000)
    times = parser.parse_args().times
    original = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        compare_guesses(times)
        measure_limit(times)
    finally:
        connection.creation.destroy_test_db(original, verbosity=0)
    return 0


def compare_guesses(times: int) -> None:
    """Print the median times of both bad keys, asked turn and turn about, and their ratio."""
    made = [keys.create_key(account=None, scopes=["read"], actor="benchmark", now=NOW)[0] for _ in range(1_000)]
    known, unknown = (with_wrong_secret(prefix) for prefix in (made[500][:16], "hc_live_00000000"))
    seconds: dict[str, list[float]] = {known: [], unknown: []}
    for number in range(times):
        for guess in (known, unknown) if number % 2 else (unknown, known):
            at = NOW + timedelta(milliseconds=number)
            seconds[guess].append(timed(lambda guess=guess, at=at: keys.admit(guess, now=at)))  # type: ignore[misc]
    print(f"wrong secret  {median(seconds[known]) * 1e6:>8,.1f} µs, median of {times:,}")
    print(f"unknown id    {median(seconds[unknown]) * 1e6:>8,.1f} µs")
    print(f"ratio         {median(seconds[known]) / median(seconds[unknown]):>8.3f}")


def measure_limit(times: int) -> None:
    """Print the median time of taking a read that is allowed, and of one that is not."""
    key = ApiKey.objects.order_by("pk")[0].pk
    allowed = [timed(lambda at=NOW + timedelta(seconds=n): take_read(key, 50, at)) for n in range(times)]  # type: ignore[misc]
    refused = [timed(lambda: take_read(key, 50, NOW)) for _ in range(times)]
    print(f"read allowed  {median(allowed) * 1e6:>8,.1f} µs")
    print(f"read refused  {median(refused) * 1e6:>8,.1f} µs")


def with_wrong_secret(prefix: str) -> str:
    """A text that could be a key."""
    body = f"{prefix}_{'A' * 43}"
    return body + keys._checksum(body)


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
