"""A small account to try every delivery on: few people, many spellings, times around the turn of a period.

Its periods turn at `TURN` and `NEXT_TURN`. `happenings()` draws what happened, `deliveries()` how it came in.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from accounts.models import Account
from tests.factories import event, put_account, put_connection
from tests.properties.oracle import ENGAGEMENTS, GRACE, JOINS, Happening, Link

START = datetime(2026, 9, 30, 23, tzinfo=UTC)  # in Berlin as late in the day as the turns to come
TURN = datetime(2026, 11, 1, tzinfo=UTC)
NEXT_TURN = datetime(2026, 12, 1, tzinfo=UTC)
AFTER_ALL = datetime(2027, 1, 1, tzinfo=UTC)
PERIODS = [(START, TURN), (TURN, NEXT_TURN), (NEXT_TURN, AFTER_ALL)]

TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
AHEAD = timedelta(minutes=5)

KINDS = {
    "crm": "contact_sync",
    "shop": "contact_sync",
    "left-before": "contact_sync",
    "left-after": "contact_sync",
    "mail": "engagement",
    "site": "web_tracking",
    "scoring": "lead_scoring",
    "bot": "automation",
}
LINKS = {
    "crm": Link(keeps_members=True),
    "shop": Link(keeps_members=True),
    "left-before": Link(keeps_members=True, off_since=TURN - DAY),
    "left-after": Link(keeps_members=True, off_since=TURN + HOUR),
    "mail": Link(records_sends=False),
    "site": Link(),
    "scoring": Link(score_expiry=timedelta(days=7)),
    "bot": Link(),
}
PEOPLE = {
    "ann@example.com": ["ann@example.com", "Ann@Example.COM", "  ann@EXAMPLE.com "],
    "bo\u00eb@xn--bcher-kva.example": ["bo\u00eb@b\u00fccher.example", "BOE\u0308@XN--BCHER-KVA.example"],
    "cy+news@example.com": ["cy+news@example.com", "CY+NEWS@example.com"],
    "ig:42": ["ig:42", " ig:42 "],
}
_STATE_TYPES = ["contact.matched", "contact.unmatched", "contact.refused", "score.set", "score.cleared"]
_TYPES = [
    *(f"contact.{name}" for name in sorted(JOINS)),
    *(f"engagement.{name}" for name in sorted(ENGAGEMENTS)),
    "web.visited",
    *(f"automation.{name}" for name in ("campaign_message", "scenario_run", "ai_reply")),
    *(f"crm.{name}" for name in ("lead_captured", "segment_added", "folder_added", "tagged")),
    *(f"crm.{name}" for name in ("note_added", "message_sent_by_hand")),
]
_KEYS = ["1", "10", "9", "Z", "_", "a", "a b", "\u00e4", "\uffee", "\U0001f600"]  # in the order of code points
_NEAR_THE_TURN = [-7 * DAY - TICK, -7 * DAY, -DAY, -HOUR, -TICK, 0 * DAY, TICK, HOUR, 20 * HOUR]


def examples(number: int) -> settings:
    """How many examples a property is tried with; ten times as many with HYPOTHESIS_PROFILE=explore.

    The account of a test serves all of its examples: each is undone.
    """
    shared_account = [HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=number * settings().max_examples // 100,
        suppress_health_check=[*shared_account, HealthCheck.too_slow],
    )


def make_account(slug: str = "berlin", **fields: Any) -> Account:
    """The account, with its connections; two of them are switched off on the way."""
    signed_up_at = datetime(2026, 3, 1, tzinfo=UTC)
    account = put_account(slug, now=signed_up_at, timezone="Europe/Berlin", plan="connect", tier="starter", **fields)
    for key, kind in KINDS.items():
        link = LINKS[key]
        days = link.score_expiry.days if link.score_expiry else None
        put_connection(account, key, kind, record_email_sent=link.records_sends, score_expiry_days=days)
        if link.off_since:
            put_connection(account, key, kind, enabled=False, now=link.off_since)
    return account


@contextmanager
def undone() -> Iterator[None]:
    """Whatever is written inside is gone afterwards."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def as_sent(it: Happening) -> dict[str, Any]:
    """A happening as a CloudEvent."""
    data = {name: _text(value) for name, value in it.data.items()}
    sent = event(source=it.source, id=it.key, type=it.type, subject=it.subject, time=it.at)
    return sent | ({"data": data} if data else {})


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def moments(until: timedelta = 20 * HOUR) -> st.SearchStrategy[datetime]:
    """Times on both sides of the turn; many fall together."""
    anywhere = st.integers(-20 * 24 * 60, int(until / timedelta(minutes=1))).map(
        lambda minutes: timedelta(minutes=minutes)
    )
    return (st.sampled_from(_NEAR_THE_TURN) | anywhere).map(lambda offset: TURN + offset)


