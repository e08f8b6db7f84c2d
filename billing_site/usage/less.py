"""How to use less: each measure with what it saves, exactly."""

from typing import Any

from django.http import HttpResponse

from accounts.models import Account, Connection, ConnectionKind
from billing_site.usage.visit import Visit, address, page
from metering.counted import Wanted, counted_in
from metering.next_opening import next_opening
from metering.notices import facts_of
from metering.periods import current_period
from metering.sql import one_snapshot
from metering.usage import UnknownPeriod, usage
from metering.what_if import WhatIf, with_score_expiry, without_reason
from notifications.advice import how_to_reduce
from notifications.words import UNITS, moment
from plans.models import Unit

EXPIRIES = (30, 60, 90)
"""Days after which a lead score could expire."""


@page("less")
def less(visit: Visit) -> HttpResponse:
    """What each measure would save by the same functions as `GET usage/what-if`; all of one moment."""
    account, at = visit.account, visit.at
    with one_snapshot():
        seen = usage(account, at)
        period = current_period(account.pk, at)
        if period is None:
            raise UnknownPeriod
        links = list(account.connections.order_by("key"))
        active = seen["unit"] == Unit.ACTIVE_CONTACTS
        refused = counted_in(period, Wanted(refused=True)).count() if active else 0
        context: dict[str, Any] = {
            "seen": seen,
            "unit": UNITS[seen["unit"]],
            "active": active,
            "sends": _sends(account, seen, visit),
            "expiries": _expiries(account, links, visit) if active else [],
            "opening": next_opening(period, at) if active else None,
            "refused": refused,
            "advice": how_to_reduce(facts_of(account, period, at=at)),
        }
    return visit.show(
        **context,
        connections=_connections(visit, seen, links),
        until=moment(seen["period"]["end"], account.timezone),
        saves_by_expiry=any(row.saved for _, row in context["expiries"]),
        refused_address=address("contacts", refused="true", token=visit.token),
        export_address=address("export", refused="true", token=visit.token),
    )


def _sends(account: Account, seen: dict[str, Any], visit: Visit) -> WhatIf | None:
    """Without the recording of sends; None where they count for nothing."""
    name = {Unit.ACTIVE_CONTACTS: "email_sent", Unit.APP_CONNECTOR_EVENTS: "engagement.email_sent"}.get(seen["unit"])
    if name is None or not any(name in (row.get("reason"), row.get("type")) for row in seen["by_reason"]):
        return None
    return without_reason(account, name, visit.at)


def _expiries(account: Account, links: list[Connection], visit: Visit) -> list[tuple[int, WhatIf]]:
    """Scores that expire sooner; nothing for an account without lead scoring."""
    if not any(link.kind == ConnectionKind.LEAD_SCORING for link in links):
        return []
    return [(days, with_score_expiry(account, days, visit.at)) for days in EXPIRIES]


def _connections(visit: Visit, seen: dict[str, Any], links: list[Connection]) -> list[tuple[str, str, str, int]]:
    """Each connection that has a share, with what is counted by it alone: key, name, address, number."""
    names = {link.key: link.name or link.key for link in links}
    rows = [(row["connection"], row.get("only_here", row.get("events", 0))) for row in seen["by_connection"]]
    return [
        (key, names[key], address("status", key, token=visit.token), saved)
        for key, saved in sorted(rows, key=lambda row: (-row[1], row[0]))
    ]
