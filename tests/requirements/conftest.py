"""The cast with room to spare: limits and what follows from them are tested elsewhere."""

import pytest

from accounts.models import Account
from tests.factories import CAST, put_account


def with_room(account: Account) -> Account:
    """The same account with a limit that no test here reaches."""
    return put_account(account.slug, signed_up_at=CAST[account.slug]["signed_up_at"], limit_override=1_000_000)


@pytest.fixture
def acme(acme: Account) -> Account:
    """Acme, which pays by active contacts, with room."""
    return with_room(acme)


@pytest.fixture
def globex(globex: Account) -> Account:
    """Globex, which pays by activated contacts, with room."""
    return with_room(globex)


@pytest.fixture
def initech(initech: Account) -> Account:
    """Initech, which pays by events, with room."""
    return with_room(initech)
