"""`POST events`: bytes in, an outcome for each event out."""

from typing import Any, ClassVar, Final

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from billing_site.api.bodies import media_type, read_body
from billing_site.api.endpoint import Endpoint
from billing_site.api.queries import switch
from metering import envelope
from metering.intake import ItemOutcome, Receipt, UsageSummary, take_in

IS_SINGLE: Final[dict[str, bool | None]] = {
    "application/cloudevents+json": True,
    "application/cloudevents-batch+json": False,
    "application/json": None,
}
"""The media types of an event, a batch, and either."""


class Events(Endpoint):
    """Take in one event or a batch. The answer is 200 whatever became of each."""

    scopes: ClassVar = {"POST": Scope.WRITE}
    parameters: ClassVar = {"POST": ["dry_run"]}

    def post(self, request: Request) -> Response:
        dry_run = switch(self.query, "dry_run")
        single = IS_SINGLE[media_type(request._request, IS_SINGLE)]
        items = envelope.read(read_body(request._request), single=single)
        receipt = take_in(items, sender=self.key.account, now=timezone.now(), dry_run=dry_run)
        return Response(_answer(receipt, with_usage=Scope.READ in self.key.scopes, dry_run=dry_run))


def _answer(receipt: Receipt, *, with_usage: bool, dry_run: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "received": len(receipt.items),
        "outcomes": receipt.outcomes(),
        "items": [_item(item) for item in receipt.items if item.verdict.outcome != "recorded"],
    }
    if with_usage:
        answer["usage"] = {slug: _usage(summary) for slug, summary in receipt.usage.items()}
    if dry_run:
        answer["would"] = {slug: _would(summary) for slug, summary in receipt.usage.items()}
    return answer


def _item(item: ItemOutcome) -> dict[str, Any]:
    verdict = item.verdict
    row: dict[str, Any] = {"index": item.index, "id": item.id, "outcome": verdict.outcome}
    if verdict.outcome == "duplicate":
        row["first"] = verdict.first
    elif verdict.code:
        row |= {"code": verdict.code, "field": verdict.field or None, "detail": verdict.detail}
    else:
        row["detail"] = verdict.detail
    return row


def _usage(summary: UsageSummary) -> dict[str, Any]:
    return {"unit": summary.unit, "used": summary.used, "limit": summary.limit, "state": summary.state}


def _would(summary: UsageSummary) -> dict[str, Any]:
    return {"thresholds": summary.crossed, "upgrade": summary.upgrade, "state": summary.state}
