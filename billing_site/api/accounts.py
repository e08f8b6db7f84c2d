"""Accounts and their connections, as the operator pushes and sees them."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import usage_link
from accounts.models import (
    CONNECTION_KEY_PATTERN,
    SLUG_PATTERN,
    Account,
    AtLimitPolicy,
    Connection,
    ConnectionKind,
    Scope,
)
from billing_site.api import fields
from billing_site.api.endpoint import Endpoint, account_or_404
from billing_site.api.pages import PAGE_PARAMETERS, Pages
from billing_site.api.problems import Problem
from billing_site.api.usage import connection_or_404
from metering.overview import Overview, overview
from metering.registration import put_account, put_connection
from metering.warnings import warning_before


class AccountFields(fields.StrictSerializer):
    """What a PUT of an account may say."""

    name = fields.Text(max_length=200, required=False)
    billing_email = fields.Address(max_length=320, required=False, allow_blank=True)
    timezone = fields.TimeZone(max_length=64, required=False)
    signed_up_at = fields.Instant(required=False)
    plan = fields.Text(max_length=60, required=False)
    tier = fields.Text(max_length=60, required=False)
    anchor = fields.Instant(required=False)
    at_limit = fields.Choice(AtLimitPolicy.choices, required=False, allow_null=True)
    auto_upgrade = fields.YesNo(required=False)
    limit_override = fields.WholeNumber(min_value=1, max_value=fields.MAX_LIMIT, required=False, allow_null=True)
    trial_ends_at = fields.Instant(required=False, allow_null=True)


class NoFields(fields.StrictSerializer):
    """What takes no fields may be sent an empty object, or nothing."""


class ConnectionFields(fields.StrictSerializer):
    """What a PUT of a connection may say. A new one needs its kind."""

    name = fields.Text(max_length=200, required=False)
    kind = fields.Choice(ConnectionKind.choices, required=False)
    source_app = fields.Text(max_length=100, required=False, allow_blank=True)
    destination_app = fields.Text(max_length=100, required=False, allow_blank=True)
    enabled = fields.YesNo(required=False)
    record_email_sent = fields.YesNo(required=False)
    replayable = fields.YesNo(required=False, allow_null=True)
    score_expiry_days = fields.WholeNumber(min_value=1, max_value=36_500, required=False, allow_null=True)


LINK_LASTS: Final = timedelta(days=1)

_ACCOUNT_FIELDS: Final[Sequence[str]] = tuple(AccountFields().get_fields())
_CONNECTION_FIELDS: Final[Sequence[str]] = tuple(ConnectionFields().get_fields())


class Accounts(Endpoint):
    """All accounts, by slug."""

    scopes: ClassVar = {"GET": Scope.OPERATE}
    parameters: ClassVar = {"GET": PAGE_PARAMETERS}

    def get(self, request: Request) -> Response:
        pages = Pages("accounts", "slug")
        page = pages.of(Account.objects.all(), self)
        return pages.answer([_account_row(each) for each in overview(page, timezone.now())])


class OneAccount(Endpoint):
    """An account: see it, make it, change its settings."""

    scopes: ClassVar = {"GET": Scope.OPERATE, "PUT": Scope.OPERATE}

    def get(self, request: Request, slug: str) -> Response:
        [found] = overview([account_or_404(slug)], timezone.now())
        return Response(_account_row(found))

    def put(self, request: Request, slug: str) -> Response:
        if not re.fullmatch(SLUG_PATTERN, slug):
            detail = "A slug has 1 to 63 characters of a-z, 0-9 and -."
            raise Problem.of_field("slug", "bad_slug", detail)
        given, now = fields.read_fields(request, AccountFields), timezone.now()
        warning = warning_before(slug, given)
        account, created = put_account(slug, given, actor=self.actor, now=now)
        [found] = overview([account], now)
        row = _account_row(found)
        return Response(row if warning is None else {**row, "warning": warning}, status=201 if created else 200)


class UsageLink(Endpoint):
    """A link that shows an account's usage page to whoever holds it, for a day."""

    scopes: ClassVar = {"POST": Scope.OPERATE}

    def post(self, request: Request, slug: str) -> Response:
        account = account_or_404(slug)
        if request.META.get("CONTENT_LENGTH") not in (None, "", "0"):
            fields.read_fields(request, NoFields)
        link = usage_link.make(account.slug, now=timezone.now(), lasts=LINK_LASTS, people=True)
        return Response({"url": link.url, "expires_at": link.expires_at})


class OneConnection(Endpoint):
    """A connection of an account: see it, make it, change its settings."""

    scopes: ClassVar = {"GET": Scope.OPERATE, "PUT": Scope.OPERATE}

    def get(self, request: Request, slug: str, key: str) -> Response:
        return Response(connection_row(connection_or_404(account_or_404(slug), key)))

    def put(self, request: Request, slug: str, key: str) -> Response:
        account = account_or_404(slug)
        if not re.fullmatch(CONNECTION_KEY_PATTERN, key):
            detail = "A connection key has 1 to 100 characters of A-Z, a-z, 0-9 and ._~:-"
            raise Problem.of_field("key", "bad_key", detail)
        given = fields.read_fields(request, ConnectionFields)
        connection, created = put_connection(account, key, given, actor=self.actor, now=timezone.now())
        return Response(connection_row(connection), status=201 if created else 200)


def _account_row(found: Overview) -> dict[str, Any]:
    of_subscription = {"plan": found.plan, "tier": found.tier}
    settings = {
        name: of_subscription[name] if name in of_subscription else getattr(found.account, name)
        for name in _ACCOUNT_FIELDS
    }
    return {"slug": found.account.slug, **settings, "state": found.state}


def connection_row(connection: Connection) -> dict[str, Any]:
    return {name: getattr(connection, name) for name in ("key", *_CONNECTION_FIELDS)}
