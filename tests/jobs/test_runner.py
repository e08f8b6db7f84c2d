"""A job is started at most three times, done once, and what cannot be done waits for a person."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django_q.exceptions import TimeoutException

from accounts.models import Account
from jobs import runner, tasks
from jobs.models import Job, JobState
from jobs.queue import LOOK_AGAIN_AFTER
from jobs.registry import TryAgain
from jobs.runner import (
    LEASE,
    MOST_PER_SWEEP,
    Overdue,
    Ran,
    forget_done,
    overdue,
    run,
    run_all_due,
    sweep,
    unpark,
)
from tests.conftest import StoppedClock
from tests.factories import NOW, rows
from tests.jobs.conftest import TASK, Register, handed_out, put, queued

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)


def fails(subject_id: int, now: datetime) -> None:
    raise ValueError("the 7th is odd")


def succeeds(subject_id: int, now: datetime) -> None:
    pass


def waits_until(at: datetime) -> Callable[[int, datetime], None]:
    def waits(subject_id: int, now: datetime) -> None:
        raise TryAgain("the mail server is away", at=at)

    return waits


def now_is(job: Job) -> dict[str, Any]:
    """What matters of it, as it is in the database."""
    job.refresh_from_db()
    return {
        name: getattr(job, name)
        for name in ("state", "attempts", "started_at", "finished_at", "run_at", "not_before", "error")
    }


# --- One run ---


def test_a_job_that_succeeds_is_done(register: Register, clock: StoppedClock) -> None:
    seen = []

    def takes_a_minute(subject_id: int, now: datetime) -> None:
        seen.append((subject_id, now))
        clock.advance(minutes=1)

    register(takes_a_minute)
    job = queued()

    assert run(job.pk, clock) is Ran.DONE

    assert seen == [(7, NOW)]
    assert now_is(job) == {
        "state": "done",
        "attempts": 1,
        "started_at": None,
        "finished_at": NOW + MINUTE,
        "run_at": NOW + LEASE,
        "not_before": None,
        "error": "",
    }
    assert run(job.pk, clock) is Ran.LEFT_ALONE
    assert len(seen) == 1


def test_the_start_is_counted_and_leased_before_the_work_begins(register: Register, clock: StoppedClock) -> None:
    job = queued()
    seen = []
    register(lambda subject_id, now: seen.append(now_is(job)))

    run(job.pk, clock)

    [during] = seen
    assert (during["state"], during["attempts"]) == ("queued", 1)
    assert (during["started_at"], during["run_at"]) == (NOW, NOW + LEASE)


def test_a_job_is_never_run_inside_a_transaction_that_could_undo_its_counting(clock: StoppedClock) -> None:
    job = queued()

    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        run(job.pk, clock)


def test_a_failure_is_tried_again_after_1_and_5_minutes_and_parked_the_third_time(
    register: Register, clock: StoppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    register(fails)
    job = queued()

    for attempt, wait in enumerate([1, 5], start=1):
        assert run(job.pk, clock) is Ran.FAILED
        again = clock() + timedelta(minutes=wait)
        assert now_is(job) == {
            "state": "queued",
            "attempts": attempt,
            "started_at": None,
            "finished_at": None,
            "run_at": again,
            "not_before": again,
            "error": "ValueError: the 7th is odd",
        }
        clock.move_to(again - MOMENT)
        assert run(job.pk, clock) is Ran.LEFT_ALONE
        clock.move_to(again)
    assert run(job.pk, clock) is Ran.PARKED

    parked = now_is(job)
    assert (parked["state"], parked["attempts"], parked["finished_at"]) == ("parked", 3, clock())
    assert parked["error"] == "ValueError: the 7th is odd"
    assert caplog.text.count("Traceback") == 3
    assert f"job {job.pk} parked: ValueError: the 7th is odd" in caplog.text
    assert run(job.pk, clock) is Ran.LEFT_ALONE


def test_a_success_forgets_the_error_of_the_first_try(register: Register, clock: StoppedClock) -> None:
    register(fails)
    job = queued()
    run(job.pk, clock)
    register(succeeds)
    clock.advance(minutes=1)

    assert run(job.pk, clock) is Ran.DONE

    assert (now_is(job)["attempts"], now_is(job)["error"], now_is(job)["not_before"]) == (2, "", None)


def test_to_be_tried_again_is_no_failure_however_often(register: Register, clock: StoppedClock) -> None:
    job = queued()
    for _ in range(5):
        at = clock() + timedelta(hours=1)
        register(waits_until(at))

        assert run(job.pk, clock) is Ran.POSTPONED

        assert now_is(job) == {
            "state": "queued",
            "attempts": 0,
            "started_at": None,
            "finished_at": None,
            "run_at": at,
            "not_before": at,
            "error": "the mail server is away",
        }
        clock.move_to(at - MOMENT)
        assert run(job.pk, clock) is Ran.LEFT_ALONE
        clock.move_to(at)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("x" * 3_000), "ValueError: " + "x" * (2_000 - 12)),
        (ValueError("nul \0 and a half \ud800"), "ValueError: nul  and a half ?"),
        (KeyError("slug"), "KeyError: 'slug'"),
        (ValueError(), "ValueError"),
        (Unspeakable(), "tests.jobs.test_runner.Unspeakable: <exception str() failed>"),
    ],
)
def test_any_error_can_be_written_down(
    register: Register, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def raises(subject_id: int, now: datetime) -> None:
        raise error

    monkeypatch.setattr(runner.log, "disabled", True)  # pytest-xdist cannot send half a character to its other side
    register(raises)
    job = queued()

    assert run(job.pk, clock) is Ran.FAILED
    assert now_is(job)["error"] == words


def test_a_task_that_breaks_its_transaction_is_written_down_all_the_same(
    register: Register, clock: StoppedClock
) -> None:
    def breaks(subject_id: int, now: datetime) -> None:
        with transaction.atomic():
            queued("tests.follow-up")
            queued("x" * 61)

    register(breaks)
    job = queued()

    assert run(job.pk, clock) is Ran.FAILED
    assert now_is(job)["error"].startswith("django.db.utils.DataError: value too long")
    assert rows(Job, "task") == [TASK]
    assert handed_out() == [job.pk]


@pytest.mark.django_db(transaction=True)
def test_a_task_over_its_time_is_written_down_and_the_worker_told_to_end(
    register: Register, clock: StoppedClock
) -> None:
    def takes_too_long(subject_id: int, now: datetime) -> None:
        clock.move_to(NOW + LEASE)
        raise TimeoutException("Task exceeded maximum timeout value (300 seconds)")

    register(takes_too_long)
    job = queued()

    with pytest.raises(TimeoutException):
        run(job.pk, clock)

    assert now_is(job)["not_before"] == NOW + LEASE + MINUTE
    assert now_is(job)["error"].endswith("Task exceeded maximum timeout value (300 seconds)")


def test_an_unknown_task_is_parked_at_once(clock: StoppedClock) -> None:
    job = queued("tests.gone")

    assert run(job.pk, clock) is Ran.PARKED

    assert (now_is(job)["state"], now_is(job)["error"]) == ("parked", "There is no task named tests.gone.")


@pytest.mark.parametrize(
    ("fields", "ran"),
    [
        ({}, Ran.DONE),
        ({"attempts": 2}, Ran.DONE),
        ({"attempts": 1, "started_at": NOW}, Ran.LEFT_ALONE),
        ({"attempts": 1, "started_at": NOW - LEASE + MOMENT}, Ran.LEFT_ALONE),
        ({"attempts": 1, "started_at": NOW - LEASE}, Ran.DONE),
        ({"attempts": 3, "started_at": NOW - LEASE + MOMENT}, Ran.LEFT_ALONE),
        ({"attempts": 3, "started_at": NOW - LEASE}, Ran.PARKED),
        ({"not_before": NOW + MOMENT}, Ran.LEFT_ALONE),
        ({"not_before": NOW}, Ran.DONE),
        ({"run_at": NOW + DAY}, Ran.DONE),
        ({"state": JobState.DONE, "finished_at": NOW}, Ran.LEFT_ALONE),
        ({"state": JobState.PARKED, "finished_at": NOW}, Ran.LEFT_ALONE),
    ],
)
def test_only_what_nobody_works_on_is_run(
    register: Register, clock: StoppedClock, fields: dict[str, Any], ran: Ran
) -> None:
    seen = []
    register(lambda subject_id, now: seen.append(subject_id))
    job = put(**fields)

    assert run(job.pk, clock) is ran

    assert len(seen) == (ran is Ran.DONE)
    if ran is Ran.PARKED:
        assert now_is(job)["error"] == (
            "Started 3 times, and the last time it never came to an end: its worker was killed, or it took longer"
            " than 300 seconds."
        )


def test_a_job_that_is_gone_is_left_alone(clock: StoppedClock) -> None:
    assert run(404, clock) is Ran.LEFT_ALONE


@pytest.mark.parametrize("state", [JobState.PARKED, JobState.QUEUED])
def test_who_was_thought_dead_and_succeeds_has_done_it(
    register: Register, clock: StoppedClock, state: JobState
) -> None:
    """Its lease was over: it was parked, or even begun once more."""
    job = queued()

    def overtaken(subject_id: int, now: datetime) -> None:
        finished_at = NOW if state == JobState.PARKED else None
        Job.objects.filter(pk=job.pk).update(state=state, attempts=3, started_at=NOW + LEASE, finished_at=finished_at)

    register(overtaken)

    assert run(job.pk, clock) is Ran.DONE
    assert (now_is(job)["state"], now_is(job)["error"]) == ("done", "")


@pytest.mark.parametrize("accident", [ValueError("late"), TryAgain("late", at=NOW)])
@pytest.mark.parametrize(
    "meanwhile",
    [
        {"attempts": 2, "started_at": NOW + LEASE},
        {"attempts": 1, "started_at": NOW + LEASE},  # tried again by a person, from the first attempt
        {"state": JobState.DONE, "finished_at": NOW, "started_at": None},
        {"state": JobState.PARKED, "finished_at": NOW, "started_at": None},
    ],
)
def test_who_was_thought_dead_and_fails_changes_nothing_for_who_came_after(
    register: Register, clock: StoppedClock, accident: Exception, meanwhile: dict[str, Any]
) -> None:
    job = queued()

    def overtaken(subject_id: int, now: datetime) -> None:
        Job.objects.filter(pk=job.pk).update(**meanwhile)
        raise accident

    register(overtaken)
    run(job.pk, clock)

    after = now_is(job)
    assert {name: after[name] for name in meanwhile} == meanwhile
    assert after["error"] == ""


def test_the_cluster_runs_a_job_by_its_number_and_the_clock(register: Register, clock: StoppedClock) -> None:
    seen = []
    register(lambda subject_id, now: seen.append((subject_id, now)))

    tasks.run(queued().pk)

    assert seen == [(7, NOW)]


# --- The sweep ---


@pytest.mark.parametrize(
    ("fields", "again"),
    [
        ({"run_at": NOW}, True),
        ({"run_at": NOW + MOMENT}, False),
        ({"run_at": NOW, "attempts": 1, "not_before": NOW}, True),
        ({"run_at": NOW, "attempts": 2, "started_at": NOW - LEASE}, True),
        ({"run_at": NOW, "attempts": 2, "started_at": NOW - LEASE + MOMENT}, False),
        ({"run_at": NOW - DAY, "attempts": 3, "started_at": NOW - LEASE}, False),
        ({"run_at": NOW - DAY, "state": JobState.DONE, "finished_at": NOW}, False),
        ({"run_at": NOW - DAY, "state": JobState.PARKED, "finished_at": NOW}, False),
    ],
)
def test_what_has_waited_too_long_is_handed_out_again(fields: dict[str, Any], again: bool) -> None:
    job = put(**fields)

    assert sweep(NOW) == again

    assert handed_out() == [job.pk] * again
    assert (now_is(job)["run_at"] == NOW + LOOK_AGAIN_AFTER) is again


def test_it_is_not_handed_out_each_minute() -> None:
    job = put()

    assert [sweep(NOW + minute * MINUTE) for minute in range(11)] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert handed_out() == [job.pk] * 3


def test_what_was_killed_three_times_is_parked_by_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    killed = put(attempts=3, started_at=NOW - LEASE)
    working = put(attempts=3, started_at=NOW - LEASE + MOMENT)

    assert sweep(NOW) == 0

    assert (now_is(killed)["state"], now_is(killed)["finished_at"]) == ("parked", NOW)
    assert now_is(killed)["error"].startswith("Started 3 times, and the last time it never came to an end")
    assert now_is(working)["state"] == "queued"
    assert f"jobs [{killed.pk}] parked" in caplog.text


def test_one_sweep_hands_out_a_thousand_the_oldest_first(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="django-q")
    Job.objects.bulk_create(
        Job(task=TASK, subject_id=number, created_at=NOW, run_at=NOW - number * MINUTE)
        for number in range(MOST_PER_SWEEP + 2)
    )

    assert sweep(NOW) == 1_000
    assert sorted(rows(Job, "subject_id", run_at__lte=NOW)) == [0, 1]
    assert (sweep(NOW), sweep(NOW)) == (2, 0)

    assert len(set(handed_out())) == len(handed_out()) == 1_002


def test_the_regular_task_sweeps_and_forgets(clock: StoppedClock) -> None:
    put()
    put(state=JobState.DONE, finished_at=NOW - 31 * DAY)

    assert tasks.sweep(unknown="ignored") == "1 jobs handed out again, 1 old ones forgotten"


# --- In the foreground ---


def test_everything_that_may_be_run_is_run_and_what_that_enqueues(register: Register, clock: StoppedClock) -> None:
    seen = []

    def begets(subject_id: int, now: datetime) -> None:
        seen.append(subject_id)
        if subject_id < 3:
            queued(subject_id=subject_id + 1)

    register(begets)
    queued(subject_id=0)
    queued("tests.gone")
    put(subject_id=10, not_before=NOW, run_at=NOW + DAY)
    put(subject_id=11, not_before=NOW + MOMENT)
    put(subject_id=12, attempts=1, started_at=NOW)
    put(subject_id=13, attempts=3, started_at=NOW - LEASE)
    put(subject_id=14, state=JobState.DONE, finished_at=NOW)

    assert run_all_due(clock) == {Ran.DONE: 5, Ran.PARKED: 2}

    assert seen == [0, 10, 1, 2, 3]
    assert run_all_due(clock) == {}


def test_each_job_is_run_once_in_a_call_even_if_it_wants_more(register: Register, clock: StoppedClock) -> None:
    register(waits_until(NOW))
    queued()

    assert run_all_due(clock) == {Ran.POSTPONED: 1}


# --- People ---


def test_a_parked_job_is_tried_again_as_if_it_were_new(register: Register, acme: Account, clock: StoppedClock) -> None:
    register(succeeds)
    job = put(state=JobState.PARKED, finished_at=NOW, attempts=3, error="ValueError", created_at=NOW - DAY)

    assert unpark(job, NOW)

    assert now_is(job) == {
        "state": "queued",
        "attempts": 0,
        "started_at": None,
        "finished_at": None,
        "run_at": NOW + LOOK_AGAIN_AFTER,
        "not_before": NOW,
        "error": "ValueError",
    }
    assert handed_out() == [job.pk]
    assert run(job.pk, clock) is Ran.DONE


@pytest.mark.parametrize(
    "fields", [{}, {"attempts": 1, "started_at": NOW}, {"state": JobState.DONE, "finished_at": NOW}]
)
def test_what_is_not_parked_is_not_tried_again(fields: dict[str, Any]) -> None:
    job = put(**fields)
    before = now_is(job)

    assert not unpark(job, NOW)

    assert (now_is(job), handed_out()) == (before, [])


def test_what_was_done_is_forgotten_after_30_days_and_what_is_parked_never() -> None:
    put(state=JobState.DONE, finished_at=NOW - 30 * DAY, subject_id=1)
    put(state=JobState.DONE, finished_at=NOW - 30 * DAY - MOMENT, subject_id=2)
    put(state=JobState.PARKED, finished_at=NOW - 300 * DAY, subject_id=3)
    put(created_at=NOW - 300 * DAY, subject_id=4)

    assert (forget_done(NOW), forget_done(NOW)) == (1, 0)
    assert sorted(rows(Job, "subject_id")) == [1, 3, 4]


def test_forgetting_goes_by_chunks() -> None:
    Job.objects.bulk_create(
        Job(task=TASK, subject_id=1, state=JobState.DONE, created_at=NOW, run_at=NOW, finished_at=NOW)
        for _ in range(10_001)
    )

    assert [forget_done(NOW + 31 * DAY) for _ in range(3)] == [10_000, 1, 0]


@pytest.mark.parametrize(
    ("fields", "late"),
    [
        ({"created_at": NOW - 5 * MINUTE}, None),
        ({"created_at": NOW - 6 * MINUTE}, 6),
        ({"created_at": NOW - DAY, "not_before": NOW + MINUTE}, None),
        ({"created_at": NOW - DAY, "not_before": NOW - 7 * MINUTE}, 7),
        ({"created_at": NOW - DAY, "attempts": 1, "started_at": NOW - LEASE + MOMENT}, None),
        ({"created_at": NOW - DAY, "attempts": 1, "started_at": NOW - LEASE - 8 * MINUTE}, 8),
        ({"created_at": NOW - DAY, "state": JobState.DONE, "finished_at": NOW}, None),
    ],
)
def test_overdue_is_what_should_have_been_run_by_now(fields: dict[str, Any], late: int | None) -> None:
    put(**fields)

    assert overdue(NOW) == Overdue(jobs=late is not None, longest=(late or 0) * MINUTE, parked=0)


def test_the_longest_overdue_and_the_parked_are_told() -> None:
    for minutes in (9, 11, 10):
        put(created_at=NOW - minutes * MINUTE)
    put(state=JobState.PARKED, finished_at=NOW - DAY)

    assert overdue(NOW) == Overdue(jobs=3, longest=11 * MINUTE, parked=1)


def test_a_job_exists_exactly_if_its_cause_does() -> None:
    with transaction.atomic():
        queued()
        transaction.set_rollback(True)

    assert (rows(Job, "pk"), handed_out()) == ([], [])
