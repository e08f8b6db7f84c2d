"""Load what deciding a batch of one account needs, in a handful of set-based statements."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from accounts.models import Account, Connection, ConnectionKind
from metering import sql
from metering.catalogue import ContactUnit, Effect
from metering.counting import Counted, FirstCause
from metering.facts import (
    AccountFacts,
    AccountState,
    Arrival,
    ConnectionFacts,
    Pause,
    StateKey,
    Stored,
)
from metering.identity import pseudonym
from metering.models import EventState
from metering.transitions import Register, Transition
from plans.models import Subscription

_MEMBER_EFFECTS = (Effect.JOINS, Effect.IS_REFUSED, Effect.LEAVES)
_SCORE_EFFECTS = (Effect.SETS_SCORE, Effect.CLEARS_SCORE)


def account_facts(account: Account, subscription: Subscription, now: datetime) -> AccountFacts:
    """What intake knows of an account; `subscription` is the one in force now."""
    return AccountFacts(
        id=account.pk,
        signed_up_at=account.signed_up_at,
        closed_at=account.closed_at,
        timezone=account.timezone,
        pause=own_pause(account, subscription, now),
    )


def erasure_secret(account: Account) -> bytes | None:
    """The key of what stands in for erased addresses; None if nobody was erased."""
    return None if account.erasure_secret is None else bytes(account.erasure_secret)


def own_pause(account: Account, subscription: Subscription, now: datetime) -> Pause | None:
    """The pause of an account by staff, or as its trial has ended; not that of a period at its limit."""
    if account.paused_at is not None:
        return Pause("paused_by_staff", account.paused_at)
    ends_at = trial_end(account, subscription)
    return Pause("trial_ended", ends_at) if ends_at is not None and ends_at <= now else None


def trial_end(account: Account, subscription: Subscription) -> datetime | None:
    """When the trial of an account ends or has ended; None if it is on none, or for ever."""
    return account.trial_ends_at if subscription.tier.trial else None


def connection_facts(row: Connection) -> ConnectionFacts:
    """What intake knows of a connection."""
    return ConnectionFacts(
        id=row.pk,
        key=row.key,
        keeps_members=row.kind == ConnectionKind.CONTACT_SYNC,
        enabled=row.enabled,
        switched_at=tuple(row.switched_at),
        record_email_sent=row.record_email_sent,
        score_expiry_days=row.score_expiry_days,
    )


def connections_of(account_id: int, keys: Iterable[str]) -> dict[str, ConnectionFacts]:
    """The account's connections that a batch names, by key."""
    rows = Connection.objects.filter(account_id=account_id, key__in=set(keys))
    return {row.key: connection_facts(row) for row in rows}


# One look-up by key per event, whatever the planner believes of a table that it has no statistics for yet.
_STORED = """
WITH found AS MATERIALIZED (
  SELECT sent.connection_id, sent.key,
         (SELECT ROW(event.type, event.fingerprint, event.occurred_at, event.state) FROM metering_event AS event
          WHERE event.account_id = %s AND event.connection_id = sent.connection_id AND event.key = sent.key) AS stored
  FROM unnest(string_to_array(%s, E'\\x1f')::bigint[], string_to_array(%s, E'\\x1f')) AS sent (connection_id, key))
SELECT connection_id, key, stored FROM found WHERE stored IS NOT NULL
"""

_CONTACTS = """
SELECT identity, coalesce(alias_of_id, id) FROM metering_contact
WHERE account_id = %s AND identity = ANY(string_to_array(%s, E'\\x1f'))
"""

_ERASED = """
SELECT identity, id, coalesce(alias_of_id, id) FROM metering_contact
WHERE account_id = %s AND identity = ANY(string_to_array(%s, E'\\x1f'))
"""

_COUNTED = """
SELECT period_id, unit, contact_id, connections, event_reasons, carried_reasons,
       first_at, first_source, first_key, first_type, first_on, scored_at
FROM metering_countedcontact
WHERE account_id = %s AND period_id = %s AND unit = %s AND contact_id = ANY(%s::bigint[])
"""


def load_known(account: AccountFacts, arrivals: Sequence[Arrival], erasure_secret: bytes | None) -> AccountState:
    """A state that knows which of these events are stored already, and which of their contacts."""
    state = AccountState(account=account, stored={})
    stored, contacts = sql.run_all(_about(account, arrivals))
    for connection_id, key, (kind, fingerprint, at, code) in stored:
        state.stored[connection_id, key] = Stored(kind, fingerprint, at, str(EventState(code).label))
    state.contacts.update(contacts)
    if erasure_secret is not None:
        _load_erased(state, {arrival.identity for arrival in arrivals}.difference(state.contacts), erasure_secret)
    return state


def load_of_contacts(account: AccountFacts, contacts: Iterable[int]) -> AccountState:
    """A state that knows contacts by their ids, for events that are stored already."""
    return AccountState(account=account, stored={}, contacts={str(contact): contact for contact in contacts})


