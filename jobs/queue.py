"""Put work into the queue, in the transaction of what causes it: the job exists exactly if that does."""

from datetime import datetime, timedelta
from typing import Final

from django_q.tasks import async_task

from jobs.models import Job

LOOK_AGAIN_AFTER: Final = timedelta(minutes=5)
"""How long a job may wait in the cluster's queue before the scheduler hands it out once more."""

RUNNER: Final = "jobs.tasks.run"


def enqueue(task: str, subject_id: int, *, account_id: int | None, now: datetime) -> Job:
    """Have a task of `jobs.registry` run for a subject. The caller sees to it that this happens once per cause."""
    job = Job.objects.create(
        account_id=account_id, task=task, subject_id=subject_id, created_at=now, run_at=now + LOOK_AGAIN_AFTER
    )
    hand_out(job.pk)
    return job


def hand_out(job_id: int) -> None:
    """Give a job to the cluster, which may have it already: running it again does no harm."""
    async_task(RUNNER, job_id, task_name=f"job {job_id}")
