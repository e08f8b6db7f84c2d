"""Replay what is held, oldest first, exactly once, into the current period, until it is full (DESIGN section 5).

Held is a state of the event's row, so a replay moves it in the transaction that counts it: killed at any moment it
goes on where it stood.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from accounts.models import Account, Connection
from metering import decide, sql
from metering.catalogue import BY_CODE
from metering.facts import Arrival
from metering.models import EventState
from metering.periods import open_current, period_at, recent_periods
from metering.reactions import react, tell_if_running
from metering.record import record
from metering.resolve import meaning_of
from metering.state import account_facts, connection_facts, load_contacts, load_of_contacts
from plans.subscriptions import in_force, subscriptions_of

AT_ONCE: Final = 5_000
"""Events in one transaction: others wait for the account's lock for two seconds at most."""


class Replayed(NamedTuple):
    """What one step did: how many events were recorded, and whether trying again at once would record more."""

    events: int
    goes_on: bool


# Ties between connections are broken by the row, so that every replay has the same order.
_OLDEST_HELD = """
SELECT event.connection_id, event.key, event.type, coalesce(contact.alias_of_id, contact.id), event.occurred_at,
       event.fingerprint, event.data
FROM metering_event AS event
JOIN metering_contact AS contact ON contact.account_id = event.account_id AND contact.id = event.contact_id
WHERE event.account_id = %s AND event.state = %s
ORDER BY event.occurred_at, event.key COLLATE "C", event.id LIMIT %s
"""


def replay_some(account: Account, now: datetime, at_most: int = AT_ONCE) -> Replayed:
    """Record the oldest held events for which there is room. The caller holds the lock.

    Nothing is replayed while the account or its period is paused.
    """
    held = sql.run(_OLDEST_HELD, (account.pk, EventState.HELD.value, at_most))
    if not held:
        return Replayed(0, goes_on=False)
    subscriptions = subscriptions_of(account.pk)
    if open_current(account, subscriptions, now) is None:
        return Replayed(0, goes_on=False)
    arrivals = _arrivals(account, held)
    state = load_of_contacts(account_facts(account, in_force(subscriptions, now), now), {row[3] for row in held})
    state.periods = recent_periods(account, subscriptions, now, len(arrivals))
    load_contacts(state, arrivals)
    decision = decide.replay(state, arrivals, now)
    record(account.pk, decision, live=False, meanwhile=lambda: None)
    react(account, decision)
    recorded = len(decision.verdicts)
    return Replayed(recorded, goes_on=recorded == at_most)


def replay_all(account: Account, now: datetime) -> int:
    """The same until nothing is left or nothing fits, in one transaction; how many events were recorded."""
    total, step = 0, Replayed(0, goes_on=True)
    while step.goes_on:
        step = replay_some(account, now)
        total += step.events
    tell_when_replayed(account, now)
    return total


def tell_when_replayed(account: Account, now: datetime) -> None:
    """A replay has ended: if the account runs again now, that is told. The caller holds the lock."""
    period = period_at(account.pk, now)
    if period is not None:
        tell_if_running(account, period, now, "replayed")


def _arrivals(account: Account, held: Sequence[tuple[Any, ...]]) -> list[Arrival]:
    links = {row.pk: connection_facts(row) for row in Connection.objects.filter(account=account)}
    arrivals = []
    for place, (connection_id, key, code, contact, at, fingerprint, data) in enumerate(held):
        kind, score = meaning_of(BY_CODE[code], data, at)
        arrivals.append(
            Arrival(
                index=place,
                key=key,
                connection=links[connection_id],
                type=kind,
                stored_type=code,
                identity=str(contact),
                subject="",
                time=at,
                fingerprint=fingerprint,
                data=data,
                score=score,
                renamed_from=None,
                origin="",
            )
        )
    return arrivals
