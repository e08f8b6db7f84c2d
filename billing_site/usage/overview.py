"""The first page: the number and its limit, the curve, what happens at the limit, and where the number comes from."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.http import HttpResponse

from accounts.models import Account
from billing_site.usage import words
from billing_site.usage.charts import HEIGHT, WIDTH, curve_chart
from billing_site.usage.coming import coming, is_closed
from billing_site.usage.gauge import gauge, share
from billing_site.usage.visit import Visit, address, page
from metering import ledgers
from metering.catalogue import BY_NAME, REASON_BY_LABEL, Family
from metering.daily import curve
from metering.forecast import Forecast
from metering.models import BillingPeriod
from metering.notices import facts_of
from metering.periods import current_period
from metering.reactions import held_events
from metering.sql import one_snapshot
from metering.usage import usage
from notifications.at_limit import what_happens
from notifications.words import UNITS
from plans.calendar import local_day
from plans.subscriptions import subscriptions_of


class Row(NamedTuple):
    """A row of where the number comes from. `only` is None on the event unit; bars are in per cent of the longest."""

    key: str
    label: str
    address: str
    number: int
    only: int | None
    bar: float
    only_bar: float
    kind: str = ""


@page("overview")
def overview(visit: Visit) -> HttpResponse:
    """Every number is the API's, and all are of one moment."""
    account, at = visit.account, visit.at
    with one_snapshot():
        seen = usage(account, at)
        period = _current(visit)
        shape = curve(period, account.timezone)
        facts = facts_of(account, period, at=at)
        names = names_of(account)
        held, lost = held_events(account.pk), ledgers.lost_now(account)
        ahead = coming(account, period, subscriptions_of(account.pk), at)
    today = local_day(at, account.timezone)
    connections = [
        _row(visit, row, row["connection"], names[row["connection"]], "connection") for row in seen["by_connection"]
    ]
    reasons = [_row(visit, row, *_reason(row), "reason") for row in seen["by_reason"]]
    return visit.show(
        seen=seen,
        unit=UNITS[seen["unit"]],
        state=words.CLOSED if is_closed(account, at) else words.STATES[seen["state"]],
        stands=seen["state"] in words.STANDSTILLS,
        held=held,
        lost=lost,
        limited=seen["outcomes"].get("limited", 0),
        gauge=None if seen["limit"] is None else gauge(seen["used"], seen["carried_in"], seen["limit"]),
        chart=curve_chart(shape, seen["limit"], Forecast(**seen["forecast"]), today),
        first_day=shape.first,
        last_day=shape.last,
        today=today,
        width=WIDTH,
        height=HEIGHT,
        forecast=words.forecast(seen, account.timezone),
        coming=ahead,
        at_limit=what_happens(facts),
        action=words.action(seen["at_limit"]["action"], has_higher_tier=facts.next_tier is not None),
        because=[(names[row["connection"]], row["replayable"]) for row in seen["at_limit"]["because"]],
        connections=_with_bars(connections),
        reasons=_with_bars(reasons),
        only_sent=next((row for row in reasons if row.key == "email_sent" and row.only), None),
    )


def _current(visit: Visit) -> BillingPeriod:
    period = current_period(visit.account.pk, visit.at)
    assert period is not None  # noqa: S101 - usage has just shown it
    return period


def names_of(account: Account) -> dict[str, str]:
    """What each connection of an account is called, by its key."""
    return {key: name or key for key, name in account.connections.order_by("key").values_list("key", "name")}


def _reason(row: Mapping[str, Any]) -> tuple[str, str]:
    name = row["reason"] if "reason" in row else row["type"]
    return name, words.reason(name)


def _row(visit: Visit, row: Mapping[str, Any], key: str, label: str, what: str) -> Row:
    number = row["contacts"] if "contacts" in row else row["events"]
    to = ""
    if what == "connection":
        to = address("status", key, token=visit.token)
    elif visit.people and key in REASON_BY_LABEL:
        to = address("contacts", reason=key, token=visit.token)
    kind = "engagement" if what == "reason" and is_engagement(key) else ""
    return Row(key, label, to, number, row.get("only_here"), 0, 0, kind)


def is_engagement(name: str) -> bool:
    """Whether a reason, or a type, is an engagement."""
    kind = BY_NAME.get(name) or BY_NAME.get(f"engagement.{name}")
    return kind is not None and kind.family is Family.ENGAGEMENT


def _with_bars(rows: list[Row]) -> list[Row]:
    longest = max((row.number for row in rows), default=0)
    return [row._replace(bar=share(row.number, longest), only_bar=share(row.only or 0, longest)) for row in rows]
