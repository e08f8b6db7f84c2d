"""Who asks, by the key in the header Authorization, and whether that key may."""

from typing import Any, override

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.keys import admit
from accounts.models import ApiKey
from billing_site.client_address import client_address


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer hc_live_…`. Every request needs one; `request.auth` is its row."""

    @override
    def authenticate(self, request: Request) -> tuple[Any, ApiKey]:
        scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationFailed
        key = admit(text.strip(" "), now=timezone.now(), address=client_address(request._request))
        if key is None:
            raise AuthenticationFailed
        return None, key

    @override
    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScope(BasePermission):
    """Whether the key has the scope that the view's `scopes` name for the method."""

    @override
    def has_permission(self, request: Request, view: Any) -> bool:
        method = "GET" if request.method == "HEAD" else request.method
        needed = view.scopes.get(method)
        key: Any = request.auth
        return needed is None or needed in key.scopes  # None: a 405 follows
