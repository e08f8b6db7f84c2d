"""Forget a person (DESIGN section 4, Erasure): who it was goes, what was counted stays.

What stands in for the address is an HMAC while a period that counts the contact is not closed, so that it counts once
if it comes again; afterwards it is random. Not reached are ids of events, which stay, and what the payloads of other
people's events may say.
"""

import secrets
from collections import defaultdict
from datetime import datetime
from typing import Final, NamedTuple

from accounts.audit import write_audit
from accounts.models import Account
from accounts.refusals import missing
from metering import sql
from metering.catalogue import SCORE_SET
from metering.gaps import Loss, add_losses
from metering.identity import is_pseudonym, normalise, pseudonym
from metering.mentions import Mentions
from metering.models import EventState, GapReason, LeadScore, SyncMember
from metering.periods import forget_erased
from metering.quarantine import scrub
from metering.state import erasure_secret
from metering.steering import steered

ERASED_NAME: Final = "erased"
"""What is shown instead of an erased address."""


class Erased(NamedTuple):
    """A person who was forgotten: until when a period counts the contact, None if none that is not closed does."""

    counted_until: datetime | None


def erase(account: Account, subject: str, *, actor: str, now: datetime, reason: str = "") -> Erased:
    """Forget the person of an address or channel user id, under all of its addresses; again changes nothing.

    Raises `BadSubject`, `Refused` (`not_found`: nobody is known by it, or nobody can tell any more), `AccountBusy`.
    """
    identity = normalise(subject)
    with steered(account, now) as it:
        people = _addresses_of(it.account, identity)
        known = {name: row for name, row in people.items() if not is_pseudonym(name)}
        mentions = Mentions({identity, *known})
        scrubbed = scrub(account.pk, mentions)
        if not people and not scrubbed:
            raise missing()
        rows = sorted(people.values())
        counted_until = _counted_until(account.pk, rows)
        if known:
            _give_up(account.pk, rows, it.clock)
            _forget(account.pk, rows)
            _replace(it.account, known, rows)
            forget_erased(account.pk)
        if known or scrubbed:
            after = {"contacts": rows, "quarantined": scrubbed}
            write_audit(
                it.account,
                "contact.erased",
                actor=actor,
                at=now,
                before={},
                after=after,
                reason=mentions.without(reason),
            )
        return Erased(counted_until)


def _addresses_of(account: Account, identity: str) -> dict[str, int]:
    """All rows of the contact that an identity means, erased or not, by what they are stored under."""
    secret = erasure_secret(account)
    names = [identity] if secret is None else [identity, pseudonym(identity, secret)]
    rows = sql.run(
        """SELECT person.identity, person.id
           FROM metering_contact AS named
           JOIN metering_contact AS person
             ON person.account_id = named.account_id
            AND (person.id = coalesce(named.alias_of_id, named.id)
                 OR person.alias_of_id = coalesce(named.alias_of_id, named.id))
           WHERE named.account_id = %s AND named.identity = ANY(%s::text[])""",
        (account.pk, names),
    )
    return dict(rows)


def _counted_until(account_id: int, rows: list[int]) -> datetime | None:
    [[until]] = sql.run(
        """SELECT max(period.ends_at) FROM metering_countedcontact AS counted
           JOIN metering_billingperiod AS period
             ON period.account_id = counted.account_id AND period.id = counted.period_id
           WHERE counted.account_id = %s AND period.account_id = %s AND period.state <> 'closed'
             AND counted.contact_id = ANY(%s)""",
        (account_id, account_id, rows),
    )
    found: datetime | None = until
    return found


def _give_up(account_id: int, rows: list[int], at: datetime) -> None:
    """What is held of them is lost, and what was limited is not served any more: either would bring them back."""
    given_up = """UPDATE metering_event SET state = %s
                  WHERE account_id = %s AND contact_id = ANY(%s) AND contact_id > 0 AND state = %s
                  RETURNING connection_id, type, key, received_at"""
    held = sql.run(given_up, (EventState.GIVEN_UP.value, account_id, rows, EventState.HELD.value))
    sql.run(given_up, (EventState.GIVEN_UP.value, account_id, rows, EventState.LIMITED.value))
    lost: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for connection_id, kind, key, _ in held:
        lost[connection_id, kind].append(key)
    if held:
        since = min(received_at for *_, received_at in held)
        reason = GapReason.ERASED.value
        add_losses(account_id, [Loss(reason, since, at, link, kind, keys) for (link, kind), keys in lost.items()])


def _forget(account_id: int, rows: list[int]) -> None:
    """End memberships and scores and empty the payloads; a recount needs to know which scores were cleared by a 0."""
    for model in (SyncMember, LeadScore):
        model.objects.filter(account_id=account_id, contact_id__in=rows).delete()
    sql.run(
        """UPDATE metering_event
           SET data = CASE WHEN type = %s AND data -> 'value' = '0'::jsonb THEN '{"value": 0}'::jsonb END
           WHERE account_id = %s AND contact_id = ANY(%s) AND contact_id > 0 AND data IS NOT NULL""",
        (SCORE_SET.code, account_id, rows),
    )


def _replace(account: Account, known: dict[str, int], rows: list[int]) -> None:
    """Put what stands in for them where their addresses were."""
    if account.erasure_secret is None:
        account.erasure_secret = secrets.token_bytes(32)
        account.save(update_fields=["erasure_secret"])
    secret = bytes(account.erasure_secret)
    stand_ins = {row: pseudonym(name, secret) for name, row in known.items()}
    sql.run(
        """UPDATE metering_contact AS contact
           SET identity = coalesce(new.identity, contact.identity), display = %s,
               erased_through = (SELECT coalesce(max(id), 0) FROM metering_event
                                 WHERE account_id = %s AND contact_id = ANY(%s) AND contact_id > 0)
           FROM unnest(%s::bigint[], %s::text[]) AS new (id, identity)
           WHERE contact.account_id = %s AND contact.id = new.id""",
        (ERASED_NAME, account.pk, rows, rows, [stand_ins.get(row) for row in rows], account.pk),
    )
