"""Numbers for whoever watches Headcount, as Prometheus reads them.

All of them are read from the database when they are asked for, so it does not matter which of the web server's
processes answers. Nothing is counted beyond `MOST_COUNTED` rows, and no label names an account.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, override

from django.apps import apps
from django.db import connection, transaction
from django.db.models import Model, QuerySet
from django_q.models import OrmQ
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from billing_site.heartbeat import worker_heartbeat
from billing_site.overdue import findings
from jobs.models import Job, JobState
from metering.models import Event, EventState, QuarantinedEvent
from notifications.models import Notification, NotificationState
from webhooks.models import Delivery, DeliveryState

MOST_COUNTED: Final = 10_000
MOST_MILLISECONDS: Final = 2_000
"""Of each statement: a watcher must not make a slow database slower."""

_APPS: Final = ("accounts", "jobs", "plans", "notifications", "webhooks", "metering")


def exposition(now: datetime) -> bytes:
    """All metrics in Prometheus' text format. Raises `OperationalError` if the database is away or too slow."""
    registry = CollectorRegistry()
    registry.register(_FromDatabase(now))
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {MOST_MILLISECONDS}")
        return generate_latest(registry)


class _FromDatabase(Collector):
    def __init__(self, now: datetime) -> None:
        self._now = now

    def describe(self) -> Iterator[Metric]:
        """Nothing: else registering would collect."""
        return iter(())

    @override
    def collect(self) -> Iterator[Metric]:
        yield from _work(self._now)
        yield _backlog()
        yield from _worker(self._now)
        yield _rows()


def _work(now: datetime) -> Iterator[Metric]:
    """What `overdue` and `/readyz` tell."""
    age = GaugeMetricFamily(
        "headcount_work_oldest_age_seconds",
        "Since when the oldest work of a kind is due; 0: there is none.",
        labels=["work"],
    )
    late = GaugeMetricFamily(
        "headcount_work_late", "1 if work of a kind should have been done by now and was not.", labels=["work"]
    )
    for found in findings(now):
        seconds = 0.0 if found.since is None else max(0.0, (now - found.since).total_seconds())
        age.add_metric([found.name], seconds)
        late.add_metric([found.name], found.late)
    yield age
    yield late


def _backlog() -> Metric:
    waiting: dict[str, QuerySet[Model]] = {
        "jobs_queued": Job.objects.filter(state=JobState.QUEUED),
        "jobs_parked": Job.objects.filter(state=JobState.PARKED),
        "mails_pending": Notification.objects.filter(state=NotificationState.PENDING),
        "mails_failed": Notification.objects.filter(state=NotificationState.FAILED),
        "webhooks_pending": Delivery.objects.filter(state=DeliveryState.PENDING),
        "webhooks_failed": Delivery.objects.filter(state=DeliveryState.FAILED),
        "events_held": Event.objects.filter(state=EventState.HELD),
        "events_quarantined": QuarantinedEvent.objects.filter(resolved_at=None),
        "tasks": OrmQ.objects.all(),
    }
    family = GaugeMetricFamily(
        "headcount_backlog", f"What waits for a worker or a person; {MOST_COUNTED}: so many or more.", labels=["kind"]
    )
    for kind, rows in waiting.items():
        family.add_metric([kind], rows.order_by()[:MOST_COUNTED].count())
    return family


def _worker(now: datetime) -> Iterator[Metric]:
    ended_at = worker_heartbeat(now)["last_task_ended_at"]
    if ended_at is not None:
        yield GaugeMetricFamily(
            "headcount_last_task_ended_timestamp_seconds",
            "When the task cluster ended a task last.",
            ended_at.timestamp(),
        )


def _rows() -> Metric:
    """By the planner's own estimate, which costs nothing. A table that was never analysed has none."""
    tables = [model._meta.db_table for app in _APPS for model in apps.get_app_config(app).get_models()]
    family = GaugeMetricFamily("headcount_rows_estimate", "About how many rows a table has.", labels=["table"])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, reltuples FROM unnest(%s::text[]) AS name JOIN pg_class ON oid = to_regclass(name)"
            " WHERE reltuples >= 0 ORDER BY relname",
            [tables],
        )
        for table, rows in cursor.fetchall():
            family.add_metric([table], rows)
    return family
