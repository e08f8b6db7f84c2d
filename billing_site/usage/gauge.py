"""The count beside its limit, as a bar. Pure: lengths in per cent of its width."""

from typing import NamedTuple


class Gauge(NamedTuple):
    """How far the bar is filled, how much of that was carried in, and where 80 % and 100 % of the limit stand."""

    filled: float
    carried_in: float
    at_80: float
    at_100: float


_ROOM = 1.12
"""Of the limit: so that it is a mark on the bar, and not its end."""


def gauge(used: int, carried_in: int, limit: int) -> Gauge:
    """The bar of a count that may exceed its limit."""
    whole = max(limit * _ROOM, used)
    return Gauge(*(round(100 * part / whole, 2) for part in (used, carried_in, 0.8 * limit, limit)))


def share(number: int, of: int) -> float:
    """A row's bar: a number in per cent of the largest."""
    return round(100 * number / of, 2) if of else 0.0
