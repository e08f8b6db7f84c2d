"""Looking through the customer's window: pages by their path, with a link of the account."""

import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any

from django.test import Client

from accounts import usage_link
from accounts.models import Account
from tests.factories import NOW

PATHS = (
    "",
    "less",
    "contacts",
    "contacts/why",
    "connections",
    "periods",
    "notifications",
    "gaps",
    "held",
    "help",
)


def token(account: Account, *, people: bool = True, now: datetime = NOW) -> str:
    """What opens an account's pages for a day."""
    return usage_link.make(account.slug, now=now, lasts=timedelta(days=1), people=people).url.partition("token=")[2]


def look(account: Account, path: str = "", *, people: bool = True, now: datetime = NOW, **query: Any) -> Any:
    """The answer to a page; `from` is `from_`."""
    asked = {name.rstrip("_"): value for name, value in query.items()}
    return Client().get(f"/usage/{path}", {**asked, "token": token(account, people=people, now=now)})


def text_of(answer: Any) -> str:
    """What a person reads of a page, in one line."""
    body = answer.content.decode().partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def numbers(answer: Any) -> dict[str, int]:
    """The numbers of a page by the names that they have in the API."""
    found = re.findall(r'data-number="([^"]+)">(-?[\d,]+)<', answer.content.decode())
    return {unescape(name): int(number.replace(",", "")) for name, number in found}
