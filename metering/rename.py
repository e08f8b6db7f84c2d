"""A contact's new address (DESIGN section 4, Rename): the old contact becomes an alias of the new address's one."""

from collections.abc import Sequence
from datetime import datetime

from metering import sql
from metering.catalogue import BY_CODE, STATE_EFFECTS, ContactUnit, types_counting_for
from metering.facts import Arrival, StateKey
from metering.models import BillingPeriod, Contact, Event, LeadScore, PeriodState, SyncMember
from metering.record import write_members, write_scores
from metering.state import member_registers, score_registers
from metering.transitions import Register

Renaming = tuple[str, str]
"""The old and the new identity."""


def independent_of_renames(account_id: int, arrivals: Sequence[Arrival]) -> int:
    """How many arrivals, from the first, can be decided before the renames among them are applied.

    All up to the first that names somebody whom an earlier rename touches, by whatever address.
    """
    touching = [arrival for arrival in arrivals if arrival.renamed_from is not None]
    if not touching:
        return len(arrivals)
    named = {arrival.identity for arrival in arrivals} | {str(arrival.renamed_from) for arrival in touching}
    contacts = _contacts(account_id, named)
    renamed: set[int | str] = set()
    for place, arrival in enumerate(arrivals):
        people = {_who(contacts, arrival.identity)}
        if arrival.renamed_from is not None:
            people.add(_who(contacts, arrival.renamed_from))
        if not renamed.isdisjoint(people):
            return place
        if arrival.renamed_from is not None:
            renamed |= people
    return len(arrivals)


def rename_all(account_id: int, renamings: Sequence[Renaming]) -> None:
    """Make whoever is known under each old address the contact of the new one, which is stored already.

    No two of them touch the same contact. Memberships and scores move to it (the greater (time, id) wins), and in
    periods that are not closed it takes over what only the old contact counted; what both counted stays counted. An
    unknown old address changes nothing, nor does applying a rename twice.
    """
    if not renamings:
        return
    contacts = _contacts(account_id, {identity for pair in renamings for identity in pair})
    merges: dict[int, int] = {}  # the old contact: the new one
    returning: list[int] = []
    for old_identity, new_identity in renamings:
        if old_identity == new_identity or old_identity not in contacts:
            continue
        old, (own, new) = contacts[old_identity][1], contacts[new_identity]
        if old != new:
            merges[old] = new
        elif own != new:  # back to an address that was an alias: it becomes the contact again
            merges[old] = own
            returning.append(own)
    if merges:
        _merge(account_id, merges, returning)


def _contacts(account_id: int, identities: set[str]) -> dict[str, tuple[int, int]]:
    """For each identity that is stored: the id of its own row, and of the contact that it means."""
    rows = sql.run(
        """SELECT identity, id, coalesce(alias_of_id, id) FROM metering_contact
           WHERE account_id = %s AND identity = ANY(string_to_array(%s, E'\\x1f'))""",
        (account_id, sql.joined(identities)),
    )
    return {identity: (own, contact) for identity, own, contact in rows}


def _who(contacts: dict[str, tuple[int, int]], identity: str) -> int | str:
    return contacts[identity][1] if identity in contacts else identity


def _merge(account_id: int, merges: dict[int, int], returning: list[int]) -> None:
    olds, news = list(merges), list(merges.values())
    if returning:
        sql.run(
            "UPDATE metering_contact SET alias_of_id = NULL WHERE account_id = %s AND id = ANY(%s)",
            (account_id, returning),
        )
    _make_aliases(account_id, olds, news)
    gone = len(merges) - len(returning)
    sql.run(
        "UPDATE metering_accountmeter SET contacts_known = contacts_known - %s WHERE account_id = %s",
        (gone, account_id),
    )
    _move_states(account_id, merges)
    movable = _movable(account_id, merges)
    _move_counts(account_id, list(movable), list(movable.values()))


def _make_aliases(account_id: int, olds: list[int], news: list[int]) -> None:
    sql.run(
        """UPDATE metering_contact AS contact
           SET last_engaged_at = greatest(contact.last_engaged_at, old.last_engaged_at),
               origin = CASE WHEN old.origin_at <= coalesce(contact.origin_at, 'infinity') THEN old.origin
                             ELSE contact.origin END,
               origin_at = least(contact.origin_at, old.origin_at)
           FROM unnest(%s::bigint[], %s::bigint[]) AS pair (old_id, new_id)
           JOIN metering_contact AS old ON old.account_id = %s AND old.id = pair.old_id
           WHERE contact.account_id = %s AND contact.id = pair.new_id""",
        (olds, news, account_id, account_id),
    )
    for column in ("id", "alias_of_id"):  # the old contact, and its aliases
        sql.run(
            f"""UPDATE metering_contact AS contact SET alias_of_id = pair.new_id
                FROM unnest(%s::bigint[], %s::bigint[]) AS pair (old_id, new_id)
                WHERE contact.account_id = %s AND contact.{column} = pair.old_id AND contact.id <> pair.new_id""",  # noqa: S608
            (olds, news, account_id),
        )


