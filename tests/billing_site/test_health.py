"""`/healthz` and `/readyz`."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django_q.models import OrmQ, Success

from tests.conftest import StoppedClock
from tests.factories import NOW


@pytest.fixture
def worker(db: None, clock: StoppedClock) -> Any:
    """What `/readyz` tells of the worker."""
    return lambda: Client().get("/readyz").json()["worker"]


def test_alive_asks_no_database():
    answer = Client().get("/healthz")  # pytest-django would refuse a query here

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_with_a_database_and_all_migrations(db: None):
    answer = Client().get("/readyz").json()

    assert (answer["status"], answer["database"], answer["migrations"]) == ("ok", "ok", "ok")


def test_not_ready_without_a_database(db: None, monkeypatch: pytest.MonkeyPatch):
    def gone(*args: Any) -> None:
        raise OperationalError("no route to host 10.0.0.7")

    monkeypatch.setattr("billing_site.health.MigrationExecutor", gone)
    answer = Client().get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not ready",
        "database": "unreachable",
        "migrations": "unknown",
        "worker": {"state": "unknown"},
    }


def test_not_ready_while_a_migration_is_missing(db: None):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'metering'")

    answer = Client().get("/readyz")

    assert (answer.status_code, answer.json()["database"]) == (503, "ok")
    assert answer.json()["migrations"].endswith("not applied")


def test_a_worker_with_nothing_to_do_is_unknown(worker: Any):
    assert worker()["state"] == "unknown"


def test_a_worker_that_ended_a_task_lately_runs(worker: Any, clock: StoppedClock):
    Success.objects.create(id="1", name="x", func="x", started=NOW, stopped=NOW - timedelta(minutes=4), success=True)

    assert worker() == {
        "state": "running",
        "last_task_ended_at": "2026-11-22T11:56:00Z",
        "oldest_task_waits_since": None,
    }
    clock.advance(minutes=2)
    assert worker()["state"] == "unknown"


def test_a_worker_that_leaves_a_task_waiting_is_silent_and_we_are_ready_all_the_same(worker: Any, clock: StoppedClock):
    OrmQ.objects.create(key="headcount", payload="x", lock=NOW)

    assert worker()["state"] == "unknown"
    clock.advance(seconds=61)
    assert worker()["state"] == "silent"
    assert Client().get("/readyz").status_code == 200


def test_only_looking_is_allowed(db: None):
    assert Client().post("/healthz").status_code == 405
    assert Client().post("/readyz").status_code == 405


def test_the_root_leads_to_the_admin():
    answer = Client().get("/")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")


def test_a_probe_may_call_this_machine_by_any_name(client: Client, db: None):
    assert client.get("/healthz", headers={"host": "10.0.0.5"}).status_code == 200
    assert client.get("/readyz", headers={"host": "10.0.0.5"}).status_code == 200
    assert client.get("/admin/login/", headers={"host": "10.0.0.5"}).status_code == 400
