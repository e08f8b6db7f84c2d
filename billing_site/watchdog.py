"""Ends the children of a process that can no longer do it itself: `python -m billing_site.watchdog SECONDS`.

On its standard input the parent writes the process group of each child. When that ends, the parent has
ended, if only by `kill -9`: what is left of the groups is asked to end, and killed after SECONDS.
"""

import os
import signal
import sys
import time
from contextlib import suppress


def watch(grace_seconds: float) -> None:
    """Wait for the parent's end, then see the groups to theirs."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is the parent's end that counts, not what ended it
    groups = [int(line) for line in sys.stdin]
    for group in groups:
        _send(group, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline and any(_send(group, 0) for group in groups):
        time.sleep(0.05)
    for group in groups:
        _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    """Whether the group still exists."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    watch(float(sys.argv[1]))
