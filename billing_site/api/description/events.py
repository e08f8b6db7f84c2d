"""Posting events, and taking one back."""

from typing import Any, Final

from billing_site.api.description import problems
from billing_site.api.description.forms import schema_of
from billing_site.api.description.operation import Body, Link, Operation, object_of
from billing_site.api.description.values import (
    Schema,
    connection_key,
    either,
    instant,
    many,
    number,
    one_of,
    or_null,
    printable,
    record,
    ref,
    slug,
    tally,
    text,
)
from billing_site.api.description.words import OUTCOMES, STATE, STATES, TYPES, UNIT, UNITS
from billing_site.api.events import Events
from billing_site.api.people import VoidEvent, VoidFields
from metering.envelope import MAX_EVENTS
from metering.limits import THRESHOLDS
from metering.models import EventState

TAG: Final = "Events"

_OPENED: Final = {
    "specversion": "1.0",
    "id": "evt-1",
    "source": "mailchimp-pipedrive",
    "type": "engagement.email_opened",
    "subject": "ann@example.com",
    "time": "2026-11-22T10:00:00Z",
    "account": "acme",
}
_SCORED: Final = _OPENED | {"id": "evt-2", "source": "scoring", "type": "score.set", "data": {"value": 40}}

_IGNORED: Final = "Allowed, and ignored."
_REFUSAL_CODES: Final = (
    "Why, for programs. Of the form: `missing_attribute`, `wrong_type`, `unsupported_specversion`, `blank`, "
    "`too_long`, `bad_characters`, `bad_address`, `bad_time`, `unknown_attribute`, `unsupported_datacontenttype`, "
    "`bad_data`, `too_large`, `not_an_object`. Of what is named: `unknown_type`, `unknown_source`, `unknown_account`. "
    "Of the circumstances: `too_far_ahead`, `too_old`, `before_sign_up`, `connection_disabled`, `account_closed`. Of a "
    "conflict: `conflict`."
)


def _item(outcome: str, words: list[str], **more: Schema) -> Schema:
    return record(
        outcome,
        {
            "index": number("Its place in the batch, from 0.", 1),
            "id": or_null(text("The id of the event.", "evt-1"), "it could not be read"),
            "outcome": one_of("What became of it.", words[0], words),
            **more,
        },
    )


_DETAIL: Final = text("Why, in a sentence for people.", '"engagement.email_open" is no type; did you mean …?')

