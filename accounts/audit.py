"""The audit trail: every change of money, limits or settings leaves a row (DESIGN section 9)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from accounts.models import Account, AuditEntry


def write_audit(
    account: Account | None,
    action: str,
    *,
    actor: str,
    at: datetime,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    reason: str = "",
) -> None:
    """Append a row, in the transaction of the change. `before` and `after` hold the fields that changed."""
    AuditEntry.objects.create(
        account=account,
        at=at,
        actor=actor,
        action=action,
        before=_plain(before),
        after=_plain(after),
        reason=reason,
    )


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in sorted(fields.items())}
