"""In a real cluster: workers that are killed or hang, and tasks that fail, cost no other job anything."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from django.db.models import F

from jobs import runner
from jobs.models import Job
from jobs.runner import sweep
from tests.billing_site.programs import eventually
from tests.cluster import cluster, done, members
from tests.jobs.conftest import queued
from tests.jobs.poison import NOTES, starts

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = timedelta(seconds=5)  # as the cluster of tests has it


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where the tasks note that they were started."""
    return tmp_path / "notes"


@pytest.fixture
def group(notes: Path, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A cluster; our own sweeps know its lease."""
    monkeypatch.setattr(runner, "LEASE", LEASE)
    with cluster(**{NOTES: notes}) as group:
        yield group


def enqueued(task: str, subject_id: int = 1) -> Job:
    return queued(task, subject_id, now=datetime.now(UTC))


def state_of(job: Job) -> str:
    job.refresh_from_db()
    return job.state


def ended_when_swept(job: Job) -> bool:
    """Whether it is done or parked, the scheduler having looked."""
    sweep(datetime.now(UTC))
    return state_of(job) != "queued"


def failed_times(job: Job, times: int) -> bool:
    """Whether it has failed so often and waits."""
    job.refresh_from_db()
    return job.attempts == times and job.started_at is None


def an_hour_passes() -> None:
    """For the jobs that wait."""
    hour = timedelta(hours=1)
    Job.objects.filter(state="queued").update(not_before=F("not_before") - hour, run_at=F("run_at") - hour)


def test_a_job_that_kills_its_worker_is_parked_after_three_and_the_others_get_done(group: int, notes: Path) -> None:
    killer = enqueued("poison.kills")
    victim = enqueued("poison.kills once")
    others = [enqueued("poison.good", number) for number in range(20)]

    eventually(lambda: ended_when_swept(killer), seconds=90)

    assert state_of(killer) == "parked"
    assert killer.error.startswith("Started 3 times, and the last time it never came to an end: its worker was killed")
    assert starts(notes, "poison.kills", 1) == 3
    eventually(lambda: all(done(job) for job in [victim, *others]))
    assert [starts(notes, "poison.good", number) for number in range(20)] == [1] * 20
    assert (victim.attempts, starts(notes, "poison.kills once", 1)) == (2, 2)


def test_a_job_that_always_fails_is_parked_after_three(group: int, notes: Path) -> None:
    job = enqueued("poison.raises")
    for attempt in (1, 2):
        eventually(partial(failed_times, job, attempt))
        assert sweep(datetime.now(UTC)) == 0
        an_hour_passes()
        assert sweep(datetime.now(UTC)) == 1

    eventually(lambda: state_of(job) == "parked")

    assert (job.error, starts(notes, "poison.raises", 1)) == ("ValueError: as always", 3)


def test_a_job_that_hangs_is_ended_and_tried_again_later(group: int, notes: Path) -> None:
    began = datetime.now(UTC)
    job = enqueued("poison.hangs")

    eventually(partial(failed_times, job, 1))

    assert "Task exceeded maximum timeout value (5 seconds)" in job.error
    assert (job.state, job.attempts, job.started_at) == ("queued", 1, None)
    assert job.not_before
    assert timedelta(seconds=60 + 5) <= job.not_before - began < timedelta(seconds=60 + 20)
    other = enqueued("poison.good")
    eventually(lambda: done(other))


def test_nothing_of_the_cluster_is_left_when_it_was_needed(notes: Path, transactional_db: None) -> None:
    with cluster(**{NOTES: notes}) as group:
        job = enqueued("poison.hangs")
        eventually(lambda: starts(notes, "poison.hangs", 1))
        assert len(members(group)) >= 5

    assert members(group) == []
    assert Job.objects.filter(pk=job.pk).update(error="nobody holds it") == 1
