"""Accounts and their connections, as the operator pushes them; their members, and people to be forgotten."""

from typing import Any, Final

from accounts.models import AtLimitPolicy, ConnectionKind
from billing_site.api.accounts import (
    AccountFields,
    Accounts,
    ConnectionFields,
    NoFields,
    OneAccount,
    OneConnection,
    UsageLink,
)
from billing_site.api.connections import Connections
from billing_site.api.description import problems
from billing_site.api.description.forms import schema_of
from billing_site.api.description.operation import Body, Link, Operation, object_of
from billing_site.api.description.values import (
    Schema,
    connection_key,
    instant,
    number,
    one_of,
    or_null,
    page_of,
    record,
    slug,
    tally,
    text,
    yes_or_no,
)
from billing_site.api.description.words import OUTCOMES, STATE, STATES
from billing_site.api.people import LINES, EraseContact, EraseFields, Members

TAG: Final = "Accounts"
TAG_OF_CONNECTIONS: Final = "Connections"

_ACCOUNT: Final[dict[str, Schema]] = {
    "name": text("What people call the account. By default its slug.", "Acme Ltd"),
    "billing_email": text("The main e-mail, which gets all mails; empty: nobody does.", "billing@acme.example"),
    "timezone": text("The time zone of its days and periods. By default UTC.", "Europe/Berlin"),
    "signed_up_at": instant(
        "When it signed up; events before that are refused. By default the start of the current local day. Fixed.",
        "2026-03-01T00:00:00Z",
    ),
    "plan": text(
        "The key of the plan, see `GET plans`. By default by the sign-up date. Changed by upgrade and downgrade alone.",
        "connect",
    ),
    "tier": text("The key of a tier of the plan. By default its lowest that is no trial.", "starter"),
    "anchor": instant(
        "What anniversary periods are counted from. By default the sign-up. Fixed.", "2026-03-01T00:00:00Z"
    ),
    "at_limit": one_of(
        "What happens at the limit. Null: what the plan says.", "by_replayability", AtLimitPolicy.values
    ),
    "auto_upgrade": yes_or_no("Whether the account may be upgraded automatically. By default true.", True),
    "limit_override": {
        **number("A limit of its own instead of the tier's, in the unit of the plan. Null: the tier's.", 1_200),
    },
    "trial_ends_at": instant(
        "When a trial ends; it matters on a tier marked trial. Null: it has no end.", "2026-12-01T00:00:00Z"
    ),
}
_CONNECTION: Final[dict[str, Schema]] = {
    "name": text("What people call the connection. By default its key.", "Pipedrive to Mailchimp"),
    "kind": one_of(
        "What it is. Needed for a new connection, and fixed. Only a `contact_sync` has members.",
        "contact_sync",
        ConnectionKind.values,
    ),
    "source_app": text("The app that data comes from.", "Pipedrive"),
    "destination_app": text("The app that data goes to.", "Mailchimp"),
    "enabled": yes_or_no("Whether it runs. Events of a time when it did not are refused. By default true.", True),
    "record_email_sent": yes_or_no(
        "Whether `engagement.email_sent` counts; if not, such events are ignored. By default true.", True
    ),
    "replayable": yes_or_no(
        "Whether what it sends can be read again later, so that it may be held at the limit. Null: as its kind is "
        "(contact_sync and lead_scoring yes, others no).",
        True,
    ),
    "score_expiry_days": number("After how many days a lead score without an expiry ends. Null: never.", 90),
}


def _row(description: str, first: dict[str, Schema], settings: Schema, last: dict[str, Schema]) -> Schema:
    """What is answered: the settings, all of them, and what is no setting."""
    return record(description, {**first, **settings["properties"], **last})


_ACCOUNT_SETTINGS: Final = schema_of(AccountFields, _ACCOUNT)
_CONNECTION_SETTINGS: Final = schema_of(ConnectionFields, _CONNECTION)
_STATE: Final = {"state": one_of(STATE, "ok", STATES)}
_SLUG: Final = {"slug": slug("What the account is called in addresses.")}

