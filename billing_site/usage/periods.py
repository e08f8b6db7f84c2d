"""The history: each billing period with its count and limit."""

from django.http import HttpResponse

from billing_site.api.pages import Pages
from billing_site.usage import words
from billing_site.usage.gauge import share
from billing_site.usage.visit import Visit, address, as_parameter, page
from metering.models import BillingPeriod
from metering.usage import period_row
from notifications.words import UNITS, moment

ROWS = "24"


@page("periods")
def periods(visit: Visit) -> HttpResponse:
    """The newest first."""
    account = visit.account
    pages = Pages(f"periods of {account.pk}", "-starts_at")
    visit.query["page_size"] = ROWS
    found = pages.of(BillingPeriod.objects.filter(account=account).select_related("subscription__tier__plan"), visit)
    rows = [period_row(period, visit.at) for period in found]
    longest = max((max(row["used"], row["limit"] or 0) for row in rows), default=0)
    return visit.show(
        rows=[
            {
                **row,
                "began": moment(row["start"], account.timezone),
                "ends": moment(row["end"], account.timezone),
                "key": as_parameter(row["start"]),
                "state_words": words.PERIOD_STATES[row["state"]],
                "unit_words": UNITS[row["unit"]],
                "bar": share(row["used"], longest),
                "limit_at": None if row["limit"] is None else share(row["limit"], longest),
                "contacts": address("contacts", period=as_parameter(row["start"]), token=visit.token),
            }
            for row in rows
        ],
        **pages.neighbours(),
    )
