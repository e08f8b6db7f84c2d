"""What the task cluster runs, by these names: queued tasks and schedules refer to them."""

from django.utils import timezone

from metering import due


def run_due(**_ignored: object) -> str:
    """Do everything that is due now."""
    return str(due.run_due(timezone.now()))
