"""The billing calendar: cases written out, the project's shared vectors, and properties over every zone."""

import json
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plans.calendar import (
    NaiveMoment,
    OutsideTheCalendar,
    PeriodRule,
    UnknownTimeZone,
    day_bounds,
    local_day,
    period_containing,
    start_of_local_day,
)

SHARED_VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors" / "periods.json"

TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)
RULES: tuple[PeriodRule, ...] = ("anniversary", "calendar_month")
ZONES = sorted(available_timezones())


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def wall_clock(at: datetime, zone: ZoneInfo) -> datetime:
    """What the zone's clock shows, as a naive datetime: arithmetic on it knows nothing of offsets."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


# --- Cases written out ---

ANNIVERSARIES = [
    # why, zone, anchor, at, start, end
    ("the anchor opens a period", "UTC", "2024-01-15T10:00:00Z", "2024-01-15T10:00:00Z",
     "2024-01-15T10:00:00Z", "2024-02-15T10:00:00Z"),
    ("31 January: February's last day, in a leap year the 29th", "UTC", "2024-01-31T00:00:00Z",
     "2024-02-28T12:00:00Z", "2024-01-31T00:00:00Z", "2024-02-29T00:00:00Z"),
    ("and back to the 31st in March: no drift", "UTC", "2024-01-31T00:00:00Z",
     "2024-03-01T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-31T00:00:00Z"),
    ("nor after a hundred years; 2100 is no leap year", "UTC", "2000-01-31T00:00:00Z",
     "2100-02-28T00:00:00Z", "2100-02-28T00:00:00Z", "2100-03-31T00:00:00Z"),
    ("one tick before a boundary is the earlier period", "UTC", "2024-01-15T10:00:00Z",
     "2024-02-15T09:59:59.999999Z", "2024-01-15T10:00:00Z", "2024-02-15T10:00:00Z"),
    ("microseconds of the anchor are kept", "UTC", "2024-01-31T10:00:00.000001Z",
     "2024-04-30T10:00:00Z", "2024-03-31T10:00:00.000001Z", "2024-04-30T10:00:00.000001Z"),
    ("before the anchor, clamped just the same", "UTC", "2024-05-31T00:00:00Z",
     "2023-02-10T00:00:00Z", "2023-01-31T00:00:00Z", "2023-02-28T00:00:00Z"),
    ("the anchor's day is the local one: 31 January in Auckland", "Pacific/Auckland",
     "2024-01-30T12:00:00Z", "2024-03-01T00:00:00Z", "2024-02-28T12:00:00Z", "2024-03-30T12:00:00Z"),
    ("an anchor in another zone is the same instant", "Europe/Paris", "2024-01-15T05:00:00-05:00",
     "2024-07-01T00:00:00+09:00", "2024-06-15T09:00:00Z", "2024-07-15T09:00:00Z"),
    ("wall time holds over a clock change, its instant moves", "America/New_York",
     "2024-02-20T14:00:00Z", "2024-03-20T12:59:59Z", "2024-02-20T14:00:00Z", "2024-03-20T13:00:00Z"),
    ("Paris skips 02:30 with its microseconds: 03:00 sharp", "Europe/Paris",
     "2024-01-31T01:30:00.123456Z", "2024-04-01T00:00:00Z",
     "2024-03-31T01:00:00Z", "2024-04-30T00:30:00.123456Z"),
    ("New York repeats 01:30: the first", "America/New_York", "2024-10-03T05:30:00Z",
     "2024-11-03T06:15:00Z", "2024-11-03T05:30:00Z", "2024-12-03T06:30:00Z"),
    ("an anchor in the second 01:30 counts as the first", "America/New_York", "2024-11-03T06:30:00Z",
     "2024-11-03T06:30:00Z", "2024-11-03T05:30:00Z", "2024-12-03T06:30:00Z"),
    ("Apia skips the whole of 30 December 2011", "Pacific/Apia", "2011-10-30T18:00:00Z",
     "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2012-01-29T18:00:00Z"),
    ("before that day the period ends at the skip", "Pacific/Apia", "2011-10-30T18:00:00Z",
     "2011-12-30T09:59:59.999999Z", "2011-11-30T18:00:00Z", "2011-12-30T10:00:00Z"),
    ("a clamped 31st beside a skipped 31st", "Pacific/Kiritimati", "1994-08-31T22:40:00Z",
     "1994-12-31T10:00:00Z", "1994-12-31T10:00:00Z", "1995-01-30T22:40:00Z"),
    ("Lord Howe moves by half an hour", "Australia/Lord_Howe", "2024-09-05T15:45:00Z",
     "2024-10-10T00:00:00Z", "2024-10-05T15:30:00Z", "2024-11-05T15:15:00Z"),
    ("an offset with seconds: Monrovia, -00:44:30 until 1972", "Africa/Monrovia",
     "1971-11-30T00:44:30Z", "1972-01-01T00:00:00Z", "1971-12-30T00:44:30Z", "1972-01-30T00:00:00Z"),
]  # fmt: skip

CALENDAR_MONTHS = [
    # why, zone, at, start, end
    ("a plain month", "UTC", "2024-02-29T23:59:59.999999Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
    ("its end belongs to the next", "UTC", "2024-03-01T00:00:00Z",
     "2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z"),
    ("the turn of the year comes early in the east", "Pacific/Kiritimati", "2023-12-31T10:00:00Z",
     "2023-12-31T10:00:00Z", "2024-01-31T10:00:00Z"),
    ("and late in the west", "Pacific/Pago_Pago", "2024-01-01T10:59:59Z",
     "2023-12-01T11:00:00Z", "2024-01-01T11:00:00Z"),
    ("a southern month that begins in winter time and ends in summer time", "America/Sao_Paulo",
     "1993-10-20T00:00:00Z", "1993-10-01T03:00:00Z", "1993-11-01T02:00:00Z"),
    ("Damascus skipped midnight of 1 April 2005: the month begins at 01:00", "Asia/Damascus",
     "2005-04-15T00:00:00Z", "2005-03-31T22:00:00Z", "2005-04-30T21:00:00Z"),
    ("Havana repeated midnight of 1 November 2015: the first", "America/Havana", "2015-11-01T04:30:00Z",
     "2015-11-01T04:00:00Z", "2015-12-01T05:00:00Z"),
    ("St John's went back to October one minute into November: November has begun",
     "America/St_Johns", "2009-11-01T03:00:00Z", "2009-11-01T02:30:00Z", "2009-12-01T03:30:00Z"),
    ("Vostok went back seven hours as February began: it begins seven hours later", "Antarctica/Vostok",
     "1994-01-31T20:00:00Z", "1993-12-31T17:00:00Z", "1994-02-01T00:00:00Z"),
    ("December 2011 in Apia is a day short", "Pacific/Apia", "2011-12-15T00:00:00Z",
     "2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tz", "anchor", "at", "start", "end"), [c[1:] for c in ANNIVERSARIES], ids=[c[0] for c in ANNIVERSARIES]
)
def test_anniversary_periods(tz: str, anchor: str, at: str, start: str, end: str) -> None:
    assert period_containing("anniversary", utc(anchor), utc(at), tz) == (utc(start), utc(end))


@pytest.mark.parametrize(
    ("tz", "at", "start", "end"), [c[1:] for c in CALENDAR_MONTHS], ids=[c[0] for c in CALENDAR_MONTHS]
)
def test_calendar_months_whatever_the_anchor(tz: str, at: str, start: str, end: str) -> None:
    anchor = utc("2001-01-31T12:34:56.789Z")
    assert period_containing("calendar_month", anchor, utc(at), tz) == (utc(start), utc(end))


@pytest.mark.skipif(not SHARED_VECTORS.exists(), reason="../shared/vectors is not part of this repository")
def test_the_shared_vectors() -> None:
    rows = cast("list[dict[str, str]]", json.loads(SHARED_VECTORS.read_text()))
    wrong = []
    for row in rows:
        rule = cast("PeriodRule", row["rule"])
        period = period_containing(rule, utc(row["anchor"]), utc(row["at"]), row["tz"])
        if period != (utc(row["start"]), utc(row["end"])):
            wrong.append((row, period))
    assert rows
    assert wrong == []


def test_the_caller_zone_never_matters() -> None:
    """Not even the very zone of the subscription, in an hour that it repeats or skips."""
    zone = ZoneInfo("Europe/Paris")
    second_pass = datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zone)
    skipped = datetime(2024, 3, 31, 2, 30, tzinfo=zone)
    for anchor in (second_pass, skipped):
        for at in (second_pass, skipped):
            assert period_containing("anniversary", anchor, at, "Europe/Paris") == period_containing(
                "anniversary", anchor.astimezone(UTC), at.astimezone(UTC), "Europe/Paris"
            )


# --- Local days ---

DAYS = [
    # why, zone, day, start, end
    ("a plain day", "UTC", "2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
    ("23 hours", "Europe/Paris", "2024-03-31", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"),
    ("25 hours", "Europe/Paris", "2024-10-27", "2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"),
    ("a day that begins at 01:00", "America/Sao_Paulo", "2018-11-04",
     "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
    ("a day whose last hour is repeated", "America/Sao_Paulo", "2018-02-17",
     "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"),
    ("a day whose first minute comes twice", "America/St_Johns", "2009-11-01",
     "2009-11-01T02:30:00Z", "2009-11-02T03:30:00Z"),
    ("a day that never was is empty", "Pacific/Apia", "2011-12-30",
     "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z"),
]  # fmt: skip


@pytest.mark.parametrize(("tz", "day", "start", "end"), [c[1:] for c in DAYS], ids=[c[0] for c in DAYS])
def test_local_days(tz: str, day: str, start: str, end: str) -> None:
    bounds = day_bounds(date.fromisoformat(day), tz)

    assert bounds == (utc(start), utc(end))
    if bounds[0] < bounds[1]:
        for at in (bounds[0], bounds[1] - TICK):
            assert local_day(at, tz) == date.fromisoformat(day)
            assert start_of_local_day(at, tz) == bounds[0]


def test_an_evening_shown_twice_stays_in_the_day_that_had_begun() -> None:
    second_evening = utc("2009-11-01T03:00:00Z")

    assert second_evening.astimezone(ZoneInfo("America/St_Johns")).date() == date(2009, 10, 31)
    assert local_day(second_evening, "America/St_Johns") == date(2009, 11, 1)


# --- What is refused ---

AT = utc("2024-05-05T05:05:05Z")
NAIVE = AT.replace(tzinfo=None)
EDGES = (
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))),
)


@pytest.mark.parametrize(
    "ask",
    [
        lambda at: period_containing("anniversary", AT, at, "Asia/Tokyo"),
        lambda at: period_containing("anniversary", at, AT, "Asia/Tokyo"),
        lambda at: period_containing("calendar_month", AT, at, "Asia/Tokyo"),
        lambda at: local_day(at, "Asia/Tokyo"),
        lambda at: start_of_local_day(at, "Asia/Tokyo"),
    ],
    ids=["at", "anchor", "month", "day", "start of day"],
)
def test_naive_and_extreme_moments_are_refused(ask: Callable[[datetime], object]) -> None:
    with pytest.raises(NaiveMoment):
        ask(NAIVE)
    for moment in EDGES:
        with pytest.raises(OutsideTheCalendar):
            ask(moment)


@pytest.mark.parametrize("day", [date.min, date.max])
def test_extreme_days_are_refused(day: date) -> None:
    with pytest.raises(OutsideTheCalendar):
        day_bounds(day, "UTC")


@pytest.mark.parametrize("tz", ["", "Europe", "Mars/Olympus", "../etc/passwd", "zone.tab", "a\0b", "x" * 5000])
def test_unknown_zones_are_refused(tz: str) -> None:
    with pytest.raises(UnknownTimeZone):
        period_containing("anniversary", AT, AT, tz)
    with pytest.raises(UnknownTimeZone):
        day_bounds(AT.date(), tz)


def test_an_unknown_rule_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        period_containing(cast("PeriodRule", "weekly"), AT, AT, "UTC")


@pytest.mark.parametrize("year", [1970, 9000])
@pytest.mark.parametrize("tz", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Paris"])
def test_days_of_far_years_work(year: int, tz: str) -> None:
    for day in (date(year, 1, 1), date(year, 12, 31)):
        start, end = day_bounds(day, tz)
        assert local_day(start, tz) == local_day(end - TICK, tz) == day
        assert start_of_local_day(end - TICK, tz) == start


@pytest.mark.parametrize("year", [2, 1970, 9000, 9998])
@pytest.mark.parametrize("tz", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Paris"])
def test_far_years_work_to_the_last_tick(year: int, tz: str) -> None:
    edges = (datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
    for rule in RULES:
        for anchor in (AT, *edges):
            for at in edges:
                start, end = period_containing(rule, anchor, at, tz)
                assert start <= at < end


# --- Properties over every zone ---

FIRST, LAST = datetime(1971, 1, 1, tzinfo=UTC), datetime(2100, 12, 31, tzinfo=UTC)

anywhen = st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None), timezones=st.just(UTC))
nearby = st.one_of(
    st.sampled_from([timedelta(0), TICK, -TICK]),
    st.timedeltas(timedelta(hours=-3), timedelta(hours=3)),
    st.timedeltas(timedelta(days=-2), timedelta(days=2)),
)


def clock_changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """The instants of a year after which the zone's offset is another, found by looking at every day."""
    changes = []
    before = datetime(year, 1, 1, tzinfo=UTC)
    for _ in range(366):
        after = before + DAY
        if before.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            changes.append(_first_with_new_offset(zone, before, after))
        before = after
    return changes


