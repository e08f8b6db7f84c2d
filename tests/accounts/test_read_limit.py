"""A rate that many processes keep together."""

from datetime import timedelta

import pytest
from django.db import connection

from accounts.models import ApiKey, ReadAllowance
from accounts.read_limit import take_read
from tests.at_once import at_once
from tests.factories import NOW, make_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(db: None) -> int:
    """A key, by its number."""
    make_key()
    return ApiKey.objects.get().pk


def how_many(key: int, rate: int, after: timedelta = timedelta(0)) -> int:
    """How many reads in a row are allowed at one moment."""
    return next(number for number in range(rate + 2) if take_read(key, rate, NOW + after) is None)


@pytest.mark.parametrize("rate", [1, 2, 3, 6, 7, 50, 999, 1_500])
def test_at_one_moment_as_many_reads_are_allowed_as_in_a_second(key: int, rate: int):
    assert how_many(key, rate) == rate


def test_each_read_says_how_many_are_left(key: int):
    assert [take_read(key, 3, NOW) for _ in range(5)] == [2, 1, 0, None, None]


@pytest.mark.parametrize(("milliseconds", "back"), [(19, 0), (20, 1), (39, 1), (500, 25), (1_000, 50), (60_000, 50)])
def test_reads_come_back_one_by_one_and_never_more_than_a_seconds_worth(key: int, milliseconds: int, back: int):
    assert how_many(key, 50) == 50

    assert how_many(key, 50, timedelta(milliseconds=milliseconds)) == back


def test_a_key_does_not_spend_what_another_has(key: int):
    make_key()
    other = ApiKey.objects.exclude(pk=key).get().pk
    assert how_many(key, 2) == 2

    assert how_many(other, 2) == 2


def test_a_clock_that_is_behind_another_gives_nothing_away(key: int):
    assert how_many(key, 5) == 5

    assert take_read(key, 5, NOW - timedelta(seconds=1)) is None


def test_a_refused_read_writes_nothing(key: int):
    how_many(key, 2)
    before = ReadAllowance.objects.get().even_at

    assert take_read(key, 2, NOW) is None
    assert ReadAllowance.objects.get().even_at == before


@pytest.mark.django_db(transaction=True)
def test_of_many_reads_at_once_exactly_the_rate_is_allowed(key: int):
    def read_ten_times() -> int:
        return sum(take_read(key, 50, NOW) is not None for _ in range(10))

    assert sum(at_once(*[read_ten_times] * 12)) == 50


def test_what_is_written_at_every_read_costs_no_log(db: None):
    with connection.cursor() as cursor:
        cursor.execute("SELECT relpersistence FROM pg_class WHERE relname = 'accounts_readallowance'")
        assert cursor.fetchone() == ("u",)
