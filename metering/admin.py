"""What staff see of metering. The page of an account leads to the pages that steer it; all else is only looked at."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, override

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.paginator import InfinitePaginator

from accounts.admin import AccountAdmin, ReadOnlyAdmin
from accounts.models import Account
from metering import account_summary, steering_pages
from metering.catalogue import BY_CODE
from metering.models import (
    BillingPeriod,
    Event,
    EventState,
    EventVoid,
    Gap,
    QuarantinedEvent,
    ThresholdCrossing,
    UpgradeCause,
)
from metering.standing import standing_of

admin.site.unregister(Account)


@admin.register(Account)
class SteeredAccountAdmin(AccountAdmin):
    """Accounts, with how each stands and what can be done to it."""

    change_form_outer_before_template = "metering/account_summary.html"

    @override
    def get_urls(self) -> list[URLPattern]:
        page = path(
            "<int:account_id>/steer/<slug:step>/", self.admin_site.admin_view(self.steer), name="accounts_account_steer"
        )
        return [page, *super().get_urls()]

    @override
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        account = self.get_object(request, unquote(object_id)) if self.has_view_permission(request) else None
        about = {}
        if account is not None:
            standing = standing_of(account, timezone.now())
            about = account_summary.context(standing, may_steer=_may_steer(request))
        page: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **about})
        return page

    def steer(self, request: HttpRequest, account_id: int, step: str) -> HttpResponse:
        """The page of one step, if this user may take it."""
        if not _may_steer(request):
            raise PermissionDenied
        account = self.get_object(request, str(account_id))
        if account is None or step not in steering_pages.STEPS:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(account_id))  # type: ignore[no-any-return]
        return steering_pages.steer(
            request,
            account,
            steering_pages.STEPS[step],
            now=timezone.now(),
            back=reverse("admin:accounts_account_change", args=[account.pk]),
            context={**self.admin_site.each_context(request), "opts": self.opts},
        )


def _may_steer(request: HttpRequest) -> bool:
    """Asked for by the pages that steer; the account's own page stays read-only for everybody."""
    return request.user.has_perm("accounts.change_account")


class GrowingAdmin(ReadOnlyAdmin):
    """Rows of a table that grows with traffic: never counted as a whole, the newest first."""

    paginator = InfinitePaginator
    list_per_page = 50
    ordering: ClassVar[Sequence[str]] = ("-pk",)
    search_fields = ("=account__slug",)

    @admin.display(description="type")
    def type_name(self, row: Event | Gap) -> str:
        """The type by its name."""
        return BY_CODE[row.type].name

    @admin.display(description="connection")
    def connection_key(self, row: Event | Gap) -> str:
        """The connection by its key."""
        return row.connection.key


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


@admin.register(Event)
class HeldEventAdmin(GrowingAdmin):
    """Events that are held at a limit, in the order of their replay."""

    list_display = ("account", "connection_key", "type_name", "key", "contact_name", "occurred_at", "received_at")
    list_select_related = ("account", "connection", "contact")
    ordering: ClassVar[Sequence[str]] = ("account_id", "occurred_at", "key")
    fields = list_display

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return super().get_queryset(request).filter(state=EventState.HELD)  # type: ignore[no-any-return]

    @admin.display(description="contact")
    def contact_name(self, event: Event) -> str:
        """The contact as it was first spelt."""
        return event.contact.display  # type: ignore[no-any-return]


@admin.register(EventVoid)
class EventVoidAdmin(GrowingAdmin):
    """Events that were taken back: by whom and why."""

    list_display = ("at", "account", "event_id", "actor", "reason")
    list_select_related = ("account",)
    fields = list_display


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
