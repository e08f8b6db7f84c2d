"""Every code that an error can have: its status, and what it means."""

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Final

from billing_site.api.description.values import Schema, headers_of, many, record, text

CODES: Final[Mapping[int, Mapping[str, str]]] = {
    400: {
        "account_required": "An operator key must say whose data it asks for: `?account=slug`.",
        "bad_address": "It is no mail address.",
        "bad_characters": "It holds a character that cannot be seen, such as a control character.",
        "bad_cursor": "The cursor is not one of this list: follow `next` and `previous` as they are.",
        "bad_date": "A day is written like 2026-11-22.",
        "bad_encoding": "The body is not UTF-8, or begins with a byte order mark.",
        "bad_gzip": "The body is damaged, cut off or followed by something.",
        "bad_json": "The body is not JSON.",
        "bad_key": "A connection key has 1 to 100 characters of `A-Z a-z 0-9 . _ ~ : -`.",
        "bad_request": "The request cannot be read: its host is not ours, or it has thousands of parameters.",
        "bad_slug": "A slug has 1 to 63 characters of `a-z 0-9 -`.",
        "bad_switch": "A switch is `true` or `false`.",
        "bad_time": "A time is written like 2026-11-22T10:00:00Z.",
        "blank": "It must hold more than white space.",
        "cut_off": "The body ended before its end.",
        "empty_body": "The body is empty.",
        "from_after_to": "The first day is after the last.",
        "invalid": "Several fields are wrong, in different ways: see `errors`.",
        "missing_field": "A field must be given.",
        "not_an_object": "It must be a JSON object.",
        "not_events": "The body must be an event or an array of events, as its media type says.",
        "null": "The field cannot be null.",
        "one_change": "Exactly one change can be asked for.",
        "out_of_range": "The number or time is beyond what is allowed.",
        "repeated_parameter": "A query parameter is given more than once.",
        "too_deep": "The body is nested too deeply.",
        "too_long": "The text or line is too long.",
        "too_many_days": "At most 400 days can be asked for at once.",
        "two_accounts": "The body names another account than the query.",
        "unknown_choice": "It is not one of the words that are allowed.",
        "unknown_field": "There is no such field.",
        "unknown_parameter": "There is no such query parameter.",
        "unknown_reason": "There is no such reason for which a contact counts.",
        "unknown_plan": "There is no such plan.",
        "unknown_tier": "The plan has no such tier, or trial tiers alone: name one.",
        "unknown_timezone": "It is no time zone of the tz database.",
        "wrong_type": "The value is of another type than it should be.",
    },
    401: {"unauthorized": "There is no key, or it is unknown, expired or revoked."},
    403: {"forbidden": "The key lacks the scope that this needs."},
    404: {"not_found": "There is no such resource, or it is not yours."},
    409: {
        "account_closed": "The account is closed.",
        "fixed": "The field cannot be changed once the resource exists.",
        "not_a_contact_sync": "Only a connection of kind `contact_sync` has members.",
        "not_counted": "The event counts nowhere: it is late, limited or given up.",
        "not_higher": "The tier is not higher than the present one: use downgrade.",
        "not_lower": "The tier is not lower than the present one: use upgrade.",
        "over_target": "The account has used more by now than that tier allows.",
        "paused": "The account is paused: resume it first.",
        "period_closed": "The billing period that the event counts in is closed.",
        "trial_ended": "The trial has ended: upgrade the account to go on.",
        "trial_tier": "Nothing moves an account to a trial tier.",
        "use_upgrade_or_downgrade": "A push of settings does not change the tier: use upgrade or downgrade.",
    },
    412: {"precondition_failed": "The answer is not what `If-Match` or `If-Unmodified-Since` asks for."},
    413: {
        "body_too_large": "The body has too many bytes, inflated.",
        "too_many_events": "A batch has at most 10,000 events.",
        "too_many_lines": "A list has at most 1,000,000 lines.",
    },
    415: {
        "unsupported_charset": "The only charset is UTF-8.",
        "unsupported_encoding": "A body is sent as it is or as gzip.",
        "unsupported_media_type": "The body has another Content-Type than it should have.",
    },
    429: {"too_many_requests": "The key of an account reads too fast. Go on after `Retry-After` seconds."},
    503: {
        "account_busy": "Another writer holds the account. Send the same again after `Retry-After` seconds.",
        "try_again": "The database did not answer. Send the same again after `Retry-After` seconds.",
    },
}

STATUS_OF: Final = {code: status for status, codes in CODES.items() for code in codes}
_MEANING: Final = {code: meaning for codes in CODES.values() for code, meaning in codes.items()}

