"""What an account would have used without something: how to use less, with the exact saving."""

from typing import ClassVar, Final

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from billing_site.api import queries
from billing_site.api.endpoint import Endpoint
from billing_site.api.problems import Problem
from billing_site.api.usage import connection_or_404, opened
from metering.what_if import with_score_expiry, without_connection, without_reason

CHANGES: Final = ("without_reason", "without_connection", "score_expiry_days")
MOST_DAYS: Final = 36_500


class WhatIf(Endpoint):
    """The current period counted again with one thing changed."""

    scopes: ClassVar = {"GET": Scope.READ}
    parameters: ClassVar = {"GET": ["account", *CHANGES]}

    def get(self, request: Request) -> Response:
        account = self.account_asked_about()
        match [name for name in CHANGES if name in self.query]:
            case ["without_reason"]:
                answer = without_reason(account, self.query["without_reason"], opened(account))
            case ["without_connection"]:
                link = connection_or_404(account, self.query["without_connection"])
                answer = without_connection(account, link, opened(account))
            case ["score_expiry_days"]:
                days = queries.whole_number(self.query, "score_expiry_days", 1, least=1, most=MOST_DAYS)
                answer = with_score_expiry(account, days, opened(account))
            case _:
                raise Problem(400, "one_change", f"Ask for exactly one of {', '.join(CHANGES)}.")
        return Response(answer._asdict())
