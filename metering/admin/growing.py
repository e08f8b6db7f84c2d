"""What the lists of tables that grow with traffic have in common."""

from collections.abc import Sequence
from typing import ClassVar

from django.contrib import admin
from unfold.paginator import InfinitePaginator

from accounts.admin import ReadOnlyAdmin
from metering.catalogue import BY_CODE
from metering.models import Event, Gap


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