OF_EVERY_REQUEST: Final = {
    "unauthorized", "forbidden", "bad_request", "unknown_parameter", "try_again",
}  # fmt: skip
OF_PARAMETERS: Final[Mapping[str, Collection[str]]] = {
    "account": ["account_required", "not_found"],
    "connection": ["not_found"],
    "cursor": ["bad_cursor"],
    "dry_run": ["bad_switch"],
    "from": ["bad_date"],
    "page_size": ["out_of_range"],
    "period": ["bad_time", "not_found"],
    "reason": ["unknown_reason"],
    "refused": ["bad_switch"],
    "score_expiry_days": ["out_of_range"],
    "to": ["bad_date"],
    "without_connection": ["not_found"],
    "without_reason": ["unknown_reason"],
}
OF_EVERY_BODY: Final = {
    "body_too_large", "unsupported_media_type", "unsupported_charset", "unsupported_encoding", "bad_gzip", "cut_off",
}  # fmt: skip
OF_AN_OBJECT: Final = OF_EVERY_BODY | {"bad_encoding", "empty_body", "too_deep", "bad_json", "not_an_object"}

_RETRY_AFTER: Final = text("Seconds to wait.", "2", pattern="^[0-9]+$")
_HEADERS: Final[Mapping[int, Mapping[str, Schema]]] = {
    401: {"WWW-Authenticate": text("How to authenticate.", "Bearer", const="Bearer")},
    429: {"Retry-After": _RETRY_AFTER},
    503: {"Retry-After": _RETRY_AFTER},
}

OF_THE_LIMIT: Final = headers_of(
    {
        "RateLimit-Policy": text("How many reads a key of an account may do, in how many seconds.", '"reads";q=50;w=1'),
        "RateLimit": text("How many more it may do now, in how many seconds anew.", '"reads";r=49;t=1'),
    },
    required=False,
)
"""Of reads by an account's key, whatever the answer."""

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Problem": record(
        "An error, as RFC 9457 has it. Programs go by `code`, which never changes; `detail` is for people.",
        {
            "type": text("Problems have no pages of their own.", "about:blank", const="about:blank"),
            "title": text("The name of the status.", "Bad Request"),
            "status": {"type": "integer", "description": "The HTTP status.", "examples": [400]},
            "code": text("What is wrong, for programs.", "unknown_field"),
            "detail": text("What is wrong, in a sentence for people.", "nmae: There is no such field."),
            "errors": many(
                "Each field of the body or query parameter that is at fault, if any is; 100 at most.",
                record(
                    "What is wrong with one field or parameter.",
                    {
                        "field": text("The field or parameter.", "nmae"),
                        "code": text("What is wrong with it, for programs.", "unknown_field"),
                        "detail": text("What is wrong with it, for people.", "There is no such field."),
                    },
                ),
                maxItems=100,
            ),
        },
        optional=["errors"],
    )
}


_SHARED: Final[Mapping[str, Collection[str]]] = {
    "Unauthorized": {"unauthorized"},
    "Forbidden": {"forbidden"},
    "NotFound": {"not_found"},
    "TooLarge": {"body_too_large"},
    "Unsupported": {"unsupported_charset", "unsupported_encoding", "unsupported_media_type"},
    "PreconditionFailed": {"precondition_failed"},
    "TooMany": {"too_many_requests"},
    "TryAgain": {"try_again"},
    "BusyOrTryAgain": {"account_busy", "try_again"},
}
"""Answers that many operations have."""


def answers(codes: Collection[str]) -> dict[str, Schema]:
    """The error answers of an operation, by status, each with its codes."""
    by_status: dict[int, set[str]] = {}
    for code in codes:
        by_status.setdefault(STATUS_OF[code], set()).add(code)
    return {str(status): _shared_or_own(status, by_status[status]) for status in sorted(by_status)}


def shared_answers() -> dict[str, Schema]:
    """The components that `answers` refers to."""
    return {name: _answer(STATUS_OF[min(codes)], codes) for name, codes in _SHARED.items()}


def _shared_or_own(status: int, codes: set[str]) -> Schema:
    for name, of_it in _SHARED.items():
        if codes == of_it:
            return {"$ref": f"#/components/responses/{name}"}
    return _answer(status, codes)


def _answer(status: int, found: Collection[str]) -> Schema:
    codes = sorted(found)
    meanings = "\n".join(f"- `{code}`: {_MEANING[code]}" for code in codes)
    this = {
        "type": "object",
        "properties": {
            "status": {"const": status},
            "code": {"type": "string", "enum": codes, "description": f"One of:\n\n{meanings}"},
        },
    }
    answer = {
        "description": HTTPStatus(status).phrase,
        "content": {
            "application/problem+json": {
                "schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, this]},
                "examples": {code: {"summary": _MEANING[code], "value": _example(status, code)} for code in codes[:1]},
            }
        },
    }
    if status in _HEADERS:
        answer["headers"] = headers_of(_HEADERS[status]) | (OF_THE_LIMIT if status == 429 else {})
    return answer


def _example(status: int, code: str) -> dict[str, object]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": _MEANING[code].replace("`", ""),
    }


def table() -> str:
    """All codes, in Markdown."""
    rows = [
        f"| {status} | `{code}` | {meaning} |" for code, meaning in _MEANING.items() for status in [STATUS_OF[code]]
    ]
    return "\n".join(["| status | code | meaning |", "|---|---|---|", *rows])
