"""Running this project's programs as real processes, and waiting for what they do."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def environment(**changes: str | Path | None) -> dict[str, str]:
    """The environment of a developer without a `.env`, changed; None takes a variable out."""
    theirs = ("DATABASE_URL", "DATA_DIR", "SECRET_KEY", "KEY_PEPPER", "BASE_URL", "ALLOWED_HOSTS")
    wanted: dict[str, str | Path | None] = {**os.environ, **dict.fromkeys(theirs), "DEBUG": "true", **changes}
    return {name: str(value) for name, value in wanted.items() if value is not None}


def manage(*words: str, **changes: str | Path | None) -> subprocess.CompletedProcess[str]:
    """Run a command of `manage.py` to its end, without a terminal."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(**changes),
        timeout=60,
    )


def eventually[Found](look: Callable[[], Found], *, seconds: float = 20) -> Found:
    """What `look` finds, as soon as that is something; fails when the time is over."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return found
