"""What the task cluster has to do, has done, or has given up."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from accounts.models import Account


class JobState(models.TextChoices):
    """`parked`: it failed too often and waits for a person."""

    QUEUED = "queued"
    DONE = "done"
    PARKED = "parked"


class Job(models.Model):
    """A piece of work, made in the transaction of what causes it, and tried until it is done or parked.

    `task` is a name of `jobs.registry`, `subject_id` the one thing that it is about. `attempts` counts the starts,
    committed before the work begins, so a job that kills its worker is counted too. While `started_at` is set, who
    set it works on it, until its lease is over. Without `not_before` it may run at once, else from then on. `run_at`
    is when the scheduler looks again whether it must be handed to the cluster once more.
    """

    account = models.ForeignKey(Account, models.PROTECT, null=True, blank=True, related_name="+")
    task = models.CharField(max_length=60)
    subject_id = models.BigIntegerField()
    state = models.CharField(max_length=10, choices=JobState, default=JobState.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField()
    run_at = models.DateTimeField()
    not_before = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, default="", db_default="")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="job_is_finished_exactly_when_it_is_not_queued",
                condition=Q(state="queued", finished_at__isnull=True)
                | (~Q(state="queued") & Q(finished_at__isnull=False)),
            )
        ]
        indexes: ClassVar = [
            # What the scheduler hands out again, every minute; and how old the oldest is.
            models.Index(fields=["run_at"], name="job_queued_by_time", condition=Q(state="queued")),
            models.Index(fields=["finished_at"], name="job_parked", condition=Q(state="parked")),
            # The daily clean-up.
            models.Index(fields=["finished_at"], name="job_done_by_time", condition=Q(state="done")),
        ]

    def __str__(self) -> str:
        return f"{self.task} of {self.subject_id} ({self.state}, {self.pk})"
