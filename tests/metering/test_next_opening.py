"""What the next period opens with, and how many leave it with those whom nobody has heard of: as it then comes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account
from metering.models import BillingPeriod
from metering.next_opening import NextOpening, next_opening
from metering.usage import usage
from tests.factories import NOW, deliver, event, put_account, put_connection

pytestmark = pytest.mark.django_db

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
SYNC, OTHER, MAIL, SCORING = "pipedrive-mailchimp", "hubspot-brevo", "mailchimp-pipedrive", "scoring"
ALIVE = {SYNC: "contact.matched", OTHER: "contact.matched", SCORING: "score.set"}


def of(name: str, *links: str, engaged_days_ago: int | None = None) -> None:
    """A person who is in these syncs, scored or both, perhaps engaged so long ago."""
    account = Account.objects.get(slug="acme")
    subject = f"{name}@example.com"
    if engaged_days_ago is not None:
        at = NOW - timedelta(days=engaged_days_ago)
        deliver(account, [event(source=MAIL, subject=subject, time=at)], now=at)
    deliver(account, [_begins(link, subject) for link in links])


def _begins(link: str, subject: str) -> dict[str, Any]:
    return event(source=link, type=ALIVE[link], subject=subject, data={"value": 5} if link == SCORING else {})


def foretold(account: Account) -> NextOpening:
    usage(account, NOW)
    return next_opening(BillingPeriod.objects.filter(account=account).latest("starts_at"), NOW)


def test_it_foretells_who_is_carried_in_and_who_of_them_has_been_quiet(acme: Account):
    of("never", SYNC)
    of("long-ago", SYNC, OTHER, engaged_days_ago=91)
    of("spring", SYNC, engaged_days_ago=61)
    of("lately", SYNC, engaged_days_ago=31)
    of("today", OTHER, engaged_days_ago=0)
    of("scored", SYNC, SCORING)
    of("only-scored", SCORING)
    of("only-engaged", engaged_days_ago=1)

    seen = foretold(acme)

    assert seen == NextOpening(7, 5, {30: 4, 60: 3, 90: 2})
    assert usage(acme, DECEMBER)["used"] == 7


def test_when_the_quiet_ones_leave_the_filter_the_next_count_falls_by_just_so_many(acme: Account):
    of("never", SYNC)
    of("never-either", SYNC, OTHER)
    of("scored", SYNC, SCORING)
    of("today", SYNC, engaged_days_ago=0)
    before = foretold(acme)

    leaving = [("never", SYNC), ("never-either", SYNC), ("never-either", OTHER)]
    deliver(
        acme,
        [
            event(source=link, type="contact.unmatched", subject=f"{name}@example.com", time=NOW)
            for name, link in leaving
        ],
    )

    assert usage(acme, NOW)["used"] == 4
    assert usage(acme, DECEMBER)["used"] == before.carried_in - before.quiet[90]


def test_a_disabled_connection_carries_nothing_in(acme: Account):
    of("never", SYNC)
    of("other", OTHER)
    put_connection(acme, SYNC, enabled=False)

    assert foretold(acme) == NextOpening(1, 1, {30: 1, 60: 1, 90: 1})


def test_an_account_without_connections_opens_at_nothing(catalogue: None):
    assert foretold(put_account("empty")) == NextOpening(0, 0, {30: 0, 60: 0, 90: 0})


def test_a_score_that_will_have_expired_by_then_leaves_the_membership_alone(acme: Account):
    deliver(
        acme,
        [
            event(source=SYNC, type="contact.matched", subject="a@example.com"),
            event(
                source=SCORING,
                type="score.set",
                subject="a@example.com",
                data={"value": 1, "expires_at": "2026-11-25T00:00:00Z"},
            ),
        ],
    )

    assert foretold(acme).only_synced == 1
