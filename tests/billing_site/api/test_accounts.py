"""`accounts` and their `connections`, as the operator's worker pushes them night after night."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import Account, ApiKey, AuditEntry, Connection
from metering.models import AccountMeter
from plans.models import Subscription
from tests.conftest import StoppedClock
from tests.factories import CAST, Caller, deliver, event, put_account, put_connection, rows

pytestmark = pytest.mark.django_db

DEFAULTS = {
    "billing_email": "",
    "timezone": "UTC",
    "signed_up_at": "2026-11-22T00:00:00Z",
    "plan": "connect",
    "tier": "trial",
    "anchor": "2026-11-22T00:00:00Z",
    "at_limit": None,
    "auto_upgrade": True,
    "limit_override": None,
    "trial_ends_at": None,
    "state": "ok",
}


def test_a_new_account_is_created_with_defaults(catalogue: None, operator: Caller):
    answer = operator.put("accounts/hooli", {"name": "Hooli"})

    assert answer.status_code == 201
    assert answer.json() == {"slug": "hooli", "name": "Hooli", **DEFAULTS}
    assert rows(Account, "slug") == rows(AccountMeter, "account__slug") == ["hooli"]
    assert rows(Subscription, "account__slug", "tier__key") == [("hooli", "trial")]


def test_a_new_account_keeps_what_it_is_given(catalogue: None, operator: Caller):
    given = {
        "name": "Häagen & Söhne",
        "billing_email": "buchhaltung+rechnung@example.com",
        "timezone": "Pacific/Apia",
        "signed_up_at": "2024-02-29T23:30:00.5+13:00",
        "plan": "social",
        "tier": "pro-1k",
        "anchor": "2024-03-31T00:00:00+13:00",
        "at_limit": "pause",
        "auto_upgrade": False,
        "limit_override": 2**53,
        "trial_ends_at": "2027-01-01T00:00:00Z",
    }

    answer = operator.put("accounts/hooli", given)

    assert answer.status_code == 201
    times = {"signed_up_at": "2024-02-29T10:30:00.500000Z", "anchor": "2024-03-30T11:00:00Z"}
    assert answer.json() == {"slug": "hooli", **given, **times, "state": "ok"}
    assert operator.get("accounts/hooli").json() == answer.json()


def test_what_is_left_out_keeps_its_value(acme: Account, operator: Caller):
    before = operator.get("accounts/acme").json()

    answer = operator.put("accounts/acme", {"limit_override": 50})

    assert answer.status_code == 200
    assert answer.json() == {**before, "limit_override": 50}
    assert operator.put("accounts/acme", {}).json() == answer.json()


def test_null_takes_back_what_may_be_null(acme: Account, operator: Caller):
    nullable = {"at_limit": "hold", "limit_override": 5, "trial_ends_at": "2027-01-01T00:00:00Z"}
    operator.put("accounts/acme", nullable)

    answer = operator.put("accounts/acme", dict.fromkeys(nullable)).json()

    assert [answer[name] for name in nullable] == [None, None, None]


def test_the_same_push_again_changes_nothing(acme: Account, operator: Caller):
    push = CAST["acme"]
    entries = AuditEntry.objects.count()

    assert operator.put("accounts/acme", push).status_code == 200
    assert AuditEntry.objects.count() == entries


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"plan": "social"}, "use_upgrade_or_downgrade"),
        ({"tier": "growth"}, "use_upgrade_or_downgrade"),
        ({"signed_up_at": "2026-03-01T00:00:01Z"}, "fixed"),
        ({"anchor": "2026-03-02T00:00:00Z"}, "fixed"),
    ],
)
def test_a_push_cannot_undo_an_upgrade(acme: Account, operator: Caller, change: dict[str, Any], code: str):
    answer = operator.put("accounts/acme", {"name": "Changed", **change})

    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert [error["field"] for error in answer.json()["errors"]] == list(change)
    assert operator.get("accounts/acme").json()["name"] == "Acme Ltd"


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"nmae": "x"}, "nmae", "unknown_field"),
        ({"slug": "x"}, "slug", "unknown_field"),
        ({"\0": 1}, "\ufffd", "unknown_field"),
        ({"name": None}, "name", "null"),
        ({"name": 1}, "name", "wrong_type"),
        ({"name": ["x"]}, "name", "wrong_type"),
        ({"name": ""}, "name", "blank"),
        ({"name": " \t"}, "name", "blank"),
        ({"name": "x" * 201}, "name", "too_long"),
        ({"name": "a\0b"}, "name", "bad_characters"),
        ({"name": "a\u202eb"}, "name", "bad_characters"),
        ({"name": "a\r\nb"}, "name", "bad_characters"),
        ({"billing_email": "nobody"}, "billing_email", "bad_address"),
        ({"billing_email": "a@b.c, d@e.f"}, "billing_email", "bad_address"),
        ({"billing_email": "a@example.com\nBcc: x@y.z"}, "billing_email", "bad_characters"),
        ({"billing_email": None}, "billing_email", "null"),
        ({"timezone": "Mars/Olympus"}, "timezone", "unknown_timezone"),
        ({"timezone": "europe/berlin"}, "timezone", "unknown_timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone", "unknown_timezone"),
        ({"timezone": "right/UTC"}, "timezone", "unknown_timezone"),
        ({"timezone": "Europe"}, "timezone", "unknown_timezone"),
        ({"timezone": ""}, "timezone", "blank"),
        ({"signed_up_at": "2026-01-01"}, "signed_up_at", "bad_time"),
        ({"signed_up_at": "2026-01-01T00:00:00"}, "signed_up_at", "bad_time"),
        ({"signed_up_at": 1767225600}, "signed_up_at", "wrong_type"),
        ({"signed_up_at": None}, "signed_up_at", "null"),
        ({"signed_up_at": "1969-12-31T23:59:59Z"}, "signed_up_at", "out_of_range"),
        ({"anchor": "9001-01-01T00:00:00Z"}, "anchor", "out_of_range"),
        ({"trial_ends_at": "9999-12-31T23:59:59-23:59"}, "trial_ends_at", "bad_time"),
        ({"at_limit": "explode"}, "at_limit", "unknown_choice"),
        ({"at_limit": 1}, "at_limit", "wrong_type"),
        ({"at_limit": []}, "at_limit", "wrong_type"),
        ({"auto_upgrade": 1}, "auto_upgrade", "wrong_type"),
        ({"auto_upgrade": "true"}, "auto_upgrade", "wrong_type"),
        ({"auto_upgrade": None}, "auto_upgrade", "null"),
        ({"limit_override": 0}, "limit_override", "out_of_range"),
        ({"limit_override": -1}, "limit_override", "out_of_range"),
        ({"limit_override": 2**53 + 1}, "limit_override", "out_of_range"),
        ({"limit_override": 10**100}, "limit_override", "out_of_range"),
        ({"limit_override": 1.5}, "limit_override", "wrong_type"),
        ({"limit_override": "1_000"}, "limit_override", "wrong_type"),
        ({"limit_override": "1000"}, "limit_override", "wrong_type"),
        ({"limit_override": True}, "limit_override", "wrong_type"),
    ],
)
@pytest.mark.parametrize("slug", ["acme", "new"])
def test_a_wrong_field_is_named_and_changes_nothing(
    acme: Account, operator: Caller, slug: str, given: dict[str, Any], field: str, code: str
):
    before = rows(Account, "slug", "name", "limit_override")

    answer = operator.put(f"accounts/{slug}", given)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]
    assert rows(Account, "slug", "name", "limit_override") == before


@pytest.mark.parametrize(
    ("given", "field"), [({"plan": "enterprise"}, "plan"), ({"plan": "connect", "tier": "mega"}, "tier")]
)
def test_a_new_account_is_on_a_plan_that_exists(catalogue: None, operator: Caller, given: dict[str, str], field: str):
    answer = operator.put("accounts/new", given)

    assert (answer.status_code, answer.json()["code"]) == (400, f"unknown_{field}")
    assert answer.json()["errors"][0]["field"] == field
    assert not Account.objects.exists()


def test_all_wrong_fields_are_named_at_once(catalogue: None, operator: Caller):
    answer = operator.put("accounts/new", {"name": "", "limit_override": True, "x": 1}).json()

    assert answer["code"] == "invalid"
    assert sorted((error["field"], error["code"]) for error in answer["errors"]) == [
        ("limit_override", "wrong_type"),
        ("name", "blank"),
        ("x", "unknown_field"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "empty_body"),
        (b"[]", 400, "not_an_object"),
        (b"null", 400, "not_an_object"),
        (b'"x"', 400, "not_an_object"),
        (b"{", 400, "bad_json"),
        (b"{} {}", 400, "bad_json"),
        (b'{"limit_override": NaN}', 400, "bad_json"),
        (b'{"limit_override": 1e400}', 400, "bad_json"),
        (b'{"name": "\\ud800"}', 400, "bad_json"),
        (b'{"limit_override": ' + b"9" * 5_000 + b"}", 400, "bad_json"),
        (b'{"name": ' + b"[" * 20_000, 400, "too_deep"),
        (b"\xef\xbb\xbf{}", 400, "bad_encoding"),
        (b'{"name": "\xff"}', 400, "bad_encoding"),
        ("{}".encode("utf-16"), 400, "bad_encoding"),
        (b'{"x": 1' + b" " * 64 * 1024 + b"}", 413, "body_too_large"),
    ],
)
def test_a_body_that_is_no_small_json_object_is_refused(operator: Caller, body: bytes, status: int, code: str):
    answer = operator._ask("PUT", "accounts/new", body, "application/json")

    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/cloudevents+json", "multipart/form-data"])
def test_a_put_is_json(operator: Caller, content_type: str):
    answer = operator._ask("PUT", "accounts/new", b"{}", content_type)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_thousands_of_unknown_fields_make_no_endless_answer(catalogue: None, operator: Caller):
    answer = operator.put("accounts/new", {f"x{n}": n for n in range(4_000)})

    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_field")
    assert len(answer.json()["errors"]) == 100


BAD_NAMES = ["A", "a" * 101, "%00", "a%0A", "%F0%9F%98%80", "%ED%A0%80", "%zz", "%ff", "a%20b"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_cannot_be_a_slug_is_missing_to_a_get_and_wrong_to_a_put(catalogue: None, operator: Caller, name: str):
    assert operator.get(f"accounts/{name}").status_code == 404
    answer = operator.put(f"accounts/{name}", {"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_slug")
    assert not Account.objects.exists()


@pytest.mark.parametrize("name", [each for each in BAD_NAMES if each != "A"])
def test_the_same_holds_for_the_key_of_a_connection(acme: Account, operator: Caller, name: str):
    path = f"accounts/acme/connections/{name}"
    assert operator.get(path).status_code == 404
    answer = operator.put(path, {"kind": "engagement"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_key")


def test_a_connection_is_created_then_changed(acme: Account, operator: Caller):
    path = "accounts/acme/connections/A.b_c~d:e-1"
    assert operator.get(path).status_code == 404

    created = operator.put(path, {"kind": "lead_scoring", "score_expiry_days": 30})

    row = {
        "key": "A.b_c~d:e-1",
        "name": "A.b_c~d:e-1",
        "kind": "lead_scoring",
        "source_app": "",
        "destination_app": "",
        "enabled": True,
        "record_email_sent": True,
        "replayable": None,
        "score_expiry_days": 30,
    }
    assert (created.status_code, created.json()) == (201, row)
    change = {
        "name": "Scoring",
        "source_app": "Pipedrive",
        "destination_app": "Mailchimp",
        "enabled": False,
        "record_email_sent": False,
        "replayable": False,
        "score_expiry_days": None,
    }
    changed = operator.put(path, {"kind": "lead_scoring", **change})
    assert (changed.status_code, changed.json()) == (200, {**row, **change})
    assert operator.get(path).json() == {**row, **change}


@pytest.mark.parametrize(
    ("given", "field", "code", "status"),
    [
        ({}, "kind", "missing_field", 400),
        ({"kind": "teleport"}, "kind", "unknown_choice", 400),
        ({"kind": None}, "kind", "null", 400),
        ({"kind": "engagement", "enabled": "yes"}, "enabled", "wrong_type", 400),
        ({"kind": "engagement", "replayable": 0}, "replayable", "wrong_type", 400),
        ({"kind": "engagement", "score_expiry_days": 0}, "score_expiry_days", "out_of_range", 400),
        ({"kind": "engagement", "score_expiry_days": 36_501}, "score_expiry_days", "out_of_range", 400),
        ({"kind": "engagement", "score_expiry_days": 1.5}, "score_expiry_days", "wrong_type", 400),
        ({"kind": "engagement", "source_app": "x" * 101}, "source_app", "too_long", 400),
        ({"kind": "engagement", "source_app": None}, "source_app", "null", 400),
        ({"kind": "engagement", "key": "x"}, "key", "unknown_field", 400),
    ],
)
def test_a_wrong_field_of_a_connection_is_named(
    acme: Account, operator: Caller, given: dict[str, Any], field: str, code: str, status: int
):
    answer = operator.put("accounts/acme/connections/new", given)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not Connection.objects.filter(key="new").exists()


def test_the_kind_of_a_connection_is_fixed(acme: Account, operator: Caller):
    answer = operator.put("accounts/acme/connections/website", {"kind": "contact_sync"})

    assert (answer.status_code, answer.json()["code"]) == (409, "fixed")


WARNING = (
    "Without automatic upgrades the account is paused when it reaches its limit, unless its policy there is to hold "
    "events or to serve no new contacts. Then contact sync, engagement sync, web tracking, lead scoring and "
    "automations stop. Data that arrives during the pause is dropped. That leaves gaps, and what was dropped cannot be "
    "replayed later. "
)


def test_opting_out_of_upgrades_is_answered_with_a_warning(acme: Account, operator: Caller):
    put_connection(acme, "scoring", "lead_scoring", enabled=False)
    put_connection(acme, "website", "web_tracking", name="Our shop")
    before = operator.get("accounts/acme").json()

    answer = operator.put("accounts/acme", {"auto_upgrade": False})

    concerned = "This concerns hubspot-brevo, mailchimp-pipedrive, pipedrive-mailchimp and Our shop (website)."
    assert answer.status_code == 200
    assert answer.json() == {**before, "auto_upgrade": False, "warning": WARNING + concerned}
    assert rows(AuditEntry, "before", "after", action="account.changed") == [
        ({"auto_upgrade": True}, {"auto_upgrade": False})
    ]


def test_choosing_to_be_paused_at_the_limit_is_answered_with_a_warning_once(acme: Account, operator: Caller):
    first, again = (operator.put("accounts/acme", {"at_limit": "pause"}).json() for _ in range(2))

    assert first["warning"].startswith("At its limit the account is paused: contact sync, engagement sync")
    assert "cannot be replayed" in first["warning"]
    assert "warning" not in again


def test_an_account_without_enabled_connections_is_warned_too(catalogue: None, operator: Caller):
    operator.put("accounts/hooli", {})

    answer = operator.put("accounts/hooli", {"auto_upgrade": False}).json()

    assert answer["warning"] == f"{WARNING}No connection is enabled at present."


def test_only_the_push_that_opts_out_is_answered_with_a_warning(acme: Account, operator: Caller):
    created = operator.put("accounts/hooli", {"auto_upgrade": False})
    pushes = [{"auto_upgrade": True}, {"auto_upgrade": False}, {"auto_upgrade": False}, {"name": "x"}]
    pushes += [{"auto_upgrade": True}, {"auto_upgrade": False, "name": "y"}]
    answers = [operator.put("accounts/acme", push).json() for push in pushes]

    assert (created.status_code, "warning" in created.json()) == (201, False)
    assert ["warning" in answer for answer in answers] == [False, True, False, False, False, True]
    assert "warning" not in operator.get("accounts/acme").json()


def test_a_push_that_is_refused_opts_nobody_out(acme: Account, operator: Caller):
    answer = operator.put("accounts/acme", {"auto_upgrade": False, "tier": "growth"})

    assert (answer.status_code, answer.json()["code"], "warning" in answer.json()) == (
        409,
        "use_upgrade_or_downgrade",
        False,
    )
    assert operator.get("accounts/acme").json()["auto_upgrade"] is True


def test_a_connection_of_an_account_that_is_missing_is_missing(catalogue: None, operator: Caller):
    assert operator.get("accounts/nobody/connections/x").status_code == 404
    assert operator.put("accounts/nobody/connections/x", {"kind": "engagement"}).status_code == 404


def test_the_audit_trail_names_the_key(acme: Account, operator: Caller):
    operator.put("accounts/acme", {"limit_override": 7})

    entry = AuditEntry.objects.latest("pk")
    prefix = ApiKey.objects.get(account=None).prefix
    assert (entry.actor, entry.action) == (f"key {prefix}", "account.changed")
    assert (entry.before, entry.after) == ({"limit_override": None}, {"limit_override": 7})


def test_the_state_of_an_account_is_that_of_its_current_period(acme: Account, operator: Caller):
    put_account("acme", limit_override=5)
    states = []
    for _ in range(5):
        deliver(acme, [event()])
        states.append(operator.get("accounts/acme").json()["state"])

    assert states == ["ok", "ok", "ok", "warning", "limit_reached"]


def test_the_state_of_a_closed_account_is_that_of_its_last_period(acme: Account, operator: Caller, clock: StoppedClock):
    put_account("acme", limit_override=5)
    deliver(acme, [event() for _ in range(4)])
    operator.post("accounts/acme/close", b'{"reason": "gone"}')
    clock.advance(days=60)

    assert operator.get("accounts/acme").json()["state"] == "warning"
    assert operator.get("usage", account="acme").json()["state"] == "warning"


def test_accounts_are_listed_by_slug_in_as_many_queries_for_many_as_for_one(
    acme: Account, operator: Caller, django_assert_num_queries: Any
):
    operator.get("accounts")
    with django_assert_num_queries(5):  # the key; the page; clocks, subscriptions, current periods
        assert [row["slug"] for row in operator.get("accounts").json()["results"]] == ["acme"]

    for number in range(30):
        account = put_account(f"customer-{number:02}", signed_up_at=datetime(2023, 1, 1, tzinfo=UTC))
        deliver(account, [])
    with django_assert_num_queries(5):
        listed = operator.get("accounts").json()

    assert [row["slug"] for row in listed["results"]] == [
        "acme",
        *(f"customer-{number:02}" for number in range(30)),
    ]
    assert listed["results"][0] == operator.get("accounts/acme").json()
    assert (listed["next"], listed["previous"]) == (None, None)
