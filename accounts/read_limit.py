"""How often a key may read: a rate that holds for all processes and machines, because the database keeps it."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

WINDOW: Final = timedelta(seconds=1)

# One statement, so that of many at once each waits for the row and sees what the others have taken.
_TAKE: Final = """
INSERT INTO accounts_readallowance AS mine (key_id, even_at) VALUES (%(key)s, %(now)s + %(step)s)
ON CONFLICT (key_id) DO UPDATE SET even_at = greatest(mine.even_at, %(now)s) + %(step)s
WHERE greatest(mine.even_at, %(now)s) + %(step)s <= %(now)s + %(burst)s
RETURNING even_at
"""


def take_read(key_id: int, rate: int, now: datetime) -> int | None:
    """Take one of the `rate` (1 to 1,000,000) reads a second that a key has; how many more it may do at once.

    None: it has none left, and one again within a second. A key that has rested for a second may do `rate` at once.
    Each read moves the instant at which the key is even again by its share of the second; it may be a second away.
    """
    step = WINDOW // rate
    values: dict[str, Any] = {"key": key_id, "now": now, "step": step, "burst": rate * step}
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, values)
        taken = cursor.fetchone()
    return None if taken is None else (now + rate * step - taken[0]) // step
