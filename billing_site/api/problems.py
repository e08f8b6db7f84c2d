"""Errors as RFC 9457 problems with a stable `code`; whatever a client sends, none of them is a 5xx.

A 503 says: nothing is wrong with what you sent, send it again.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import psycopg
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.utils.log import log_response
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from accounts.refusals import Refused
from metering.characters import shown
from metering.envelope import BadBody
from metering.lock import AccountBusy
from metering.usage import UnknownPeriod

MEDIA_TYPE: Final = "application/problem+json"
MOST_ERRORS: Final = 100
"""Of one answer: a body may have thousands of unknown fields."""

_log = logging.getLogger("django.request")


class FieldError(NamedTuple):
    """What is wrong with one field of a body, or one query parameter."""

    field: str
    code: str
    detail: str


class Problem(Exception):
    """An answer that is an error. For one about a field: `of_field`."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    @classmethod
    def of_field(cls, field: str, code: str, detail: str, *, status: int = 400) -> "Problem":
        """One thing is wrong, and it has a name."""
        return cls(status, code, detail, errors=[FieldError(field, code, detail)])

    @property
    def body(self) -> dict[str, Any]:
        """The problem as an object. Without a page of its own, its title is the name of its status."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [error._asdict() for error in self.errors[:MOST_ERRORS]]
        return body


def not_found() -> Problem:
    """For what does not exist and for what is not yours: nobody can tell the one from the other."""
    return Problem(404, "not_found", "There is no such resource.")


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response:
    """What REST framework calls for anything that a view raises."""
    problem = problem_of(error)
    response = Response(problem.body, status=problem.status, headers=dict(problem.headers), content_type=MEDIA_TYPE)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        request = context["request"]._request
        log_response(
            "%s: %s",
            response.reason_phrase,
            request.path,
            response=response,
            request=request,
            exception=error,
            logger=_log,
        )
    if problem.code == "internal_error":
        got_request_exception.send(sender=None, request=context["request"]._request)
    return response


def problem_of(error: Exception) -> Problem:
    """What to answer to anything that a view raises."""
    match error:
        case Problem():
            return error
        case Refused():
            errors = [FieldError(error.field, error.code, error.detail)] if error.field else []
            return Problem(error.status, error.code, error.detail, errors=errors)
        case BadBody():
            return Problem(error.status, error.code, error.detail)
        case UnknownPeriod() | Http404() | exceptions.NotFound():
            return not_found()
        case exceptions.ValidationError():
            return _of_fields(error)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            detail = "Send a valid key in a header: Authorization: Bearer <key>."
            return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        case exceptions.PermissionDenied():
            return Problem(403, "forbidden", "The key lacks the scope that this needs.")
        case exceptions.MethodNotAllowed():
            return Problem(405, "method_not_allowed", "This path does not take that method; see the header Allow.")
        case BadRequest() | SuspiciousOperation():
            return Problem(400, "bad_request", "The request cannot be read.")
        case AccountBusy():
            detail = "Another writer holds the account; sending the same again is right."
            return Problem(503, "account_busy", detail, headers={"Retry-After": str(error.retry_after_seconds)})
        case OperationalError() | InterfaceError() | psycopg.OperationalError():
            detail = "The database did not answer; sending the same again is right."
            return Problem(503, "try_again", detail, headers={"Retry-After": "2"})
        case _:
            return _internal_error()


def _internal_error() -> Problem:
    return Problem(500, "internal_error", "Something went wrong here. It was noted.")


def _of_fields(error: exceptions.ValidationError) -> Problem:
    details: Mapping[str, Any] = error.get_full_details()  # type: ignore[assignment]  # ours are by field
    errors = [
        FieldError(shown(field, 100), found["code"], str(found["message"]))
        for field, found_here in details.items()
        for found in found_here
    ]
    codes = {each.code for each in errors}
    code = codes.pop() if len(codes) == 1 else "invalid"
    return Problem(400, code, "; ".join(f"{each.field}: {each.detail}" for each in errors[:3]), errors=errors)


def no_such_path(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    """404 for a path that nothing answers; a page outside the API."""
    if not _is_of_the_api(request):
        return defaults.page_not_found(request, exception or Http404())
    return plain(not_found())


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """400 for what Django itself refuses, as an unknown Host; a page outside the API."""
    if not _is_of_the_api(request):
        return defaults.bad_request(request, exception)
    return plain(problem_of(BadRequest()))


def server_error(request: HttpRequest) -> HttpResponseBase:
    """500 for what went wrong before a view was reached; a page outside the API."""
    if not _is_of_the_api(request):
        return defaults.server_error(request)
    return plain(_internal_error())


def _is_of_the_api(request: HttpRequest) -> bool:
    return request.path_info == "/api" or request.path_info.startswith("/api/")


def plain(problem: Problem) -> JsonResponse:
    """The answer outside of a view."""
    return JsonResponse(problem.body, status=problem.status, content_type=MEDIA_TYPE)
