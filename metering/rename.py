"""A contact's new address (DESIGN section 4, Rename): the old contact becomes an alias of the new address's one."""

from datetime import datetime

from metering import sql
from metering.catalogue import ContactUnit, types_counting_for
from metering.facts import StateKey
from metering.models import BillingPeriod, LeadScore, PeriodState, SyncMember
from metering.record import write_members, write_scores
from metering.state import member_registers, score_registers
from metering.transitions import Register


def rename(account_id: int, old_identity: str, new_identity: str) -> None:
    """Make whoever is known under the old address the contact of the new one, which is stored already.

    Memberships and scores move to it (the greater (time, id) wins), and in periods that are not closed it takes over
    what only the old contact counted; what both counted stays counted. An unknown old address changes nothing.
    Applying it twice changes nothing.
    """
    rows = sql.run(
        """SELECT identity, id, coalesce(alias_of_id, id) FROM metering_contact
           WHERE account_id = %s AND identity IN (%s, %s)""",
        (account_id, old_identity, new_identity),
    )
    known = {identity: (own, contact) for identity, own, contact in rows}
    if old_identity not in known:
        return
    own, new = known[new_identity]
    old = known[old_identity][1]
    if old != new:
        _make_alias(account_id, old, new)
        sql.run(
            "UPDATE metering_accountmeter SET contacts_known = contacts_known - 1 WHERE account_id = %s",
            (account_id,),
        )
    elif own != new:
        new = own  # back to an address that was an alias: it becomes the contact again
        sql.run(
            "UPDATE metering_contact SET alias_of_id = NULL WHERE account_id = %s AND id = %s",
            (account_id, new),
        )
        _make_alias(account_id, old, new)
    else:
        return
    _move_states(account_id, old, new)
    _move_counts(account_id, old, new)


def _make_alias(account_id: int, old: int, new: int) -> None:
    sql.run(
        """UPDATE metering_contact SET alias_of_id = %s
           WHERE account_id = %s AND (id = %s OR alias_of_id = %s) AND id <> %s""",
        (new, account_id, old, old, new),
    )
    sql.run(
        """UPDATE metering_contact AS new
           SET last_engaged_at = greatest(new.last_engaged_at, old.last_engaged_at),
               origin = CASE WHEN new.origin = '' THEN old.origin ELSE new.origin END
           FROM metering_contact AS old
           WHERE new.account_id = %s AND old.account_id = new.account_id AND new.id = %s AND old.id = %s""",
        (account_id, new, old),
    )


def _move_states(account_id: int, old: int, new: int) -> None:
    newest = BillingPeriod.objects.filter(account_id=account_id).order_by("-starts_at").first()
    boundary = newest.starts_at if newest else None
    write_members(account_id, _merged(member_registers(account_id, [old, new]), old, new, boundary))
    write_scores(account_id, _merged(score_registers(account_id, [old, new]), old, new, boundary))
    for model in (SyncMember, LeadScore):
        model.objects.filter(account_id=account_id, contact_id=old).delete()


def _merged(
    registers: dict[StateKey, Register], old: int, new: int, boundary: datetime | None
) -> dict[StateKey, Register]:
    """The old contact's transitions, taken into the new one's states."""
    merged: dict[StateKey, Register] = {}
    for (contact, connection), register in registers.items():
        if contact == old:
            target = registers.get((new, connection), Register())
            for transition in (register.prior, register.last):
                if transition is not None:
                    target.advance(transition, boundary)
            merged[new, connection] = target
    return merged


def _move_counts(account_id: int, old: int, new: int) -> None:
    """What only the old contact counted in open and ended periods, and the events that gave it."""
    unclosed = BillingPeriod.objects.filter(account_id=account_id).exclude(state=PeriodState.CLOSED)
    moved = sql.run(
        """UPDATE metering_countedcontact AS counted SET contact_id = %s
           WHERE counted.account_id = %s AND counted.period_id = ANY(%s) AND counted.unit = ANY(%s::smallint[])
             AND counted.contact_id = %s
             AND NOT EXISTS (SELECT FROM metering_countedcontact AS theirs
                             WHERE theirs.account_id = counted.account_id AND theirs.period_id = counted.period_id
                               AND theirs.unit = counted.unit AND theirs.contact_id = %s)
           RETURNING counted.period_id, counted.unit""",
        (
            new,
            account_id,
            list(unclosed.values_list("pk", flat=True)),
            [unit.value for unit in ContactUnit],
            old,
            new,
        ),
    )
    for period_id, unit in moved:
        types = [row.code for row in types_counting_for(ContactUnit(unit))]
        sql.run(
            """UPDATE metering_event SET contact_id = %s
               WHERE account_id = %s AND contact_id = %s AND period_id = %s AND type = ANY(%s::smallint[])""",
            (new, account_id, old, period_id, types),
        )
