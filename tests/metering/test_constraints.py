"""The invariants that the database itself keeps: each named constraint refuses what its name says."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import DatabaseError, connection, models, transaction

from accounts.models import Account, ApiKey, Connection
from jobs.models import Job
from metering.models import (
    BillingPeriod,
    CountedContact,
    DroppedEvent,
    Event,
    EventVoid,
    Gap,
    OutcomeTally,
    QuarantinedEvent,
    ThresholdCrossing,
    UpgradeCause,
)
from notifications.models import Notification
from plans.models import Plan, Subscription, Tier
from tests.factories import NOW, deliver, event, make_key, put_account, unguarded

pytestmark = pytest.mark.django_db

NOVEMBER, DECEMBER, JANUARY = (
    datetime(2026, 11, 1, tzinfo=UTC),
    datetime(2026, 12, 1, tzinfo=UTC),
    datetime(2027, 1, 1, tzinfo=UTC),
)
APPS = ("accounts", "jobs", "plans", "notifications", "metering")
OURS = [model for name in APPS for model in apps.get_app_config(name).get_models()]
NAMED = {constraint.name: (model, constraint) for model in OURS for constraint in model._meta.constraints}
UNIQUE = [name for name, (_, constraint) in NAMED.items() if isinstance(constraint, models.UniqueConstraint)]

# constraint | the row whose change it refuses | the change
CHECKED: dict[str, tuple[type[models.Model], list[dict[str, Any]]]] = {
    "account_slug_is_plain": (
        Account,
        [{"slug": slug} for slug in ("", "Acme", "a b", "a_b", "é", "a\n", "x/y")],
    ),
    "account_limit_override_is_at_least_one": (Account, [{"limit_override": number} for number in (0, -1)]),
    "connection_key_is_plain": (
        Connection,
        [{"key": key} for key in ("", ".", "..", "a b", "a/b", "é", "a\n", "a\x1fb")],
    ),
    "connection_scores_live_a_day_to_a_hundred_years": (Connection, [{"score_expiry_days": 0}]),
    "key_has_a_scope": (ApiKey, [{"scopes": []}]),
    "key_of_an_account_cannot_operate": (ApiKey, [{"scopes": ["operate"]}, {"scopes": ["read", "operate"]}]),
    "plan_grace_is_shorter_than_a_month": (Plan, [{"grace_hours": 27 * 24 + 1}]),
    "tier_versions_count_from_one": (Tier, [{"version": 0}]),
    "tier_price_is_not_negative": (Tier, [{"price": -1}]),
    "tier_limit_is_at_least_one": (Tier, [{"limit": 0}, {"limit": -5}]),
    "subscription_starts_before_it_ends": (
        Subscription,
        [{"ends_at": models.F("starts_at")}],
    ),
    "period_starts_before_it_ends": (BillingPeriod, [{"ends_at": NOVEMBER}]),
    "period_closes_after_it_ends": (BillingPeriod, [{"closes_at": DECEMBER - timedelta(microseconds=1)}]),
    "period_counts_are_not_negative": (
        BillingPeriod,
        [{name: -1} for name in ("app_connector_events", "activated_contacts", "carried_in")],
    ),
    "period_carries_in_no_more_than_it_counts": (BillingPeriod, [{"carried_in": 3}, {"active_contacts": -1}]),
    "period_is_frozen_exactly_when_closed": (
        BillingPeriod,
        [
            {"state": "closed"},
            {"state": "closed", "closed_at": NOW},
            {"state": "closed", "breakdown": {}},
            {"closed_at": NOW},
            {"breakdown": {}},
            {"state": "ended", "closed_at": NOW, "breakdown": {}},
        ],
    ),
    "period_has_a_limit_state_since_a_time": (
        BillingPeriod,
        [{"limit_state": "paused"}, {"limit_state_since": NOW}],
    ),
    "plan_of_events_does_not_limit_new": (Plan, [{"unit": "app_connector_events", "at_limit": "limit_new"}]),
    "upgrade_caused_above_the_limit": (UpgradeCause, [{"used": 1}]),
    "gap_counts_each_event_once": (Gap, [{"events": 3}]),
    "job_is_finished_exactly_when_it_is_not_queued": (
        Job,
        [{"state": "done"}, {"state": "parked"}, {"finished_at": NOW}],
    ),
    "notification_is_sent_exactly_when_it_says_so": (Notification, [{"state": "sent"}, {"sent_at": NOW}]),
    "crossed_where_it_says": (ThresholdCrossing, [{"used": 0}, {"percent": 0}, {"limit": 2, "percent": 80}]),
    "counted_for_a_reason": (CountedContact, [{"reasons": 0}, {"reasons": -1}]),
    "counted_first_on_a_day": (CountedContact, [{"first_on": None}, {"first_at": None}]),
    "counted_reasons_are_per_connection": (
        CountedContact,
        [
            {"connections": [], "event_reasons": [], "carried_reasons": []},
            {"event_reasons": [1, 1]},
            {"carried_reasons": []},
        ],
    ),
}


@contextmanager
def refused_by(name: str) -> Iterator[None]:
    """The database refuses what is done here, by the constraint of this name."""
    with pytest.raises(DatabaseError) as refused, transaction.atomic():
        yield
    cause = refused.value.__cause__
    assert isinstance(cause, psycopg.Error)
    assert cause.diag.constraint_name == name


@pytest.fixture
def full(acme: Account) -> Account:
    """Acme with a row in every table, and a draft; its limit is 1."""
    Tier.objects.create(plan=Plan.objects.get(key="connect"), key="starter", version=2, limit=1, price=1)
    put_account("acme", limit_override=1, signed_up_at=acme.signed_up_at)
    deliver(
        acme,
        [
            event(type="contact.created_in_crm"),
            event(type="score.set", data={"value": 5}),
            event(type="nothing"),
        ],
    )
    make_key(acme)
    stored = Event.objects.order_by("pk")[0]
    gap = Gap.objects.create(
        account=acme,
        reason="limit_reached",
        starts_at=NOW,
        connection=acme.connections.order_by("pk")[0],
        type=1,
        events=1,
        attempts=2,
    )
    DroppedEvent.objects.create(account=acme, gap=gap, key="evt-1")
    EventVoid.objects.create(account=acme, event=stored, at=NOW, actor="the tests", reason="because")
    return acme


def test_every_constraint_is_tried_here():
    exclusions = {name for name, (_, constraint) in NAMED.items() if isinstance(constraint, ExclusionConstraint)}

    assert set(CHECKED) | set(UNIQUE) | exclusions == set(NAMED)
    assert exclusions == {"period_one_at_a_time", "subscription_one_at_a_time"}


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name, (_, changes) in CHECKED.items() for change in changes],
    ids=lambda value: value if isinstance(value, str) else ",".join(map(str, value.values())),
)
def test_a_check_refuses_what_it_says(full: Account, name: str, change: dict[str, Any]):
    model = CHECKED[name][0]
    row = model._default_manager.order_by("pk")[0]

    with unguarded(), refused_by(name):
        model._default_manager.filter(pk=row.pk).update(**change)


@pytest.mark.parametrize("name", UNIQUE)
def test_a_second_row_of_the_same_key_is_refused(full: Account, name: str):
    model, constraint = NAMED[name]
    assert isinstance(constraint, models.UniqueConstraint)
    row: models.Model = model._default_manager.filter(constraint.condition or models.Q()).order_by("pk")[0]
    row.pk = None
    if isinstance(row, Tier) and row.published_at is None:
        row.version += 1  # a second draft

    with refused_by(name):
        model._default_manager.bulk_create([row])


def test_every_key_of_metering_begins_with_the_account():
    keys = [
        constraint.fields
        for model, constraint in NAMED.values()
        if model._meta.app_label == "metering" and isinstance(constraint, models.UniqueConstraint)
    ]

    assert len(keys) > 8
    assert {fields[0] for fields in keys} == {"account"}


def test_a_body_of_nobody_is_unique_too(db: None):
    deliver(None, [event(account="nobody")])
    [row] = QuarantinedEvent.objects.all()
    row.pk = None

    with refused_by("quarantined_once_per_account_and_body"):
        QuarantinedEvent.objects.bulk_create([row])


@pytest.mark.parametrize(
    ("starts_at", "ends_at"),
    [
        (NOVEMBER, DECEMBER),
        (NOVEMBER - timedelta(days=9), NOVEMBER + timedelta(microseconds=1)),
        (DECEMBER - timedelta(microseconds=1), JANUARY),
        (NOVEMBER + timedelta(days=1), NOVEMBER + timedelta(days=2)),
        (NOVEMBER - timedelta(days=1), JANUARY),
    ],
)
def test_billing_periods_of_an_account_never_overlap(full: Account, starts_at: datetime, ends_at: datetime):
    with refused_by("period_one_at_a_time"):
        _period_like(full, starts_at, ends_at)


def test_billing_periods_may_touch_and_those_of_two_accounts_may_overlap(full: Account, globex: Account):
    _period_like(full, DECEMBER, JANUARY)
    _period_like(full, NOVEMBER - timedelta(days=31), NOVEMBER)
    _period_like(globex, NOVEMBER, DECEMBER)

    assert BillingPeriod.objects.count() == 4


def _period_like(account: Account, starts_at: datetime, ends_at: datetime) -> None:
    BillingPeriod.objects.create(
        account=account,
        subscription=account.subscriptions.get(),
        starts_at=starts_at,
        ends_at=ends_at,
        closes_at=ends_at,
    )


@pytest.mark.parametrize(
    ("starts", "ends"), [(0, None), (100, None), (-5, 1), (3, 4)], ids=["same", "later", "over the start", "within"]
)
def test_subscriptions_of_an_account_never_overlap(acme: Account, starts: int, ends: int | None):
    with refused_by("subscription_one_at_a_time"):
        _subscribe(acme, starts, ends)


def test_subscriptions_may_touch(acme: Account, globex: Account):
    first = acme.subscriptions.get()
    Subscription.objects.filter(pk=first.pk).update(ends_at=first.starts_at + timedelta(days=10))

    _subscribe(acme, 10, None)
    _subscribe(acme, -5, 0)

    assert acme.subscriptions.count() == 3


def _subscribe(account: Account, starts: int, ends: int | None) -> None:
    """From and to so many days after the sign-up."""
    row = account.subscriptions.order_by("starts_at")[0]
    at = account.signed_up_at
    row.pk = None
    row.starts_at = at + timedelta(days=starts)
    row.ends_at = None if ends is None else at + timedelta(days=ends)
    row.save(force_insert=True)


def test_a_unique_slug_prefix_and_plan_key_are_refused_twice(full: Account):
    for row in (Account.objects.get(), ApiKey.objects.get(), Plan.objects.all()[0]):
        row.pk = None
        with pytest.raises(DatabaseError, match="duplicate key"), transaction.atomic():
            row.save(force_insert=True)


@pytest.mark.parametrize(
    "model", [Account, Connection, Plan, Tier, Subscription, BillingPeriod], ids=lambda model: model.__name__
)
def test_what_others_refer_to_cannot_be_deleted(full: Account, model: type[models.Model]):
    with pytest.raises(models.ProtectedError):
        model._default_manager.all().delete()


def test_a_number_too_great_for_its_column_is_refused_and_not_cut(full: Account):
    with pytest.raises(DatabaseError), transaction.atomic():
        OutcomeTally.objects.update(deliveries=2**63)


def test_the_database_knows_every_constraint_by_its_name(db: None):
    with connection.cursor() as cursor:
        cursor.execute("SELECT conname FROM pg_constraint UNION SELECT indexname FROM pg_indexes")
        known = {name for (name,) in cursor.fetchall()}

    assert set(NAMED) - known == set()
