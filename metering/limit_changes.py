"""A limit, or what decides at it, has changed: the period's state is over, and what is held is tried first.

The next event that would exceed is decided anew. Everything here runs under the account's lock.
"""

from datetime import datetime

from accounts.models import Account
from metering.gaps import end_gaps
from metering.models import BillingPeriod, GapReason, LimitState
from metering.periods import effective_limit, period_at
from metering.reactions import cross_without_event, queue_replay, set_state, tell_if_running
from metering.replay import replay_some
from notifications.models import Notification
from plans.subscriptions import in_force, subscriptions_of


def refresh_limit(account: Account, now: datetime, why: str, told_in: Notification | None = None) -> None:
    """Bring the limit of the periods that have not ended up to date, with what follows from it.

    `told_in`: the mail that tells of thresholds which the new limit has crossed already.
    """
    subscriptions = subscriptions_of(account.pk)
    unended = BillingPeriod.objects.filter(account_id=account.pk, ends_at__gt=now)
    for period in unended.select_related("subscription__tier__plan").order_by("starts_at"):
        period.subscription = in_force(subscriptions, max(now, period.starts_at))
        period.limit = effective_limit(account, period.subscription)
        period.save(update_fields=["subscription", "limit"])
        cross_without_event(account, period, now, told_in)
    reconsider(account, now, why)


def reconsider(account: Account, now: datetime, why: str) -> bool:
    """End what the current period does at its limit, and try what is held; whether that changed anything.

    `why` is a word for the mail.
    """
    for early in BillingPeriod.objects.filter(account_id=account.pk, starts_at__gt=now).exclude(limit_state=""):
        set_state(early, LimitState.NONE, now)
    period = period_at(account.pk, now)
    before = "" if period is None else period.limit_state
    since = None if period is None else period.limit_state_since
    if period is not None and before:
        set_state(period, LimitState.NONE, now)
        end_gaps(account.pk, GapReason.LIMIT_REACHED, now)
    replayed = replay_some(account, now)
    if replayed.goes_on:
        queue_replay(account.pk, now)
    if period is None:
        return replayed.events > 0
    period.refresh_from_db()
    if before and period.limit_state == before and not replayed.events:
        set_state(period, before, since or now)  # there was no room for anything: it never ended
        return False
    if not replayed.goes_on:
        tell_if_running(account, period, now, why)
    return bool(before) or replayed.events > 0
