"""Events taken back, people forgotten, and the full list of members, as the operator asks for them."""

from typing import Any, ClassVar, Final

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, Scope
from billing_site.api import fields
from billing_site.api.bodies import media_type, read_object, stream_body
from billing_site.api.endpoint import Endpoint, account_or_404
from billing_site.api.problems import Problem
from billing_site.api.usage import connection_or_404
from metering.erasure import erase
from metering.identity import MAX_ADDRESS, BadSubject
from metering.members import MAX_BYTES, put_members
from metering.voiding import void

MAX_REASON: Final = 1_000

LINES: Final = ("application/x-ndjson", "application/ndjson")
"""The media types of a JSON text a line."""


class VoidFields(fields.StrictSerializer):
    """Which event is taken back, and why."""

    source = fields.Text(max_length=255)  # type: ignore[assignment]  # taken off the class, which has one of its own
    id = fields.Text(max_length=255)
    reason = fields.Text(max_length=MAX_REASON)
    account = fields.Text(max_length=63, required=False)


class VoidEvent(Endpoint):
    """Take back an event. Again changes nothing and answers the same."""

    scopes: ClassVar = {"POST": Scope.OPERATE}
    parameters: ClassVar = {"POST": ["account"]}

    def post(self, request: Request) -> Response:
        given = _given(request, VoidFields)
        account = self._account(given.get("account"))
        voided = void(
            account, given["source"], given["id"], reason=given["reason"], actor=self.actor, now=timezone.now()
        )
        return Response({"source": voided.source, "id": voided.id, "state": "voided", "voided_at": voided.voided_at})

    def _account(self, named: str | None) -> Account:
        """The account that the body or the query names. Raises `Problem`."""
        asked = self.query.get("account", named)
        if asked is None:
            detail = "An operator key must name the account, in the body or as ?account=slug."
            raise Problem.of_field("account", "account_required", detail)
        if named is not None and named != asked:
            raise Problem.of_field("account", "two_accounts", "The body names another account than the query.")
        return account_or_404(asked)


class EraseFields(fields.StrictSerializer):
    """Who is to be forgotten, and perhaps why."""

    subject = fields.Text(max_length=MAX_ADDRESS)
    reason = fields.Text(max_length=MAX_REASON, required=False, allow_blank=True)


class EraseContact(Endpoint):
    """Forget a person under all of their addresses. Again changes nothing and answers the same."""

    scopes: ClassVar = {"POST": Scope.OPERATE}

    def post(self, request: Request, slug: str) -> Response:
        account = account_or_404(slug)
        given = _given(request, EraseFields)
        try:
            erased = erase(
                account, given["subject"], actor=self.actor, now=timezone.now(), reason=given.get("reason", "")
            )
        except BadSubject as error:
            raise Problem.of_field("subject", error.code, error.detail) from None
        return Response({"erased": True, "counted_until": erased.counted_until})


class Members(Endpoint):
    """All members of a contact sync, a person a line; who is not listed is none any more."""

    scopes: ClassVar = {"PUT": Scope.OPERATE}

    def put(self, request: Request, slug: str, key: str) -> Response:
        now = timezone.now()
        account = account_or_404(slug)
        link = connection_or_404(account, key)
        media_type(request._request, LINES)
        answer = put_members(account, link, stream_body(request._request, MAX_BYTES), now=now)
        return Response(answer._asdict())


def _given(request: Request, form: type[fields.StrictSerializer]) -> dict[str, Any]:
    """The fields that a body gives, each in its type. Raises `ValidationError`, `BadBody`, `Problem`."""
    serializer = form(data=read_object(request._request))
    serializer.is_valid(raise_exception=True)
    given: dict[str, Any] = serializer.validated_data
    return given
