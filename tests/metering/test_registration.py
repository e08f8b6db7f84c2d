"""Accounts and connections as the operator pushes them (DESIGN section 7, Operator)."""

from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection as database

from accounts.models import Account, AuditEntry, Connection
from accounts.refusals import Refused
from metering.models import AccountMeter
from metering.registration import put_account, put_connection
from plans.catalogue import load
from plans.models import Subscription, Tier
from tests.factories import ACTOR, NOW, deliver, event, make_plan, rows

pytestmark = pytest.mark.django_db


def put(slug: str = "umbrella", *, now: datetime = NOW, **fields: Any) -> Account:
    """An account as it is after a push."""
    return put_account(slug, fields, actor=ACTOR, now=now)[0]


def refusal(slug: str = "umbrella", **fields: Any) -> tuple[str, str, int]:
    """Code, field and status of a push that is refused and changes nothing."""
    before = rows(Account, "slug", "name"), rows(AuditEntry, "pk"), rows(Subscription, "pk")
    with pytest.raises(Refused) as refused:
        put(slug, **fields)
    assert (rows(Account, "slug", "name"), rows(AuditEntry, "pk"), rows(Subscription, "pk")) == before
    return refused.value.code, refused.value.field, refused.value.status


def plan_of(account: Account) -> str:
    [found] = account.subscriptions.select_related("tier__plan")
    return f"{found.tier.plan.key}/{found.tier.key}"


def audit(action: str) -> list[tuple[Any, ...]]:
    return rows(AuditEntry, "account__slug", "actor", "at", "before", "after", "reason", action=action)


# --- A new account ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("catalogue")
def test_a_new_account_has_defaults_for_all_that_is_left_out():
    account, created = put_account("umbrella", {}, actor=ACTOR, now=NOW)

    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    assert created
    assert rows(
        Account, "slug", "name", "billing_email", "timezone", "signed_up_at", "anchor", "at_limit", "auto_upgrade"
    ) == [("umbrella", "umbrella", "", "UTC", midnight, midnight, None, True)]
    assert rows(Account, "limit_override", "trial_ends_at", "closed_at") == [(None, None, None)]
    assert plan_of(account) == "connect/trial"
    assert rows(AccountMeter, "account", "clock", "holds_live_events", "contacts_known") == [
        (account.pk, None, False, 0)
    ]
    assert rows(Subscription, "starts_at", "ends_at", "period_rule", "anchor", "timezone", "reason") == [
        (midnight, None, "anniversary", midnight, "UTC", "sign-up")
    ]


@pytest.mark.usefixtures("catalogue")
def test_a_new_account_keeps_all_that_is_given():
    given: dict[str, Any] = {
        "name": "Umbrella",
        "billing_email": "pay@umbrella.example",
        "timezone": "Europe/Berlin",
        "signed_up_at": datetime(2026, 5, 5, 5, tzinfo=UTC),
        "anchor": datetime(2026, 1, 31, 9, tzinfo=UTC),
        "plan": "social",
        "tier": "pro-1k",
        "at_limit": "pause",
        "auto_upgrade": False,
        "limit_override": 7,
        "trial_ends_at": datetime(2026, 12, 24, tzinfo=UTC),
    }

    account = put(**given)

    settings = {name: value for name, value in given.items() if name not in ("plan", "tier")}
    assert {name: getattr(account, name) for name in settings} == settings
    assert plan_of(account) == "social/pro-1k"
    assert rows(Subscription, "starts_at", "period_rule", "anchor", "timezone") == [
        (given["signed_up_at"], "calendar_month", given["anchor"], "Europe/Berlin")
    ]


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("UTC", datetime(2026, 11, 22, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 11, 21, 23, tzinfo=UTC)),
        ("Pacific/Auckland", datetime(2026, 11, 22, 11, tzinfo=UTC)),
        ("America/Los_Angeles", datetime(2026, 11, 22, 8, tzinfo=UTC)),
    ],
)
def test_without_a_date_an_account_signed_up_at_the_start_of_its_local_day(zone: str, midnight: datetime):
    account = put(timezone=zone)

    assert (account.signed_up_at, account.anchor) == (midnight, midnight)


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("zone", "signed_up_at", "expected"),
    [
        ("UTC", datetime(2022, 10, 24, 23, 59, 59, 999_999, tzinfo=UTC), "connect-legacy/s"),
        ("UTC", datetime(2022, 10, 25, tzinfo=UTC), "connect/trial"),
        ("Europe/Berlin", datetime(2022, 10, 24, 21, 59, tzinfo=UTC), "connect-legacy/s"),
        ("Europe/Berlin", datetime(2022, 10, 24, 22, tzinfo=UTC), "connect/trial"),
        ("America/Los_Angeles", datetime(2022, 10, 25, 6, 59, tzinfo=UTC), "connect-legacy/s"),
        ("America/Los_Angeles", datetime(2022, 10, 25, 7, tzinfo=UTC), "connect/trial"),
        ("UTC", datetime(2015, 1, 1, tzinfo=UTC), "connect-legacy/s"),
    ],
)
def test_the_local_day_of_the_sign_up_selects_the_plan(zone: str, signed_up_at: datetime, expected: str):
    assert plan_of(put(timezone=zone, signed_up_at=signed_up_at)) == expected


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"plan": "connect"}, "connect/starter"),
        ({"plan": "connect-legacy"}, "connect-legacy/s"),
        ({"plan": "social"}, "social/free"),
        ({"plan": "connect", "tier": "trial"}, "connect/trial"),
        ({"plan": "connect", "tier": "scale"}, "connect/scale"),
        ({"tier": "growth"}, "connect/growth"),
        ({"tier": "l", "signed_up_at": datetime(2021, 1, 1, tzinfo=UTC)}, "connect-legacy/l"),
        ({"plan": "connect", "signed_up_at": datetime(2021, 1, 1, tzinfo=UTC)}, "connect/starter"),
    ],
)
def test_a_plan_without_a_tier_means_its_lowest_that_is_no_trial(fields: dict[str, Any], expected: str):
    assert plan_of(put(**fields)) == expected


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"plan": "connect-pro"}, ("unknown_plan", "plan", 400)),
        ({"plan": "connect", "tier": "s"}, ("unknown_tier", "tier", 400)),
        ({"tier": "s"}, ("unknown_tier", "tier", 400)),
    ],
)
def test_a_plan_or_tier_that_does_not_exist_makes_no_account(fields: dict[str, Any], expected: tuple[str, str, int]):
    assert refusal(**fields) == expected
    assert rows(Account, "slug") == []


