"""A counted contact and what the tallies of its period must learn when it changes. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from metering.catalogue import ContactUnit

BY_EVENTS, CARRIED_IN = 0, 1


class FirstCause(NamedTuple):
    """The event that made a contact count first: the smallest (time, source, id) wins, not the first to arrive.

    `day`: the ordinal of the local day on which it counts, its own or that of its replay.
    """

    at: datetime
    source: str
    key: str
    type: int
    day: int


class Standing(NamedTuple):
    """What a counted contact adds to the tallies: its set of reasons, its connections, whether it was carried in, and
    the local day (an ordinal) on which it is new; None if it was carried in."""

    reasons: int
    connections: frozenset[int]
    carried_in: bool
    new_on: int | None


NOT_COUNTED = Standing(0, frozenset(), carried_in=False, new_on=None)


@dataclass(slots=True, eq=False)
class Counted:
    """A contact in a period and unit. `reasons` maps a connection to two sets: by events, and carried in.

    `scored_at` is when the youngest of the carried-in scores was set; None if there is none, or one has an expiry of
    its own. `stored` is how it stood when it was loaded (`NOT_COUNTED`: it has no row yet).
    """

    period_id: int
    unit: ContactUnit
    contact: int
    reasons: dict[int, list[int]] = field(default_factory=dict)
    first: FirstCause | None = None
    scored_at: datetime | None = None
    stored: Standing = NOT_COUNTED

    def standing(self) -> Standing:
        mask = 0
        carried = False
        for by_events, carried_in in self.reasons.values():
            mask |= by_events | carried_in
            carried = carried or carried_in > 0
        new_on = None if carried or self.first is None else self.first.day
        return Standing(mask, frozenset(self.reasons), carried, new_on)

    def give(self, connection_id: int, reason: int, at: datetime, source: str, key: str, kind: int, day: int) -> bool:
        """An event (its time, source, id and type, and the day it counts on) gives a reason; say whether that changed
        anything."""
        changed = False
        given = self.reasons.get(connection_id)
        if given is None:
            self.reasons[connection_id] = [int(reason), 0]
            changed = True
        elif not given[BY_EVENTS] & reason:
            given[BY_EVENTS] |= reason
            changed = True
        first = self.first
        if first is None or at <= first.at:
            cause = FirstCause(at, source, key, kind, day)
            if first is None or cause < first:
                self.first = cause
                changed = True
        return changed

    def carry(self, connection_id: int, reason: int, *, holds: bool) -> None:
        """The state at the start of the period gives a reason, or proves not to."""
        given = self.reasons.setdefault(connection_id, [0, 0])
        given[CARRIED_IN] = given[CARRIED_IN] | reason if holds else given[CARRIED_IN] & ~reason
        if given == [0, 0]:
            del self.reasons[connection_id]


PeriodUnit = tuple[int, ContactUnit]


def _zero_pair() -> list[int]:
    return [0, 0]


@dataclass(slots=True)
class TallyChanges:
    """Differences to add to the tallies: contacts and carried-in ones per (period, unit), contacts per exact set of
    reasons, [contacts, only here] per connection, and new contacts per local day."""

    contacts: defaultdict[PeriodUnit, int] = field(default_factory=lambda: defaultdict(int))
    carried_in: defaultdict[PeriodUnit, int] = field(default_factory=lambda: defaultdict(int))
    reason_sets: defaultdict[tuple[int, ContactUnit, int], int] = field(default_factory=lambda: defaultdict(int))
    connections: defaultdict[tuple[int, ContactUnit, int], list[int]] = field(
        default_factory=lambda: defaultdict(_zero_pair)
    )
    days: defaultdict[tuple[int, ContactUnit, int], int] = field(default_factory=lambda: defaultdict(int))

    def add(self, period_id: int, unit: ContactUnit, standing: Standing, sign: int) -> None:
        """Add (1) or take away (-1) one contact that stands like this."""
        if not standing.reasons:
            return
        self.contacts[period_id, unit] += sign
        self.carried_in[period_id, unit] += sign * standing.carried_in
        self.reason_sets[period_id, unit, standing.reasons] += sign
        for connection_id in standing.connections:
            pair = self.connections[period_id, unit, connection_id]
            pair[0] += sign
            pair[1] += sign * (len(standing.connections) == 1)
        if standing.new_on is not None:
            self.days[period_id, unit, standing.new_on] += sign


def tally_changes(changed: Iterable[Counted]) -> TallyChanges:
    """What the tallies must learn of these counted contacts, compared with how they were stored."""
    changes = TallyChanges()
    for row in changed:
        standing = row.standing()
        if standing != row.stored:
            changes.add(row.period_id, row.unit, row.stored, -1)
            changes.add(row.period_id, row.unit, standing, 1)
    return changes
