"""How long to wait for somebody else's machine (a mail server, a receiver of webhooks) before it is tried again."""

from datetime import timedelta
from typing import Final

FIRST_WAITS: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30))
LATER_WAIT: Final = timedelta(hours=1)
MOST_TRIES: Final = len(FIRST_WAITS) + 71
"""The hour of the first waits and 71 more: three days, after which a person must look."""


def next_wait(tries: int) -> timedelta | None:
    """How long to wait after so many tries without success; None: no more."""
    if tries >= MOST_TRIES:
        return None
    return FIRST_WAITS[tries - 1] if tries <= len(FIRST_WAITS) else LATER_WAIT
