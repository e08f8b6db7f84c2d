"""How one account stands, for a page that a person reads: what is used of what, what happens next. Opens nothing."""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import Account, AuditEntry
from metering import limits
from metering.models import BillingPeriod, GapReason, LimitState
from metering.notices import facts_of
from metering.periods import current_period, effective_limit
from metering.reactions import held_events
from metering.state import own_pause
from metering.usage import clock_of
from notifications.facts import Facts
from notifications.models import Notification
from plans.models import Subscription, Tier
from plans.subscriptions import bounds, in_force, pending_after, subscriptions_of

_RECENT = 10


@dataclass(frozen=True, slots=True)
class Paused:
    """Why nothing is taken in, since when, and who has said so (empty: the limit, or the end of a trial)."""

    reason: str
    since: datetime | None
    by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """An account by its own clock `at`. `period` is the current one; until that is opened the one before, and for an
    account that never counted anything one that is not stored. `facts` are what a mail of now would tell."""

    account: Account
    at: datetime
    subscription: Subscription
    pending: Subscription | None
    period: BillingPeriod
    paused: Paused | None
    held: int
    state: str
    facts: Facts

    @property
    def tier(self) -> Tier:
        return self.subscription.tier

    @property
    def used(self) -> int:
        return self.facts.used

    @property
    def limit(self) -> int | None:
        return self.facts.limit

    @property
    def percent(self) -> int | None:
        return limits.percent(self.used, self.limit)


def standing_of(account: Account, now: datetime) -> Standing:
    """How an account stands, in as many queries for much data as for little."""
    at = clock_of(account, now)
    subscriptions = subscriptions_of(account.pk)
    subscription = in_force(subscriptions, at)
    period = _period(account, subscription, at)
    paused = _paused(account, subscription, period, at)
    facts = facts_of(account, period, at=at)
    own = own_pause(account, subscription, at) is not None
    return Standing(
        account,
        at,
        subscription,
        pending_after(subscriptions, at),
        period,
        paused,
        held_events(account.pk),
        limits.standing(facts.used, facts.limit, limit_state=period.limit_state, paused=own),
        facts,
    )


def recent_mails(account: Account) -> list[Notification]:
    """The last mails about an account, the newest first."""
    return list(Notification.objects.filter(account_id=account.pk).order_by("-created_at", "-pk")[:_RECENT])


def recent_changes(account: Account) -> list[AuditEntry]:
    """The last rows of an account's audit trail, the newest first."""
    return list(AuditEntry.objects.filter(account_id=account.pk).order_by("-at", "-pk")[:_RECENT])


def _period(account: Account, subscription: Subscription, at: datetime) -> BillingPeriod:
    row = current_period(account.pk, at)
    if row is not None:
        return row
    start, end = bounds(subscription, at)
    return BillingPeriod(
        account=account,
        subscription=subscription,
        starts_at=start,
        ends_at=end,
        limit=effective_limit(account, subscription),
        app_connector_events=0,
        active_contacts=0,
        activated_contacts=0,
    )


def _paused(account: Account, subscription: Subscription, period: BillingPeriod, at: datetime) -> Paused | None:
    own = own_pause(account, subscription, at)
    if own is not None:
        by_staff = own.reason == GapReason.PAUSED_BY_STAFF
        said = (account.paused_by, account.pause_reason) if by_staff else ()
        return Paused(own.reason, own.since, *said)
    if period.limit_state == LimitState.PAUSED and at < period.ends_at:
        return Paused(GapReason.LIMIT_REACHED.value, period.limit_state_since)
    return None
