"""The ledger of what was lost: gaps, by pause, connection and type (DESIGN section 5)."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.models import F, Value
from django.db.models.functions import Greatest

from metering import sql
from metering.facts import Decision
from metering.models import DroppedEvent, Gap, GapReason

IDS_KEPT: Final = timedelta(days=63)
"""How long after its end a gap keeps the ids it has counted: nothing is dropped into it any more after the grace of its
period."""

_FORGOTTEN_AT_ONCE: Final = 50_000


class Loss(NamedTuple):
    """What one gap has to learn: the ids that were dropped, each as often as it came."""

    reason: str
    starts_at: datetime
    ends_at: datetime | None
    connection_id: int
    type: int
    keys: Sequence[str]

    @property
    def gap(self) -> tuple[str, datetime, int, int]:
        return (self.reason, self.starts_at, self.connection_id, self.type)


def record_gaps(account_id: int, decision: Decision) -> None:
    """Tally what a batch dropped. The caller holds the lock."""
    losses = [
        Loss(pause.reason, pause.since, pause.until, connection_id, kind, keys)
        for (pause, connection_id, kind), keys in decision.dropped.items()
    ]
    add_losses(account_id, losses)


def add_losses(account_id: int, losses: Sequence[Loss]) -> None:
    """Add to gaps, making those that are new; an id that its gap has counted is an attempt, not another event."""
    rows = _one_per_gap(losses)
    found = sql.run(
        """INSERT INTO metering_gap AS gap (account_id, reason, starts_at, ends_at, connection_id, type, attempts)
           SELECT %s::bigint, new.*
           FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::smallint[], %s::bigint[])
             AS new
           ON CONFLICT (account_id, reason, starts_at, connection_id, type)
           DO UPDATE SET attempts = gap.attempts + excluded.attempts,
                         ends_at = CASE WHEN excluded.ends_at IS NULL THEN NULL ELSE gap.ends_at END
           RETURNING reason, starts_at, connection_id, type, id""",
        (
            account_id,
            *(list(column) for column in zip(*(row[:5] for row in rows), strict=True)),
            [len(row.keys) for row in rows],
        ),
    )
    ids = {tuple(row[:4]): row[4] for row in found}
    keys = sorted({(ids[row.gap], key) for row in rows for key in row.keys})
    new = Counter(
        gap_id
        for (gap_id,) in sql.run(
            """INSERT INTO metering_droppedevent (account_id, gap_id, key)
               SELECT %s::bigint, new.* FROM unnest(%s::bigint[], %s::text[]) AS new
               ON CONFLICT (account_id, gap_id, key) DO NOTHING RETURNING gap_id""",
            (account_id, [gap_id for gap_id, _ in keys], [key for _, key in keys]),
        )
    )
    sql.run(
        """UPDATE metering_gap AS gap SET events = gap.events + new.events
           FROM unnest(%s::bigint[], %s::bigint[]) AS new (id, events)
           WHERE gap.account_id = %s AND gap.id = new.id""",
        (list(new), list(new.values()), account_id),
    )


def _one_per_gap(losses: Sequence[Loss]) -> list[Loss]:
    """In the order of their keys; two periods that paused at one instant share a gap."""
    merged: dict[tuple[Any, ...], Loss] = {}
    for loss in losses:
        other = merged.get(loss.gap)
        if other is not None:
            ends = max(loss.ends_at, other.ends_at) if loss.ends_at and other.ends_at else None
            loss = loss._replace(ends_at=ends, keys=[*other.keys, *loss.keys])
        merged[loss.gap] = loss
    return [loss for _, loss in sorted(merged.items())]


def end_gaps(account_id: int, reason: GapReason, at: datetime, *, begun_before: datetime | None = None) -> None:
    """A pause is over: its gaps end, none before it began (the clock of who ends it may have been read while they
    waited). The caller holds the lock."""
    still = Gap.objects.filter(account_id=account_id, reason=reason, ends_at=None)
    if begun_before is not None:
        still = still.filter(starts_at__lt=begun_before)
    still.update(ends_at=Greatest(F("starts_at"), Value(at)))


def forget_ids(as_of: datetime) -> int:
    """Delete ids that no gap needs any more, a bounded number of them; how many that were."""
    over = Gap.objects.filter(ends_at__lt=as_of - IDS_KEPT).values("pk")
    ids = DroppedEvent.objects.filter(gap_id__in=over).values_list("pk", flat=True)[:_FORGOTTEN_AT_ONCE]
    deleted, _ = DroppedEvent.objects.filter(pk__in=list(ids)).delete()
    return deleted
