"""What tests of the queue share: tasks of their own, and a look at a job and at what the cluster was given."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django_q.models import OrmQ

from jobs.models import Job
from jobs.queue import enqueue
from jobs.registry import TASKS, Task
from tests.factories import NOW

TASK = "tests.task"

Register = Callable[[Task], None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Make a function the task that `queued` is for, while the test runs."""
    return lambda function: monkeypatch.setitem(TASKS, TASK, function)


def queued(task: str = TASK, subject_id: int = 7, now: datetime = NOW) -> Job:
    """A job as it is enqueued."""
    return enqueue(task, subject_id, account_id=None, now=now)


def put(**fields: Any) -> Job:
    """A job that has been through something."""
    return Job.objects.create(**{"task": TASK, "subject_id": 7, "created_at": NOW, "run_at": NOW} | fields)


def handed_out() -> list[int]:
    """The jobs that the cluster was given and has not taken, each as often as it was."""
    return sorted(row.task["args"][0] for row in OrmQ.objects.all())
