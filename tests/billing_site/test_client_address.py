"""Where a request comes from, and who may say so."""

from typing import Any

import pytest
from django.test import RequestFactory

from accounts.models import Account, ApiKey
from billing_site.client_address import client_address
from tests.factories import Caller, make_key, rows


@pytest.mark.parametrize(
    ("connected", "found"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", "None"),
        ("a socket", "None"),
    ],
)
def test_it_is_who_is_connected(connected: str, found: str):
    request = RequestFactory().get("/", REMOTE_ADDR=connected, headers={"X-Forwarded-For": "198.51.100.1"})

    assert str(client_address(request)) == found


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("10.0.0.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1,nonsense", "None"),
        ("10.0.0.1,", "None"),
        ("198.51.100.1:443", "None"),
        (None, "None"),
    ],
)
def test_behind_a_proxy_it_is_the_last_that_the_proxy_names(settings: Any, sent: str | None, found: str):
    settings.PROXY_ADDRESS_HEADER = "HTTP_X_FORWARDED_FOR"
    request = RequestFactory().get("/", headers={} if sent is None else {"X-Forwarded-For": sent})

    assert str(client_address(request)) == found


def test_a_key_used_from_elsewhere_is_answered_as_a_bad_one(acme: Account, clock: Any):
    bound = Caller(make_key(acme, networks=["192.0.2.0/24"]))

    elsewhere = bound.get("usage")

    assert elsewhere.status_code == 401
    assert elsewhere.content == Caller(None).get("usage").content
    assert rows(ApiKey, "refusals", "last_used_at") == [(1, None)]


def test_where_a_key_was_used_last_is_noted(acme_caller: Caller):
    acme_caller.get("usage")

    assert rows(ApiKey, "last_used_from") == ["127.0.0.1"]
