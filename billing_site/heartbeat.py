"""How the task cluster does, by what it leaves in the database."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Max, Min
from django_q.models import OrmQ, Task

RECENTLY: Final = timedelta(minutes=5)
"""A task that ended since then shows that a worker runs."""

TOO_LONG: Final = timedelta(minutes=1)
"""A task that waits for longer shows that none does, or too few."""


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
