"""Write a message in the transaction of what it tells, if anybody wants to know; a task per endpoint delivers it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from django.db.models import Q

from accounts.models import Account
from jobs.queue import enqueue
from webhooks.models import Delivery, DeliveryState, Endpoint, EventType, Message

DELIVER: Final = "webhooks.deliver"


def listeners(account_id: int, about: EventType) -> list[int]:
    """The enabled endpoints, by number, that want to know what happens of a type to an account."""
    of_account = Q(account=None) | Q(account_id=account_id)
    of_type = Q(types=[]) | Q(types__contains=[about.value])
    return list(Endpoint.objects.filter(of_account, of_type, enabled=True).order_by("pk").values_list("pk", flat=True))


def write(
    account: Account,
    about: EventType,
    data: dict[str, Any],
    *,
    key: str,
    at: datetime,
    to: Sequence[int],
    live: bool,
) -> None:
    """Write a message to endpoints, once per account, type and `key`; nothing if it is there already.

    Not `live`: it belongs to replayed history and is never sent. Times in `data` become RFC 3339.
    """
    told = {"type": about.value, "timestamp": at, "data": {"account": account.slug, **data}}
    message, is_new = Message.objects.get_or_create(
        account=account,
        type=about,
        key=key,
        defaults={"payload": msgspec.json.encode(told).decode(), "created_at": at},
    )
    if not is_new:
        return
    state, next_try_at = (DeliveryState.PENDING, at) if live else (DeliveryState.HISTORICAL, None)
    deliveries = Delivery.objects.bulk_create(
        Delivery(
            account=account,
            message=message,
            endpoint_id=endpoint_id,
            state=state,
            queued_at=at,
            next_try_at=next_try_at,
        )
        for endpoint_id in to
    )
    if live:
        for row in deliveries:
            enqueue(DELIVER, row.pk, account_id=account.pk, now=at)
