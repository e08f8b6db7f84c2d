"""What counts and what does not, in plain words from the catalogue. Needs no link."""

from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from billing_site.usage import words
from billing_site.usage.visit import Visit, public_page
from metering.catalogue import BY_NAME, ContactUnit, EventType


class Counting(NamedTuple):
    """What each unit makes of the types: the names of those that count, and of those that do not."""

    counts: list[str]
    does_not: list[str]


def _split(rule: Any) -> Counting:
    counts = [words.TYPES[kind.name] for kind in BY_NAME.values() if rule(kind)]
    return Counting(counts, [words.TYPES[kind.name] for kind in BY_NAME.values() if not rule(kind)])


def _billable(kind: EventType) -> bool:
    return kind.billable


def _active(kind: EventType) -> bool:
    return kind.unit is ContactUnit.ACTIVE


def _activates(kind: EventType) -> bool:
    return kind.unit is ContactUnit.ACTIVATED


@public_page("help")
def help_page(request: HttpRequest, visit: Visit | None) -> HttpResponse:
    """The three units."""
    frame = {"support": settings.SUPPORT_EMAIL} if visit is None else visit.frame()
    units = {"events": _split(_billable), "active": _split(_active), "activated": _split(_activates)}
    return render(request, "usage/help.html", {**frame, **units})
