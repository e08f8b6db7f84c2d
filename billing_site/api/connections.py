"""An account's connections, as it sees them itself."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Connection, Scope
from billing_site.api.accounts import connection_row
from billing_site.api.endpoint import Endpoint
from billing_site.api.pages import PAGE_PARAMETERS, Pages


class Connections(Endpoint):
    """All connections of an account and their settings, by key."""

    scopes: ClassVar = {"GET": Scope.READ}
    parameters: ClassVar = {"GET": ["account", *PAGE_PARAMETERS]}

    def get(self, request: Request) -> Response:
        account = self.account_asked_about()
        pages = Pages(f"connections of {account.pk}", "key")
        page = pages.of(Connection.objects.filter(account=account), self)
        return pages.answer([connection_row(each) for each in page])
