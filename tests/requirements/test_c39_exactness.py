"""REQUIREMENTS C39: twenty writers at once, on real connections, and not one contact too many or too few."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from accounts.models import Account
from metering.lock import AccountBusy
from metering.models import Contact, CountedContact, Event
from metering.reconcile import differences
from metering.usage import usage
from tests.factories import NOW, deliver, rows
from tests.requirements.shorthand import by_connection, by_reason, each, people

WORKERS = 20


@pytest.mark.django_db(transaction=True)
def test_c39_20_workers_that_add_1000_contacts_three_times_each_count_exactly_1000(acme: Account):
    matched = each(people(1_000), "pipedrive-mailchimp", "contact.matched")
    opened = each(people(1_000), "mailchimp-pipedrive", "engagement.email_opened")
    deliveries = [*matched, *opened, *matched]
    Random(39).shuffle(deliveries)
    shares = [deliveries[place::WORKERS] for place in range(WORKERS)]
    barrier = Barrier(WORKERS, timeout=30)

    def work(share: list[dict[str, Any]]) -> Counter[str]:
        barrier.wait()
        try:
            return sum((_insist(acme, share[at : at + 15]) for at in range(0, len(share), 15)), Counter())
        finally:
            connection.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = sum(pool.map(work, shares), Counter())

    assert outcomes == {"recorded": 2_000, "duplicate": 1_000}
    seen = usage(acme, NOW)
    assert (seen["used"], seen["new"], seen["contacts_known"]) == (1_000, 1_000, 1_000)
    assert seen["totals"] == {
        "app_connector_events": 1_000,
        "active_contacts": 1_000,
        "activated_contacts": 0,
    }
    assert seen["outcomes"] == dict(outcomes)
    assert by_reason(acme) == [("contact_sync", 1_000), ("email_opened", 1_000)]
    assert by_connection(acme) == [("mailchimp-pipedrive", 1_000), ("pipedrive-mailchimp", 1_000)]
    assert rows(Contact, "identity") == sorted(people(1_000))
    assert rows(CountedContact, "contact__identity") == sorted(people(1_000))
    assert rows(Event, "key") == sorted(sent["id"] for sent in matched + opened)
    assert differences(acme) == []


def _insist(account: Account, batch: list[dict[str, Any]]) -> Counter[str]:
    """Send a batch until it is taken: a busy account asks for that."""
    while True:
        try:
            return Counter(deliver(account, batch).outcomes())
        except AccountBusy:
            continue
