"""Tasks for a cluster of tests. Each start leaves a line in the file POISON_NOTES before it does what it does."""

import os
import signal
from datetime import datetime
from pathlib import Path

from django.apps import AppConfig
from django.db import connection

from jobs.registry import task

NOTES = "POISON_NOTES"


class PoisonConfig(AppConfig):
    """Importing this module registers the tasks."""

    name = "tests.jobs.poison"
    label = "poison"


def starts(notes: Path, name: str, subject_id: int) -> int:
    """How often a task was started for a subject."""
    return notes.read_text().split("\n").count(f"{name} {subject_id}") if notes.exists() else 0


def _note(name: str, subject_id: int) -> int:
    notes = Path(os.environ[NOTES])
    with notes.open("a") as file:
        file.write(f"{name} {subject_id}\n")
    return starts(notes, name, subject_id)


@task("poison.good")
def good(subject_id: int, now: datetime) -> None:
    """Succeed."""
    _note("poison.good", subject_id)


@task("poison.kills")
def kills(subject_id: int, now: datetime) -> None:
    """Kill the worker, as the system does when memory is short: nothing of ours gets to know."""
    _note("poison.kills", subject_id)
    os.kill(os.getpid(), signal.SIGKILL)


@task("poison.kills once")
def kills_once(subject_id: int, now: datetime) -> None:
    """Kill the worker the first time."""
    if _note("poison.kills once", subject_id) == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@task("poison.raises")
def raises(subject_id: int, now: datetime) -> None:
    """Fail each time."""
    _note("poison.raises", subject_id)
    raise ValueError("as always")


@task("poison.hangs")
def hangs(subject_id: int, now: datetime) -> None:
    """Wait for the database longer than the cluster lets us."""
    _note("poison.hangs", subject_id)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(600)")
