"""The lists that an account reads: subscriptions, plans, mails, gaps, what is held."""

from typing import Final

from accounts.models import AtLimitPolicy
from billing_site.api.description.operation import Operation
from billing_site.api.description.values import (
    Schema,
    instant,
    many,
    number,
    one_of,
    or_null,
    page_of,
    record,
    text,
    yes_or_no,
)
from billing_site.api.description.words import TYPES, UNIT, UNITS
from billing_site.api.ledgers import Gaps, Held, Notifications, Plans, Subscriptions
from metering.models import GapReason
from notifications.models import Kind, NotificationState
from plans.models import PeriodRule

TAG: Final = "Ledgers"

_LIMIT: Final = or_null(number("The limit in a billing period, in the unit of the plan.", 1_000, least=1), "unlimited")
_PRICE: Final = text("The price of a billing period, in EUR, as a decimal.", "29.00", pattern=r"^[0-9]+\.[0-9]{2}$")

SCHEMAS: Final[dict[str, Schema]] = {
    "Subscription": record(
        "An account on a tier for a time.",
        {
            "plan": text("The key of the plan.", "connect"),
            "tier": text("The key of the tier.", "starter"),
            "unit": one_of(UNIT, "active_contacts", UNITS),
            "limit": _LIMIT,
            "price": _PRICE,
            "from": instant("From when on.", "2026-03-01T00:00:00Z"),
            "to": or_null(instant("Until when, exclusive."), "no end is known", example_is_null=True),
            "reason": text("Why it began, in a word or as who asked put it.", "sign-up"),
        },
    ),
    "SubscriptionPage": page_of("Subscription", "subscriptions, the newest first, also what is to begin."),
    "Plan": record(
        "A plan: what is charged by, and in which steps.",
        {
            "key": text("What the plan is called.", "connect"),
            "unit": one_of(UNIT, "active_contacts", UNITS),
            "period_rule": one_of(
                "How billing periods run: from the anchor's day of the month on, or by calendar month.",
                "anniversary",
                PeriodRule.values,
            ),
            "at_limit": one_of("What happens at the limit.", "by_replayability", AtLimitPolicy.values),
            "grace_hours": number("For how many hours after its end a period accepts its own events.", 24),
            "tiers": many(
                "Its tiers, the lowest first.",
                record(
                    "A step of a plan.",
                    {
                        "key": text("What the tier is called.", "starter"),
                        "limit": _LIMIT,
                        "price": _PRICE,
                        "trial": yes_or_no("Whether it is for trying.", False),
                    },
                ),
            ),
        },
    ),
    "PlanPage": page_of("Plan", "plans by key."),
    "Notification": record(
        "A mail to the account.",
        {
            "kind": one_of("What it tells.", "threshold", Kind.values),
            "period_start": or_null(
                instant("The start of the billing period that it is about.", "2026-11-01T00:00:00Z"), "of no period"
            ),
            "limit": or_null(number("The limit that it is about, in the unit of the plan.", 1_000, least=1), "of none"),
            "percent": or_null(
                {**number("The threshold that it tells of, in per cent of the limit.", 80), "enum": [80, 100]},
                "of none",
            ),
            "created_at": instant("When it was written."),
            "state": one_of(
                "Whether it was sent. `historical` ones tell of imported history and are never sent.",
                "sent",
                NotificationState.values,
            ),
            "sent_at": or_null(instant("When it was sent.", "2026-11-22T10:00:02Z"), "it was not sent"),
        },
    ),
    "NotificationPage": page_of("Notification", "mails, the newest first."),
    "Gap": record(
        "What was lost in a time, on one connection and of one type.",
        {
            "from": instant("From when on."),
            "to": or_null(instant("Until when.", "2026-11-22T11:30:00Z"), "it still is"),
            "reason": one_of(
                "Why: the pause that dropped it, or that it was held for too long (`given_up`) or of a person who was "
                "forgotten (`erased`).",
                "limit_reached",
                GapReason.values,
            ),
            "connection": text("The key of the connection.", "pipedrive-mailchimp"),
            "type": one_of("The type of the events.", "contact.updated_in_marketing", TYPES),
            "events": number("Events that were lost, each id once.", 31),
            "attempts": number("How often they came.", 35),
        },
    ),
    "GapPage": page_of("Gap", "gaps, the newest first."),
    "HeldEvent": record(
        "An event that is held at the limit.",
        {
            "id": text("The `id` of the event.", "evt-4"),
            "connection": text("The key of the connection, the event's `source`.", "pipedrive-mailchimp"),
            "type": one_of("The type of the event.", "contact.created_in_marketing", TYPES),
            "subject": text("The contact, by the name that it goes by now.", "cyd@example.com"),
            "time": instant("When it happened."),
            "held_at": instant("Since when it is held.", "2026-11-22T10:00:01Z"),
        },
    ),
    "HeldPage": page_of("HeldEvent", "held events in the order in which they will be replayed."),
}

OPERATIONS: Final = {
    (Subscriptions, "GET"): Operation(
        id="listSubscriptions",
        tag=TAG,
        summary="List the subscriptions",
        text="Which tier from when to when, the newest first, also what is to begin.",
        answers={200: ("SubscriptionPage", "A page of subscriptions.")},
        locks=True,
    ),
    (Plans, "GET"): Operation(
        id="listPlans",
        tag=TAG,
        summary="List the plans",
        text="The plans that an account could be on, the same for every account, by key.",
        answers={200: ("PlanPage", "A page of plans.")},
    ),
    (Notifications, "GET"): Operation(
        id="listNotifications",
        tag=TAG,
        summary="List the mails",
        text="What the account was told by mail, the newest first.",
        answers={200: ("NotificationPage", "A page of mails.")},
    ),
    (Gaps, "GET"): Operation(
        id="listGaps",
        tag=TAG,
        summary="List what was lost",
        text="What pauses have dropped and what was given up, the newest first.",
        answers={200: ("GapPage", "A page of gaps.")},
    ),
    (Held, "GET"): Operation(
        id="listHeld",
        tag=TAG,
        summary="List what is held",
        text="Events that would have raised the count above the limit, in the order in which they will be replayed.",
        answers={200: ("HeldPage", "A page of held events.")},
    ),
}
