"""Billing periods as rows: open (with carry-in), end, close. Every function here runs under the account's lock.

Opening and closing are idempotent: whoever needs a period first opens it, whole or not at all, and any crash is
repaired by the next run.
"""

import hashlib
import json
import secrets
from datetime import datetime, timedelta

from msgspec.structs import replace

from accounts.audit import write_audit
from accounts.models import Account
from metering import announce, sql
from metering.breakdown import CONTACT_UNITS, breakdown
from metering.carry_in import carry_in
from metering.facts import Meter, PeriodFacts
from metering.gaps import end_gaps
from metering.identity import ERASED, FORGOTTEN
from metering.limits import THRESHOLDS, AtLimit, has_crossed
from metering.models import BillingPeriod, GapReason, PeriodState, ThresholdCrossing
from metering.notices import facts_of, tell, tier_facts
from metering.policy import enabled_connections, policy_of
from metering.reactions import cross_without_event, exceed_by_carry_in, queue_replay, tell_if_running, tell_stop
from metering.state import trial_end
from notifications.models import Audience, Kind
from plans.models import Subscription, Unit
from plans.subscriptions import bounds, cancel_pending, grace, in_force, pending_after, subscriptions_of

# No accepted event is older than 35 days, so no older period than this is looked for.
_LOOK_BACK = timedelta(days=36)


def effective_limit(account: Account, subscription: Subscription) -> int | None:
    """The account's override, else the tier's limit; None is unlimited."""
    return account.limit_override if account.limit_override is not None else subscription.tier.limit


def recent_periods(
    account: Account, subscriptions: list[Subscription], now: datetime, upcoming: int
) -> list[PeriodFacts]:
    """The opened periods that an accepted event may belong to, and the newest one; in order of time.

    `upcoming`: how many events are to be decided by them. What happens at the limit is looked up only if they could
    reach it.
    """
    of_account = BillingPeriod.objects.filter(account_id=account.pk)
    recent = of_account.filter(ends_at__gt=now - _LOOK_BACK).select_related("subscription__tier__plan")
    rows = list(recent.order_by("starts_at"))
    connections = enabled_connections(account.pk) if any(_may_exceed(row, upcoming) for row in rows) else []
    befores = [None, *rows]
    return [
        PeriodFacts(
            row.pk,
            row.starts_at,
            row.ends_at,
            closed=row.state == PeriodState.CLOSED or row.closes_at <= now,
            provisional=is_provisional(account, row, before, in_force(subscriptions, row.starts_at), now),
            meter=_meter(row, policy_of(account, row.subscription, connections), upcoming),
            grace_until=row.closes_at if row.ends_at <= now else None,
        )
        for before, row in zip(befores, rows, strict=False)
    ]


def _used(row: BillingPeriod) -> int:
    used: int = getattr(row, row.subscription.tier.plan.unit)
    return used


def _may_exceed(row: BillingPeriod, upcoming: int) -> bool:
    return row.limit is not None and _used(row) + upcoming > row.limit


def _meter(row: BillingPeriod, at_limit: AtLimit, upcoming: int) -> Meter | None:
    if row.limit is None:
        return None
    unit, used = CONTACT_UNITS.get(Unit(row.subscription.tier.plan.unit)), _used(row)
    meter = Meter(unit, used, row.limit, at_limit.action, row.limit_state, row.limit_state_since)
    if has_crossed(used + upcoming, row.limit, THRESHOLDS[0]):
        crossed = ThresholdCrossing.objects.filter(account_id=row.account_id, period_id=row.pk, limit=row.limit)
        meter.crossed.update(crossed.values_list("percent", flat=True))
    return meter


def closed_unopened(
    account: Account, subscriptions: list[Subscription], at: datetime, now: datetime
) -> PeriodFacts | None:
    """The period of an instant that no opened one contains, if its grace is over: closed, though never opened."""
    if BillingPeriod.objects.filter(account_id=account.pk, starts_at__lte=at).exists():
        return None
    subscription = in_force(subscriptions, at)
    start, end = bounds(subscription, at)
    if end + grace(subscription) > now:
        return None
    return PeriodFacts(None, start, end, closed=True, provisional=False)


def open_for(account: Account, subscriptions: list[Subscription], at: datetime, now: datetime) -> None:
    """Open the period of an instant. The first period of an account may be any, also an earlier one in grace; after
    the newest, each period up to the instant is opened in turn, but none after the account's closing."""
    newest = newest_period(account.pk)
    if newest is None or at < newest.starts_at:
        if period_at(account.pk, at) is None:
            _open(account, subscriptions, at, now)
    else:
        while at >= newest.ends_at and not _is_closed_by(account, newest.ends_at):
            newest = _open(account, subscriptions, newest.ends_at, now, after=newest)
    end_what_is_over(account, now)


