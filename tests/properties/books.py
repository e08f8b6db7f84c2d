"""What is stored about an account, in the words of the oracle; and what must be true of it at any moment."""

from collections import Counter
from datetime import datetime
from typing import Any

from accounts.models import Account
from metering.breakdown import breakdown
from metering.catalogue import ContactUnit, Reason, reasons_in
from metering.models import (
    BillingPeriod,
    CountedContact,
    Contact,
    Event,
    LeadScore,
    OutcomeTally,
    StoredUnit,
    SyncMember,
)
from metering.periods import do_due_work
from metering.lock import locked
from metering.reconcile import differences
from metering.usage import totals, usage
from tests.factories import rows
from tests.properties.oracle import ACTIVE, EVENT_UNIT, Count, Expected, StateKey


def run_scheduler(account: Account, now: datetime) -> None:
    """What is due for an account is done."""
    with locked(account.pk):
        do_due_work(account, now)


def counted_in(period: BillingPeriod) -> dict[tuple[str, str], Count]:
    """Who counts in a period, in which unit, and why."""
    sources = dict(period.account.connections.values_list("pk", "key"))
    who = {}
    for row in CountedContact.objects.filter(account_id=period.account_id, period=period).select_related("contact"):
        count = Count(
            first=(row.first_at, row.first_source, row.first_key) if row.first_at is not None else None
        )
        places = zip(row.connections, row.event_reasons, row.carried_reasons, strict=True)
        for connection, given, carried in places:
            count.given |= {(sources[connection], reason.label) for reason in reasons_in(given)}
            count.carried |= {(sources[connection], reason.label) for reason in reasons_in(carried)}
        who[StoredUnit(row.unit).label, row.contact.identity] = count
    return who
