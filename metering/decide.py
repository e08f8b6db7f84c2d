"""What becomes of each event: pure, event by event, in the order of the batch (DESIGN section 4)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from metering.catalogue import ContactUnit, Effect, Reason
from metering.counting import CARRIED_IN, Counted
from metering.facts import (
    AccountState,
    Arrival,
    Cause,
    Crossing,
    Decision,
    Filed,
    LimitMove,
    Meter,
    Pause,
    PeriodFacts,
    StateKey,
    Stored,
    Verdict,
)
from metering.limits import ACTION_OF, STATE_OF, Action, newly_crossed
from metering.transitions import Register, Transition, holds_at

AHEAD = timedelta(minutes=5)
BACK = timedelta(days=35)

RECORDED = Verdict("recorded")
IGNORED = Verdict("ignored", detail="recording of this type is switched off on the connection")
LATE = Verdict("late", detail="its billing period is closed: stored, not counted until staff bill it")
HELD = Verdict("held", detail="it would raise the count above the limit: kept, and counted when there is room")
LIMITED = Verdict("limited", detail="it would raise the count above the limit: new contacts are not served")
DROPPED = {
    "limit_reached": Verdict("dropped", detail="the account is paused at its limit: this is lost"),
    "paused_by_staff": Verdict("dropped", detail="the account is paused: this is lost"),
    "trial_ended": Verdict("dropped", detail="the trial has ended: this is lost"),
}
CONFLICT = Verdict(
    "conflict",
    "conflict",
    "id",
    "an event with this source and id is stored with another type, subject or time",
)

# What never raises a count is never held, dropped or limited.
_NEVER_RAISE = (Effect.LEAVES, Effect.CLEARS_SCORE, Effect.IS_RENAMED)


def judge(state: AccountState, arrival: Arrival, now: datetime) -> Verdict | None:
    """The outcomes that do not depend on a period: duplicate, conflict, rejected by circumstance, ignored.

    None: it is to be stored.
    """
    stored = state.stored.get((arrival.connection.id, arrival.key))
    if stored is not None and not _is_decided_afresh(stored, arrival):
        return _repeated(stored, arrival)
    rejected = _rejected_by_circumstance(state, arrival, now)
    if rejected is not None:
        return rejected
    switch = arrival.type.recorded_if
    if switch is not None and not getattr(arrival.connection, switch):
        return IGNORED
    return None


def _is_decided_afresh(stored: Stored, arrival: Arrival) -> bool:
    """A limited event that is sent again: there may be room by now."""
    return stored.state == "limited" and stored.is_repeated_by(arrival)


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
    """Decide every arrival in turn. Moves `state` on; the answer is what to say and what to write.

    It ends with the first arrival that crosses a threshold which was not crossed before, so that what is told of it is
    how things stood then; while history is replayed also with one that calls for an upgrade. The rest comes after.
    """
    decision = Decision()
    period: PeriodFacts | None = None
    for arrival, judgement in zip(arrivals, judged, strict=True):
        verdict = judgement
        stored = state.stored.get((arrival.connection.id, arrival.key))
        if stored is not None and not _is_decided_afresh(stored, arrival):
            verdict = _repeated(stored, arrival)  # perhaps of an earlier one of the batch: before what was judged
        elif verdict is None:
            if period is None or not period.starts_at <= arrival.time < period.ends_at:
                period = _period_of(state, arrival)
            clock = clock.after(arrival.time)
            if period.closed:
                verdict = LATE
            elif state.account.pause is None and _has_room(period.meter):
                verdict = RECORDED  # as nearly always
            else:
                verdict = _admit(state, decision, arrival, period, clock.reading)
            if verdict is RECORDED or verdict.outcome != "dropped":  # which burns no id
                if stored is None:
                    _file(state, decision, decision.events, arrival, period, verdict, clock.reading)
                elif verdict is not LIMITED:
                    _file(state, decision, decision.again, arrival, period, verdict, clock.reading)
        decision.verdicts.append(verdict)
        if decision.crossings or (decision.causes and clock.moves_until is not None):
            break
    return decision


def replay(state: AccountState, held: Sequence[Arrival], now: datetime) -> Decision:
    """Decide held events in their order, in the period that contains `now`; ends with the first that does not fit.

    So the answer has a verdict for each that is recorded now, and none for the rest.
    """
    decision = Decision(replayed_at=now)
    state.replays = True
    period = state.period_at(now)
    if period is None or period.closed or state.account.pause or period.pause:
        return decision
    for arrival in held:
        meter = period.meter
        if meter is not None and meter.used >= meter.limit and _raises(state, arrival, period, meter):
            if meter.action in ("upgrade", "hold"):
                _exceed(decision, period, meter, meter.used + 1, now)
            if meter.action != "upgrade":
                break
        _file(state, decision, decision.again, arrival, period, RECORDED, now)
        decision.verdicts.append(RECORDED)
    return decision


def _period_of(state: AccountState, arrival: Arrival) -> PeriodFacts:
    period = state.period_at(arrival.time)
    if period is None:
        raise LookupError(f"no period for {arrival.time}: its opening was forgotten")
    return period


def _has_room(meter: Meter | None) -> bool:
    return meter is None or (meter.used < meter.limit and not meter.state)


def _admit(state: AccountState, decision: Decision, arrival: Arrival, period: PeriodFacts, now: datetime) -> Verdict:
    """Whether a period that is not closed takes an arrival: dropped, limited, held or recorded."""
    if arrival.type.effect in _NEVER_RAISE:
        return RECORDED
    pause = state.account.pause or period.pause
    if pause is not None:
        return _drop(decision, arrival, pause)
    meter = period.meter
    if meter is None or meter.used < meter.limit or not _raises(state, arrival, period, meter):
        return RECORDED
    _exceed(decision, period, meter, meter.used + 1, now)
    match _action(period, meter):
        case "upgrade":
            return RECORDED
        case "hold":
            if period.grace_until is not None:
                decision.held_in_grace = now
            return HELD
        case "limit_new":
            return LIMITED
        case "pause":
            return _drop(decision, arrival, period.pause or Pause("limit_reached", now))


def _drop(decision: Decision, arrival: Arrival, pause: Pause) -> Verdict:
    decision.dropped[pause, arrival.connection.id, arrival.stored_type].append(arrival.key)
    return DROPPED[pause.reason]


def _raises(state: AccountState, arrival: Arrival, period: PeriodFacts, meter: Meter) -> bool:
    """Whether an arrival would raise the count that the plan charges by."""
    if meter.unit is None:
        return arrival.type.billable
    if arrival.type.unit is not meter.unit or period.id is None:
        return False
    contact = state.contacts.get(arrival.identity, state.erased.get(arrival.identity))
    row = None if contact is None else state.counted.get((period.id, meter.unit, contact))
    return row is None or not row.reasons


def _exceed(decision: Decision, period: PeriodFacts, meter: Meter, used: int, now: datetime) -> None:
    """A count above the limit is asked for, or was carried in: the period enters a state, or an upgrade is caused."""
    if period.id is None:
        return
    ended = period.grace_until is not None
    action = _action(period, meter)
    if action == "upgrade":
        if not ended and not meter.caused and meter.state != "over_top_tier":
            decision.causes.append(Cause(period.id, meter.limit, used, now))
            meter.caused = True
        return
    _enter(decision, period, meter, STATE_OF[action], now)


def _action(period: PeriodFacts, meter: Meter) -> Action:
    """What is done at the limit: of a period that has ended what its own state says, whatever was changed since."""
    if period.grace_until is not None:
        return ACTION_OF.get(meter.state, meter.action)
    return meter.action


def _enter(decision: Decision, period: PeriodFacts, meter: Meter, limit_state: str, now: datetime) -> None:
    if period.id is None or meter.state == limit_state:
        return
    ended = period.grace_until is not None
    decision.moves.append(
        LimitMove(period.id, limit_state, meter.limit, meter.used, now, ended, meter.state, meter.since)
    )
    meter.state, meter.since = limit_state, now if limit_state else None


def _file(
    state: AccountState,
    decision: Decision,
    rows: list[Filed],
    arrival: Arrival,
    period: PeriodFacts,
    verdict: Verdict,
    now: datetime,
) -> None:
    """Store an arrival, and if it is recorded count it. `rows`: the decision's new rows, or those stored already."""
    contact = state.contacts.get(arrival.identity)
    if contact is None:
        contact = _new_contact(state, decision, arrival)
    state.stored[arrival.connection.id, arrival.key] = Stored(
        arrival.stored_type, arrival.fingerprint, arrival.time, verdict.outcome
    )
    period_id = period.id if verdict is RECORDED else None
    rows.append(Filed(arrival, contact, period_id, verdict.outcome, now))
    if period_id is not None:
        day = state.account.day_of(arrival.time)
        counts_on = state.account.day_of(now) if state.replays else day
        _count(state, decision, arrival, contact, period, period_id, counts_on, now)
        decision.events_by_day[arrival.connection.id, day, arrival.stored_type] += 1
    if arrival.type.effect is not Effect.NONE and (verdict is RECORDED or verdict is LATE):
        _take_effect(state, decision, arrival, contact, now)


