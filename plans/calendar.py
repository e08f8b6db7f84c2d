"""The billing calendar: the period and the local day that an instant belongs to.

Pure: no clock, no database, no Django. Instants come out in UTC; intervals are half-open, ``[start, end)``.

All of it rests on one definition: *the instant of a wall time* is the first instant at which the zone's clock
shows that time or a later one. So a wall time that a zone skips is the first instant after the gap, one that
it repeats is the first of the two, and a later wall time never comes before an earlier one; hence periods and
days tile time whatever the zone does with its clock (DESIGN.md section 6).

Zone rules come from the machine's tz database (``zoneinfo``): a newer one may move instants still to come.
"""

from bisect import bisect_left
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Literal, assert_never
from zoneinfo import ZoneInfo

PeriodRule = Literal["anniversary", "calendar_month"]

# A year short of what datetime can hold at either end, so that the neighbouring boundaries and the zone's
# offset always fit.
_FIRST_YEAR = 2
_LAST_YEAR = 9998

_SHORTEST_MONTH = 28  # days
_MIDNIGHT = time()
_ONE_DAY = timedelta(days=1)
_ONE_SECOND = timedelta(seconds=1)


class NaiveMoment(ValueError):
    """A moment without a time zone names no instant."""


class OutsideTheCalendar(ValueError):
    """The billing calendar covers the years 2 to 9998."""


class UnknownTimeZone(ValueError):
    """The tz database has no such time zone."""


def period_containing(rule: PeriodRule, anchor: datetime, at: datetime, tz: str) -> tuple[datetime, datetime]:
    """Return the billing period ``[start, end)``, in UTC, that contains ``at``.

    ``anniversary``: the n-th boundary is the anchor's wall-clock date and time in ``tz`` plus n months,
    clamped to the month's last day and always counted from the anchor, so it never drifts. Periods run before
    the anchor too. ``calendar_month``: boundaries are the local month starts; the anchor is not looked at.

    The anchor counts by its wall time. One in the second pass of a repeated hour is therefore not itself a
    boundary: its period began in the first pass.

    Raises NaiveMoment, OutsideTheCalendar or UnknownTimeZone.
    """
    zone = _zone(tz)
    moment = _utc(at)
    match rule:
        case "anniversary":
            day, clock = _day_and_clock(_utc(anchor), zone)
        case "calendar_month":
            day, clock = 1, _MIDNIGHT
        case _:
            assert_never(rule)

    local = moment.astimezone(zone)
    month = local.year * 12 + local.month - 1
    boundary = _boundary(month, day, clock, zone)
    if moment < boundary:
        return _boundary(month - 1, day, clock, zone), boundary
    following = _boundary(month + 1, day, clock, zone)
    if moment < following:
        return boundary, following
    # The clock went back over the month's end: it shows the old month again, but the new period has begun.
    return following, _boundary(month + 2, day, clock, zone)


def local_day(at: datetime, tz: str) -> date:
    """Return the local day that ``at`` belongs to: the one whose ``day_bounds`` contain it.

    That is the date on the zone's clock, except while a clock that went back over midnight shows the evening
    before for a second time (from 00:01 to 23:01 in America/St_Johns until 2010): those minutes stay in the
    day that had begun, as they stay in a period that had begun.

    Raises NaiveMoment, OutsideTheCalendar or UnknownTimeZone.
    """
    if tz == "UTC" and at.tzinfo is UTC and _FIRST_YEAR <= at.year <= _LAST_YEAR:
        return at.date()  # what nearly every event of most accounts asks
    return _local_day(_utc(at), _zone(tz))


def start_of_local_day(at: datetime, tz: str) -> datetime:
    """Return the first instant, in UTC, of the local day that ``at`` belongs to.

    Raises NaiveMoment, OutsideTheCalendar or UnknownTimeZone.
    """
    zone = _zone(tz)
    return _instant(_local_day(_utc(at), zone), _MIDNIGHT, zone)


def day_bounds(day: date, tz: str) -> tuple[datetime, datetime]:
    """Return ``[start, end)``, in UTC, of a local day, which may last 23, 24 or 25 hours, or other lengths.

    A day that the zone skipped as a whole (2011-12-30 in Pacific/Apia) is empty: its start is its end.

    Raises OutsideTheCalendar or UnknownTimeZone.
    """
    _require_year_in_reach(day)
    zone = _zone(tz)
    return _instant(day, _MIDNIGHT, zone), _instant(day + _ONE_DAY, _MIDNIGHT, zone)


def _local_day(moment: datetime, zone: ZoneInfo) -> date:
    local = moment.astimezone(zone)
    shown = local.date()
    # Only in the second pass of repeated time can the next day have begun; no zone repeats more than a day.
    if local.fold and _instant(shown + _ONE_DAY, _MIDNIGHT, zone) <= moment:
        return shown + _ONE_DAY
    return shown


def _day_and_clock(moment: datetime, zone: ZoneInfo) -> tuple[int, time]:
    """Return the day of the month and the time that the zone's clock shows, without the fold."""
    local = moment.astimezone(zone)
    return local.day, local.time().replace(fold=0)


def _boundary(month: int, day: int, clock: time, zone: ZoneInfo) -> datetime:
    """Return the boundary in a month (0 is January of the year 0) for an anchor's day and wall time."""
    year, month_index = divmod(month, 12)
    if day > _SHORTEST_MONTH:
        day = min(day, monthrange(year, month_index + 1)[1])
    return _instant(date(year, month_index + 1, day), clock, zone)


def _instant(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """Return the first instant, in UTC, at which the zone's clock shows this date and time or a later one."""
    wall = datetime.combine(day, clock, zone)
    first = wall.astimezone(UTC)
    second = wall.replace(fold=1).astimezone(UTC)
    # PEP 495: the two readings swap their order just for a wall time that the zone skips.
    if second < first:
        return _end_of_gap(wall, second, first, zone)
    return first


def _end_of_gap(wall: datetime, before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of the clock change that skips ``wall``; it lies in ``(before, after]``, in UTC.

    zoneinfo does not publish its transitions, so this searches; they are whole seconds in the tz database.
    """
    skipped = wall.replace(tzinfo=None)
    floor = before.replace(microsecond=0)

    def is_past(seconds: int) -> bool:
        return (floor + seconds * _ONE_SECOND).astimezone(zone).replace(tzinfo=None) > skipped

    seconds = range((after - floor) // _ONE_SECOND)
    return floor + bisect_left(seconds, x=True, key=is_past) * _ONE_SECOND


def _utc(moment: datetime) -> datetime:
    """Return the same instant in UTC.

    Leaving the caller's zone first matters: datetimes of one zone compare and convert by wall time alone.
    """
    if moment.utcoffset() is None:
        raise NaiveMoment(f"A moment without a time zone names no instant: {moment!r}")
    _require_year_in_reach(moment)
    return moment.astimezone(UTC)


def _require_year_in_reach(day: date) -> None:
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise OutsideTheCalendar(f"The billing calendar covers the years {_FIRST_YEAR} to {_LAST_YEAR}: {day}")


# Unbounded on purpose: only zones that exist are kept, some hundreds; zoneinfo itself holds on to just eight.
@cache
def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (KeyError, ValueError, OSError) as error:
        # OSError: some Pythons let through what the file system says to a folder ("Europe") or a long name.
        raise UnknownTimeZone(f"The tz database has no time zone {tz!r}") from error
