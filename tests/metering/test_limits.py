"""A count beside its limit, in integers (DESIGN section 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering import limits

LIMITS = st.none() | st.integers(1, 10**12)
COUNTS = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("used", "limit", "standing"),
    [
        (0, 1, "ok"),
        (1, 1, "limit_reached"),
        (5, 7, "ok"),
        (6, 7, "warning"),
        (7, 7, "limit_reached"),
        (8, 7, "limit_reached"),
        (799, 1_000, "ok"),
        (800, 1_000, "warning"),
        (999, 1_000, "warning"),
        (1_000, 1_000, "limit_reached"),
        (10**12, None, "ok"),
    ],
)
def test_an_account_stands_by_80_and_100_percent_of_its_limit(used: int, limit: int | None, standing: str):
    assert limits.standing(used, limit) == standing


@pytest.mark.parametrize(
    ("used", "limit", "percent"),
    [(0, 7, 0), (1, 7, 14), (6, 7, 85), (999, 1_000, 99), (1_000, 1_000, 100), (1_509, 1_000, 150), (5, None, None)],
)
def test_a_percentage_is_rounded_down_and_may_exceed_100(used: int, limit: int | None, percent: int | None):
    assert limits.percent(used, limit) == percent


@pytest.mark.parametrize(("used", "limit", "remaining"), [(0, 7, 7), (7, 7, 0), (9, 7, 0), (9, None, None)])
def test_what_remains_is_never_negative(used: int, limit: int | None, remaining: int | None):
    assert limits.remaining(used, limit) == remaining


@pytest.mark.parametrize(
    ("before", "after", "limit", "crossed"),
    [
        (0, 799, 1_000, []),
        (799, 800, 1_000, [80]),
        (800, 999, 1_000, []),
        (999, 1_000, 1_000, [100]),
        (0, 5_000, 1_000, [80, 100]),
        (1_000, 2_000, 1_000, []),
        (800, 799, 1_000, []),
        (0, 1, 1, [80, 100]),
        (0, 10**12, None, []),
    ],
)
def test_a_jump_crosses_every_threshold_on_its_way_in_order(
    before: int, after: int, limit: int | None, crossed: list[int]
):
    assert limits.newly_crossed(before, after, limit) == crossed


@given(COUNTS, COUNTS, COUNTS, LIMITS)
def test_a_rise_in_two_steps_crosses_what_one_step_would(one: int, two: int, three: int, limit: int | None):
    low, middle, high = sorted([one, two, three])

    assert limits.newly_crossed(low, middle, limit) + limits.newly_crossed(middle, high, limit) == (
        limits.newly_crossed(low, high, limit)
    )


@given(COUNTS, st.integers(1, 10**12))
def test_the_percentage_never_shows_a_threshold_before_it_is_crossed(used: int, limit: int):
    shown = limits.percent(used, limit)

    assert shown is not None
    assert [limits.has_crossed(used, limit, threshold) for threshold in limits.THRESHOLDS] == [
        shown >= threshold for threshold in limits.THRESHOLDS
    ]
