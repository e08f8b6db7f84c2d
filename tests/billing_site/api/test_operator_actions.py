"""`POST accounts/{slug}/pause` and the like: what an operator does to an account over HTTP, and says why."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from accounts.models import Account, ApiKey, AuditEntry
from jobs.models import Job
from metering.models import AccountMeter, Event, Gap
from notifications.models import Notification
from plans.models import Subscription
from tests.at_once import at_once
from tests.conftest import StoppedClock
from tests.factories import NOW, Caller, deliver, event, make_key, put_account, rows

pytestmark = pytest.mark.django_db

ACTIONS: dict[str, dict[str, str]] = {
    "pause": {},
    "resume": {},
    "upgrade": {"tier": "growth"},
    "downgrade": {"tier": "starter"},
    "replay": {},
    "close": {},
}
"""Every action with what it needs besides its reason."""

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
GROWTH = {**STARTER, "tier": "growth", "limit": 2500, "price": "59.00", "from": "2026-11-22T12:00:00Z"}
DECEMBER = "2026-12-01T00:00:00Z"
NOT_PAUSED = {"paused": False, "reason": None, "since": None}


def act(caller: Caller, action: str, slug: str = "acme", **body: Any) -> Any:
    """The answer to an action on an account; for a reason, unless told otherwise."""
    return caller.post(f"accounts/{slug}/{action}", json.dumps({"reason": "ticket 7", **body}).encode())


def all_rows() -> list[Any]:
    """Whatever an action could change."""
    return [
        rows(AuditEntry, "action", "at", "reason"),
        rows(Subscription, "account__slug", "tier__key", "starts_at", "ends_at", "reason"),
        rows(Account, "slug", "paused_at", "paused_by", "pause_reason", "closed_at", "limit_override"),
        rows(Notification, "kind", "key"),
        rows(Job, "task", "subject_id"),
        rows(Event, "key", "state"),
        rows(Gap, "reason", "starts_at", "ends_at", "events"),
    ]


def audit(*actions: str) -> list[Any]:
    """Action, actor and reason of the audit rows of these actions."""
    return rows(AuditEntry, "action", "actor", "reason", action__in=[f"account.{action}" for action in actions])


def key_of_operator() -> str:
    return f"key {ApiKey.objects.get(account=None).prefix}"


def hold(account: Account, limit: int, events: int) -> None:
    """Have an account hold what comes above a limit, and send it so many events."""
    put_account(account.slug, at_limit="hold", limit_override=limit)
    deliver(account, [event() for _ in range(events)])


# --- What each does --------------------------------------------------------------------------------------------------


def test_a_pause_drops_everything_until_it_is_resumed(acme: Account, operator: Caller, clock: StoppedClock):
    paused = act(operator, "pause")

    assert (paused.status_code, paused.json()) == (
        200,
        {"paused": True, "reason": "paused_by_staff", "since": "2026-11-22T12:00:00Z"},
    )
    assert operator.send([event(account="acme")]).json()["outcomes"] == {"dropped": 1}
    clock.advance(hours=1)
    assert act(operator, "resume", reason="paid").json() == NOT_PAUSED
    assert operator.send([event(account="acme")]).json()["outcomes"] == {"recorded": 1}
    assert audit("paused", "resumed") == [
        ("account.paused", key_of_operator(), "ticket 7"),
        ("account.resumed", key_of_operator(), "paid"),
    ]
    assert rows(Notification, "kind") == ["paused", "resumed"]


def test_a_pause_tells_the_key_that_paused(acme: Account, operator: Caller):
    act(operator, "pause")

    assert rows(Account, "paused_at", "paused_by", "pause_reason") == [(NOW, key_of_operator(), "ticket 7")]


def test_a_resume_ends_the_pause_at_the_limit(acme: Account, operator: Caller):
    put_account("acme", at_limit="pause", limit_override=1)
    deliver(acme, [event(), event()])
    assert operator.get("accounts/acme").json()["state"] == "paused"

    assert act(operator, "resume").json() == NOT_PAUSED
    assert operator.get("accounts/acme").json()["state"] == "limit_reached"


def test_a_pause_of_an_account_that_is_paused_at_its_limit_is_its_own(acme: Account, operator: Caller):
    put_account("acme", at_limit="pause", limit_override=1)
    deliver(acme, [event(), event()], now=NOW - timedelta(hours=1))

    assert act(operator, "pause").json()["reason"] == "paused_by_staff"
    assert act(operator, "resume").json() == NOT_PAUSED


def test_an_upgrade_is_at_once(acme: Account, operator: Caller):
    answer = act(operator, "upgrade", tier="growth")

    assert (answer.status_code, answer.json()) == (200, {**GROWTH, "reason": "ticket 7"})
    usage = operator.get("usage", account="acme").json()
    assert (usage["tier"], usage["limit"]) == ("growth", 2500)
    assert audit("upgraded") == [("account.upgraded", key_of_operator(), "ticket 7")]
    assert rows(Notification, "kind", "state") == [("upgraded", "pending")]


def test_an_upgrade_ends_an_override(acme: Account, operator: Caller):
    put_account("acme", limit_override=50)

    assert act(operator, "upgrade", tier="growth").json()["limit"] == 2500
    assert operator.get("accounts/acme").json()["limit_override"] is None


def test_a_downgrade_waits_for_the_next_period(acme: Account, operator: Caller):
    act(operator, "upgrade", tier="growth")

    answer = act(operator, "downgrade", tier="starter", reason="too dear")

    assert (answer.status_code, answer.json()) == (200, {**STARTER, "from": DECEMBER, "reason": "too dear"})
    assert operator.get("usage", account="acme").json()["tier"] == "growth"
    assert audit("downgraded") == [("account.downgraded", key_of_operator(), "too dear")]


def test_a_downgrade_may_lead_to_another_plan(acme: Account, operator: Caller):
    answer = act(operator, "downgrade", tier="pro-1k", plan="social").json()

    assert answer == {
        "plan": "social",
        "tier": "pro-1k",
        "unit": "activated_contacts",
        "limit": 1000,
        "price": "19.00",
        "from": DECEMBER,
        "to": None,
        "reason": "ticket 7",
    }


def test_an_override_is_not_the_limit_of_what_is_pending(acme: Account, operator: Caller):
    act(operator, "upgrade", tier="growth")
    put_account("acme", limit_override=50)

    assert act(operator, "downgrade", tier="starter").json()["limit"] == 1000


def test_an_upgrade_to_the_present_tier_cancels_the_downgrade(acme: Account, operator: Caller):
    act(operator, "upgrade", tier="growth")
    act(operator, "downgrade", tier="starter")

    answer = act(operator, "upgrade", tier="growth", reason="stays").json()

    assert answer == {**GROWTH, "reason": "ticket 7"}
    assert rows(Subscription, "tier__key", "ends_at") == [("growth", None), ("starter", NOW)]
    assert audit("downgrade_cancelled") == [("account.downgrade_cancelled", key_of_operator(), "stays")]


def test_a_replay_counts_what_there_is_room_for(acme: Account, operator: Caller):
    hold(acme, limit=2, events=5)
    Account.objects.update(limit_override=4)
    acme.periods.update(limit=4, limit_state="", limit_state_since=None)

    answer = act(operator, "replay")

    assert (answer.status_code, answer.json()) == (200, {"replayed": 2, "held": 1})
    assert operator.get("usage", account="acme").json()["used"] == 4
    assert audit("replayed") == [("account.replayed", key_of_operator(), "ticket 7")]


def test_a_closed_account_takes_nothing_more_once_its_period_is_over(
    acme: Account, operator: Caller, clock: StoppedClock
):
    answer = act(operator, "close", reason="gone")

    assert (answer.status_code, answer.json()) == (200, {**STARTER, "to": DECEMBER})
    assert audit("closed") == [("account.closed", key_of_operator(), "gone")]
    assert operator.send([event(account="acme")]).json()["outcomes"] == {"recorded": 1}
    clock.advance(days=10)
    [item] = operator.send([event(account="acme", time=clock.now)]).json()["items"]
    assert (item["outcome"], item["code"]) == ("rejected", "account_closed")


def test_closing_cancels_what_is_pending(acme: Account, operator: Caller):
    act(operator, "upgrade", tier="growth")
    act(operator, "downgrade", tier="starter")

    assert act(operator, "close").json() == {**GROWTH, "to": DECEMBER, "reason": "ticket 7"}
    assert [row["tier"] for row in operator.get("subscription", account="acme").json()["results"]] == [
        "growth",
        "starter",
    ]


# --- Asking for what already holds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "action", "body"),
    [
        ([], "pause", {}),
        ([("pause", {})], "resume", {}),
        ([], "resume", {}),
        ([], "upgrade", {"tier": "starter"}),
        ([], "upgrade", {"tier": "growth"}),
        ([("upgrade", {"tier": "growth"})], "downgrade", {"tier": "starter"}),
        ([], "downgrade", {"tier": "pro-1k", "plan": "social"}),
        ([], "replay", {}),
        ([], "close", {}),
    ],
)
def test_asking_for_what_already_holds_changes_nothing(
    acme: Account,
    operator: Caller,
    clock: StoppedClock,
    before: list[tuple[str, dict[str, str]]],
    action: str,
    body: dict[str, str],
):
    deliver(acme, [event()])
    for earlier, theirs in before:
        act(operator, earlier, **theirs)
    first = act(operator, action, **body)
    found = all_rows()
    clock.advance(minutes=5)

    again = act(operator, action, **body, reason="said twice")

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert all_rows() == found


def test_a_replay_that_finds_no_room_moves_nothing(acme: Account, operator: Caller):
    hold(acme, limit=1, events=2)

    assert act(operator, "replay").json() == act(operator, "replay").json() == {"replayed": 0, "held": 1}
    assert rows(Event, "state") == [1, 3]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_account_that_is_yet_to_sign_up_can_be_steered(catalogue: None, operator: Caller, action: str):
    signed_up_at = NOW + timedelta(days=31)
    put_account("soon", signed_up_at=signed_up_at, plan="connect", tier="growth")
    body = {"tier": "scale"} if action == "upgrade" else ACTIONS[action]

    first = act(operator, action, "soon", **body)

    assert first.status_code == 200
    assert act(operator, action, "soon", **body).json() == first.json()


# --- What is refused -------------------------------------------------------------------------------------------------


def nothing(account: Account, caller: Caller) -> None:
    """As it is: on starter, open, nothing used."""


def closed(account: Account, caller: Caller) -> None:
    act(caller, "close")


def paused(account: Account, caller: Caller) -> None:
    act(caller, "pause")


def paused_at_the_limit(account: Account, caller: Caller) -> None:
    put_account("acme", at_limit="pause", limit_override=1)
    deliver(account, [event(), event()])


def trial_ended(account: Account, caller: Caller) -> None:
    trial = account.subscriptions.get()
    trial.tier = trial.tier.plan.tiers.get(key="trial")
    trial.save()
    put_account("acme", trial_ends_at=NOW - timedelta(days=1))


def using_1001(account: Account, caller: Caller) -> None:
    act(caller, "upgrade", tier="growth")
    deliver(account, [event() for _ in range(1001)])


@pytest.mark.parametrize(
    ("state", "action", "body", "status", "code", "field"),
    [
        (nothing, "upgrade", {"tier": "mega"}, 400, "unknown_tier", "tier"),
        (nothing, "upgrade", {"tier": "pro-1k"}, 400, "unknown_tier", "tier"),
        (nothing, "upgrade", {"tier": "trial"}, 409, "trial_tier", "tier"),
        (using_1001, "upgrade", {"tier": "starter"}, 409, "not_higher", "tier"),
        (closed, "upgrade", {"tier": "growth"}, 409, "account_closed", None),
        (nothing, "downgrade", {"tier": "mega"}, 400, "unknown_tier", "tier"),
        (nothing, "downgrade", {"tier": "m", "plan": "social"}, 400, "unknown_tier", "tier"),
        (nothing, "downgrade", {"tier": "m", "plan": "nothing"}, 400, "unknown_plan", "plan"),
        (nothing, "downgrade", {"tier": "trial"}, 409, "trial_tier", "tier"),
        (nothing, "downgrade", {"tier": "starter"}, 409, "not_lower", "tier"),
        (nothing, "downgrade", {"tier": "growth"}, 409, "not_lower", "tier"),
        (nothing, "downgrade", {"tier": "growth", "plan": "connect"}, 409, "not_lower", "tier"),
        (using_1001, "downgrade", {"tier": "starter"}, 409, "over_target", "tier"),
        (using_1001, "downgrade", {"tier": "s", "plan": "connect-legacy"}, 409, "over_target", "tier"),
        (closed, "downgrade", {"tier": "s", "plan": "connect-legacy"}, 409, "account_closed", None),
        (trial_ended, "resume", {}, 409, "trial_ended", None),
        (paused, "replay", {}, 409, "paused", None),
        (paused_at_the_limit, "replay", {}, 409, "paused", None),
        (trial_ended, "replay", {}, 409, "paused", None),
    ],
)
def test_what_is_refused_has_a_code_and_changes_nothing(
    acme: Account,
    operator: Caller,
    state: Callable[[Account, Caller], None],
    action: str,
    body: dict[str, str],
    status: int,
    code: str,
    field: str | None,
):
    state(acme, operator)
    operator.get("usage", account="acme")
    found = all_rows()

    answer = act(operator, action, **body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert [error["field"] for error in answer.json().get("errors", [])] == ([] if field is None else [field])
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert all_rows() == found


def test_an_upgrade_ends_the_pause_of_a_trial(acme: Account, operator: Caller):
    trial_ended(acme, operator)
    assert operator.get("accounts/acme").json()["state"] == "paused"

    assert act(operator, "upgrade", tier="starter").status_code == 200
    assert operator.get("accounts/acme").json()["state"] == "ok"


# --- Bodies ----------------------------------------------------------------------------------------------------------

BAD_REASONS: list[tuple[dict[str, Any], str]] = [
    ({}, "missing_field"),
    ({"reason": None}, "null"),
    ({"reason": ""}, "blank"),
    ({"reason": " \t "}, "blank"),
    ({"reason": 7}, "wrong_type"),
    ({"reason": ["x"]}, "wrong_type"),
    ({"reason": True}, "wrong_type"),
    ({"reason": "x" * 1_001}, "too_long"),
    ({"reason": "a\0b"}, "bad_characters"),
    ({"reason": "a\u202eb"}, "bad_characters"),
]


@pytest.mark.parametrize(("given", "code"), BAD_REASONS, ids=range(len(BAD_REASONS)))
@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_needs_a_reason(acme: Account, operator: Caller, action: str, given: dict[str, Any], code: str):
    found = all_rows()

    answer = operator.post(f"accounts/acme/{action}", json.dumps({**ACTIONS[action], **given}).encode())

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert [error["field"] for error in answer.json()["errors"]] == ["reason"]
    assert all_rows() == found


def test_a_reason_may_be_long_and_is_kept_as_it_is(acme: Account, operator: Caller):
    reason = " " + "ü" * 998 + " "

    assert act(operator, "pause", reason=reason).status_code == 200
    assert audit("paused") == [("account.paused", key_of_operator(), reason)]


@pytest.mark.parametrize(
    ("action", "body", "field", "code"),
    [
        *[(action, {**needed, "x": 1}, "x", "unknown_field") for action, needed in ACTIONS.items()],
        ("pause", {"tier": "growth"}, "tier", "unknown_field"),
        ("upgrade", {"tier": "growth", "plan": "connect"}, "plan", "unknown_field"),
        ("upgrade", {}, "tier", "missing_field"),
        ("upgrade", {"tier": None}, "tier", "null"),
        ("upgrade", {"tier": 1}, "tier", "wrong_type"),
        ("upgrade", {"tier": ""}, "tier", "blank"),
        ("upgrade", {"tier": "x" * 61}, "tier", "too_long"),
        ("upgrade", {"tier": "a\0"}, "tier", "bad_characters"),
        ("downgrade", {"plan": "social"}, "tier", "missing_field"),
        ("downgrade", {"tier": "free", "plan": None}, "plan", "null"),
        ("downgrade", {"tier": "free", "plan": {}}, "plan", "wrong_type"),
    ],
)
def test_a_wrong_field_is_named(
    acme: Account, operator: Caller, action: str, body: dict[str, Any], field: str, code: str
):
    found = all_rows()

    answer = act(operator, action, **body)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]
    assert all_rows() == found


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", "application/json", 400, "empty_body"),
        (b"[]", "application/json", 400, "not_an_object"),
        (b"{", "application/json", 400, "bad_json"),
        (b'{"reason": "\xff"}', "application/json", 400, "bad_encoding"),
        (b'{"reason": ' + b"[" * 20_000, "application/json", 400, "too_deep"),
        (b'{"reason": "' + b"x" * 64 * 1024 + b'"}', "application/json", 413, "body_too_large"),
        (b'{"reason": "x"}', "text/plain", 415, "unsupported_media_type"),
        (b"reason=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_body_is_one_small_json_object(
    acme: Account, operator: Caller, action: str, body: bytes, content_type: str, status: int, code: str
):
    answer = operator.post(f"accounts/acme/{action}", body, content_type)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


# --- Who may, and on what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_only_an_operator_acts(acme: Account, stranger: Caller, action: str):
    keys = [make_key(acme), make_key(acme, "write"), make_key(None, "read", "write")]
    found = all_rows()

    assert act(stranger, action, **ACTIONS[action]).status_code == 401
    for key in keys:
        answer = act(Caller(key), action, **ACTIONS[action])
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert all_rows() == found


@pytest.mark.parametrize("action", ACTIONS)
def test_the_scope_to_operate_is_enough(acme: Account, clock: StoppedClock, action: str):
    assert act(Caller(make_key(None, "operate")), action, **ACTIONS[action]).status_code in (200, 409)


@pytest.mark.parametrize("slug", ["nobody", "A", "a" * 64, "acme%0A", "%00", "%ff", "acme%20", "%F0%9F%98%80"])
@pytest.mark.parametrize("action", ACTIONS)
def test_an_account_that_is_not_there_is_missing(acme: Account, operator: Caller, action: str, slug: str):
    answer = act(operator, action, slug, **ACTIONS[action])

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_takes_no_parameters_and_is_only_posted(acme: Account, operator: Caller, action: str):
    answer = operator.post(f"accounts/acme/{action}?account=acme", b'{"reason": "x"}')
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")

    for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS"):
        answer = operator._ask(method, f"accounts/acme/{action}")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_an_action_touches_its_own_account_and_no_other(acme: Account, globex: Account, operator: Caller):
    act(operator, "pause")

    assert rows(Account, "slug", "paused_at") == [("acme", NOW), ("globex", None)]
    assert rows(AuditEntry, "account__slug", action="account.paused") == ["acme"]


# --- At the same moment ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("pause", {}),
        ("upgrade", {"tier": "growth"}),
        ("downgrade", {"tier": "pro-1k", "plan": "social"}),
        ("close", {}),
    ],
)
def test_two_who_ask_for_the_same_at_once_change_it_once(
    acme: Account, operator: Caller, action: str, body: dict[str, str]
):
    operator.get("usage", account="acme")

    answers = at_once(*[partial(act, Caller(operator.key), action, **body)] * 2)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert AuditEntry.objects.exclude(action__endswith="created").count() == 1
    assert Notification.objects.count() == (1 if action in ("pause", "upgrade") else 0)


@pytest.mark.django_db(transaction=True)
def test_while_another_writer_holds_the_account_the_answer_is_to_try_again(acme: Account, operator: Caller):
    with transaction.atomic():
        AccountMeter.objects.select_for_update().get(account=acme)
        [answer] = at_once(partial(act, Caller(operator.key), "pause"))

    assert (answer.status_code, answer.json()["code"]) == (503, "account_busy")
    assert answer.headers["Retry-After"] == "2"
    assert rows(Account, "paused_at") == [None]
