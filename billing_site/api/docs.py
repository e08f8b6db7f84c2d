"""`schema/` and `docs/`: the API's description as a file, and as a page. Nobody needs a key for them."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.utils.decorators import method_decorator
from django.views.decorators.http import condition
from rest_framework.request import Request

from billing_site.api.endpoint import Endpoint

_FILE: Final = Path(__file__).with_name("openapi.json")


@cache
def _description() -> tuple[bytes, str]:
    """The file, made by `make openapi` and not while somebody waits, and its entity tag."""
    content = _FILE.read_bytes()
    return content, f'"{sha256(content).hexdigest()[:32]}"'


class _ForEverybody(Endpoint):
    """A page that needs no key, and is none of the operations that it describes."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()  # type: ignore[assignment]  # none, as of the other two
    schema = None
    scopes: ClassVar = {}  # nothing is asked of them, so any query is ignored


class Schema(_ForEverybody):
    """The description: OpenAPI 3.1, JSON."""

    @method_decorator(condition(etag_func=lambda request, **place: _description()[1]))
    def get(self, request: Request) -> Any:
        content, _ = _description()
        answer = HttpResponse(content, content_type="application/json")
        patch_cache_control(answer, no_cache=True)
        return answer


class Docs(_ForEverybody):
    """The description as a page: Redoc, from our own static files."""

    def get(self, request: Request) -> Any:
        return render(request._request, "billing_site/api_docs.html")
