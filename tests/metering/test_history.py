"""Replaying history: an account with a clock of its own lives through it as if it were live (DESIGN section 8)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from accounts.models import Account
from accounts.refusals import Refused
from metering import envelope, history
from metering.intake import ItemOutcome
from metering.models import AccountMeter, BillingPeriod, CountedContact, Event, OutcomeTally, QuarantinedEvent
from metering.periods import accounts_with_due_work
from metering.reconcile import differences
from metering.usage import usage
from tests.factories import NOW, deliver, event, put_account, put_connection, rows

SIGN_UP = datetime(2025, 1, 10, tzinfo=UTC)
PERIOD_COLUMNS = (
    "starts_at",
    "ends_at",
    "state",
    "app_connector_events",
    "active_contacts",
    "carried_in",
    "closed_at",
)


@pytest.fixture
def veteran(catalogue: None) -> Account:
    """Signed up on 10 January 2025, and has sent us nothing yet."""
    account = put_account("veteran", signed_up_at=SIGN_UP, plan="connect", tier="starter")
    put_connection(account, "pipedrive-mailchimp")
    return account


def day(number: float) -> datetime:
    """A time so many days after the sign-up."""
    return SIGN_UP + timedelta(days=number)


def opened(*days: float, **attributes: Any) -> list[dict[str, Any]]:
    """A mail opened on each of these days, each by somebody else."""
    return [
        event(
            **{
                "id": f"mail-{number}",
                "subject": f"person-{number}@example.com",
                "time": day(number),
                **attributes,
            }
        )
        for number in days
    ]


def replay(account: Account, events: Sequence[dict[str, Any]], *, batch: int = 1_000) -> list[ItemOutcome]:
    """Replay events in batches, without taking or releasing the clock."""
    outcomes: list[ItemOutcome] = []
    for start in range(0, len(events), batch):
        body = msgspec.json.encode(events[start : start + batch])
        found, _ = history.replay(account, envelope.read(body, single=False), NOW)
        outcomes += sorted(found, key=lambda item: item.index)
    return outcomes


def relive(account: Account, events: Sequence[dict[str, Any]], *, batch: int = 1_000) -> None:
    """A whole import: take the clock, replay, release."""
    history.take_clock(account, NOW)
    replay(account, events, batch=batch)
    history.release_clock(account, NOW)


def verdicts(outcomes: Iterable[ItemOutcome]) -> list[str]:
    return [item.verdict.code or item.verdict.outcome for item in outcomes]


def clock_of(account: Account) -> datetime | None:
    return AccountMeter.objects.get(account=account).clock


def periods_of(account: Account) -> list[BillingPeriod]:
    return list(BillingPeriod.objects.filter(account=account).order_by("starts_at"))


def test_the_clock_moves_with_the_events_and_what_falls_due_is_done_at_its_own_time(veteran: Account) -> None:
    history.take_clock(veteran, NOW)
    replay(veteran, opened(1, 5, 35))

    first, second = periods_of(veteran)
    assert (first.starts_at, first.ends_at) == (SIGN_UP, datetime(2025, 2, 10, tzinfo=UTC))
    assert (first.state, first.closed_at) == ("closed", datetime(2025, 2, 11, tzinfo=UTC))
    assert (first.active_contacts, second.active_contacts, second.state) == (2, 1, "open")
    assert clock_of(veteran) == day(35)
    assert rows(Event, "received_at") == [day(1), day(5), day(35)]


def test_release_does_what_is_due_up_to_now_and_gives_the_wall_clock_back(veteran: Account) -> None:
    relive(veteran, opened(1, 35))

    periods = periods_of(veteran)
    assert clock_of(veteran) is None
    assert len(periods) == 23
    assert periods[-1].ends_at == datetime(2026, 12, 10, tzinfo=UTC)
    assert {period.state for period in periods[:-1]} == {"closed"}
    assert periods[-1].state == "open"
    assert all(period.closed_at == period.closes_at for period in periods[:-1])
    assert differences(veteran) == []


def test_members_are_carried_from_month_to_month_through_history(veteran: Account) -> None:
    joined = event(type="contact.matched", subject="ann@example.com", time=day(2))
    left = event(type="contact.unmatched", subject="ann@example.com", time=day(70))
    history.take_clock(veteran, NOW)
    replay(veteran, [joined, *opened(40), left, *opened(95)])

    assert [(period.active_contacts, period.carried_in) for period in periods_of(veteran)] == [
        (1, 0),
        (2, 1),
        (1, 1),
        (1, 0),
    ]


def test_an_event_in_grace_counts_in_its_period_and_one_after_it_is_late(veteran: Account) -> None:
    history.take_clock(veteran, NOW)
    outcomes = replay(veteran, opened(30, 31.5, 30.5, 32.5, 30.75))

    assert verdicts(outcomes) == ["recorded", "recorded", "recorded", "recorded", "late"]
    assert [period.active_contacts for period in periods_of(veteran)] == [2, 2]


def test_the_period_before_the_first_one_closes_at_its_time_within_a_batch(veteran: Account) -> None:
    history.take_clock(veteran, NOW)
    outcomes = replay(veteran, opened(31.25, 30.5, 31.9, 30.6, 32.5, 30.7))

    assert verdicts(outcomes) == ["recorded"] * 5 + ["late"]
    assert [(period.active_contacts, period.state) for period in periods_of(veteran)] == [
        (2, "closed"),
        (3, "open"),
    ]


@pytest.mark.parametrize("batch", [1, 2, 7, 1_000])
def test_batches_of_any_size_live_through_the_same_history(veteran: Account, batch: int) -> None:
    days = [3, 1, 30.5, 31.2, 30.9, 33, 29, 64, 61.9, 150, 149, 151, 125, 90, 152]
    states = [
        event(id="in", type="contact.matched", subject="ann@example.com", time=day(20)),
        event(id="out", type="contact.unmatched", subject="ann@example.com", time=day(140)),
    ]
    history.take_clock(veteran, NOW)
    outcomes = replay(veteran, [*opened(*days[:3]), states[0], *opened(*days[3:]), states[1]], batch=batch)

    found = [tuple(getattr(period, name) for name in PERIOD_COLUMNS) for period in periods_of(veteran)]
    assert [row[3:6] for row in found] == [
        (4, 5, 0),
        (2, 3, 1),
        (2, 3, 1),
        (0, 1, 1),
        (3, 4, 1),
        (2, 3, 1),
    ]
    assert verdicts(outcomes).count("late") == 2
    assert verdicts(outcomes).count("too_old") == 1
    assert [row[6] for row in found[:-1]] == [row[1] + timedelta(days=1) for row in found[:-1]]
    assert clock_of(veteran) == day(152)
    assert differences(veteran) == []


def test_a_time_beyond_the_wall_clock_moves_nothing(veteran: Account) -> None:
    history.take_clock(veteran, NOW)
    typo = event(time="2226-11-01T00:00:00Z")
    outcomes = replay(veteran, [*opened(1), typo, *opened(2)])

    assert verdicts(outcomes) == ["recorded", "too_far_ahead", "recorded"]
    assert clock_of(veteran) == day(2)


def test_an_event_just_ahead_of_the_wall_clock_moves_the_clock_no_further_than_that(veteran: Account) -> None:
    history.take_clock(veteran, NOW)
    replay(veteran, [event(time=NOW + timedelta(minutes=4))])

    assert clock_of(veteran) == NOW


def test_what_names_nothing_that_exists_moves_nothing(veteran: Account) -> None:
    history.take_clock(veteran, NOW)
    outcomes = replay(
        veteran, [*opened(1), event(time=day(99), source="nobody"), event(time=day(99), type="engagement.dreamt")]
    )

    assert verdicts(outcomes) == ["recorded", "unknown_source", "unknown_type"]
    assert clock_of(veteran) == day(1)


@pytest.mark.parametrize("long_ago", ["2003-05-01T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_what_happened_before_the_sign_up_is_refused_for_that(veteran: Account, long_ago: str) -> None:
    history.take_clock(veteran, NOW)
    outcomes = replay(veteran, [event(time=long_ago), *opened(1), event(time=day(-1))])

    assert verdicts(outcomes)[1:] == ["recorded", "before_sign_up"]
    assert verdicts(outcomes)[0] in ("before_sign_up", "too_old")
    assert [period.starts_at for period in periods_of(veteran)] == [SIGN_UP]


def test_an_account_with_live_events_keeps_the_wall_clock(veteran: Account) -> None:
    deliver(veteran, [event()])

    with pytest.raises(Refused) as refused:
        history.take_clock(veteran, NOW)

    assert refused.value.code == "account_is_live"
    assert clock_of(veteran) is None


def test_periods_that_reads_opened_before_any_event_are_removed(veteran: Account) -> None:
    usage(veteran, NOW)
    assert [period.starts_at for period in periods_of(veteran)] == [datetime(2026, 11, 10, tzinfo=UTC)]

    history.take_clock(veteran, NOW)
    usage(veteran, NOW)  # by the account's clock now
    replay(veteran, opened(40))

    assert [period.starts_at for period in periods_of(veteran)] == [datetime(2025, 2, 10, tzinfo=UTC)]


def test_a_history_of_nothing_leaves_no_period(veteran: Account) -> None:
    history.take_clock(veteran, NOW)
    usage(veteran, NOW)
    history.release_clock(veteran, NOW)

    assert periods_of(veteran) == []
    assert clock_of(veteran) is None


def test_the_scheduler_leaves_an_account_with_a_clock_alone(veteran: Account) -> None:
    history.take_clock(veteran, NOW)
    replay(veteran, opened(1))
    assert accounts_with_due_work(NOW) == []

    history.release_clock(veteran, NOW)
    assert accounts_with_due_work(NOW + timedelta(days=60)) == [veteran.pk]


def test_an_interrupted_import_is_repeated_and_goes_on(veteran: Account) -> None:
    events = opened(1, 2, 35, 36, 64, 99, 100)
    history.take_clock(veteran, NOW)
    replay(veteran, events[:4])

    history.take_clock(veteran, NOW)
    outcomes = replay(veteran, events, batch=3)
    history.release_clock(veteran, NOW)

    assert verdicts(outcomes) == ["duplicate"] * 4 + ["recorded"] * 3
    assert [period.active_contacts for period in periods_of(veteran)][:4] == [2, 2, 1, 2]
    assert all(period.closed_at == period.closes_at for period in periods_of(veteran)[:-1])


def test_a_finished_import_given_again_changes_nothing(veteran: Account) -> None:
    relive(veteran, opened(1, 35, 70))
    before = rows(BillingPeriod, *PERIOD_COLUMNS)

    relive(veteran, opened(1, 35, 70), batch=2)

    assert rows(BillingPeriod, *PERIOD_COLUMNS) == before
    assert Event.objects.count() == 3


def test_a_later_file_goes_on_where_the_history_ended(veteran: Account) -> None:
    relive(veteran, opened(1))
    recent = (NOW - timedelta(days=1) - SIGN_UP).days

    history.take_clock(veteran, NOW)
    outcomes = replay(veteran, opened(2, recent))

    assert verdicts(outcomes) == ["too_old", "recorded"]
    assert clock_of(veteran) == day(recent)


def test_events_that_come_meanwhile_are_judged_by_the_clock_of_the_account(veteran: Account) -> None:
    history.take_clock(veteran, NOW)
    replay(veteran, opened(1))

    assert verdicts(deliver(veteran, [event()]).items) == ["too_far_ahead"]
    assert not AccountMeter.objects.get(account=veteran).holds_live_events


def test_replaying_without_a_clock_is_refused(veteran: Account) -> None:
    with pytest.raises(Refused, match="clock was released"):
        replay(veteran, opened(1))

    assert not Event.objects.exists()


def test_outcomes_are_tallied_under_the_period_of_the_accounts_clock(veteran: Account) -> None:
    history.take_clock(veteran, NOW)
    replay(veteran, [*opened(1, 2), event(source="nobody"), *opened(35)])

    assert rows(OutcomeTally, "period_starts_at", "outcome", "deliveries") == [
        (SIGN_UP, "recorded", 2),
        (SIGN_UP, "rejected", 1),
        (datetime(2025, 2, 10, tzinfo=UTC), "recorded", 1),
    ]
    assert rows(QuarantinedEvent, "code", "last_seen_at") == [("unknown_source", day(2))]


def test_a_contact_counts_once_in_each_month_of_its_history(veteran: Account) -> None:
    relive(veteran, [event(subject="ann@example.com", time=day(number)) for number in range(0, 90, 5)])

    assert CountedContact.objects.filter(account=veteran).count() == 3
