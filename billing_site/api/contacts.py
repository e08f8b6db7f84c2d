"""Who counts and why: the counted contacts of a period, in pages or as a file, and one contact over all periods."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain, islice
from typing import ClassVar, Final

from django.http import StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, Scope
from billing_site.api import queries
from billing_site.api.endpoint import Endpoint
from billing_site.api.pages import PAGE_PARAMETERS, Pages
from billing_site.api.problems import Problem
from billing_site.api.usage import connection_or_404, opened
from metering.attributes import Fault, read_time
from metering.catalogue import REASON_BY_LABEL, Reason
from metering.counted import Wanted, contact_rows, counted_in, why
from metering.export import contacts_as_csv, file_name
from metering.models import BillingPeriod
from metering.periods import current_period
from metering.usage import UnknownPeriod, period_starting

_WHICH: Final = ("account", "period", "reason", "connection", "refused")


class _OfAPeriod(Endpoint):
    """Something about the counted contacts of a period."""

    scopes: ClassVar = {"GET": Scope.READ}

    def wanted(self, account: Account) -> Wanted:
        """Which of them are asked for. Raises `Problem`."""
        return wanted_by(self.query, account)

    def period(self, account: Account) -> BillingPeriod:
        """The period that is asked about, by default the current one. Raises `Problem`, `UnknownPeriod`."""
        return period_named(self.query, account, opened(account))


def wanted_by(query: Mapping[str, str], account: Account) -> Wanted:
    """Which counted contacts are asked for. Raises `Problem`."""
    key = query.get("connection")
    return Wanted(
        reason=reason_named(query.get("reason")),
        connection=None if key is None else connection_or_404(account, key),
        refused=queries.switch(query, "refused") if "refused" in query else None,
    )


def period_named(query: Mapping[str, str], account: Account, at: datetime) -> BillingPeriod:
    """The period that starts when `period` says, by default that of an instant. Raises `Problem`, `UnknownPeriod`."""
    start = query.get("period")
    if start is not None:
        try:
            return period_starting(account, read_time(start))
        except Fault:
            raise Problem.of_field("period", "bad_time", "period is the time at which one starts.") from None
    current = current_period(account.pk, at)
    if current is None:
        raise UnknownPeriod(f"no period of account {account.slug} contains {at}")
    return current


class Contacts(_OfAPeriod):
    """The counted contacts of a period, in the order in which they became known."""

    parameters: ClassVar = {"GET": [*_WHICH, *PAGE_PARAMETERS]}

    def get(self, request: Request) -> Response:
        account = self.account_asked_about()
        wanted, period = self.wanted(account), self.period(account)
        pages = Pages(f"contacts of {account.pk} in {period.pk}", "contact_id")
        page = pages.of(counted_in(period, wanted), self)
        return pages.answer(contact_rows(account.pk, page))


class Export(_OfAPeriod):
    """The counted contacts of a period as a file."""

    parameters: ClassVar = {"GET": _WHICH}

    def get(self, request: Request) -> StreamingHttpResponse:
        account = self.account_asked_about()
        wanted, period = self.wanted(account), self.period(account)
        return csv_file(account, period, wanted)


def csv_file(account: Account, period: BillingPeriod, wanted: Wanted) -> StreamingHttpResponse:
    """Counted contacts of an account's period as a file to be kept."""
    lines = _begun(contacts_as_csv(period, wanted))
    name = file_name(account.slug, period)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


def _begun(lines: Iterator[str]) -> Iterator[str]:
    """The same lines, the first contacts of them read already: what fails there can still be answered as an error."""
    begun = list(islice(lines, 2))
    return chain(begun, lines)


class OneContact(Endpoint):
    """Why a contact counts or has counted, in every period."""

    scopes: ClassVar = {"GET": Scope.READ}
    parameters: ClassVar = {"GET": ["account"]}

    def get(self, request: Request, subject: str) -> Response:
        account = self.account_asked_about()
        opened(account)
        return Response(why(account, subject))


def reason_named(name: str | None) -> Reason | None:
    """A reason by its name. Raises `Problem`: `unknown_reason`."""
    if name is None:
        return None
    if name not in REASON_BY_LABEL:
        detail = f"There is no such reason; there are {', '.join(REASON_BY_LABEL)}."
        raise Problem.of_field("reason", "unknown_reason", detail)
    return REASON_BY_LABEL[name]
