"""The audit trail: what a row holds, and that nobody changes it afterwards."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.audit import write_audit
from accounts.models import Account, AuditEntry
from tests.factories import NOW, rows

pytestmark = pytest.mark.django_db


def write(account: Account | None, **before: object) -> AuditEntry:
    write_audit(account, "account.changed", actor="somebody", at=NOW, before=before, after={"name": "New"})
    return AuditEntry.objects.order_by("-pk")[0]


def test_a_row_says_who_changed_what_when_and_why(acme: Account):
    write_audit(
        acme,
        "account.changed",
        actor="operator key hc_live_1",
        at=NOW,
        before={"limit_override": None},
        after={"limit_override": 50},
        reason="agreed by mail",
    )

    assert rows(
        AuditEntry, "account", "actor", "action", "at", "before", "after", "reason", action="account.changed"
    ) == [
        (
            acme.pk,
            "operator key hc_live_1",
            "account.changed",
            NOW,
            {"limit_override": None},
            {"limit_override": 50},
            "agreed by mail",
        )
    ]


def test_a_row_may_be_of_no_account_and_have_no_reason(db: None):
    entry = write(None, name="Old")

    assert (entry.account, entry.reason) == (None, "")


def test_times_are_kept_as_they_are_written(acme: Account):
    berlin = timezone(timedelta(hours=1))

    entry = write(acme, trial_ends_at=datetime(2026, 12, 1, tzinfo=UTC), anchor=datetime(2026, 1, 1, tzinfo=berlin))

    assert entry.before == {"trial_ends_at": "2026-12-01T00:00:00+00:00", "anchor": "2026-01-01T00:00:00+01:00"}


def test_a_row_is_undone_with_the_change_that_it_tells_of(acme: Account):
    before = rows(AuditEntry, "pk")

    with transaction.atomic():
        write(acme)
        transaction.set_rollback(True)

    assert rows(AuditEntry, "pk") == before


@pytest.mark.parametrize(
    "tamper",
    [
        lambda entry: AuditEntry.objects.filter(pk=entry.pk).update(actor="nobody"),
        lambda entry: entry.save(),
        lambda entry: entry.delete(),
        lambda entry: AuditEntry.objects.all().delete(),
        lambda entry: AuditEntry.objects.all()._raw_delete("default"),
        lambda entry: connection.cursor().execute("UPDATE accounts_auditentry SET after = '{}'"),
        lambda entry: connection.cursor().execute("DELETE FROM accounts_auditentry"),
    ],
    ids=["update", "save", "delete", "delete all", "raw delete", "UPDATE", "DELETE"],
)
def test_the_database_refuses_to_change_or_delete_a_row(acme: Account, tamper: Callable[[AuditEntry], object]):
    entry = write(acme, name="Old")
    before = list(AuditEntry.objects.values())

    with pytest.raises(DatabaseError, match="the audit trail is append-only"), transaction.atomic():
        tamper(entry)

    assert list(AuditEntry.objects.values()) == before
