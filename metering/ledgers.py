"""The ledgers that an account reads: its subscriptions, mails, gaps and held events; and the plans there are.

Each is a query and the shape of its rows (DESIGN section 7); whoever shows them cuts them into pages.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from django.db.models import F, Prefetch, QuerySet, Sum
from django.db.models.functions import Collate

from accounts.models import Account
from metering.catalogue import BY_CODE
from metering.models import Event, EventState, Gap
from notifications.models import Audience, Notification
from plans.models import Plan, Subscription, Tier
from plans.subscriptions import in_force, subscriptions_of
from plans.tiers import rank

ORDER_OF_REPLAY: Final = ("occurred_at", "key_by_bytes", "pk")
"""How `held` is ordered: as `replay` takes it."""


def subscriptions(account: Account) -> QuerySet[Subscription]:
    """An account's subscriptions, also those that are to begin."""
    return Subscription.objects.filter(account_id=account.pk).select_related("tier__plan")


def subscription_rows(account_id: int, rows: Iterable[Subscription], now: datetime) -> list[dict[str, Any]]:
    """Subscriptions of an account. An override of the limit is that of the one in force by the account's time."""
    account = Account.objects.select_related("meter").get(pk=account_id)
    present = in_force(subscriptions_of(account_id), account.meter.clock or now)
    return [
        {
            "plan": row.tier.plan.key,
            "tier": row.tier.key,
            "unit": row.tier.plan.unit,
            "limit": account.limit_override if row == present and account.limit_override else row.tier.limit,
            "price": str(row.tier.price),
            "from": row.starts_at,
            "to": row.ends_at,
            "reason": row.reason,
        }
        for row in rows
    ]


def plans() -> QuerySet[Plan]:
    """All plans that are published, with the newest version of each tier."""
    return Plan.objects.published().prefetch_related(Prefetch("tiers", Tier.objects.newest()))


def plan_row(plan: Plan) -> dict[str, Any]:
    """A plan and its tiers, the lowest first."""
    return {
        "key": plan.key,
        "unit": plan.unit,
        "period_rule": plan.period_rule,
        "at_limit": plan.at_limit,
        "grace_hours": plan.grace_hours,
        "tiers": [
            {"key": tier.key, "limit": tier.limit, "price": str(tier.price), "trial": tier.trial}
            for tier in sorted(plan.tiers.all(), key=rank)
        ],
    }


def notifications(account: Account) -> QuerySet[Notification]:
    """The mails to an account; those to staff are not its business."""
    return Notification.objects.filter(account_id=account.pk, audience=Audience.CUSTOMER)


def notification_row(mail: Notification) -> dict[str, Any]:
    """What a mail is about, and whether it was sent."""
    return {
        "kind": mail.kind,
        "period_start": mail.period_start,
        "limit": mail.limit,
        "percent": mail.percent,
        "created_at": mail.created_at,
        "state": mail.state,
        "sent_at": mail.sent_at,
    }


def gaps(account: Account) -> QuerySet[Gap]:
    """What an account has lost."""
    return Gap.objects.filter(account_id=account.pk).select_related("connection")


def lost_now(account: Account) -> int:
    """Events lost so far in the gaps that go on."""
    going_on = Gap.objects.filter(account_id=account.pk, ends_at__isnull=True)
    return going_on.aggregate(events=Sum("events"))["events"] or 0


def gap_row(gap: Gap) -> dict[str, Any]:
    """How much of what was lost where, why and when; `to` is null while it still is."""
    return {
        "from": gap.starts_at,
        "to": gap.ends_at,
        "reason": gap.reason,
        "connection": gap.connection.key,
        "type": BY_CODE[gap.type].name,
        "events": gap.events,
        "attempts": gap.attempts,
    }


def held(account: Account) -> QuerySet[Event]:
    """What an account holds; see `ORDER_OF_REPLAY`."""
    events = Event.objects.filter(account_id=account.pk, state=EventState.HELD)
    in_bytes: QuerySet[Event] = events.annotate(key_by_bytes=Collate(F("key"), "C"))
    return in_bytes.select_related("connection", "contact__alias_of").defer("data")


def held_row(event: Event) -> dict[str, Any]:
    """A held event: of whom, by the name the contact goes by now, and since when it is held."""
    contact = event.contact.alias_of or event.contact
    return {
        "id": event.key,
        "connection": event.connection.key,
        "type": BY_CODE[event.type].name,
        "subject": contact.display,
        "time": event.occurred_at,
        "held_at": event.received_at,
    }
