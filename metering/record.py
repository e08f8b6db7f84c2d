"""Write what was decided: COPY and set-based statements, rows sorted by key, one order for every writer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from metering import sql, tallies
from metering.counting import (
    BY_EVENTS,
    CARRIED_IN,
    NOT_COUNTED,
    Counted,
    tally_changes,
)
from metering.facts import Decision, Filed, Outcome, StateKey
from metering.gaps import record_gaps
from metering.identity import ERASED
from metering.models import EventState
from metering.transitions import Register, Transition

_STATES: Mapping[Outcome, int] = {
    "recorded": EventState.RECORDED.value,
    "late": EventState.LATE.value,
    "held": EventState.HELD.value,
    "limited": EventState.LIMITED.value,
}

# The first spelling of a contact is kept for display.
_DISPLAY_LENGTH = 400

EVENT_COLUMNS = {
    "account_id": "int8",
    "connection_id": "int8",
    "key": "varchar",
    "type": "int2",
    "contact_id": "int8",
    "period_id": "int8",
    "state": "int2",
    "occurred_at": "timestamptz",
    "received_at": "timestamptz",
    "fingerprint": "int8",
    "data": "jsonb",
}
_COUNTED_COLUMNS = {
    "account_id": "int8",
    "period_id": "int8",
    "unit": "int2",
    "contact_id": "int8",
    "reasons": "int4",
    "carried_in": "bool",
    "connections": "int8[]",
    "event_reasons": "int4[]",
    "carried_reasons": "int4[]",
    "first_at": "timestamptz",
    "first_source": "varchar",
    "first_key": "varchar",
    "first_type": "int2",
    "first_on": "date",
    "scored_at": "timestamptz",
}


def record(
    account_id: int,
    decision: Decision,
    *,
    live: bool,
    meanwhile: Callable[[], None],
) -> None:
    """Write a decision about one account, whose lock the caller holds. `live`: by the wall clock.

    `meanwhile` is called once, if need be while the server writes.
    """
    if decision.dropped:
        record_gaps(account_id, decision)
    if not decision.events and not decision.again:
        meanwhile()
        return
    ids = _insert_contacts(account_id, decision)
    for row in decision.counted.values():
        row.contact = ids.get(row.contact, row.contact)
    with sql.pipeline():  # the server works through these while the next are being made
        new = _move_counts(account_id, decision, ids)
        _touch_contacts(account_id, decision, ids)
        _touch_meter(account_id, new_contacts=len(ids), live=live)
    _copy_events(account_id, decision, ids, meanwhile)
    _update_events(account_id, decision, ids)
    _copy_counted(account_id, new)


def record_changes(account_id: int, decision: Decision) -> None:
    """Write how counts and states changed of contacts and events that are stored already. The caller holds the lock."""
    with sql.pipeline():
        new = _move_counts(account_id, decision, {})
    _copy_counted(account_id, new)


def _move_counts(account_id: int, decision: Decision, ids: dict[int, int]) -> list[Counted]:
    """Send the changes of counts and states; the counted contacts that are new are left to `_copy_counted`."""
    changes = tally_changes(decision.counted.values())
    new, kept, gone = _by_fate(decision.counted.values())
    _update_counted(account_id, kept)
    _delete_counted(account_id, gone)
    tallies.add_to_reason_sets(account_id, changes)
    tallies.add_to_connections(account_id, changes)
    write_members(account_id, _with_ids(decision.members, ids))
    write_scores(account_id, _with_ids(decision.scores, ids))
    tallies.add_to_periods(account_id, decision, changes)
    tallies.add_to_event_tallies(account_id, decision)
    tallies.add_to_days(account_id, decision)
    tallies.add_to_counted_days(account_id, decision, changes)
    return new


def _insert_contacts(account_id: int, decision: Decision) -> dict[int, int]:
    """Store the contacts that are new; what their negative ids became."""
    if not decision.new_contacts:
        return {}
    new = sorted(decision.new_contacts.items())
    rows = sql.run(
        """INSERT INTO metering_contact (account_id, identity, display)
           SELECT %s::bigint, identity, display FROM unnest(%s::text[], %s::text[]) AS new (identity, display)
           RETURNING identity, id""",
        (
            account_id,
            [identity for identity, _ in new],
            [subject.strip(" ")[:_DISPLAY_LENGTH] for _, (_, subject) in new],
        ),
    )
    return {decision.new_contacts[identity][0]: stored_id for identity, stored_id in rows}


def _copy_events(
    account_id: int,
    decision: Decision,
    ids: dict[int, int],
    meanwhile: Callable[[], None],
) -> None:
    if not decision.events:
        meanwhile()
        return
    by_key = sorted(decision.events, key=_key)
    sql.copy_rows("metering_event", EVENT_COLUMNS, _event_rows(account_id, by_key, ids), meanwhile)


def _event_rows(account_id: int, filed: Iterable[Filed], ids: dict[int, int]) -> Iterator[tuple[Any, ...]]:
    """Made while the server already writes the first of them."""
    for row in filed:
        arrival, contact, data = row.arrival, row.contact, row.arrival.data
        yield (
            account_id,
            arrival.connection.id,
            arrival.key,
            arrival.stored_type,
            contact if contact > 0 else ids[contact],
            row.period_id,
            _STATES[row.outcome],
            arrival.time,
            row.at,
            arrival.fingerprint,
            None if data is None else Jsonb(data, msgspec.json.encode),
        )


def _key(row: Filed) -> tuple[int, str]:
    return (row.arrival.connection.id, row.arrival.key)


def _update_events(account_id: int, decision: Decision, ids: dict[int, int]) -> None:
    """What became of events that were stored before: limited ones sent again, held ones replayed."""
    if not decision.again:
        return
    rows = sorted({_key(row): row for row in decision.again}.items())  # decided twice in one batch: the last counts
    sql.run(
        """UPDATE metering_event AS event
           SET state = new.state, period_id = new.period_id, contact_id = new.contact_id, data = new.data::jsonb,
               received_at = new.received_at, counted_at = %s
           FROM unnest(%s::bigint[], %s::text[], %s::smallint[], %s::bigint[], %s::bigint[], %s::text[],
                       %s::timestamptz[])
             AS new (connection_id, key, state, period_id, contact_id, data, received_at)
           WHERE event.account_id = %s AND event.connection_id = new.connection_id AND event.key = new.key""",
        (
            decision.replayed_at,
            [key[0] for key, _ in rows],
            [key[1] for key, _ in rows],
            [_STATES[row.outcome] for _, row in rows],
            [row.period_id for _, row in rows],
            [ids.get(row.contact, row.contact) for _, row in rows],
            [None if row.arrival.data is None else msgspec.json.encode(row.arrival.data).decode() for _, row in rows],
            [row.at for _, row in rows],
            account_id,
        ),
    )


def _by_fate(changed: Iterable[Counted]) -> tuple[list[Counted], list[Counted], list[Counted]]:
    """Counted contacts that are new, kept with another content, and gone; each by key."""
    new, kept, gone = [], [], []
    for row in sorted(changed, key=lambda row: (row.period_id, row.unit, row.contact)):
        if row.reasons and row.stored is NOT_COUNTED:
            new.append(row)
        elif row.reasons:
            kept.append(row)
        elif row.stored is not NOT_COUNTED:
            gone.append(row)
    return new, kept, gone


def _copy_counted(account_id: int, rows: list[Counted]) -> None:
    if rows:
        sql.copy_rows("metering_countedcontact", _COUNTED_COLUMNS, (_counted_row(account_id, row) for row in rows))


def _counted_row(account_id: int, row: Counted) -> tuple[Any, ...]:
    standing = row.standing()
    connections = sorted(row.reasons)
    first = row.first
    return (
        account_id,
        row.period_id,
        row.unit.value,
        row.contact,
        standing.reasons,
        standing.carried_in,
        connections,
        [row.reasons[connection][BY_EVENTS] for connection in connections],
        [row.reasons[connection][CARRIED_IN] for connection in connections],
        first.at if first else None,
        first.source if first else "",
        first.key if first else "",
        first.type if first else None,
        date.fromordinal(first.day) if first else None,
        row.scored_at,
    )


def _update_counted(account_id: int, rows: list[Counted]) -> None:
    if not rows:
        return
    values = [_counted_row(account_id, row) for row in rows]
    columns = list(zip(*values, strict=True))
    sql.send(
        """UPDATE metering_countedcontact AS counted
           SET reasons = new.reasons, carried_in = new.carried_in, connections = new.connections::bigint[],
               event_reasons = new.event_reasons::int[], carried_reasons = new.carried_reasons::int[],
               first_at = new.first_at, first_source = new.first_source, first_key = new.first_key,
               first_type = new.first_type, first_on = new.first_on,
               scored_at = new.scored_at
           FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::int[], %s::bool[], %s::text[], %s::text[],
                       %s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::smallint[], %s::date[],
                       %s::timestamptz[])
             AS new (period_id, unit, contact_id, reasons, carried_in, connections, event_reasons, carried_reasons,
                     first_at, first_source, first_key, first_type, first_on, scored_at)
           WHERE counted.account_id = %s AND counted.period_id = new.period_id AND counted.unit = new.unit
             AND counted.contact_id = new.contact_id""",
        (
            *(list(column) for column in columns[1:6]),
            *([sql.literal_array(array) for array in column] for column in columns[6:9]),
            *(list(column) for column in columns[9:]),
            account_id,
        ),
    )


def _delete_counted(account_id: int, rows: list[Counted]) -> None:
    if not rows:
        return
    sql.send(
        """DELETE FROM metering_countedcontact AS counted
           USING unnest(%s::bigint[], %s::smallint[], %s::bigint[]) AS gone (period_id, unit, contact_id)
           WHERE counted.account_id = %s AND counted.period_id = gone.period_id AND counted.unit = gone.unit
             AND counted.contact_id = gone.contact_id""",
        (
            [row.period_id for row in rows],
            [row.unit.value for row in rows],
            [row.contact for row in rows],
            account_id,
        ),
    )


def _touch_contacts(account_id: int, decision: Decision, ids: dict[int, int]) -> None:
    if decision.revived:
        _revive(account_id, decision)
    if decision.engaged:
        engaged = sorted((ids.get(contact, contact), at) for contact, at in decision.engaged.items())
        sql.send(
            """UPDATE metering_contact AS contact SET last_engaged_at = new.at
               FROM unnest(%s::bigint[], %s::timestamptz[]) AS new (id, at)
               WHERE contact.account_id = %s AND contact.id = new.id
                 AND (contact.last_engaged_at IS NULL OR contact.last_engaged_at < new.at)""",
            ([contact for contact, _ in engaged], [at for _, at in engaged], account_id),
        )
    if decision.origins:
        origins = sorted((ids.get(contact, contact), at, origin) for contact, (at, origin) in decision.origins.items())
        sql.send(
            """UPDATE metering_contact AS contact SET origin = new.origin, origin_at = new.at
               FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS new (id, at, origin)
               WHERE contact.account_id = %s AND contact.id = new.id
                 AND (contact.origin_at IS NULL
                      OR (contact.origin_at, contact.origin) > (new.at, new.origin::varchar))""",
            (*_columns(origins), account_id),
        )


def _revive(account_id: int, decision: Decision) -> None:
    """Give erased rows back the addresses that came again. A contact of which only an alias came is shown as that."""
    revived = sorted((row, identity, subject) for row, (identity, subject) in decision.revived.items())
    rows = [row for row, _, _ in revived]
    subjects = [subject.strip(" ")[:_DISPLAY_LENGTH] for _, _, subject in revived]
    sql.send(
        """UPDATE metering_contact AS contact SET identity = new.identity, display = new.display
           FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS new (id, identity, display)
           WHERE contact.account_id = %s AND contact.id = new.id""",
        (rows, [identity for _, identity, _ in revived], subjects, account_id),
    )
    sql.send(
        """UPDATE metering_contact AS contact SET display = alias.display
           FROM metering_contact AS alias
           WHERE contact.account_id = %s AND alias.account_id = %s AND alias.id = ANY(%s)
             AND contact.id = alias.alias_of_id AND starts_with(contact.identity, %s)""",
        (account_id, account_id, rows, ERASED),
    )


def _touch_meter(account_id: int, *, new_contacts: int, live: bool) -> None:
    if not new_contacts and not live:
        return
    sql.send(
        """UPDATE metering_accountmeter
           SET contacts_known = contacts_known + %s, holds_live_events = holds_live_events OR %s
           WHERE account_id = %s""",
        (new_contacts, live, account_id),
    )


def _with_ids(registers: Mapping[StateKey, Register], ids: dict[int, int]) -> dict[StateKey, Register]:
    return {(ids.get(contact, contact), connection): row for (contact, connection), row in registers.items()}


def _columns(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _prior_columns(prior: Transition | None) -> tuple[bool | None, datetime | None, str]:
    return (prior.holds, prior.at, prior.by) if prior else (None, None, "")


def write_members(account_id: int, registers: Mapping[StateKey, Register]) -> None:
    """Store memberships that changed."""
    rows = [
        (*key, last.holds, last.at, last.by, *_prior_columns(row.prior), last.refused_since)
        for key, row in sorted(registers.items(), key=lambda item: item[0])
        if (last := row.last) is not None
    ]
    if not rows:
        return
    sql.send(
        """INSERT INTO metering_syncmember (account_id, contact_id, connection_id, holds, changed_at, changed_by,
             prior_holds, prior_changed_at, prior_changed_by, refused_since)
           SELECT %s::bigint, new.*
           FROM unnest(%s::bigint[], %s::bigint[], %s::bool[], %s::timestamptz[], %s::text[],
                       %s::bool[], %s::timestamptz[], %s::text[], %s::timestamptz[]) AS new
           ON CONFLICT (account_id, contact_id, connection_id) DO UPDATE
           SET holds = excluded.holds, changed_at = excluded.changed_at, changed_by = excluded.changed_by,
               prior_holds = excluded.prior_holds, prior_changed_at = excluded.prior_changed_at,
               prior_changed_by = excluded.prior_changed_by, refused_since = excluded.refused_since""",
        (account_id, *_columns(rows)),
    )


def write_scores(account_id: int, registers: Mapping[StateKey, Register]) -> None:
    """Store lead scores that changed."""
    rows = [
        (
            *key,
            last.holds,
            last.at,
            last.by,
            *_prior_columns(row.prior),
            last.value,
            last.until,
            row.prior.until if row.prior else None,
        )
        for key, row in sorted(registers.items(), key=lambda item: item[0])
        if (last := row.last) is not None
    ]
    if not rows:
        return
    sql.send(
        """INSERT INTO metering_leadscore (account_id, contact_id, connection_id, holds, changed_at, changed_by,
             prior_holds, prior_changed_at, prior_changed_by, value, expires_at, prior_expires_at)
           SELECT %s::bigint, new.*
           FROM unnest(%s::bigint[], %s::bigint[], %s::bool[], %s::timestamptz[], %s::text[],
                       %s::bool[], %s::timestamptz[], %s::text[], %s::float8[], %s::timestamptz[],
                       %s::timestamptz[]) AS new
           ON CONFLICT (account_id, contact_id, connection_id) DO UPDATE
           SET holds = excluded.holds, changed_at = excluded.changed_at, changed_by = excluded.changed_by,
               prior_holds = excluded.prior_holds, prior_changed_at = excluded.prior_changed_at,
               prior_changed_by = excluded.prior_changed_by, value = excluded.value,
               expires_at = excluded.expires_at, prior_expires_at = excluded.prior_expires_at""",
        (account_id, *_columns(rows)),
    )
