"""Write a mail in the transaction of what it tells; a task sends it afterwards."""

from datetime import datetime

from django.db import IntegrityError, transaction

from jobs.queue import enqueue
from notifications.facts import Facts, to_json
from notifications.models import Audience, Kind, Notification, NotificationState

SEND = "notifications.send"


def post(
    account_id: int,
    kind: Kind,
    facts: Facts,
    *,
    key: str,
    at: datetime,
    live: bool,
    audience: Audience = Audience.CUSTOMER,
    period_start: datetime | None = None,
    percent: int | None = None,
) -> Notification:
    """Write a notification, once per account, kind, audience and `key`; the one that is there already, if it is.

    Not `live`: it belongs to replayed history and is never sent.
    """
    named = {"account_id": account_id, "kind": kind, "audience": audience, "key": key}
    known = Notification.objects.filter(**named).first()
    if known is not None:
        return known
    row = Notification(
        **named,
        period_start=period_start,
        limit=facts.limit,
        percent=percent,
        facts=to_json(facts),
        created_at=at,
        state=NotificationState.PENDING if live else NotificationState.HISTORICAL,
        next_try_at=at if live else None,
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:  # somebody else, without the account's lock, was faster
        return Notification.objects.get(**named)
    if live:
        enqueue(SEND, row.pk, account_id=account_id, now=at)
    return row