def _new_contact(state: AccountState, decision: Decision, arrival: Arrival) -> int:
    """The contact of an identity that nobody is known by: one that was erased and comes again, or a new one, which
    gets a negative id."""
    contact = state.erased.get(arrival.identity)
    if contact is None:
        contact = -1 - len(decision.new_contacts)
        decision.new_contacts[arrival.identity] = (contact, arrival.subject)
    else:
        decision.revived[state.erased_rows[arrival.identity]] = (arrival.identity, arrival.subject)
    state.contacts[arrival.identity] = contact
    return contact


def _count(
    state: AccountState,
    decision: Decision,
    arrival: Arrival,
    contact: int,
    period: PeriodFacts,
    period_id: int,
    day: int,
    now: datetime,
) -> None:
    kind, connection = arrival.type, arrival.connection
    if kind.billable:
        decision.billable[period_id, connection.id, arrival.stored_type, day] += 1
        _move(decision, period, None, 1, now)
    if kind.unit is not None and kind.reason is not None:
        row = _counted(state, period_id, kind.unit, contact)
        if not row.reasons:
            _move(decision, period, kind.unit, 1, now)
        if row.give(connection.id, kind.reason, arrival.time, connection.key, arrival.key, arrival.stored_type, day):
            decision.counted[id(row)] = row


