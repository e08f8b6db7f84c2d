"""What happened to a sample account: events with a growing number of people, a weekly rhythm and a heavy tail.

Drawn by lot from a seed, so the same account always has the same story, and exact: in each billing period just the
people (or events) that the sample says count, as far as the account's limit lets them.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from billing_site.demo.samples import Link, Month, Sample
from metering.breakdown import CONTACT_UNITS
from metering.catalogue import BY_NAME, SCORE_SET, EventType
from plans.models import Unit

FIRST = ("ann", "zoë", "łukasz", "søren", "priya", "mateo", "yūki", "ngozi", "chloé", "björn", "fatima", "dóra", "josé")
LAST = ("smith", "müller", "kowalska", "o'brien", "nguyễn", "garcía", "sato", "okafor", "lefèvre", "haddad", "tóth")
DOMAINS = ("example.com", "example.org", "post.example", "büro.example", "example.net")

# How busy a weekday and an hour of it are, of 100.
DAYS = (90, 100, 100, 95, 75, 18, 12)
HOURS = (2, 1, 1, 1, 2, 5, 15, 40, 80, 100, 95, 85, 60, 75, 90, 85, 75, 55, 35, 30, 28, 20, 10, 5)


def events_of(
    sample: Sample, unit: Unit, periods: Sequence[tuple[datetime, datetime]]
) -> Iterator[list[dict[str, Any]]]:
    """The events of each period `[start, end)` of a sample, in order of time; `unit` is what its plan charges by."""
    chance = Random(sample.slug)  # noqa: S311 - a story, not a secret
    for number, (month, (start, end)) in enumerate(zip(sample.months, periods, strict=True), start=1):
        yield _month(sample, unit, month, chance, start, end, number)


def _month(
    sample: Sample, unit: Unit, month: Month, chance: Random, start: datetime, end: datetime, number: int
) -> list[dict[str, Any]]:
    kinds = [(link, kind, weight) for link in sample.links for kind, weight in link.types.items()]
    counting = [row for row in kinds if counts(BY_NAME[row[1]], unit)]
    zone = ZoneInfo(sample.timezone)
    times = sorted(_busy_time(chance, start, end, zone) for _ in range(month.events))
    # Everybody once by something that counts; the rest at random, and what does not count also by strangers.
    everybody = [(person, *_draw(chance, counting)) for person in range(month.people)]
    rest = [_draw(chance, kinds) for _ in range(month.events - month.people)]
    more = [
        (_heavy_tail(chance, month.people * (1 if counts(BY_NAME[kind], unit) else 3)), link, kind)
        for link, kind in rest
    ]
    happened = everybody + more
    chance.shuffle(happened)
    return [
        {
            "specversion": "1.0",
            "id": f"{number:02}-{place:05}",
            "source": link.key,
            "type": kind,
            "subject": _subject(person, sample.channel),
            "time": at.isoformat(),
            **({"data": {"value": chance.randint(5, 95)}} if kind == SCORE_SET.name else {}),
        }
        for place, (at, (person, link, kind)) in enumerate(zip(times, happened, strict=True), start=1)
    ]


def counts(kind: EventType, unit: Unit) -> bool:
    """Whether an event of a type counts in a unit."""
    return kind.billable if unit == Unit.APP_CONNECTOR_EVENTS else kind.unit is CONTACT_UNITS[unit]


def _draw(chance: Random, kinds: list[tuple[Link, str, int]]) -> tuple[Link, str]:
    [(link, kind, _)] = chance.choices(kinds, [weight for _, _, weight in kinds])
    return link, kind


def _heavy_tail(chance: Random, people: int) -> int:
    """A few do most of it."""
    return int(chance.paretovariate(0.7)) % people


def _busy_time(chance: Random, start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """A time, rather in working hours than at night or on Sunday; any, where there are only such."""
    for _ in range(30):
        at = start + timedelta(seconds=int(chance.random() * (end - start).total_seconds()))
        local = at.astimezone(zone)
        if chance.random() * 10_000 < DAYS[local.weekday()] * HOURS[local.hour]:
            break
    return at


def _subject(person: int, channel: str) -> str:
    if channel:
        return f"{channel}:{17_841_400_000_000 + 7_919 * person}"
    first, rest = FIRST[person % len(FIRST)], person // len(FIRST)
    last, again = LAST[rest % len(LAST)], rest // len(LAST)
    return f"{first}.{last}{again or ''}@{DOMAINS[person * 7 % len(DOMAINS)]}"
