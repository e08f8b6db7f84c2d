"""Query parameters, read strictly: what is unknown, repeated or malformed is refused by name."""

import re
from collections.abc import Collection, Mapping
from datetime import date
from typing import Final

from django.core.handlers.wsgi import get_bytes_from_wsgi
from django.http import HttpRequest, QueryDict

from billing_site.api.problems import Problem
from metering.characters import shown

_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def read_query(request: HttpRequest, allowed: Collection[str]) -> dict[str, str]:
    """The parameters of a request. Raises `Problem`: `unknown_parameter`, `repeated_parameter`.

    Not `request.GET`, which decodes by whatever charset the Content-Type names.
    """
    sent = QueryDict(get_bytes_from_wsgi(request.META, "QUERY_STRING", ""), encoding="utf-8")
    for name, values in sent.lists():
        if name not in allowed:
            known = f"known: {', '.join(sorted(allowed))}" if allowed else "it takes none"
            detail = f"There is no parameter {shown(name)} here ({known})."
            raise Problem.of_field(shown(name), "unknown_parameter", detail)
        if len(values) > 1:
            raise Problem.of_field(name, "repeated_parameter", f"{name} is given more than once.")
    return {name: str(value) for name, value in sent.items()}


def switch(query: Mapping[str, str], name: str) -> bool:
    """A yes or no, no by default. Raises `Problem`: `bad_switch`."""
    value = query.get(name, "false")
    if value not in ("true", "false"):
        raise Problem.of_field(name, "bad_switch", f"{name} is true or false.")
    return value == "true"


def whole_number(query: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """A whole number within bounds. Raises `Problem`: `out_of_range`, also for what is no number."""
    value = query.get(name)
    if value is None:
        return default
    if not _WHOLE_NUMBER.fullmatch(value) or not least <= int(value) <= most:
        raise Problem.of_field(name, "out_of_range", f"{name} is a whole number from {least} to {most}.")
    return int(value)


def day(query: Mapping[str, str], name: str) -> date | None:
    """A day, YYYY-MM-DD and nothing else; None if it is not given. Raises `Problem`: `bad_date`."""
    value = query.get(name)
    if value is None:
        return None
    try:
        if _DAY.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise Problem.of_field(name, "bad_date", f"{name} is a day like 2026-11-22.")
