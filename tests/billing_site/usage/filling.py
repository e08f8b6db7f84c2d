"""Fills a database of its own with lifelike accounts, for tests that look at a real site with a browser.

usage: python -m tests.billing_site.usage.filling SLUG…

Prints what `site.Site` needs as a line of JSON, and drops the database when its input ends.
"""

import json
import os
import sys
from datetime import datetime, timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")
django.setup()

from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts import usage_link  # noqa: E402
from accounts.models import Account  # noqa: E402
from billing_site.demo import load, samples  # noqa: E402
from plans import catalogue  # noqa: E402
from plans.models import Plan, Tier  # noqa: E402
from tests.billing_site.usage.site import LONG  # noqa: E402
from tests.cluster import address_of_the_test_database  # noqa: E402
from tests.factories import deliver, event, make_key, put_account, put_connection  # noqa: E402


def main() -> None:
    original = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"test_browser_{os.getpid()}"
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        key, tokens = fill(sys.argv[1:])
        print(json.dumps({"database_url": address_of_the_test_database(), "key": key, "tokens": tokens}), flush=True)
        connection.close()
        sys.stdin.read()
    finally:
        connection.creation.destroy_test_db(original, verbosity=0)


def fill(slugs: list[str]) -> tuple[str, dict[str, str]]:
    """Load samples, and the account of long names; the operator's key, and the tokens of all."""
    now = timezone.now()
    catalogue.load(now)
    wanted = tuple(sample for sample in samples.SAMPLES if sample.slug in slugs)
    vars(load)["SAMPLES"] = wanted
    load.load_all(timezone.now, lambda _: None)
    _make_the_long_one(now)
    links = {
        slug: usage_link.make(slug, now=now, lasts=timedelta(hours=1), people=True)
        for slug in Account.objects.values_list("slug", flat=True)
    }
    return make_key(now=now), {slug: link.url.partition("token=")[2] for slug, link in links.items()}


def _make_the_long_one(now: datetime) -> None:
    connect = Plan.objects.filter(key="connect").values().get()
    plan = Plan.objects.create(**{**connect, "id": None, "key": "partner", "name": "Partner"})
    Tier.objects.create(plan=plan, key="unlimited", limit=None, price="999.00", published_at=now)
    long_ago, ago = now - timedelta(days=75), now - timedelta(hours=1)
    account = put_account(
        LONG,
        now=long_ago,
        name="<b>" + "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk" * 3,
        signed_up_at=long_ago,
        plan="partner",
        tier="unlimited",
    )
    put_connection(account, "sync", name="W" * 200, source_app="S" * 100, destination_app="D" * 100, now=long_ago)
    put_connection(account, "k" * 100, "engagement", name="&amp; " * 30, now=long_ago)
    put_connection(account, "scoring", "lead_scoring", score_expiry_days=365, now=long_ago)
    old = [
        event(source="scoring", type="score.set", subject=f"s{number}@example.com", data={"value": 5}, time=long_ago)
        for number in range(7)
    ]
    synced = [
        event(
            source="sync", type="contact.matched", subject=f"m{number}@example.com", time=long_ago + timedelta(hours=1)
        )
        for number in range(30)
    ]
    for at, events in ((long_ago, old), (long_ago + timedelta(hours=1), synced)):
        deliver(account, events, now=at)
    local = "x" * 64
    fresh = [
        event(source="k" * 100, type="engagement.email_sent", subject=f"{local}{number}@{'y' * 60}.example", time=ago)
        for number in range(60)
    ]
    refused = [
        event(source="sync", type="contact.refused", subject=f"m{number}@example.com", time=ago) for number in range(3)
    ]
    deliver(account, [*fresh, *refused], now=now)


if __name__ == "__main__":
    main()
