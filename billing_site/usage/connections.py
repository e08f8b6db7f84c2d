"""The connections of an account, and the Status page of each: what it did on any days."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from django.db.models import Q
from django.http import HttpResponse

from accounts.models import Account, Connection
from billing_site.api.problems import Problem
from billing_site.api.usage import connection_or_404, days_asked_for
from billing_site.usage import words
from billing_site.usage.charts import HEIGHT, WIDTH, Day, bar_chart
from billing_site.usage.visit import Visit, address, page
from metering import ledgers
from metering.daily import days_of
from metering.models import BillingPeriod
from metering.policy import is_replayable
from metering.sql import one_snapshot
from metering.usage import connection_status, usage
from notifications.words import UNITS
from plans.calendar import OutsideTheCalendar, day_bounds, local_day
from plans.models import Unit
from plans.subscriptions import in_force, subscriptions_of

LAST_DAYS = 30
MOST_GAPS = 100


@page("connections")
def connections(visit: Visit) -> HttpResponse:
    """All of them, with their share of the present count."""
    with one_snapshot():
        seen = usage(visit.account, visit.at)
        links = list(visit.account.connections.order_by("key"))
    numbers = {row["connection"]: row.get("contacts", row.get("events", 0)) for row in seen["by_connection"]}
    rows = [
        {
            "key": link.key,
            "name": link.name or link.key,
            "apps": " → ".join(app for app in (link.source_app, link.destination_app) if app),
            "kind": words.KINDS[link.kind],
            "enabled": link.enabled,
            "replayable": is_replayable(link),
            "number": numbers.get(link.key, 0),
            "address": address("status", link.key, token=visit.token),
        }
        for link in links
    ]
    return visit.show(rows=sorted(rows, key=lambda row: (-row["number"], row["key"])), unit=UNITS[seen["unit"]])


@page("status")
def status(visit: Visit, key: str) -> HttpResponse:
    """What a connection did on whole local days, both inclusive."""
    account = visit.account
    link = connection_or_404(account, key)
    first, last = days_asked_for(visit.query, account)
    today = local_day(visit.at, account.timezone)
    with one_snapshot():
        seen = connection_status(link, first, last)
        gaps = _gaps_on(visit, link, first, last)
        presets = _presets(visit, link)
        billed = _unit(visit) == Unit.APP_CONNECTOR_EVENTS
    days = [Day(row["date"], row["contact_events"], row["engagement_events"]) for row in seen["daily"]]
    return visit.show(
        link=link,
        seen=seen,
        billed=billed,
        types=[
            (name, words.TYPES[name], number)
            for name, number in sorted(seen["by_type"].items(), key=lambda row: (-row[1], row[0]))
        ],
        chart=bar_chart(days, [_days_of_gap(row, account, today) for row in gaps]),
        days=days,
        gaps=[_gap(row, account) for row in gaps],
        presets=presets,
        width=WIDTH,
        height=HEIGHT,
    )


def _unit(visit: Visit) -> str:
    """What the account's plan charges by: it may have no period."""
    return in_force(subscriptions_of(visit.account.pk), visit.at).tier.plan.unit


def _gaps_on(visit: Visit, link: Connection, first: date, last: date) -> list[Mapping[str, Any]]:
    """What was lost there on these days, the newest first; nothing on days to come. Raises `Problem`."""
    account = visit.account
    try:
        begin, end = day_bounds(first, account.timezone)[0], day_bounds(last, account.timezone)[1]
    except OutsideTheCalendar as error:
        raise Problem.of_field("from", "bad_date", str(error)) from None
    if begin > visit.at:
        return []
    rows = ledgers.gaps(account).filter(connection=link, starts_at__lt=end)
    rows = rows.filter(Q(ends_at=None) | Q(ends_at__gt=begin)).order_by("-starts_at", "-pk")
    return [ledgers.gap_row(row) for row in rows[:MOST_GAPS]]


def _days_of_gap(row: Mapping[str, Any], account: Account, today: date) -> tuple[date, date]:
    """The first and the last of its days; one that ends as a day begins has nothing of that day."""
    since = local_day(row["from"], account.timezone)
    until = today if row["to"] is None else local_day(row["to"] - timedelta(microseconds=1), account.timezone)
    return since, max(since, until)


def _gap(row: Mapping[str, Any], account: Account) -> dict[str, Any]:
    return {
        **row,
        "since": words.short(row["from"], account.timezone),
        "until": words.short(row["to"], account.timezone),
        "what": words.TYPES[row["type"]],
        "why": words.GAP_REASONS[row["reason"]],
    }


def _presets(visit: Visit, link: Connection) -> Iterable[tuple[str, str]]:
    """Ranges that are asked for often."""
    account, today = visit.account, local_day(visit.at, visit.account.timezone)
    newest = BillingPeriod.objects.filter(account_id=account.pk, starts_at__lte=visit.at).order_by("-starts_at")[:2]
    ranges = [
        (name, *days_of(period, account.timezone))
        for name, period in zip(("This period", "Last period"), newest, strict=False)
    ]
    ranges.append((f"Last {LAST_DAYS} days", today - timedelta(days=LAST_DAYS - 1), today))
    return [
        (name, address("status", link.key, from_=first.isoformat(), to=min(last, today).isoformat(), token=visit.token))
        for name, first, last in ranges
    ]
