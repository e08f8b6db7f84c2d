"""What the task cluster does for webhooks."""

from datetime import datetime

from jobs.registry import task
from webhooks import delivery, outbox


@task(outbox.DELIVER)
def deliver(delivery_id: int, now: datetime) -> None:
    """Post a message to an endpoint."""
    delivery.deliver(delivery_id, now)
