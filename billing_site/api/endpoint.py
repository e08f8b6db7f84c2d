"""What all endpoints have in common: strict query parameters, one representation, and whose data it is."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, cast, override

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import SLUG_PATTERN, Account, ApiKey, Scope
from billing_site.api.problems import Problem, not_found
from billing_site.api.queries import read_query
from billing_site.api.read_limit import ReadLimit
from billing_site.api.revalidation import revalidate


class IgnoresAccept(BaseContentNegotiation):
    """There is one representation; who accepts only another gets it all the same (RFC 9110, 12.1)."""

    @override
    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        return next(iter(parsers))

    @override
    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type or ""


class Endpoint(APIView):
    """A view of the API. `scopes`: what each of its methods needs; `parameters`: what each may be asked.

    `revalidates`: whoever has an answer to GET may ask whether it still holds, by its ETag.
    """

    scopes: ClassVar[Mapping[str, Scope]]
    parameters: ClassVar[Mapping[str, Collection[str]]] = {}
    revalidates: ClassVar[bool] = False
    content_negotiation_class = IgnoresAccept
    throttle_classes = (ReadLimit,)
    http_method_names = ("get", "head", "post", "put")  # no OPTIONS: it would describe the code

    query: dict[str, str]

    @override
    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = "GET" if request.method == "HEAD" else request.method or ""
        if method in self.scopes:
            self.query = read_query(request._request, self.parameters.get(method, ()))

    @override
    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Response:
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        if self.revalidates and request.method in ("GET", "HEAD"):
            revalidate(request._request, answer)
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    @property
    def key(self) -> ApiKey:
        """The key that asks."""
        return cast(ApiKey, self.request.auth)

    @property
    def actor(self) -> str:
        """How the audit trail names who asks."""
        return f"key {self.key.prefix}"

    def account_asked_about(self) -> Account:
        """The account of the key, or the one that an operator names by `?account=`.

        Raises `Problem`: `account_required`; `not_found`, the same for a foreign and for a missing one.
        """
        slug = self.query.get("account")
        own = self.key.account
        if own is None:
            if slug is None:
                detail = "An operator key must say whose data it asks for: ?account=slug."
                raise Problem.of_field("account", "account_required", detail)
            return account_or_404(slug)
        if slug is not None and slug != own.slug:
            raise not_found()
        return own


def account_or_404(slug: str) -> Account:
    """The account of a slug. Raises `Problem`."""
    found = Account.objects.filter(slug=slug).first() if re.fullmatch(SLUG_PATTERN, slug) else None
    if found is None:
        raise not_found()
    return found
