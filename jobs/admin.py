"""What staff see of the queue. Nothing is changed here but that a parked job can be tried again."""

from typing import Any, override

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.admin import ReadOnlyAdmin
from accounts.audit import write_audit
from jobs.models import Job
from jobs.registry import TASKS
from jobs.runner import unpark


class RegisteredTask(admin.SimpleListFilter):
    """By task: all that there are, whether or not there is a job for them."""

    title = "task"
    parameter_name = "task"

    @override
    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(TASKS)]

    @override
    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        chosen = self.value()
        return queryset.filter(task=chosen) if chosen in TASKS else queryset


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs, the newest first."""

    list_display = ("created_at", "task", "subject_id", "account", "state", "attempts", "run_at", "what_went_wrong")
    list_filter = ("state", RegisteredTask)
    list_select_related = ("account",)
    search_fields = ("=account__slug", "=task")
    ordering = ("-created_at", "-pk")
    actions = ("try_again",)

    @admin.display(description="what went wrong")
    def what_went_wrong(self, job: Job) -> str:
        """The first line of it."""
        return job.error.partition("\n")[0][:200]

    @override
    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        return (lookup == RegisteredTask.parameter_name and value in TASKS) or super().lookup_allowed(
            lookup, value, request
        )

    def has_try_again_permission(self, request: HttpRequest) -> bool:
        """Asked for by the action; the pages stay read-only for everybody."""
        return request.user.has_perm("jobs.change_job")

    @admin.action(description="Try again", permissions=["try_again"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Hand the parked ones among the chosen jobs to the cluster."""
        tried = sum(_try_again(job, request.user.get_username()) for job in queryset)
        left = len(queryset) - tried
        rest = f" {left:,} were not parked and are left as they are." if left else ""
        self.message_user(
            request, f"{tried:,} jobs are tried again.{rest}", messages.WARNING if left else messages.SUCCESS
        )


@transaction.atomic
def _try_again(job: Job, actor: str) -> bool:
    now = timezone.now()
    if not unpark(job, now):
        return False
    before = {"job": job.pk, "task": job.task, "subject_id": job.subject_id, "state": "parked"}
    write_audit(job.account, "job.tried_again", actor=actor, at=now, before=before, after={"state": "queued"})
    return True