def _load_erased(state: AccountState, unknown: set[str], secret: bytes) -> None:
    """Who of the unknown was erased, and comes again while a period that counted them is not closed."""
    pseudonyms = {pseudonym(identity, secret): identity for identity in unknown}
    for stood_in, own, contact in sql.run(_ERASED, (state.account.id, sql.joined(pseudonyms))):
        state.erased[pseudonyms[stood_in]] = contact
        state.erased_rows[pseudonyms[stood_in]] = own


def _about(account: AccountFacts, arrivals: Sequence[Arrival]) -> Iterator[tuple[str, Sequence[Any]]]:
    connections = sql.joined(str(arrival.connection.id) for arrival in arrivals)
    yield _STORED, (account.id, connections, sql.joined(arrival.key for arrival in arrivals))
    yield _CONTACTS, (account.id, sql.joined({arrival.identity for arrival in arrivals}))


def load_contacts(state: AccountState, arrivals: Sequence[Arrival]) -> None:
    """What is counted and known, in the state's periods, of the contacts that these arrivals name."""
    contacts = list({*state.contacts.values(), *state.erased.values()})
    if not contacts:
        return
    _load_counted(state, contacts)
    effects = {arrival.type.effect for arrival in arrivals}
    if effects.intersection(_MEMBER_EFFECTS):
        state.members.update(member_registers(state.account.id, _contacts_with(state, arrivals, _MEMBER_EFFECTS)))
    if effects.intersection(_SCORE_EFFECTS):
        state.scores.update(score_registers(state.account.id, _contacts_with(state, arrivals, _SCORE_EFFECTS)))


def _load_counted(state: AccountState, contacts: list[int]) -> None:
    periods = [period.id for period in state.periods if period.id is not None and not period.closed]
    state.counted.update(load_counted(state.account.id, contacts, periods))


def load_counted(
    account_id: int, contacts: list[int], periods: list[int]
) -> dict[tuple[int, ContactUnit, int], Counted]:
    """How contacts count in periods, by period, unit and contact."""
    wanted = sql.literal_array(contacts)
    found = sql.run_all(
        (_COUNTED, (account_id, period_id, unit.value, wanted)) for period_id in periods for unit in ContactUnit
    )
    rows = [counted_from_row(row) for each in found for row in each]
    return {(row.period_id, row.unit, row.contact): row for row in rows}


def counted_from_row(row: tuple[Any, ...]) -> Counted:
    """A counted contact as it is stored."""
    period_id, unit, contact, connections, by_events, carried_in, first_at, source, key, kind, day, scored_at = row
    counted = Counted(
        period_id,
        ContactUnit(unit),
        contact,
        {
            connection: [events, carried]
            for connection, events, carried in zip(connections, by_events, carried_in, strict=True)
        },
        None if first_at is None else FirstCause(first_at, source, key, kind, day.toordinal()),
        scored_at,
    )
    counted.stored = counted.standing()
    return counted


def _contacts_with(state: AccountState, arrivals: Sequence[Arrival], effects: tuple[Effect, ...]) -> list[int]:
    known = {**state.erased, **state.contacts}
    return list(
        {
            known[arrival.identity]
            for arrival in arrivals
            if arrival.type.effect in effects and arrival.identity in known
        }
    )


def member_registers(account_id: int, contacts: list[int]) -> dict[StateKey, Register]:
    """The memberships of contacts, as they are stored."""
    rows = sql.run(
        """SELECT contact_id, connection_id, changed_at, changed_by, holds, refused_since,
                  prior_changed_at, prior_changed_by, prior_holds
           FROM metering_syncmember WHERE account_id = %s AND contact_id = ANY(%s)""",
        (account_id, contacts),
    )
    return {
        (contact, connection): Register(
            Transition(at, by, holds, refused_since=refused_since),
            _prior(prior_at, prior_by, prior_holds, None),
        )
        for contact, connection, at, by, holds, refused_since, prior_at, prior_by, prior_holds in rows
    }


def score_registers(account_id: int, contacts: list[int]) -> dict[StateKey, Register]:
    """The lead scores of contacts, as they are stored."""
    rows = sql.run(
        """SELECT contact_id, connection_id, changed_at, changed_by, holds, expires_at, value,
                  prior_changed_at, prior_changed_by, prior_holds, prior_expires_at
           FROM metering_leadscore WHERE account_id = %s AND contact_id = ANY(%s)""",
        (account_id, contacts),
    )
    return {
        (row[0], row[1]): Register(
            Transition(row[2], row[3], row[4], until=row[5], value=row[6]),
            _prior(row[7], row[8], row[9], row[10]),
        )
        for row in rows
    }


def _prior(at: datetime | None, by: str, holds: bool | None, until: datetime | None) -> Transition | None:
    return None if at is None else Transition(at, by, bool(holds), until=until)
