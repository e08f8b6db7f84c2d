"""Deliver what is in the outbox: until the endpoint accepts it, for three days, and never in silence."""

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F

from accounts.refusals import Refused
from jobs.queue import enqueue
from jobs.registry import TryAgain
from jobs.row_lock import hold
from jobs.waits import LATER_WAIT, next_wait
from webhooks import endpoints, https
from webhooks.models import Delivery, DeliveryState, Endpoint
from webhooks.outbox import DELIVER
from webhooks.signing import signed_headers

TRIED_FOR: Final = timedelta(days=3)
GONE: Final = 410


def deliver(delivery_id: int, now: datetime, net: https.Net = https.INTERNET) -> None:
    """Post a delivery that is still pending; nothing for any other.

    Raises TryAgain, with the reason and the next time stored in the row, when the endpoint did not accept it (any
    answer but 2xx), gave no answer, or rests after it gave none to another. After three days, or when the endpoint is
    disabled, the row is `failed`, for a person to see.

    The row is locked during the conversation, so of two tasks one posts. If our process dies between the endpoint's
    answer and our commit, it is posted once more, under the same id.
    """
    with transaction.atomic(durable=True):
        row = _taken(delivery_id, now)
        if row is None:
            return
        _try(row, now, net)
    if row.state == DeliveryState.PENDING and row.next_try_at:
        raise TryAgain(row.error, at=row.next_try_at)


def send_again(delivery: Delivery, now: datetime) -> None:
    """Have a delivery that failed, or was sent, sent again, for staff.

    Refused: `not_sent_yet` while it is tried, `historical`, `endpoint_disabled`.
    """
    with transaction.atomic():
        own = Delivery.objects.filter(account_id=delivery.account_id, pk=delivery.pk)
        row = own.select_for_update().get()
        if row.state == DeliveryState.PENDING:
            raise Refused("not_sent_yet", "It is being tried already.")
        if row.state == DeliveryState.HISTORICAL:
            raise Refused("historical", "It tells of replayed history, which is never sent.")
        if not Endpoint.objects.get(pk=row.endpoint_id).enabled:
            raise Refused("endpoint_disabled", "Its endpoint is disabled: enable it first.")
        row.state, row.sent_at = DeliveryState.PENDING, None
        row.queued_at = row.next_try_at = now
        row.tries = 0  # the three days begin anew; what was said last stays until the next answer
        row.save()
        enqueue(DELIVER, row.pk, account_id=row.account_id, now=now)


def _taken(delivery_id: int, now: datetime) -> Delivery | None:
    """The row, locked, if it is pending. Both statements name the account: a distributed database locks by it."""
    account_id, state = Delivery.objects.values_list("account_id", "state").get(pk=delivery_id)
    if state != DeliveryState.PENDING:
        return None
    row = hold(Delivery.objects.filter(account_id=account_id, pk=delivery_id), now)
    if row.state != DeliveryState.PENDING:
        return None
    if row.next_try_at is not None and row.next_try_at > now:  # another task has just tried
        raise TryAgain(row.error, at=row.next_try_at)
    return row


def _try(row: Delivery, now: datetime, net: https.Net) -> None:
    endpoint = Endpoint.objects.get(pk=row.endpoint_id)
    if not endpoint.enabled:
        return _fail(row, f"the endpoint is disabled ({endpoint.disabled_because}): enable it, then send again")
    if endpoint.rests_until is not None and endpoint.rests_until > now:
        return _wait(row, "the endpoint gave no answer to the last message, and rests", endpoint.rests_until)
    try:
        answer = _post(row, endpoint, now, net)
    except https.NoAnswer as error:
        _let_rest(endpoint, now)
        row.status, row.answer = None, ""
        return _try_later(row, str(error), now)
    if endpoint.silences:
        Endpoint.objects.filter(pk=endpoint.pk).update(silences=0, rests_until=None)
    row.status, row.answer = answer.status, answer.excerpt
    if 200 <= answer.status < 300:
        row.state, row.sent_at = DeliveryState.SENT, now
        row.error, row.next_try_at = "", None
        return row.save()
    if answer.status == GONE:
        endpoints.disable(endpoint, "it answered 410 Gone", actor="webhooks", now=now)
        return _fail(row, "the endpoint answered 410 Gone, and was disabled")
    redirect = ", a redirect, which is not followed" if 300 <= answer.status < 400 else ""
    return _try_later(row, f"the endpoint answered {answer.status}{redirect}", now)


def _post(row: Delivery, endpoint: Endpoint, now: datetime, net: https.Net) -> https.Answer:
    message = row.message
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Headcount",
        **signed_headers(message.public_id, message.payload, endpoints.signing_secrets(endpoint, now), now),
    }
    return https.post(endpoint.url, message.payload.encode(), headers, net)


def _let_rest(endpoint: Endpoint, now: datetime) -> None:
    """All that waits for this endpoint lets it rest: each attempt takes up to 10 seconds of a worker."""
    rest = next_wait(endpoint.silences + 1) or LATER_WAIT
    Endpoint.objects.filter(pk=endpoint.pk).update(silences=F("silences") + 1, rests_until=now + rest)


def _try_later(row: Delivery, why: str, now: datetime) -> None:
    row.tries += 1
    _wait(row, why, now + (next_wait(row.tries) or TRIED_FOR))


def _wait(row: Delivery, why: str, until: datetime) -> None:
    if until > row.queued_at + TRIED_FOR:
        return _fail(row, f"given up after {row.tries} tries in three days; the last one: {why}")
    row.error, row.next_try_at = why, until
    return row.save()


def _fail(row: Delivery, why: str) -> None:
    row.state = DeliveryState.FAILED
    row.error, row.next_try_at = why, None
    row.save()
