"""Where a period's count will stand at its end, by its own curve."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.forecast import Curve, Forecast, forecast

NOVEMBER = date(2026, 11, 1)


def curve(*days: int, carried_in: int = 0, saturates: bool = True) -> Curve:
    """November with what each of its first days added."""
    added = {NOVEMBER + timedelta(days=place): number for place, number in enumerate(days) if number}
    return Curve(NOVEMBER, date(2026, 11, 30), carried_in, added, saturates)


def on(day: int) -> date:
    return date(2026, 11, day)


EVERY_DAY = [10] * 15

# what | curve | limit | today | used at period end, limit reached on
CASES = {
    "contacts that come evenly go on so": (curve(*EVERY_DAY), 200, 16, (300, 20)),
    "events that come evenly go on so": (curve(*EVERY_DAY, saturates=False), 200, 16, (300, 20)),
    "what is carried in is there and does not grow": (curve(*EVERY_DAY, carried_in=500), 700, 16, (800, 20)),
    "a limit that is out of reach": (curve(*EVERY_DAY), 301, 16, (300, None)),
    "a limit that the last day reaches": (curve(*EVERY_DAY), 300, 16, (300, 30)),
    "no limit": (curve(*EVERY_DAY), None, 16, (300, None)),
    # In 14 days 140, in 7 of them 120: 140 * (30 / 14) ** (log(140 / 120) / log(2)).
    "contacts that become rarer are fewer": (curve(*[120] + [0] * 6, *[20] + [0] * 6), None, 15, (165, None)),
    "contacts that become more frequent go on evenly": (curve(*[1] * 7, *[9] * 7), None, 15, (150, None)),
    "events go on as in the last week": (curve(*[1] * 7, *[9] * 7, saturates=False), None, 15, (214, None)),
    "a week of events in which nothing came goes on so": (
        curve(*[9] * 7, *[0] * 7, saturates=False),
        None,
        15,
        (63, None),
    ),
    "contacts that begin late go on as in the last week": (curve(*[0] * 7, *[7] * 7), None, 15, (161, None)),
    "nothing yet": (curve(), 10, 15, (0, None)),
    "six days are too few to tell": (curve(*[10] * 6), 200, 7, (None, None)),
    "seven days tell": (curve(*[10] * 7), 200, 8, (300, 20)),
    "a limit that was reached in the first days is known": (curve(10, 10, 10), 20, 4, (None, 2)),
    "a limit that was carried over": (curve(1, carried_in=9), 9, 2, (None, 1)),
    "a limit that was reached lies in the past": (curve(*EVERY_DAY), 100, 16, (300, 10)),
    "today has done more than its share": (curve(*EVERY_DAY, 100), None, 16, (390, None)),
    "today has not done its share yet": (curve(*EVERY_DAY, 1), None, 16, (300, None)),
    "today reaches the limit": (curve(*EVERY_DAY), 160, 16, (300, 16)),
    "the last day": (curve(*[10] * 29), None, 30, (300, None)),
}


@pytest.mark.parametrize("what", CASES)
def test_a_count_goes_on_as_its_curve_shows(what: str):
    shape, limit, today, (used, reached) = CASES[what]

    assert forecast(shape, limit, on(today), stands=False) == Forecast(used, None if reached is None else on(reached))


def test_a_period_that_stands_still_ends_with_what_it_has():
    shape = curve(*EVERY_DAY)

    assert forecast(shape, 150, on(16), stands=True) == Forecast(150, on(15))


def test_a_period_that_is_over_ends_with_what_it_has():
    assert forecast(curve(*EVERY_DAY), 400, date(2026, 12, 2), stands=False) == Forecast(150, None)


DAYS = st.lists(st.integers(0, 10_000), max_size=30)


@given(DAYS, st.integers(0, 10_000), st.booleans(), st.integers(1, 400_000))
def test_a_forecast_is_never_below_what_is_used_and_agrees_with_its_day(
    days: list[int], carried_in: int, saturates: bool, limit: int
):
    shape = curve(*days, carried_in=carried_in, saturates=saturates)
    today = on(max(len(days), 1))
    used = carried_in + sum(days)

    foreseen, reached = forecast(shape, limit, today, stands=False)

    assert (reached is not None and reached <= today) or used < limit
    if foreseen is None:
        assert len(days) <= 7
    else:
        assert foreseen >= used
        assert (reached is not None) == (foreseen >= limit)
