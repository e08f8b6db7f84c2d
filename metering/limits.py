"""A count beside its limit: pure integer arithmetic (DESIGN section 5)."""

from typing import Literal

THRESHOLDS = (80, 100)

LimitState = Literal["limit_reached", "warning", "ok"]


def has_crossed(used: int, limit: int | None, percent: int) -> bool:
    """Whether a threshold is reached; never for an unlimited plan. Of 7, 80 % is the 6th."""
    return limit is not None and 100 * used >= percent * limit


def standing(used: int, limit: int | None) -> LimitState:
    """How an account stands by its count alone."""
    if has_crossed(used, limit, 100):
        return "limit_reached"
    return "warning" if has_crossed(used, limit, 80) else "ok"


def percent(used: int, limit: int | None) -> int | None:
    """Used of the limit, rounded down, so that 999 of 1,000 never shows 100; None without a limit."""
    return None if limit is None else 100 * used // limit


def remaining(used: int, limit: int | None) -> int | None:
    """What is left, never below 0; None without a limit."""
    return None if limit is None else max(limit - used, 0)


def newly_crossed(before: int, after: int, limit: int | None) -> list[int]:
    """The thresholds that a rise from one count to another crosses, in order."""
    return [
        threshold
        for threshold in THRESHOLDS
        if has_crossed(after, limit, threshold) and not has_crossed(before, limit, threshold)
    ]
