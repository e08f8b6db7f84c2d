"""What the task cluster runs, by these names: queued jobs and schedules refer to them."""

from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from accounts.models import Account
from jobs.registry import TryAgain, task
from metering import due
from metering.lock import AccountBusy, locked
from metering.models import AccountMeter, UpgradeCause
from metering.reactions import REPLAY, UPGRADE
from metering.replay import Replayed, replay_some, tell_when_replayed
from metering.upgrades import settle

_WHILE_BUSY: Final = timedelta(seconds=10)


def run_due(**_ignored: object) -> str:
    """Do everything that is due now."""
    return str(due.run_due(timezone.now()))


@task(UPGRADE)
def upgrade(cause_id: int, now: datetime) -> None:
    """Settle a cause to upgrade: once, however often it runs."""
    account_id = UpgradeCause.objects.values_list("account_id", flat=True).get(pk=cause_id)
    try:
        with locked(account_id) as meter:
            cause = UpgradeCause.objects.get(account_id=account_id, pk=cause_id)
            settle(Account.objects.get(pk=account_id), cause, meter.clock or now)
    except AccountBusy as busy:
        raise TryAgain("the account is busy", at=now + _WHILE_BUSY) from busy


@task(REPLAY)
def replay(account_id: int, now: datetime) -> None:
    """Replay what an account holds, a transaction at a time, until nothing is left or nothing fits."""
    step = Replayed(0, goes_on=True)
    while step.goes_on:
        try:
            with locked(account_id) as meter:
                step = _replay_some(account_id, meter, now)
        except AccountBusy as busy:
            raise TryAgain("the account is busy", at=now + _WHILE_BUSY) from busy


def _replay_some(account_id: int, meter: AccountMeter, now: datetime) -> Replayed:
    account, clock = Account.objects.get(pk=account_id), meter.clock or now
    step = replay_some(account, clock)
    if not step.goes_on:
        tell_when_replayed(account, clock)
    return step