SCHEMAS: Final[dict[str, Schema]] = {
    "AccountSettings": _ACCOUNT_SETTINGS | {"description": "The settings of an account; one that is left out stays."},
    "Account": _row("An account.", _SLUG, _ACCOUNT_SETTINGS, _STATE),
    "AccountThatWasPut": {
        **_row(
            "An account, as it is now.",
            _SLUG,
            _ACCOUNT_SETTINGS,
            {
                **_STATE,
                "warning": text(
                    "What the change will cost at the limit, in words to be shown; only if it takes something away.",
                    "At its limit the account is paused: …",
                ),
            },
        ),
    },
    "AccountPage": page_of("Account", "accounts by slug."),
    "ConnectionSettings": _CONNECTION_SETTINGS
    | {"description": "The settings of a connection; one that is left out stays."},
    "Connection": _row(
        "A connection.", {"key": connection_key("What it is called in addresses and events.")}, _CONNECTION_SETTINGS, {}
    ),
    "ConnectionPage": page_of("Connection", "connections by key."),
    "Nothing": schema_of(NoFields, {}),
    "UsageLink": record(
        "A link to the usage page.",
        {
            "url": text(
                "The address; whoever holds it sees the usage.",
                "https://billing.example.com/usage/?token=WyJhY21lIiwxNzk1NDI4MDAwXQ.…",
                format="uri",
            ),
            "expires_at": instant("Until when it works: a day from now.", "2026-11-23T12:00:00Z"),
        },
    ),
    "MembersAnswer": record(
        "What a list of members changed.",
        {
            "members": number("People on the list, each once.", 2),
            "joined": number("People on the list who were no members before.", 1),
            "left": number("Members before who are not on the list.", 0),
            "outcomes": tally("What became of the events of those who joined and left.", {"recorded": 1}, OUTCOMES),
        },
    ),
    "EraseRequest": schema_of(
        EraseFields,
        {
            "subject": text(
                "The person's mail address or channel user id; any that they are known by.", "ann@example.com"
            ),
            "reason": text("Why, for the audit trail; the address is taken out of it.", "asked on 22 November"),
        },
    ),
    "Erased": record(
        "A person who is forgotten.",
        {
            "erased": {"type": "boolean", "description": "That it is done.", "const": True, "examples": [True]},
            "counted_until": or_null(
                instant(
                    "Until then a period that counts the person is not closed: if they come again, they count once.",
                    "2026-12-02T00:00:00Z",
                ),
                "no such period counts them",
            ),
        },
    ),
}
SCHEMAS["AccountThatWasPut"]["required"].remove("warning")

_OF_ACCOUNT: Final = {"slug": "$request.path.slug"}
_ASKED: Final = {"account": "$request.path.slug"}
_AFTER_ACCOUNT: Final = [
    Link("getAccount", _OF_ACCOUNT),
    Link("putAccount", _OF_ACCOUNT),
    Link("putConnection", _OF_ACCOUNT),
    Link("makeUsageLink", _OF_ACCOUNT),
    *(Link(each, _OF_ACCOUNT) for each in ("pauseAccount", "resumeAccount", "upgradeAccount", "downgradeAccount")),
    *(Link(each, _OF_ACCOUNT) for each in ("replayHeld", "closeAccount", "eraseContact")),
    Link("getUsage", _ASKED),
    Link("listPeriods", _ASKED),
    Link("listDays", _ASKED),
    Link("listContacts", _ASKED),
    Link("listConnections", _ASKED),
    Link("listSubscriptions", _ASKED),
    Link("listNotifications", _ASKED),
    Link("listGaps", _ASKED),
    Link("listHeld", _ASKED),
]
_OF_CONNECTION: Final = {"slug": "$request.path.slug", "key": "$request.path.key"}
_AFTER_CONNECTION: Final = [
    Link("getConnection", _OF_CONNECTION),
    Link("putConnection", _OF_CONNECTION),
    Link("putMembers", _OF_CONNECTION),
    Link("getConnectionStatus", {"key": "$request.path.key", "account": "$request.path.slug"}),
]
_LINES: Final = '{"subject": "ann@example.com"}\n{"subject": "bob@example.com"}\n'
_OF_LINES: Final = {
    "too_long",
    "bad_json",
    "not_an_object",
    "unknown_field",
    "wrong_type",
    "missing_field",
    "blank",
    "bad_characters",
    "bad_address",
    "too_many_lines",
}
_LIST: Final[Schema] = text(
    'A JSON text a line, each `{"subject": …}`: a mail address or channel user id. At most 1,000,000 lines of 16 KiB '
    "and 256 MiB in all. Blank lines count for nothing.",
    _LINES,
)
_EXAMPLE_OF_LINES: Final[dict[str, Any]] = {"Two members": _LINES, "Nobody": ""}

