"""What schemathesis must know beyond the description: what valid words look like, and who exists.

Only cases that are to be accepted are touched, and only where the description cannot say it: which accounts,
connections, plans and time zones there are.
"""

import json
from datetime import datetime
from typing import Any
from zlib import crc32

import schemathesis
from hypothesis import strategies as st

ACCOUNTS = ("acme", "globex")
CONNECTIONS = ("pipedrive-mailchimp", "website")
TIERS = ("starter", "growth", "professional")
OTHER_PLANS = (("connect-legacy", "s"), ("social", "free"), ("connect", "starter"))
EVENT = "evt-of-ann"
CHANGES = ("without_reason", "without_connection", "score_expiry_days")
MEMBERS = ("ann@example.com", "bob@example.com", "12345")

_visible = st.characters(exclude_categories=["C", "Z"])
_instants = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(8999, 12, 30))  # noqa: DTZ001 - Z follows

schemathesis.openapi.format("printable", st.text(_visible, min_size=1, max_size=60))
schemathesis.openapi.format("timezone", st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]))
schemathesis.openapi.format("email", st.sampled_from(["billing@acme.example", "rechnung@globex.example"]))
schemathesis.openapi.format("date-time", _instants.map(lambda at: f"{at.isoformat()}Z"))


@schemathesis.serializer("application/x-ndjson", "application/ndjson")
def lines(context: Any, value: Any) -> Any:
    """A list of members is text already."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


@schemathesis.hook
def before_call(context: Any, case: Any, **options: Any) -> None:
    """Fill in who exists, in every case that is to be accepted; half of what was made up stays."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    operation = case.operation.definition.raw["operationId"]
    case.query.pop("cursor", None)  # which only a list itself can make
    if case.meta.phase.name != "stateful":  # there it is a link that says who
        _name_who_exists(case)
    if any(each["name"] == "account" for each in case.operation.definition.raw["parameters"]):
        case.query.setdefault("account", ACCOUNTS[0])
    for name in ("from", "to"):
        if name in case.query:
            case.query |= {"from": case.query[name], "to": case.query[name]}
    if operation == "seeWhatIf":
        _ask_one_thing(case)
    if isinstance(case.body, dict):
        case.body |= _what_exists(operation, case)
    if operation == "putMembers":
        case.body = "".join(f"{json.dumps({'subject': each})}\n" for each in MEMBERS if _chance(case.id + each))


def _name_who_exists(case: Any) -> None:
    parameters = case.path_parameters
    for values, name, known in (
        (parameters, "slug", ACCOUNTS),
        (parameters, "key", CONNECTIONS),
        (case.query, "account", ACCOUNTS),
        (case.query, "connection", CONNECTIONS),
    ):
        if name in values and _chance(case.id + name):
            values[name] = known[crc32(str(values[name]).encode()) % len(known)]


def _ask_one_thing(case: Any) -> None:
    """Exactly one change, of a plan that counts contacts."""
    asked = [name for name in CHANGES if name in case.query] or ["score_expiry_days"]
    value = case.query.get(asked[0], 30)
    if asked[0] == "without_reason" and "." in str(value):
        value = "web_visit"
    case.query = {"account": case.query["account"], asked[0]: value}


def _what_exists(operation: str, case: Any) -> dict[str, str]:
    """Fields of a body that name plans, tiers and events."""
    drawn = crc32(case.id.encode())
    plan, tier = OTHER_PLANS[drawn % len(OTHER_PLANS)]
    match operation:
        case "putAccount":  # all on one plan, so that upgrades know its tiers
            return {"plan": "connect", "tier": TIERS[drawn % 2]}
        case "upgradeAccount":
            return {"tier": TIERS[drawn % len(TIERS)]}
        case "downgradeAccount":
            return {"plan": plan, "tier": tier}
        case "voidEvent":
            of_ann = {"source": CONNECTIONS[0], "id": EVENT} if _chance(case.id) else {}
            return {"account": case.query["account"], **of_ann}
    return {}


def _chance(seed: str) -> bool:
    return crc32(seed.encode()) % 2 == 0
