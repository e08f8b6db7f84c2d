"""What the current period would have counted without a reason, without a connection, or with scores that expire sooner.

Each answer is what counting the same period again would give.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Sum

from accounts.models import Account, Connection
from accounts.refusals import Refused
from metering import sql
from metering.breakdown import CONTACT_UNITS
from metering.catalogue import BY_NAME, REASON_BY_LABEL, ContactUnit, Reason
from metering.models import (
    BillingPeriod,
    ConnectionTally,
    CountedContact,
    EventTally,
    ReasonSetTally,
)
from metering.periods import current_period
from metering.usage import UnknownPeriod
from plans.models import Unit


class WhatIf(NamedTuple):
    """A period's count in the plan's unit, what it would be, and the difference."""

    used: int
    would_be: int
    saved: int


def without_reason(account: Account, name: str, at: datetime) -> WhatIf:
    """As if a reason had been given by nothing, nor carried in; of a plan that charges by events, as if no event of a
    type had come. `name` is one that `by_reason` could have.

    Raises `Refused` (`unknown_reason`), `UnknownPeriod`.
    """

    def saved(period: BillingPeriod, unit: ContactUnit | None) -> int:
        if unit is None:
            return _events(period, type=_known(name, BY_NAME).code)
        return _only_for(period, unit, _known(name, REASON_BY_LABEL))

    return _what_if(account, at, saved)


def without_connection(account: Account, link: Connection, at: datetime) -> WhatIf:
    """As if a connection had sent nothing, and carried nothing in. Raises `UnknownPeriod`."""

    def saved(period: BillingPeriod, unit: ContactUnit | None) -> int:
        return _events(period, connection_id=link.pk) if unit is None else _only_on(period, unit, link)

    return _what_if(account, at, saved)


def with_score_expiry(account: Account, days: int, at: datetime) -> WhatIf:
    """As if scores without an expiry of their own lived for so many days at most. Raises `UnknownPeriod`.

    Only who was carried in depends on that: who got a score in the period counts anyway.
    """

    def saved(period: BillingPeriod, unit: ContactUnit | None) -> int:
        return _expired(period, days) if unit is ContactUnit.ACTIVE else 0

    return _what_if(account, at, saved)


def _known[Row](name: str, rows: Mapping[str, Row]) -> Row:
    if name not in rows:
        detail = f"There is no such reason; there are {', '.join(rows)}."
        raise Refused("unknown_reason", detail, field="without_reason", status=400)
    return rows[name]


def _what_if(account: Account, at: datetime, saved_in: Callable[[BillingPeriod, ContactUnit | None], int]) -> WhatIf:
    with sql.one_snapshot():
        period = current_period(account.pk, at)
        if period is None:
            raise UnknownPeriod(f"no period of account {account.slug} contains {at}")
        unit = Unit(period.subscription.tier.plan.unit)
        saved = saved_in(period, CONTACT_UNITS.get(unit))
    used: int = getattr(period, unit.value)
    return WhatIf(used, used - saved, saved)


def _only_for(period: BillingPeriod, unit: ContactUnit, reason: Reason) -> int:
    """Contacts of which this is the only reason."""
    of_period = ReasonSetTally.objects.filter(account_id=period.account_id, period_id=period.pk, unit=unit)
    return of_period.filter(reasons=reason.value).values_list("contacts", flat=True).first() or 0


def _only_on(period: BillingPeriod, unit: ContactUnit, link: Connection) -> int:
    """Contacts that have reasons on this connection only."""
    of_period = ConnectionTally.objects.filter(account_id=period.account_id, period_id=period.pk, unit=unit)
    return of_period.filter(connection=link).values_list("only_here", flat=True).first() or 0


def _events(period: BillingPeriod, **which: int) -> int:
    """Billable events of a type, or of a connection."""
    tallies = EventTally.objects.filter(account_id=period.account_id, period_id=period.pk, **which)
    return tallies.aggregate(events=Sum("events"))["events"] or 0


def _expired(period: BillingPeriod, days: int) -> int:
    """Contacts that carried-in scores alone make count, all of them set too long before the start."""
    scored = CountedContact.objects.filter(
        account_id=period.account_id,
        period_id=period.pk,
        unit=ContactUnit.ACTIVE,
        reasons=Reason.LEAD_SCORE.value,
        first_at__isnull=True,
    )
    expired: int = scored.filter(scored_at__lte=period.starts_at - timedelta(days=days)).count()
    return expired
