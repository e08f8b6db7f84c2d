"""Who holds a link is let in: to the pages of one account, until the link expires. Errors are pages too."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.core.handlers.wsgi import get_bytes_from_wsgi
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csp import csp_override
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from accounts import usage_link
from accounts.models import Account
from accounts.refusals import Refused
from billing_site.api.problems import Problem, problem_of
from metering.lock import AccountBusy
from metering.usage import UnknownPeriod, clock_of, ensure_current

PAGES: Final = {
    "overview": "Overview",
    "less": "Use less",
    "contacts": "Contacts",
    "connections": "Connections",
    "periods": "Periods",
    "mails": "Mails",
    "gaps": "Lost and held",
    "help": "Help",
}
"""The pages, in the order of the menu."""

_PARENT: Final = {"status": "connections", "contact": "contacts", "held": "gaps"}
"""Under which of them other pages are found."""

_TITLES: Final[dict[str | int, str]] = {
    "no_period": "There is no such billing period",
    HTTPStatus.BAD_REQUEST: "That could not be read",
    HTTPStatus.NOT_FOUND: "There is nothing here by that name",
    HTTPStatus.SERVICE_UNAVAILABLE: "Just a moment",
}
_DETAILS: Final = {
    "not_found": "It may have been another account's, or the address was cut off.",
    "bad_cursor": "The list has moved on; start it again.",
    "account_busy": "Much is happening in this account just now. Reload the page.",
    "try_again": "We could not look it up just now. Reload the page.",
}

_EXPECTED: Final = (Problem, Refused, AccountBusy, OperationalError, InterfaceError)


@dataclass(frozen=True, slots=True)
class Asked:
    """An address without its host, which a page of a list puts its cursor into."""

    address: str

    def build_absolute_uri(self) -> str:
        """As a request calls it; a browser completes it."""
        return self.address


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit to one page. `at` is the account's time, `people` whether the link shows who counts."""

    http: HttpRequest
    page: str
    query: dict[str, str]
    token: str
    account: Account
    people: bool
    at: datetime

    @property
    def request(self) -> Asked:
        """The address of this page, as `api.pages.Pages` wants it."""
        return Asked(f"?{urlencode({**self.query, 'token': self.token})}")

    def show(self, **context: Any) -> HttpResponse:
        """The page, rendered by the template of its name."""
        return render(self.http, f"usage/{self.page}.html", self.frame() | context)

    def frame(self) -> dict[str, Any]:
        """What every page needs."""
        shown = [name for name in PAGES if self.people or name != "contacts"]
        here = _PARENT.get(self.page, self.page)
        return {
            "visit": self,
            "account": self.account,
            "menu": [(PAGES[name], address(name, token=self.token), name == here) for name in shown],
            "support": settings.SUPPORT_EMAIL,
        }


class NoPeople(Exception):
    """The link, from a mail, shows numbers only."""


def address(page: str, *args: str, **query: str) -> str:
    """Where a page is, with these parameters."""
    path = reverse(f"usage:{page}", args=args)
    given = {name.rstrip("_"): value for name, value in query.items() if value != ""}
    return f"{path}?{urlencode(given)}" if given else path


def as_parameter(at: datetime) -> str:
    """An instant as the API writes it, and reads it."""
    return at.isoformat().replace("+00:00", "Z")


View = Callable[..., HttpResponseBase]


def page(name: str) -> Callable[[View], View]:
    """A page of this name: the view is called with the visit, and what its path holds."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @require_safe
        @never_cache
        @xframe_options_exempt
        @csp_override(settings.FRAMED_CSP)
        @wraps(view)
        def answer(request: HttpRequest, **kwargs: str) -> HttpResponseBase:
            return _private(_answer(request, name, view, kwargs))

        return answer

    return decorate


def public_page(name: str) -> Callable[[View], View]:
    """A page that needs no link; with one it has the menu. The view is called with the visit, or with None."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @require_safe
        @never_cache
        @xframe_options_exempt
        @csp_override(settings.FRAMED_CSP)
        @wraps(view)
        def answer(request: HttpRequest) -> HttpResponseBase:
            try:
                visit = _let_in(request, name)
            except usage_link.BadLink:
                visit = None
            return _private(view(request, visit))

        return answer

    return decorate


def _answer(request: HttpRequest, name: str, view: View, kwargs: dict[str, str]) -> HttpResponseBase:
    visit = None
    try:
        visit = _let_in(request, name)
        ensure_current(visit.account, visit.at)
        return view(visit, **kwargs)
    except usage_link.ExpiredLink:
        return _refused(request, "This link has expired", "Open the usage page from your account once more.")
    except usage_link.BadLink:
        return _refused(request, "This link is not valid", "Open the usage page from your account once more.")
    except NoPeople:
        return _refused(
            request,
            "This link shows numbers only",
            "It comes from a mail, which may be forwarded; so it does not show who counts. Open the usage page from "
            "your account to see that.",
            visit,
        )
    except UnknownPeriod:
        detail = "No billing period begins then, or the account was closed before it had any."
        return _trouble(request, Problem(404, "no_period", detail), visit)
    except _EXPECTED as error:
        return _trouble(request, problem_of(error), visit)


def _let_in(request: HttpRequest, name: str) -> Visit:
    """Raises `usage_link.BadLink`."""
    now = timezone.now()
    # Not `request.GET`, which decodes by whatever charset the Content-Type names.
    sent = QueryDict(get_bytes_from_wsgi(request.META, "QUERY_STRING", ""), encoding="utf-8")
    query = {name: str(value) for name, value in sent.items() if value != ""}
    token = query.pop("token", "")
    opened = usage_link.read(token, now)
    account = Account.objects.filter(slug=opened.account).first()
    if account is None:
        raise usage_link.BadLink("its account is none of ours")
    return Visit(request, name, query, token, account, opened.people, clock_of(account, now))


def _trouble(request: HttpRequest, problem: Problem, visit: Visit | None) -> HttpResponse:
    detail = _DETAILS.get(problem.code, problem.detail)
    title = _TITLES.get(problem.code) or _TITLES.get(problem.status, HTTPStatus(problem.status).phrase)
    answer = _refused(request, title, detail, visit, problem.status)
    for name, value in problem.headers.items():
        answer.headers[name] = value
    return answer


def _refused(
    request: HttpRequest, title: str, text: str, visit: Visit | None = None, status: int = HTTPStatus.FORBIDDEN
) -> HttpResponse:
    frame = visit.frame() if visit is not None else {"support": settings.SUPPORT_EMAIL}
    return render(request, "usage/refused.html", {**frame, "title": title, "text": text}, status=status)


def _private(response: HttpResponseBase) -> HttpResponseBase:
    """The address holds the token: nobody whom the page links to learns it, and no search engine keeps it."""
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    return response
