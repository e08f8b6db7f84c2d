"""Many accounts at a glance: where each stands, in as many queries for a thousand as for one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Q
from django.db.models.functions import Coalesce

from accounts.models import Account
from metering import limits
from metering.models import AccountMeter, BillingPeriod
from metering.state import own_pause
from plans.models import Subscription
from plans.subscriptions import in_force


@dataclass(frozen=True, slots=True)
class Overview:
    """An account, its plan and tier, and how it stands; `ok` while its current period is not opened.

    A closed account stands as its last period does, as `usage` says too.
    """

    account: Account
    plan: str
    tier: str
    state: str


def overview(accounts: Sequence[Account], now: datetime) -> list[Overview]:
    """The accounts in their order, each by its own clock. Opens nothing."""
    ids = [account.pk for account in accounts]
    meters = AccountMeter.objects.filter(account_id__in=ids)
    clocks = dict(meters.annotate(at=Coalesce("clock", now)).values_list("account_id", "at"))
    subscriptions: dict[int, list[Subscription]] = {}
    of_all = Subscription.objects.filter(account_id__in=ids).select_related("tier__plan")
    for row in of_all.order_by("account_id", "starts_at"):
        subscriptions.setdefault(row.account_id, []).append(row)
    current = BillingPeriod.objects.filter(account_id__in=ids).annotate(at=Coalesce("account__meter__clock", now))
    last_of_closed = Q(ends_at=F("account__closed_at"))
    current = current.filter(Q(ends_at__gt=F("at")) | last_of_closed, starts_at__lte=F("at"))
    periods = {row.account_id: row for row in current.select_related("subscription__tier__plan")}
    return [
        _overview(account, subscriptions[account.pk], clocks[account.pk], periods.get(account.pk))
        for account in accounts
    ]


def _overview(
    account: Account, subscriptions: list[Subscription], at: datetime, period: BillingPeriod | None
) -> Overview:
    subscription = in_force(subscriptions, at)
    tier, paused = subscription.tier, own_pause(account, subscription, at) is not None
    state = limits.standing(0, None, paused=paused)
    if period is not None:
        used = getattr(period, period.subscription.tier.plan.unit)
        state = limits.standing(used, period.limit, limit_state=period.limit_state, paused=paused)
    return Overview(account, tier.plan.key, tier.key, state)
