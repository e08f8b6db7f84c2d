"""`GET /usage/?token=…`, what mails lead to: an account's usage for whoever holds a signed link, until it expires."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csp import csp_override
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from accounts import usage_link
from accounts.models import Account
from metering import ledgers
from metering.lock import AccountBusy
from metering.models import Gap
from metering.notices import facts_of
from metering.periods import current_period
from metering.reactions import held_events
from metering.usage import clock_of, usage
from notifications.advice import how_to_reduce
from notifications.at_limit import what_happens
from notifications.models import Notification
from notifications.words import UNITS, moment

NEWEST: Final = 20
"""Rows shown of a list that has no end."""

STATES: Final = {
    "ok": "Within the limit",
    "warning": "Close to the limit",
    "limit_reached": "The limit is reached",
    "holding": "At the limit: new data is held, and counted when there is room",
    "limiting": "At the limit: new contacts are not served",
    "paused": "Paused: data that arrives is lost",
    "over_top_tier": "Above the highest tier: counting goes on",
}


MAIL_STATES: Final = {
    "pending": "is being sent",
    "sent": "sent",
    "failed": "could not be delivered",
    "historical": "imported history, not sent",
}


@csrf_exempt
@require_safe
@never_cache
@xframe_options_exempt
@csp_override(settings.FRAMED_CSP)
def usage_page(request: HttpRequest) -> HttpResponse:
    """200 with the page; 403 for a link that is not ours or has expired, which says what to do."""
    now = timezone.now()
    try:
        slug = usage_link.read(request.GET.get("token", ""), now)
    except usage_link.ExpiredLink:
        return _refused(request, "This link has expired.", HTTPStatus.FORBIDDEN)
    except usage_link.BadLink:
        return _refused(request, "This link is not valid.", HTTPStatus.FORBIDDEN)
    account = Account.objects.filter(slug=slug).first()
    if account is None:
        return _refused(request, "This link is not valid.", HTTPStatus.FORBIDDEN)
    try:
        seen = usage(account, now)
    except AccountBusy as busy:
        answer = _refused(request, "The account is busy just now; reload the page.", HTTPStatus.SERVICE_UNAVAILABLE)
        answer.headers["Retry-After"] = str(busy.retry_after_seconds)
        return answer
    return _private(render(request, "billing_site/usage.html", _shown(account, seen, now)))


def _shown(account: Account, seen: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Every number is the API's."""
    at = clock_of(account, now)
    period = current_period(account.pk, at)
    assert period is not None  # noqa: S101 - usage has just shown it
    facts = facts_of(account, period, at=at)
    names = dict(account.connections.values_list("key", "name"))
    return {
        "account": account,
        "seen": seen,
        "unit": UNITS[seen["unit"]],
        "state": STATES[seen["state"]],
        "held": held_events(account.pk),
        "by_connection": [(names[key], number) for key, number in _counted(seen["by_connection"])],
        "by_reason": [(_words(name), number) for name, number in _counted(seen["by_reason"])],
        "bar": min(seen["percent"] or 0, 100),
        "resets": moment(seen["period"]["end"], account.timezone),
        "began": moment(seen["period"]["start"], account.timezone),
        "at_limit": what_happens(facts),
        "advice": how_to_reduce(facts),
        "gaps": [_gap(row, names, account.timezone) for row in _newest(ledgers.gaps(account), "starts_at")],
        "notifications": [
            _mail(row, account.timezone) for row in _newest(ledgers.notifications(account), "created_at")
        ],
        "support": settings.SUPPORT_EMAIL,
    }


def _counted(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """What each row is named by, and its number: contacts, or events."""
    return [
        (
            next(row[name] for name in ("connection", "reason", "type") if name in row),
            row["contacts"] if "contacts" in row else row["events"],
        )
        for row in rows
    ]


def _newest[Row: Model](rows: QuerySet[Row], by: str) -> QuerySet[Row]:
    return rows.order_by(f"-{by}", "-pk")[:NEWEST]


def _words(name: str) -> str:
    return name.rpartition(".")[2].replace("_", " ")


def _short(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def _gap(row: Gap, names: Mapping[str, str], zone: str) -> dict[str, Any]:
    gap = ledgers.gap_row(row)
    return {
        "from": _short(gap["from"], zone),
        "to": "goes on" if gap["to"] is None else _short(gap["to"], zone),
        "reason": _words(gap["reason"]),
        "connection": names[gap["connection"]],
        "type": _words(gap["type"]),
        "events": gap["events"],
    }


def _mail(row: Notification, zone: str) -> dict[str, Any]:
    mail = ledgers.notification_row(row)
    percent = "" if mail["percent"] is None else f" {mail['percent']} %"
    return {
        "at": _short(mail["created_at"], zone),
        "what": f"{_words(mail['kind'])}{percent}",
        "limit": mail["limit"],
        "state": MAIL_STATES[mail["state"]],
    }


def _refused(request: HttpRequest, why: str, status: int) -> HttpResponse:
    shown = {"why": why, "support": settings.SUPPORT_EMAIL}
    return _private(render(request, "billing_site/usage_refused.html", shown, status=status))


def _private(response: HttpResponse) -> HttpResponse:
    """The address holds the token: nobody whom the page links to learns it, and no search engine keeps it."""
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    return response
