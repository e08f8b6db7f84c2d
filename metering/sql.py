"""Set-based SQL on the default connection: server-side binding and binary COPY, which the ORM has no words for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from django.db import connection
from psycopg import sql


def raw_cursor() -> "psycopg.Cursor[tuple[Any, ...]]":
    """A psycopg cursor inside Django's current transaction."""
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)


def run(query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
    """Execute one statement; its rows, or an empty list if it returns none."""
    with raw_cursor() as cursor:
        cursor.execute(query.encode(), parameters, binary=True)
        return cursor.fetchall() if cursor.description else []


def copy_rows(table: str, columns: dict[str, str], rows: Iterable[Sequence[Any]]) -> None:
    """COPY rows into a table; `columns` maps names to PostgreSQL types."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with raw_cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            copy.write_row(row)


def literal_array(numbers: Iterable[int]) -> str:
    """An integer array as PostgreSQL writes it: arrays of unequal length travel through `unnest` as text."""
    return "{" + ",".join(map(str, numbers)) + "}"
