"""A counted contact: its reasons, its first cause, and what the tallies learn of it."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.catalogue import ContactUnit, Reason
from metering.counting import NOT_COUNTED, Counted, FirstCause, Standing, TallyChanges, tally_changes

START = datetime(2026, 11, 1, tzinfo=UTC)
SYNC, OPENED, SCORE = Reason.CONTACT_SYNC, Reason.EMAIL_OPENED, Reason.LEAD_SCORE
MAILCHIMP, BREVO = 7, 9
DAY = START.toordinal()


def ann() -> Counted:
    return Counted(1, ContactUnit.ACTIVE, contact=100)


def give(row: Counted, connection: int, reason: Reason, *, hour: int = 1, source: str = "s", key: str = "e") -> bool:
    """An event of an hour of the first day gives a reason."""
    at = START + timedelta(hours=hour)
    return row.give(connection, reason, at, source, key, 11, at.toordinal())


def test_a_contact_keeps_every_reason_on_every_connection():
    row = ann()

    give(row, MAILCHIMP, OPENED, hour=2)
    give(row, BREVO, SYNC, hour=3)
    give(row, MAILCHIMP, SYNC, hour=4)

    assert row.reasons == {MAILCHIMP: [OPENED | SYNC, 0], BREVO: [SYNC, 0]}
    assert row.standing() == Standing(OPENED | SYNC, frozenset({MAILCHIMP, BREVO}), carried_in=False, new_on=DAY)


def test_an_event_that_adds_nothing_changes_nothing():
    row = ann()

    assert give(row, MAILCHIMP, OPENED, hour=2)
    assert not give(row, MAILCHIMP, OPENED, hour=3)


def test_an_earlier_event_changes_the_first_cause_alone():
    row = ann()
    give(row, MAILCHIMP, OPENED, hour=2, key="late")
    standing = row.standing()

    assert give(row, MAILCHIMP, OPENED, hour=1, key="early")
    assert row.standing() == standing
    assert row.first == FirstCause(START + timedelta(hours=1), "s", "early", 11, DAY)


CAUSES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["a", "B", "é"]), st.sampled_from(["1", "10", "2"])), min_size=1
)


@given(CAUSES)
def test_the_first_cause_is_the_smallest_time_source_and_id_in_any_order(causes: list[tuple[int, str, str]]):
    row = ann()

    for hour, source, key in causes:
        give(row, MAILCHIMP, OPENED, hour=hour, source=source, key=key)

    hour, source, key = min(causes)
    assert row.first == FirstCause(START + timedelta(hours=hour), source, key, 11, DAY)


def test_a_contact_that_is_only_carried_in_has_no_first_cause():
    row = ann()

    row.carry(MAILCHIMP, SYNC, holds=True)

    assert row.first is None
    assert row.standing() == Standing(SYNC, frozenset({MAILCHIMP}), carried_in=True, new_on=None)


def test_a_corrected_carry_in_takes_its_own_reason_away_and_no_other():
    row = ann()
    row.carry(MAILCHIMP, SYNC, holds=True)
    row.carry(BREVO, SYNC, holds=True)
    row.carry(BREVO, SCORE, holds=True)
    give(row, MAILCHIMP, OPENED)

    row.carry(MAILCHIMP, SYNC, holds=False)
    row.carry(BREVO, SYNC, holds=False)

    assert row.reasons == {MAILCHIMP: [OPENED, 0], BREVO: [0, SCORE]}
    row.carry(BREVO, SCORE, holds=False)
    assert row.standing() == Standing(OPENED, frozenset({MAILCHIMP}), carried_in=False, new_on=DAY)


def test_a_contact_without_a_reason_left_does_not_count():
    row = ann()

    row.carry(MAILCHIMP, SYNC, holds=True)
    row.carry(MAILCHIMP, SYNC, holds=False)

    assert row.standing() == NOT_COUNTED


def test_a_reason_that_an_event_gave_stays_when_the_carry_in_proves_wrong():
    row = ann()
    row.carry(MAILCHIMP, SYNC, holds=True)
    give(row, MAILCHIMP, SYNC)

    row.carry(MAILCHIMP, SYNC, holds=False)

    assert row.standing() == Standing(SYNC, frozenset({MAILCHIMP}), carried_in=False, new_on=DAY)


def changes_of(*rows: Counted) -> dict[str, dict[Any, Any]]:
    """The changes that say something, as plain dicts."""
    changes = tally_changes(rows)
    plain: dict[str, dict[Any, Any]] = {
        "contacts": dict(changes.contacts),
        "carried_in": dict(changes.carried_in),
        "reason_sets": dict(changes.reason_sets),
        "connections": {key: tuple(pair) for key, pair in changes.connections.items()},
    }
    return {
        name: {key: value for key, value in values.items() if value not in (0, (0, 0))}
        for name, values in plain.items()
    }


def test_a_new_contact_adds_one_to_its_set_of_reasons_and_to_each_connection():
    row = ann()
    give(row, MAILCHIMP, OPENED)
    give(row, BREVO, SYNC)

    assert changes_of(row) == {
        "contacts": {(1, ContactUnit.ACTIVE): 1},
        "carried_in": {},
        "reason_sets": {(1, ContactUnit.ACTIVE, OPENED | SYNC): 1},
        "connections": {(1, ContactUnit.ACTIVE, MAILCHIMP): (1, 0), (1, ContactUnit.ACTIVE, BREVO): (1, 0)},
    }


def test_a_second_connection_moves_the_contact_to_another_set_and_leaves_it_nowhere_alone():
    row = ann()
    give(row, MAILCHIMP, OPENED)
    row.stored = row.standing()
    give(row, BREVO, SYNC)

    assert changes_of(row) == {
        "contacts": {},
        "carried_in": {},
        "reason_sets": {(1, ContactUnit.ACTIVE, OPENED): -1, (1, ContactUnit.ACTIVE, OPENED | SYNC): 1},
        "connections": {(1, ContactUnit.ACTIVE, MAILCHIMP): (0, -1), (1, ContactUnit.ACTIVE, BREVO): (1, 0)},
    }


def test_a_withdrawn_contact_leaves_every_tally():
    row = ann()
    row.carry(MAILCHIMP, SYNC, holds=True)
    row.stored = row.standing()
    row.carry(MAILCHIMP, SYNC, holds=False)

    assert changes_of(row) == {
        "contacts": {(1, ContactUnit.ACTIVE): -1},
        "carried_in": {(1, ContactUnit.ACTIVE): -1},
        "reason_sets": {(1, ContactUnit.ACTIVE, SYNC): -1},
        "connections": {(1, ContactUnit.ACTIVE, MAILCHIMP): (-1, -1)},
    }


@pytest.mark.parametrize("times", [1, 2])
def test_a_contact_that_stands_as_it_stood_changes_no_tally(times: int):
    row = ann()
    give(row, MAILCHIMP, OPENED)
    row.stored = row.standing()
    for _ in range(times):
        give(row, MAILCHIMP, OPENED, hour=0)

    assert tally_changes([row]) == TallyChanges()


# What can happen to one of three contacts in one of two units: a reason by an event, or a carry-in found or lost.
# `True` in place of a step stores what has changed so far.
STEPS = st.tuples(
    st.sampled_from(ContactUnit),
    st.integers(100, 102),
    st.sampled_from([MAILCHIMP, BREVO]),
    st.sampled_from([SYNC, OPENED, SCORE]),
    st.sampled_from(["give", "carry", "withdraw"]),
)


@given(st.lists(STEPS | st.just(True), max_size=30))
def test_the_changes_of_any_history_add_up_to_a_recount(
    history: list[tuple[ContactUnit, int, int, Reason, str] | bool],
):
    rows: dict[tuple[ContactUnit, int], Counted] = {}
    sums: defaultdict[str, Counter[object]] = defaultdict(Counter)

    def store() -> None:
        changes = tally_changes(rows.values())
        sums["contacts"].update(changes.contacts)
        sums["carried_in"].update(changes.carried_in)
        sums["reason_sets"].update(changes.reason_sets)
        sums["connections"].update({key: pair[0] for key, pair in changes.connections.items()})
        sums["only_here"].update({key: pair[1] for key, pair in changes.connections.items()})
        for row in rows.values():
            row.stored = row.standing()

    for step in history:
        if isinstance(step, bool):
            store()
            continue
        unit, contact, connection, reason, what = step
        row = rows.setdefault((unit, contact), Counted(1, unit, contact))
        if what == "give":
            give(row, connection, reason)
        else:
            row.carry(connection, reason, holds=what == "carry")
    store()

    recount: defaultdict[str, Counter[object]] = defaultdict(Counter)
    for (unit, _), row in rows.items():
        standing = row.standing()
        if standing.reasons:
            recount["contacts"][1, unit] += 1
            recount["carried_in"][1, unit] += standing.carried_in
            recount["reason_sets"][1, unit, standing.reasons] += 1
            for connection in standing.connections:
                recount["connections"][1, unit, connection] += 1
                recount["only_here"][1, unit, connection] += len(standing.connections) == 1
    for name in sums.keys() | recount.keys():
        assert +sums[name] == +recount[name], name
        assert not -sums[name], name