def test_without_a_catalogue_no_account_can_be_made(db: None):
    assert refusal() == ("unknown_plan", "plan", 400)


@pytest.mark.usefixtures("catalogue")
def test_a_plan_of_trials_alone_has_no_tier_to_start_on():
    make_plan("tryout", {"trial": 5}, trials=["trial"])

    assert refusal(plan="tryout") == ("unknown_tier", "tier", 400)
    assert plan_of(put(plan="tryout", tier="trial")) == "tryout/trial"


@pytest.mark.usefixtures("catalogue")
def test_a_sign_up_leaves_one_audit_row():
    put(name="Umbrella", limit_override=7, plan="connect", trial_ends_at=datetime(2026, 12, 24, tzinfo=UTC))

    assert rows(AuditEntry, "action") == ["account.created"]
    assert audit("account.created") == [
        (
            "umbrella",
            ACTOR,
            NOW,
            {},
            {
                "name": "Umbrella",
                "limit_override": 7,
                "trial_ends_at": "2026-12-24T00:00:00+00:00",
                "signed_up_at": "2026-11-22T00:00:00+00:00",
                "anchor": "2026-11-22T00:00:00+00:00",
                "plan": "connect",
                "tier": "starter",
            },
            "",
        )
    ]


# --- An account that exists ------------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "name": "Umbrella",
    "billing_email": "pay@umbrella.example",
    "timezone": "Europe/Berlin",
    "signed_up_at": datetime(2026, 5, 5, 5, tzinfo=UTC),
    "anchor": datetime(2026, 1, 31, 9, tzinfo=UTC),
    "plan": "connect",
    "tier": "growth",
    "at_limit": "hold",
    "auto_upgrade": False,
    "limit_override": 7,
    "trial_ends_at": None,
}


@pytest.mark.usefixtures("catalogue")
def test_everything_may_be_repeated_every_night():
    put(**EVERYTHING)
    before = list(Account.objects.values())

    _, created = put_account("umbrella", EVERYTHING, actor=ACTOR, now=NOW + timedelta(days=1))

    assert not created
    assert list(Account.objects.values()) == before
    assert rows(AuditEntry, "action") == ["account.created"]
    assert len(rows(Subscription, "pk")) == 1


@pytest.mark.usefixtures("catalogue")
def test_the_same_instant_in_another_zone_is_a_repetition():
    put(**EVERYTHING)

    berlin = datetime.fromisoformat("2026-05-05T07:00:00+02:00")

    assert put(signed_up_at=berlin).signed_up_at == berlin


