"""The pages of the customer's window: what they say, whom they let in, and how they refuse."""

import csv
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from metering import steering
from metering.erasure import erase
from metering.lock import AccountBusy
from metering.models import Gap
from tests.billing_site.usage.window import PATHS, look, numbers, text_of, token
from tests.conftest import StoppedClock
from tests.factories import ACTOR, NOW, Caller, deliver, event, put_account, put_connection, unguarded
from tests.metering.test_at_limit import people, with_policy

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]

SYNC, MAIL = "pipedrive-mailchimp", "mailchimp-pipedrive"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


# --- Every page, whatever the account ---


@pytest.mark.parametrize("path", [*PATHS, f"connections/{SYNC}"])
@pytest.mark.parametrize("filled", [False, True])
def test_every_page_opens_for_an_empty_account_and_for_a_full_one(acme: Account, path: str, filled: bool):
    if filled:
        with_policy(acme, "pause", 10)
        deliver(acme, people(0, 14))

    answer = look(acme, path)

    assert answer.status_code == 200
    assert "mailto:support@localhost" in answer.content.decode()
    assert "/usage/help" in answer.content.decode()


@pytest.mark.parametrize("path", PATHS)
def test_every_page_opens_for_accounts_of_the_other_units(globex: Account, initech: Account, path: str):
    deliver(globex, [event(source="instagram", type="automation.scenario_run", subject="ann")])
    deliver(initech, people(0, 3, source="typeform"))

    assert [look(account, path).status_code for account in (globex, initech)] == [200, 200]


@pytest.mark.parametrize("path", [*PATHS, f"connections/{SYNC}", "contacts.csv"])
def test_every_page_is_private_strict_and_only_looked_at(acme: Account, path: str):
    answer = look(acme, path)

    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["X-Robots-Tag"] == "noindex"
    assert "X-Frame-Options" not in answer
    assert Client(enforce_csrf_checks=True).post(f"/usage/{path}").status_code == 405
    assert {"no-store", "private"} <= set(answer["Cache-Control"].split(", "))


@pytest.mark.parametrize("path", PATHS)
def test_every_page_has_one_title_headings_in_order_and_a_way_past_the_menu(acme: Account, path: str):
    deliver(acme, people(0, 3))
    page = look(acme, path).content.decode()

    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert (levels.count(1), levels[0]) == (1, 1)
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert '<html lang="en">' in page
    assert 'href="#main"' in page
    assert page.count("<table") == page.count("<caption")
    assert 'style="' not in page
    assert "<script" not in page


def test_links_on_a_page_keep_the_link_that_opened_it(acme: Account):
    deliver(acme, people(0, 3))
    page = look(acme).content.decode()

    inner = re.findall(r'href="(/usage/[^"]*)"', page)

    assert len(inner) > 10
    assert all(f"token={token(acme)}" in to for to in inner)


# --- Who is let in ---


@pytest.mark.parametrize("path", [*PATHS[:-1], "connections/x", "contacts.csv"])
def test_nothing_opens_without_a_link(acme: Account, path: str):
    answer = Client().get(f"/usage/{path}")

    assert (answer.status_code, "not valid" in text_of(answer)) == (403, True)


def test_the_help_needs_no_link_and_has_no_menu_then(db: None):
    answer = Client().get("/usage/help")

    assert answer.status_code == 200
    assert "<nav" not in answer.content.decode()
    assert "Active contacts" in text_of(answer)


@pytest.mark.parametrize("path", ["contacts", "contacts/why", "contacts.csv"])
def test_a_link_from_a_mail_shows_numbers_and_no_people(acme: Account, path: str):
    deliver(acme, people(0, 3))

    answer = look(acme, path, people=False)

    assert (answer.status_code, "numbers only" in text_of(answer)) == (403, True)


def test_with_a_link_from_a_mail_no_page_names_anybody(acme: Account):
    with_policy(acme, "hold", 2)
    deliver(acme, people(0, 5))
    deliver(acme, [event(source=SYNC, type="contact.refused", subject="p1@example.com")])

    for path in (path for path in PATHS if not path.startswith("contacts")):
        page = look(acme, path, people=False).content.decode()
        assert "p1@example.com" not in page
        assert "p4@example.com" not in page
        assert "/usage/contacts" not in page


def test_a_link_shows_one_account_and_no_other(acme: Account, globex: Account):
    deliver(globex, [event(source="instagram", type="automation.scenario_run", subject="zoe")])

    assert look(acme, "connections/instagram").status_code == 404
    assert look(acme, "contacts/why", subject="zoe").status_code == 404


