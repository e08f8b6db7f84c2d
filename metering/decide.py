"""What becomes of each event: pure, event by event, in the order of the batch (DESIGN section 4)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from metering.catalogue import ContactUnit, Effect, Reason
from metering.counting import Counted
from metering.facts import (
    AccountState,
    Arrival,
    Crossing,
    Decision,
    PeriodFacts,
    StateKey,
    Stored,
    Verdict,
)
from metering.limits import newly_crossed
from metering.transitions import Register, Transition, holds_at

AHEAD = timedelta(minutes=5)
BACK = timedelta(days=35)

RECORDED = Verdict("recorded")
IGNORED = Verdict("ignored", detail="recording of this type is switched off on the connection")
LATE = Verdict("late", detail="its billing period is closed: stored, not counted until staff bill it")
CONFLICT = Verdict(
    "conflict",
    "conflict",
    "id",
    "an event with this source and id is stored with another type, subject or time",
)


def judge(state: AccountState, arrival: Arrival, now: datetime) -> Verdict | None:
    """The outcomes that do not depend on a period: duplicate, conflict, rejected by circumstance, ignored.

    None: it is to be stored.
    """
    stored = state.stored.get((arrival.connection.id, arrival.key))
    if stored is not None:
        return _repeated(stored, arrival)
    rejected = _rejected_by_circumstance(state, arrival, now)
    if rejected is not None:
        return rejected
    switch = arrival.type.recorded_if
    if switch is not None and not getattr(arrival.connection, switch):
        return IGNORED
    return None


def _repeated(stored: Stored, arrival: Arrival) -> Verdict:
    if stored.is_repeated_by(arrival):
        return Verdict("duplicate", first=stored.state)
    return CONFLICT


def _rejected_by_circumstance(state: AccountState, arrival: Arrival, now: datetime) -> Verdict | None:
    at, account, connection = arrival.time, state.account, arrival.connection
    if at - now > AHEAD:
        return Verdict("rejected", "too_far_ahead", "time", "more than 5 minutes ahead of the account's clock")
    if now - at > BACK:
        return Verdict("rejected", "too_old", "time", "more than 35 days old")
    if at < account.signed_up_at:
        return Verdict("rejected", "before_sign_up", "time", "before the account signed up")
    if (connection.switched_at or not connection.enabled) and not connection.enabled_at(at):
        return Verdict("rejected", "connection_disabled", "source", "the connection was disabled at that time")
    if account.closed_at is not None and at >= account.closed_at:
        return Verdict("rejected", "account_closed", "account", "the account was closed at that time")
    return None


class Clock(NamedTuple):
    """The time that arrivals are judged by. With `moves_until` it is an account's own clock while history is
    replayed: it never stands behind the events so far, and never passes the wall clock."""

    reading: datetime
    moves_until: datetime | None = None

    def after(self, at: datetime) -> "Clock":
        """The clock once an event of this time has come."""
        if self.moves_until is None or at <= self.reading or at - self.moves_until > AHEAD:
            return self
        return self._replace(reading=min(at, self.moves_until))

    def after_all(self, arrivals: Iterable[Arrival]) -> "Clock":
        clock = self
        if self.moves_until is not None:
            for arrival in arrivals:
                clock = clock.after(arrival.time)
        return clock


def judge_all(state: AccountState, arrivals: Sequence[Arrival], clock: Clock) -> list[Verdict | None]:
    """Judge every arrival by what was stored before the batch; None: it is to be stored, unless an earlier one of
    the batch has the same id. The periods of those must be in `state.periods` before `decide`."""
    if clock.moves_until is None:
        return [judge(state, arrival, clock.reading) for arrival in arrivals]
    verdicts = []
    for arrival in arrivals:
        clock = clock.after(arrival.time)
        verdicts.append(judge(state, arrival, clock.reading))
    return verdicts


def decide(
    state: AccountState, arrivals: Sequence[Arrival], judged: Sequence[Verdict | None], clock: Clock
) -> Decision:
    """Decide every arrival in turn. Moves `state` on; the answer is what to say and what to write."""
    decision = Decision()
    period: PeriodFacts | None = None
    for arrival, judgement in zip(arrivals, judged, strict=True):
        verdict = judgement
        stored = state.stored.get((arrival.connection.id, arrival.key))
        if stored is not None:  # perhaps by an earlier one of the batch: that comes before what was judged
            verdict = _repeated(stored, arrival)
        elif verdict is None:
            if period is None or not period.starts_at <= arrival.time < period.ends_at:
                period = _period_of(state, arrival)
            clock = clock.after(arrival.time)
            verdict = _store(state, decision, arrival, period, clock.reading)
        decision.verdicts.append(verdict)
    return decision


def _period_of(state: AccountState, arrival: Arrival) -> PeriodFacts:
    period = state.period_at(arrival.time)
    if period is None:
        raise LookupError(f"no period for {arrival.time}: its opening was forgotten")
    return period


def _store(state: AccountState, decision: Decision, arrival: Arrival, period: PeriodFacts, now: datetime) -> Verdict:
    verdict = LATE if period.closed else RECORDED
    contact = state.contacts.get(arrival.identity)
    if contact is None:
        contact = -1 - len(decision.new_contacts)
        state.contacts[arrival.identity] = contact
        decision.new_contacts[arrival.identity] = (contact, arrival.subject)
    state.stored[arrival.connection.id, arrival.key] = Stored(
        arrival.stored_type, arrival.fingerprint, arrival.time, verdict.outcome
    )
    period_id = None if period.closed else period.id
    decision.events.append((arrival, contact, period_id))
    if period_id is not None:
        _count(state, decision, arrival, contact, period, period_id, now)
        decision.events_by_day[arrival.connection.id, state.account.day_of(arrival.time), arrival.stored_type] += 1
    if arrival.type.effect is not Effect.NONE:
        _take_effect(state, decision, arrival, contact, now)
    return verdict


def _count(
    state: AccountState,
    decision: Decision,
    arrival: Arrival,
    contact: int,
    period: PeriodFacts,
    period_id: int,
    now: datetime,
) -> None:
    kind, connection = arrival.type, arrival.connection
    if kind.billable:
        decision.events_by_kind[period_id, connection.id, arrival.stored_type] += 1
        _move(decision, period, None, 1, now)
    if kind.unit is not None and kind.reason is not None:
        row = _counted(state, period_id, kind.unit, contact)
        if not row.reasons:
            _move(decision, period, kind.unit, 1, now)
        if row.give(connection.id, kind.reason, arrival.time, connection.key, arrival.key, arrival.stored_type):
            decision.counted[id(row)] = row


def _move(decision: Decision, period: PeriodFacts, unit: ContactUnit | None, by: int, now: datetime) -> None:
    """Move the count that the plan charges by, and note the thresholds that it crosses."""
    meter = period.meter
    if meter is None or meter.unit is not unit or period.id is None:
        return
    for percent in newly_crossed(meter.used, meter.used + by, meter.limit):
        decision.crossings.append(Crossing(period.id, meter.limit, percent, meter.used + by, now))
    meter.used += by


def _counted(state: AccountState, period_id: int, unit: ContactUnit, contact: int) -> Counted:
    key = (period_id, unit, contact)
    row = state.counted.get(key)
    if row is None:
        row = state.counted[key] = Counted(period_id, unit, contact)
    return row


def _take_effect(state: AccountState, decision: Decision, arrival: Arrival, contact: int, now: datetime) -> None:
    """What the event does to what is known of the contact; late ones do it too."""
    effect, at = arrival.type.effect, arrival.time
    if effect is Effect.ENGAGES:
        known = decision.engaged.get(contact)
        if known is None or at > known:
            decision.engaged[contact] = at
    elif effect in (Effect.JOINS, Effect.IS_REFUSED, Effect.LEAVES):
        if arrival.connection.keeps_members:
            refused_since = at if effect is Effect.IS_REFUSED else None
            moved = Transition(at, arrival.key, effect is not Effect.LEAVES, refused_since=refused_since)
            _advance(state, decision, state.members, decision.members, arrival, contact, moved, now)
    elif effect is Effect.SETS_SCORE and arrival.score is not None:
        value, until = arrival.score
        moved = Transition(at, arrival.key, holds=True, until=until, value=value)
        _advance(state, decision, state.scores, decision.scores, arrival, contact, moved, now)
    elif effect is Effect.CLEARS_SCORE:
        moved = Transition(at, arrival.key, holds=False)
        _advance(state, decision, state.scores, decision.scores, arrival, contact, moved, now)
    elif effect is Effect.GIVES_ORIGIN and arrival.origin:
        origin = (at, arrival.origin)
        decision.origins[contact] = min(decision.origins.get(contact, origin), origin)


def _advance(
    state: AccountState,
    decision: Decision,
    registers: dict[StateKey, Register],
    changed: dict[StateKey, Register],
    arrival: Arrival,
    contact: int,
    transition: Transition,
    now: datetime,
) -> None:
    """Move a state by event time; an event from before a provisional period corrects what was carried into it."""
    key = (contact, arrival.connection.id)
    register = registers.setdefault(key, Register())
    newest = state.newest
    boundary = newest.starts_at if newest else None
    if not register.advance(transition, boundary):
        return
    changed[key] = register
    if newest is not None and newest.id is not None and newest.provisional and transition.at < newest.starts_at:
        row = _counted(state, newest.id, ContactUnit.ACTIVE, contact)
        counted_before = bool(row.reasons)
        _correct_carry_in(row, register, newest.starts_at, arrival, is_membership=registers is state.members)
        _move(decision, newest, ContactUnit.ACTIVE, bool(row.reasons) - counted_before, now)
        decision.counted[id(row)] = row


def _correct_carry_in(
    row: Counted, register: Register, start: datetime, arrival: Arrival, *, is_membership: bool
) -> None:
    connection = arrival.connection
    reason = Reason.CONTACT_SYNC if is_membership else Reason.LEAD_SCORE
    expiry = None if is_membership else connection.score_expiry_days
    holds = connection.enabled_at(start) and holds_at(register.before(start), start, expiry)
    row.carry(connection.id, reason, holds=holds)
