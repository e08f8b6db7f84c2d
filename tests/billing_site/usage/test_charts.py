"""Curves and bars as paths: where they begin, end and meet the limit."""

from datetime import date, timedelta

import pytest

from billing_site.usage.charts import HEIGHT, WIDTH, CurveChart, Day, bar_chart, curve_chart
from billing_site.usage.gauge import gauge, share
from metering.forecast import Curve, Forecast

FIRST = date(2026, 11, 1)
LAST = date(2026, 11, 10)
NO_FORECAST = Forecast(None, None)


def on(day: int) -> date:
    return FIRST + timedelta(days=day - 1)


def chart(
    days: dict[int, int],
    *,
    carried_in: int = 0,
    limit: int | None = 100,
    expected: Forecast = NO_FORECAST,
    today: date = LAST,
) -> CurveChart:
    curve = Curve(FIRST, LAST, carried_in, {on(day): number for day, number in days.items()}, saturates=True)
    return curve_chart(curve, limit, expected, today)


def test_each_day_up_to_today_has_what_is_new_and_the_count():
    assert chart({1: 5, 3: 2}, carried_in=10, today=on(4)).days == [
        (on(1), 5, 15),
        (on(2), 0, 15),
        (on(3), 2, 17),
        (on(4), 0, 17),
    ]


def test_the_line_goes_from_what_was_carried_in_to_the_number_of_today():
    drawn = chart({1: 25, 5: 25}, carried_in=25, limit=100, today=on(5))

    assert drawn.limit is not None
    assert drawn.line.startswith(f"M0 {drawn.base:g}L")
    assert drawn.line.endswith(f"L{WIDTH / 2:g} {drawn.now.y:g}")
    assert drawn.now.x == 50
    assert HEIGHT > drawn.base > drawn.now.y > drawn.limit.y > 0


def test_an_empty_period_lies_on_the_ground_below_its_limit():
    drawn = chart({}, today=FIRST)

    assert (drawn.now.y, drawn.base) == (HEIGHT, HEIGHT)
    assert drawn.limit is not None
    assert drawn.limit.number == 100


@pytest.mark.parametrize(("limit", "is_shown"), [(None, False), (40, True), (41, False), (10, True), (5, True)])
def test_a_limit_is_drawn_unless_it_would_flatten_the_curve(limit: int | None, is_shown: bool):
    drawn = chart({1: 10}, limit=limit)

    assert (drawn.limit is not None) is is_shown


@pytest.mark.parametrize(("limit", "number"), [(100, 80), (7, 6), (1_001, 801)])
def test_80_per_cent_stands_at_the_first_number_that_crosses(limit: int, number: int):
    drawn = chart({1: limit}, limit=limit)

    assert drawn.at_80 is not None
    assert drawn.at_80.number == number


def test_80_per_cent_is_left_out_where_its_label_would_lie_on_the_limits():
    assert chart({1: 1_000}, limit=100).at_80 is None


@pytest.mark.parametrize(
    ("expected", "today", "points"),
    [
        (NO_FORECAST, on(5), 0),
        (Forecast(60, None), on(5), 2),
        (Forecast(120, on(8)), on(5), 3),
        (Forecast(120, on(3)), on(5), 2),
        (Forecast(60, None), LAST, 0),
    ],
)
def test_ahead_goes_what_the_forecast_says_and_nothing_else(expected: Forecast, today: date, points: int):
    drawn = chart({1: 50}, expected=expected, today=today)

    assert len([point for point in drawn.ahead.lstrip("M").split("L") if point]) == points
    assert (drawn.reached is not None) is (points == 3)


def test_what_is_a_few_minutes_ahead_of_the_clock_stands_on_today():
    assert chart({1: 5, 3: 1}, today=on(2)).days == [(on(1), 5, 5), (on(2), 1, 6)]


@pytest.mark.parametrize("today", [FIRST - timedelta(days=3), LAST + timedelta(days=30)])
def test_a_day_outside_of_the_period_is_its_nearest(today: date):
    assert chart({1: 5}, today=today).days[0] == (on(1), 5, 5)


@pytest.mark.parametrize(
    ("used", "carried_in", "limit", "filled", "full"),
    [(0, 0, 100, 0, 89.29), (100, 40, 100, 89.29, 89.29), (960, 0, 480, 100, 50), (1, 0, 1, 89.29, 89.29)],
)
def test_the_gauge_has_its_limit_as_a_mark_on_it(used: int, carried_in: int, limit: int, filled: float, full: float):
    drawn = gauge(used, carried_in, limit)

    assert (drawn.filled, drawn.at_100) == (filled, full)
    assert drawn.at_80 == pytest.approx(0.8 * full, abs=0.02)
    assert drawn.carried_in == pytest.approx(drawn.filled * carried_in / (used or 1), abs=0.02)


def test_a_share_of_nothing_is_nothing():
    assert (share(0, 0), share(1, 4)) == (0, 25)


def test_bars_stand_one_upon_the_other():
    drawn = bar_chart([Day(on(1), 10, 30), Day(on(2), 0, 0), Day(on(3), 5, 0)], [])

    assert (drawn.contact.count("M"), drawn.engagement.count("M")) == (2, 1)
    assert drawn.top >= 40
    assert drawn.gaps == []


def test_days_without_anything_make_no_bars():
    assert bar_chart([Day(on(1), 0, 0)], [])[:2] == ("", "")


@pytest.mark.parametrize(
    ("gap", "span"),
    [
        ((on(2), on(3)), (100, 200)),
        ((on(1) - timedelta(days=9), on(1)), (0, 100)),
        ((on(10), on(40)), (900, 100)),
        ((on(1) - timedelta(days=9), on(40)), (0, 1000)),
    ],
)
def test_a_gap_covers_its_days_as_far_as_they_are_shown(gap: tuple[date, date], span: tuple[float, float]):
    days = [Day(on(day), 1, 1) for day in range(1, 11)]

    assert bar_chart(days, [gap]).gaps == [span]
