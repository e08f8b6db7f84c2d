"""What the task cluster does regularly. This table is the truth; `sync` makes the rows of django-q2 match it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django_q.models import Schedule


@dataclass(frozen=True, slots=True)
class Regular:
    """A task, by its dotted name, and how many minutes lie between two runs. Runs that were missed are not made up."""

    task: str
    every_minutes: int


REGULARS = (
    Regular("jobs.tasks.sweep", every_minutes=1),
    Regular("metering.tasks.run_due", every_minutes=1),
)

_OURS = r"^(metering|notifications|plans|jobs|accounts)\."
_LOCK = 7_301_127_544  # any number that nothing else in the database uses


@transaction.atomic
def sync(now: datetime, regulars: Sequence[Regular] = REGULARS) -> None:
    """Make the schedules that are missing, correct the others, remove ours that are no longer in the table.

    When one that is there runs next is left alone. Safe to run from several processes at once.
    """
    with connection.cursor() as cursor:  # django-q2 has no unique name that could guard this
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    names = [regular.task for regular in regulars]
    Schedule.objects.filter(func__regex=_OURS).exclude(name__in=names).delete()
    for regular in regulars:
        wanted = {
            "func": regular.task,
            "schedule_type": Schedule.MINUTES,
            "minutes": regular.every_minutes,
            "repeats": -1,
        }
        Schedule.objects.update_or_create(
            name=regular.task, defaults=wanted, create_defaults={**wanted, "next_run": now}
        )
