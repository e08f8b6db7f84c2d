"""States that follow the time of events, not their arrival (DESIGN section 4): membership and live score. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple


class Transition(NamedTuple):
    """A state begins (`holds`) or ends at an event. Ordered by the event's (time, id).

    `until` is a score's own expiry, `value` the score; `refused_since` is the time of a refusal by the destination, if
    it is one.
    """

    at: datetime
    by: str
    holds: bool
    until: datetime | None = None
    value: float = 0.0
    refused_since: datetime | None = None

    def comes_after(self, other: "Transition") -> bool:
        return (self.at, self.by) > (other.at, other.by)


@dataclass(slots=True)
class Register:
    """What is kept of a state of one contact on one connection: the last transition of all, and beside it the last
    one before the start of the newest period (`boundary`), where that is another one.

    A `prior` that stands beside a `last` from before the boundary belongs to an older boundary and says nothing.
    """

    last: Transition | None = None
    prior: Transition | None = None

    def before(self, boundary: datetime) -> Transition | None:
        """The last transition before the boundary."""
        if self.last is None or self.last.at < boundary:
            return self.last
        if self.prior is not None and self.prior.at < boundary:
            return self.prior
        return None

    def advance(self, transition: Transition, boundary: datetime | None) -> bool:
        """Take in a transition, in whatever order they come; say whether it changed anything."""
        last = self.last
        if last is None or transition.comes_after(last):
            if boundary is None or transition.at < boundary:
                self.prior = None
            elif last is not None and last.at < boundary:
                self.prior = last
            self.last = transition
            return True
        if boundary is None or transition.at >= boundary or last.at < boundary:
            return False
        prior = self.prior
        if prior is not None and prior.at < boundary and not transition.comes_after(prior):
            return False
        self.prior = transition
        return True


def holds_at(transition: Transition | None, at: datetime, score_expiry_days: int | None) -> bool:
    """Whether the state that this transition left still holds at an instant.

    A score lives until its own expiry, else for the connection's present number of days, else for ever.
    """
    if transition is None or not transition.holds:
        return False
    if transition.until is not None:
        return transition.until > at
    return score_expiry_days is None or transition.at + timedelta(days=score_expiry_days) > at
