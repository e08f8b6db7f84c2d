"""Ends the children of a process that can no longer do it itself: `python -m billing_site.watchdog SECONDS`.

On its standard input the parent writes the number of each child, which leads a process group. When that
ends, the parent has ended, if only by `kill -9`: what is left of the groups is asked to end, and killed
after SECONDS.
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
    leaders = [int(line) for line in sys.stdin]
    for leader in leaders:
        with suppress(ProcessLookupError):
            os.kill(leader, signal.SIGTERM)  # it alone: it knows how to end what it started
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline and any(_signal_group(leader, 0) for leader in leaders):
        time.sleep(0.05)
    for leader in leaders:
        _signal_group(leader, signal.SIGKILL)


def _signal_group(leader: int, number: int) -> bool:
    """Whether the group still exists."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    watch(float(sys.argv[1]))
