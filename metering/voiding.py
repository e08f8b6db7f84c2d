"""Take back an event that should never have come (DESIGN section 4, Void): its count goes, and what only it gave.

Open and ended periods only. What it has already caused, as a mail or an upgrade, is not undone.
"""

from datetime import date, datetime
from typing import Any, NamedTuple

from accounts.audit import write_audit
from accounts.models import Account
from accounts.refusals import Refused, missing
from metering import sql
from metering.catalogue import BY_CODE, SCORE_SET, ContactUnit, EventType, Reason, types_counting_for
from metering.counting import CARRIED_IN, Counted
from metering.decide import date_scores
from metering.facts import AccountFacts, Decision, PeriodFacts, StateKey
from metering.limit_changes import reconsider
from metering.models import (
    EVENT_UNIT,
    BillingPeriod,
    Contact,
    Event,
    EventState,
    EventVoid,
    LimitState,
    PeriodState,
)
from metering.periods import period_at, recent_periods
from metering.reactions import set_state
from metering.record import record_changes
from metering.state import account_facts, load_counted, member_registers, score_registers
from metering.steering import Steered, steered
from metering.transitions import Register, Transition


class Voided(NamedTuple):
    """An event that was taken back, and when."""

    source: str
    id: str
    voided_at: datetime


def void(account: Account, source: str, key: str, *, reason: str, actor: str, now: datetime) -> Voided:
    """Take back the event with this source and id; one that is taken back already stays as it is.

    Raises `Refused` (`not_found`, `not_counted`: it is late, limited or given up; `period_closed`), `AccountBusy`.
    """
    with steered(account, now) as it:
        event = Event.objects.filter(account_id=account.pk, connection__key=source, key=key).first()
        if event is None:
            raise missing()
        done = EventVoid.objects.filter(account_id=account.pk, event_id=event.pk).first()
        if done is not None:
            return Voided(source, key, done.at)
        before = EventState(event.state)
        period = _period_of(event)
        if period is not None:
            _take_back(it, event, period)
        Event.objects.filter(account_id=account.pk, pk=event.pk).update(state=EventState.VOIDED)
        EventVoid.objects.create(account=it.account, event_id=event.pk, at=it.clock, actor=actor, reason=reason)
        after = {"state": EventState.VOIDED.label, "source": source, "id": key}
        write_audit(
            it.account,
            "event.voided",
            actor=actor,
            at=now,
            before={"state": before.label},
            after=after,
            reason=reason,
        )
        if period is not None:
            _leave_limits(it, period)
        return Voided(source, key, it.clock)


def _period_of(event: Event) -> BillingPeriod | None:
    """The period that an event counts in, None for one that is held. Raises `Refused`."""
    if event.state == EventState.HELD:
        return None
    if event.state != EventState.RECORDED or event.period_id is None:
        raise Refused("not_counted", f"The event is {EventState(event.state).label}: it counts nowhere.")
    period = BillingPeriod.objects.get(account_id=event.account_id, pk=event.period_id)
    if period.state == PeriodState.CLOSED:
        raise Refused("period_closed", "The billing period that the event counts in is closed.")
    return period


def _take_back(it: Steered, event: Event, period: BillingPeriod) -> None:
    """Take a recorded event out of every count, reason and state."""
    decision, kind = Decision(), BY_CODE[event.type]
    facts = account_facts(it.account, it.subscription, it.clock)
    if kind.billable:
        decision.billable[period.pk, event.connection_id, event.type, _counted_on(event, facts)] = -1
    _take_from_day(event, facts)
    counted = load_counted(it.account.pk, [event.contact_id], [period.pk])
    unit = _unit_of(event, kind)
    if unit is not None:
        row = counted[period.pk, unit, event.contact_id]
        _rebuild(row, event, facts)
        decision.counted[id(row)] = row
    _end_state(it, decision, event)
    record_changes(it.account.pk, decision)


def _unit_of(event: Event, kind: EventType) -> ContactUnit | None:
    """The unit in which an event makes its contact count: none, if it is a score of 0, which clears."""
    clears = kind is SCORE_SET and event.data is not None and event.data.get("value") == 0
    return None if clears else kind.unit


def _take_from_day(event: Event, facts: AccountFacts) -> None:
    """Out of the day that it was tallied on: by the account's zone of then, so if that has changed, the one beside."""
    sql.run(
        """UPDATE metering_connectionday AS tally SET events = tally.events - 1
           WHERE tally.account_id = %s AND tally.id = (
             SELECT id FROM metering_connectionday
             WHERE account_id = %s AND connection_id = %s AND type = %s AND events > 0
             ORDER BY abs(day - (%s::date)), day LIMIT 1)""",
        (
            event.account_id,
            event.account_id,
            event.connection_id,
            event.type,
            date.fromordinal(facts.day_of(event.occurred_at)),
        ),
    )


