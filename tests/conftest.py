"""Fixtures that all tests share. Who plays, and what events and keys are made with: `factories.py`."""

import os
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import settings

from accounts.models import Account
from plans.catalogue import load
from tests.factories import NOW, Caller, join, make_key

# The same examples in every run: red means a change, not luck. HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


class StoppedClock:
    """What `timezone.now()` says: `NOW`, until the test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def move_to(self, at: datetime) -> None:
        """Show another time from here on."""
        self.now = at

    def advance(self, **by: float) -> None:
        """Move on: `advance(days=9, hours=1)`."""
        self.now += timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    """The interfaces' clock, standing at `NOW`. (The database's own goes on; `created_at` is by that.)"""
    stopped = StoppedClock()
    monkeypatch.setattr(timezone, "now", stopped)
    return stopped


@pytest.fixture(autouse=True)
def unlimited_reads(settings: Any) -> None:
    """While the clock stands nothing that was read is given back: reads are limited where a test says so."""
    settings.READ_RATE = 0


@pytest.fixture
def catalogue(db: None) -> None:
    """The shipped plans."""
    load(NOW)


@pytest.fixture
def acme(catalogue: None) -> Account:
    """On connect/starter: 1,000 active contacts, period 1 November to 1 December."""
    return join("acme")


@pytest.fixture
def globex(catalogue: None) -> Account:
    """On social/free: 100 activated contacts in a calendar month of Berlin."""
    return join("globex")


@pytest.fixture
def initech(catalogue: None) -> Account:
    """On connect-legacy/s: 1,000 events, period 10 November to 10 December."""
    return join("initech")


@pytest.fixture
def operator(db: None, clock: StoppedClock) -> Caller:
    """The product's own worker: HTTP with an operator key of every scope."""
    return Caller(make_key())


@pytest.fixture
def acme_caller(acme: Account, clock: StoppedClock) -> Caller:
    """Acme: HTTP with a key that may write and read."""
    return Caller(make_key(acme))


@pytest.fixture
def globex_caller(globex: Account, clock: StoppedClock) -> Caller:
    """Globex: HTTP with a key that may write and read."""
    return Caller(make_key(globex))


@pytest.fixture
def initech_caller(initech: Account, clock: StoppedClock) -> Caller:
    """Initech: HTTP with a key that may write and read."""
    return Caller(make_key(initech))


@pytest.fixture
def stranger(clock: StoppedClock) -> Caller:
    """Anybody: HTTP without a key."""
    return Caller(None)
