"""A receiver for each test that wants one."""

from collections.abc import Iterator

import pytest

from tests.webhooks.receiver import Receiver, receiver


@pytest.fixture
def server() -> Iterator[Receiver]:
    """It answers 204 to everything unless told otherwise."""
    with receiver() as server:
        yield server