def _move(decision: Decision, period: PeriodFacts, unit: ContactUnit | None, by: int, now: datetime) -> None:
    """Move the count that the plan charges by; note the thresholds that it crosses, and leave the state of a limit
    that it falls below."""
    meter = period.meter
    if meter is None or meter.unit is not unit or period.id is None:
        return
    if period.grace_until is None:
        for percent in newly_crossed(meter.used, meter.used + by, meter.limit):
            if percent not in meter.crossed:
                decision.crossings.append(Crossing(period.id, meter.limit, percent, meter.used + by, now))
                meter.crossed.add(percent)
    meter.used += by
    if by < 0 and meter.used < meter.limit:
        _enter(decision, period, meter, "", now)


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
    if newest is None or newest.id is None or not newest.provisional or transition.at >= newest.starts_at:
        return
    if not state.replays:
        row = _counted(state, newest.id, ContactUnit.ACTIVE, contact)
        counted_before = bool(row.reasons)
        _correct_carry_in(row, register, newest.starts_at, arrival, is_membership=registers is state.members)
        if registers is state.scores:
            date_scores(row, state.scores, contact, newest.starts_at)
        _move(decision, newest, ContactUnit.ACTIVE, bool(row.reasons) - counted_before, now)
        decision.counted[id(row)] = row
        meter = newest.meter
        if meter is not None and meter.unit is ContactUnit.ACTIVE and meter.used > meter.limit and not counted_before:
            _exceed(decision, newest, meter, meter.used, now)  # what is carried in counts in full


def date_scores(row: Counted, scores: Mapping[StateKey, Register], contact: int, start: datetime) -> None:
    """Say of a counted contact when the youngest of its carried-in scores was set; as before if that is not known."""
    carried = [link for link, given in row.reasons.items() if given[CARRIED_IN] & Reason.LEAD_SCORE]
    found = [scores.get((contact, link), Register()).before(start) for link in carried]
    settings = [transition for transition in found if transition is not None and transition.holds]
    if len(settings) < len(carried):
        return
    lasts = any(transition.until is not None for transition in settings)
    row.scored_at = None if lasts else max((transition.at for transition in settings), default=None)


def _correct_carry_in(
    row: Counted, register: Register, start: datetime, arrival: Arrival, *, is_membership: bool
) -> None:
    connection = arrival.connection
    reason = Reason.CONTACT_SYNC if is_membership else Reason.LEAD_SCORE
    expiry = None if is_membership else connection.score_expiry_days
    holds = connection.enabled_at(start) and holds_at(register.before(start), start, expiry)
    row.carry(connection.id, reason, holds=holds)
