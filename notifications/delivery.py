"""Send what is in the outbox: once, again when the mail server is away, and never in silence."""

from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import format_datetime, parseaddr
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email
from django.db import transaction
from django.urls import reverse

from accounts import usage_link
from accounts.models import Account
from accounts.refusals import Refused
from jobs.queue import enqueue
from jobs.registry import TryAgain
from jobs.row_lock import hold
from jobs.waits import next_wait
from notifications import render, smtp
from notifications.blocks import Message
from notifications.compose import compose
from notifications.facts import from_json
from notifications.models import Audience, Notification, NotificationState
from notifications.outbox import SEND

LINK_LASTS: Final = timedelta(days=90)

MOST_EARLIER: Final = 20
"""Mails that are sent before the one that a task is for."""


def send(notification_id: int, now: datetime) -> None:
    """Send a notification that is still pending; nothing for any other.

    Raises TryAgain, with the reason and the next time stored in the row, when the mail server could not take it now.
    Refused for good, or tried for three days: the row is `failed`, for a person to see.

    The row is locked during the conversation, so of two tasks one sends. If our process dies between the server's OK
    and our commit, the mail goes out once more: no mail server can be asked whether it has a mail already. It bears
    the same Message-ID, by which mailboxes may recognise the copy.
    """
    with suppress(TryAgain):  # who cannot go now has a job of its own; with a dead server one attempt is enough
        for earlier in _earlier(notification_id, now):
            _send(earlier, now)
    _send(notification_id, now)


def _earlier(notification_id: int, now: datetime) -> list[int]:
    """What the same mailbox is to be told first, and may be told now: mails arrive in the order of what happened."""
    row = Notification.objects.only("account_id", "audience").get(pk=notification_id)
    pending = Notification.objects.filter(
        account_id=row.account_id, audience=row.audience, state=NotificationState.PENDING, pk__lt=notification_id
    )
    return list(pending.filter(next_try_at__lte=now).order_by("pk").values_list("pk", flat=True)[:MOST_EARLIER])


def _send(notification_id: int, now: datetime) -> None:
    with transaction.atomic(durable=True):
        row = _taken(notification_id, now)
        if row is None:
            return
        _try(row, now)
    if row.state == NotificationState.PENDING and row.next_try_at:
        raise TryAgain(row.error, at=row.next_try_at)


def resend(notification: Notification, now: datetime) -> None:
    """Have a failed notification sent after all, for staff. Refused: `already_sent`, `not_failed`."""
    with transaction.atomic():
        row = Notification.objects.select_for_update().get(account_id=notification.account_id, pk=notification.pk)
        if row.state == NotificationState.SENT:
            raise Refused("already_sent", "This mail was sent already.")
        if row.state != NotificationState.FAILED:
            raise Refused("not_failed", f"Only failed mails are sent again; this one is {row.state}.")
        row.state = NotificationState.PENDING
        row.tries = 0  # the three days begin anew; the last error stays until it is sent
        row.next_try_at = now
        row.save()
        enqueue(SEND, row.pk, account_id=row.account_id, now=now)


def preview(row: Notification) -> Message:
    """What the mail says, with a link to usage that opens nothing: who looks at a mail is not who may use its link."""
    return _composed(row, row.account, f"{settings.BASE_URL}/usage/?token=...")


def _taken(notification_id: int, now: datetime) -> Notification | None:
    """The row, locked, if it is pending. Both statements name the account: a distributed database locks by it."""
    account_id, state = Notification.objects.values_list("account_id", "state").get(pk=notification_id)
    if state != NotificationState.PENDING:
        return None
    own = Notification.objects.filter(account_id=account_id, pk=notification_id)
    row = hold(own, now)
    if row.state != NotificationState.PENDING:
        return None
    if row.next_try_at is not None and row.next_try_at > now:  # another task has just tried
        raise TryAgain(row.error, at=row.next_try_at)
    return row


def _try(row: Notification, now: datetime) -> None:
    account = Account.objects.get(pk=row.account_id)
    to = _recipient(row, account)
    if why := _unusable(to):
        return _fail(row, why)
    try:
        smtp.hand_over(_mail(row, account, to, now))
    except smtp.Refused as error:
        row.tries += 1
        return _fail(row, str(error))
    except smtp.NotNow as error:
        row.tries += 1
        return _wait(row, str(error), now)
    row.state = NotificationState.SENT
    row.sent_at, row.sent_to = now, to
    row.error, row.next_try_at = "", None
    return row.save()


def _fail(row: Notification, why: str) -> None:
    row.state = NotificationState.FAILED
    row.error, row.next_try_at = why, None
    row.save()


def _wait(row: Notification, why: str, now: datetime) -> None:
    wait = next_wait(row.tries)
    if wait is None:
        return _fail(row, f"given up after {row.tries} tries in three days; the last one: {why}")
    row.error, row.next_try_at = why, now + wait
    return row.save()


def _recipient(row: Notification, account: Account) -> str:
    """An address, without a name: SUPPORT_EMAIL may have one."""
    return parseaddr(settings.SUPPORT_EMAIL)[1] if row.audience == Audience.STAFF else account.billing_email


def _unusable(address: str) -> str:
    """Why nothing can be sent to an address; empty if it can."""
    if not address:
        return "the account has no main e-mail address: set one, then send again"
    try:
        validate_email(address)
    except ValidationError:
        return f"{address!r} is no address that mail can be sent to: correct it, then send again"
    return ""


def _mail(row: Notification, account: Account, to: str, now: datetime) -> EmailMultiAlternatives:
    message = _composed(row, account, _link(row, account, now))
    mail = EmailMultiAlternatives(
        subject=message.subject,
        body=render.text(message),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[to],
        reply_to=[settings.SUPPORT_EMAIL],
        headers={
            "Message-ID": _message_id(row),
            "Date": format_datetime(now),
            "Auto-Submitted": "auto-generated",
        },
    )
    mail.attach_alternative(render.html(message), "text/html")
    return mail


def _composed(row: Notification, account: Account, link: str) -> Message:
    return compose(
        row.kind,
        row.percent,
        from_json(row.facts),
        account_name=account.name,
        account_slug=account.slug,
        usage_url=link,
        support_email=settings.SUPPORT_EMAIL,
        staff=row.audience == Audience.STAFF,
    )


def _link(row: Notification, account: Account, now: datetime) -> str:
    """Customers see their usage without a login; staff have one."""
    if row.audience == Audience.STAFF:
        return settings.BASE_URL + reverse("admin:accounts_account_change", args=[account.pk])
    return usage_link.make(account.slug, now=now, lasts=LINK_LASTS, people=False).url


def _message_id(row: Notification) -> str:
    """The same on every try. The time keeps it from meeting one of a database that was here before."""
    host = urlsplit(settings.BASE_URL).hostname
    return f"<headcount.{row.pk}.{row.created_at:%Y%m%d%H%M%S%f}@{host}>"
