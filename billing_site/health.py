"""Whether we live, and whether we are ready to serve: for whoever runs Headcount, without a key."""

from collections.abc import Callable

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from billing_site.heartbeat import worker_heartbeat
from billing_site.overdue import findings


@require_safe
def alive(request: HttpRequest) -> JsonResponse:
    """200 as long as this process answers; asks nothing else."""
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 if the database answers and has every migration, else 503. How the worker does, and what is overdue, is told
    only."""
    try:
        unapplied = _unapplied_migrations()
        now = timezone.now()
        worker = {"state": "unknown"} if unapplied else worker_heartbeat(now)
        overdue = [] if unapplied else [found.row() for found in findings(now) if found.late]
    except Error:
        return _not_ready({"database": "unreachable", "migrations": "unknown"})
    if unapplied:
        return _not_ready({"database": "ok", "migrations": f"{unapplied} not applied"})
    return JsonResponse({"status": "ok", "database": "ok", "migrations": "ok", "worker": worker, "overdue": overdue})


def answer_probes(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware, before all others: whoever probes does so by an address of this machine, which is no allowed host,
    and without TLS, and wants no redirect."""
    probes: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {"/healthz": alive, "/readyz": ready}

    def respond(request: HttpRequest) -> HttpResponseBase:
        return probes.get(request.path, get_response)(request)

    return respond


def _unapplied_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _not_ready(found: dict[str, str]) -> JsonResponse:
    return JsonResponse({"status": "not ready", **found, "worker": {"state": "unknown"}}, status=503)
