"""What went over the connection to the database: every statement, also those that Django's own log does not see."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def statements() -> Iterator[list[str]]:
    """The list fills, when the block ends, with a line of libpq's trace for each statement that was executed."""
    connection.ensure_connection()
    server = connection.connection.pgconn
    executed: list[str] = []
    with tempfile.TemporaryFile("w+") as trace:
        server.trace(trace.fileno())
        try:
            yield executed
        finally:
            server.untrace()
            trace.seek(0)
            executed += [line for line in trace if "\tQuery\t" in line or "\tExecute\t" in line]
