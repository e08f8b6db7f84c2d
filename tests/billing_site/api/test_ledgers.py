"""The ledgers over HTTP: `subscription`, `plans`, `notifications`, `gaps` and `held`."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from metering import steering
from metering.models import Event, EventState, Gap
from notifications.models import Audience, Notification
from plans.catalogue import SHIPPED
from plans.models import Subscription, Tier
from tests.conftest import StoppedClock
from tests.factories import ACTOR, NOW, Caller, deliver, event, make_plan, put_account, put_connection, rows, unguarded

pytestmark = pytest.mark.django_db

LEDGERS = ["subscription", "plans", "notifications", "gaps", "held"]
DECEMBER = "2026-12-01T00:00:00Z"
NOON = "2026-11-22T12:00:00Z"
STARTER = {
    "plan": "connect",
    "tier": "starter",
    "unit": "active_contacts",
    "limit": 1000,
    "price": "29.00",
    "from": "2026-03-01T00:00:00Z",
    "to": None,
    "reason": "sign-up",
}


def listed(caller: Caller, path: str, **query: Any) -> list[Any]:
    """All rows of a list that fits on a page."""
    page = caller.get(path, **query).json()
    assert (page["next"], page["previous"]) == (None, None)
    found: list[Any] = page["results"]
    return found


def read_through(caller: Caller, path: str, page_size: int) -> tuple[list[Any], list[Any]]:
    """A list read page by page to its end, and back again from there."""
    there: list[Any] = []
    back: list[Any] = []
    page = caller.get(path, page_size=page_size).json()
    while True:
        there += page["results"]
        if page["next"] is None:
            break
        page = _follow(caller, page["next"])
    while True:
        back = page["results"] + back
        if page["previous"] is None:
            return there, back
        page = _follow(caller, page["previous"])


def _follow(caller: Caller, address: str) -> Any:
    parts = urlsplit(address)
    return caller.get(f"{parts.path.removeprefix('/api/v1/')}?{parts.query}").json()


def asked(caller: Caller, path: str) -> int:
    """How many queries it takes."""
    with CaptureQueriesContext(connection) as queries:
        assert caller.get(path).status_code == 200
    return len(queries)


def hold(account: Account, *events: dict[str, Any], limit: int = 1, now: datetime = NOW) -> None:
    """Have an account hold these events: its limit is used up by others."""
    put_account(account.slug, at_limit="hold", limit_override=limit)
    deliver(account, [event() for _ in range(limit)], now=now)
    receipt = deliver(account, events, now=now)
    assert receipt.outcomes() == {"held": len(events)}


# --- subscription ----------------------------------------------------------------------------------------------------


def test_an_account_reads_its_subscription(acme_caller: Caller):
    assert listed(acme_caller, "subscription") == [STARTER]


def test_subscriptions_are_listed_newest_first_also_what_is_pending(acme: Account, acme_caller: Caller):
    steering.upgrade(acme, "growth", reason="grows", actor=ACTOR, now=NOW)
    steering.downgrade(acme, "pro-1k", "social", reason="shrinks", actor=ACTOR, now=NOW)

    assert listed(acme_caller, "subscription") == [
        {
            "plan": "social",
            "tier": "pro-1k",
            "unit": "activated_contacts",
            "limit": 1000,
            "price": "19.00",
            "from": DECEMBER,
            "to": None,
            "reason": "shrinks",
        },
        {**STARTER, "tier": "growth", "limit": 2500, "price": "59.00", "from": NOON, "to": DECEMBER, "reason": "grows"},
        {**STARTER, "to": NOON},
    ]


def test_an_override_is_the_limit_of_the_subscription_in_force_and_of_no_other(acme: Account, acme_caller: Caller):
    steering.upgrade(acme, "growth", reason="grows", actor=ACTOR, now=NOW)
    steering.downgrade(acme, "starter", reason="shrinks", actor=ACTOR, now=NOW)
    put_account("acme", limit_override=1234)

    assert [row["limit"] for row in listed(acme_caller, "subscription")] == [1000, 1234, 1000]


def test_an_unlimited_tier_has_no_limit_unless_the_account_has(acme: Account, acme_caller: Caller):
    with unguarded():
        Tier.objects.update(limit=None)
    assert listed(acme_caller, "subscription")[0]["limit"] is None

    put_account("acme", limit_override=7)
    assert listed(acme_caller, "subscription")[0]["limit"] == 7


def test_in_force_is_by_the_account_s_own_clock(acme: Account, acme_caller: Caller):
    steering.upgrade(acme, "growth", reason="grows", actor=ACTOR, now=NOW)
    put_account("acme", limit_override=7)
    acme.meter.clock = NOW - timedelta(days=60)
    acme.meter.save()

    assert [row["limit"] for row in listed(acme_caller, "subscription")] == [2500, 7]


def test_a_downgrade_that_lapses_is_gone_once_its_period_has_begun(
    acme: Account, acme_caller: Caller, clock: StoppedClock
):
    steering.upgrade(acme, "growth", reason="grows", actor=ACTOR, now=NOW)
    steering.downgrade(acme, "starter", reason="shrinks", actor=ACTOR, now=NOW)
    deliver(acme, [event(type="contact.matched") for _ in range(1001)])
    clock.advance(days=10)

    assert [(row["tier"], row["to"]) for row in listed(acme_caller, "subscription")] == [
        ("growth", None),
        ("starter", NOON),
    ]


# --- plans -----------------------------------------------------------------------------------------------------------


def test_plans_are_listed_by_key_with_their_tiers_the_lowest_first(acme_caller: Caller):
    assert listed(acme_caller, "plans") == [
        {
            "key": plan.key,
            "unit": plan.unit,
            "period_rule": plan.period_rule,
            "at_limit": plan.at_limit,
            "grace_hours": 24,
            "tiers": [
                {"key": tier.key, "limit": tier.limit, "price": tier.price, "trial": tier.trial} for tier in plan.tiers
            ],
        }
        for plan in SHIPPED
    ]


def test_an_unlimited_tier_comes_last(acme: Account, acme_caller: Caller):
    with unguarded():
        Tier.objects.filter(key="growth").update(limit=None)

    [connect, *_] = listed(acme_caller, "plans")

    assert [tier["key"] for tier in connect["tiers"]] == ["trial", "starter", "professional", "scale", "growth"]


# --- notifications ---------------------------------------------------------------------------------------------------


def test_an_account_reads_which_mails_it_was_sent(acme: Account, acme_caller: Caller):
    put_account("acme", limit_override=5)
    deliver(acme, [event() for _ in range(4)], now=NOW - timedelta(hours=1))
    Notification.objects.update(state="sent", sent_at=NOW)
    deliver(acme, [event()])

    row = {"kind": "threshold", "period_start": "2026-11-01T00:00:00Z", "limit": 5}
    assert listed(acme_caller, "notifications") == [
        {**row, "percent": 100, "created_at": NOON, "state": "pending", "sent_at": None},
        {**row, "percent": 80, "created_at": "2026-11-22T11:00:00Z", "state": "sent", "sent_at": NOON},
    ]


def test_mails_of_one_moment_are_listed_the_last_first(acme: Account, acme_caller: Caller):
    put_account("acme", limit_override=5)
    deliver(acme, [event() for _ in range(5)])

    assert [row["percent"] for row in listed(acme_caller, "notifications")] == [100, 80]


def test_mails_to_staff_and_to_others_are_not_listed(
    acme: Account, globex: Account, acme_caller: Caller, operator: Caller
):
    steering.pause(acme, reason="x", actor=ACTOR, now=NOW)
    steering.pause(globex, reason="x", actor=ACTOR, now=NOW)
    mail = Notification.objects.get(account=acme)
    Notification.objects.create(
        account=acme, kind="over_top_tier", audience=Audience.STAFF, key="k", facts=mail.facts, created_at=NOW
    )

    assert [row["kind"] for row in listed(acme_caller, "notifications")] == ["paused"]
    assert [row["kind"] for row in listed(operator, "notifications", account="acme")] == ["paused"]


# --- gaps ------------------------------------------------------------------------------------------------------------


def test_gaps_tell_what_was_lost_newest_first(acme: Account, acme_caller: Caller):
    twice = event(type="web.visited", source="website")
    steering.pause(acme, reason="x", actor=ACTOR, now=NOW)
    deliver(acme, [twice])
    deliver(acme, [twice])
    steering.resume(acme, reason="x", actor=ACTOR, now=NOW + timedelta(hours=1))
    steering.pause(acme, reason="x", actor=ACTOR, now=NOW + timedelta(hours=2))
    deliver(acme, [event()], now=NOW + timedelta(hours=2))

    assert listed(acme_caller, "gaps") == [
        {
            "from": "2026-11-22T14:00:00Z",
            "to": None,
            "reason": "paused_by_staff",
            "connection": "pipedrive-mailchimp",
            "type": "engagement.email_opened",
            "events": 1,
            "attempts": 1,
        },
        {
            "from": NOON,
            "to": "2026-11-22T13:00:00Z",
            "reason": "paused_by_staff",
            "connection": "website",
            "type": "web.visited",
            "events": 1,
            "attempts": 2,
        },
    ]


# --- held ------------------------------------------------------------------------------------------------------------


def test_what_is_held_is_listed_with_whom_it_is_about(acme: Account, acme_caller: Caller):
    hold(acme, event(id="evt-9", type="contact.matched", subject="Ann@Example.COM"))

    assert listed(acme_caller, "held") == [
        {
            "id": "evt-9",
            "connection": "pipedrive-mailchimp",
            "type": "contact.matched",
            "subject": "Ann@Example.COM",
            "time": "2026-11-22T11:00:00Z",
            "held_at": NOON,
        }
    ]


def test_who_was_renamed_is_listed_by_the_new_address(acme: Account, acme_caller: Caller):
    hold(acme, event(subject="old@example.com"))
    put_account("acme", limit_override=1)
    deliver(acme, [event(type="contact.renamed", subject="new@example.com", data={"from": "old@example.com"})])

    assert [row["subject"] for row in listed(acme_caller, "held")] == ["new@example.com"]


SAME_TIME = NOW - timedelta(hours=2)
IN_ORDER_OF_REPLAY = [
    ("pipedrive-mailchimp", "z", SAME_TIME - timedelta(seconds=1)),
    ("pipedrive-mailchimp", "B", SAME_TIME),
    ("pipedrive-mailchimp", "_", SAME_TIME),
    ("pipedrive-mailchimp", "a", SAME_TIME),
    ("hubspot-brevo", "a", SAME_TIME),
    ("pipedrive-mailchimp", "é", SAME_TIME),
    ("pipedrive-mailchimp", "A", SAME_TIME + timedelta(microseconds=1)),
]
"""Source, id and time of events, those that tie on all three in the order in which they come."""


@pytest.fixture
def seven_held(acme: Account) -> list[tuple[str, str]]:
    """Acme holds seven events that came in another order; source and id in the order of replay."""
    batch = [event(source=source, id=key, time=time) for source, key, time in IN_ORDER_OF_REPLAY]
    hold(acme, *(batch[place] for place in (6, 3, 0, 5, 4, 2, 1)))
    return [(source, key) for source, key, _ in IN_ORDER_OF_REPLAY]


def _named(listed_rows: list[Any]) -> list[tuple[str, str]]:
    return [(row["connection"], row["id"]) for row in listed_rows]


def test_what_is_held_is_listed_in_the_order_of_replay(
    acme: Account, acme_caller: Caller, seven_held: list[tuple[str, str]]
):
    assert _named(listed(acme_caller, "held")) == seven_held

    for replayed in range(1, 8):
        put_account("acme", limit_override=1 + replayed)
        assert _named(listed(acme_caller, "held")) == seven_held[replayed:]
    assert rows(Event, "state") == [EventState.RECORDED] * 8


@pytest.mark.parametrize("page_size", range(1, 9))
def test_pages_of_what_ties_are_read_there_and_back(
    acme_caller: Caller, seven_held: list[tuple[str, str]], page_size: int
):
    there, back = read_through(acme_caller, "held", page_size)

    assert (_named(there), _named(back)) == (seven_held, seven_held)


def test_what_is_replayed_between_two_pages_hides_nothing(
    acme: Account, acme_caller: Caller, seven_held: list[tuple[str, str]]
):
    first = acme_caller.get("held", page_size=3).json()
    put_account("acme", limit_override=3)

    second = _follow(acme_caller, first["next"])

    assert _named(second["results"]) == seven_held[3:6]
    assert _named(_follow(acme_caller, second["previous"])["results"]) == seven_held[2:3]


def test_a_page_whose_rows_are_all_gone_leads_back(
    acme: Account, acme_caller: Caller, seven_held: list[tuple[str, str]]
):
    first = acme_caller.get("held", page_size=3).json()
    Event.objects.filter(key__in=["a", "é", "A"]).update(state=EventState.GIVEN_UP)

    empty = _follow(acme_caller, first["next"])

    assert (empty["results"], empty["next"]) == ([], None)
    assert _named(_follow(acme_caller, empty["previous"])["results"]) == seven_held[:3]


# --- What all have in common -----------------------------------------------------------------------------------------


def test_what_one_account_has_is_not_listed_for_another(
    acme: Account, globex: Account, acme_caller: Caller, globex_caller: Caller, operator: Caller
):
    hold(acme, event())
    steering.pause(acme, reason="x", actor=ACTOR, now=NOW)
    deliver(acme, [event()])

    for path in ("notifications", "gaps", "held"):
        assert listed(acme_caller, path) != []
        assert listed(operator, path, account="acme") == listed(acme_caller, path)
        assert listed(globex_caller, path) == listed(operator, path, account="globex") == []
    assert [row["plan"] for row in listed(globex_caller, "subscription")] == ["social"]


@pytest.mark.parametrize("path", LEDGERS)
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("x=1", "unknown_parameter"),
        ("order=-time", "unknown_parameter"),
        ("page_size=0", "out_of_range"),
        ("page_size=1001", "out_of_range"),
        ("cursor=x", "bad_cursor"),
        ("page_size=1&page_size=1", "repeated_parameter"),
    ],
)
def test_parameters_are_read_strictly(acme_caller: Caller, path: str, query: str, code: str):
    answer = acme_caller.get(f"{path}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("path", LEDGERS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_ledgers_are_only_read(acme_caller: Caller, path: str, method: str):
    answer = acme_caller._ask(method, path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def more_subscriptions(account: Account, numbers: range) -> None:
    for number in numbers:
        present = Subscription.objects.get(account=account, ends_at=None)
        present.ends_at = NOW - timedelta(days=100 - number)
        present.save()
        present.pk, present.starts_at, present.ends_at = None, present.ends_at, None
        present.save(force_insert=True)


def more_plans(account: Account, numbers: range) -> None:
    for number in numbers:
        make_plan(f"plan-{number}", {f"t{step}": step for step in range(1, 4)})


def more_mails(account: Account, numbers: range) -> None:
    for number in numbers:
        Notification.objects.create(account=account, kind="threshold", key=str(number), facts={}, created_at=NOW)


def more_gaps(account: Account, numbers: range) -> None:
    for number in numbers:
        link = put_connection(account, f"link-{number}")
        Gap.objects.create(account=account, reason="limit_reached", starts_at=NOW, connection=link, type=1)


def more_held(account: Account, numbers: range) -> None:
    put_account("acme", at_limit="hold", limit_override=1)
    deliver(account, [event()])
    for number in numbers:
        source, old, new = f"link-{number}", f"old-{number}@example.com", f"new-{number}@example.com"
        put_connection(account, source)
        renamed = event(source=source, type="contact.renamed", subject=new, data={"from": old})
        deliver(account, [event(source=source, subject=old), renamed])


MORE: dict[str, Callable[[Account, range], None]] = {
    "subscription": more_subscriptions,
    "plans": more_plans,
    "notifications": more_mails,
    "gaps": more_gaps,
    "held": more_held,
}


@pytest.mark.parametrize("path", LEDGERS)
def test_many_rows_take_as_many_queries_as_one(acme: Account, acme_caller: Caller, path: str):
    acme_caller.get("usage")  # opens the period, and the use of the key is noted
    MORE[path](acme, range(1))
    few = asked(acme_caller, path)
    MORE[path](acme, range(1, 20))

    assert asked(acme_caller, path) == few <= 7
    assert len(acme_caller.get(path).json()["results"]) >= 20


@pytest.mark.parametrize("path", ["subscription", "notifications", "gaps", "held"])
@pytest.mark.parametrize("page_size", [1, 7, 20])
def test_every_ledger_is_read_through_page_by_page(acme: Account, acme_caller: Caller, path: str, page_size: int):
    MORE[path](acme, range(20))
    whole = listed(acme_caller, path)

    assert read_through(acme_caller, path, page_size) == (whole, whole)


def test_a_cursor_of_one_ledger_is_none_of_another(
    acme: Account, globex: Account, acme_caller: Caller, operator: Caller
):
    more_mails(acme, range(2))
    page = acme_caller.get("notifications", page_size=1).json()
    [cursor] = parse_qs(urlsplit(page["next"]).query)["cursor"]

    assert operator.get("notifications", account="acme", cursor=cursor).status_code == 200
    for answer in (
        acme_caller.get("gaps", cursor=cursor),
        operator.get("notifications", account="globex", cursor=cursor),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")
