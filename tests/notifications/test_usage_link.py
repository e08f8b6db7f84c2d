"""The link to usage in a mail: opens one account's usage until it expires, and cannot be made by anybody else."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import LazySettings

from accounts import usage_link
from tests.factories import NOW

DAY = timedelta(days=1)


def token_of(url: str) -> str:
    """What the page will be given."""
    return parse_qs(urlsplit(url).query, strict_parsing=True)["token"][0]


def test_a_link_leads_to_the_usage_of_its_account(settings: LazySettings):
    settings.BASE_URL = "https://billing.example.com"

    url, expires_at = usage_link.make("acme", now=NOW, lasts=90 * DAY, people=False)

    assert url.startswith("https://billing.example.com/usage/?token=")
    assert "%" not in url
    assert expires_at == NOW + 90 * DAY
    assert usage_link.read(token_of(url), NOW) == ("acme", False)


def test_a_link_says_whether_it_shows_people_too():
    token = token_of(usage_link.make("acme", now=NOW, lasts=DAY, people=True).url)

    assert usage_link.read(token, NOW) == ("acme", True)


def test_it_is_good_until_the_second_it_expires():
    token = token_of(usage_link.make("acme", now=NOW, lasts=DAY, people=False).url)

    assert usage_link.read(token, NOW + DAY - timedelta(microseconds=1)) == ("acme", False)
    with pytest.raises(usage_link.ExpiredLink):
        usage_link.read(token, NOW + DAY)


def test_another_slug_or_another_day_needs_another_signature():
    token = token_of(usage_link.make("acme", now=NOW, lasts=DAY, people=False).url)
    other = token_of(usage_link.make("globex", now=NOW, lasts=30 * DAY, people=False).url)

    for forged in (other.split(".")[0] + "." + token.split(".")[1], token[:-1], token + "x", token.split(".")[0]):
        with pytest.raises(usage_link.BadLink):
            usage_link.read(forged, NOW)


@pytest.mark.parametrize("token", ["", ".", "..", "a.b", "\0", "\ud800.x", "x" * 100_000, "é.é"])
def test_nonsense_is_no_link(token: str):
    with pytest.raises(usage_link.BadLink):
        usage_link.read(token, NOW)


def test_another_secret_makes_other_links_and_a_retired_one_still_reads(settings: LazySettings):
    token = token_of(usage_link.make("acme", now=NOW, lasts=DAY, people=False).url)
    before = settings.SECRET_KEY

    settings.SECRET_KEY = "another secret"
    with pytest.raises(usage_link.BadLink):
        usage_link.read(token, NOW)

    settings.SECRET_KEY_FALLBACKS = [before]
    assert usage_link.read(token, NOW) == ("acme", False)
