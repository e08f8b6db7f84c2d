"""The pages' own words: one for everything there is, and the forecast in sentences."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from accounts.models import ConnectionKind
from billing_site.usage import words
from metering.catalogue import BY_NAME, REASON_BY_LABEL
from metering.limits import STATE_OF
from metering.models import GapReason, PeriodState
from notifications.models import Kind, NotificationState


@pytest.mark.parametrize(
    ("words_of", "names"),
    [
        (words.REASONS, REASON_BY_LABEL),
        (words.TYPES, BY_NAME),
        (words.GAP_REASONS, GapReason.values),
        (words.KINDS, ConnectionKind.values),
        (words.MAILS, Kind.values),
        (words.MAIL_STATES, NotificationState.values),
        (words.PERIOD_STATES, PeriodState.values),
        (words.ACTIONS, STATE_OF.keys() | {"upgrade"}),
        (words.STATES, ["ok", "warning", "limit_reached", *STATE_OF.values(), "over_top_tier"]),
    ],
)
def test_there_is_a_word_for_everything_and_for_nothing_else(words_of: Any, names: Any):
    assert set(words_of) == set(names)


@pytest.mark.parametrize(
    ("name", "has_higher_tier", "sentence"),
    [
        ("upgrade", True, "The account moves up to a higher tier"),
        ("upgrade", False, "Counting goes on: there is no higher tier"),
        ("hold", False, "New data is held"),
        (None, True, "Nothing: there is no limit"),
    ],
)
def test_what_happens_at_the_limit_in_short(name: str | None, has_higher_tier: bool, sentence: str):
    assert words.action(name, has_higher_tier=has_higher_tier) == sentence


def seen(expected: int | None, on: date | None, **more: Any) -> dict[str, Any]:
    return {
        "unit": "active_contacts",
        "used": 800,
        "limit": 1_000,
        "state": "warning",
        "period": {"end": datetime(2026, 12, 1, tzinfo=UTC), "state": "open"},
        "forecast": {"used_at_period_end": expected, "limit_reached_on": on},
        **more,
    }


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        (seen(None, None), "It is too early to tell: a forecast needs a week of this period."),
        (
            seen(None, date(2026, 11, 3), used=1_000),
            "It is too early to tell: a forecast needs a week of this period. "
            "The limit was reached on 3 November 2026.",
        ),
        (
            seen(950, None),
            "If all goes on as it does, about 950 active contacts when the period ends on 1 December 2026. "
            "The limit will not be reached in this period.",
        ),
        (
            seen(1_200, date(2026, 11, 28)),
            "If all goes on as it does, about 1,200 active contacts when the period ends on 1 December 2026. "
            "The limit will be reached about 28 November 2026.",
        ),
        (
            seen(1_200, date(2026, 11, 22), used=990),
            "If all goes on as it does, about 1,200 active contacts when the period ends on 1 December 2026. "
            "The limit will be reached about 22 November 2026.",
        ),
        (
            seen(950, None, limit=None),
            "If all goes on as it does, about 950 active contacts when the period ends on 1 December 2026.",
        ),
        (
            seen(1_000, date(2026, 11, 20), used=1_000, state="paused"),
            "While nothing more is counted, the number stays at 1,000 active contacts. "
            "The limit was reached on 20 November 2026.",
        ),
        (
            seen(800, None, state="ok", period={"end": datetime(2026, 12, 1, tzinfo=UTC), "state": "closed"}),
            "The period ended on 1 December 2026 with 800 active contacts.",
        ),
        (seen(0, None, used=0, state="ok"), "Nothing is counted yet, so there is nothing to continue."),
    ],
)
def test_the_forecast_in_sentences(shown: dict[str, Any], sentence: str):
    assert words.forecast(shown, "UTC") == sentence
