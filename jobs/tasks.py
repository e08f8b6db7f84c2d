"""What the task cluster runs, by these names: queued tasks and schedules refer to them."""

from django.utils import timezone

from jobs import runner


def run(job_id: int) -> None:
    """Run a job now, if nobody else does."""
    runner.run(job_id, lambda: timezone.now())


def sweep(**_ignored: object) -> str:
    """Hand out again what has waited too long, and forget what was done long ago."""
    now = timezone.now()
    return f"{runner.sweep(now):,} jobs handed out again, {runner.forget_done(now):,} old ones forgotten"
