"""Who counts, and why."""

from typing import Final

from billing_site.api.contacts import Contacts, Export, OneContact
from billing_site.api.description.operation import Link, Operation
from billing_site.api.description.values import (
    Schema,
    instant,
    many,
    one_of,
    or_null,
    page_of,
    record,
    text,
    yes_or_no,
)
from billing_site.api.description.words import REASONS, TYPES
from metering.catalogue import ORIGINS

TAG: Final = "Contacts"

_SUBJECT: Final = text("The contact, by its mail address or channel user id as first spelt.", "ann@example.com")
_CONNECTION: Final = text("The key of the connection.", "mailchimp-pipedrive")
_WHY: Final[dict[str, Schema]] = {
    "origin": or_null(one_of("Where the lead came from, as first told.", "ad", ORIGINS), "nobody told"),
    "carried_in": yes_or_no("Whether it counted at once when the period opened.", False),
    "reasons": many(
        "All that it counts for.",
        record(
            "A reason, on a connection.",
            {"reason": one_of("Why it counts.", "email_opened", REASONS), "connection": _CONNECTION},
        ),
    ),
    "first": or_null(
        record(
            "The event that made it count first, by its time.",
            {
                "time": instant("When it happened."),
                "connection": _CONNECTION,
                "id": text("The `id` of the event.", "evt-1"),
                "type": one_of("The type of the event.", "engagement.email_opened", TYPES),
            },
        ),
        "it is only carried in",
    ),
    "refused_since": or_null(
        instant("Since when a destination refuses it."), "none does at present", example_is_null=True
    ),
    "last_engaged_at": or_null(instant("When it engaged last."), "it never did"),
}

SCHEMAS: Final[dict[str, Schema]] = {
    "CountedContact": record("A contact that counts in a billing period.", {"subject": _SUBJECT, **_WHY}),
    "CountedContactPage": page_of("CountedContact", "counted contacts, in the order in which they became known."),
    "CountedContactsAsCsv": text(
        "A header and a line per contact. `reasons` are `reason:connection`, with a space between them.",
        "subject,origin,carried_in,reasons,first_time,first_connection,first_id,first_type,refused_since,last_engaged_at"
        "\r\nann@example.com,ad,false,email_opened:mailchimp-pipedrive,2026-11-22T10:00:00Z,mailchimp-pipedrive,evt-1,"
        "engagement.email_opened,,2026-11-22T10:00:00Z\r\n",
    ),
    "WhyItCounts": record(
        "Why a contact counts or has counted.",
        {
            "subject": _SUBJECT,
            "periods": many(
                "Every billing period that counts it, by unit, the newest first.",
                record(
                    "A period that counts it.",
                    {
                        "start": instant("The start of the period.", "2026-11-01T00:00:00Z"),
                        "unit": one_of("In which unit.", "active_contacts", ["active_contacts", "activated_contacts"]),
                        "subject": _SUBJECT,
                        **_WHY,
                    },
                ),
            ),
        },
    ),
}

OPERATIONS: Final = {
    (Contacts, "GET"): Operation(
        id="listContacts",
        tag=TAG,
        summary="List the counted contacts of a period",
        text="In the unit of the plan, in the order in which they became known; with a reason and a connection, those "
        "that count for this reason on this connection.",
        answers={200: ("CountedContactPage", "A page of counted contacts.")},
        locks=True,
        links=[
            Link("getContact", {"account": "$request.query.account", "subject": "$response.body#/results/0/subject"})
        ],
    ),
    (Export, "GET"): Operation(
        id="exportContacts",
        tag=TAG,
        summary="Get the counted contacts of a period as a file",
        text="CSV, however many there are. A cell that a spreadsheet would run begins with an apostrophe.",
        answers={200: ("CountedContactsAsCsv", "The file.")},
        media_type="text/csv",
        headers={
            "Content-Disposition": text("What to call it.", 'attachment; filename="contacts-acme-2026-11-01.csv"')
        },
        locks=True,
    ),
    (OneContact, "GET"): Operation(
        id="getContact",
        tag=TAG,
        summary="See why a contact counts",
        text="In every billing period, in either contact unit, the newest first.",
        answers={200: ("WhyItCounts", "The contact.")},
        locks=True,
    ),
}
