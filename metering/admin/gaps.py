"""What was dropped."""

from django.contrib import admin

from metering.admin.growing import GrowingAdmin
from metering.models import Gap


@admin.register(Gap)
class GapAdmin(GrowingAdmin):
    """Data that was dropped: when, why, and how much of it."""

    list_display = (
        "account",
        "reason",
        "starts_at",
        "ends_at",
        "connection_key",
        "type_name",
        "events",
        "attempts",
    )
    list_filter = ("reason",)
    list_select_related = ("account", "connection")
    fields = list_display
