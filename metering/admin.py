"""What staff see of billing periods and refused events. Nothing is changed here."""

from datetime import datetime

from django.contrib import admin

from accounts.admin import ReadOnlyAdmin
from metering.models import BillingPeriod, QuarantinedEvent, ThresholdCrossing


@admin.register(BillingPeriod)
class BillingPeriodAdmin(ReadOnlyAdmin):
    """Billing periods with their totals in all three units, the newest first."""

    list_display = (
        "account",
        "starts_at",
        "ends_at",
        "state",
        "limit",
        "app_connector_events",
        "active_contacts",
        "activated_contacts",
        "carried_in",
    )
    list_filter = ("state",)
    list_select_related = ("account",)
    search_fields = ("=account__slug",)
    ordering = ("-starts_at", "account__slug")


@admin.register(ThresholdCrossing)
class ThresholdCrossingAdmin(ReadOnlyAdmin):
    """Counts that reached 80 % or 100 % of their limit, the latest first."""

    list_display = ("crossed_at", "account", "percent", "used", "limit", "period_starts_at")
    list_filter = ("percent",)
    list_select_related = ("account", "period")
    search_fields = ("=account__slug",)
    ordering = ("-crossed_at", "-pk")

    @admin.display(description="period")
    def period_starts_at(self, crossing: ThresholdCrossing) -> datetime:
        """Its period, by its start."""
        return crossing.period.starts_at  # type: ignore[no-any-return]


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
