"""Recount from the stored rows: the proof that every counter is right, and its repair (DESIGN section 4, Counters).

The truth is the events and, for what was carried in, the counted contacts. Everything else is derived from them and
can be made again (`recount`).
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from accounts.audit import write_audit
from accounts.models import Account
from accounts.refusals import Refused
from metering import sql
from metering.catalogue import BY_CODE, SCORE_SET, STATE_EFFECTS, Effect
from metering.lock import locked
from metering.models import BillingPeriod, EventState, PeriodState
from metering.periods import checksum
from metering.recount import CHECKS, GIVEN, REPAIRS

_SHOWN_PER_CHECK = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored number that is not what a recount gives."""

    check: str
    where: str
    stored: str
    recounted: str


def differences(account: Account) -> list[Difference]:
    """What a recount finds different, at most 100 of each kind; all numbers are read in one snapshot."""
    with sql.one_snapshot():
        return _differences(account)


def repair(account: Account, *, actor: str, at: datetime) -> list[Difference]:
    """Recount under the account's lock and write what is right; what was different before.

    Raises `Refused` (`cannot_be_repaired`) and changes nothing if a closed period's recount disagrees with the
    checksum it was closed with: that is no damaged counter, and a person must look.
    """
    with locked(account.pk):
        found = _differences(account)
        if not found:
            return []
        parameters = _parameters(account)
        for statement in REPAIRS:
            sql.run(GIVEN + statement, parameters)
        left = _differences(account)
        if left:
            raise Refused("cannot_be_repaired", f"{left[0].check}: {left[0].where} cannot be repaired.")
        before = {"differences": [asdict(row) for row in found]}
        write_audit(account, "account.recounted", actor=actor, at=at, before=before, after={})
    return found


def _differences(account: Account) -> list[Difference]:
    parameters = _parameters(account)
    found = []
    for check, query in CHECKS.items():
        rows = sql.run(f"{GIVEN} {query} ORDER BY 1 LIMIT {_SHOWN_PER_CHECK}", parameters)
        found += [Difference(check, str(where), str(stored), str(recounted)) for where, stored, recounted in rows]
    return found + _changed_since_closing(account)


def _changed_since_closing(account: Account) -> list[Difference]:
    """Closed periods whose counted contacts or totals are not those of their checksum."""
    closed = BillingPeriod.objects.filter(account_id=account.pk, state=PeriodState.CLOSED).order_by("starts_at")
    return [
        Difference(
            "checksums of closed periods",
            f"period {period.pk} ({period.starts_at:%Y-%m-%d})",
            stored,
            recounted,
        )
        for period in closed
        if (stored := period.checksum) != (recounted := checksum(period))
    ]


def _parameters(account: Account) -> dict[str, Any]:
    kinds = list(BY_CODE.values())
    changing = [kind for kind in kinds if kind.effect in STATE_EFFECTS]
    return {
        "state_types": [kind.code for kind in changing],
        "of_scores": [kind.effect in (Effect.SETS_SCORE, Effect.CLEARS_SCORE) for kind in changing],
        "holds": [kind.effect not in (Effect.LEAVES, Effect.CLEARS_SCORE) for kind in changing],
        "refusals": [kind.effect is Effect.IS_REFUSED for kind in changing],
        "account": account.pk,
        "timezone": account.timezone,
        "recorded": EventState.RECORDED.value,
        "voided": EventState.VOIDED.value,
        "took_effect": [EventState.RECORDED.value, EventState.LATE.value, EventState.VOIDED.value],
        "score_set": SCORE_SET.code,
        "types": [kind.code for kind in kinds],
        "billable": [kind.billable for kind in kinds],
        "units": [None if kind.unit is None else kind.unit.value for kind in kinds],
        "reasons": [None if kind.reason is None else kind.reason.value for kind in kinds],
    }
