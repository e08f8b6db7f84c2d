"""What happened at limits: thresholds that were crossed, and upgrades that were caused."""

from datetime import datetime

from django.contrib import admin

from accounts.admin import ReadOnlyAdmin
from metering.admin.growing import GrowingAdmin
from metering.models import ThresholdCrossing, UpgradeCause


@admin.register(UpgradeCause)
class UpgradeCauseAdmin(GrowingAdmin):
    """Counts that exceeded their limit under a policy of upgrading, and what came of it."""

    list_display = ("crossed_at", "account", "used", "limit", "outcome", "settled_at", "irreplaceable")
    list_filter = ("outcome",)
    list_select_related = ("account",)

    @admin.display(description="because of")
    def irreplaceable(self, cause: UpgradeCause) -> str:
        """The connections whose data could not have been read again."""
        return ", ".join(row["key"] for row in cause.connections if not row["replayable"])


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
