"""Hold the row of something that is sent while it is sent: of two tasks that have it one sends."""

from datetime import datetime, timedelta
from typing import Final

from django.db import OperationalError, connection, transaction
from django.db.models import Model, QuerySet
from psycopg.errors import LockNotAvailable

from jobs.registry import TryAgain

WAIT_FOR_SOMEBODY_ELSE: Final = "15s"

SOMEBODY_ELSE: Final = timedelta(minutes=1)
"""How long to wait for another task that has the same row in its hands."""


def hold[Row: Model](own: QuerySet[Row], now: datetime) -> Row:
    """The one row of a query, locked until the transaction ends.

    Raises TryAgain if somebody else holds it for long: to be done then would let the job end while the other one may
    yet fail.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{WAIT_FOR_SOMEBODY_ELSE}'")
            return own.select_for_update().get()
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        raise TryAgain("another task is sending it", at=now + SOMEBODY_ELSE) from error
