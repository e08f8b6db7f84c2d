"""Every task that the cluster runs may run twice at once: with one effect (RELIABILITY, T-task-twice)."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils.module_loading import import_string
from django_q.models import OrmQ

from accounts.models import Account
from billing_site.schedules import REGULARS
from jobs.models import Job
from jobs.registry import TASKS, TryAgain
from metering.models import BillingPeriod, Event, EventState, UpgradeCause
from metering.reconcile import differences
from notifications.models import Notification
from plans.models import Subscription
from tests.at_once import at_once
from tests.factories import NOW, deliver, put_account, put_connection, rows
from tests.metering.test_at_limit import people, with_policy
from tests.smtp import SmtpServer, smtp_server
from tests.webhooks.messages import listen, tell
from webhooks.models import Delivery, Endpoint

pytestmark = pytest.mark.django_db(transaction=True)

Prepared = tuple[int, Callable[[], Any], Any]
"""The subject of a task, what its effect can be seen by, and how that must look after it ran."""


@pytest.fixture
def server(settings: Any) -> Iterator[SmtpServer]:
    with smtp_server() as server:
        settings.MAILERS = server.mailers()
        yield server


def a_mail_to_send(acme: Account, server: SmtpServer) -> Prepared:
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 8))
    mail = Notification.objects.get()
    return mail.pk, lambda: (len(server.messages), rows(Notification, "state")), (1, ["sent"])


def a_webhook_to_deliver(acme: Account, server: SmtpServer) -> Prepared:
    """To where no webhook goes: one attempt, the next is later. That one is sent once says `webhooks/test_delivery`."""
    listen()
    Endpoint.objects.update(url="https://127.0.0.1/")
    [row] = tell(acme)
    return row, lambda: rows(Delivery, "state", "tries"), [("pending", 1)]


def a_cause_to_upgrade(acme: Account, server: SmtpServer) -> Prepared:
    with_policy(acme, "upgrade")
    deliver(acme, people(0, 11))

    def effect() -> Any:
        tiers = list(Subscription.objects.order_by("starts_at").values_list("tier__key", flat=True))
        return tiers, rows(Notification, "kind", kind="upgraded"), acme.audit.filter(action="account.upgraded").count()

    return UpgradeCause.objects.get().pk, effect, (["starter", "growth"], ["upgraded"], 1)


def something_held(acme: Account, server: SmtpServer) -> Prepared:
    with_policy(acme, "hold")
    deliver(acme, people(0, 15))
    BillingPeriod.objects.update(limit=13, limit_state="", limit_state_since=None)

    def effect() -> Any:
        states = [Event.objects.filter(state=state).count() for state in (EventState.RECORDED, EventState.HELD)]
        return states, BillingPeriod.objects.get().active_contacts, differences(acme)

    return acme.pk, effect, ([13, 2], 13, [])


def a_period_to_open(acme: Account, server: SmtpServer) -> Prepared:
    """By the real clock, which is what schedules read: the account's periods are long over."""
    long_ago = datetime.now(UTC) - timedelta(days=80)
    account = put_account("old", plan="connect", tier="starter", signed_up_at=long_ago, now=long_ago)
    put_connection(account, "pipedrive-mailchimp", now=long_ago)
    deliver(account, people(0, 3, type="contact.matched", time=long_ago), now=long_ago)

    def effect() -> Any:
        found = BillingPeriod.objects.filter(account=account).order_by("starts_at")
        return list(found.values_list("active_contacts", "state"))

    return 0, effect, [(3, "closed"), (3, "closed"), (3, "open")]


def a_job_to_hand_out(acme: Account, server: SmtpServer) -> Prepared:
    Job.objects.create(task="notifications.send", subject_id=1, created_at=NOW, run_at=NOW)
    return 0, OrmQ.objects.count, 1


PREPARED: dict[str, Callable[[Account, SmtpServer], Prepared]] = {
    "notifications.send": a_mail_to_send,
    "webhooks.deliver": a_webhook_to_deliver,
    "metering.upgrade": a_cause_to_upgrade,
    "metering.replay": something_held,
    "metering.tasks.run_due": a_period_to_open,
    "jobs.tasks.sweep": a_job_to_hand_out,
}


def test_no_task_is_left_out():
    ours = {name for name in TASKS if not name.startswith(("poison.", "tests."))}

    assert ours | {regular.task for regular in REGULARS} == set(PREPARED)
    assert django_settings.Q_CLUSTER["max_attempts"] == 3


@pytest.mark.parametrize("name", PREPARED)
def test_a_task_that_runs_twice_at_once_has_one_effect(acme: Account, server: SmtpServer, name: str):
    subject, effect, expected = PREPARED[name](acme, server)

    def run() -> None:
        if name in TASKS:
            with suppress(TryAgain):  # the other one has it in its hands
                TASKS[name](subject, NOW)
        else:
            import_string(name)()

    answers = at_once(run, run)
    assert [answer for answer in answers if answer is not None] == []
    assert effect() == expected
    run()

    assert effect() == expected
