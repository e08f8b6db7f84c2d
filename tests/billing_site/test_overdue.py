"""What is overdue is told, by the command and in /readyz; and `run_due` does it."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import Client
from django_q.models import OrmQ, Schedule

from accounts.models import Account
from billing_site.overdue import findings
from jobs.models import Job
from metering.models import BillingPeriod, Event
from metering.usage import usage
from notifications.models import Notification
from plans.models import Subscription
from tests.conftest import StoppedClock
from tests.factories import ACTOR, NOW, deliver, rows
from tests.metering.test_at_limit import people, with_policy
from tests.webhooks.messages import listen, tell
from webhooks import endpoints
from webhooks.models import Delivery, Endpoint

pytestmark = pytest.mark.django_db


def late(**after: float) -> list[str]:
    return [found.name for found in findings(NOW + timedelta(**after)) if found.late]


def a_period_that_has_ended(acme: Account) -> None:
    deliver(acme, people(0, 1))
    BillingPeriod.objects.update(ends_at=NOW)


def a_mail_that_waits(acme: Account) -> None:
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 8))
    Job.objects.all().delete()


def a_mail_that_was_refused(acme: Account) -> None:
    a_mail_that_waits(acme)
    Notification.objects.update(state="failed")


def a_webhook_that_waits(acme: Account) -> None:
    listen()
    tell(acme)
    Job.objects.all().delete()


def a_webhook_that_was_given_up(acme: Account) -> None:
    a_webhook_that_waits(acme)
    Delivery.objects.update(state="failed")


def something_held(acme: Account) -> None:
    with_policy(acme, "hold", 1)
    deliver(acme, people(0, 2))
    Job.objects.all().delete()
    Notification.objects.all().update(state="historical")
    Event.objects.update(received_at=NOW - timedelta(days=90))


def a_job_that_did_not_run(acme: Account) -> None:
    Job.objects.create(task="metering.replay", subject_id=acme.pk, created_at=NOW, run_at=NOW)


def a_parked_job(acme: Account) -> None:
    Job.objects.create(
        task="metering.replay", subject_id=1, created_at=NOW, run_at=NOW, finished_at=NOW, state="parked"
    )


def a_dead_worker(acme: Account) -> None:
    Schedule.objects.create(func="metering.tasks.run_due", next_run=NOW)


@pytest.mark.parametrize(
    ("happens", "name", "fine_after", "late_after"),
    [
        (a_period_that_has_ended, "periods", {"minutes": 5}, {"minutes": 6}),
        (a_mail_that_waits, "mail", {"minutes": 15}, {"minutes": 16}),
        (a_mail_that_was_refused, "failed_mail", None, {}),
        (a_webhook_that_waits, "webhooks", {"minutes": 15}, {"minutes": 16}),
        (a_webhook_that_was_given_up, "failed_webhooks", None, {}),
        (something_held, "held", {"hours": 1}, {"hours": 2}),
        (a_job_that_did_not_run, "jobs", {"minutes": 5}, {"minutes": 6}),
        (a_parked_job, "parked_jobs", None, {}),
        (a_dead_worker, "worker", {"minutes": 3}, {"minutes": 4}),
    ],
)
def test_each_kind_of_work_is_late_after_its_time(
    acme: Account,
    happens: Callable[[Account], None],
    name: str,
    fine_after: dict[str, float] | None,
    late_after: dict[str, float],
):
    happens(acme)
    OrmQ.objects.all().delete()

    if fine_after is not None:
        assert name not in late(**fine_after)
    assert name in late(**late_after)


def test_what_was_given_up_at_a_disabled_endpoint_waits_for_nobody(acme: Account):
    a_webhook_that_was_given_up(acme)
    endpoints.disable(Endpoint.objects.get(), "no more", actor=ACTOR, now=NOW)

    assert late() == []


def test_nothing_is_late_when_there_is_nothing(db: None):
    assert late() == []
    assert all(found.since is None for found in findings(NOW))


def test_what_is_late_is_in_readyz_which_still_answers_200(acme: Account, clock: StoppedClock):
    a_mail_that_waits(acme)
    OrmQ.objects.all().delete()
    clock.advance(hours=1)

    answer = Client().get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["overdue"] == [{"name": "mail", "since": "2026-11-22T12:00:00Z", "late": True}]


def test_the_command_says_it_and_exits_with_1(acme: Account, clock: StoppedClock):
    out = StringIO()
    call_command("overdue", stdout=out)
    assert "LATE" not in out.getvalue()
    a_mail_that_waits(acme)
    clock.advance(hours=1)

    with pytest.raises(SystemExit) as ended:
        call_command("overdue", stdout=out)

    assert ended.value.code == 1
    assert "LATE  mail            mails to be sent: since 2026-11-22 12:00 UTC" in out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_run_due_upgrades_replays_and_sends_without_a_cluster(acme: Account, clock: StoppedClock, settings: Any):
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 11))
    out = StringIO()

    call_command("run_due", stdout=out)
    call_command("run_due", stdout=out)

    assert [row.tier.key for row in Subscription.objects.order_by("starts_at")] == ["starter", "growth"]
    assert usage(acme, NOW)["limit"] == 2_500
    assert len(mail.outbox) == 3
    assert set(rows(Job, "state")) == {"done"}
    assert "4 jobs done" in out.getvalue()
