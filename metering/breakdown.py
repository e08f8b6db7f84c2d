"""Where a period's number comes from: by reason and by connection, read from the maintained tallies."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, TypedDict

from metering.catalogue import BY_CODE, ContactUnit, reasons_in
from metering.models import BillingPeriod, ConnectionTally, EventTally, ReasonSetTally
from plans.models import Unit

CONTACT_UNITS = {Unit.ACTIVE_CONTACTS: ContactUnit.ACTIVE, Unit.ACTIVATED_CONTACTS: ContactUnit.ACTIVATED}


class Breakdown(TypedDict):
    """Rows `{reason|connection, contacts, only_here}` for contact units: they overlap, and `only_here` of them would
    not count without it. `{type|connection, events}` for the event unit: each list sums to the total. The largest
    first."""

    by_reason: list[dict[str, Any]]
    by_connection: list[dict[str, Any]]


def breakdown(period: BillingPeriod, unit: str) -> Breakdown:
    """The two breakdowns of a period in a unit."""
    if unit == Unit.APP_CONNECTOR_EVENTS:
        return _of_events(period)
    return _of_contacts(period, CONTACT_UNITS[Unit(unit)])


def _of_events(period: BillingPeriod) -> Breakdown:
    by_type: defaultdict[str, int] = defaultdict(int)
    by_connection: defaultdict[str, int] = defaultdict(int)
    tallies = EventTally.objects.filter(account_id=period.account_id, period_id=period.pk, events__gt=0)
    for kind, connection, events in tallies.values_list("type", "connection__key", "events"):
        by_type[BY_CODE[kind].name] += events
        by_connection[connection] += events
    return {
        "by_reason": _largest_first("type", "events", by_type),
        "by_connection": _largest_first("connection", "events", by_connection),
    }


def _of_contacts(period: BillingPeriod, unit: ContactUnit) -> Breakdown:
    of_period = {"account_id": period.account_id, "period_id": period.pk, "unit": unit, "contacts__gt": 0}
    by_reason: defaultdict[str, int] = defaultdict(int)
    only_for: dict[str, int] = {}
    for mask, contacts in ReasonSetTally.objects.filter(**of_period).values_list("reasons", "contacts"):
        reasons = reasons_in(mask)
        for reason in reasons:
            by_reason[reason.label] += contacts
        if len(reasons) == 1:
            only_for[reasons[0].label] = contacts
    tallies = ConnectionTally.objects.filter(**of_period).values_list("connection__key", "contacts", "only_here")
    by_connection = {key: (contacts, only_here) for key, contacts, only_here in tallies}
    return {
        "by_reason": [
            {**row, "only_here": only_for.get(row["reason"], 0)}
            for row in _largest_first("reason", "contacts", by_reason)
        ],
        "by_connection": [
            {"connection": key, "contacts": contacts, "only_here": only_here}
            for key, (contacts, only_here) in sorted(by_connection.items(), key=lambda row: (-row[1][0], row[0]))
        ],
    }


def _largest_first(name: str, number: str, rows: Mapping[str, int]) -> list[dict[str, Any]]:
    ordered = sorted(rows.items(), key=lambda row: (-row[1], row[0]))
    return [{name: key, number: value} for key, value in ordered]
