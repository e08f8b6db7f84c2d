"""What an account has used."""

from typing import Final

from billing_site.api.description.operation import Link, Operation
from billing_site.api.description.values import (
    Schema,
    day,
    either,
    instant,
    many,
    number,
    one_of,
    or_null,
    page_of,
    record,
    tally,
    text,
    yes_or_no,
)
from billing_site.api.description.words import ACTIONS, OUTCOMES, REASONS, STATE, STATES, TYPES, UNIT, UNITS
from billing_site.api.usage import ConnectionStatus, Daily, OnePeriod, Periods, Usage
from billing_site.api.what_if import WhatIf
from metering.limits import THRESHOLDS
from metering.models import PeriodState

TAG: Final = "Usage"

_PLAN: Final = text("The key of the plan.", "connect")
_TIER: Final = text("The key of the tier.", "starter")
_UNIT: Final = one_of(UNIT, "active_contacts", UNITS)
_USED: Final = number("How much is counted, in the unit of the plan.", 812)
_LIMIT: Final = or_null(number("The limit, in the unit of the plan.", 1_000, least=1), "unlimited")
_START: Final = instant("Its start, inclusive.", "2026-11-01T00:00:00Z")
_END: Final = instant("Its end, exclusive; then the count begins anew.", "2026-12-01T00:00:00Z")
_STATE_OF_PERIOD: Final = one_of(
    "`open`; `ended`: in its grace, it still accepts its own events; `closed`: frozen.", "open", PeriodState.values
)
_CARRIED_IN: Final = number(
    "Contacts that counted at once when the period opened, as members of a sync or with a live score.", 640
)
_NEW: Final = number("What came since then: `used` less `carried_in`.", 172)
_TOTALS: Final = record(
    "The count in each unit, whatever the plan charges by.",
    {
        "app_connector_events": number("Billable events.", 1_930),
        "active_contacts": number("Active contacts.", 812),
        "activated_contacts": number("Activated contacts.", 17),
    },
)
_CONNECTION: Final = text("The key of the connection.", "pipedrive-mailchimp")
_REASON: Final = one_of("Why they count.", "contact_sync", REASONS)
_CONTACTS: Final = number("Contacts that count for this; a contact may stand in several rows.", 640)
_ONLY_HERE: Final = number("Contacts of these that would not count without it.", 410)
_EVENTS: Final = number("Billable events; the rows sum up to `used`.", 1_930)
_TYPE: Final = one_of("The type of the events.", "engagement.email_opened", TYPES)
_BY_TYPE: Final = tally("Events by type.", {"engagement.email_opened": 31, "contact.matched": 4}, TYPES)
_CONTACT_EVENTS: Final = number("Billable events of the contact family.", 120)
_ENGAGEMENT_EVENTS: Final = number("Billable events of the engagement family.", 31)

