"""Who counts and why: the counted contacts of a period as rows, and one contact over all periods (DESIGN section 7)."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import BooleanField, Exists, F, OuterRef, QuerySet
from django.db.models.expressions import RawSQL

from accounts.models import Account, Connection
from accounts.refusals import missing
from metering import sql
from metering.breakdown import CONTACT_UNITS
from metering.catalogue import BY_CODE, ContactUnit, Reason, reasons_in
from metering.identity import BadSubject, normalise
from metering.models import BillingPeriod, Contact, CountedContact, SyncMember
from plans.models import Unit


class Wanted(NamedTuple):
    """Which of the counted contacts are asked for; with both a reason and a connection, who has that reason there.

    `refused`: by whether a destination refuses the contact now.
    """

    reason: Reason | None = None
    connection: Connection | None = None
    refused: bool | None = None


EVERYBODY = Wanted()


def unit_listed(period: BillingPeriod) -> ContactUnit:
    """The unit whose contacts a period lists: the plan's; the active contacts where the plan charges by events."""
    return CONTACT_UNITS.get(Unit(period.subscription.tier.plan.unit), ContactUnit.ACTIVE)


def counted_in(period: BillingPeriod, wanted: Wanted = EVERYBODY) -> QuerySet[CountedContact]:
    """The counted contacts of a period; `contact_id` is unique among them, and the order that an index knows."""
    rows = CountedContact.objects.filter(account_id=period.account_id, period_id=period.pk, unit=unit_listed(period))
    if wanted.connection is not None:
        rows = rows.filter(connections__contains=[wanted.connection.pk])
    if wanted.reason is not None:
        rows = rows.annotate(given=F("reasons").bitand(wanted.reason.value)).filter(given__gt=0)
    if wanted.connection is not None and wanted.reason is not None:
        rows = rows.filter(_given_there(wanted.reason, wanted.connection))
    if wanted.refused is not None:
        rows = _refused(period.account_id, rows) if wanted.refused else _not_refused(period.account_id, rows)
    return rows


def _given_there(reason: Reason, link: Connection) -> RawSQL:
    """Whether a connection gives a reason, by an event or carried in."""
    return RawSQL(
        """EXISTS (SELECT FROM unnest(metering_countedcontact.connections, metering_countedcontact.event_reasons,
                                      metering_countedcontact.carried_reasons) AS place (link, given, carried)
                   WHERE place.link = %s AND (place.given | place.carried) & %s > 0)""",
        (link.pk, reason.value),
        output_field=BooleanField(),
    )


def _refusals(account_id: int) -> tuple[QuerySet[SyncMember], QuerySet[Contact]]:
    """The memberships that are refused, and the other addresses of their contacts, which may count on their own."""
    refused = SyncMember.objects.filter(account_id=account_id, refused_since__isnull=False)
    aliases = Contact.objects.filter(account_id=account_id, alias_of_id__in=refused.values("contact_id"))
    return refused, aliases


def _refused(account_id: int, rows: QuerySet[CountedContact]) -> QuerySet[CountedContact]:
    refused, aliases = _refusals(account_id)
    return rows.filter(contact_id__in=refused.values("contact_id").union(aliases.values("pk")))


def _not_refused(account_id: int, rows: QuerySet[CountedContact]) -> QuerySet[CountedContact]:
    refused, aliases = _refusals(account_id)
    return rows.exclude(Exists(refused.filter(contact_id=OuterRef("contact_id")))).exclude(
        Exists(aliases.filter(pk=OuterRef("contact_id")))
    )


def contact_rows(account_id: int, counted: Sequence[CountedContact]) -> list[dict[str, Any]]:
    """Counted contacts as rows, in the same order: three statements, however many they are.

    A contact that was renamed since stands under the address that counted; the rest is what is known of the person.
    """
    people = _people(account_id, {row.contact_id for row in counted})
    keys = _keys_of(account_id, (link for row in counted for link in row.connections))
    return [_row(row, people[row.contact_id], keys) for row in counted]


class _Person(NamedTuple):
    subject: str
    origin: str
    last_engaged_at: datetime | None
    refused_since: datetime | None


def _people(account_id: int, contacts: Iterable[int]) -> dict[int, _Person]:
    rows = sql.run(
        """SELECT own.id, own.display, person.origin, greatest(person.last_engaged_at, own.last_engaged_at),
                  (SELECT min(refused_since) FROM metering_syncmember AS member
                   WHERE member.account_id = own.account_id AND member.contact_id = person.id)
           FROM metering_contact AS own
           JOIN metering_contact AS person
             ON person.account_id = own.account_id AND person.id = coalesce(own.alias_of_id, own.id)
           WHERE own.account_id = %s AND own.id = ANY(%s::bigint[])""",
        (account_id, sorted(contacts)),
    )
    return {contact: _Person(*facts) for contact, *facts in rows}


def _keys_of(account_id: int, connections: Iterable[int]) -> dict[int, str]:
    found = Connection.objects.filter(account_id=account_id, pk__in=set(connections))
    return dict(found.values_list("pk", "key"))


def _row(counted: CountedContact, person: _Person, keys: dict[int, str]) -> dict[str, Any]:
    given = [
        (reason, keys[link])
        for link, by_events, carried in zip(
            counted.connections, counted.event_reasons, counted.carried_reasons, strict=True
        )
        for reason in reasons_in(by_events | carried)
    ]
    return {
        "subject": person.subject,
        "origin": person.origin or None,
        "carried_in": counted.carried_in,
        "reasons": [{"reason": reason.label, "connection": key} for reason, key in sorted(given)],
        "first": _first(counted),
        "refused_since": person.refused_since,
        "last_engaged_at": person.last_engaged_at,
    }


def _first(counted: CountedContact) -> dict[str, Any] | None:
    """The first cause; None of a contact that is only carried in."""
    if counted.first_at is None or counted.first_type is None:
        return None
    return {
        "time": counted.first_at,
        "connection": counted.first_source,
        "id": counted.first_key,
        "type": BY_CODE[counted.first_type].name,
    }


def why(account: Account, subject: str) -> dict[str, Any]:
    """Every period that counts a contact, in either contact unit, and why; the newest first.

    Any address of the contact means all of them. Raises `Refused` (`not_found`: nobody is known by it).
    """
    with sql.one_snapshot():
        contact = _known(account.pk, subject)
        aliases = Contact.objects.filter(account_id=account.pk, alias_of_id=contact.pk)
        periods = BillingPeriod.objects.filter(account_id=account.pk).in_bulk()
        counted = CountedContact.objects.filter(
            account_id=account.pk,
            period_id__in=list(periods),
            unit__in=list(ContactUnit),
            contact_id__in=[contact.pk, *aliases.values_list("pk", flat=True)],
        )
        rows = sorted(
            counted, key=lambda row: (-periods[row.period_id].starts_at.timestamp(), row.unit, row.contact_id)
        )
        shown = contact_rows(account.pk, rows)
    return {
        "subject": contact.display,
        "periods": [
            {"start": periods[row.period_id].starts_at, "unit": row.get_unit_display(), **each}
            for row, each in zip(rows, shown, strict=True)
        ],
    }


def _known(account_id: int, subject: str) -> Contact:
    try:
        identity = normalise(subject)
    except BadSubject:
        raise missing() from None
    named = Contact.objects.filter(account_id=account_id, identity=identity).select_related("alias_of").first()
    if named is None:
        raise missing()
    return named.alias_of or named
