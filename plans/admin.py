"""What staff see of plans, tiers and subscriptions. Nothing is changed here."""

from typing import Any, override

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import TabularInline

from accounts.admin import ReadOnlyAdmin
from plans.models import Plan, Subscription, Tier


class Tiers(TabularInline):  # type: ignore[misc]  # unfold carries no types
    """The tiers on the page of their plan."""

    model = Tier
    fields = ("key", "limit", "price", "trial")
    ordering = ("price", "pk")
    extra = 0
    can_delete = False

    @override
    def has_add_permission(self, request: HttpRequest, obj: Any) -> bool:
        return False

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Plan)
class PlanAdmin(ReadOnlyAdmin):
    """Plans and what they charge by."""

    list_display = ("key", "name", "unit", "period_rule", "at_limit", "grace_hours")
    ordering = ("key",)
    inlines = (Tiers,)


@admin.register(Tier)
class TierAdmin(ReadOnlyAdmin):
    """Tiers of all plans."""

    list_display = ("key", "plan", "limit", "price", "trial")
    list_filter = ("trial",)
    list_select_related = ("plan",)
    ordering = ("plan__key", "price", "pk")


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Which account is on which tier when."""

    list_display = ("account", "plan", "tier_key", "starts_at", "ends_at", "reason")
    list_select_related = ("account", "tier__plan")
    search_fields = ("=account__slug",)
    ordering = ("account__slug", "-starts_at")

    @admin.display(ordering="tier__plan__key")
    def plan(self, row: Subscription) -> str:
        """The plan of the tier."""
        return row.tier.plan.key

    @admin.display(description="tier", ordering="tier__key")
    def tier_key(self, row: Subscription) -> str:
        """The tier by its key."""
        return row.tier.key
