"""The lists that grow: mails, what was lost, what is held. By cursor: the hundredth page is as quick."""

from typing import Any, Final

from django.http import HttpResponse

from billing_site.api.pages import Pages
from billing_site.usage import words
from billing_site.usage.overview import names_of
from billing_site.usage.visit import Visit, page
from metering import ledgers

ROWS: Final = "50"


@page("mails")
def mails(visit: Visit) -> HttpResponse:
    """The mails to the account, the newest first."""
    pages = Pages(f"notifications of {visit.account.pk}", "-created_at", "-pk")
    visit.query["page_size"] = ROWS
    rows = [ledgers.notification_row(mail) for mail in pages.of(ledgers.notifications(visit.account), visit)]
    zone = visit.account.timezone
    return visit.show(
        rows=[
            {
                **row,
                "what": words.MAILS[row["kind"]],
                "state_words": words.MAIL_STATES[row["state"]],
                "written": words.short(row["created_at"], zone),
                "sent": words.short(row["sent_at"], zone),
                "began": words.short(row["period_start"], zone),
            }
            for row in rows
        ],
        **pages.neighbours(),
    )


@page("gaps")
def gaps(visit: Visit) -> HttpResponse:
    """What was lost, the newest first."""
    pages = Pages(f"gaps of {visit.account.pk}", "-starts_at", "-pk")
    visit.query["page_size"] = ROWS
    rows = [ledgers.gap_row(gap) for gap in pages.of(ledgers.gaps(visit.account), visit)]
    names, zone = names_of(visit.account), visit.account.timezone
    return visit.show(
        rows=[
            {
                **_named(row, names),
                "since": words.short(row["from"], zone),
                "until": words.short(row["to"], zone),
                "why": words.GAP_REASONS[row["reason"]],
            }
            for row in rows
        ],
        **pages.neighbours(),
    )


@page("held")
def held(visit: Visit) -> HttpResponse:
    """What is held, in the order in which it will be replayed."""
    pages = Pages(f"held of {visit.account.pk}", *ledgers.ORDER_OF_REPLAY)
    visit.query["page_size"] = ROWS
    rows = [ledgers.held_row(event) for event in pages.of(ledgers.held(visit.account), visit)]
    names, zone = names_of(visit.account), visit.account.timezone
    return visit.show(
        rows=[
            {
                **_named(row, names),
                "happened": words.short(row["time"], zone),
                "since": words.short(row["held_at"], zone),
            }
            for row in rows
        ],
        **pages.neighbours(),
    )


def _named(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {**row, "what": words.TYPES[row["type"]], "where": names[row["connection"]]}
