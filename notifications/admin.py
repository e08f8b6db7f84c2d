"""What staff see of mails: which were sent, which wait, which failed and why. They may send a failed one again."""

import msgspec
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import ReadOnlyAdmin
from accounts.audit import write_audit
from accounts.refusals import Refused
from notifications import delivery, render
from notifications.blocks import Message
from notifications.models import Notification


def _preview(notification: Notification) -> Message | str:
    """The mail, or why there is none: a page must open for a row that no mail can be made of, then most of all."""
    try:
        return delivery.preview(notification)
    except (msgspec.ValidationError, KeyError, ValueError) as error:
        return f"This mail cannot be composed: {type(error).__name__}: {error}"


@transaction.atomic
def _send_again(notification: Notification, actor: str) -> None:
    now = timezone.now()
    delivery.resend(notification, now)
    before = {"notification": notification.pk, "kind": notification.kind, "state": "failed"}
    write_audit(
        notification.account, "notification.sent_again", actor=actor, at=now, before=before, after={"state": "pending"}
    )


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """The outbox, the newest first."""

    list_display = ("created_at", "account", "kind", "audience", "percent", "state", "sent_at", "tries", "next_try_at")
    list_filter = ("state", "kind", "audience")
    list_select_related = ("account",)
    search_fields = ("=account__slug", "=sent_to")
    ordering = ("-created_at", "-pk")
    actions = ("send_again",)
    fields = (
        "account",
        "kind",
        "audience",
        "percent",
        "period_start",
        "limit",
        "state",
        "created_at",
        "sent_at",
        "sent_to",
        "tries",
        "next_try_at",
        "error",
        "subject",
        "text",
    )
    readonly_fields = ("subject", "text")

    @admin.display(description="subject")
    def subject(self, notification: Notification) -> str:
        """As it is composed now: with the account's present name."""
        message = _preview(notification)
        return message if isinstance(message, str) else message.subject

    @admin.display(description="text")
    def text(self, notification: Notification) -> SafeString:
        """The plain text part."""
        message = _preview(notification)
        style = "white-space: pre-wrap; font-family: monospace"
        return format_html(
            '<div style="{}">{}</div>', style, message if isinstance(message, str) else render.text(message)
        )

    @admin.action(description="Send again (failed ones)", permissions=["send"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[Notification]) -> None:
        """Put failed mails back into the queue; say of each other one why not."""
        again = 0
        for notification in chosen.order_by("pk"):
            try:
                _send_again(notification, request.user.get_username())
            except Refused as refusal:
                self.message_user(request, f"{notification}: {refusal.detail}", messages.WARNING)
            else:
                again += 1
        self.message_user(request, f"{again:,} will be sent again.", messages.SUCCESS if again else messages.INFO)

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Those who could change a notification, if anybody could."""
        return request.user.has_perm("notifications.change_notification")
