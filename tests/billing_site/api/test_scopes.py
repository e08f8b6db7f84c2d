"""Every endpoint, with a key of every scope: the addresses themselves are the table."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import Account, Scope
from billing_site.api import urls
from billing_site.api.endpoint import Endpoint
from tests.factories import Caller, make_key

pytestmark = pytest.mark.django_db

VALUES = {"slug": "acme", "key": "website", "start": "2026-11-01T00:00:00Z", "subject": "ann@example.com"}


def endpoints() -> Iterator[tuple[str, str, str]]:
    """Every method of every endpoint, with the scope that its view names."""
    for pattern in urls.urlpatterns:
        view: Any = getattr(pattern.callback, "view_class", None) or getattr(pattern.callback, "cls", None)
        if view is not None and issubclass(view, Endpoint):
            for method, scope in view.scopes.items():
                yield method, str(pattern.pattern), scope


ALL = sorted(endpoints())


def needed(method: str, route: str) -> str:
    """What DESIGN says: writing is posting events; what is about an account as a whole is the operator's."""
    if (method, route) == ("POST", "events"):
        return "write"
    return "operate" if route.startswith("accounts") or route == "events/void" else "read"


def test_all_endpoints_are_found():
    assert len(ALL) >= 25
    assert {scope for _, _, scope in ALL} == {"write", "read", "operate"}


@pytest.mark.parametrize(("method", "route", "scope"), ALL)
def test_an_endpoint_wants_the_scope_of_its_kind(method: str, route: str, scope: str):
    assert scope == needed(method, route)


@pytest.mark.parametrize("of_operator", [True, False])
@pytest.mark.parametrize(("method", "route", "needs"), ALL)
def test_a_key_opens_what_its_scope_names_and_nothing_else(
    acme: Account, clock: Any, method: str, route: str, needs: str, of_operator: bool
):
    path = route
    for name, value in VALUES.items():
        path = re.sub(rf"<(str|path):{name}>", value, path)
    assert "<" not in path

    for scope in Scope.values:
        if of_operator or scope != Scope.OPERATE:
            key = make_key(None if of_operator else acme, scope)
            answer = Caller(key).client.generic(method, f"/api/v1/{path}", headers={"Authorization": f"Bearer {key}"})
            assert (answer.status_code == 403) is (scope != needs), scope
            assert answer.status_code != 401
