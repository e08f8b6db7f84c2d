"""Whether we live, are ready to serve, and how we do: for whoever runs Headcount, without a key."""

from collections.abc import Callable
from hmac import compare_digest

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotFound, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from billing_site import metrics
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


@csrf_exempt
@require_safe
def measured(request: HttpRequest) -> HttpResponse:
    """The metrics for whoever sends `Authorization: Bearer <METRICS_TOKEN>`, else 401; without such a setting, 404. A
    database that does not answer is 503."""
    if not settings.METRICS_TOKEN:
        return HttpResponseNotFound()
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    sent = token.strip().encode("latin-1", errors="replace")  # the bytes as they came
    is_theirs = compare_digest(sent, settings.METRICS_TOKEN.encode())
    if scheme.lower() != "bearer" or not is_theirs:
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    try:
        said = metrics.exposition(timezone.now())
    except (OperationalError, InterfaceError):
        return HttpResponse(status=503)
    return HttpResponse(said, content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def answer_probes(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware, before all others: whoever probes does so by an address of this machine, which is no allowed host,
    and without TLS, and wants no redirect."""
    probes: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {
        "/healthz": alive,
        "/readyz": ready,
        "/metrics": measured,
    }

    def respond(request: HttpRequest) -> HttpResponseBase:
        return probes.get(request.path, get_response)(request)

    return respond


def _unapplied_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _not_ready(found: dict[str, str]) -> JsonResponse:
    return JsonResponse({"status": "not ready", **found, "worker": {"state": "unknown"}}, status=503)