def period_at(account_id: int, at: datetime) -> BillingPeriod | None:
    """The opened period of an account that contains an instant, with its tier and plan."""
    found = BillingPeriod.objects.filter(account_id=account_id, starts_at__lte=at, ends_at__gt=at)
    return found.select_related("subscription__tier__plan").first()


def current_period(account_id: int, now: datetime) -> BillingPeriod | None:
    """The period of an account that runs; else, of one that is closed or not opened yet, its newest, if it has any."""
    return period_at(account_id, now) or newest_period(account_id)


def current_bounds(account: Account, at: datetime) -> tuple[datetime, datetime]:
    """The bounds of the current period, opened or not: of an account that is closed by then, of its last."""
    row = current_period(account.pk, at)
    if row is not None and row.starts_at <= at and (at < row.ends_at or _is_closed_by(account, row.ends_at)):
        return row.starts_at, row.ends_at
    start, end = bounds(in_force(subscriptions_of(account.pk), at), at)
    return start if row is None or at < row.starts_at else max(start, row.ends_at), end


def newest_period(account_id: int) -> BillingPeriod | None:
    """The newest opened period of an account, with its tier and plan."""
    periods = BillingPeriod.objects.filter(account_id=account_id).order_by("-starts_at")
    return periods.select_related("subscription__tier__plan").first()


def _is_closed_by(account: Account, at: datetime) -> bool:
    return account.closed_at is not None and account.closed_at <= at


def open_current(account: Account, subscriptions: list[Subscription], now: datetime) -> BillingPeriod | None:
    """The period that contains the account's clock, opened if need be; None while the account has no period. Of an
    account that is closed by now: its last."""
    row = period_at(account.pk, now)
    if row is None and BillingPeriod.objects.filter(account_id=account.pk).exists():
        open_for(account, subscriptions, now, now)
        row = current_period(account.pk, now)
    return row


def _open(
    account: Account,
    subscriptions: list[Subscription],
    at: datetime,
    now: datetime,
    *,
    after: BillingPeriod | None = None,
) -> BillingPeriod:
    """Open the period of an instant, whole: with carry-in, thresholds, and its state at the limit. After another it
    starts where that one ends, even if the plan or the zone's rules have changed since."""
    start, end = bounds(in_force(subscriptions, at), at)
    start = after.ends_at if after else start
    # An upgrade in mid-period holds for all of it: the one in force at its last moment so far.
    subscription = in_force(subscriptions, max(start, min(now, end - timedelta(microseconds=1))))
    row = BillingPeriod.objects.create(
        account=account,
        subscription=subscription,
        starts_at=start,
        ends_at=end,
        closes_at=end + grace(subscription),
        limit=effective_limit(account, subscription),
    )
    carry_in(row)
    row.refresh_from_db(fields=["active_contacts", "carried_in"])
    if after is not None:
        _take_effect(account, subscriptions, after, row, now)
    cross_without_event(account, row, now)
    if now < row.ends_at:
        exceed_by_carry_in(account, row, now)
    return row


def _take_effect(
    account: Account, subscriptions: list[Subscription], before: BillingPeriod, row: BillingPeriod, now: datetime
) -> None:
    """A downgrade or change of plan that was waiting for this period takes effect, or lapses if it does not fit."""
    target = row.subscription
    if target.starts_at != row.starts_at or target.pk == before.subscription_id:
        return
    if target.tier.limit is None or _used(row) <= target.tier.limit:
        if account.limit_override is not None:  # it belonged to the tier that is left
            audited = {"limit_override": account.limit_override}
            account.limit_override = None
            account.save(update_fields=["limit_override"])
            write_audit(
                account, "account.changed", actor="downgrade", at=now, before=audited, after={"limit_override": None}
            )
            row.limit = target.tier.limit
            row.save(update_fields=["limit"])
        return
    _lapse(account, subscriptions, before, row, now)