def _first_with_new_offset(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    old = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


@st.composite
def situations(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    """A zone, an anchor and an instant; half of the time all close to a change of that zone's clock.

    Chance would hardly ever put a boundary into a gap or a repeated hour, where the work is. So the anchor is
    then near the change, or given the wall-clock day and time of the change some months away from it.
    """
    tz = draw(st.sampled_from(ZONES))
    zone = ZoneInfo(tz)
    changes = clock_changes(zone, draw(st.integers(1971, 2045))) if draw(st.booleans()) else []
    if not changes:
        return tz, draw(anywhen), draw(anywhen)
    change = draw(st.sampled_from(changes))
    at = change + draw(nearby)
    if draw(st.booleans()):
        return tz, change + draw(nearby), at
    edge = draw(st.sampled_from([wall_clock(change, zone), wall_clock(change - TICK, zone) + TICK]))
    aim = edge + draw(nearby)
    anchor = months_later(aim, draw(st.integers(-40, 40))).replace(tzinfo=zone)
    return tz, min(max(anchor.astimezone(UTC), FIRST), LAST), at


def months_later(wall: datetime, months: int) -> datetime:
    """The reference: the same day and time in another month, the day clamped."""
    year, month_index = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    last_day = monthrange(year, month_index + 1)[1]
    return wall.replace(year=year, month=month_index + 1, day=min(wall.day, last_day))


def assert_is_the_instant_of(wall: datetime, at: datetime, zone: ZoneInfo) -> None:
    """``at`` is the first instant that shows ``wall``, or the first after the gap that swallowed it.

    Judged by what the clock shows just before and at the instant, never by turning a wall time into UTC.
    """
    local = at.astimezone(zone)
    shown, shown_before = wall_clock(at, zone), wall_clock(at - TICK, zone)
    if shown == wall:
        assert local.fold == 0
    else:
        assert shown_before < wall < shown
        assert shown - shown_before > TICK


@given(situations(), st.sampled_from(RULES))
@settings(max_examples=1200, deadline=None)
def test_an_instant_lies_in_its_period_and_periods_tile(
    situation: tuple[str, datetime, datetime], rule: PeriodRule
) -> None:
    tz, anchor, at = situation

    start, end = period_containing(rule, anchor, at, tz)

    assert start <= at < end
    assert start.tzinfo is UTC
    assert end.tzinfo is UTC
    assert timedelta(days=26) < end - start < timedelta(days=33)
    assert period_containing(rule, anchor, end, tz)[0] == end
    assert period_containing(rule, anchor, start - TICK, tz)[1] == start


@given(situations(), st.sampled_from(RULES), st.floats(0, 1, exclude_max=True))
@settings(max_examples=600, deadline=None)
def test_every_instant_of_a_period_has_the_same_period(
    situation: tuple[str, datetime, datetime], rule: PeriodRule, part: float
) -> None:
    tz, anchor, at = situation
    start, end = period = period_containing(rule, anchor, at, tz)

    for other in (start, start + TICK, start + (end - start - TICK) * part, end - TICK):
        assert period_containing(rule, anchor, other, tz) == period


@given(situations())
@settings(max_examples=1200, deadline=None)
def test_a_boundary_is_the_anchor_plus_months_on_the_local_clock(
    situation: tuple[str, datetime, datetime],
) -> None:
    tz, anchor, at = situation
    zone = ZoneInfo(tz)
    origin = wall_clock(anchor, zone)

    boundaries = period_containing("anniversary", anchor, at, tz)

    months = []
    for boundary in boundaries:
        shown = wall_clock(boundary, zone)
        # A gap at the end of a month moves the boundary into the next: the nearest month is the one meant.
        estimate = (shown.year - origin.year) * 12 + shown.month - origin.month
        n = min(range(estimate - 1, estimate + 2), key=lambda n: abs(months_later(origin, n) - shown))
        assert_is_the_instant_of(months_later(origin, n), boundary, zone)
        months.append(n)
    assert months[1] == months[0] + 1


@given(situations())
@settings(max_examples=600, deadline=None)
def test_a_calendar_month_begins_when_the_clock_first_shows_it(
    situation: tuple[str, datetime, datetime],
) -> None:
    tz, anchor, at = situation
    zone = ZoneInfo(tz)

    start, end = period_containing("calendar_month", anchor, at, tz)

    first = wall_clock(start, zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert_is_the_instant_of(first, start, zone)
    assert_is_the_instant_of(months_later(first, 1), end, zone)


@given(situations(), st.sampled_from(RULES), st.sampled_from(ZONES))
@settings(max_examples=600, deadline=None)
def test_the_zone_that_an_instant_is_written_in_does_not_matter(
    situation: tuple[str, datetime, datetime], rule: PeriodRule, elsewhere: str
) -> None:
    tz, anchor, at = situation
    period = period_containing(rule, anchor, at, tz)

    for zone in (ZoneInfo(elsewhere), ZoneInfo(tz)):
        assert period_containing(rule, anchor.astimezone(zone), at.astimezone(zone), tz) == period
        assert local_day(at.astimezone(zone), tz) == local_day(at, tz)


@given(situations())
@settings(max_examples=1200, deadline=None)
def test_days_tile_and_contain_their_instants(situation: tuple[str, datetime, datetime]) -> None:
    tz, _, at = situation

    day = local_day(at, tz)
    start, end = day_bounds(day, tz)

    assert start <= at < end
    assert start_of_local_day(at, tz) == start
    assert local_day(start, tz) == day
    assert local_day(end - TICK, tz) == day
    assert local_day(start - TICK, tz) < day < local_day(end, tz)
    assert day_bounds(day + DAY, tz)[0] == end
    assert day_bounds(day - DAY, tz)[1] == start
    assert_is_the_instant_of(datetime.combine(day, time()), start, ZoneInfo(tz))


@given(situations())
@settings(max_examples=600, deadline=None)
def test_calendar_months_consist_of_whole_local_days(situation: tuple[str, datetime, datetime]) -> None:
    tz, anchor, at = situation

    start, end = period_containing("calendar_month", anchor, at, tz)

    assert start_of_local_day(start, tz) == start
    assert start_of_local_day(end, tz) == end


def test_no_zone_has_a_gap_in_twenty_years_of_clock_changes() -> None:
    """Not a sample: every zone there is, by both rules, through the years of the strangest changes."""
    last_year = 2012
    for tz in ZONES:
        for rule in RULES:
            anchor = at = utc("1992-12-31T00:30:00.000001Z")
            previous_end = period_containing(rule, anchor, at, tz)[1]
            while previous_end.year <= last_year:
                start, end = period_containing(rule, anchor, previous_end, tz)
                assert start == previous_end < end, (tz, rule, start)
                previous_end = end
