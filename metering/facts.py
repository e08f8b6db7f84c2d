"""The plain values that pass between the stages of metering: what is known, what arrives, what was decided."""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from metering.catalogue import ContactUnit, EventType
from metering.counting import Counted
from metering.limits import Action
from metering.transitions import Register
from plans.calendar import local_day

Outcome = Literal["recorded", "duplicate", "conflict", "rejected", "ignored", "late", "dropped", "limited", "held"]


class Pause(NamedTuple):
    """Everything that arrives is dropped: why, since when, and (of a period that has ended) until when.

    `reason` is `paused_by_staff`, `trial_ended` or `limit_reached`.
    """

    reason: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What intake knows of a connection. `switched_at`: when it was switched off and on, oldest first."""

    id: int
    key: str
    keeps_members: bool
    enabled: bool
    switched_at: tuple[datetime, ...]
    record_email_sent: bool
    score_expiry_days: int | None

    def enabled_at(self, at: datetime) -> bool:
        """Whether it was enabled at an instant: walks back from what it is now."""
        switches_since = len(self.switched_at) - bisect_right(self.switched_at, at)
        return self.enabled if switches_since % 2 == 0 else not self.enabled


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What intake knows of an account. `pause`: its own, by staff or as its trial has ended."""

    id: int
    signed_up_at: datetime
    closed_at: datetime | None
    timezone: str
    pause: Pause | None = None

    def day_of(self, at: datetime) -> int:
        """The local day, as an ordinal, of an instant that is given in UTC."""
        return at.toordinal() if self.timezone == "UTC" else local_day(at, self.timezone).toordinal()


