"""What the current period would have counted without something, in each unit; exact by itself, in `tests/properties`
by any events."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Any

import pytest

from accounts.models import Account, Connection
from accounts.refusals import Refused
from metering.erasure import erase
from metering.usage import UnknownPeriod, usage
from metering.what_if import with_score_expiry, without_connection, without_reason
from tests.factories import ACTOR, NOW, deliver, event, put_account, put_connection
from tests.metering.test_college_messages import DATA
from tests.metering.test_usage import deliver_mixed, happens

pytestmark = pytest.mark.django_db

NOVEMBER, DECEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in (11, 12))
SYNC, MAILER, SCORING, CRM_SCORES = "pipedrive-mailchimp", "mailchimp-pipedrive", "scoring", "hubspot-brevo"


def score(person: str, days_before_december: float, source: str = SCORING, **data: Any) -> dict[str, Any]:
    at = DECEMBER - timedelta(days=days_before_december)
    return happens("score.set", person, source, time=at, data={"value": 5, **data})


def link(account: Account, key: str) -> Connection:
    return Connection.objects.get(account=account, key=key)


@pytest.mark.parametrize(
    ("reason", "saved"),
    [("contact_sync", 0), ("email_opened", 0), ("email_clicked", 1), ("web_visit", 1), ("ai_reply", 0)],
)
def test_without_a_reason_those_are_saved_who_have_no_other(acme: Account, reason: str, saved: int):
    deliver_mixed(acme)

    assert without_reason(acme, reason, NOW) == (3, 3 - saved, saved)


def test_without_a_connection_those_are_saved_who_count_only_there(acme: Account):
    deliver_mixed(acme)

    saved = {key: without_connection(acme, link(acme, key), NOW).saved for key in (MAILER, SYNC, "website")}

    assert saved == {MAILER: 1, SYNC: 0, "website": 1}


def test_on_the_event_unit_a_reason_is_a_type_and_every_event_is_saved(initech: Account):
    opened = [event(source="typeform") for _ in range(3)]
    deliver(initech, [*opened, event(source="typeform", type="engagement.form_submitted")])

    assert without_reason(initech, "engagement.email_opened", NOW) == (4, 1, 3)
    assert without_connection(initech, link(initech, "typeform"), NOW) == (4, 0, 4)
    assert with_score_expiry(initech, 1, NOW) == (4, 4, 0)


def test_activated_contacts_know_their_own_reasons(globex: Account):
    deliver(globex, [event(source="instagram", type="automation.ai_reply") for _ in range(3)])

    assert without_reason(globex, "ai_reply", NOW) == (3, 0, 3)
    assert with_score_expiry(globex, 1, NOW) == (3, 3, 0)


@pytest.mark.parametrize(
    ("slug", "name"), [("acme", "engagement.email_opened"), ("acme", ""), ("initech", "email_opened")]
)
def test_a_reason_that_the_unit_does_not_know_is_refused(acme: Account, initech: Account, slug: str, name: str):
    account = Account.objects.get(slug=slug)
    usage(account, NOW)

    with pytest.raises(Refused) as refused:
        without_reason(account, name, NOW)

    assert (refused.value.code, refused.value.status) == ("unknown_reason", 400)


def test_scores_that_expire_sooner_save_whom_they_alone_carried_in(acme: Account):
    deliver(
        acme,
        [
            score("ann", 20),
            score("bob", 5),
            score("cid", 20),
            happens("contact.matched", "cid", time=DECEMBER - timedelta(days=9)),
            score("dee", 20),
            score("dee", 5, CRM_SCORES),
            score("eve", 20, expires_at="2027-05-01T00:00:00Z"),
            score("fay", 20),
        ],
        now=DECEMBER,
    )
    deliver(acme, [happens("web.visited", "fay", "website", time=DECEMBER)], now=DECEMBER)

    savings = {days: with_score_expiry(acme, days, DECEMBER).saved for days in (1, 5, 6, 20, 21)}

    assert usage(acme, DECEMBER)["used"] == 6
    assert savings == {1: 3, 5: 3, 6: 1, 20: 1, 21: 0}  # ann always, bob and dee (whose second score is younger) to 5


def test_a_score_set_in_the_period_saves_nothing(acme: Account):
    deliver(acme, [score("ann", 20)], now=NOW)

    assert with_score_expiry(acme, 1, NOW) == (1, 1, 0)


def test_a_score_that_was_set_anew_after_the_start_was_as_old_at_the_start_as_it_was(acme: Account):
    deliver(acme, [score("ann", 20), score("bob", 20)], now=DECEMBER)
    usage(acme, DECEMBER)
    deliver(acme, [happens("score.cleared", "bob", SCORING, time=DECEMBER)], now=DECEMBER)

    assert with_score_expiry(acme, 10, DECEMBER) == (2, 0, 2)


def test_an_erased_contact_counts_as_it_would_have(acme: Account):
    deliver(acme, [score("ann", 20)], now=DECEMBER)
    usage(acme, DECEMBER)
    erase(acme, "ann@example.com", actor=ACTOR, now=DECEMBER)

    assert with_score_expiry(acme, 10, DECEMBER) == (1, 0, 1)
    assert with_score_expiry(acme, 21, DECEMBER) == (1, 1, 0)


def test_a_late_event_changes_no_age_at_the_start(acme: Account):
    deliver(acme, [score("ann", 20, expires_at="2027-05-01T00:00:00Z"), score("bob", 20)], now=DECEMBER)
    usage(acme, DECEMBER)
    closed = DECEMBER + timedelta(days=2)
    assert deliver(acme, [score("ann", 15)], now=closed).outcomes() == {"late": 1}

    assert with_score_expiry(acme, 10, closed) == (2, 1, 1)


def test_a_contact_that_was_joined_with_another_since_counts_as_it_did(acme: Account):
    deliver(
        acme, [score("ann", 20, expires_at="2027-05-01T00:00:00Z"), score("bob", 15), score("cid", 20)], now=DECEMBER
    )
    usage(acme, DECEMBER)
    renamed = happens("contact.renamed", "ann", time=DECEMBER, data={"from": "bob@example.com"})
    deliver(acme, [renamed], now=DECEMBER)

    assert with_score_expiry(acme, 10, DECEMBER) == (3, 1, 2)


def test_an_account_without_a_period_has_nothing_to_count_again(acme: Account):
    with pytest.raises(UnknownPeriod):
        without_reason(acme, "email_sent", NOW)


# --- The college -----------------------------------------------------------------------------------------------------


def college_events(sends: bool) -> Iterable[dict[str, Any]]:
    """The messages of two weeks in May 2004: each is sent, and every third opened by whom it was sent to."""
    lines = (DATA / "college-messages.txt").read_text().splitlines()
    for place, line in enumerate(lines):
        sender, receiver, seconds = line.split()
        at = datetime.fromtimestamp(int(seconds), UTC)
        if datetime(2004, 5, 3, tzinfo=UTC) <= at < datetime(2004, 5, 17, tzinfo=UTC):
            if sends:
                yield event(id=f"s{place}", source="mail", type="engagement.email_sent", subject=sender, time=at)
            if place % 3 == 0:
                yield event(id=f"o{place}", source="mail", subject=receiver, time=at)


@pytest.mark.skipif(not DATA.exists(), reason="the college messages do not lie beside this checkout")
def test_recording_no_sends_at_the_college_is_what_counting_again_without_them_gives(catalogue: None):
    now = datetime(2004, 5, 20, tzinfo=UTC)
    used = {}
    for slug, sends in (("college", True), ("quiet-college", False)):
        signed_up_at = datetime(2004, 5, 1, tzinfo=UTC)
        account = put_account(slug, signed_up_at=signed_up_at, plan="connect", tier="scale", now=now)
        put_connection(account, "mail", "engagement", now=now)
        for batch in batched(college_events(sends), 10_000):
            deliver(account, batch, now=now)
        used[slug] = usage(account, now)["used"]

    answer = without_reason(Account.objects.get(slug="college"), "email_sent", now)

    assert (answer.used, answer.would_be) == (used["college"], used["quiet-college"])
    assert answer.saved > 100
