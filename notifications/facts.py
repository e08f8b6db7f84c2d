"""The numbers of the moment that a notification tells of, frozen in its row. Plain values; times in UTC."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

Action = Literal["upgrade", "hold", "pause", "limit_new", "none"]
"""What happens at the limit; `none` without a limit."""

Why = Literal["plan", "account", "trial", "opted_out", "replayability"]
"""What decided the action: the plan's policy, the account's own, that it is a trial, that the account opted out of
upgrades, or which of its enabled connections can be replayed."""


class Link(msgspec.Struct, frozen=True):
    """An enabled connection, and whether what it sends can be read again later."""

    key: str
    name: str
    replayable: bool


class Source(msgspec.Struct, frozen=True):
    """A connection and how much of the count it brought: contacts (they overlap) or events."""

    key: str
    name: str
    count: int


class TierFacts(msgspec.Struct, frozen=True):
    """A tier of a plan; a null limit is unlimited, the price is in EUR per period."""

    key: str
    limit: int | None
    price: Decimal


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What every notification knows, and after the blank line what only some kinds do.

    `limit` is the effective limit (None: unlimited), `resets_at` the end of the billing period, `next_tier` the next
    higher tier (None on the top one), `sources` the up to three largest.
    """

    unit: str
    plan: str
    tier: TierFacts
    used: int
    limit: int | None
    timezone: str
    resets_at: datetime
    action: Action
    why: Why
    links: list[Link] = []
    sources: list[Source] = []
    next_tier: TierFacts | None = None
    paused: str = ""  # why it is paused at this moment, if it is: limit_reached, paused_by_staff, trial_ended

    at: datetime | None = None  # when it happened: the crossing, the pause, the upgrade …
    reason: str = ""  # a word: limit_reached, paused_by_staff, trial_ended; new_period, upgrade, settings, resume …
    exceeded: int | None = None  # upgraded by the limit: the limit that was exceeded, by an override perhaps
    before: TierFacts | None = None  # upgraded: the tier left; downgrade_lapsed: the tier that was asked for
    percents: list[int] = []  # upgraded: thresholds of the new limit that are reached already
    events: int = 0  # held, resumed, giving_up_soon: how many events are held
    until: datetime | None = None  # giving_up_soon: when the first of them is given up


def to_json(facts: Facts) -> Any:
    """As a notification's row stores them."""
    return msgspec.to_builtins(facts, str_keys=True)


def from_json(stored: Any) -> Facts:
    """As they were."""
    return msgspec.convert(stored, Facts, strict=False)
