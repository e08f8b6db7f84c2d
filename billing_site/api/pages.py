"""Lists in pages: `results`, `next`, `previous`, by cursor."""

from collections.abc import Sequence
from typing import Any, Final, override

from django.core.signing import BadSignature, Signer
from django.db.models import Model, QuerySet
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from billing_site.api import queries
from billing_site.api.endpoint import Endpoint
from billing_site.api.problems import Problem

PAGE_PARAMETERS: Final = ("page_size", "cursor")
DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 1_000


class Pages(CursorPagination):
    """The pages of one list, in the order of a unique column.

    Cursors are signed for their list, whose `name` names its owner too: one that was made up, damaged or
    belongs elsewhere is refused.
    """

    def __init__(self, name: str, ordering: str) -> None:
        self.ordering = ordering
        self._signer = Signer(salt=f"headcount.cursor.{name}")
        self._query: dict[str, str] = {}

    def of[Row: Model](self, rows: QuerySet[Row], endpoint: Endpoint) -> Sequence[Row]:
        """The page that is asked for. Raises `Problem`: `out_of_range`, `bad_cursor`."""
        self._query = endpoint.query
        page: Sequence[Row] = self.paginate_queryset(rows, endpoint.request, endpoint) or []
        return page

    def answer(self, results: Sequence[Any]) -> Response:
        """The page with the addresses of its neighbours."""
        links = {"next": self.get_next_link(), "previous": self.get_previous_link()}
        return Response({"results": results, **links})

    @override
    def get_page_size(self, request: Request) -> int:
        return queries.whole_number(self._query, "page_size", DEFAULT_PAGE_SIZE, least=1, most=MAX_PAGE_SIZE)

    @override
    def decode_cursor(self, request: Request) -> Cursor | None:
        encoded = self._query.get("cursor")
        if encoded is None:
            return None
        try:
            offset, reverse, position = self._signer.unsign_object(encoded)
        except BadSignature:
            detail = "The cursor is not one of this list: follow `next` and `previous` as they are."
            raise Problem.of_field("cursor", "bad_cursor", detail) from None
        return Cursor(offset=offset, reverse=reverse, position=position)

    @override
    def encode_cursor(self, cursor: Cursor) -> str:
        token = self._signer.sign_object([cursor.offset, cursor.reverse, cursor.position])
        return replace_query_param(self.base_url or "", self.cursor_query_param, token)
