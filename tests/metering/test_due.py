"""Everything that is due is done once, whoever asks and however often."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils.module_loading import import_string
from django_q.models import Schedule

from accounts.models import Account
from billing_site import schedules
from metering import due, tasks
from metering.due import Done, run_due
from metering.lock import AccountBusy
from metering.models import AccountMeter, BillingPeriod, QuarantinedEvent
from metering.periods import do_due_work
from tests.conftest import StoppedClock
from tests.factories import NOW, deliver, event, rows

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
COLUMNS = ("starts_at", "state", "active_contacts", "carried_in", "closed_at")


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("run_due", *words, stdout=out)
    return out.getvalue()


def test_a_period_ends_and_the_next_one_opens_with_its_members(acme: Account) -> None:
    deliver(acme, [event(type="contact.matched"), event()])
    assert run_due(DECEMBER - timedelta(seconds=1)) == Done(0, 0, 0, 0)

    assert run_due(DECEMBER) == Done(1, 0, 0, 0)

    assert rows(BillingPeriod, *COLUMNS) == [
        (datetime(2026, 11, 1, tzinfo=UTC), "ended", 2, 0, None),
        (DECEMBER, "open", 1, 1, None),
    ]


def test_an_ended_period_closes_after_its_grace(acme: Account) -> None:
    deliver(acme, [event()])
    closing = DECEMBER + timedelta(hours=24)

    assert run_due(DECEMBER).accounts == 1
    assert run_due(closing - timedelta(seconds=1)).accounts == 0
    assert run_due(closing).accounts == 1

    assert rows(BillingPeriod, *COLUMNS)[0] == (datetime(2026, 11, 1, tzinfo=UTC), "closed", 1, 0, closing)


def test_running_it_again_does_nothing_more(acme: Account) -> None:
    deliver(acme, [event()])
    run_due(DECEMBER + timedelta(days=70))
    before = rows(BillingPeriod, *COLUMNS)

    assert run_due(DECEMBER + timedelta(days=70)) == Done(0, 0, 0, 0)

    assert rows(BillingPeriod, *COLUMNS) == before
    assert [row[1] for row in before] == ["closed", "closed", "closed", "open"]


def test_an_account_without_a_period_gets_none(acme: Account) -> None:
    assert run_due(DECEMBER) == Done(0, 0, 0, 0)
    assert not BillingPeriod.objects.exists()


def test_an_account_with_a_clock_of_its_own_is_left_alone(acme: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(acme, [event()])
    AccountMeter.objects.filter(account=acme).update(clock=NOW)
    assert run_due(DECEMBER).accounts == 0

    monkeypatch.setattr(due, "accounts_with_due_work", lambda as_of: [acme.pk])  # it got one a moment later
    assert run_due(DECEMBER).accounts == 0
    assert rows(BillingPeriod, "state") == ["open"]


@pytest.mark.parametrize(("accident", "busy", "failed"), [(AccountBusy, 1, 0), (RuntimeError, 0, 1)])
def test_one_account_that_cannot_be_done_does_not_undo_the_others(
    acme: Account, initech: Account, monkeypatch: pytest.MonkeyPatch, accident: type[Exception], busy: int, failed: int
) -> None:
    deliver(acme, [event()])
    deliver(initech, [event(source="typeform")])

    def accident_with_initech(account: Account, as_of: datetime) -> bool:
        if account == initech:
            raise accident
        return do_due_work(account, as_of)

    with monkeypatch.context() as patch:
        patch.setattr(due, "do_due_work", accident_with_initech)
        assert run_due(DECEMBER + timedelta(days=15)) == Done(1, busy, failed, 0)

    assert run_due(DECEMBER + timedelta(days=15)) == Done(1, 0, 0, 0)


def test_rejected_events_are_forgotten_after_30_days(acme: Account) -> None:
    deliver(acme, [event(source="nobody")])

    assert run_due(NOW + timedelta(days=30)).forgotten == 0
    assert run_due(NOW + timedelta(days=30, seconds=1)).forgotten == 1
    assert not QuarantinedEvent.objects.exists()


def test_the_command_says_what_it_did(acme: Account) -> None:
    deliver(acme, [event()])

    assert said("--as-of", "2026-12-01T02:00:00+02:00") == "1 accounts brought up to date\n"
    assert str(Done(3, 2, 1, 4)) == (
        "3 accounts brought up to date, 2 busy, left to the next run, 1 FAILED, see the log, "
        "4 old rejected events forgotten"
    )


@pytest.mark.parametrize("text", ["tomorrow", "2026-12-01", "2026-12-01T00:00:00"])
def test_a_time_that_is_none_is_refused(db: None, text: str) -> None:
    with pytest.raises(CommandError, match="say a time with its offset"):
        said("--as-of", text)


def test_the_task_does_what_is_due_now(acme: Account, clock: StoppedClock) -> None:
    deliver(acme, [event()])
    clock.move_to(DECEMBER)

    assert tasks.run_due(unknown="ignored") == "1 accounts brought up to date"


def schedule_rows() -> list[tuple[object, ...]]:
    return rows(Schedule, "name", "func", "schedule_type", "minutes", "repeats", "next_run")


def test_the_schedules_match_the_table_however_often_they_are_synced(db: None) -> None:
    Schedule.objects.create(name="old", func="metering.tasks.gone", schedule_type=Schedule.HOURLY)
    Schedule.objects.create(name="a person's own", func="math.sqrt", schedule_type=Schedule.HOURLY, next_run=NOW)
    schedules.sync(NOW)
    Schedule.objects.filter(name="metering.tasks.run_due").update(minutes=7)

    schedules.sync(NOW + timedelta(minutes=5))

    assert schedule_rows() == [
        ("a person's own", "math.sqrt", "H", None, -1, NOW),
        ("jobs.tasks.sweep", "jobs.tasks.sweep", "I", 1, -1, NOW),
        ("metering.tasks.run_due", "metering.tasks.run_due", "I", 1, -1, NOW),
    ]


@pytest.mark.parametrize("regular", schedules.REGULARS, ids=lambda regular: regular.task)
def test_every_scheduled_task_is_there(regular: schedules.Regular) -> None:
    assert callable(import_string(regular.task))
