"""What other machines are told: the data of each webhook, once per thing that happened.

Everything here runs in the transaction of what it tells, under the account's lock, and writes nothing if no endpoint
wants to know.
"""

from datetime import datetime
from typing import Any

from accounts.models import Account
from metering.facts import Crossing
from metering.lock import is_live
from metering.models import BillingPeriod
from notifications.models import Notification
from plans.models import Subscription, Tier, Unit
from webhooks import outbox
from webhooks.models import EventType


def crossed(account: Account, period: BillingPeriod, crossing: Crossing) -> None:
    """A count has reached a threshold of its limit."""
    data = {
        "unit": period.subscription.tier.plan.unit,
        "period_start": period.starts_at,
        "period_end": period.ends_at,
        "percent": crossing.percent,
        "limit": crossing.limit,
        "used": crossing.used,
    }
    key = f"{period.pk}:{crossing.limit}:{crossing.percent}"
    _write(account, EventType.THRESHOLD_CROSSED, data, key=key, at=crossing.at)


def upgraded(account: Account, left: Tier, row: Subscription, *, used: int, reason: str, at: datetime) -> None:
    """An account is on a higher tier: `reason` is `limit_reached` or `asked_for`."""
    data = {
        "from_tier": left.key,
        "to_tier": row.tier.key,
        "limit": row.tier.limit,
        "used": used,
        "reason": reason,
    }
    _write(account, EventType.ACCOUNT_UPGRADED, data, key=f"{row.pk}:{row.tier.key}", at=at)


def paused(account: Account, mail: Notification, *, reason: str, since: datetime) -> None:
    """An account is paused, of which a mail tells. Another reason may come while one pauses it."""
    data = {"reason": reason, "since": since}
    _write(account, EventType.ACCOUNT_PAUSED, data, key=str(mail.pk), at=mail.created_at)


def resumed(account: Account, mail: Notification, *, reason: str) -> None:
    """Nothing pauses an account any more, of which a mail tells."""
    _write(account, EventType.ACCOUNT_RESUMED, {"reason": reason}, key=str(mail.pk), at=mail.created_at)


def closed(account: Account, period: BillingPeriod, *, at: datetime) -> None:
    """A billing period is closed: these are its last numbers."""
    unit = period.subscription.tier.plan.unit
    data = {
        "start": period.starts_at,
        "end": period.ends_at,
        "unit": unit,
        "used": getattr(period, unit),
        "limit": period.limit,
        "totals": {each.value: getattr(period, each) for each in Unit},
        "checksum": period.checksum,
    }
    _write(account, EventType.PERIOD_CLOSED, data, key=str(period.pk), at=at)


def _write(account: Account, about: EventType, data: dict[str, Any], *, key: str, at: datetime) -> None:
    listeners = outbox.listeners(account.pk, about)
    if listeners:
        outbox.write(account, about, data, key=key, at=at, to=listeners, live=is_live(account.pk))
