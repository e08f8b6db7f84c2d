"""Recounting: silent when all is well; finds and repairs whatever is damaged, and nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import models
from django.db.models import F

from accounts.models import Account, AuditEntry
from accounts.refusals import Refused
from metering.lock import locked
from metering.models import (
    AccountMeter,
    BillingPeriod,
    ConnectionDay,
    ConnectionTally,
    CountedContact,
    CountedDay,
    Event,
    EventTally,
    LeadScore,
    ReasonSetTally,
    SyncMember,
)
from metering.periods import do_due_work
from metering.reconcile import differences, repair
from tests.factories import NOW, deliver, event, rows

pytestmark = pytest.mark.django_db

NOVEMBER, DECEMBER, JANUARY = (
    datetime(2026 + month // 13, (month - 1) % 12 + 1, 1, tzinfo=UTC) for month in (11, 12, 13)
)
DERIVED: tuple[type[models.Model], ...] = (
    BillingPeriod,
    CountedContact,
    CountedDay,
    EventTally,
    ReasonSetTally,
    ConnectionTally,
    ConnectionDay,
    AccountMeter,
)


@pytest.fixture
def busy(acme: Account) -> Account:
    """Acme in December, with something of everything; November is in grace and its December is provisional."""
    deliver(
        acme,
        [
            event(subject="ann@example.com", type="contact.matched", id="evt-1"),
            event(subject="ann@example.com", source="hubspot-brevo", type="contact.created_in_crm"),
            event(subject="ann@example.com", type="engagement.email_opened"),
            event(subject="bob@example.com", type="score.set", source="scoring", data={"value": 5}),
            event(subject="cid@example.com", type="automation.ai_reply"),
            event(subject="dee@example.com", type="score.set", source="scoring", data={"value": 0}),
            event(subject="eve@example.com", type="engagement.form_submitted", source="website"),
            event(subject="eva@example.com", type="contact.renamed", data={"from": "eve@example.com"}),
        ],
    )
    deliver(acme, [event(subject="ann@example.com", time=DECEMBER)], now=DECEMBER)
    return acme


def snapshot() -> dict[str, list[Any]]:
    """Everything derived, but for row ids and tallies of nothing: a repair may write rows anew."""
    taken = {}
    for model in DERIVED:
        columns = [field.attname for field in model._meta.concrete_fields if field.attname != "id"]
        of_something = {f"{name}__gt": 0 for name in ("contacts", "events") if name in columns}
        taken[model.__name__] = rows(model, *columns, **of_something)
    return taken


def test_a_recount_of_good_data_is_silent(busy: Account, globex: Account):
    assert differences(busy) == []
    assert differences(globex) == []


def test_a_recount_through_closings_is_silent(busy: Account):
    with locked(busy.pk):
        do_due_work(busy, datetime(2027, 2, 20, tzinfo=UTC))

    assert rows(BillingPeriod, "state") == ["closed", "closed", "closed", "open"]
    assert differences(busy) == []


def november(model: type[models.Model], **filters: Any) -> models.QuerySet[Any]:
    return model._default_manager.filter(period__starts_at=NOVEMBER, **filters)


def counted(name: str, unit: int = 1) -> models.QuerySet[Any]:
    return november(CountedContact, contact__identity=f"{name}@example.com", unit=unit)


REASONS = "reasons of counted contacts"
FIRST = "first causes of counted contacts"
SETS = "sets of reasons of counted contacts"
EVENTS = "billable events by connection and type"
BY_SET = "contacts by set of reasons"
BY_CONNECTION = "contacts by connection"
TOTALS = "totals of periods"
DAYS = "events by connection and type over all days"
KNOWN = "contacts known"
NEW_BY_DAY = "new contacts by day"
BILLED_BY_DAY = "billable events over the days of periods"

# what was damaged | which checks find it
DAMAGE: dict[str, tuple[Callable[[], object], set[str]]] = {
    "a total too high": (lambda: BillingPeriod.objects.filter(starts_at=NOVEMBER).update(active_contacts=9), {TOTALS}),
    "a total of events too low": (
        lambda: BillingPeriod.objects.filter(starts_at=NOVEMBER).update(app_connector_events=0),
        {TOTALS},
    ),
    "a total of activated contacts too high": (
        lambda: BillingPeriod.objects.filter(starts_at=NOVEMBER).update(activated_contacts=9),
        {TOTALS},
    ),
    "a number of carried-in contacts too low": (
        lambda: BillingPeriod.objects.filter(starts_at=DECEMBER).update(carried_in=0),
        {TOTALS},
    ),
    "an event tally too high": (lambda: november(EventTally, type=11).update(events=5), {EVENTS}),
    "an event tally that is missing": (lambda: november(EventTally, type=11).delete(), {EVENTS}),
    "an event tally of nothing": (
        lambda: EventTally.objects.bulk_create([_copy(november(EventTally, type=11).get(), type=17)]),
        {EVENTS},
    ),
    "a reason-set tally too high": (lambda: november(ReasonSetTally, reasons=1 << 10).update(contacts=2), {BY_SET}),
    "a reason-set tally that is missing": (lambda: november(ReasonSetTally, reasons=1 << 10).delete(), {BY_SET}),
    "a connection tally too low": (
        lambda: november(ConnectionTally, connection__key="scoring").update(contacts=0),
        {BY_CONNECTION},
    ),
    "an only-here tally too low": (
        lambda: november(ConnectionTally, connection__key="scoring").update(only_here=0),
        {BY_CONNECTION},
    ),
    "a connection tally that is missing": (
        lambda: november(ConnectionTally, connection__key="scoring").delete(),
        {BY_CONNECTION},
    ),
    "a day too high": (lambda: ConnectionDay.objects.filter(type=42).update(events=2), {DAYS}),
    "a day that is missing": (lambda: ConnectionDay.objects.filter(type=42).delete(), {DAYS}),
    "a day of new contacts too high": (lambda: november(CountedDay, unit=1).update(counted=9), {NEW_BY_DAY}),
    "a day of new contacts that is missing": (lambda: november(CountedDay, unit=2).delete(), {NEW_BY_DAY}),
    "a day of billable events too low": (lambda: november(CountedDay, unit=0).update(counted=0), {BILLED_BY_DAY}),
    "a day of billable events that is missing": (lambda: november(CountedDay, unit=0).delete(), {BILLED_BY_DAY}),
    "a number of known contacts too high": (
        lambda: AccountMeter.objects.update(contacts_known=F("contacts_known") + 1),
        {KNOWN},
    ),
    "a first cause of another time": (lambda: counted("ann").update(first_at=NOVEMBER), {FIRST}),
    "a first cause of another id": (lambda: counted("ann").update(first_key="evt-0"), {FIRST}),
    "a first cause of another type": (lambda: counted("ann").update(first_type=20), {FIRST}),
    "a first cause that is missing": (
        lambda: counted("ann").update(first_at=None, first_key="", first_source="", first_type=None, first_on=None),
        {FIRST, NEW_BY_DAY},
    ),
    "a set of reasons that its places do not give": (
        lambda: counted("bob").update(reasons=1 << 9),
        {SETS, BY_SET},
    ),
    "a mark of being carried in": (lambda: counted("bob").update(carried_in=True), {SETS, TOTALS, NEW_BY_DAY}),
    "a reason that no event gave": (
        lambda: counted("bob").update(event_reasons=[1 << 10 | 1], reasons=1 << 10 | 1),
        {REASONS, BY_SET},
    ),
    "a contact that does not count though it should": (
        lambda: counted("bob").delete(),
        {REASONS, BY_SET, BY_CONNECTION, TOTALS, NEW_BY_DAY},
    ),
    "a contact that counts though no event says so": (
        lambda: CountedContact.objects.bulk_create([_copy(counted("bob").get(), unit=2)]),
        {REASONS, FIRST, BY_SET, BY_CONNECTION, TOTALS, NEW_BY_DAY},
    ),
    "a contact that is marked as carried in by nothing": (
        lambda: CountedContact.objects.bulk_create([_copy(counted("bob").get(), unit=2, carried_in=True)]),
        {REASONS, FIRST, SETS, BY_SET, BY_CONNECTION, TOTALS},
    ),
    "an event that is gone": (
        lambda: Event.objects.filter(type=15).delete(),
        {REASONS, FIRST, EVENTS, TOTALS, DAYS, BILLED_BY_DAY},
    ),
}


def _copy(row: Any, **changes: Any) -> Any:
    row.pk = None
    for name, value in changes.items():
        setattr(row, name, value)
    return row


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_exactly_and_repaired(busy: Account, what: str):
    damage, checks = DAMAGE[what]
    before = snapshot()
    damage()

    found = differences(busy)
    repaired = repair(busy, actor="somebody", at=NOW)

    assert {row.check for row in found} == checks
    assert repaired == found
    assert differences(busy) == []
    if what != "an event that is gone":  # then the counts were right, and it is the truth that changed
        assert snapshot() == before


def test_every_check_finds_some_damage():
    assert {check for _, checks in DAMAGE.values() for check in checks} == {
        REASONS,
        FIRST,
        SETS,
        EVENTS,
        BY_SET,
        BY_CONNECTION,
        TOTALS,
        DAYS,
        KNOWN,
        NEW_BY_DAY,
        BILLED_BY_DAY,
    }


def test_a_difference_says_where_what_is_stored_and_what_a_recount_gives(busy: Account):
    period = BillingPeriod.objects.get(starts_at=NOVEMBER)
    BillingPeriod.objects.filter(pk=period.pk).update(active_contacts=9)

    [found] = differences(busy)

    assert found.check == "totals of periods"
    assert found.where == f"period {period.pk} (2026-11-01)"
    assert found.stored == "3 events, 9 active, 1 activated, 0 carried in"
    assert found.recounted == "3 events, 3 active, 1 activated, 0 carried in"


def test_damage_of_one_account_is_no_difference_of_another(busy: Account, globex: Account):
    deliver(globex, [event(source="instagram", type="automation.ai_reply")])
    AccountMeter.objects.filter(account=busy).update(contacts_known=9)

    assert differences(globex) == []
    assert repair(globex, actor="somebody", at=NOW) == []
    assert [row.check for row in differences(busy)] == [KNOWN]


def test_a_repair_is_audited_and_none_that_found_nothing(busy: Account):
    repair(busy, actor="somebody", at=NOW)
    assert rows(AuditEntry, "action", action="account.recounted") == []
    AccountMeter.objects.update(contacts_known=9)

    repair(busy, actor="somebody", at=NOW)

    [entry] = AuditEntry.objects.filter(action="account.recounted")
    assert (entry.account, entry.actor, entry.at, entry.after) == (busy, "somebody", NOW, {})
    assert entry.before == {"differences": [{"check": KNOWN, "where": "account", "stored": "9", "recounted": "5"}]}


def test_a_repair_leaves_states_alone(busy: Account):
    before = rows(SyncMember, "contact", "holds"), rows(LeadScore, "contact", "value", "holds")
    AccountMeter.objects.update(contacts_known=9)

    repair(busy, actor="somebody", at=NOW)

    assert (rows(SyncMember, "contact", "holds"), rows(LeadScore, "contact", "value", "holds")) == before


# --- Closed periods --------------------------------------------------------------------------------------------------


@pytest.fixture
def closed(busy: Account) -> Account:
    """Acme after December has closed, whose carry-in nothing but its counted contacts tells."""
    with locked(busy.pk):
        do_due_work(busy, datetime(2027, 1, 2, tzinfo=UTC))
    return busy


def test_a_damaged_counter_of_a_closed_period_is_repaired(closed: Account):
    BillingPeriod.objects.filter(starts_at=NOVEMBER).update(active_contacts=9)
    november(ReasonSetTally).delete()

    assert {row.check for row in repair(closed, actor="somebody", at=NOW)} == {
        TOTALS,
        BY_SET,
        "checksums of closed periods",
    }
    assert differences(closed) == []


@pytest.mark.parametrize(
    "tamper",
    [
        lambda: CountedContact.objects.filter(period__starts_at=DECEMBER, carried_in=True, first_at=None).delete(),
        lambda: Event.objects.filter(type=15).delete(),
        lambda: BillingPeriod.objects.filter(starts_at=NOVEMBER).update(checksum="0" * 64),
    ],
    ids=["a carried-in contact is gone", "an event is gone", "the checksum is another"],
)
def test_a_closed_period_that_was_tampered_with_is_refused(closed: Account, tamper: Callable[[], object]):
    tamper()
    before = snapshot()

    assert differences(closed) != []
    with pytest.raises(Refused) as refused:
        repair(closed, actor="somebody", at=NOW)

    assert refused.value.code == "cannot_be_repaired"
    assert snapshot() == before
    assert rows(AuditEntry, "action", action="account.recounted") == []


# --- The command -----------------------------------------------------------------------------------------------------


def reconcile(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and what went wrong of `manage.py reconcile`."""
    out = StringIO()
    try:
        call_command("reconcile", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


def test_the_command_says_nothing_when_nothing_differs(busy: Account, globex: Account):
    assert reconcile() == (0, "", "")
    assert reconcile("--write") == (0, "", "")


def test_the_command_prints_what_differs_and_repairs_only_with_write(busy: Account):
    AccountMeter.objects.update(contacts_known=9)

    assert reconcile() == (1, "acme: contacts known, account: is 9, a recount gives 5\n", "1 differ.")
    assert reconcile() == (1, "acme: contacts known, account: is 9, a recount gives 5\n", "1 differ.")
    assert reconcile("--write") == (1, "acme: contacts known, account: was 9, a recount gives 5\n", "1 repaired.")
    assert reconcile() == (0, "", "")


def test_the_command_can_be_kept_to_one_account(busy: Account, globex: Account):
    AccountMeter.objects.update(contacts_known=9)

    assert reconcile("--account", "globex", "--write") == (
        1,
        "globex: contacts known, account: was 9, a recount gives 0\n",
        "1 repaired.",
    )
    assert [row.check for row in differences(busy)] == [KNOWN]


def test_the_command_knows_no_account_that_does_not_exist(busy: Account):
    assert reconcile("--account", "nobody") == (1, "", "There is no account nobody.")


def test_the_command_leaves_a_closed_period_that_differs_to_a_person(closed: Account):
    BillingPeriod.objects.filter(starts_at=NOVEMBER).update(checksum="0" * 64)

    code, _, error = reconcile("--write")

    assert (code, error.partition(":")[0]) == (1, "acme")
    assert error.endswith("cannot be repaired.")