# --- What is asked for and is not there ---


@pytest.mark.parametrize(
    ("path", "query", "status", "says"),
    [
        ("connections/nobody", {}, 404, "nothing here by that name"),
        ("connections/%00", {}, 404, "nothing here by that name"),
        (f"connections/{SYNC}", {"from_": "yesterday"}, 400, "from"),
        (f"connections/{SYNC}", {"from_": "2026-11-20", "to": "2026-11-10"}, 400, "is after"),
        (f"connections/{SYNC}", {"from_": "2020-01-01", "to": "2026-11-10"}, 400, "At most 400 days"),
        (f"connections/{SYNC}", {"from_": "0001-01-01", "to": "0001-01-01"}, 400, "calendar"),
        (f"connections/{SYNC}", {"from_": "9999-12-31", "to": "9999-12-31"}, 400, "calendar"),
        ("contacts", {"period": "2020-01-01T00:00:00Z"}, 404, "no such billing period"),
        ("contacts", {"period": "soon"}, 400, "period"),
        ("contacts", {"reason": "magic"}, 400, "no such reason"),
        ("contacts", {"connection": "nobody"}, 404, "nothing here by that name"),
        ("contacts", {"refused": "perhaps"}, 400, "true or false"),
        ("contacts", {"cursor": "nonsense"}, 400, "start it again"),
        ("contacts.csv", {"reason": "magic"}, 400, "no such reason"),
        ("contacts/why", {"subject": "nobody@example.com"}, 404, "Nobody is known as nobody@example.com"),
        ("contacts/why", {"subject": "\0"}, 404, "Nobody is known"),
        ("contacts/why", {"subject": "x" * 5_000}, 404, "Nobody is known"),
        ("contacts/why", {"subject": "a@@b"}, 404, "Nobody is known"),
        ("gaps", {"cursor": "\ud800"}, 400, "start it again"),
        ("periods", {"utm_source": "mail"}, 200, "Billing periods"),
    ],
)
def test_what_is_not_there_or_makes_no_sense_is_a_page_that_says_so(
    acme: Account, path: str, query: dict[str, str], status: int, says: str
):
    asked: dict[str, Any] = {name: value.encode("utf-8", "surrogatepass") for name, value in query.items()}

    answer = look(acme, path, **asked)

    assert (answer.status_code, answer["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert says in text_of(answer)


def test_hostile_names_are_text_on_every_page(acme: Account):
    put_account("acme", name=HOSTILE, signed_up_at=acme.signed_up_at, limit_override=2, at_limit="hold")
    put_connection(acme, SYNC, name=HOSTILE, source_app=HOSTILE, destination_app=HOSTILE)
    deliver(acme, [event(subject=f"{number}<b>@example.com", id=HOSTILE + str(number)) for number in range(4)])

    for path in (*PATHS, f"connections/{SYNC}"):
        page = look(acme, path).content.decode()
        assert "<script>" not in page
        assert "<img" not in page
        assert "<b>@" not in page
    assert "&lt;script&gt;" in look(acme).content.decode()
    assert "<script>" not in look(acme, "contacts/why", subject=HOSTILE).content.decode()


def test_an_account_that_was_closed_before_it_had_a_period_says_so(initech: Account, clock: StoppedClock):
    steering.close(initech, reason="over", actor=ACTOR, now=NOW)
    clock.advance(days=60)

    answer = look(initech, now=clock.now)

    assert (answer.status_code, "no such billing period" in text_of(answer)) == (404, True)


def test_a_connection_of_an_account_that_never_had_a_period_still_has_its_status(initech: Account, clock: StoppedClock):
    steering.close(initech, reason="over", actor=ACTOR, now=NOW)
    clock.advance(days=60)

    answer = look(initech, "connections/typeform", now=clock.now)

    assert (answer.status_code, "Nothing was recorded" in text_of(answer)) == (200, True)


# --- What pages say ---


def test_the_overview_has_the_numbers_of_the_api(acme: Account, acme_caller: Caller):
    deliver(acme, people(0, 14))
    deliver(acme, [event(source=SYNC, type="contact.matched", subject=f"p{number}@example.com") for number in range(3)])

    seen, api = numbers(look(acme)), acme_caller.get("usage").json()

    for name in ("used", "limit", "percent", "remaining", "carried_in", "new"):
        assert seen[name] == api[name]
    for row in api["by_connection"]:
        assert seen[f"by_connection.{row['connection']}.number"] == row["contacts"]
        assert seen[f"by_connection.{row['connection']}.only_here"] == row["only_here"]


def test_a_pause_is_a_banner_that_says_how_much_is_lost(acme: Account):
    with_policy(acme, "pause", 10)
    deliver(acme, people(0, 14))

    answer = look(acme)

    assert numbers(answer)["lost"] == 4
    assert "4 events have been lost since it began" in text_of(answer)


def test_holding_is_a_banner_that_says_how_much_waits(acme: Account):
    with_policy(acme, "hold", 10)
    deliver(acme, people(0, 14))

    answer = look(acme)

    assert numbers(answer)["held"] == 4
    assert "4 events wait until there is room" in text_of(answer)


def test_an_account_without_a_limit_has_no_gauge(acme: Account):
    with unguarded():
        acme.subscriptions.get().tier.plan.tiers.update(limit=None)
    deliver(acme, people(0, 3))

    text = text_of(look(acme))

    assert "no limit" in text
    assert "80 %" not in text


def test_a_closed_account_is_still_seen(initech: Account, clock: StoppedClock):
    deliver(initech, people(0, 3, source="typeform"))
    steering.close(initech, reason="over", actor=ACTOR, now=NOW)
    clock.advance(days=60)

    assert [look(initech, path, now=clock.now).status_code for path in PATHS] == [200] * len(PATHS)


def test_a_closed_account_does_not_say_that_all_flows_nor_that_it_begins_anew(initech: Account, clock: StoppedClock):
    deliver(initech, people(0, 3, source="typeform"))
    steering.close(initech, reason="over", actor=ACTOR, now=NOW)
    closing = text_of(look(initech))
    clock.advance(days=60)

    closed = text_of(look(initech, now=clock.now))

    assert "Closes on" in closing
    assert "Closed since" in closed
    assert "Nothing more is counted" in closed
    for false in ("Everything flows", "Begins anew", "If all goes on"):
        assert false not in closed


def test_the_overview_says_when_the_trial_ends(acme: Account):
    trial = put_account("on-trial", plan="connect", tier="trial", trial_ends_at=NOW + timedelta(days=5))

    assert "The trial ends, and all pauses, on 27 November 2026, 12:00 (UTC)" in text_of(look(trial))


def test_the_overview_names_the_plan_that_is_to_come(acme: Account):
    steering.downgrade(acme, "pro-1k", plan_key="social", reason="smaller", actor=ACTOR, now=NOW)

    assert "Next plan social / pro-1k from 1 December 2026, 00:00 (UTC)" in text_of(look(acme))


def test_the_status_page_marks_what_was_lost_and_offers_the_usual_days(acme: Account):
    with_policy(acme, "pause", 10)
    deliver(acme, people(0, 14))

    answer = look(acme, f"connections/{SYNC}", from_="2026-11-20", to="2026-11-23")

    assert numbers(answer)["engagement_events"] == 10
    assert "What was lost here" in text_of(answer)
    assert 'class="lost"' in answer.content.decode()
    for preset in ("This period", "Last 30 days"):
        assert preset in text_of(answer)


@pytest.mark.parametrize(("first", "last"), [("2026-11-01", "2026-11-21"), ("2026-11-23", "2026-12-24")])
def test_a_gap_on_other_days_is_not_shown_nor_foretold(acme: Account, first: str, last: str):
    with_policy(acme, "pause", 10)
    deliver(acme, people(0, 14))

    answer = look(acme, f"connections/{SYNC}", from_=first, to=last)

    assert "What was lost here" not in text_of(answer)


def test_the_day_on_whose_first_moment_a_gap_ends_is_not_marked(acme: Account, clock: StoppedClock):
    with_policy(acme, "pause", 10)
    deliver(acme, people(0, 14))
    Gap.objects.filter(account=acme).update(ends_at=datetime(2026, 11, 24, tzinfo=UTC))
    clock.advance(days=5)

    page = look(acme, f"connections/{SYNC}", now=clock.now, from_="2026-11-21", to="2026-11-24").content.decode()

    assert re.findall(r'class="lost" x="([\d.]+)" y="0" width="([\d.]+)"', page) == [("250.0", "500.0")]


def test_contacts_are_filtered_and_found(acme: Account):
    deliver(acme, people(0, 3))
    deliver(acme, [event(source=SYNC, type="contact.refused", subject="Ann@Example.com")])

    shown = text_of(look(acme, "contacts", reason="contact_sync"))
    assert "Ann@Example.com" in shown
    assert "p1@example.com" not in shown
    assert "Ann@Example.com" not in text_of(look(acme, "contacts", refused="false"))
    why = text_of(look(acme, "contacts/why", subject="ANN@example.com"))
    assert "Part of a contact sync" in why
    assert "Refused by the destination since 2026-11-22 11:00" in why


def test_somebody_who_is_known_and_does_not_count_is_said_to_be(globex: Account):
    deliver(globex, [event(source="lead-ads", type="crm.lead_captured", subject="zoe", data={"origin": "ad"})])

    assert "does not count" in text_of(look(globex, "contacts/why", subject="zoe"))


def test_an_erased_contact_leads_to_nobody_else(acme: Account):
    deliver(acme, people(0, 2))
    erase(acme, "p1@example.com", actor=ACTOR, now=NOW)

    page = look(acme, "contacts").content.decode()

    assert "subject=p0%40example.com" in page
    assert "erased" in page
    assert "subject=erased" not in page


def test_the_file_has_the_contacts_that_the_list_shows(acme: Account):
    deliver(acme, people(0, 3))
    deliver(acme, [event(source=SYNC, type="contact.refused", subject="ann@example.com")])

    answer = look(acme, "contacts.csv", refused="true")

    rows = list(csv.DictReader(b"".join(answer.streaming_content).decode().splitlines()))
    assert [row["subject"] for row in rows] == ["ann@example.com"]
    assert answer["Content-Disposition"] == 'attachment; filename="contacts-acme-2026-11-01.csv"'


# --- Pages of lists ---


def _followed(account: Account, path: str, what: str) -> list[int]:
    """How many of something stand on each page of a list, from the first to the last."""
    found, client = [], Client()
    to: str | None = f"/usage/{path}?token={token(account)}"
    while to:
        page = client.get(to).content.decode()
        found.append(page.count(what))
        more = re.search(r'rel="next" href="([^"]+)"', page)
        to = f"/usage/{path}{more[1].replace('&amp;', '&')}" if more else None
    return found


def test_a_list_is_read_page_by_page_to_its_end(acme: Account):
    with_policy(acme, "hold", 60)
    deliver(acme, people(0, 180))

    assert _followed(acme, "contacts", '<th scope="row"') == [50, 10]
    assert _followed(acme, "held", '<th scope="row"') == [50, 50, 20]


# --- Queries: as many for much as for little ---


def _queries(look_at: Callable[[], Any]) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert look_at().status_code == 200
    return len(captured)


@pytest.mark.parametrize(
    ("path", "exactly"),
    [
        ("", 30),
        ("less", 40),
        ("contacts", 10),
        ("contacts/why", 4),
        ("connections", 20),
        (f"connections/{SYNC}", 12),
        ("periods", 4),
        ("notifications", 4),
        ("gaps", 5),
        ("held", 5),
    ],
)
def test_much_takes_as_many_queries_as_little(acme: Account, path: str, exactly: int):
    put_account("acme", at_limit="pause", limit_override=500, signed_up_at=acme.signed_up_at)
    deliver(acme, [event(source=key, subject="one@example.com") for key in (SYNC, MAIL)])
    deliver(acme, [event(source="scoring", type="score.set", subject="two@example.com", data={"value": 1})])
    few = _queries(lambda: look(acme, path))

    for number in range(12):
        put_connection(acme, f"more-{number}")
        deliver(acme, people(number * 50, number * 50 + 50, source=f"more-{number}"))
    deliver(
        acme, [event(source=SYNC, type="contact.refused", subject=f"p{number}@example.com") for number in range(90)]
    )

    many = _queries(lambda: look(acme, path))

    assert (few, many) == (exactly, exactly)


def test_a_page_later_in_a_list_costs_what_the_first_does(acme: Account):
    deliver(acme, people(0, 160))
    first = look(acme, "contacts").content.decode()
    more = re.search(r'rel="next" href="([^"]+)"', first)
    assert more

    costs = [
        _queries(lambda: look(acme, "contacts")),
        _queries(lambda: Client().get(f"/usage/contacts{more[1].replace('&amp;', '&')}")),
    ]

    assert costs[0] == costs[1]


def test_a_busy_account_is_asked_for_again(acme: Account, monkeypatch: pytest.MonkeyPatch):
    def busy(*_: Any) -> None:
        raise AccountBusy

    monkeypatch.setattr("billing_site.usage.visit.ensure_current", busy)
    answer = look(acme)

    assert (answer.status_code, "Just a moment" in text_of(answer)) == (503, True)
    assert int(answer["Retry-After"]) > 0


def test_a_link_lasts_as_long_as_it_says(acme: Account, clock: StoppedClock):
    clock.advance(days=1)

    answer = look(acme)

    assert (answer.status_code, "expired" in text_of(answer)) == (403, True)
    assert clock.now == NOW + timedelta(days=1)
