"""`/metrics`: for whoever has the token, read from the database, and never much of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import Account
from billing_site import metrics
from jobs.queue import enqueue
from notifications import outbox
from notifications.models import Kind, Notification
from tests.conftest import StoppedClock
from tests.factories import NOW, deliver, event
from tests.notifications.facts import facts
from tests.webhooks.messages import listen, tell
from webhooks.models import Delivery

pytestmark = pytest.mark.django_db

TOKEN = "a token of these tests"
OUR_APPS = [config.label for config in apps.get_app_configs() if Path(config.path).parent == settings.BASE_DIR]


@pytest.fixture(autouse=True)
def token(settings: Any, clock: StoppedClock) -> None:
    """There is one, and the clock stands."""
    settings.METRICS_TOKEN = TOKEN


def ask(authorization: str | None = f"Bearer {TOKEN}") -> Any:
    """What `/metrics` answers."""
    return Client().get("/metrics", headers={} if authorization is None else {"Authorization": authorization})


def numbers() -> dict[tuple[str, ...], float]:
    """Every sample by its name and its labels."""
    answer = ask()
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_the_format_is_the_one_of_prometheus():
    answer = ask()

    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE headcount_work_late gauge" in answer.content


def test_without_the_setting_there_is_no_such_page(settings: Any):
    settings.METRICS_TOKEN = ""

    assert ask("Bearer ").status_code == 404


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer x", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é\udcff"],
)
def test_a_wrong_token_is_401(authorization: str | None):
    answer = ask(authorization)

    assert (answer.status_code, answer.content, answer.headers["WWW-Authenticate"]) == (401, b"", "Bearer")


def test_a_token_may_have_letters_of_any_alphabet(settings: Any):
    settings.METRICS_TOKEN = "zwölf"

    assert ask("Bearer zwölf".encode().decode("latin-1")).status_code == 200


def test_whoever_scrapes_may_call_this_machine_by_any_name():
    answer = Client().get("/metrics", headers={"host": "10.0.0.5", "Authorization": f"Bearer {TOKEN}"})

    assert answer.status_code == 200


def test_only_looking_is_allowed():
    assert Client().post("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 405


def test_a_database_that_does_not_answer_is_503(monkeypatch: pytest.MonkeyPatch):
    def gone(*args: Any) -> None:
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr(metrics, "findings", gone)

    assert ask().status_code == 503


def fill(account: Account, times: int = 1) -> None:
    """Work that waits."""
    for number in range(times):
        enqueue("tests.nothing", number, account_id=account.pk, now=NOW)
        outbox.post(account.pk, Kind.THRESHOLD, facts(), key=f"{number}", at=NOW, live=True, percent=80)
        deliver(account, [event(type=f"nope-{number}")])


def test_what_waits_is_counted_and_its_age_told(acme: Account, clock: StoppedClock):
    fill(acme, 2)
    Notification.objects.filter(key="1").update(state="failed")
    clock.advance(minutes=20)

    found = numbers()

    assert found["headcount_backlog", "jobs_queued"] == 4  # with those that send the mails
    assert found["headcount_backlog", "mails_pending"] == 1
    assert found["headcount_backlog", "mails_failed"] == 1
    assert found["headcount_backlog", "events_quarantined"] == 2
    assert found["headcount_backlog", "events_held"] == 0
    assert found["headcount_work_oldest_age_seconds", "mail"] == timedelta(minutes=20).total_seconds()
    assert (found["headcount_work_late", "mail"], found["headcount_work_late", "held"]) == (1, 0)


def test_webhooks_that_wait_or_were_given_up_are_counted(acme: Account):
    listen()
    tell(acme, "1")
    [failed] = tell(acme, "2")
    Delivery.objects.filter(pk=failed).update(state="failed")

    found = numbers()

    assert (found["headcount_backlog", "webhooks_pending"], found["headcount_backlog", "webhooks_failed"]) == (1, 1)


def test_counting_ends_somewhere(acme: Account, monkeypatch: pytest.MonkeyPatch):
    fill(acme, 5)
    monkeypatch.setattr(metrics, "MOST_COUNTED", 3)

    assert numbers()["headcount_backlog", "events_quarantined"] == 3


def test_tables_are_told_by_their_estimated_size(acme: Account):
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_account")

    assert numbers()["headcount_rows_estimate", "accounts_account"] == 1


def test_every_table_of_ours_is_told_of():
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    told = {name[1] for name in numbers() if name[0] == "headcount_rows_estimate"}

    assert told == {model._meta.db_table for app in OUR_APPS for model in apps.get_app_config(app).get_models()}


def test_more_of_everything_costs_no_more_and_names_nobody(acme: Account):
    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            numbers()
        return len(asked)

    fill(acme)
    before = cost()
    fill(acme, 5)

    assert cost() == before < 35
    assert b"acme" not in ask().content
