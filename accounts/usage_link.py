"""A link that shows an account's usage to whoever holds it, without a login, until it expires."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from django.conf import settings
from django.core.signing import BadSignature, Signer

_SALT = "accounts.usage_link"
_BETWEEN = "."  # stands in an address as it is; the usual colon would be escaped


class UsageLink(NamedTuple):
    """The address, and from when on it is refused (whole seconds, UTC)."""

    url: str
    expires_at: datetime


class BadLink(Exception):
    """The token was not made here, or not as it is now."""


class ExpiredLink(BadLink):
    """The token was good once."""


def make(account_slug: str, *, now: datetime, lasts: timedelta) -> UsageLink:
    """A link to the usage of an account, good for a time."""
    expires_at = (now + lasts).astimezone(UTC).replace(microsecond=0)
    token = _signer().sign_object([account_slug, int(expires_at.timestamp())])
    return UsageLink(f"{settings.BASE_URL}/usage/?{urlencode({'token': token})}", expires_at)


def read(token: str, now: datetime) -> str:
    """The slug of the account that a token was made for; raises BadLink, or ExpiredLink when its time is over."""
    try:
        slug, expires_at = _signer().unsign_object(token)
    except (BadSignature, ValueError) as error:  # ValueError: text that is no text, such as half a surrogate pair
        raise BadLink("this link is not one of ours") from error
    if now.timestamp() >= expires_at:
        raise ExpiredLink("this link has expired")
    return str(slug)


def _signer() -> Signer:
    return Signer(sep=_BETWEEN, salt=_SALT)
