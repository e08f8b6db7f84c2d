"""Add what a batch changed to the numbers that pages read: set-based statements, rows sorted by key."""

from collections import Counter
from datetime import date

from metering import sql
from metering.catalogue import ContactUnit
from metering.counting import TallyChanges
from metering.facts import Decision
from metering.models import EVENT_UNIT


def add_to_reason_sets(account_id: int, changes: TallyChanges) -> None:
    """Contacts by their exact set of reasons."""
    differences = sorted((key, contacts) for key, contacts in changes.reason_sets.items() if contacts)
    if not differences:
        return
    sql.send(
        """INSERT INTO metering_reasonsettally AS tally (account_id, period_id, unit, reasons, contacts)
           SELECT %s::bigint, new.* FROM unnest(%s::bigint[], %s::smallint[], %s::int[], %s::bigint[]) AS new
           ON CONFLICT (account_id, period_id, unit, reasons)
           DO UPDATE SET contacts = tally.contacts + excluded.contacts""",
        (
            account_id,
            [period_id for (period_id, _, _), _ in differences],
            [unit.value for (_, unit, _), _ in differences],
            [reasons for (_, _, reasons), _ in differences],
            [contacts for _, contacts in differences],
        ),
    )


def add_to_connections(account_id: int, changes: TallyChanges) -> None:
    """Contacts by connection, and those that are only there."""
    differences = sorted((key, pair) for key, pair in changes.connections.items() if pair != [0, 0])
    if not differences:
        return
    sql.send(
        """INSERT INTO metering_connectiontally AS tally
             (account_id, period_id, unit, connection_id, contacts, only_here)
           SELECT %s::bigint, new.*
           FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS new
           ON CONFLICT (account_id, period_id, unit, connection_id)
           DO UPDATE SET contacts = tally.contacts + excluded.contacts,
                         only_here = tally.only_here + excluded.only_here""",
        (
            account_id,
            [period_id for (period_id, _, _), _ in differences],
            [unit.value for (_, unit, _), _ in differences],
            [connection_id for (_, _, connection_id), _ in differences],
            [contacts for _, (contacts, _) in differences],
            [only_here for _, (_, only_here) in differences],
        ),
    )


def add_to_periods(account_id: int, decision: Decision, changes: TallyChanges) -> None:
    """The totals of periods."""
    totals: dict[int, list[int]] = {}
    for (period_id, *_), events in decision.billable.items():
        totals.setdefault(period_id, [0, 0, 0, 0])[0] += events
    for (period_id, unit), contacts in changes.contacts.items():
        totals.setdefault(period_id, [0, 0, 0, 0])[1 if unit is ContactUnit.ACTIVE else 2] += contacts
    for (period_id, _), carried_in in changes.carried_in.items():
        totals.setdefault(period_id, [0, 0, 0, 0])[3] += carried_in
    moved = sorted((period_id, row) for period_id, row in totals.items() if any(row))
    if not moved:
        return
    sql.send(
        """UPDATE metering_billingperiod AS period
           SET app_connector_events = period.app_connector_events + new.events,
               active_contacts = period.active_contacts + new.active,
               activated_contacts = period.activated_contacts + new.activated,
               carried_in = period.carried_in + new.carried_in
           FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
             AS new (period_id, events, active, activated, carried_in)
           WHERE period.account_id = %s AND period.id = new.period_id""",
        (
            [period_id for period_id, _ in moved],
            *([row[place] for _, row in moved] for place in range(4)),
            account_id,
        ),
    )


def add_to_event_tallies(account_id: int, decision: Decision) -> None:
    """Billable events by connection and type."""
    if not decision.billable:
        return
    by_kind: Counter[tuple[int, int, int]] = Counter()
    for (period_id, connection_id, kind, _), events in decision.billable.items():
        by_kind[period_id, connection_id, kind] += events
    kinds = sorted(by_kind.items())
    sql.send(
        """INSERT INTO metering_eventtally AS tally (account_id, period_id, connection_id, type, events)
           SELECT %s::bigint, new.* FROM unnest(%s::bigint[], %s::bigint[], %s::smallint[], %s::bigint[]) AS new
           ON CONFLICT (account_id, period_id, connection_id, type)
           DO UPDATE SET events = tally.events + excluded.events""",
        (account_id, *([key[place] for key, _ in kinds] for place in range(3)), [events for _, events in kinds]),
    )


def add_to_counted_days(account_id: int, decision: Decision, changes: TallyChanges) -> None:
    """What is new in periods, by unit and local day."""
    differences: Counter[tuple[int, int, int]] = Counter()
    for (period_id, _, _, day), events in decision.billable.items():
        differences[period_id, EVENT_UNIT, day] += events
    for (period_id, unit, day), contacts in changes.days.items():
        differences[period_id, unit.value, day] += contacts
    moved = sorted((key, number) for key, number in differences.items() if number)
    if not moved:
        return
    sql.send(
        """INSERT INTO metering_countedday AS tally (account_id, period_id, unit, day, counted)
           SELECT %s::bigint, new.* FROM unnest(%s::bigint[], %s::smallint[], %s::date[], %s::bigint[]) AS new
           ON CONFLICT (account_id, period_id, unit, day)
           DO UPDATE SET counted = tally.counted + excluded.counted""",
        (
            account_id,
            [period_id for (period_id, _, _), _ in moved],
            [unit for (_, unit, _), _ in moved],
            [date.fromordinal(day) for (_, _, day), _ in moved],
            [number for _, number in moved],
        ),
    )


def add_to_days(account_id: int, decision: Decision) -> None:
    """Recorded events by connection, local day and type."""
    if not decision.events_by_day:
        return
    days = sorted(decision.events_by_day.items())
    sql.send(
        """INSERT INTO metering_connectionday AS tally (account_id, connection_id, day, type, events)
           SELECT %s::bigint, new.* FROM unnest(%s::bigint[], %s::date[], %s::smallint[], %s::bigint[]) AS new
           ON CONFLICT (account_id, connection_id, day, type)
           DO UPDATE SET events = tally.events + excluded.events""",
        (
            account_id,
            [connection_id for (connection_id, _, _), _ in days],
            [date.fromordinal(day) for (_, day, _), _ in days],
            [kind for (_, _, kind), _ in days],
            [events for _, events in days],
        ),
    )
