"""States by event time: what is kept of them, in whatever order the transitions come."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.transitions import Register, Transition, holds_at

BOUNDARY = datetime(2026, 12, 1, tzinfo=UTC)
"""The start of the newest period, as day 10 below."""


def day(number: float, by: str = "", *, holds: bool = True, **more: Any) -> Transition:
    """A transition on a day of these tests; the period begins on day 10."""
    at = BOUNDARY + timedelta(days=number - 10)
    return Transition(at, by or f"evt-{number}", holds, **more)


# what arrives, in this order | the last of all | the last before the boundary
TRUTH_TABLE = [
    ([5], 5, 5),
    ([10], 10, None),
    ([12], 12, None),
    ([5, 8], 8, 8),
    ([8, 5], 8, 8),
    ([5, 12], 12, 5),
    ([12, 5], 12, 5),
    ([12, 15], 15, None),
    ([15, 12], 15, None),
    ([5, 12, 8], 12, 8),
    ([12, 5, 8], 12, 8),
    ([12, 8, 5], 12, 8),
    ([8, 12, 15], 15, 8),
    ([15, 8, 12], 15, 8),
    ([12, 15, 8, 9], 15, 9),
    ([9, 10], 10, 9),
    ([10, 9], 10, 9),
]


@pytest.mark.parametrize(("arrivals", "last", "before"), TRUTH_TABLE)
def test_a_register_keeps_the_last_of_all_and_the_last_before_the_boundary(
    arrivals: list[int], last: int, before: int | None
):
    register = Register()

    for number in arrivals:
        register.advance(day(number), BOUNDARY)

    assert register.last == day(last)
    assert register.before(BOUNDARY) == (None if before is None else day(before))


@pytest.mark.parametrize(
    ("arrivals", "changed"),
    [
        ([5], [True]),
        ([5, 5], [True, False]),
        ([5, 4], [True, False]),
        ([12, 11], [True, False]),
        ([12, 5], [True, True]),
        ([12, 5, 5], [True, True, False]),
        ([12, 5, 4], [True, True, False]),
        ([12, 5, 6], [True, True, True]),
        ([5, 12, 4], [True, True, False]),
    ],
)
def test_a_register_says_whether_a_transition_changed_it(arrivals: list[int], changed: list[bool]):
    register = Register()

    assert [register.advance(day(number), BOUNDARY) for number in arrivals] == changed


def test_without_a_period_only_the_last_is_kept():
    register = Register()

    assert [register.advance(day(number), None) for number in (8, 5, 12)] == [True, False, True]
    assert (register.last, register.prior) == (day(12), None)


def test_of_two_transitions_at_one_instant_the_greater_id_is_the_last():
    register = Register()

    for by in ("evt-2", "evt-10", "evt-1"):
        register.advance(day(5, by), BOUNDARY)

    assert register.last == day(5, "evt-2")


def test_what_was_kept_before_an_older_boundary_says_nothing_about_a_newer_one():
    register = Register()
    register.advance(day(5), BOUNDARY)
    register.advance(day(12), BOUNDARY)

    assert register.before(BOUNDARY + timedelta(days=10)) == day(12)

    register.advance(day(25), BOUNDARY + timedelta(days=10))

    assert register.before(BOUNDARY + timedelta(days=10)) == day(12)


def test_what_was_kept_before_a_newer_boundary_says_nothing_about_an_older_one():
    register = Register()
    register.advance(day(8), BOUNDARY)
    register.advance(day(12), BOUNDARY)

    assert register.before(day(7).at) is None


# Instants on both sides of the boundary and on it, few enough to meet; ids decide between equal ones.
MOMENTS = st.integers(-3, 3).map(lambda hours: BOUNDARY + timedelta(hours=hours))
HISTORIES = st.lists(
    st.tuples(MOMENTS, st.sampled_from("abcd"), st.sampled_from(["joins", "is refused", "leaves"])),
    unique_by=lambda row: (row[0], row[1]),
    min_size=1,
    max_size=8,
).map(
    lambda rows: [
        Transition(at, by, how != "leaves", refused_since=at if how == "is refused" else None) for at, by, how in rows
    ]
)


@given(HISTORIES.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_any_order_of_arrival_leaves_the_same_state(orders: tuple[list[Transition], list[Transition]]):
    by_time, register = sorted(orders[0], key=lambda row: (row.at, row.by)), Register()

    for transition in orders[1]:
        register.advance(transition, BOUNDARY)

    assert register.last == by_time[-1]
    assert register.before(BOUNDARY) == next((row for row in reversed(by_time) if row.at < BOUNDARY), None)


@given(HISTORIES, st.data())
def test_a_transition_that_comes_again_changes_nothing(history: list[Transition], data: st.DataObject):
    register = Register()
    for transition in history:
        register.advance(transition, BOUNDARY)
    last, before = register.last, register.before(BOUNDARY)

    register.advance(data.draw(st.sampled_from(history)), BOUNDARY)

    assert (register.last, register.before(BOUNDARY)) == (last, before)


def test_a_contact_is_refused_while_its_last_transition_is_a_refusal():
    register, refused_since = Register(), []

    for transition in (day(5, refused_since=day(5).at), day(6), day(8, refused_since=day(8).at), day(9, holds=False)):
        register.advance(transition, BOUNDARY)
        assert register.last is not None
        refused_since.append(register.last.refused_since)

    assert refused_since == [day(5).at, None, day(8).at, None]


# how a score came about (day 5) | the connection's days | on which day | does it live?
@pytest.mark.parametrize(
    ("transition", "expiry_days", "on", "lives"),
    [
        (None, None, 6, False),
        (day(5), None, 9_999, True),
        (day(5, holds=False), None, 6, False),
        (day(5, holds=False, until=day(9).at), None, 6, False),
        (day(5, until=day(9).at), None, 8.999, True),
        (day(5, until=day(9).at), None, 9, False),
        (day(5, until=day(9).at), 1, 8, True),
        (day(5, until=day(9).at), 100, 9, False),
        (day(5), 3, 7.999, True),
        (day(5), 3, 8, False),
    ],
)
def test_a_score_lives_until_its_own_expiry_else_for_the_days_of_its_connection_else_for_ever(
    transition: Transition | None, expiry_days: int | None, on: float, *, lives: bool
):
    assert holds_at(transition, day(on).at, expiry_days) is lives