SCHEMAS: Final[dict[str, Schema]] = {
    "Event": record(
        "One thing that a connection did, as a CloudEvent 1.0. Other attributes than these are refused.",
        {
            "specversion": text("The version of CloudEvents.", "1.0", const="1.0"),
            "id": printable(
                "Unique among the events of its `source`, at most 255 bytes: the same again is a duplicate and counts "
                "nothing.",
                "evt-1",
                255,
            ),
            "source": connection_key("The key of the connection that did it.", "mailchimp-pipedrive"),
            "type": one_of("What it did.", "engagement.email_opened", TYPES),
            "subject": printable(
                "The contact: a mail address or, without an `@`, a channel user id. An address may be in any case.",
                "ann@example.com",
                320,
            ),
            "time": instant(
                "When it happened, with an offset: at most 35 days ago, and at most 5 minutes ahead. It decides in "
                "which billing period the event counts."
            ),
            "account": slug("The account. An operator key must name it, an account key may."),
            "data": {
                "type": "object",
                "description": "What the type needs: `value` (a number) and perhaps `expires_at` (a time) of a "
                "`score.set`, `from` (the old address) of a `contact.renamed`, `origin` (organic, ad, collaboration) "
                "of a `crm.lead_captured`. Otherwise anything, up to 64 KiB, 16 levels and 1,000 keys.",
                "examples": [{"value": 40, "expires_at": "2027-02-01T00:00:00Z"}],
            },
            "datacontenttype": text("What `data` is.", "application/json", const="application/json"),
            "dataschema": text(_IGNORED, "https://example.com/schema.json"),
            "traceparent": text(_IGNORED, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            "tracestate": text(_IGNORED, "rojo=00f067aa0ba902b7"),
            "partitionkey": text(_IGNORED, "acme"),
        },
        optional=["account", "data", "datacontenttype", "dataschema", "traceparent", "tracestate", "partitionkey"],
    ),
    "EventBatch": many(
        "A batch, decided event by event in its order.",
        ref("Event"),
        maxItems=MAX_EVENTS,
        examples=[[_OPENED, _SCORED]],
    ),
    "Receipt": record(
        "What became of a batch.",
        {
            "received": number("Events in the batch: the sum of the outcomes.", 3),
            "outcomes": tally("Events by outcome.", {"recorded": 1, "duplicate": 1, "rejected": 1}, OUTCOMES),
            "items": many(
                "All that was not plainly `recorded`, in the order of the batch.",
                either(
                    "An event that was not plainly recorded.",
                    _item(
                        "It is stored already; nothing was counted.",
                        ["duplicate"],
                        first=one_of(
                            "What the stored event is now.", "recorded", [state.label for state in EventState]
                        ),
                    ),
                    _item(
                        "It was refused.",
                        ["rejected", "conflict"],
                        code=text(_REFUSAL_CODES, "unknown_type"),
                        field=or_null(text("The attribute at fault.", "type"), "the item is no object"),
                        detail=_DETAIL,
                    ),
                    _item(
                        "`held`: counted when there is room. `limited`: a new contact that is not served. `late`: its "
                        "period is closed. `dropped`: lost in a pause. `ignored`: switched off on the connection.",
                        ["held", "limited", "late", "dropped", "ignored"],
                        detail=_DETAIL,
                    ),
                ),
                maxItems=MAX_EVENTS,
            ),
            "usage": {
                "type": "object",
                "description": "Where each account of the batch stands now, by its slug. Only for a key that may read.",
                "additionalProperties": ref("UsageSummary"),
                "examples": [{"acme": {"unit": "active_contacts", "used": 812, "limit": 1000, "state": "warning"}}],
            },
            "would": {
                "type": "object",
                "description": "Of a dry run: what the batch would do to each account, by its slug.",
                "additionalProperties": ref("WouldBe"),
                "examples": [{"acme": {"thresholds": [80], "upgrade": None, "state": "warning"}}],
            },
        },
        optional=["usage", "would"],
    ),
    "UsageSummary": record(
        "Where an account stands in its current billing period.",
        {
            "unit": one_of(UNIT, "active_contacts", UNITS),
            "used": number("How much is counted, in that unit.", 812),
            "limit": or_null(number("The limit, in that unit.", 1_000, least=1), "unlimited"),
            "state": one_of(STATE, "warning", STATES),
        },
    ),
    "WouldBe": record(
        "What a batch would do to an account.",
        {
            "thresholds": many(
                "The thresholds that it would cross, in per cent of the limit.",
                {"type": "integer", "enum": list(THRESHOLDS)},
                examples=[[80]],
            ),
            "upgrade": or_null(
                text("The key of the tier to which the account would be upgraded.", "growth"),
                "it would stay",
                example_is_null=True,
            ),
            "state": one_of(STATE, "warning", STATES),
        },
    ),
    "VoidRequest": schema_of(
        VoidFields,
        {
            "source": connection_key("The `source` of the event."),
            "id": text("The `id` of the event.", "evt-1"),
            "reason": text("Why, for the audit trail.", "sent twice under two ids"),
            "account": slug("The account, if the query does not name it."),
        },
    ),
    "Voided": record(
        "An event that is taken back.",
        {
            "source": text("The `source` of the event.", "pipedrive-mailchimp"),
            "id": text("The `id` of the event.", "evt-1"),
            "state": text("What the event is now.", "voided", const="voided"),
            "voided_at": instant("When it was taken back first."),
        },
    ),
}

_ONE: Final[dict[str, Any]] = {"An opened mail": _OPENED}
_BATCH: Final[dict[str, Any]] = {"An opened mail and a score": [_OPENED, _SCORED], "Nothing": []}

OPERATIONS: Final = {
    (Events, "POST"): Operation(
        id="postEvents",
        tag=TAG,
        summary="Take in one event or a batch",
        text="The answer is 200 whatever became of each event: look at `items`. Sending anything again is safe, and "
        "after a 503 or a lost connection right. An event of an account is taken in before the next; accounts do not "
        "wait for each other.",
        answers={200: ("Receipt", "What became of each event.")},
        body=Body(
            {
                "application/json": (either("An event or a batch.", ref("Event"), ref("EventBatch")), _ONE | _BATCH),
                "application/cloudevents+json": (ref("Event"), _ONE),
                "application/cloudevents-batch+json": (ref("EventBatch"), _BATCH),
            },
            "Up to 10,000 events and 8 MiB, as it is or (`Content-Encoding: gzip`) as gzip, inflated no larger. What "
            "is wrong with an event costs that event alone.",
            problems.OF_EVERY_BODY
            | {"bad_encoding", "empty_body", "too_deep", "bad_json", "not_events", "too_many_events"},
        ),
        locks=True,
    ),
    (VoidEvent, "POST"): Operation(
        id="voidEvent",
        tag=TAG,
        summary="Take back an event",
        text="Its count goes, and the contact's unless something else gives it a reason; what it caused, as a mail or "
        "an upgrade, is not undone. Open and ended billing periods only. Again changes nothing and answers the same.",
        answers={200: ("Voided", "The event is taken back.")},
        body=object_of(
            VoidFields,
            "VoidRequest",
            {"Sent twice": {"source": "pipedrive-mailchimp", "id": "evt-1", "reason": "sent twice", "account": "acme"}},
            "Which event, and why.",
        ),
        refuses=["two_accounts", "not_counted", "period_closed"],
        locks=True,
        links=[Link("getUsage", {"account": "$request.body#/account"})],
    ),
}
