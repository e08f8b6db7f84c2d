"""What staff see of accounts, connections, keys and the audit trail. Only keys can be changed: revoked."""

from typing import Any, override

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.keys import revoke_key
from accounts.models import Account, ApiKey, AuditEntry, Connection


class StaffAdmin(ModelAdmin):  # type: ignore[misc]  # unfold carries no types
    """A page filters by what its `list_filter` offers, and by nothing else."""

    show_full_result_count = False

    @override
    def get_action_choices(
        self,
        request: HttpRequest,
        default_choices: list[tuple[str, str]] | None = None,
        action_location: admin.ActionLocation = admin.ActionLocation.CHANGE_LIST,
    ) -> list[tuple[str, str]]:
        """Django's own: unfold's lacks a parameter, of which Django 6.1 warns on every page with an action."""
        choices = default_choices or [("", "Select action")]
        return super(ModelAdmin, self).get_action_choices(request, choices, action_location)  # type: ignore[no-any-return]

    @override
    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Refused ones answer 400; so does a NUL, which PostgreSQL cannot take."""
        field, _, kind = lookup.rpartition("__")
        return (
            kind in ("exact", "isnull", "isempty")
            and field.removesuffix("__id") in self.list_filter
            and "\0" not in str(value)
        )


class ReadOnlyAdmin(StaffAdmin):
    """Staff may look."""

    @override
    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    @override
    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    """Accounts, found by slug, name or mail address."""

    list_display = ("slug", "name", "timezone", "signed_up_at", "at_limit", "limit_override", "closed_at")
    list_filter = ("at_limit", "auto_upgrade")
    search_fields = ("slug", "name", "billing_email")
    ordering = ("slug",)


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    """Connections of all accounts."""

    list_display = ("key", "account", "name", "kind", "enabled", "record_email_sent", "replayable")
    list_filter = ("kind", "enabled")
    list_select_related = ("account",)
    search_fields = ("=account__slug", "key", "name")
    ordering = ("account__slug", "key")


class RevokingForm(ActionForm):  # type: ignore[misc]  # unfold carries no types
    """Asks why."""

    reason = forms.CharField(
        required=False,
        max_length=1_000,
        label="",
        widget=UnfoldAdminTextInputWidget({"placeholder": "Reason", "aria-label": "Reason"}),
    )


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys, without anything that they could be guessed from. They can be revoked."""

    list_display = (
        "prefix",
        "name",
        "account",
        "scopes",
        "last_used_at",
        "last_used_from",
        "refusals",
        "refused_at",
        "expires_at",
        "revoked_at",
    )
    list_filter = ("pepper",)
    list_select_related = ("account",)
    exclude = ("digest",)
    search_fields = ("=account__slug", "prefix", "name")
    ordering = ("-created_at", "-pk")
    action_form = RevokingForm
    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Asked for by the action; the pages stay read-only for everybody."""
        return request.user.has_perm("accounts.change_apikey")

    @admin.action(description="Revoke, for the reason given", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """End the chosen keys; those that are revoked already stay as they are."""
        reason = request.POST.get("reason", "").strip()  # the form has judged it
        if not reason:
            self.message_user(request, "Nothing was revoked: give a reason.", messages.ERROR)
            return
        live = queryset.filter(revoked_at=None).values_list("prefix", flat=True)
        prefixes = list(live.order_by("prefix"))
        for prefix in prefixes:
            revoke_key(prefix, reason=reason, actor=request.user.get_username(), now=timezone.now())
        self.message_user(request, f"{len(prefixes):,} keys are revoked.", messages.SUCCESS)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who changed what, the newest first."""

    list_display = ("at", "account", "action", "actor", "reason")
    list_select_related = ("account",)
    search_fields = ("=account__slug", "=action", "=actor")
    ordering = ("-at", "-pk")
