"""Several things at the same moment, each on a database connection of its own, and waiting for what they do."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Event, get_ident
from typing import Any

import pytest
from django.db import connection, connections

PATIENCE = 30  # seconds, for anything that is waited for

Work = Callable[[], Any]


def at_once(*pieces: Work) -> list[Any]:
    """What pieces of work answer that begin at the same moment, each on a connection of its own; or what they raise."""
    barrier = Barrier(len(pieces), timeout=PATIENCE)
    with ThreadPoolExecutor(len(pieces)) as pool:
        futures = [pool.submit(_on_own_connection, work, barrier) for work in pieces]
        return [_answer(future) for future in futures]


def _on_own_connection(work: Work, barrier: Barrier) -> Any:
    try:
        barrier.wait()
        return work()
    finally:
        connections.close_all()


def _answer(future: Future[Any]) -> Any:
    error = future.exception()
    return future.result() if error is None else error


def until(look: Callable[[], bool]) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + PATIENCE
    pause = Event()
    while not look():
        assert time.monotonic() < deadline
        pause.wait(0.01)


def race(monkeypatch: pytest.MonkeyPatch, module: Any, step: str, *pieces: Work) -> list[Any]:
    """Work at once, none of which takes the step before each has come to it, or waits for a lock of another."""
    taken, arrived, go = getattr(module, step), set[int](), Event()

    def wait_for_all(*values: Any, **named: Any) -> Any:
        arrived.add(get_ident())
        assert go.wait(PATIENCE)
        return taken(*values, **named)

    with monkeypatch.context() as patched, ThreadPoolExecutor(1) as pool:
        patched.setattr(module, step, wait_for_all)
        answers = pool.submit(at_once, *pieces)
        try:
            until(lambda: len(arrived) + waiting_for_locks() >= len(pieces) or answers.done())
        finally:
            go.set()
        return answers.result(PATIENCE)


def waiting_for_locks() -> int:
    """How many sessions on this database wait for others."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND datname = current_database()"
        )
        [waiting] = cursor.fetchone() or [0]
    return waiting
