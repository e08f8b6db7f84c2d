"""A count beside its limit, and what happens there: pure (DESIGN section 5)."""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

THRESHOLDS = (80, 100)

Policy = Literal["by_replayability", "upgrade", "hold", "pause", "limit_new"]
Action = Literal["upgrade", "hold", "pause", "limit_new"]
Why = Literal["plan", "account", "trial", "opted_out", "replayability"]
Standing = Literal["paused", "over_top_tier", "holding", "limiting", "limit_reached", "warning", "ok"]

STATE_OF: Final[dict[Action, str]] = {"hold": "holding", "limit_new": "limiting", "pause": "paused"}
"""The state that a period enters when an action other than an upgrade is taken at its limit."""

ACTION_OF: Final[dict[str, Action]] = {state: action for action, state in STATE_OF.items()}


class AtLimit(NamedTuple):
    """What is done with the first event that would exceed the limit, and what decided that."""

    action: Action
    why: Why


def at_limit(
    *,
    plan_policy: Policy,
    own_policy: Policy | None,
    counts_events: bool,
    trial: bool,
    auto_upgrade: bool,
    replayable: Iterable[bool],
) -> AtLimit:
    """The effective policy of an account, resolved. `replayable`: of each enabled connection.

    A trial never upgrades, whatever its policy; who opted out of upgrades is paused where others are upgraded or, as
    the data can be replayed, held.
    """
    policy, why = (plan_policy, "plan") if own_policy is None else (own_policy, "account")
    if policy == "limit_new" and counts_events:  # events are not contacts, of which some are known
        policy, why = plan_policy, "plan"
    chosen: Why = "plan" if why == "plan" else "account"
    if policy == "limit_new":
        return AtLimit("limit_new", chosen)
    if trial:
        return AtLimit("pause", "trial")
    if not auto_upgrade and policy in ("by_replayability", "upgrade"):
        return AtLimit("pause", "opted_out")
    if policy == "by_replayability":
        return AtLimit("hold" if all(replayable) else "upgrade", "replayability")
    return AtLimit(policy, chosen)


def has_crossed(used: int, limit: int | None, percent: int) -> bool:
    """Whether a threshold is reached; never for an unlimited plan. Of 7, 80 % is the 6th."""
    return limit is not None and 100 * used >= percent * limit


def standing(used: int, limit: int | None, *, limit_state: str = "", paused: bool = False) -> Standing:
    """How an account stands: by a pause of its own, by what its period does at the limit, else by its count alone."""
    if paused:
        return "paused"
    match limit_state:
        case "paused" | "over_top_tier" | "holding" | "limiting":
            return limit_state
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
