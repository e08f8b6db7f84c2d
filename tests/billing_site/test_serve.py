"""The site and its task cluster run as one process tree, and end as one. Real processes are started here."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode
from urllib.request import urlopen

import psutil
import pytest
from django.db import connection

from billing_site.process_tree import CannotListen, serve_forever
from tests.billing_site.programs import ROOT, environment, eventually


@pytest.fixture
def database_url(django_db_setup: None) -> str:
    """The address of the test database, which no test is using meanwhile."""
    found = connection.get_connection_params()
    server = {name: found[name] for name in ("host", "port", "user", "password") if found.get(name)}
    return f"postgresql:///{found['dbname']}?{urlencode(server)}"


@dataclass
class Serving:
    """A running `manage.py serve`."""

    process: subprocess.Popen[str]
    address: str

    def tree(self) -> list[psutil.Process]:
        """All that it started, and what that started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, word: str) -> psutil.Process:
        return next(p for p in psutil.Process(self.process.pid).children() if word in " ".join(p.cmdline()))


@pytest.fixture
def serving(database_url: str) -> Iterator[Serving]:
    with subprocess.Popen(
        [sys.executable, "manage.py", "serve", "--port", "0", "--workers", "1"],
        cwd=ROOT,
        env=environment(DATABASE_URL=database_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield _ready(process)
        finally:
            process.kill()


def _ready(process: subprocess.Popen[str]) -> Serving:
    """Once the address is printed and the cluster has its guard, and that its workers."""
    assert process.stdout
    assert process.stderr
    line = process.stdout.readline()
    assert line.startswith("Headcount is at http://127.0.0.1:"), line or process.stderr.read()
    site = Serving(process, line.split()[3])
    eventually(lambda: len(site.child("qcluster").children(recursive=True)) >= 3)
    return site


def all_gone(processes: list[psutil.Process]) -> bool:
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_a_signal_stops_the_whole_tree(serving: Serving) -> None:
    with urlopen(f"{serving.address}static/admin/css/base.css") as answer:  # noqa: S310 - our own address
        assert answer.status == 200
    tree = serving.tree()

    serving.process.terminate()

    assert serving.process.wait(20) == 0
    assert all_gone(tree)


def test_kill_9_leaves_no_orphan(serving: Serving) -> None:
    tree = serving.tree()

    serving.process.kill()

    eventually(lambda: all_gone(tree), seconds=25)


@pytest.mark.parametrize("name", ["gunicorn", "qcluster"])
def test_when_one_part_ends_the_rest_is_stopped(serving: Serving, name: str) -> None:
    tree = serving.tree()

    serving.child(name).kill()

    assert serving.process.wait(20) == 1
    assert serving.process.stderr
    assert "ended by itself (SIGKILL)" in serving.process.stderr.read()
    eventually(lambda: all_gone(tree))


def test_a_busy_port_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]

        with pytest.raises(
            CannotListen, match=rf"^Port {port} on 127.0.0.1 cannot be served: Address already in use\."
        ):
            serve_forever("127.0.0.1", port, workers=1, with_tasks=False)


@pytest.mark.parametrize(("host", "port"), [("no-such-host.invalid", 8000), ("127.0.0.1", 99999)])
def test_an_address_that_cannot_be_is_refused(host: str, port: int) -> None:
    with pytest.raises(CannotListen):
        serve_forever(host, port, workers=1, with_tasks=False)


def test_ctrl_c_ends_it_and_the_callers_signals_are_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[str] = []

    def stop(address: str) -> None:
        seen.append(address)
        os.kill(os.getpid(), signal.SIGINT)

    assert serve_forever("127.0.0.1", 0, workers=1, with_tasks=False, on_ready=stop) == 0
    assert len(seen) == 1
    assert signal.getsignal(signal.SIGINT) == before
