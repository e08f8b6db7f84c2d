"""Where a period's count will stand at its end, from the period's own curve. Pure.

What is carried in is there from the start; only what is new grows. New *contacts* become rarer, as those who
come again are counted already: their number grows like a power of the days gone by (Heaps' law), with an exponent, at
most 1, that the curve shows between the half of its days and all of them. *Events* do not saturate: they go on as in
the last week. Both need a week: before that nobody can tell a Monday from a trend. How far off: docs/forecast.md.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from math import log
from typing import Final, NamedTuple

LEAST_DAYS: Final = 7
"""Whole days that a curve must have."""

_ONE_DAY: Final = timedelta(days=1)


class Forecast(NamedTuple):
    """`used_at_period_end`: if all goes on as it does, and the limit stops nothing; None: too early to tell.
    `limit_reached_on`: the local day, which may be past; None if not in this period, or too early to tell."""

    used_at_period_end: int | None
    limit_reached_on: date | None


class Curve(NamedTuple):
    """What each local day of a period, from `first` to `last`, added to `carried_in`; days that added nothing may be
    missing. `saturates`: contacts are counted, not events."""

    first: date
    last: date
    carried_in: int
    days: Mapping[date, int]
    saturates: bool

    def counted_before(self, day: date) -> int:
        """What is new on the days before one."""
        return sum(number for of, number in self.days.items() if of < day)


def forecast(curve: Curve, limit: int | None, today: date, *, stands: bool) -> Forecast:
    """The forecast at a moment of `today`. `stands`: nothing more will be counted (the account is stopped at its limit,
    paused or closed)."""
    used = curve.carried_in + sum(curve.days.values())
    reached = _reached(curve, limit)
    if stands or today > curve.last:
        return Forecast(used, reached)
    whole_days = (today - curve.first).days
    if whole_days < LEAST_DAYS:
        return Forecast(None, reached)
    expected = _expected(curve, today)
    if reached is None and limit is not None:
        reached = next((day for day, count in expected.items() if count >= limit), None)
    return Forecast(int(expected[curve.last]), reached)


def _reached(curve: Curve, limit: int | None) -> date | None:
    """The day on which the count reached today's limit."""
    if limit is None:
        return None
    count = curve.carried_in
    if count >= limit:
        return curve.first
    for day in sorted(curve.days):
        count += curve.days[day]
        if count >= limit:
            return day
    return None


def _expected(curve: Curve, today: date) -> dict[date, float]:
    """The count at the end of today and of each day to come; today adds what it has, or what it should if that is
    more."""
    whole_days = (today - curve.first).days
    so_far = curve.counted_before(today)
    new_today = sum(number for of, number in curve.days.items() if of >= today)
    count = float(curve.carried_in + so_far)
    expected, before = {}, _new_after(curve, today, whole_days)
    for ahead in range((curve.last - today).days + 1):
        after = _new_after(curve, today, whole_days + ahead + 1)
        count += max(after - before, new_today) if ahead == 0 else after - before
        before = after
        expected[today + ahead * _ONE_DAY] = count
    return expected


def _new_after(curve: Curve, today: date, days: int) -> float:
    """What is new after this many days of the period, by the curve up to yesterday."""
    whole_days = (today - curve.first).days
    now = curve.counted_before(today)
    if curve.saturates:
        half = whole_days // 2
        at_half = curve.counted_before(curve.first + half * _ONE_DAY)
        if at_half:
            exponent = min(1.0, log(now / at_half) / log(whole_days / half))
            return float(now * (days / whole_days) ** exponent)
    last_week = now - curve.counted_before(today - LEAST_DAYS * _ONE_DAY)
    return now + last_week / LEAST_DAYS * (days - whole_days)
