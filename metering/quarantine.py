"""Keep rejected events for 30 days, once per body, so that staff can see, fix and send them again."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from django.db.models import Q

from metering import sql
from metering.envelope import Refusal
from metering.facts import Arrival
from metering.mentions import Mentions
from metering.models import QuarantinedEvent

KEPT = timedelta(days=30)
MOST = 10_000
_SCRUBBED_AT_ONCE = 100  # a body may have 64 KiB
_UNATTRIBUTED = 7_301_127_545  # any number that nothing else in the database locks


def quarantine(account_id: int | None, refusals: Sequence[Refusal], at: datetime) -> None:
    """Store refusals, or count them as seen again; the oldest beyond 10,000 of an account make room."""
    bodies: dict[bytes, list[Refusal]] = {}
    for refusal in refusals:
        bodies.setdefault(sha256(refusal.body).digest(), []).append(refusal)
    if not bodies:
        return
    if account_id is None:  # no meter row to lock: one at a time, or making room for them deadlocks
        sql.run("SELECT pg_advisory_xact_lock(%s)", (_UNATTRIBUTED,))
    rows = sorted(bodies.items())
    last = [refusals_of_body[-1] for _, refusals_of_body in rows]
    sql.run(
        """INSERT INTO metering_quarantinedevent AS seen (account_id, fingerprint, times_seen, body, source, key, code,
             field, detail, first_seen_at, last_seen_at)
           SELECT %s::bigint, new.*, %s::timestamptz, %s::timestamptz
           FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[], %s::text[], %s::text[], %s::text[], %s::text[],
                       %s::text[]) AS new
           ON CONFLICT (account_id, fingerprint) DO UPDATE
           SET times_seen = seen.times_seen + excluded.times_seen, last_seen_at = excluded.last_seen_at,
               code = excluded.code, field = excluded.field, detail = excluded.detail, resolved_at = NULL""",
        (
            account_id,
            at,
            at,
            [fingerprint for fingerprint, _ in rows],
            [len(refusals_of_body) for _, refusals_of_body in rows],
            [refusal.body for refusal in last],
            [refusal.source or "" for refusal in last],
            [refusal.id or "" for refusal in last],
            [refusal.code for refusal in last],
            [refusal.field or "" for refusal in last],
            [refusal.detail for refusal in last],
        ),
    )
    sql.run(
        """DELETE FROM metering_quarantinedevent WHERE id IN (
             SELECT id FROM metering_quarantinedevent WHERE account_id IS NOT DISTINCT FROM %s::bigint
             ORDER BY last_seen_at DESC, id DESC OFFSET %s)""",
        (account_id, MOST),
    )


def resolve_quarantined(account_id: int, stored: Sequence[Arrival], refusals: Sequence[Refusal], at: datetime) -> None:
    """Mark the quarantined events that have now been stored under their id, unless the batch refused it again after."""
    [[any_unresolved]] = sql.run(
        """SELECT EXISTS (SELECT FROM metering_quarantinedevent
                          WHERE account_id = %s AND resolved_at IS NULL AND key <> '')""",
        (account_id,),
    )
    if not any_unresolved:
        return
    refused: dict[tuple[str | None, str | None], int] = {}
    for refusal in refusals:
        place = (refusal.source, refusal.id)
        refused[place] = max(refusal.index, refused.get(place, -1))
    rows = sorted(
        {
            (arrival.connection.key, arrival.key)
            for arrival in stored
            if arrival.index > refused.get((arrival.connection.key, arrival.key), -1)
        }
    )
    sql.run(
        """UPDATE metering_quarantinedevent AS seen SET resolved_at = %s
           FROM unnest(%s::text[], %s::text[]) AS new (source, key)
           WHERE seen.account_id = %s AND seen.source = new.source AND seen.key = new.key
             AND seen.resolved_at IS NULL""",
        (at, [source for source, _ in rows], [key for _, key in rows], account_id),
    )


def scrub(account_id: int, mentions: Mentions) -> int:
    """Empty what was refused of some people, also where no account could be told; how many rows that were.

    A body that is sent again is quarantined anew: nothing tells that it was seen. The caller holds the lock.
    """
    rows = QuarantinedEvent.objects.filter(Q(account_id=account_id) | Q(account_id=None)).exclude(body=b"")
    found = []
    for row in rows.order_by("pk").iterator(chunk_size=_SCRUBBED_AT_ONCE):
        texts = (row.source, row.key, row.field, row.detail)
        if mentions.in_body(bytes(row.body)) or any(map(mentions.in_text, texts)):
            found.append((row.pk, "" if mentions.in_text(row.source) else row.source))
    sql.run(
        """UPDATE metering_quarantinedevent AS seen
           SET body = '', key = '', field = '', detail = '', source = new.source, fingerprint = new.fingerprint
           FROM unnest(%s::bigint[], %s::text[], %s::bytea[]) AS new (id, source, fingerprint)
           WHERE seen.id = new.id""",
        ([pk for pk, _ in found], [source for _, source in found], [secrets.token_bytes(32) for _ in found]),
    )
    return len(found)


def forget_old(as_of: datetime) -> int:
    """Delete what was last seen more than 30 days ago; how many that were."""
    deleted, _ = QuarantinedEvent.objects.filter(last_seen_at__lt=as_of - KEPT).delete()
    return deleted
