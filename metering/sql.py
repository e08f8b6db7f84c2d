"""Set-based SQL on the default connection: server-side binding and binary COPY, which the ORM has no words for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from django.db import connection, transaction
from psycopg import sql


@contextmanager
def raw_cursor() -> Iterator["psycopg.Cursor[tuple[Any, ...]]"]:
    """A psycopg cursor inside Django's current transaction; errors come as Django's."""
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        yield cursor


def send(query: str, parameters: Sequence[Any] | Mapping[str, Any]) -> None:
    """Execute one statement whose rows nobody wants; inside `pipeline` without waiting for it."""
    with raw_cursor() as cursor:
        # Not prepared: a plan made while a table was empty would be kept when it is not, and reads all of it.
        cursor.execute(query.encode(), parameters, binary=True, prepare=False)


def run(query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
    """Execute one statement; its rows, or an empty list if it returns none."""
    with raw_cursor() as cursor:
        cursor.execute(query.encode(), parameters, binary=True, prepare=False)
        return cursor.fetchall() if cursor.description else []


def run_all(statements: Iterable[tuple[str, Sequence[Any]]]) -> list[list[tuple[Any, ...]]]:
    """Execute statements that do not need each other's answers; the rows of each. The server works on one while the
    next is being made."""
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline(), ExitStack() as cursors:
        answered = []
        for query, parameters in statements:
            cursor = cursors.enter_context(psycopg.Cursor(connection.connection))
            answered.append(cursor.execute(query.encode(), parameters, binary=True, prepare=False))
        return [cursor.fetchall() for cursor in answered]


@contextmanager
def pipeline() -> Iterator[None]:
    """Statements that are `send` inside it are not waited for one by one, only all at its end.

    One that fails raises there.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


def copy_rows(
    table: str,
    columns: Mapping[str, str],
    rows: Iterable[Sequence[Any]],
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """COPY rows into a table; `columns` maps names to PostgreSQL types.

    `meanwhile` is called when all rows are sent and the server still writes them: work that needs no database.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with raw_cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            copy.write_row(row)
        if meanwhile is not None:
            meanwhile()


def joined(texts: Iterable[str]) -> str:
    """Texts as one parameter for `string_to_array(%s, E'\\x1f')`, many times cheaper to send than an array.

    None of ours holds the separator: control characters are refused in identifiers and identities.
    """
    return "\x1f".join(texts)


def literal_array(numbers: Iterable[int]) -> str:
    """An integer array as PostgreSQL writes it: arrays of unequal length travel through `unnest` as text."""
    return "{" + ",".join(map(str, numbers)) + "}"


@contextmanager
def one_snapshot() -> Iterator[None]:
    """One consistent, read-only view for several queries: numbers that belong together are read together."""
    with transaction.atomic():
        if not connection.savepoint_ids:  # only an outermost transaction may choose
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
