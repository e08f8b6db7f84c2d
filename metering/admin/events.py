"""Stored events."""

from collections.abc import Sequence
from typing import ClassVar, override

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from metering.admin.growing import GrowingAdmin
from metering.models import Event, EventState, EventVoid


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