def _lapse(
    account: Account, subscriptions: list[Subscription], before: BillingPeriod, row: BillingPeriod, now: datetime
) -> None:
    target, present = row.subscription, in_force(subscriptions, before.ends_at - timedelta(microseconds=1))
    wanted, carried_in = target.tier, _used(row)
    cancel_downgrade(account, subscriptions, before.ends_at - timedelta(microseconds=1))
    row.refresh_from_db()
    write_audit(
        account,
        "subscription.downgrade_lapsed",
        actor="period opening",
        at=now,
        before={"plan": wanted.plan.key, "tier": wanted.key},
        after={"plan": present.tier.plan.key, "tier": present.tier.key, "carried_in": carried_in},
    )
    facts = facts_of(account, row, used=carried_in, at=now, before=tier_facts(wanted))
    if wanted.plan.unit != present.tier.plan.unit:  # the numbers are those of the plan that did not come
        facts = replace(facts, unit=wanted.plan.unit, limit=wanted.limit)
    for audience in Audience:
        tell(account, row, Kind.DOWNGRADE_LAPSED, facts, key=str(row.pk), audience=audience)


def cancel_downgrade(account: Account, subscriptions: list[Subscription], at: datetime) -> Subscription | None:
    """Take back what was to begin after an instant; a period that was opened early for it follows the present
    subscription again. The caller holds the lock and writes the audit."""
    pending = pending_after(subscriptions, at)
    if pending is None:
        return None
    for row in BillingPeriod.objects.filter(account_id=account.pk, subscription=pending):
        follow_subscription(account, row, in_force(subscriptions, at))
    return cancel_pending(subscriptions, at)


def follow_subscription(account: Account, row: BillingPeriod, subscription: Subscription) -> None:
    """Have a period that has not begun, or has only just been opened, follow another subscription."""
    row.subscription = subscription
    _, row.ends_at = bounds(subscription, row.starts_at)
    row.closes_at = row.ends_at + grace(subscription)
    row.limit = effective_limit(account, subscription)
    row.save(update_fields=["subscription", "ends_at", "closes_at", "limit"])


def take_effect_early(
    account: Account, subscriptions: list[Subscription], before: BillingPeriod, now: datetime
) -> None:
    """A downgrade or change of plan that was made after the period it waits for was opened early, by an event ahead of
    the clock, takes effect in that one, or lapses."""
    row = BillingPeriod.objects.filter(account_id=account.pk, starts_at=before.ends_at).first()
    if row is not None:
        follow_subscription(account, row, in_force(subscriptions, row.starts_at))
        _take_effect(account, subscriptions, before, row, now)
        cross_without_event(account, row, now)


def end_what_is_over(account: Account, now: datetime) -> bool:
    """End the periods whose end has come, each once; whether there were any."""
    over = BillingPeriod.objects.filter(account_id=account.pk, state=PeriodState.OPEN, ends_at__lte=now)
    ended = list(over.order_by("starts_at"))
    for period in ended:
        _end(account, period, now)
    return bool(ended)


def _end(account: Account, period: BillingPeriod, now: datetime) -> None:
    """A period is over: what it dropped at its limit ends with it, what it held is replayed."""
    period.state = PeriodState.ENDED
    period.save(update_fields=["state"])
    end_gaps(account.pk, GapReason.LIMIT_REACHED, period.ends_at, begun_before=period.ends_at)
    current = period_at(account.pk, now)
    if current is None:
        return  # the account is closed
    end_trial_gaps(account, current.subscription, current.starts_at)
    tell_stop(account, current, now)  # one that was opened early has told nothing yet
    if not queue_replay(account.pk, now):
        tell_if_running(account, current, now, "new_period")


def end_trial_gaps(account: Account, subscription: Subscription, now: datetime) -> None:
    """What the end of a trial dropped is over when the account is on no trial any more, or on a longer one."""
    ends_at = trial_end(account, subscription)
    if ends_at is None or ends_at > now:
        end_gaps(account.pk, GapReason.TRIAL_ENDED, now)


def is_provisional(
    account: Account,
    row: BillingPeriod,
    before: BillingPeriod | None,
    subscription: Subscription,
    now: datetime,
) -> bool:
    """Whether the carry-in of a period may still be corrected: until the period before it closes.

    That one may not be opened, or not exist: nothing from before the sign-up is accepted.
    """
    if account.signed_up_at >= row.starts_at:
        return False
    if before is None:
        return now < row.starts_at + grace(subscription)
    return before.state != PeriodState.CLOSED and now < before.closes_at


