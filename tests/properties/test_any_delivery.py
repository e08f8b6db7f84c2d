"""Any split, order, repetition and overlap of the same events counts the same (DESIGN section 4, Once; section 6)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.models import Account
from metering.usage import usage
from tests.factories import deliver
from tests.properties.books import (
    check_books,
    check_is_exact,
    come_by,
    opened,
    run_scheduler,
    states,
    tallied,
    who_counts,
)
from tests.properties.oracle import GRACE, Happening, accepted
from tests.properties.world import (
    DAY,
    HOUR,
    LINKS,
    NEXT_TURN,
    START,
    TICK,
    TURN,
    Delivery,
    as_sent,
    deliveries,
    examples,
    happenings,
    make_account,
    undone,
)

IN_TIME = TURN + GRACE - TICK
"""The last moment at which every event of the first period still counts in it."""


@pytest.fixture
def account(catalogue: None) -> Account:
    """On connect/starter in Berlin, whose clocks go back a week before the turn."""
    return make_account()


@st.composite
def stories(draw: st.DrawFn, /, ways: int = 1, **how: Any) -> tuple[list[Happening], Sequence[list[Delivery]]]:
    """What happened, and ways for it to come in."""
    happened = draw(happenings())
    return happened, [draw(deliveries(happened, **how)) for _ in range(ways)]


def come_in(account: Account, step: Delivery, came: dict[Happening, datetime]) -> Counter[str]:
    """Take a delivery in, and remember what came for the first time."""
    come_by(account, step.beforehand, step.now)
    receipt = deliver(account, map(as_sent, step.batch), now=step.now)
    assert len(receipt.items) == len(step.batch)
    outcomes = Counter(receipt.outcomes())
    assert outcomes == expected_outcomes(step, came)
    for it in step.batch:
        came.setdefault(it, step.now)
    return outcomes


def expected_outcomes(step: Delivery, came: Iterable[Happening]) -> Counter[str]:
    stored = {it for it in came if accepted(it, LINKS)}
    outcomes: Counter[str] = Counter()
    for it in step.batch:
        if it in stored:
            outcomes["duplicate"] += 1
        elif accepted(it, LINKS):
            stored.add(it)
            closed = it.at < TURN and step.now > IN_TIME
            outcomes["late" if closed else "recorded"] += 1
        else:
            outcomes["ignored" if LINKS[it.source].enabled_at(it.at) else "rejected"] += 1
    return outcomes


def live_on(account: Account, came: dict[Happening, datetime]) -> None:
    """Read on, close, and open the next period: its carry-in is right as well."""
    usage(account, max([*came.values(), TURN]))
    check_is_exact(account, came)
    for now in (TURN + 2 * DAY, NEXT_TURN + HOUR, NEXT_TURN + 2 * DAY):
        run_scheduler(account, max([*came.values(), now]))
        check_books(account)
        check_is_exact(account, came)


def at_the_turn(kind: str, source: str, person: str, before: timedelta, **data: Any) -> Happening:
    return Happening(source, f"{source} {kind} {before}", kind, person, person, TURN - before, data)


JOINS = at_the_turn("contact.matched", "crm", "ann@example.com", HOUR)
LEAVES = at_the_turn("contact.unmatched", "crm", "ann@example.com", 0 * HOUR)
EXPIRES = at_the_turn("score.set", "scoring", "ann@example.com", HOUR, value=1, expires_at=TURN)
A_WEEK_OLD = at_the_turn("score.set", "scoring", "ig:42", 7 * DAY, value=1)
EDGES_KNOWN_BEFORE_THE_TURN = [Delivery([EXPIRES, A_WEEK_OLD, JOINS], TURN - TICK, "nothing")]
EDGES_KNOWN_AFTER_IT = [
    Delivery([LEAVES], TURN, "nothing"),
    Delivery([JOINS], TURN + HOUR, "nothing"),
    Delivery([EXPIRES, A_WEEK_OLD], TURN + HOUR, "nothing"),
]


@examples(50)
@given(story=stories())
@example(story=([], [EDGES_KNOWN_BEFORE_THE_TURN]))
@example(story=([], [EDGES_KNOWN_AFTER_IT]))
def test_whatever_way_events_come_in_time_every_number_is_what_happened(
    account: Account, story: tuple[list[Happening], Sequence[list[Delivery]]]
):
    _, [steps] = story
    with undone():
        came: dict[Happening, datetime] = {}
        outcomes: Counter[str] = Counter()
        for step in steps:
            outcomes += come_in(account, step, came)
            check_books(account)
            check_is_exact(account, came)
            assert tallied(account) == outcomes
        live_on(account, came)


@examples(25)
@given(story=stories(ways=2))
def test_two_ways_to_deliver_the_same_events_answer_the_same_usage(
    account: Account, story: tuple[list[Happening], Sequence[list[Delivery]]]
):
    _, ways = story
    one, other = [answers_after(account, steps) for steps in ways]
    assert one == other


def answers_after(account: Account, steps: Sequence[Delivery]) -> list[Any]:
    """What usage answers when all is in, and after the next opening; with first causes and states."""
    shown = ("used", "limit", "totals", "carried_in", "new", "by_reason", "by_connection", "contacts_known")
    answers: list[Any] = []
    with undone():
        for step in steps:
            come_by(account, step.beforehand, step.now)
            deliver(account, map(as_sent, step.batch), now=step.now)
        for now in (max(IN_TIME, steps[-1].now), NEXT_TURN + HOUR):
            answer = usage(account, now)
            answers.append({name: answer[name] for name in shown})
            counted = {period.starts_at: who_counts(period) for period in opened(account)}
            answers.append({start: who for start, who in counted.items() if who})
        answers.append(states(account))
    return answers


@examples(35)
@given(
    story=stories(latest=TURN + 3 * DAY, beforehand=["the scheduler"]),
)
def test_what_comes_after_the_closing_is_late_and_changes_only_what_comes_next(
    account: Account, story: tuple[list[Happening], Sequence[list[Delivery]]]
):
    _, [steps] = story
    with undone():
        usage(account, START + DAY)
        came: dict[Happening, datetime] = {}
        for step in steps:
            come_in(account, step, came)
            check_books(account)
            check_is_exact(account, came)
        live_on(account, came)


VISITS = at_the_turn("web.visited", "site", "ig:42", -HOUR)


@examples(20)
@given(story=stories(latest=TURN + 2 * DAY))
@example(story=([JOINS, VISITS], []))
def test_one_batch_counts_what_the_same_events_count_one_by_one_even_if_some_are_late(
    account: Account, story: tuple[list[Happening], Sequence[list[Delivery]]]
):
    happened, _ = story
    at_once = [Delivery(happened, TURN + 2 * DAY, "nothing")]
    one_by_one = [Delivery([it], TURN + 2 * DAY, "nothing") for it in happened]
    assert answers_after(account, at_once) == answers_after(account, one_by_one)


def test_a_period_opened_in_its_grace_after_the_next_one_carries_in_what_held_at_its_own_start(account: Account):
    joined = Happening("crm", "1", "contact.matched", "ann@example.com", "ann@example.com", START - DAY)
    left = Happening("crm", "2", "contact.unmatched", "ann@example.com", "ann@example.com", TURN)
    visited = Happening("site", "3", "web.visited", "ig:42", "ig:42", TURN - HOUR)

    for it in (joined, left, visited):
        deliver(account, [as_sent(it)], now=TURN + HOUR)

    assert [(period.starts_at, period.carried_in, period.active_contacts) for period in opened(account)] == [
        (START, 1, 2),
        (TURN, 1, 1),
    ]