def _counted_on(event: Event, facts: AccountFacts) -> int:
    """The day, an ordinal, that a billable event was counted on in its period; as above if the zone has changed."""
    day = facts.day_of(event.counted_at or event.occurred_at)
    [[nearest]] = sql.run(
        """SELECT day FROM metering_countedday
           WHERE account_id = %s AND period_id = %s AND unit = %s AND counted > 0
           ORDER BY abs(day - (%s::date)), day LIMIT 1""",
        (event.account_id, event.period_id, EVENT_UNIT, date.fromordinal(day)),
    )
    found: date = nearest
    return found.toordinal()


# The first of each connection and type gives all reasons, and the first of all is the first cause.
_OTHERS = """
SELECT DISTINCT ON (event.connection_id, event.type)
       event.connection_id, event.type, event.occurred_at, event.counted_at, link.key, event.key
FROM metering_event AS event JOIN accounts_connection AS link ON link.id = event.connection_id
WHERE event.account_id = %s AND event.contact_id = %s AND event.contact_id > 0 AND event.period_id = %s
  AND event.state = %s AND event.type = ANY(%s::smallint[]) AND event.id <> %s
  AND NOT (event.type = %s AND event.data IS NOT NULL AND event.data -> 'value' = '0'::jsonb)
ORDER BY event.connection_id, event.type, event.occurred_at, event.key COLLATE "C"
"""


def _rebuild(row: Counted, event: Event, facts: AccountFacts) -> None:
    """The reasons and first cause of a contact, from its other events in the period and what was carried in."""
    types = [kind.code for kind in types_counting_for(row.unit)]
    others = sql.run(
        _OTHERS,
        (
            event.account_id,
            event.contact_id,
            row.period_id,
            EventState.RECORDED.value,
            types,
            event.pk,
            SCORE_SET.code,
        ),
    )
    row.reasons = {link: [0, given[CARRIED_IN]] for link, given in row.reasons.items() if given[CARRIED_IN]}
    row.first = None
    for link, code, at, counted_at, source, key in others:
        reason = BY_CODE[code].reason
        assert reason is not None  # noqa: S101 - a type that counts has one
        row.give(link, reason, at, source, key, code, facts.day_of(counted_at or at))


def _end_state(it: Steered, decision: Decision, event: Event) -> None:
    """End the membership or score whose transition the event is, and withdraw what it carried in."""
    contact = Contact.objects.filter(account_id=event.account_id, pk=event.contact_id).get()
    key = (contact.alias_of_id or contact.pk, event.connection_id)
    for registers, changed, reason in (
        (member_registers, decision.members, Reason.CONTACT_SYNC),
        (score_registers, decision.scores, Reason.LEAD_SCORE),
    ):
        register = registers(event.account_id, [key[0]]).get(key)
        if register is None:
            continue
        newest = _corrected_by(it, event)
        carried = newest is not None and _is_of(register.before(newest.starts_at), event)
        if _end(register, event):
            changed[key] = register
        if newest is not None and newest.id is not None and carried:
            _withdraw(decision, event, newest.id, newest.starts_at, key, reason)


def _is_of(transition: Transition | None, event: Event) -> bool:
    return transition is not None and (transition.at, transition.by) == (event.occurred_at, event.key)


def _end(register: Register, event: Event) -> bool:
    ended = Transition(event.occurred_at, event.key, holds=False)
    if _is_of(register.last, event):
        register.last = ended
    elif _is_of(register.prior, event):
        register.prior = ended
    else:
        return False
    return True


def _corrected_by(it: Steered, event: Event) -> PeriodFacts | None:
    """The newest period, if its carry-in is provisional and may rest on the event: one that was replayed into it came
    after its opening."""
    periods = recent_periods(it.account, it.subscriptions, it.clock, 0)
    newest = periods[-1] if periods else None
    if newest is None or not newest.provisional or newest.id == event.period_id:
        return None
    return newest


def _withdraw(decision: Decision, event: Event, period_id: int, start: datetime, key: StateKey, reason: Reason) -> None:
    """Take a carried-in reason from whoever has it: the contact, or the one it was renamed from, if both counted."""
    contact, link = key
    counted = load_counted(event.account_id, [contact, event.contact_id], [period_id])
    for person in (event.contact_id, contact):
        row = counted.get((period_id, ContactUnit.ACTIVE, person))
        if row is not None and row.reasons.get(link, [0, 0])[CARRIED_IN] & reason:
            row.carry(link, reason, holds=False)
            if reason is Reason.LEAD_SCORE:
                date_scores(row, score_registers(event.account_id, [contact]), contact, start)
            decision.counted[id(row)] = row
            return


def _leave_limits(it: Steered, period: BillingPeriod) -> None:
    """A count that falls below its limit ends what its period does there; what is held is tried."""
    period.refresh_from_db()
    if not period.starts_at <= it.clock < period.ends_at and _is_below(period):
        set_state(period, LimitState.NONE, it.clock)
    now_open = period_at(it.account.pk, it.clock)
    if now_open is not None and _is_below(now_open):
        reconsider(it.account, it.clock, "void")


def _is_below(period: BillingPeriod) -> bool:
    used: Any = getattr(period, period.subscription.tier.plan.unit)
    return bool(period.limit_state) and period.limit is not None and used < period.limit
