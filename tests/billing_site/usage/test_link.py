"""The page behind the link in mails: an account's usage in the API's numbers, for whoever holds the link."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts import usage_link
from accounts.models import Account
from metering import steering
from tests.conftest import StoppedClock
from tests.factories import ACTOR, NOW, Caller, deliver, put_account, unguarded
from tests.metering.test_at_limit import people, with_policy

pytestmark = pytest.mark.django_db


def page(account: Account, **how: Any) -> Any:
    url = usage_link.make(account.slug, now=NOW, lasts=timedelta(days=1), people=True).url
    return Client().get(url.removeprefix("http://127.0.0.1:8000"), **how)


def test_the_operator_asks_for_a_link_that_opens_the_page_for_a_day(
    acme: Account, operator: Caller, clock: StoppedClock
):
    answer = operator.post("accounts/acme/usage-link", b"")
    link = answer.json()

    assert (answer.status_code, link["expires_at"]) == (200, "2026-11-23T12:00:00Z")
    path = link["url"].removeprefix("http://127.0.0.1:8000")
    assert Client().get(path).status_code == 200
    clock.advance(days=1)
    expired = Client().get(path)
    assert (expired.status_code, b"expired" in expired.content) == (403, True)


def test_only_an_operator_may_ask_and_only_for_an_account_that_exists_without_more(
    operator: Caller, acme_caller: Caller
):
    assert acme_caller.post("accounts/acme/usage-link", b"").status_code == 403
    assert operator.post("accounts/nobody/usage-link", b"").status_code == 404
    assert operator.post("accounts/acme/usage-link", b"{}").status_code == 200
    assert operator.post("accounts/acme/usage-link", b'{"lasts": 5}').status_code == 400
    assert operator.post("accounts/acme/usage-link", b"{").status_code == 400


def test_the_page_is_only_looked_at(acme: Account):
    assert Client(enforce_csrf_checks=True).post("/usage/").status_code == 405


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "\u2603", "x" * 5_000, "%00"])
def test_a_token_that_is_not_ours_opens_nothing(acme: Account, clock: StoppedClock, token: str):
    answer = Client().get("/usage/", {"token": token})

    assert answer.status_code == 403
    assert b"not valid" in answer.content


def test_it_shows_whose_it_is_how_it_stands_and_where_the_number_comes_from(acme: Account, clock: StoppedClock):
    with_policy(acme, "pause", 10)
    deliver(acme, people(0, 14))

    text = page(acme).content.decode()

    for expected in ("Paused", "Acme Ltd", "pipedrive-mailchimp", "E-mail opened", "support@localhost"):
        assert expected in text


@pytest.mark.parametrize("policy", [None, "hold", "pause", "limit_new", "upgrade"])
@pytest.mark.parametrize("sent", [0, 1, 8, 10, 12])
def test_it_opens_whatever_the_state(acme: Account, clock: StoppedClock, policy: str | None, sent: int):
    with_policy(acme, policy, 10)
    deliver(acme, people(0, sent))

    assert page(acme).status_code == 200


def test_it_opens_for_events_for_an_unlimited_account_and_for_a_closed_one(
    acme: Account, initech: Account, clock: StoppedClock
):
    with unguarded():
        acme.subscriptions.get().tier.plan.tiers.update(limit=None)
    deliver(acme, people(0, 3))
    deliver(initech, people(0, 3, source="typeform"))
    steering.close(initech, reason="over", actor=ACTOR, now=NOW)

    assert b"no limit" in page(acme).content
    assert b"app connector events" in page(initech).content
    clock.advance(days=60)
    url = usage_link.make("initech", now=clock.now, lasts=timedelta(days=1), people=True).url
    assert Client().get(url.removeprefix("http://127.0.0.1:8000")).status_code == 200


def test_hostile_names_are_text(acme: Account, clock: StoppedClock):
    put_account("acme", name="<script>alert(1)</script>", signed_up_at=acme.signed_up_at)
    deliver(acme, people(0, 1))

    content = page(acme).content

    assert b"<script>" not in content
    assert b"&lt;script&gt;" in content


def test_it_may_be_framed_by_the_configured_origins_alone_and_tells_nobody_its_address(
    acme: Account, clock: StoppedClock
):
    answer = page(acme)

    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "no-store" in answer["Cache-Control"]
    assert "X-Frame-Options" not in answer
