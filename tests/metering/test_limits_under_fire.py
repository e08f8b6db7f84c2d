"""At the limit with many writers: never one over, one of each mail, one upgrade; and the guard is needed."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import Account
from metering import intake, steering
from metering.lock import AccountBusy
from metering.models import AccountMeter, BillingPeriod, CountedContact, Event, EventState, Gap, UpgradeCause
from metering.reconcile import differences
from metering.tasks import replay, upgrade
from metering.usage import usage
from notifications.models import Notification
from plans.models import Subscription
from tests.at_once import PATIENCE, at_once, race
from tests.factories import ACTOR, NOW, deliver, event, rows
from tests.metering.test_at_limit import outcomes, people, with_policy
from tests.metering.test_exact_under_fire import chunks, patiently, shuffled

pytestmark = pytest.mark.django_db(transaction=True)

WRITERS = 16


def written_at_once(account: Account, events: list[dict[str, Any]], *, writers: int, batch: int) -> Counter[str]:
    """Every writer sends all of it, in an order and batches of its own."""

    def writer(number: int) -> Counter[str]:
        return sum((patiently(account, some) for some in chunks(shuffled(events, number), batch)), Counter())

    return sum(at_once(*(lambda number=number: writer(number) for number in range(writers))), Counter())


@pytest.mark.parametrize("policy", ["hold", "pause", "limit_new"])
def test_16_writers_never_take_the_count_above_the_limit(acme: Account, policy: str):
    with_policy(acme, policy, 100)
    mine = [people(number * 12, number * 12 + 12) for number in range(WRITERS)]

    def writer(number: int) -> Counter[str]:
        return sum((patiently(acme, some) for some in chunks(mine[number], 3)), Counter())

    told: Counter[str] = sum(at_once(*(lambda number=number: writer(number) for number in range(WRITERS))), Counter())

    outcome = {"hold": "held", "pause": "dropped", "limit_new": "limited"}[policy]
    assert told == {"recorded": 100, outcome: WRITERS * 12 - 100}
    assert usage(acme, NOW)["used"] == CountedContact.objects.count() == 100
    assert rows(Notification, "percent", kind="threshold") == [100, 80]
    assert len(rows(Notification, "kind", kind__in=["held", "paused"])) == (policy != "limit_new")
    assert sum(rows(Gap, "events")) == (WRITERS * 12 - 100 if policy == "pause" else 0)
    assert differences(acme) == []


def test_without_the_lock_more_would_be_admitted(acme: Account, monkeypatch: pytest.MonkeyPatch):
    with_policy(acme, "limit_new", 10)
    deliver(acme, people(0, 9))

    @contextmanager
    def unlocked(account_id: int) -> Iterator[AccountMeter]:
        with transaction.atomic():
            yield AccountMeter.objects.get(account_id=account_id)

    monkeypatch.setattr(intake, "locked", unlocked)
    race(
        monkeypatch,
        intake,
        "record",
        lambda: deliver(acme, people(20, 21)),
        lambda: deliver(acme, people(21, 22)),
    )

    assert CountedContact.objects.count() == 11


def test_c39_20_writers_of_1000_contacts_three_times_each(acme: Account):
    thrice = [sent for _ in range(3) for sent in people(0, 1_000)]

    mixed = shuffled(thrice, seed=39)

    def writer(number: int) -> Counter[str]:
        return sum((patiently(acme, some) for some in chunks(mixed[number::20], 50)), Counter())

    told: Counter[str] = sum(at_once(*(lambda number=number: writer(number) for number in range(20))), Counter())

    assert told == {"recorded": 3_000}
    assert usage(acme, NOW)["used"] == 1_000
    assert rows(Notification, "kind", "percent") == [("threshold", 100), ("threshold", 80)]
    assert not UpgradeCause.objects.exists()
    assert differences(acme) == []


def test_many_writers_beyond_the_limit_cause_one_upgrade(acme: Account):
    with_policy(acme, "upgrade", 50)

    told = written_at_once(acme, people(0, 90), writers=WRITERS, batch=30)
    causes = rows(UpgradeCause, "pk")
    at_once(*[lambda: upgrade(causes[0], NOW)] * 4)

    assert told["recorded"] == 90
    assert len(causes) == 1
    assert [row.tier.key for row in Subscription.objects.order_by("starts_at")] == ["starter", "growth"]
    assert sorted(rows(Notification, "kind")) == ["threshold", "threshold", "upgraded"]
    assert differences(acme) == []


def test_replays_at_once_and_beside_intake_record_each_event_once_and_stop_at_the_limit(acme: Account):
    with_policy(acme, "hold", 10)
    deliver(acme, people(0, 200))
    BillingPeriod.objects.update(limit=120, limit_state="", limit_state_since=None)

    at_once(
        *[lambda: replay(acme.pk, NOW)] * 4,
        *[lambda number=number: patiently(acme, people(300 + number, 301 + number)) for number in range(8)],
    )

    assert usage(acme, NOW)["used"] == CountedContact.objects.count() == 120
    assert Event.objects.filter(state=EventState.RECORDED).count() == 120
    assert Event.objects.filter(state=EventState.HELD).count() == 88
    assert differences(acme) == []


def test_a_pause_by_staff_beside_intake_leaves_every_event_either_counted_or_in_the_gap(acme: Account):
    deliver(acme, people(0, 1))

    def pause() -> Any:
        while True:
            try:
                return steering.pause(acme, reason="now", actor=ACTOR, now=NOW)
            except AccountBusy:
                continue

    told = at_once(
        pause, *[lambda number=number: patiently(acme, people(number, number + 1)) for number in range(1, 13)]
    )[1:]

    total: Counter[str] = sum(told, Counter())
    assert total.total() == 12
    assert usage(acme, NOW)["used"] == 1 + total["recorded"]
    assert sum(rows(Gap, "events")) == total["dropped"]
    assert outcomes(deliver(acme, people(50, 51))) == ["dropped"]


# --- Processes that die ---

CHILD = """
import json, signal, sys
import django
django.setup()
from datetime import datetime
from django.db import connection, transaction

