"""The lock that everything which moves an account's counts takes first."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from metering.models import AccountMeter


class AccountBusy(Exception):
    """Another writer held the account for longer than two seconds; sending the same again is right."""

    retry_after_seconds = 2


@contextmanager
def locked(account_id: int) -> Iterator[AccountMeter]:
    """A transaction that holds the account: yields its meter row as it is now.

    Raises `AccountBusy` if a lock cannot be had in two seconds. The literal `SET LOCAL` is what reaches the nodes of
    a distributed database; `set_config()` does not.
    """
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '2s'")
            yield AccountMeter.objects.select_for_update().get(account_id=account_id)
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise AccountBusy from error
        raise


def is_live(account_id: int) -> bool:
    """Whether an account is on the wall clock: mails are sent and tasks queued only then. Else its history is being
    replayed, by a clock of its own."""
    return AccountMeter.objects.filter(account_id=account_id, clock=None).exists()
