"""Billing periods."""

from django.contrib import admin

from accounts.admin import ReadOnlyAdmin
from metering.models import BillingPeriod


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
