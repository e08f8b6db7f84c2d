"""What the tests of webhooks are made of: endpoints, and messages to them."""

from datetime import datetime
from typing import Any

from accounts.models import Account
from jobs.registry import TryAgain
from tests.factories import ACTOR, NOW
from webhooks import delivery, endpoints, outbox
from webhooks.https import Net
from webhooks.models import Delivery, Endpoint, EventType

URL = "https://hooks.example.com/in"


def listen(url: str = URL, account: Account | None = None, *types: str, now: datetime = NOW) -> Endpoint:
    """A new endpoint."""
    return endpoints.create(url, account=account, types=types, actor=ACTOR, now=now)


def tell(account: Account, key: str = "1", *, live: bool = True, now: datetime = NOW, **data: Any) -> list[int]:
    """Write a message to whoever wants it; the numbers of its deliveries."""
    about = EventType.THRESHOLD_CROSSED
    to = outbox.listeners(account.pk, about)
    outbox.write(account, about, data or {"percent": 80}, key=key, at=now, to=to, live=live)
    found = Delivery.objects.filter(account=account, message__key=key)
    return list(found.order_by("endpoint_id").values_list("pk", flat=True))


def stored(delivery_id: int) -> Delivery:
    """As it is now."""
    return Delivery.objects.select_related("message").get(pk=delivery_id)


def try_at(delivery_id: int, now: datetime, net: Net) -> TryAgain | None:
    """What the task says: to try again, or (None) that it is done."""
    try:
        delivery.deliver(delivery_id, now, net)
    except TryAgain as later:
        return later
    return None


def run_from(delivery_id: int, now: datetime, until: datetime, net: Net) -> datetime:
    """Do as the runner does: try whenever it is due; the time at which the task was done, or would be tried next."""
    while now < until:
        later = try_at(delivery_id, now, net)
        if later is None:
            return now
        assert later.at > now
        now = later.at
    return now
