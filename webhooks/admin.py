"""What staff see and do of webhooks: who is told, and what became of each message."""

from collections.abc import Callable
from typing import Any, override

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from accounts.admin import ReadOnlyAdmin, StaffAdmin
from accounts.audit import write_audit
from accounts.refusals import Refused
from webhooks import delivery, endpoints
from webhooks.models import Delivery, Endpoint, EventType


class EndpointForm(forms.ModelForm):  # type: ignore[type-arg]  # it takes no parameter when it runs
    """A new endpoint."""

    types = forms.MultipleChoiceField(
        choices=EventType,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None: all of them, and those that there will be.",
    )

    class Meta:
        model = Endpoint
        fields = ("url", "account", "types", "description")
        help_texts = {
            "url": "https:// only, at a public address. It cannot be changed: disable this endpoint and add another.",
            "account": "Empty: what happens to any account.",
        }

    def clean_url(self) -> str:
        """Refuses what no webhook goes to."""
        url: str = self.cleaned_data["url"]
        try:
            endpoints.check_url(url)
        except Refused as refused:
            raise ValidationError(refused.detail) from refused
        return url


@admin.register(Endpoint)
class EndpointAdmin(StaffAdmin):
    """Endpoints, the newest first. Its secret is shown when one is made, or made anew, and never again."""

    form = EndpointForm
    list_display = ("url", "account", "types", "description", "enabled", "rests_until", "created_at")
    list_filter = ("enabled",)
    list_select_related = ("account",)
    search_fields = ("=account__slug", "url", "description")
    ordering = ("-created_at", "-pk")
    autocomplete_fields = ("account",)
    actions = ("enable", "disable", "rotate_secret")
    readonly_fields = (
        "enabled",
        "disabled_at",
        "disabled_because",
        "silences",
        "rests_until",
        "previous_secret_until",
        "created_at",
    )

    @override
    def get_fields(self, request: HttpRequest, obj: Endpoint | None = None) -> tuple[str, ...]:
        asked = EndpointForm.Meta.fields
        return asked if obj is None else (*asked, *self.readonly_fields)

    @override
    def has_change_permission(self, request: HttpRequest, obj: Endpoint | None = None) -> bool:
        """Nobody: it is enabled, disabled and given a new secret by actions, which are audited."""
        return False

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Endpoint | None = None) -> bool:
        """Only one that nothing was ever written for, on its own page."""
        allowed: bool = super().has_delete_permission(request, obj)
        return allowed and obj is not None and not obj.deliveries.exists()

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Those who could change an endpoint, if anybody could."""
        return request.user.has_perm("webhooks.change_endpoint")

    @override
    def save_model(self, request: HttpRequest, obj: Endpoint, form: Any, change: bool) -> None:
        """Made by the domain, with its audit row; `obj` stands for what was made."""
        made = endpoints.create(
            obj.url,
            account=obj.account,
            types=obj.types,
            description=obj.description,
            actor=request.user.get_username(),
            now=timezone.now(),
        )
        obj.pk, obj.secret = made.pk, made.secret

    @override
    def delete_model(self, request: HttpRequest, obj: Endpoint) -> None:
        endpoints.delete(obj, actor=request.user.get_username(), now=timezone.now())

    @override
    def response_add(self, request: HttpRequest, obj: Endpoint, post_url_continue: str | None = None) -> HttpResponse:
        """The secret, in the answer itself: a message would lie in a cookie."""
        return self._show_secret(request, obj)

    @admin.action(description="Enable", permissions=["steer"])
    def enable(self, request: HttpRequest, chosen: QuerySet[Endpoint]) -> None:
        """Send to them again, from now on."""
        actor, now = request.user.get_username(), timezone.now()
        self._do(request, chosen, "enabled", lambda row: endpoints.enable(row, actor=actor, now=now))

    @admin.action(description="Disable", permissions=["steer"])
    def disable(self, request: HttpRequest, chosen: QuerySet[Endpoint]) -> None:
        """Send nothing more to them."""
        actor, now = request.user.get_username(), timezone.now()
        because = f"by {actor}"
        self._do(request, chosen, "disabled", lambda row: endpoints.disable(row, because, actor=actor, now=now))

    @admin.action(description="Make a new secret (of one)", permissions=["steer"])
    def rotate_secret(self, request: HttpRequest, chosen: QuerySet[Endpoint]) -> HttpResponse | None:
        """Show the new secret; the present one signs beside it for a week."""
        rows = list(chosen[:2])
        if len(rows) != 1:
            self.message_user(request, "Choose one endpoint: each secret is shown once.", messages.WARNING)
            return None
        row = endpoints.rotate_secret(rows[0], actor=request.user.get_username(), now=timezone.now())
        return self._show_secret(request, row)

    def _do(
        self, request: HttpRequest, chosen: QuerySet[Endpoint], done: str, change: Callable[[Endpoint], bool]
    ) -> None:
        changed = sum(change(row) for row in chosen.order_by("pk"))
        self.message_user(request, f"{changed:,} {done}.", messages.SUCCESS if changed else messages.INFO)

    def _show_secret(self, request: HttpRequest, row: Endpoint) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "The secret of this endpoint",
            "opts": self.opts,
            "endpoint": row,
            "back": reverse("admin:webhooks_endpoint_changelist"),
        }
        return TemplateResponse(request, "webhooks/secret.html", context, headers={"Cache-Control": "no-store"})


@transaction.atomic
def _send_again(row: Delivery, actor: str) -> None:
    now = timezone.now()
    delivery.send_again(row, now)
    before = {"delivery": row.pk, "endpoint": row.endpoint_id, "type": row.message.type, "state": row.state}
    write_audit(row.account, "webhook.sent_again", actor=actor, at=now, before=before, after={"state": "pending"})


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Messages to endpoints, the newest first."""

    list_display = (
        "queued_at",
        "account",
        "type_name",
        "endpoint",
        "state",
        "status",
        "sent_at",
        "tries",
        "next_try_at",
        "error",
    )
    list_filter = ("state", "message__type")
    list_select_related = ("account", "message", "endpoint")
    search_fields = ("=account__slug",)
    ordering = ("-pk",)
    paginator = InfinitePaginator
    list_per_page = 50
    actions = ("send_again",)
    fields = (
        "account",
        "type_name",
        "message_id",
        "endpoint",
        "state",
        "queued_at",
        "sent_at",
        "tries",
        "next_try_at",
        "error",
        "status",
        "answer",
        "payload",
    )
    readonly_fields = ("type_name", "message_id", "payload")

    @admin.display(description="type")
    def type_name(self, row: Delivery) -> str:
        """What it tells."""
        return row.message.type  # type: ignore[no-any-return]

    @admin.display(description="webhook-id")
    def message_id(self, row: Delivery) -> str:
        """As the receiver knows it."""
        return row.message.public_id  # type: ignore[no-any-return]

    @admin.display(description="payload")
    def payload(self, row: Delivery) -> SafeString:
        """As it is posted."""
        style = "white-space: pre-wrap; overflow-wrap: anywhere; font-family: monospace"
        return format_html('<div style="{}">{}</div>', style, row.message.payload)

    @admin.action(description="Send again (failed or sent ones)", permissions=["send"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> None:
        """Put them back into the queue; say of each other one why not."""
        again = 0
        for row in chosen.order_by("pk"):
            try:
                _send_again(row, request.user.get_username())
            except Refused as refusal:
                self.message_user(request, f"{row}: {refusal.detail}", messages.WARNING)
            else:
                again += 1
        self.message_user(request, f"{again:,} will be sent again.", messages.SUCCESS if again else messages.INFO)

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Those who could change a delivery, if anybody could."""
        return request.user.has_perm("webhooks.change_delivery")