@pytest.mark.usefixtures("catalogue")
def test_a_field_that_is_left_out_keeps_its_value():
    before = put(**EVERYTHING)

    after = put(name="Umbrella Corp")

    assert after.name == "Umbrella Corp"
    for name in ("billing_email", "timezone", "at_limit", "auto_upgrade", "limit_override", "anchor"):
        assert getattr(after, name) == getattr(before, name)


@pytest.mark.usefixtures("catalogue")
def test_a_null_is_a_value():
    put(**EVERYTHING)

    after = put(at_limit=None, limit_override=None)

    assert (after.at_limit, after.limit_override) == (None, None)


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"plan": "social"}, ("use_upgrade_or_downgrade", "plan", 409)),
        ({"plan": "no-such-plan"}, ("use_upgrade_or_downgrade", "plan", 409)),
        ({"tier": "scale"}, ("use_upgrade_or_downgrade", "tier", 409)),
        ({"plan": "connect", "tier": "starter"}, ("use_upgrade_or_downgrade", "tier", 409)),
        ({"signed_up_at": datetime(2026, 5, 5, 5, 0, 1, tzinfo=UTC)}, ("fixed", "signed_up_at", 409)),
        ({"anchor": datetime(2026, 1, 31, tzinfo=UTC)}, ("fixed", "anchor", 409)),
        ({"name": "Renamed", "tier": "scale"}, ("use_upgrade_or_downgrade", "tier", 409)),
    ],
)
def test_plan_tier_anchor_and_sign_up_cannot_be_changed(fields: dict[str, Any], expected: tuple[str, str, int]):
    put(**EVERYTHING)

    assert refusal(**fields) == expected


@pytest.mark.usefixtures("catalogue")
def test_a_nightly_push_of_the_first_tier_does_not_undo_an_upgrade():
    account = put(**EVERYTHING)
    first = account.subscriptions.get()
    Subscription.objects.filter(pk=first.pk).update(ends_at=NOW)
    professional = Tier.objects.get(key="professional")
    Subscription.objects.create(
        account=account,
        tier=professional,
        starts_at=NOW,
        period_rule=first.period_rule,
        anchor=first.anchor,
        timezone=first.timezone,
    )

    assert refusal(**EVERYTHING) == ("use_upgrade_or_downgrade", "tier", 409)
    assert put(**EVERYTHING | {"tier": "professional"}).name == "Umbrella"


@pytest.mark.usefixtures("catalogue")
def test_a_change_leaves_one_audit_row_with_what_changed():
    put(**EVERYTHING)

    put(**EVERYTHING | {"name": "Umbrella Corp", "limit_override": 8, "trial_ends_at": NOW}, now=NOW)

    assert audit("account.changed") == [
        (
            "umbrella",
            ACTOR,
            NOW,
            {"name": "Umbrella", "limit_override": 7, "trial_ends_at": None},
            {"name": "Umbrella Corp", "limit_override": 8, "trial_ends_at": "2026-11-22T12:00:00+00:00"},
            "",
        )
    ]


@pytest.mark.django_db(transaction=True)
def test_of_two_that_make_an_account_at_once_one_makes_it_and_the_other_changes_it():
    load(NOW)
    both_ready, made = Barrier(2, timeout=10), {}

    def push(name: str) -> None:
        try:
            both_ready.wait()
            made[name] = put_account("umbrella", {"name": name, "plan": "connect"}, actor=name, now=NOW)[1]
        finally:
            database.close()

    threads = [Thread(target=push, args=[name]) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)

    assert sorted(made.values()) == [False, True]
    [loser] = [name for name, created in made.items() if not created]
    assert rows(Account, "slug", "name") == [("umbrella", loser)]
    assert rows(AuditEntry, "action") == ["account.changed", "account.created"]
    assert (len(rows(Subscription, "pk")), len(rows(AccountMeter, "pk"))) == (1, 1)


def test_who_comes_second_changes_what_the_first_has_just_made(acme: Account, monkeypatch: pytest.MonkeyPatch):
    """The same without threads: the account appears after the look that did not find it."""
    looks = [Account.objects.none()]
    found = Account.objects.filter
    monkeypatch.setattr(Account.objects, "filter", lambda **which: looks.pop() if looks else found(**which))

    account, created = put_account("acme", {"name": "Acme Inc", "plan": "connect"}, actor=ACTOR, now=NOW)

    assert (account, account.name, created) == (acme, "Acme Inc", False)
    assert len(rows(Subscription, "pk")) == 1


# --- Connections -----------------------------------------------------------------------------------------------------


def connect(account: Account, key: str = "crm", *, now: datetime = NOW, **fields: Any) -> Connection:
    """A connection as it is after a push."""
    return put_connection(account, key, fields, actor=ACTOR, now=now)[0]


