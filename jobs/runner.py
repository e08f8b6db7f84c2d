"""Run queued jobs: each start is counted before the work begins, failures are tried again, poison is parked."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from traceback import format_exception_only
from typing import Final

from django.db import connection, transaction
from django.db.models import Count, F, Min, Q
from django.db.models.functions import Greatest
from django_q.conf import Conf
from django_q.exceptions import TimeoutException

from jobs.models import Job, JobState
from jobs.queue import LOOK_AGAIN_AFTER, hand_out
from jobs.registry import TASKS, TryAgain

log = logging.getLogger(__name__)

type Clock = Callable[[], datetime]

LEASE: Final = timedelta(seconds=Conf.TIMEOUT)
"""How long a job belongs to who started it: django-q2 ends a task that takes longer."""

BACKOFF: Final = (timedelta(minutes=1), timedelta(minutes=5))
"""The wait after the first failure, and after the second."""

MAX_ATTEMPTS: Final = len(BACKOFF) + 1
MOST_PER_SWEEP: Final = 1_000
OVERDUE_AFTER: Final = timedelta(minutes=5)
KEPT: Final = timedelta(days=30)
_LONGEST_ERROR: Final = 2_000
_CHUNK: Final = 1_000
_CHUNKS_PER_RUN: Final = 10  # a run of the scheduler, every minute, stays short

_QUEUED = Q(state=JobState.QUEUED)
_NEVER_ENDED = (
    f"Started {MAX_ATTEMPTS} times, and the last time it never came to an end: its worker was killed, or it took"
    f" longer than {LEASE.total_seconds():.0f} seconds."
)


class Ran(StrEnum):
    """What came of running a job.

    `failed`: it is tried again after a while. `postponed`: the task asked for another time. `parked`: given up.
    `left_alone`: it is done, parked or not yet to be run, or somebody else works on it.
    """

    DONE = "done"
    FAILED = "failed"
    POSTPONED = "postponed"
    PARKED = "parked"
    LEFT_ALONE = "left alone"


def run(job_id: int, clock: Clock) -> Ran:
    """Run a job, unless somebody else does or it need not be run; to be called outside of any transaction.

    What the task raises ends here, and is in the job's `error` and the log. Only django-q2's own TimeoutException
    goes on, when it is written down: that makes it replace the worker.
    """
    now = clock()
    job = _claim(job_id, now)
    if job is None:
        return _park_if_used_up(job_id, now)
    task = TASKS.get(job.task)
    if task is None:
        return _park(job, f"There is no task named {job.task}.", now)
    try:
        task(job.subject_id, now)
    except TryAgain as wish:
        return _postpone(job, wish)
    except Exception as error:
        log.exception("job %s failed: %s", job_id, job.task)
        return _fail(job, error, clock())
    except TimeoutException as error:
        log.exception("job %s took too long: %s", job_id, job.task)
        connection.close()  # it was interrupted anywhere, even in the middle of a query
        _fail(job, error, clock())
        raise
    # Not only if it is still ours: the work is done, whoever thought meanwhile that we were dead.
    Job.objects.filter(pk=job_id).exclude(state=JobState.DONE).update(
        state=JobState.DONE, finished_at=clock(), started_at=None, not_before=None, error=""
    )
    return Ran.DONE


def sweep(now: datetime) -> int:
    """Hand out again what has waited too long, at most 1,000 jobs; how many. Parks those whose attempts are used up.

    May run twice at once: each job is handed out by one of them.
    """
    with transaction.atomic():
        due = dict(
            Job.objects.filter(_QUEUED, _unleased(now), run_at__lte=now)
            .order_by("run_at", "pk")
            .select_for_update(skip_locked=True)
            .values_list("pk", "attempts")[:MOST_PER_SWEEP]
        )
        again = [job_id for job_id, attempts in due.items() if attempts < MAX_ATTEMPTS]
        Job.objects.filter(pk__in=again).update(run_at=now + LOOK_AGAIN_AFTER)
        for job_id in again:
            hand_out(job_id)
        used_up = sorted(due.keys() - set(again))
        Job.objects.filter(pk__in=used_up).update(**_parked(_NEVER_ENDED, now))
    if used_up:
        log.error("jobs %s parked: %s", used_up, _NEVER_ENDED)
    return len(again)


def run_all_due(clock: Clock) -> Counter[Ran]:
    """Run everything that may be run now, here and not in the cluster, and what that enqueues; each job once."""
    ran: Counter[Ran] = Counter()
    last = 0
    while job_ids := _due_after(last, clock()):
        for job_id in job_ids:
            ran[run(job_id, clock)] += 1
        last = job_ids[-1]
    return ran


def unpark(job: Job, now: datetime) -> bool:
    """Have a parked job tried again as if it were new; False if it is not parked (any longer)."""
    with transaction.atomic():
        parked = Job.objects.filter(pk=job.pk, state=JobState.PARKED)
        unparked = parked.update(
            state=JobState.QUEUED,
            attempts=0,
            started_at=None,
            finished_at=None,
            not_before=now,
            run_at=now + LOOK_AGAIN_AFTER,
        )
        if unparked:
            hand_out(job.pk)
    return bool(unparked)


def forget_done(as_of: datetime) -> int:
    """Delete jobs that were done more than 30 days ago, at most 10,000; how many. The next run deletes more."""
    old = Job.objects.filter(state=JobState.DONE, finished_at__lt=as_of - KEPT)
    forgotten = 0
    for _ in range(_CHUNKS_PER_RUN):
        with transaction.atomic():
            rows = old.order_by("finished_at").select_for_update(skip_locked=True)
            chunk = list(rows.values_list("pk", flat=True)[:_CHUNK])
            forgotten += Job.objects.filter(pk__in=chunk).delete()[0]
        if len(chunk) < _CHUNK:
            break
    return forgotten


@dataclass(frozen=True, slots=True)
class Overdue:
    """What a person should look at.

    `jobs`: should have been run more than 5 minutes ago, and nobody works on them; `longest`: how long ago the first
    of them should have been. `parked`: given up.
    """

    jobs: int
    longest: timedelta
    parked: int


def overdue(now: datetime) -> Overdue:
    """How far the queue is behind."""
    # GREATEST passes over what is null. A job that was started is due again when its lease is over.
    since = Greatest("created_at", "not_before", F("started_at") + LEASE)
    late = Job.objects.filter(_QUEUED).annotate(since=since).filter(since__lt=now - OVERDUE_AFTER)
    found = late.aggregate(jobs=Count("pk"), first=Min("since"))
    return Overdue(
        jobs=found["jobs"],
        longest=now - found["first"] if found["first"] else timedelta(0),
        parked=Job.objects.filter(state=JobState.PARKED).count(),
    )


def _unleased(now: datetime) -> Q:
    """Nobody works on it, as far as one can know."""
    return Q(started_at=None) | Q(started_at__lte=now - LEASE)


def _may_run(now: datetime) -> Q:
    return _QUEUED & _unleased(now) & (Q(not_before=None) | Q(not_before__lte=now))


def _due_after(job_id: int, now: datetime) -> list[int]:
    """The next jobs to run, by number: those that are enqueued meanwhile come after them."""
    due = Job.objects.filter(_may_run(now), pk__gt=job_id).order_by("pk")
    return list(due.values_list("pk", flat=True)[:_CHUNK])


def _claim(job_id: int, now: datetime) -> Job | None:
    """Count the attempt and lease the job, committed; None if it is not to be run."""
    with transaction.atomic(durable=True):
        free = Job.objects.filter(_may_run(now), pk=job_id, attempts__lt=MAX_ATTEMPTS)
        if not free.update(attempts=F("attempts") + 1, started_at=now, run_at=now + LEASE):
            return None
        return Job.objects.get(pk=job_id)


def _ours(job: Job) -> Q:
    """It still is as we claimed it: a later attempt, when our lease was over, is none of our business."""
    return _QUEUED & Q(pk=job.pk, attempts=job.attempts, started_at=job.started_at)


def _park_if_used_up(job_id: int, now: datetime) -> Ran:
    used_up = Job.objects.filter(_may_run(now), pk=job_id, attempts__gte=MAX_ATTEMPTS)
    if not used_up.update(**_parked(_NEVER_ENDED, now)):
        return Ran.LEFT_ALONE
    log.error("job %s parked: %s", job_id, _NEVER_ENDED)
    return Ran.PARKED


def _postpone(job: Job, wish: TryAgain) -> Ran:
    """The attempt is given back."""
    _use_a_sound_connection()
    Job.objects.filter(_ours(job)).update(
        attempts=F("attempts") - 1, started_at=None, run_at=wish.at, not_before=wish.at, error=_plain(str(wish))
    )
    return Ran.POSTPONED


def _fail(job: Job, error: BaseException, now: datetime) -> Ran:
    _use_a_sound_connection()
    words = _plain("".join(format_exception_only(error)).strip())
    if job.attempts >= MAX_ATTEMPTS:
        return _park(job, words, now)
    again = now + BACKOFF[job.attempts - 1]
    Job.objects.filter(_ours(job)).update(started_at=None, run_at=again, not_before=again, error=words)
    return Ran.FAILED


def _park(job: Job, reason: str, now: datetime) -> Ran:
    if Job.objects.filter(_ours(job)).update(**_parked(reason, now)):
        log.error("job %s parked: %s", job.pk, reason)
    return Ran.PARKED


def _parked(reason: str, now: datetime) -> dict[str, object]:
    return {
        "state": JobState.PARKED,
        "finished_at": now,
        "started_at": None,
        "not_before": None,
        "error": reason,
    }


def _plain(text: str) -> str:
    """What PostgreSQL can store of it."""
    return text.replace("\0", "").encode(errors="replace").decode()[:_LONGEST_ERROR]


def _use_a_sound_connection() -> None:
    """The task may have failed because its connection broke."""
    if not connection.in_atomic_block:  # which only a test can be
        connection.close_if_unusable_or_obsolete()
