"""What the task cluster does for notifications."""

from datetime import datetime

from jobs.registry import task
from notifications import delivery, outbox


@task(outbox.SEND)
def send(notification_id: int, now: datetime) -> None:
    """Send a mail of the outbox."""
    delivery.send(notification_id, now)