SCHEMAS: Final[dict[str, Schema]] = {
    "Usage": record(
        "Usage in the current billing period.",
        {
            "account": text("The slug of the account.", "acme"),
            "plan": _PLAN,
            "tier": _TIER,
            "unit": _UNIT,
            "period": record(
                "The billing period.",
                {
                    "start": _START,
                    "end": _END,
                    "state": _STATE_OF_PERIOD,
                    "provisional": yes_or_no(
                        "Whether what was carried in may still be corrected, as the period before is not closed.", False
                    ),
                },
            ),
            "used": _USED,
            "limit": _LIMIT,
            "remaining": or_null(number("What is left, in the unit of the plan; never below 0.", 188), "unlimited"),
            "percent": or_null(
                number("Used, in per cent of the limit, rounded down; may exceed 100.", 81), "unlimited"
            ),
            "state": one_of(STATE, "warning", STATES),
            "carried_in": _CARRIED_IN,
            "new": _NEW,
            "by_reason": many(
                "Where the number comes from, the largest first: contacts by reason, or events by type.",
                either(
                    "A reason or a type.",
                    record("Contacts by reason.", {"reason": _REASON, "contacts": _CONTACTS, "only_here": _ONLY_HERE}),
                    record("Events by type.", {"type": _TYPE, "events": _EVENTS}),
                ),
            ),
            "by_connection": many(
                "Where the number comes from, the largest first: contacts or events by connection.",
                either(
                    "A connection.",
                    record(
                        "Contacts of a connection.",
                        {"connection": _CONNECTION, "contacts": _CONTACTS, "only_here": _ONLY_HERE},
                    ),
                    record("Events of a connection.", {"connection": _CONNECTION, "events": _EVENTS}),
                ),
            ),
            "totals": _TOTALS,
            "contacts_known": number("Contacts that were ever heard of.", 1_204),
            "outcomes": tally(
                "Deliveries in this period by what became of them, duplicates included.",
                {"recorded": 2_310, "duplicate": 12},
                OUTCOMES,
            ),
            "thresholds": many(
                "The thresholds that were crossed, in order.",
                record(
                    "A threshold that was crossed.",
                    {
                        "percent": {
                            **number("The threshold, in per cent of the limit.", 80),
                            "enum": list(THRESHOLDS),
                        },
                        "limit": number("The limit of then, in the unit of the plan.", 1_000, least=1),
                        "crossed_at": instant("When it was crossed.", "2026-11-20T08:12:09Z"),
                        "notified_at": or_null(
                            instant("When the mail that tells of it was sent.", "2026-11-20T08:12:11Z"), "not yet"
                        ),
                    },
                ),
            ),
            "forecast": record(
                "Where the count will stand at the end of the period, by its own curve.",
                {
                    "used_at_period_end": or_null(
                        number("How much will be counted, in the unit of the plan, if all goes on as it does.", 960),
                        "too early to tell, in the first week",
                    ),
                    "limit_reached_on": or_null(
                        day("The local day on which the limit is or was reached.", "2026-11-29"),
                        "not in this period, or too early to tell",
                        example_is_null=True,
                    ),
                },
            ),
            "at_limit": record(
                "What happens at the limit, and what decides it.",
                {
                    "action": or_null(
                        one_of(
                            "What is done with what would exceed the limit: `upgrade`, `hold` it, `pause` everything, "
                            "or `limit_new`, serving no new contacts.",
                            "hold",
                            ACTIONS,
                        ),
                        "unlimited",
                    ),
                    "because": many(
                        "Every enabled connection; if the policy is by replayability, one that is not replayable makes "
                        "it an upgrade.",
                        record(
                            "A connection that has a say.",
                            {
                                "connection": _CONNECTION,
                                "replayable": yes_or_no("Whether what it sends can be read again later.", True),
                            },
                        ),
                    ),
                },
            ),
        },
    ),
    "Day": record(
        "What a local day added.",
        {
            "date": day("The local day."),
            "new_counted": number(
                "What it added to the count, in the unit of the plan, by the first cause; what was carried in is in no "
                "day.",
                9,
            ),
            "events": number("Recorded events.", 35),
            "by_type": _BY_TYPE,
        },
    ),
    "DayPage": page_of("Day", "local days, the oldest first."),
    "Period": record(
        "A billing period.",
        {
            "start": _START,
            "end": _END,
            "state": _STATE_OF_PERIOD,
            "plan": _PLAN,
            "tier": _TIER,
            "unit": _UNIT,
            "used": _USED,
            "limit": _LIMIT,
            "carried_in": _CARRIED_IN,
            "new": _NEW,
            "totals": _TOTALS,
            "checksum": or_null(
                text("Of the totals and the breakdown, frozen when it was closed.", "3f1c…"),
                "it is not closed",
                example_is_null=True,
            ),
        },
    ),
    "WhatIf": record(
        "The current billing period counted again with one thing changed.",
        {
            "used": _USED,
            "would_be": number("What would be counted, in the unit of the plan.", 741),
            "saved": number("The difference; never too much.", 71),
        },
    ),
    "PeriodPage": page_of("Period", "billing periods, the newest first."),
    "ConnectionStatus": record(
        "What a connection did on whole local days.",
        {
            "connection": _CONNECTION,
            "from": day("The first local day, inclusive.", "2026-11-01"),
            "to": day("The last local day, inclusive.", "2026-11-22"),
            "contact_events": _CONTACT_EVENTS,
            "engagement_events": _ENGAGEMENT_EVENTS,
            "by_type": _BY_TYPE,
            "daily": many(
                "Every day, the oldest first.",
                record(
                    "A day.",
                    {
                        "date": day("The local day."),
                        "contact_events": _CONTACT_EVENTS,
                        "engagement_events": _ENGAGEMENT_EVENTS,
                        "by_type": _BY_TYPE,
                    },
                ),
                maxItems=400,
            ),
        },
    ),
}

OPERATIONS: Final = {
    (Usage, "GET"): Operation(
        id="getUsage",
        tag=TAG,
        summary="See the usage in the current billing period",
        text="How much of what, of which limit, why, and what happens at the limit.",
        answers={200: ("Usage", "The usage.")},
        locks=True,
        links=[Link("getPeriod", {"account": "$response.body#/account", "start": "$response.body#/period/start"})],
    ),
    (Daily, "GET"): Operation(
        id="listDays",
        tag=TAG,
        summary="See the usage day by day",
        text="What each whole local day added, the oldest first. A day on which one period ends and the next begins "
        "has what it added to both; but for that, the days of a period sum up to its `new`.",
        answers={200: ("DayPage", "A page of days.")},
        refuses=["from_after_to", "too_many_days"],
    ),
    (WhatIf, "GET"): Operation(
        id="seeWhatIf",
        tag=TAG,
        summary="See what would be used without something",
        text="How to use less, with the exact saving: ask for one of `without_reason`, `without_connection` and "
        "`score_expiry_days`.",
        answers={200: ("WhatIf", "The saving.")},
        refuses=["one_change"],
        locks=True,
    ),
    (Periods, "GET"): Operation(
        id="listPeriods",
        tag=TAG,
        summary="List the billing periods",
        text="The newest first.",
        answers={200: ("PeriodPage", "A page of billing periods.")},
        locks=True,
        links=[Link("getPeriod", {"account": "$request.query.account", "start": "$response.body#/results/0/start"})],
    ),
    (OnePeriod, "GET"): Operation(
        id="getPeriod",
        tag=TAG,
        summary="See a billing period",
        text="By its start.",
        answers={200: ("Period", "The billing period.")},
        locks=True,
    ),
    (ConnectionStatus, "GET"): Operation(
        id="getConnectionStatus",
        tag=TAG,
        summary="See what a connection did",
        text="Recorded events by type and day, on whole local days of the account, both inclusive.",
        answers={200: ("ConnectionStatus", "What the connection did.")},
        refuses=["from_after_to", "too_many_days"],
    ),
}
