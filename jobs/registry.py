"""The tasks there are, by name. A task takes the id of its subject and the time, and may run twice at once."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

Task = Callable[[int, datetime], None]

TASKS: Final[dict[str, Task]] = {}


class TryAgain(Exception):
    """The task could not do its work now, for no fault of its own: it is tried again at `at`, as if never tried."""

    def __init__(self, why: str, *, at: datetime) -> None:
        super().__init__(why)
        self.at = at


def task(name: str) -> Callable[[Task], Task]:
    """Register a function under a name that queued jobs refer to: never rename, never reuse."""

    def register(function: Task) -> Task:
        if name in TASKS:
            raise ValueError(f"there is a task {name} already")
        TASKS[name] = function
        return function

    return register
