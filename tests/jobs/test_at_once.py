"""Several workers and several schedulers at once: each job is run by one and handed out by one."""

from collections import Counter
from datetime import datetime
from functools import partial

import pytest

from jobs.models import Job
from jobs.runner import LEASE, Ran, forget_done, run, sweep
from tests.at_once import at_once, until
from tests.factories import NOW
from tests.jobs.conftest import Register, handed_out, put, queued

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS = 4


@pytest.mark.parametrize("fields", [{}, {"attempts": 1, "started_at": NOW - LEASE}], ids=["new", "lease is over"])
def test_of_several_workers_with_one_job_one_runs_it(register: Register, fields: dict[str, object]) -> None:
    begun: list[int] = []
    answered: list[Ran] = []

    def lasts_until_the_others_have_been(subject_id: int, now: datetime) -> None:
        begun.append(subject_id)
        until(lambda: len(begun) + len(answered) >= WORKERS)

    def worker(job_id: int) -> Ran:
        answer = run(job_id, lambda: NOW)
        answered.append(answer)
        return answer

    register(lasts_until_the_others_have_been)
    job = put(**fields)
    before = job.attempts

    found = at_once(*[partial(worker, job.pk)] * WORKERS)

    assert Counter(found) == {Ran.DONE: 1, Ran.LEFT_ALONE: WORKERS - 1}
    assert len(begun) == 1
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("done", before + 1)


def test_of_several_sweeps_one_hands_out_each_job_and_parks_each_that_is_used_up() -> None:
    waiting = [put().pk for _ in range(100)]
    for _ in range(10):
        put(attempts=3, started_at=NOW - LEASE)

    found = at_once(*[lambda: sweep(NOW)] * WORKERS)

    assert sum(found) == 100
    assert handed_out() == waiting
    assert Job.objects.filter(state="parked").count() == 10


def test_workers_and_sweeps_do_not_get_into_each_others_way(register: Register) -> None:
    done = []
    register(lambda subject_id, now: done.append(subject_id))
    jobs = [queued(subject_id=number, now=NOW - LEASE).pk for number in range(60)]

    def worker() -> list[Ran]:
        return [run(job_id, lambda: NOW) for job_id in jobs]

    found = at_once(worker, worker, lambda: sweep(NOW), lambda: sweep(NOW), lambda: forget_done(NOW))

    assert [answer for answer in found if isinstance(answer, Exception)] == []
    assert sorted(done) == list(range(60))
