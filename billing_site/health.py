"""Whether we live, and whether we are ready to serve: for whoever runs Headcount, without a key."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Max, Min
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from django_q.models import OrmQ, Task

RECENTLY: Final = timedelta(minutes=5)
"""A task that ended since then shows that a worker runs."""

TOO_LONG: Final = timedelta(minutes=1)
"""A task that waits for longer shows that none does, or too few."""


@require_safe
def alive(request: HttpRequest) -> JsonResponse:
    """200 as long as this process answers; asks nothing else."""
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 if the database answers and has every migration, else 503. How the worker does is told only."""
    try:
        unapplied = _unapplied_migrations()
        worker = {"state": "unknown"} if unapplied else worker_heartbeat(timezone.now())
    except Error:
        return _not_ready({"database": "unreachable", "migrations": "unknown"})
    if unapplied:
        return _not_ready({"database": "ok", "migrations": f"{unapplied} not applied"})
    return JsonResponse({"status": "ok", "database": "ok", "migrations": "ok", "worker": worker})


def answer_probes(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware, before all others: whoever probes does so by an address of this machine, which is no allowed host,
    and without TLS, and wants no redirect."""
    probes: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {"/healthz": alive, "/readyz": ready}

    def respond(request: HttpRequest) -> HttpResponseBase:
        return probes.get(request.path, get_response)(request)

    return respond


def worker_heartbeat(now: datetime) -> dict[str, Any]:
    """How the task cluster does, by what it leaves in the database.

    django-q2 tells of its processes through the cache, which here is each process's own. So: `running` if a
    task ended lately, `silent` if one has been waiting for too long, else `unknown`: there was nothing to do.
    """
    last_ended_at = Task.objects.aggregate(at=Max("stopped"))["at"]
    waits_since = OrmQ.objects.filter(lock__lte=now).aggregate(at=Min("lock"))["at"]
    state = "unknown"
    if waits_since is not None and waits_since < now - TOO_LONG:
        state = "silent"
    elif last_ended_at is not None and last_ended_at > now - RECENTLY:
        state = "running"
    return {"state": state, "last_task_ended_at": last_ended_at, "oldest_task_waits_since": waits_since}


def _unapplied_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _not_ready(found: dict[str, str]) -> JsonResponse:
    return JsonResponse({"status": "not ready", **found, "worker": {"state": "unknown"}}, status=503)
