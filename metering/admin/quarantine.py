"""Rejected events."""

from django.contrib import admin

from accounts.admin import ReadOnlyAdmin
from metering.models import QuarantinedEvent


@admin.register(QuarantinedEvent)
class QuarantinedEventAdmin(ReadOnlyAdmin):
    """Events that were refused, for 30 days: what was sent and what is wrong with it."""

    list_display = ("last_seen_at", "account", "source", "key", "code", "field", "times_seen", "resolved_at")
    list_select_related = ("account",)
    search_fields = ("=account__slug", "=source", "=key", "=code")
    ordering = ("-last_seen_at", "-pk")
    fields = (
        "account",
        "source",
        "key",
        "code",
        "field",
        "detail",
        "sent",
        "times_seen",
        "first_seen_at",
        "last_seen_at",
        "resolved_at",
    )

    @admin.display(description="what was sent")
    def sent(self, row: QuarantinedEvent) -> str:
        """The event as it came, as text."""
        return bytes(row.body).decode(errors="replace")