def _move_states(account_id: int, merges: dict[int, int]) -> None:
    newest = BillingPeriod.objects.filter(account_id=account_id).order_by("-starts_at").first()
    boundary = newest.starts_at if newest else None
    everybody = [*merges, *merges.values()]
    write_members(account_id, _merged(member_registers(account_id, everybody), merges, boundary))
    write_scores(account_id, _merged(score_registers(account_id, everybody), merges, boundary))
    for model in (SyncMember, LeadScore):
        model.objects.filter(account_id=account_id, contact_id__in=list(merges)).delete()


def _merged(
    registers: dict[StateKey, Register], merges: dict[int, int], boundary: datetime | None
) -> dict[StateKey, Register]:
    """The old contacts' transitions, taken into the new ones' states."""
    merged: dict[StateKey, Register] = {}
    for (contact, connection), register in registers.items():
        if contact in merges:
            key = (merges[contact], connection)
            target = merged[key] = registers.get(key, Register())
            for transition in (register.prior, register.last):
                if transition is not None:
                    target.advance(transition, boundary)
    return merged


def _movable(account_id: int, merges: dict[int, int]) -> dict[int, int]:
    """The pairs of which events can change hands: all, but for those of people who were erased and came again.

    A recount takes no state from events up to the contact's last erasure, so that mark must go with them, and none of
    the other's events may fall under it. If one would, what both count stays where it is.
    """
    contacts = [*merges, *merges.values()]
    marks: dict[int, int | None] = dict(
        Contact.objects.filter(account_id=account_id, pk__in=contacts).values_list("pk", "erased_through")
    )
    movable = {}
    for old, new in merges.items():
        mark = max(marks[old] or 0, marks[new] or 0)
        if mark and _changes_state(account_id, old, marks[old], mark):
            continue
        if mark and _changes_state(account_id, new, marks[new], mark):
            continue
        if mark != (marks[new] or 0):
            Contact.objects.filter(account_id=account_id, pk=new).update(erased_through=mark)
        movable[old] = new
    return movable


def _changes_state(account_id: int, contact: int, after: int | None, up_to: int) -> bool:
    """Whether a contact's events in a range of ids made it a member or gave it a score, or ended that."""
    changing = [kind.code for kind in BY_CODE.values() if kind.effect in STATE_EFFECTS]
    events = Event.objects.filter(account_id=account_id, contact_id=contact, contact_id__gt=0, type__in=changing)
    return events.filter(pk__gt=after or 0, pk__lte=up_to).exists()


def _move_counts(account_id: int, olds: list[int], news: list[int]) -> None:
    """What only the old contacts counted in open and ended periods, and the events that gave it."""
    if not olds:
        return
    unclosed = BillingPeriod.objects.filter(account_id=account_id).exclude(state=PeriodState.CLOSED)
    periods = list(unclosed.values_list("pk", flat=True))
    for unit in ContactUnit:
        moved = sql.run(
            """UPDATE metering_countedcontact AS counted SET contact_id = pair.new_id
               FROM unnest(%s::bigint[], %s::bigint[]) AS pair (old_id, new_id)
               WHERE counted.account_id = %s AND counted.period_id = ANY(%s) AND counted.unit = %s
                 AND counted.contact_id = pair.old_id
                 AND NOT EXISTS (SELECT FROM metering_countedcontact AS theirs
                                 WHERE theirs.account_id = %s AND theirs.period_id = counted.period_id
                                   AND theirs.unit = counted.unit AND theirs.contact_id = pair.new_id)
               RETURNING counted.period_id, pair.old_id, pair.new_id""",
            (olds, news, account_id, periods, unit.value, account_id),
        )
        if moved:
            sql.run(
                """UPDATE metering_event AS event SET contact_id = moved.new_id
                   FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS moved (period_id, old_id, new_id)
                   WHERE event.account_id = %s AND event.contact_id = moved.old_id AND event.contact_id > 0
                     AND event.period_id = moved.period_id AND event.type = ANY(%s::smallint[])""",
                (
                    *([row[place] for row in moved] for place in range(3)),
                    account_id,
                    [kind.code for kind in types_counting_for(unit)],
                ),
            )
