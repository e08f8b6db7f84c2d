"""What an account has used: now, in each period, and by connection and day."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Final

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import CONNECTION_KEY_PATTERN, Account, Connection, Scope
from billing_site.api import queries
from billing_site.api.endpoint import Endpoint
from billing_site.api.pages import PAGE_PARAMETERS, Pages
from billing_site.api.problems import Problem, not_found
from metering.attributes import Fault, read_time
from metering.daily import daily
from metering.models import BillingPeriod
from metering.periods import current_bounds
from metering.usage import (
    clock_of,
    connection_status,
    ensure_current,
    period_row,
    period_starting,
    usage,
)
from plans.calendar import local_day

MOST_DAYS: Final = 400


class Usage(Endpoint):
    """Usage in the current billing period."""

    scopes: ClassVar = {"GET": Scope.READ}
    parameters: ClassVar = {"GET": ["account"]}
    revalidates: ClassVar = True

    def get(self, request: Request) -> Response:
        return Response(usage(self.account_asked_about(), timezone.now()))


class Periods(Endpoint):
    """All billing periods, the newest first."""

    scopes: ClassVar = {"GET": Scope.READ}
    parameters: ClassVar = {"GET": ["account", *PAGE_PARAMETERS]}

    def get(self, request: Request) -> Response:
        account = self.account_asked_about()
        pages = Pages(f"periods of {account.pk}", "-starts_at")
        at = opened(account)
        periods = BillingPeriod.objects.filter(account=account).select_related("subscription__tier__plan")
        rows: Sequence[Any] = [period_row(period, at) for period in pages.of(periods, self)]
        return pages.answer(rows)


class OnePeriod(Endpoint):
    """The billing period that starts at an instant."""

    scopes: ClassVar = {"GET": Scope.READ}
    parameters: ClassVar = {"GET": ["account"]}

    def get(self, request: Request, start: str) -> Response:
        account = self.account_asked_about()
        try:
            starts_at = read_time(start)
        except Fault:
            raise not_found() from None
        at = opened(account)
        return Response(period_row(period_starting(account, starts_at), at))


class Daily(Endpoint):
    """What each whole local day of the account added, the oldest first; by default of the current billing period up to
    today."""

    scopes: ClassVar = {"GET": Scope.READ}
    parameters: ClassVar = {"GET": ["account", "from", "to", *PAGE_PARAMETERS]}

    def get(self, request: Request) -> Response:
        asked = _days_asked(self.query)
        account = self.account_asked_about()
        first, last = _range(account, *asked)
        pages = Pages(f"days of {account.pk}", "date")
        days = pages.of_days(first, last, self)
        return pages.answer(daily(account, days[0], days[-1]) if days else [])


class ConnectionStatus(Endpoint):
    """What a connection did on whole local days of the account.

    By default from the day on which the current billing period began to today.
    """

    scopes: ClassVar = {"GET": Scope.READ}
    parameters: ClassVar = {"GET": ["account", "from", "to"]}

    def get(self, request: Request, key: str) -> Response:
        asked = _days_asked(self.query)
        account = self.account_asked_about()
        connection = connection_or_404(account, key)
        return Response(connection_status(connection, *_range(account, *asked)))


def connection_or_404(account: Account, key: str) -> Connection:
    """A connection of an account. Raises `Problem`."""
    found = None
    if re.fullmatch(CONNECTION_KEY_PATTERN, key):
        found = Connection.objects.filter(account=account, key=key).first()
    if found is None:
        raise not_found()
    return found


def opened(account: Account) -> datetime:
    """The account's time, its current period being opened. Raises `AccountBusy`."""
    at = clock_of(account, timezone.now())
    ensure_current(account, at)
    return at


def _days_asked(query: dict[str, str]) -> tuple[date | None, date | None]:
    """The days `from` and `to` as they are asked for. Raises `Problem`: `bad_date`."""
    return queries.day(query, "from"), queries.day(query, "to")


def days_asked_for(query: dict[str, str], account: Account) -> tuple[date, date]:
    """The local days `from` and `to`, both inclusive, by default the current billing period up to today. Raises
    `Problem`."""
    return _range(account, *_days_asked(query))


def _range(account: Account, first: date | None, last: date | None) -> tuple[date, date]:
    """A range of local days, where none is asked for the current billing period up to today. Raises `Problem`."""
    if first is None or last is None:
        default_first, default_last = _days_so_far(account)
        first, last = first or default_first, last or default_last
    if first > last:
        raise Problem.of_field("from", "from_after_to", f"from ({first}) is after to ({last}).")
    if (last - first).days + 1 > MOST_DAYS:
        raise Problem.of_field("from", "too_many_days", f"At most {MOST_DAYS} days can be asked for.")
    return first, last


def _days_so_far(account: Account) -> tuple[date, date]:
    """The local days of the current billing period up to today; of a closed account those of its last."""
    at = clock_of(account, timezone.now())
    start, end = current_bounds(account, at)
    return local_day(start, account.timezone), local_day(min(at, end - timedelta(microseconds=1)), account.timezone)
