"""A real task cluster on the test database, in processes of its own, for tests with `django_db(transaction=True)`.

    with cluster():
        job = enqueue("notifications.send", row.pk, account_id=None, now=datetime.now(UTC))
        eventually(lambda: done(job))

The cluster reads the real clock, ends a task after 5 seconds, and knows the tasks of the installed apps and those of
`tests.jobs.poison`. Nothing is scheduled in it: call `jobs.runner.sweep` yourself.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import psutil
from django.conf import settings
from django.db import connection

from jobs.models import Job
from tests.billing_site.programs import ROOT, environment, eventually


@contextmanager
def cluster(**changes: str | Path | None) -> Iterator[int]:
    """`qcluster` runs meanwhile, as a process group of this number; afterwards nothing of it is left.

    `changes` of its environment are in words of `programs.environment`. Should the test fail, what it logged is shown.
    """
    name = f"cluster of test {os.getpid()}"
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.cluster_settings",
        "DATABASE_URL": address_of_the_test_database(),
        "SECRET_KEY": settings.SECRET_KEY,  # by which the queue's entries are signed
        "KEY_PEPPER": settings.KEY_PEPPER,
        "PGAPPNAME": name,
        "PGOPTIONS": "-c client_connection_check_interval=200",  # or a query goes on when who asked is dead
    }
    with tempfile.TemporaryFile("w+") as said, _ends_with_us() as watchdog:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "qcluster"],
            cwd=ROOT,
            env=environment(**{**variables, **changes}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            _tell(watchdog, process.pid)
            yield process.pid
            assert process.poll() is None, "the cluster ended by itself"
        except BaseException:
            said.seek(0)
            print(said.read()[-20_000:], file=sys.stderr)
            raise
        finally:
            _end(process, watchdog, name)


def done(job: Job) -> bool:
    """Whether a job is done by now."""
    job.refresh_from_db()
    return job.state == "done"


def address_of_the_test_database() -> str:
    """As DATABASE_URL has it."""
    found = connection.get_connection_params()
    server = {name: found[name] for name in ("host", "port", "user", "password") if found.get(name)}
    return f"postgresql:///{found['dbname']}?{urlencode(server)}"


def members(group: int) -> list[psutil.Process]:
    """The processes of a group that still run."""
    return [process for process in psutil.process_iter() if _is_member(process, group)]


def _is_member(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


@contextmanager
def _ends_with_us() -> Iterator[subprocess.Popen[str]]:
    """A watchdog that kills the groups it is told when its input ends, which it does if we are killed too."""
    with subprocess.Popen(
        [sys.executable, "-m", "billing_site.watchdog", "0"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as watchdog:
        yield watchdog


def _tell(watchdog: subprocess.Popen[str], group: int) -> None:
    assert watchdog.stdin
    watchdog.stdin.write(f"{group}\n")
    watchdog.stdin.flush()


def _end(process: subprocess.Popen[bytes], watchdog: subprocess.Popen[str], name: str) -> None:
    """Kill it all, and wait until the server has noticed: the next test empties the tables."""
    watchdog.communicate()  # its input ends
    process.wait(20)
    eventually(lambda: not members(process.pid))
    eventually(lambda: not _has_sessions(name))


def _has_sessions(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = %s)", [name])
        [found] = cursor.fetchone() or [False]
    return bool(found)
