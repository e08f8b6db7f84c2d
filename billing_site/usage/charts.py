"""Curves and bars as SVG paths. Pure.

Paths are in a box `WIDTH` by `HEIGHT` that is stretched to the width of the page, so texts and marks stand outside of
it: across in per cent of the width, down in pixels.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from math import log10
from typing import Final, NamedTuple

from metering.forecast import Curve, Forecast

WIDTH: Final = 1000
HEIGHT: Final = 220
_LEAST_BETWEEN: Final = 18  # pixels between the labels of two lines
_FAR: Final = 4  # a limit so many times the count would flatten the curve


class Line(NamedTuple):
    """A line across the chart: how far down, and for which number."""

    y: float
    number: int


class Spot(NamedTuple):
    """A point: per cent across, pixels down."""

    x: float
    y: float


class CurveChart(NamedTuple):
    """The count day by day up to today, and where it is expected to go.

    `base` is where the contacts that were carried in end (pixels down), `ahead` is empty without a forecast, `limit`
    None where there is none or it stands far above the chart.
    """

    area: str
    line: str
    ahead: str
    base: float
    limit: Line | None
    at_80: Line | None
    now: Spot
    reached: Spot | None
    days: list[tuple[date, int, int]]
    """Each day up to today: what is new on it, and the count at its end."""


def curve_chart(curve: Curve, limit: int | None, expected: Forecast, today: date) -> CurveChart:
    """The chart of a period's curve on a day of it (or after it)."""
    until = max(curve.first, min(today, curve.last))
    days = _counts(curve, until)
    used = days[-1][2]
    peak = max(used, expected.used_at_period_end or 0)
    shown = limit if limit is not None and (peak == 0 or limit <= _FAR * peak) else None
    top = _rounded_up(max(peak, shown or 0))

    def down(count: float) -> float:
        return round(HEIGHT * (1 - count / top), 1)

    def across(on: date) -> float:
        return round(WIDTH * ((on - curve.first).days + 1) / ((curve.last - curve.first).days + 1), 1)

    points = [(0.0, down(curve.carried_in)), *((across(day), down(count)) for day, _, count in days)]
    ahead = _ahead(curve, limit, expected, until, used)
    reached = expected.limit_reached_on
    limit_line = None if shown is None else Line(down(shown), shown)
    return CurveChart(
        area=f"M{points[0][0]:g} {HEIGHT}{''.join(f'L{x:g} {y:g}' for x, y in points)}L{points[-1][0]:g} {HEIGHT}Z",
        line=_path(points),
        ahead=_path([(across(day), down(count)) for day, count in ahead]) if len(ahead) > 1 else "",
        base=down(curve.carried_in),
        limit=limit_line,
        at_80=_at_80(shown, limit_line, down(0.8 * shown) if shown is not None else 0),
        now=Spot(across(until) * 100 / WIDTH, down(used)),
        reached=None
        if reached is None or reached <= until or limit_line is None
        else Spot(across(reached) * 100 / WIDTH, limit_line.y),
        days=days,
    )


def _counts(curve: Curve, until: date) -> list[tuple[date, int, int]]:
    count, days = curve.carried_in, []
    for place in range((until - curve.first).days + 1):
        day = curve.first + timedelta(days=place)
        new = curve.days.get(day, 0)
        count += new
        days.append((day, new, count))
    late = curve.carried_in + sum(curve.days.values()) - count  # a few minutes ahead of the clock
    if late:
        day, new, count = days[-1]
        days[-1] = (day, new + late, count + late)
    return days


def _ahead(curve: Curve, limit: int | None, expected: Forecast, until: date, used: int) -> list[tuple[date, float]]:
    """What the forecast says of days to come: nothing but its own numbers, and straight lines between them."""
    if expected.used_at_period_end is None or until >= curve.last:
        return []
    reached = expected.limit_reached_on
    between = [(reached, float(limit))] if reached and limit and until < reached < curve.last else []
    return [(until, float(used)), *between, (curve.last, float(expected.used_at_period_end))]


def _at_80(limit: int | None, line: Line | None, y: float) -> Line | None:
    if limit is None or line is None or y - line.y < _LEAST_BETWEEN:
        return None
    return Line(y, -(-80 * limit // 100))


def _rounded_up(number: int) -> float:
    """A little more than the greatest number, so that it does not touch the edge."""
    if number <= 0:
        return 10
    step: float = 10 ** int(log10(number)) / 4
    return max(step * (int(number * 1.06 / step) + 1), 1.0)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


class Day(NamedTuple):
    """A day of a connection: its contact events and its engagement events."""

    date: date
    contact: int
    engagement: int


class BarChart(NamedTuple):
    """Bars of two kinds, the one upon the other, and (start, width) of the days on which data was lost; in the box."""

    contact: str
    engagement: str
    gaps: list[tuple[float, float]]
    top: int
    """The number at the upper edge."""


def bar_chart(days: Sequence[Day], gaps: Iterable[tuple[date, date]]) -> BarChart:
    """A bar per day; `gaps` are first and last days, each at least in part among these."""
    width = WIDTH / len(days)
    highest = max((day.contact + day.engagement for day in days), default=0)
    top = max(int(_rounded_up(highest)), 1)
    contact, engagement = [], []
    for place, day in enumerate(days):
        low, high = (HEIGHT * number / top for number in (day.contact, day.contact + day.engagement))
        left, wide = place * width + width * 0.1, width * 0.8
        if day.contact:
            contact.append(_bar(left, HEIGHT - low, wide, low))
        if day.engagement:
            engagement.append(_bar(left, HEIGHT - high, wide, high - low))
    return BarChart("".join(contact), "".join(engagement), [_span(days, width, gap) for gap in gaps], top)


def _bar(x: float, y: float, wide: float, high: float) -> str:
    return f"M{x:.1f} {y:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z"


def _span(days: Sequence[Day], width: float, gap: tuple[date, date]) -> tuple[float, float]:
    first = max((gap[0] - days[0].date).days, 0)
    last = min((gap[1] - days[0].date).days, len(days) - 1)
    return round(first * width, 1), round((last - first + 1) * width, 1)
