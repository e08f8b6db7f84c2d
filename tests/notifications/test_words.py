"""Numbers, dates and names in mails."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from notifications import words


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (112, "112th"), (1_001, "1,001st"), (20, "20th")],
)
def test_ordinals(number: int, said: str):
    assert words.ordinal(number) == said


def test_one_and_many():
    unit = words.UNITS["active_contacts"]

    assert [unit.count(number) for number in (0, 1, 1_000)] == [
        "0 active contacts",
        "1 active contact",
        "1,000 active contacts",
    ]


@pytest.mark.parametrize(
    ("timezone", "said"),
    [
        ("UTC", "30 November 2026, 23:00 (UTC)"),
        ("Europe/Berlin", "1 December 2026, 00:00 (Europe/Berlin)"),
        ("America/New_York", "30 November 2026, 18:00 (America/New_York)"),
        ("No/Such_Zone", "30 November 2026, 23:00 (UTC)"),
        ("../etc/passwd", "30 November 2026, 23:00 (UTC)"),
        ("", "30 November 2026, 23:00 (UTC)"),
    ],
)
def test_a_moment_is_told_in_a_zone_that_it_names(timezone: str, said: str):
    assert words.moment(datetime(2026, 11, 30, 23, tzinfo=UTC), timezone) == said


def test_money():
    assert words.money(Decimal("1290")) == "EUR 1,290.00"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Acme", "Acme"),
        ("  Acme\r\nBcc: x ", "Acme Bcc: x"),
        ("a\u202eb\x00c\u2028d", "a b c d"),
        ("x" * 81, "x" * 79 + "…"),
        ("x" * 80, "x" * 80),
    ],
)
def test_a_name_is_one_short_line(name: str, said: str):
    assert words.plain(name) == said


def test_lists_read_as_sentences():
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.listed(["a", "b", "c", "d"], at_most=2) == "a, b and 2 more"