OPERATIONS: Final = {
    (Accounts, "GET"): Operation(
        id="listAccounts",
        tag=TAG,
        summary="List the accounts",
        text="By slug.",
        answers={200: ("AccountPage", "A page of accounts.")},
        links=[Link("getAccount", {"slug": "$response.body#/results/0/slug"})],
    ),
    (OneAccount, "GET"): Operation(
        id="getAccount",
        tag=TAG,
        summary="See an account",
        text="Its settings, and how it stands.",
        answers={200: ("Account", "The account.")},
        links=[Link("getUsage", _ASKED)],
    ),
    (OneAccount, "PUT"): Operation(
        id="putAccount",
        tag=TAG,
        summary="Make an account, or change its settings",
        text="What is left out keeps its value, so a nightly push is fine; `plan`, `tier`, `anchor` and `signed_up_at` "
        "may be repeated, not changed. A changed limit, policy or trial takes effect at once.",
        answers={
            200: ("AccountThatWasPut", "The account existed; it is as you say now."),
            201: ("AccountThatWasPut", "The account was made."),
        },
        body=object_of(
            AccountFields,
            "AccountSettings",
            {
                "A new account": {
                    "name": "Acme Ltd",
                    "billing_email": "billing@acme.example",
                    "timezone": "Europe/Berlin",
                    "plan": "connect",
                    "tier": "starter",
                },
                "Another limit, and hold there": {"limit_override": 1_200, "at_limit": "hold"},
                "Out of automatic upgrades": {"auto_upgrade": False},
            },
            "The settings to be set.",
        ),
        refuses=["bad_slug", "unknown_plan", "unknown_tier", "fixed", "use_upgrade_or_downgrade"],
        locks=True,
        creates=True,
        links=_AFTER_ACCOUNT,
    ),
    (UsageLink, "POST"): Operation(
        id="makeUsageLink",
        tag=TAG,
        summary="Make a link to the usage page",
        text="Whoever holds the link sees the usage of the account, for a day, without a key.",
        answers={200: ("UsageLink", "The link.")},
        body=object_of(NoFields, "Nothing", {"Nothing": {}}, "Nothing, or an empty object.", required=False),
    ),
    (EraseContact, "POST"): Operation(
        id="eraseContact",
        tag=TAG,
        summary="Forget a person",
        text="Under all of their addresses: who it was goes, what was counted stays. Again changes nothing.",
        answers={200: ("Erased", "The person is forgotten.")},
        body=object_of(
            EraseFields,
            "EraseRequest",
            {"By address": {"subject": "ann@example.com", "reason": "asked on 22 November"}},
            "Who, and perhaps why.",
        ),
        refuses=["bad_address"],
        locks=True,
    ),
    (Connections, "GET"): Operation(
        id="listConnections",
        tag=TAG_OF_CONNECTIONS,
        summary="List the connections of an account",
        text="Their settings, by key.",
        answers={200: ("ConnectionPage", "A page of connections.")},
        links=[
            Link(
                "getConnectionStatus",
                {"account": "$request.query.account", "key": "$response.body#/results/0/key"},
            )
        ],
    ),
    (OneConnection, "GET"): Operation(
        id="getConnection",
        tag=TAG_OF_CONNECTIONS,
        summary="See a connection",
        text="Its settings.",
        answers={200: ("Connection", "The connection.")},
    ),
    (OneConnection, "PUT"): Operation(
        id="putConnection",
        tag=TAG_OF_CONNECTIONS,
        summary="Make a connection, or change its settings",
        text="What is left out keeps its value. A connection is never deleted: disable it.",
        answers={
            200: ("Connection", "The connection existed; it is as you say now."),
            201: ("Connection", "The connection was made."),
        },
        body=object_of(
            ConnectionFields,
            "ConnectionSettings",
            {
                "A new connection": {
                    "kind": "contact_sync",
                    "name": "Pipedrive to Mailchimp",
                    "source_app": "Pipedrive",
                    "destination_app": "Mailchimp",
                },
                "Switched off": {"enabled": False},
            },
            "The settings to be set.",
        ),
        refuses=["bad_key", "missing_field", "fixed"],
        locks=True,
        links=_AFTER_CONNECTION,
    ),
    (Members, "PUT"): Operation(
        id="putMembers",
        tag=TAG_OF_CONNECTIONS,
        summary="Say who all members of a contact sync are",
        text="Those listed are *all* members now: who is new joins (`contact.matched`), who is missing leaves "
        "(`contact.unmatched`), with the same outcomes and limits as any event. The list is read whole before anything "
        "changes: a bad line, which is named, or a broken body changes nothing. After a 503 the same list again does "
        "the rest.",
        answers={200: ("MembersAnswer", "Those listed are the members now.")},
        body=Body(
            dict.fromkeys(LINES, (_LIST, _EXAMPLE_OF_LINES)),
            "All members, a line each, as it is or (`Content-Encoding: gzip`) as gzip.",
            problems.OF_EVERY_BODY | _OF_LINES,
        ),
        refuses=["not_a_contact_sync"],
        locks=True,
    ),
}
