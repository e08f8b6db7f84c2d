"""Lists in pages: `results`, `next`, `previous`, by cursor."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple, Protocol

from django.core.signing import BadSignature, Signer
from django.db.models import Model, Q, QuerySet
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from billing_site.api import queries
from billing_site.api.problems import Problem

PAGE_PARAMETERS: Final = ("page_size", "cursor")
DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 1_000


class _Request(Protocol):
    def build_absolute_uri(self) -> str: ...


class Asking(Protocol):
    """Who asks for a page: an endpoint, or a page of the site. `query`: its parameters."""

    @property
    def query(self) -> dict[str, str]: ...
    @property
    def request(self) -> _Request: ...


class _Cursor(NamedTuple):
    """Where a page begins: beyond a row, whose columns `position` holds, or (None) at the very end of the list."""

    backwards: bool = False
    position: Sequence[Any] | None = None


class Pages:
    """The pages of one list, in the order of columns that are unique together and never null.

    REST framework's own know one column and count rows from there on where it ties. Cursors are signed for their list,
    whose `name` names its owner too, and its order: one that was made up, damaged or belongs elsewhere is refused.
    """

    def __init__(self, name: str, *ordering: str) -> None:
        self._ordering = ordering
        self._columns = [column.removeprefix("-") for column in ordering]
        self._signer = Signer(salt=f"headcount.cursor.{name}.{','.join(ordering)}")
        self._address = ""
        self._next: _Cursor | None = None
        self._previous: _Cursor | None = None

    def of[Row: Model](self, rows: QuerySet[Row], endpoint: Asking) -> Sequence[Row]:
        """The page that is asked for. Raises `Problem`: `out_of_range`, `bad_cursor`."""
        size = self._size(endpoint)
        cursor = self._read(endpoint.query.get("cursor"))
        if cursor.position is not None:
            rows = rows.filter(self._beyond(cursor.position, backwards=cursor.backwards))
        ordered = rows.order_by(*self._ordering)
        found = list((ordered.reverse() if cursor.backwards else ordered)[: size + 1])
        page, is_cut_off = found[:size], len(found) > size
        if cursor.backwards:
            page.reverse()
        has_begun = cursor.position is not None
        has_previous, has_next = (is_cut_off, has_begun) if cursor.backwards else (has_begun, is_cut_off)
        self._previous = _Cursor(backwards=True, position=self._position(page[:1])) if has_previous else None
        self._next = _Cursor(backwards=False, position=self._position(page[-1:])) if has_next else None
        return page

    def of_days(self, first: date, last: date, endpoint: Asking) -> Sequence[date]:
        """The page of a range of days. Raises `Problem`: `out_of_range`, `bad_cursor`."""
        size = self._size(endpoint)
        cursor = self._read(endpoint.query.get("cursor"))
        days = range(first.toordinal(), last.toordinal() + 1)
        if cursor.position is None:
            page = days[:size]
        elif cursor.backwards:
            page = days[: max(cursor.position[0] - days.start, 0)][-size:]
        else:
            page = days[max(cursor.position[0] + 1 - days.start, 0) :][:size]
        if page:
            self._previous = _Cursor(backwards=True, position=list(page[:1])) if page[0] > days[0] else None
            self._next = _Cursor(backwards=False, position=list(page[-1:])) if page[-1] < days[-1] else None
        return [date.fromordinal(day) for day in page]

    def answer(self, results: Sequence[Any]) -> Response:
        """The page with the addresses of its neighbours."""
        return Response({"results": results, **self.neighbours()})

    def neighbours(self) -> dict[str, str | None]:
        """The addresses of the pages beside the one that was asked for."""
        return {"next": self._link(self._next), "previous": self._link(self._previous)}

    def _size(self, endpoint: Asking) -> int:
        self._address = endpoint.request.build_absolute_uri()
        return queries.whole_number(endpoint.query, "page_size", DEFAULT_PAGE_SIZE, least=1, most=MAX_PAGE_SIZE)

    def _beyond(self, position: Sequence[Any], *, backwards: bool) -> Q:
        """The rows beyond a position: `a > x or (a = x and (b > y or …))`; and `a >= x`, which an index understands."""
        signs = ["lt" if column.startswith("-") is not backwards else "gt" for column in self._ordering]
        beyond = Q()
        for name, sign, value in reversed(list(zip(self._columns, signs, position, strict=True))):
            further = Q((f"{name}__{sign}", value))
            beyond = further | Q((name, value)) & beyond if beyond else further
        return Q((f"{self._columns[0]}__{signs[0]}e", position[0])) & beyond

    def _position(self, rows: Sequence[Model]) -> Sequence[Any] | None:
        """A row's place in the order. Without a row (all of a page is gone) the link leads to the list's end."""
        for row in rows:
            values = [getattr(row, name) for name in self._columns]
            return [value.isoformat() if isinstance(value, datetime) else value for value in values]
        return None

    def _read(self, text: str | None) -> _Cursor:
        if text is None:
            return _Cursor()
        try:
            return _Cursor(*self._signer.unsign_object(text))
        except BadSignature:
            detail = "The cursor is not one of this list: follow `next` and `previous` as they are."
            raise Problem.of_field("cursor", "bad_cursor", detail) from None

    def _link(self, cursor: _Cursor | None) -> str | None:
        if cursor is None:
            return None
        return replace_query_param(self._address, "cursor", self._signer.sign_object(cursor))
