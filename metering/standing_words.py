"""A standing in words and figures, as the staff pages show it."""

from collections.abc import Sequence
from typing import Any, Final

from metering.standing import Standing
from notifications.facts import Link
from notifications.words import UNITS, moment, money, plain

_COLOURS: Final = {
    "ok": "success",
    "warning": "warning",
    "limit_reached": "danger",
    "holding": "warning",
    "limiting": "warning",
    "paused": "danger",
    "over_top_tier": "info",
}


def figures(standing: Standing) -> list[tuple[str, str, str]]:
    """The numbers that are asked for first: label, number, remark."""
    facts, unit = standing.facts, UNITS[standing.facts.unit]
    percent = "no limit" if standing.percent is None else f"{standing.percent:,} %"
    limit = "unlimited" if standing.limit is None else f"{standing.limit:,}"
    custom = standing.account.limit_override is not None
    of_tier = "no limit" if facts.tier.limit is None else unit.count(facts.tier.limit)
    day, time = moment(standing.period.ends_at, facts.timezone).split(", ")
    return [
        ("Plan and tier", f"{plain(facts.plan)}: {plain(facts.tier.key)}", f"{of_tier}, {money(facts.tier.price)}"),
        ("Used", f"{standing.used:,}", f"{unit.many}, {percent}"),
        ("Limit", limit, "custom limit" if custom else "of the tier"),
        ("Resets", day, time),
    ]


def notes(standing: Standing) -> list[str]:
    """What is under way: a pause, held events, a downgrade that waits, a closing."""
    return [line for line in (_pause(standing), _held(standing), _pending(standing), _closing(standing)) if line]


def label(standing: Standing) -> dict[str, str]:
    """The state, with the colour of its urgency."""
    return {"text": standing.state.replace("_", " "), "variant": _COLOURS[standing.state]}


def in_figures(standing: Standing) -> dict[str, Any]:
    """For `metering/figures.html`."""
    return {"figures": figures(standing), "label": label(standing), "bar": min(standing.percent or 0, 100)}


def connections_table(connections: Sequence[Link]) -> dict[str, Any]:
    """The enabled connections, and whether what they send can be read again."""
    rows = [[f"{plain(row.name)} ({row.key})", "yes" if row.replayable else "no"] for row in connections]
    return {"headers": ["Connection", "Can be replayed"], "rows": rows}


def _pause(standing: Standing) -> str:
    paused = standing.paused
    if paused is None:
        return ""
    since = "" if paused.since is None else f" since {moment(paused.since, standing.facts.timezone)}"
    by = f" by {paused.by}" if paused.by else ""
    note = f": {plain(paused.note, 300)}" if paused.note else ""
    return f"Paused{since}{by} ({paused.reason.replace('_', ' ')}){note}. What arrives is dropped."


def _held(standing: Standing) -> str:
    return f"Held events: {standing.held:,}." if standing.held else ""


def _pending(standing: Standing) -> str:
    row = standing.pending
    if row is None:
        return ""
    return f"Moves to {row.tier.plan.key}/{row.tier.key} on {moment(row.starts_at, standing.facts.timezone)}."


def _closing(standing: Standing) -> str:
    at = standing.account.closed_at
    if at is None:
        return ""
    return f"{'Closed' if at <= standing.at else 'Closes'} on {moment(at, standing.facts.timezone)}."
