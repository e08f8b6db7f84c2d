"""Run everything that is due on the wall clock, whoever asks: the scheduler every minute, or a person."""

import logging
from dataclasses import dataclass
from datetime import datetime

from accounts.models import Account
from metering.gaps import forget_ids
from metering.lock import AccountBusy, locked
from metering.quarantine import forget_old
from metering.upkeep import accounts_with_due_work, do_due_work

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did.

    `accounts`: whatever was due for them was done. `busy`: others held them, the next run does them.
    `failed`: a defect, logged; the others were done all the same. `forgotten`: old rejected events.
    """

    accounts: int
    busy: int
    failed: int
    forgotten: int

    def __str__(self) -> str:
        parts = [f"{self.accounts:,} accounts brought up to date"]
        parts += [f"{self.busy:,} busy, left to the next run"] if self.busy else []
        parts += [f"{self.failed:,} FAILED, see the log"] if self.failed else []
        parts += [f"{self.forgotten:,} old rejected events forgotten"] if self.forgotten else []
        return ", ".join(parts)


def run_due(as_of: datetime) -> Done:
    """Do what is due, one transaction per account. Running it again, or twice at once, does nothing more."""
    accounts = busy = failed = 0
    for account_id in accounts_with_due_work(as_of):
        try:
            accounts += _do_all_due_work(account_id, as_of)
        except AccountBusy:
            busy += 1
        except Exception:
            log.exception("what is due for account %s could not be done", account_id)
            failed += 1
    forget_ids(as_of)
    return Done(accounts, busy, failed, forget_old(as_of))


def _do_all_due_work(account_id: int, as_of: datetime) -> bool:
    """In one transaction after another, as there may be much to give up; whether there was anything."""
    done = False
    while _do_due_work(account_id, as_of):
        done = True
    return done


def _do_due_work(account_id: int, as_of: datetime) -> bool:
    with locked(account_id) as meter:
        if meter.clock is not None:
            return False  # an import has just begun to replay history
        return do_due_work(Account.objects.get(pk=account_id), as_of)
