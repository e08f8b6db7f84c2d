"""What staff see of plans, tiers and subscriptions, and the pages that change the catalogue."""

from datetime import datetime
from typing import Any, override

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from accounts.admin import ReadOnlyAdmin
from plans import catalogue_pages, exchange_pages, shown
from plans.catalogue_pages import Step, plan_step, plan_steps, tier_step, tier_steps
from plans.exchange import exported
from plans.models import Plan, Subscription, Tier


class CatalogueAdmin(ReadOnlyAdmin):
    """Leads to the pages that change the catalogue; its own pages change nothing."""

    def take(self, request: HttpRequest, step: Step | None, plan: Plan | None, now: datetime) -> HttpResponse:
        """The page of a step, if there is such a one and this user may take it."""
        if step is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, "")  # type: ignore[no-any-return]
        if not request.user.has_perm(step.permission):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "opts": self.opts}
        return catalogue_pages.take(request, step, plan=plan, now=now, context=context)


@admin.register(Plan)
class PlanAdmin(CatalogueAdmin):
    """Plans, what they charge by, and their tiers in all versions."""

    list_display = ("key", "name", "unit", "period_rule", "at_limit", "grace_hours", "published_at")
    ordering = ("key",)
    list_before_template = "plans/plan_list_actions.html"
    change_form_outer_before_template = "plans/plan_summary.html"

    @override
    def get_urls(self) -> list[URLPattern]:
        guarded = self.admin_site.admin_view
        return [
            path("new/", guarded(self.new), name="plans_plan_new"),
            path("export/", guarded(self.export), name="plans_plan_export"),
            path("import/", guarded(self.take_in), name="plans_plan_import"),
            path("<int:plan_id>/catalogue/<slug:step>/", guarded(self.step), name="plans_plan_step"),
            *super().get_urls(),
        ]

    @override
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        steps = [("New plan", "new"), ("Import", "import")] if _may_draft(request) else []
        links = [(title, reverse(f"admin:plans_plan_{name}")) for title, name in (*steps, ("Export", "export"))]
        page: HttpResponse = super().changelist_view(request, {**(extra_context or {}), "catalogue_links": links})
        return page

    @override
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        plan = self.get_object(request, unquote(object_id)) if self.has_view_permission(request) else None
        about = {} if plan is None else _about(plan, request, timezone.now())
        page: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **about})
        return page

    def new(self, request: HttpRequest) -> HttpResponse:
        """The page that drafts a plan."""
        return self.take(request, catalogue_pages.new_plan(), None, timezone.now())

    def export(self, request: HttpRequest) -> HttpResponse:
        """What is published, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        name = f"catalogue-{timezone.now():%Y-%m-%d}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(exported(), content_type="text/csv; charset=utf-8", headers=headers)

    def take_in(self, request: HttpRequest) -> HttpResponse:
        """The page that takes a file in."""
        if not _may_draft(request):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "opts": self.opts}
        back = reverse("admin:plans_plan_changelist")
        return exchange_pages.take_in(request, now=timezone.now(), back=back, context=context)

    def step(self, request: HttpRequest, plan_id: int, step: str) -> HttpResponse:
        """The page of a step with a plan."""
        plan = Plan.objects.filter(pk=plan_id).first()
        return self.take(request, None if plan is None else plan_step(plan, step), plan, timezone.now())


def _may_draft(request: HttpRequest) -> bool:
    """Whether this user may draft plans and their tiers."""
    return request.user.has_perms(("plans.add_plan", "plans.add_tier"))


def _about(plan: Plan, request: HttpRequest, now: datetime) -> dict[str, Any]:
    """What the page of a plan says above its terms."""
    return {
        "plan": plan,
        "steps": [
            (title, reverse("admin:plans_plan_step", args=[plan.pk, key]))
            for key, title, permission in plan_steps(plan)
            if request.user.has_perm(permission)
        ],
        "tiers": _tiers_table(plan, request, now),
    }


def _tiers_table(plan: Plan, request: HttpRequest, now: datetime) -> dict[str, Any]:
    tiers, accounts = shown.in_rows(plan), shown.subscribers(plan, now)
    on_offer = shown.on_offer(tiers)
    rows = [
        [
            _tier_cell(tier, tiers, request),
            tier.version,
            {"content": shown.limit(tier), "class": "whitespace-nowrap"},
            {"content": shown.price(tier), "class": "whitespace-nowrap"},
            shown.state(tier, on_offer.get(tier.key)),
            f"{accounts.get(tier.pk, 0):,}",
            "yes" if tier.trial else "no",
        ]
        for tier in tiers
    ]
    return {"headers": ["Tier", "Version", "Limit", "Price", "State", "Accounts", "Trial"], "rows": rows}


def _tier_cell(tier: Tier, tiers: list[Tier], request: HttpRequest) -> str:
    """The tier, and under it what can be done: in the first column, which a phone shows too."""
    addresses = [
        (reverse("admin:plans_tier_step", args=[tier.pk, key]), title, f"{tier.key} version {tier.version}")
        for key, title, permission in tier_steps(tier, tiers)
        if request.user.has_perm(permission)
    ]
    link = '<a href="{0}" class="underline mr-2" aria-label="{1}: {2}">{1}</a>'
    return format_html(
        '<a href="{}" class="font-semibold underline">{}</a><div class="whitespace-nowrap text-xs">{}</div>',
        reverse("admin:plans_tier_change", args=[tier.pk]),
        tier.key,
        format_html_join("", link, addresses),
    )


@admin.register(Tier)
class TierAdmin(CatalogueAdmin):
    """Tiers of all plans, in all versions."""

    list_display = ("key", "version", "plan", "limit", "price", "trial", "published_at", "accounts")
    list_filter = ("plan", "trial")
    list_select_related = ("plan",)
    ordering = ("plan__key", "price", "key", "-version")

    @override
    def get_urls(self) -> list[URLPattern]:
        page = path(
            "<int:tier_id>/catalogue/<slug:step>/", self.admin_site.admin_view(self.step), name="plans_tier_step"
        )
        return [page, *super().get_urls()]

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Tier]:
        lasting = Q(subscriptions__ends_at=None) | Q(subscriptions__ends_at__gt=timezone.now())
        accounts = Count("subscriptions__account", filter=lasting, distinct=True)
        return super().get_queryset(request).annotate(accounts=accounts)  # type: ignore[no-any-return]

    @admin.display(description="accounts", ordering="accounts")
    def accounts(self, tier: Tier) -> int:
        """How many accounts are on it, or will be."""
        return tier.accounts  # type: ignore[attr-defined,no-any-return]

    def step(self, request: HttpRequest, tier_id: int, step: str) -> HttpResponse:
        """The page of a step with a version of a tier."""
        tier, now = Tier.objects.select_related("plan").filter(pk=tier_id).first(), timezone.now()
        if tier is None:
            return self.take(request, None, None, now)
        return self.take(request, tier_step(tier, step, now), tier.plan, now)


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Which account is on which version of which tier when."""

    list_display = ("account", "plan", "tier_key", "version", "starts_at", "ends_at", "reason")
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

    @admin.display(ordering="tier__version")
    def version(self, row: Subscription) -> int:
        """The version of the tier."""
        return row.tier.version