@dataclass(slots=True)
class Meter:
    """What a period has used of its limit; `unit` is None for the event unit.

    `action` is taken with what would exceed the limit. `state` is what the period does at its limit, since `since`.
    `caused`: this batch has noted already that an upgrade is called for. `crossed`: the thresholds of this limit that
    were crossed before.
    """

    unit: ContactUnit | None
    used: int
    limit: int
    action: Action
    state: str = ""
    since: datetime | None = None
    caused: bool = False
    crossed: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class PeriodFacts:
    """A billing period `[starts_at, ends_at)`. Closed ones take no events; `id` is None if it was never opened.

    `provisional`: the carry-in at its start may still be corrected, as the period before it is not closed. `meter`
    moves with what is decided; None if it is unlimited. `grace_until`: of a period that has ended, when its grace is
    over; it decides by its own state, but crosses no threshold and causes no upgrade.
    """

    id: int | None
    starts_at: datetime
    ends_at: datetime
    closed: bool
    provisional: bool
    meter: Meter | None = None
    grace_until: datetime | None = None

    @property
    def pause(self) -> Pause | None:
        """Its pause at the limit; what is dropped after its end belongs to the time when it was paused."""
        meter = self.meter
        if meter is None or meter.state != "paused" or meter.since is None:
            return None
        until = self.grace_until
        if until is not None and meter.since < self.ends_at:
            until = self.ends_at
        return Pause("limit_reached", meter.since, until)


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A well-formed event of a known connection and type, about to be decided.

    `type` is what it means (a score set to 0 means that it is cleared), `stored_type` what it was called. `score` is
    (value, expiry) of a score that is set; `renamed_from` the normalised old address of a rename.
    """

    index: int
    key: str
    connection: ConnectionFacts
    type: EventType
    stored_type: int
    identity: str
    subject: str
    time: datetime
    fingerprint: int
    data: dict[str, Any] | None
    score: tuple[float, datetime | None] | None
    renamed_from: str | None
    origin: str


class Stored(msgspec.Struct, frozen=True, gc=False):
    """An event that is stored already, as far as telling a duplicate from a conflict needs it."""

    type: int
    fingerprint: int
    at: datetime
    state: str

    def is_repeated_by(self, arrival: Arrival) -> bool:
        """Whether an arrival with its id is the same event: same type, identity and instant."""
        return (self.type, self.fingerprint, self.at) == (arrival.stored_type, arrival.fingerprint, arrival.time)


class Verdict(NamedTuple):
    """What became of an arrival, with the words for its sender."""

    outcome: Outcome
    code: str = ""
    field: str = ""
    detail: str = ""
    first: str = ""


StateKey = tuple[int, int]  # (contact, connection)


@dataclass(slots=True)
class AccountState:
    """What was loaded for one batch of one account; `decide` moves it on, event by event.

    `contacts` maps an identity to its contact's id, through aliases; contacts that are not stored yet get negative
    ids in `decide`. `periods` are in order of time and do not overlap.
    """

    account: AccountFacts
    stored: dict[tuple[int, str], Stored]
    contacts: dict[str, int] = field(default_factory=dict)
    periods: list[PeriodFacts] = field(default_factory=list)
    counted: dict[tuple[int, ContactUnit, int], Counted] = field(default_factory=dict)
    members: dict[StateKey, Register] = field(default_factory=dict)
    scores: dict[StateKey, Register] = field(default_factory=dict)
    erased: dict[str, int] = field(default_factory=dict)  # who was erased and comes again, by identity
    erased_rows: dict[str, int] = field(default_factory=dict)  # the row of that identity, which may be an alias
    replays: bool = False  # held events are decided: they count in the current period, and correct no carry-in

    @property
    def newest(self) -> PeriodFacts | None:
        """The newest period that is opened: states keep what held before its start."""
        return next((period for period in reversed(self.periods) if period.id is not None), None)

    def period_at(self, at: datetime) -> PeriodFacts | None:
        """The known period that contains an instant."""
        for period in reversed(self.periods):
            if period.starts_at <= at:
                return period if at < period.ends_at else None
        return None


class Crossing(NamedTuple):
    """A count that reached a threshold of its limit."""

    period_id: int
    limit: int
    percent: int
    used: int
    at: datetime


class Cause(NamedTuple):
    """A count that exceeded its limit where that upgrades the account."""

    period_id: int
    limit: int
    used: int
    at: datetime


class LimitMove(NamedTuple):
    """A period that entered a state at its limit, or ("") left one, `left` since `left_since`."""

    period_id: int
    state: str
    limit: int
    used: int
    at: datetime
    ended: bool
    left: str
    left_since: datetime | None


class Filed(msgspec.Struct, frozen=True, gc=False):
    """An arrival that is stored: for whom, in which period it counts (None: in none), as what, and what the account's
    clock read then."""

    arrival: Arrival
    contact: int
    period_id: int | None
    outcome: Outcome
    at: datetime


DropKey = tuple[Pause, int, int]  # pause, connection, type


@dataclass(slots=True)
class Decision:
    """What to answer and what to write for one batch of one account. `again`: of rows that are stored already."""

    verdicts: list[Verdict] = field(default_factory=list)
    events: list[Filed] = field(default_factory=list)
    again: list[Filed] = field(default_factory=list)
    dropped: defaultdict[DropKey, list[str]] = field(default_factory=lambda: defaultdict(list))  # the ids
    new_contacts: dict[str, tuple[int, str]] = field(default_factory=dict)  # identity: negative id, as spelt
    revived: dict[int, tuple[str, str]] = field(default_factory=dict)  # an erased row: its identity, as spelt
    origins: dict[int, tuple[datetime, str]] = field(default_factory=dict)  # the first by event time
    engaged: dict[int, datetime] = field(default_factory=dict)
    counted: dict[int, Counted] = field(default_factory=dict)  # by id(): those that changed
    members: dict[StateKey, Register] = field(default_factory=dict)
    scores: dict[StateKey, Register] = field(default_factory=dict)
    crossings: list[Crossing] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    moves: list[LimitMove] = field(default_factory=list)
    held_in_grace: datetime | None = None  # when: what an ended period holds is replayed into the open one
    replayed_at: datetime | None = None  # when: what is recorded `again` counts then, not at its own time
    billable: defaultdict[tuple[int, int, int, int], int] = field(default_factory=lambda: defaultdict(int))
    """Billable events by period, connection, type and the local day that they count on."""
    events_by_day: defaultdict[tuple[int, int, int], int] = field(default_factory=lambda: defaultdict(int))