def do_due_work(account: Account, as_of: datetime) -> bool:
    """End, open and close whatever is due for an account that has a period; say whether anything was."""
    newest = newest_period(account.pk)
    if newest is None:
        return False
    ends = newest.ends_at <= as_of and not _is_closed_by(account, newest.ends_at)
    if ends:
        open_for(account, subscriptions_of(account.pk), as_of, as_of)
    unclosed = BillingPeriod.objects.filter(account_id=account.pk).exclude(state=PeriodState.CLOSED)
    ended = end_what_is_over(account, as_of)
    due = list(unclosed.filter(closes_at__lte=as_of).order_by("starts_at"))
    for period in due:
        _close(account, period, as_of)
    return bool(ends or ended or due)


def next_due(account: Account) -> datetime | None:
    """When the next period of an account ends or closes; None if there is none to come."""
    newest = newest_period(account.pk)
    unclosed = BillingPeriod.objects.filter(account_id=account.pk).exclude(state=PeriodState.CLOSED)
    closes = unclosed.order_by("closes_at").values_list("closes_at", flat=True).first()
    ends = None if newest is None or _is_closed_by(account, newest.ends_at) else newest.ends_at
    return min((at for at in (closes, ends) if at is not None), default=None)


def _close(account: Account, period: BillingPeriod, as_of: datetime) -> None:
    """Freeze totals, breakdown and a checksum; later events of the period are `late`."""
    unit = period.subscription.tier.plan.unit
    period.breakdown = breakdown(period, unit)
    period.checksum = checksum(period)
    period.state = PeriodState.CLOSED
    period.closed_at = as_of
    period.save(update_fields=["breakdown", "checksum", "state", "closed_at"])
    announce.closed(account, period, at=as_of)
    forget_erased(period.account_id)


def forget_erased(account_id: int) -> None:
    """What stands in for an erased address becomes random once no unclosed period counts its contact, under any of its
    addresses: nobody can tell any more whose it was."""
    found = sql.run(
        """SELECT contact.id FROM metering_contact AS contact
           WHERE contact.account_id = %s AND contact.erased_through IS NOT NULL
             AND starts_with(contact.identity, %s) AND NOT starts_with(contact.identity, %s)
             AND NOT EXISTS (
               SELECT FROM metering_contact AS person
               JOIN metering_countedcontact AS counted
                 ON counted.account_id = person.account_id AND counted.contact_id = person.id
               JOIN metering_billingperiod AS period
                 ON period.account_id = counted.account_id AND period.id = counted.period_id
               WHERE person.account_id = %s AND period.state <> 'closed'
                 AND (person.id = coalesce(contact.alias_of_id, contact.id)
                      OR person.alias_of_id = coalesce(contact.alias_of_id, contact.id)))
           ORDER BY contact.id""",
        (account_id, ERASED, FORGOTTEN, account_id),
    )
    contacts = [contact_id for (contact_id,) in found]
    sql.run(
        """UPDATE metering_contact AS contact SET identity = new.identity
           FROM unnest(%s::bigint[], %s::text[]) AS new (id, identity)
           WHERE contact.account_id = %s AND contact.id = new.id""",
        (contacts, [FORGOTTEN + secrets.token_hex(32) for _ in contacts], account_id),
    )


def checksum(period: BillingPeriod) -> str:
    """SHA-256 (hex) of a period's bounds, totals, limit and breakdown, and of who counts in it and why, in no order.

    Contacts enter by id, so erasing their addresses does not change it.
    """
    [[contacts]] = sql.run(
        """SELECT coalesce(sum(hashtextextended(unit || ':' || contact_id || ':' || reasons || ':' || carried_in, 0)
                               ::numeric), 0)::text
           FROM metering_countedcontact WHERE account_id = %s AND period_id = %s""",
        (period.account_id, period.pk),
    )
    facts = (
        period.starts_at.isoformat(),
        period.ends_at.isoformat(),
        period.app_connector_events,
        period.active_contacts,
        period.activated_contacts,
        period.carried_in,
        period.limit,
        json.dumps(period.breakdown, sort_keys=True),
        contacts,
    )
    return hashlib.sha256("|".join(map(str, facts)).encode()).hexdigest()


def accounts_with_due_work(as_of: datetime) -> list[int]:
    """The accounts, on the wall clock, that have a period to end, open or close."""
    rows = sql.run(
        """SELECT DISTINCT period.account_id
           FROM metering_billingperiod AS period
           JOIN metering_accountmeter AS meter ON meter.account_id = period.account_id
           WHERE meter.clock IS NULL
             AND ((period.state = 'open' AND period.ends_at <= %s)
                  OR (period.state <> 'closed' AND period.closes_at <= %s))
           ORDER BY period.account_id""",
        (as_of, as_of),
    )
    return [account_id for (account_id,) in rows]
