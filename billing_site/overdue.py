"""What should have been done by now and was not: for whoever runs Headcount, as a command and in `/readyz`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Min
from django_q.models import Schedule

from billing_site.heartbeat import worker_heartbeat
from jobs.models import Job, JobState
from jobs.runner import overdue as overdue_jobs
from metering.models import BillingPeriod, Event, EventState, PeriodState
from metering.upkeep import HELD_FOR
from notifications.models import Notification, NotificationState
from webhooks.models import Delivery, DeliveryState

PERIODS_LATE_AFTER: Final = timedelta(minutes=5)
MAIL_LATE_AFTER: Final = timedelta(minutes=15)
WEBHOOKS_LATE_AFTER: Final = timedelta(minutes=15)
WORKER_LATE_AFTER: Final = timedelta(minutes=3)
HELD_LATE_AFTER: Final = HELD_FOR + timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """How one kind of work stands: `since` is when the oldest of it was due (None: there is none), `late` whether that
    is too long ago, `what` says it for people."""

    name: str
    since: datetime | None
    late: bool
    what: str

    def row(self) -> dict[str, Any]:
        """For programs."""
        return {"name": self.name, "since": self.since, "late": self.late}


def findings(now: datetime) -> list[Finding]:
    """Every kind of work that can fall behind, each by one indexed look-up. Accounts whose history is being replayed
    are left out: their time is their own."""
    return [
        _periods(now),
        _mail(now),
        _failed_mail(),
        _webhooks(now),
        _failed_webhooks(),
        _held(now),
        _jobs(now),
        _parked_jobs(),
        _worker(now),
    ]


def _periods(now: datetime) -> Finding:
    live = BillingPeriod.objects.filter(account__meter__clock=None)
    moments = (
        live.filter(state=PeriodState.OPEN, ends_at__lte=now).aggregate(at=Min("ends_at"))["at"],
        live.exclude(state=PeriodState.CLOSED).filter(closes_at__lte=now).aggregate(at=Min("closes_at"))["at"],
    )
    since = min((at for at in moments if at is not None), default=None)
    return _by_age("periods", since, now, PERIODS_LATE_AFTER, "billing periods to be ended or closed")


def _mail(now: datetime) -> Finding:
    since = Notification.objects.filter(state=NotificationState.PENDING).aggregate(at=Min("created_at"))["at"]
    return _by_age("mail", since, now, MAIL_LATE_AFTER, "mails to be sent")


def _failed_mail() -> Finding:
    since = Notification.objects.filter(state=NotificationState.FAILED).aggregate(at=Min("created_at"))["at"]
    return Finding("failed_mail", since, since is not None, "mails that were refused for good")


def _webhooks(now: datetime) -> Finding:
    since = Delivery.objects.filter(state=DeliveryState.PENDING).aggregate(at=Min("queued_at"))["at"]
    return _by_age("webhooks", since, now, WEBHOOKS_LATE_AFTER, "webhooks to be delivered")


def _failed_webhooks() -> Finding:
    """Disabling an endpoint says that nobody waits for what failed there."""
    failed = Delivery.objects.filter(state=DeliveryState.FAILED, endpoint__enabled=True)
    since = failed.aggregate(at=Min("queued_at"))["at"]
    return Finding("failed_webhooks", since, since is not None, "webhooks that were given up")


def _held(now: datetime) -> Finding:
    held = Event.objects.filter(state=EventState.HELD, account__meter__clock=None)
    since = held.aggregate(at=Min("received_at"))["at"]
    return _by_age("held", since, now, HELD_LATE_AFTER, "events that are held")


def _jobs(now: datetime) -> Finding:
    late = overdue_jobs(now)
    since = now - late.longest if late.jobs else None
    return Finding("jobs", since, bool(late.jobs), "jobs that should have run")


def _parked_jobs() -> Finding:
    since = Job.objects.filter(state=JobState.PARKED).aggregate(at=Min("finished_at"))["at"]
    return Finding("parked_jobs", since, since is not None, "jobs that failed too often")


def _worker(now: datetime) -> Finding:
    """A dead cluster leaves tasks waiting, or, if nobody makes any, schedules that do not run."""
    waiting = worker_heartbeat(now)["oldest_task_waits_since"]
    scheduled = Schedule.objects.aggregate(at=Min("next_run"))["at"]
    since = min((at for at in (waiting, scheduled) if at is not None and at < now), default=None)
    return _by_age("worker", since, now, WORKER_LATE_AFTER, "tasks and schedules that no worker takes")


def _by_age(name: str, since: datetime | None, now: datetime, late_after: timedelta, what: str) -> Finding:
    return Finding(name, since, since is not None and since < now - late_after, what)
