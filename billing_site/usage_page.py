"""`GET /usage/?token=…`, what mails lead to: an account's usage for whoever holds a signed link, until it expires."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_safe

from accounts import usage_link
from accounts.models import Account
from metering import ledgers
from metering.lock import AccountBusy
from metering.notices import facts_of
from metering.periods import newest_period
from metering.usage import usage
from notifications.advice import how_to_reduce
from notifications.at_limit import what_happens
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
    return _private(render(request, "billing_site/usage.html", _shown(account, seen)))


def _shown(account: Account, seen: dict[str, Any]) -> dict[str, Any]:
    """Every number is the API's."""
    period = newest_period(account.pk)
    assert period is not None  # noqa: S101 - usage has just shown it
    facts = facts_of(account, period)
    return {
        "account": account,
        "seen": seen,
        "unit": UNITS[seen["unit"]],
        "state": STATES[seen["state"]],
        "by_connection": _counted(seen["by_connection"]),
        "by_reason": _counted(seen["by_reason"]),
        "bar": min(seen["percent"] or 0, 100),
        "resets": moment(seen["period"]["end"], account.timezone),
        "began": moment(seen["period"]["start"], account.timezone),
        "at_limit": what_happens(facts),
        "advice": how_to_reduce(facts),
        "gaps": [_in_words(ledgers.gap_row(row), "reason") for row in _newest(ledgers.gaps(account), "starts_at")],
        "notifications": [
            _in_words(ledgers.notification_row(row), "kind")
            for row in _newest(ledgers.notifications(account), "created_at")
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


def _in_words(row: dict[str, Any], column: str) -> dict[str, Any]:
    return {**row, column: str(row[column]).replace("_", " ")}


def _refused(request: HttpRequest, why: str, status: int) -> HttpResponse:
    shown = {"why": why, "support": settings.SUPPORT_EMAIL}
    return _private(render(request, "billing_site/usage_refused.html", shown, status=status))


def _private(response: HttpResponse) -> HttpResponse:
    """The address holds the token: nobody whom the page links to learns it, and no search engine keeps it."""
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    return response