@pytest.fixture
def umbrella(catalogue: None) -> Account:
    """An account without connections."""
    return put(plan="connect")


def test_a_new_connection_has_defaults_for_all_but_its_kind(umbrella: Account):
    _, created = put_connection(umbrella, "crm", {"kind": "contact_sync"}, actor=ACTOR, now=NOW)

    assert created
    assert rows(Connection, "account", "key", "name", "kind", "source_app", "destination_app", "switched_at") == [
        (umbrella.pk, "crm", "crm", "contact_sync", "", "", [])
    ]
    assert rows(Connection, "enabled", "record_email_sent", "replayable", "score_expiry_days") == [
        (True, True, None, None)
    ]


def test_a_new_connection_needs_a_kind(umbrella: Account):
    with pytest.raises(Refused) as refused:
        connect(umbrella, name="CRM")

    assert (refused.value.code, refused.value.field, refused.value.status) == ("missing_field", "kind", 400)
    assert rows(Connection, "key") == []


def test_a_kind_may_be_repeated_and_not_changed(umbrella: Account):
    connect(umbrella, kind="contact_sync")

    assert connect(umbrella, kind="contact_sync").kind == "contact_sync"
    with pytest.raises(Refused) as refused:
        connect(umbrella, kind="engagement", name="CRM")

    assert (refused.value.code, refused.value.field, refused.value.status) == ("fixed", "kind", 409)
    assert rows(Connection, "kind", "name") == [("contact_sync", "crm")]


def test_a_connection_keeps_what_is_left_out(umbrella: Account):
    connect(umbrella, kind="lead_scoring", name="Scores", score_expiry_days=60, replayable=False, source_app="x")

    connect(umbrella, destination_app="y", score_expiry_days=None)

    assert rows(Connection, "name", "source_app", "destination_app", "score_expiry_days", "replayable") == [
        ("Scores", "x", "y", None, False)
    ]


def test_two_accounts_may_have_a_connection_of_the_same_key(umbrella: Account, acme: Account):
    connect(umbrella, "website", kind="web_tracking")

    assert rows(Connection, "account__slug", key="website") == ["acme", "umbrella"]


def test_a_switch_is_remembered_with_its_time(umbrella: Account):
    connect(umbrella, kind="contact_sync")

    for hours, enabled in ((1, False), (2, False), (3, True), (3, False)):
        connect(umbrella, enabled=enabled, now=NOW + timedelta(hours=hours))

    [(enabled, switched_at)] = rows(Connection, "enabled", "switched_at")
    assert enabled is False
    assert switched_at == [NOW + timedelta(hours=hours) for hours in (1, 3, 3)]


def test_a_switch_never_comes_before_the_last_one(umbrella: Account):
    """Clocks of two servers may differ."""
    connect(umbrella, kind="contact_sync")
    connect(umbrella, enabled=False, now=NOW)

    connect(umbrella, enabled=True, now=NOW - timedelta(seconds=1))

    assert rows(Connection, "enabled", "switched_at") == [(True, [NOW, NOW])]


def test_a_switch_follows_the_clock_of_an_import(umbrella: Account):
    connect(umbrella, kind="contact_sync")
    AccountMeter.objects.update(clock=NOW - timedelta(days=300))

    connect(umbrella, enabled=False)

    assert rows(Connection, "switched_at") == [[NOW - timedelta(days=300)]]


def test_a_connection_that_is_made_disabled_takes_nothing_until_it_is_enabled(umbrella: Account):
    connect(umbrella, kind="contact_sync", enabled=False)
    sent = event(source="crm", time=NOW)
    assert deliver(umbrella, [sent]).outcomes() == {"rejected": 1}

    connect(umbrella, enabled=True)

    assert deliver(umbrella, [sent]).outcomes() == {"recorded": 1}


def test_each_change_of_a_connection_leaves_one_audit_row(umbrella: Account):
    connect(umbrella, kind="contact_sync", name="CRM", enabled=True)
    connect(umbrella, name="CRM", enabled=False, replayable=True, now=NOW + timedelta(hours=1))
    connect(umbrella, name="CRM", enabled=False, replayable=True, now=NOW + timedelta(hours=2))

    assert audit("connection.created") == [
        (
            "umbrella",
            ACTOR,
            NOW,
            {"connection": "crm"},
            {"connection": "crm", "kind": "contact_sync", "name": "CRM", "enabled": True},
            "",
        )
    ]
    assert audit("connection.changed") == [
        (
            "umbrella",
            ACTOR,
            NOW + timedelta(hours=1),
            {"connection": "crm", "enabled": True, "replayable": None},
            {"connection": "crm", "enabled": False, "replayable": True},
            "",
        )
    ]