task = json.load(sys.stdin)
connection.settings_dict.update(task["database"])
from metering import replay, tasks, upgrades

if task["what"] == "replay":
    replay.AT_ONCE = 40
    some, steps = tasks.replay_some, []
    def replay_some(account, now):
        if len(steps) == task["steps"]:
            print("reached", flush=True)
            signal.pause()
        steps.append(1)
        return some(account, now, 40)
    tasks.replay_some = replay_some
    tasks.replay(task["subject"], datetime.fromisoformat(task["now"]))
else:
    def stop(*args, **named):
        print("reached", flush=True)
        signal.pause()
    upgrades.refresh_limit = stop
    tasks.upgrade(task["subject"], datetime.fromisoformat(task["now"]))
"""


def killed(what: str, subject: int, steps: int = 0) -> None:
    """A process that does it is killed half-way."""
    ours = connection.settings_dict
    database = {name: ours[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")}
    task = {"what": what, "subject": subject, "steps": steps, "database": database, "now": NOW.isoformat()}
    elsewhere = {"DJANGO_SETTINGS_MODULE": "billing_site.settings", "DATABASE_URL": "postgres://127.0.0.1/none"}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | elsewhere | {"DEBUG": "true"},
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(task))
        child.stdin.close()
        try:
            assert "reached\n" in iter(child.stdout.readline, "")
        finally:
            child.kill()
        assert child.wait(PATIENCE) == -9


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_replay_killed_between_two_steps_goes_on_where_it_stood(acme: Account, steps: int):
    with_policy(acme, "hold", 1)
    deliver(acme, people(0, 1))
    deliver(acme, [event(id=f"{number:03}", subject=f"q{number}@example.com") for number in range(100)])
    BillingPeriod.objects.update(limit=91, limit_state="", limit_state_since=None)

    killed("replay", acme.pk, steps)
    assert Event.objects.filter(state=EventState.RECORDED).count() == 1 + 40 * steps
    replay(acme.pk, NOW)

    assert sorted(rows(Event, "key", state=EventState.HELD)) == [f"{number:03}" for number in range(90, 100)]
    assert usage(acme, NOW)["used"] == 91
    assert differences(acme) == []


def test_an_upgrade_killed_half_way_is_made_whole_by_the_next_run(acme: Account):
    with_policy(acme, "upgrade", 10)
    deliver(acme, people(0, 11))
    [cause] = UpgradeCause.objects.all()

    killed("upgrade", cause.pk)
    assert Subscription.objects.count() == 1
    assert not Notification.objects.filter(kind="upgraded").exists()
    upgrade(cause.pk, NOW)

    assert [row.tier.key for row in Subscription.objects.order_by("starts_at")] == ["starter", "growth"]
    assert Notification.objects.filter(kind="upgraded").count() == 1