@st.composite
def _happening(
    draw: st.DrawFn,
    people: Sequence[str],
    sources: Sequence[str],
    kinds: Sequence[str],
    times: st.SearchStrategy[datetime],
) -> Happening:
    person, at, kind = draw(st.sampled_from(people)), draw(times), draw(st.sampled_from(kinds))
    data: dict[str, Any] = {}
    if kind == "score.set":
        data["value"] = draw(st.sampled_from([40, 0.5, 0]))
        ends = draw(st.sampled_from([None, TURN, TURN + TICK, NEXT_TURN, NEXT_TURN + TICK]))
        data |= {"expires_at": ends} if ends and ends > at else {}
    source, key = draw(st.sampled_from(sources)), draw(st.sampled_from(_KEYS))
    return Happening(source, key, kind, person, draw(st.sampled_from(PEOPLE[person])), at, data)


def _anything() -> st.SearchStrategy[Happening]:
    return _happening(sorted(PEOPLE), sorted(KINDS), [*_STATE_TYPES, *_STATE_TYPES, *_TYPES], moments())


def _back_and_forth(source: str, times: st.SearchStrategy[datetime]) -> st.SearchStrategy[Happening]:
    """One person comes and goes on one connection: the order that all hangs on."""
    kinds = [kind for kind in _STATE_TYPES if kind.startswith("score") == (source == "scoring")]
    return _happening(["ann@example.com"], [source], kinds, times)


@st.composite
def happenings(draw: st.DrawFn, most: int = 12) -> list[Happening]:
    """What happened: every id once, in no order. Anything to anybody, or all to one person at a few moments."""
    each = _anything()
    source = draw(st.sampled_from(["anywhere", "scoring", "crm", "left-before", "left-after"]))
    if source != "anywhere":
        few = draw(st.lists(st.sampled_from(_NEAR_THE_TURN), min_size=1, max_size=3, unique=True))
        each = _back_and_forth(source, st.sampled_from([TURN + offset for offset in few]))
    return draw(st.lists(each, min_size=1, max_size=most, unique_by=lambda it: (it.source, it.key)))


Beforehand = Literal["nothing", "a read", "the scheduler"]


@dataclass(frozen=True)
class Delivery:
    """A batch, when it comes in, and who comes by just before it."""

    batch: list[Happening]
    now: datetime
    beforehand: Beforehand


@st.composite
def deliveries(
    draw: st.DrawFn,
    happened: Sequence[Happening],
    *,
    latest: datetime = TURN + GRACE - TICK,
    beforehand: Sequence[Beforehand] = ("nothing", "a read", "the scheduler"),
) -> list[Delivery]:
    """Any way for all of it to come in by `latest`: split, repeated, overlapping, reordered, over any time."""
    again = draw(st.lists(st.sampled_from(happened), max_size=4))
    order = draw(st.permutations([*happened, *again]))
    cuts = draw(st.sets(st.integers(1, len(order)), max_size=4))
    edges = [0, *sorted(cuts | {len(order)})]
    now, steps = START + DAY, []
    for start, end in pairwise(edges):
        batch = order[start:end]
        soonest = max(now, *(it.at - draw(st.sampled_from([AHEAD, 0 * DAY])) for it in batch))
        waits = st.sampled_from([0 * DAY, TICK, HOUR, 3 * DAY]) | st.just(max(latest - soonest, 0 * DAY))
        now = min(soonest + draw(waits), latest)
        steps.append(Delivery(batch, now, draw(st.sampled_from(beforehand))))
    return steps
