"""The parameters of addresses and queries: one place that says what each means."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from billing_site.api.description.values import (
    Schema,
    connection_key,
    day,
    instant,
    number,
    one_of,
    slug,
    text,
    yes_or_no,
)
from billing_site.api.description.words import REASONS, TYPES

IN_PATH: Final[Mapping[str, Schema]] = {
    "slug": slug("The slug of the account."),
    "key": connection_key("The key of the connection."),
    "subject": text(
        "Any mail address or channel user id of the contact, escaped as addresses need it.", "ann@example.com"
    ),
    "start": instant(
        "The whole `start` of the billing period, as a row of the periods has it.", "2026-11-01T00:00:00Z"
    ),
}

IN_QUERY: Final[Mapping[str, Schema]] = {
    "account": slug(
        "The slug of the account that is asked about. An operator key must name one; an account key may name its own."
    ),
    "connection": connection_key("Only what this connection gives a reason for."),
    "cursor": text("Where in the list the page begins: part of the addresses `next` and `previous`.", "W3RydWVd:…"),
    "dry_run": {**yes_or_no("Answer as if, and write nothing.", False), "default": False},
    "from": day("The first local day, inclusive. By default the day on which the current period began.", "2026-11-01"),
    "period": instant("The `start` of the billing period. By default the current one.", "2026-11-01T00:00:00Z"),
    "page_size": {**number("How many rows a page has.", 100, least=1, maximum=1_000), "default": 100},
    "reason": one_of("Only what counts for this reason.", "email_opened", REASONS),
    "refused": yes_or_no("Only contacts that a destination refuses at present, or only others.", True),
    "score_expiry_days": number("As if lead scores ended after so many days at most.", 30, least=1, maximum=36_500),
    "to": day("The last local day, inclusive. By default today. At most 400 days can be asked for.", "2026-11-30"),
    "without_connection": connection_key("As if this connection had sent nothing.", "mailchimp-pipedrive"),
    "without_reason": one_of(
        "As if nothing had counted for this reason; of a plan that charges by events, as if no event of this type had "
        "come.",
        "email_sent",
        [*REASONS, *TYPES],
    ),
}

NOT_OF_A_KIND: Final = {"cursor"}
"""What nobody can make up has no example that would be accepted."""


def of_path(names: Iterable[str]) -> list[dict[str, Any]]:
    """The parameters of an address."""
    return [_parameter(name, IN_PATH[name], "path") for name in names]


def of_query(names: Iterable[str]) -> list[dict[str, Any]]:
    """The parameters of a query; all are optional."""
    return [_parameter(name, IN_QUERY[name], "query") for name in names]


def _parameter(name: str, schema: Schema, place: str) -> dict[str, Any]:
    of_schema = {rule: value for rule, value in schema.items() if rule not in ("description", "examples")}
    parameter = {"name": name, "in": place, "description": schema["description"], "schema": of_schema}
    if place == "path":
        parameter["required"] = True
    if name not in NOT_OF_A_KIND:
        parameter["example"] = schema["examples"][0]
    return parameter
