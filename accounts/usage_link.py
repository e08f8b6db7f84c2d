"""A link that shows an account's usage to whoever holds it, without a login, until it expires."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from django.conf import settings
from django.core.signing import BadSignature, Signer

_SALT = "accounts.usage_link"
_PEOPLE = "people"
_BETWEEN = "."  # stands in an address as it is; the usual colon would be escaped


class UsageLink(NamedTuple):
    """The address, and from when on it is refused (whole seconds, UTC)."""

    url: str
    expires_at: datetime

    @property
    def path(self) -> str:
        """The address without the host, for whoever is here already."""
        return self.url.removeprefix(settings.BASE_URL)


class Opened(NamedTuple):
    """What a token opens: the usage of an account, by its slug; and whether also the people behind the numbers."""

    account: str
    people: bool


class BadLink(Exception):
    """The token was not made here, or not as it is now."""


class ExpiredLink(BadLink):
    """The token was good once."""


def make(account_slug: str, *, now: datetime, lasts: timedelta, people: bool) -> UsageLink:
    """A link to the usage of an account, good for a time. `people`: it shows who counts, not only how many; never in a
    mail, which is forwarded."""
    expires_at = (now + lasts).astimezone(UTC).replace(microsecond=0)
    token = _signer().sign_object([account_slug, int(expires_at.timestamp()), *([_PEOPLE] if people else [])])
    return UsageLink(f"{settings.BASE_URL}/usage/?{urlencode({'token': token})}", expires_at)


def read(token: str, now: datetime) -> Opened:
    """What a token opens; raises BadLink, or ExpiredLink when its time is over."""
    try:
        slug, expires_at, *more = _signer().unsign_object(token)
    except (BadSignature, ValueError) as error:  # ValueError: text that is no text, such as half a surrogate pair
        raise BadLink("this link is not one of ours") from error
    if now.timestamp() >= expires_at:
        raise ExpiredLink("this link has expired")
    return Opened(str(slug), people=more == [_PEOPLE])


def _signer() -> Signer:
    return Signer(sep=_BETWEEN, salt=_SALT)
