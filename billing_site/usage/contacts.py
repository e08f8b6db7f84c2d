"""Who counts: the list with its filters, the same as a file, and why one contact counts."""

from collections import Counter, defaultdict
from typing import Any, Final

from django.http import HttpResponse, HttpResponseBase

from accounts.refusals import Refused
from billing_site.api.contacts import csv_file, period_named, wanted_by
from billing_site.api.pages import Pages
from billing_site.usage import words
from billing_site.usage.overview import names_of
from billing_site.usage.visit import NoPeople, Visit, address, as_parameter, page
from metering.catalogue import types_counting_for
from metering.counted import contact_rows, counted_in, unit_listed, why
from metering.erasure import ERASED_NAME
from metering.models import BillingPeriod
from metering.sql import one_snapshot
from notifications.words import UNITS, moment

ROWS: Final = "50"
FILTERS: Final = ("period", "reason", "connection", "refused")
_PERIODS_OFFERED: Final = 36


@page("contacts")
def contacts(visit: Visit) -> HttpResponse:
    """The counted contacts of a period, in the order in which they became known."""
    _may_see_people(visit)
    account = visit.account
    with one_snapshot():
        wanted, period = wanted_by(visit.query, account), period_named(visit.query, account, visit.at)
        pages = Pages(f"contacts of {account.pk} in {period.pk}", "contact_id")
        visit.query["page_size"] = ROWS
        rows = contact_rows(account.pk, pages.of(counted_in(period, wanted), visit))
        names = names_of(account)
        offered = BillingPeriod.objects.filter(account_id=account.pk).order_by("-starts_at")[:_PERIODS_OFFERED]
        starts = [each.starts_at for each in offered]
    unit = unit_listed(period)
    return visit.show(
        rows=[_row(visit, row, names) for row in rows],
        period=period,
        began=moment(period.starts_at, account.timezone),
        unit=UNITS[f"{unit.name.lower()}_contacts"],
        names=names,
        reasons=list(dict.fromkeys(kind.reason.label for kind in types_counting_for(unit) if kind.reason is not None)),
        periods=[(as_parameter(start), moment(start, account.timezone)) for start in starts],
        chosen={**dict.fromkeys(FILTERS, ""), **visit.query, "period": as_parameter(period.starts_at)},
        is_filtered=any(name in visit.query for name in FILTERS[1:]),
        export=address("export", token=visit.token, **{name: visit.query.get(name, "") for name in FILTERS}),
        everybody=address("contacts", token=visit.token, period=visit.query.get("period", "")),
        **pages.neighbours(),
    )


@page("export")
def export(visit: Visit) -> HttpResponseBase:
    """The same contacts as a CSV file."""
    _may_see_people(visit)
    wanted = wanted_by(visit.query, visit.account)
    return csv_file(visit.account, period_named(visit.query, visit.account, visit.at), wanted)


@page("contact")
def contact(visit: Visit) -> HttpResponse:
    """Why a contact counts or has counted; of somebody unknown, that nobody by that name does."""
    _may_see_people(visit)
    subject = visit.query.get("subject", "")
    names = names_of(visit.account)
    try:
        seen = why(visit.account, subject) if subject else None
    except Refused:
        seen = None
    periods = seen["periods"] if seen else []
    answer = visit.show(
        asked=subject,
        subject=seen["subject"] if seen else "",
        known=seen is not None,
        periods=[{**_row(visit, row, names), **_of_period(visit, row)} for row in periods],
        back=address("contacts", token=visit.token),
    )
    answer.status_code = 200 if seen is not None or not subject else 404
    return answer


def _may_see_people(visit: Visit) -> None:
    if not visit.people:
        raise NoPeople


def _row(visit: Visit, row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    first = row["first"]
    zone = visit.account.timezone
    return {
        **row,
        "why": "" if row["subject"] == ERASED_NAME else address("contact", subject=row["subject"], token=visit.token),
        "given": _by_connection(row["reasons"], names),
        "engaged": words.short(row["last_engaged_at"], zone),
        "refused": words.short(row["refused_since"], zone),
        "first_at": words.short(first["time"], zone) if first else "",
        "first_what": words.TYPES[first["type"]] if first else "",
        "first_where": names.get(first["connection"], first["connection"]) if first else "",
        "first_id": first["id"] if first else "",
    }


def _by_connection(given: list[dict[str, str]], names: dict[str, str]) -> dict[str, list[str]]:
    """The reasons that each connection gives, under its name and, of two with the same name, its key."""
    twice = {name for name, number in Counter(names.values()).items() if number > 1}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for each in given:
        key = each["connection"]
        name = f"{names[key]} ({key})" if names[key] in twice else names[key]
        found[name].append(words.REASONS[each["reason"]])
    return dict(found)


def _of_period(visit: Visit, row: dict[str, Any]) -> dict[str, Any]:
    return {"began": moment(row["start"], visit.account.timezone), "unit_words": UNITS[row["unit"]]}
