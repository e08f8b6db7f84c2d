"""Many writers, killed processes, lost answers: the count is exact. And each guard is shown to be needed.

How many events are posted one by one: EVENTS_UNDER_FIRE (the promise is about 10,000, which takes minutes).
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, models
from django.db.models import QuerySet

from accounts.models import Account
from metering import due, intake, periods
from metering.catalogue import BY_NAME
from metering.intake import Receipt
from metering.lock import AccountBusy, locked
from metering.models import BillingPeriod, Contact, CountedContact
from metering.models import Event as StoredEvent
from metering.reconcile import differences
from metering.usage import usage
from tests.at_once import PATIENCE, Work, at_once, race
from tests.factories import CONNECTIONS, NOW, Caller, deliver, event, make_key, put_account, put_connection, rows
from tests.properties.books import everything_stored

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = int(os.environ.get("EVENTS_UNDER_FIRE", "1000"))
CLIENTS = 8
OCTOBER = datetime(2026, 10, 20, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)

Batch = list[dict[str, Any]]


# --- Who does what ---


def insist(account: Account | None, batch: Batch, now: datetime = NOW) -> Receipt:
    """Send a batch, again as long as the account is busy."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return deliver(account, batch, now=now)
        except AccountBusy:
            assert time.monotonic() < deadline


def patiently(account: Account | None, batch: Batch) -> Counter[str]:
    """The outcomes of a batch that was insisted on."""
    return Counter(insist(account, batch).outcomes())


# --- What is counted ---


def customer(slug: str, members: int = 0) -> Account:
    """An account like acme, which begins November with members that joined in October."""
    account = put_account(slug, plan="connect", tier="starter")
    for key, kind in CONNECTIONS["acme"].items():
        put_connection(account, key, kind)
    joined = OCTOBER - timedelta(hours=1)
    deliver(account, [happened("contact.matched", person, joined) for person in range(members)], now=OCTOBER)
    return account


def happened(kind: str, person: int, at: datetime, **attributes: Any) -> dict[str, Any]:
    return event(type=kind, subject=f"person-{person}@example.com", time=at, **attributes)


def crowd(number: int) -> Batch:
    """Events of every type but renames: few people with much to do, many with little, many at the same second."""
    lots = Random(number)
    kinds = sorted(set(BY_NAME) - {"contact.renamed"})
    sources = sorted(CONNECTIONS["acme"])
    span = int((NOW - NOVEMBER).total_seconds()) // 60
    batch = []
    for _ in range(number):
        kind, person = lots.choice(kinds), int(lots.paretovariate(0.5)) % (number // 3)
        at = NOVEMBER + timedelta(minutes=lots.randrange(span))
        data = {"data": {"value": lots.choice([0, 1, 80])}} if kind == "score.set" else {}
        batch.append(happened(kind, person, at, source=lots.choice(sources), **data))
    return batch


def answers(account: Account, now: datetime = NOW) -> dict[str, Any]:
    """What usage says that must not depend on how events came in, and the first causes of all that count."""
    answer = usage(account, now)
    shown = ("used", "limit", "totals", "carried_in", "new", "by_reason", "by_connection", "contacts_known")
    first = ("unit", "contact__identity", "first_at", "first_source", "first_key", "first_type")
    causes = rows(CountedContact, *first, account=account, period__starts_at=answer["period"]["start"])
    return {name: answer[name] for name in shown} | {"first causes": causes}


def chunks(batch: Batch, size: int) -> list[Batch]:
    return [batch[start : start + size] for start in range(0, len(batch), size)]


def shuffled(batch: Batch, seed: int) -> Batch:
    return Random(seed).sample(batch, len(batch))


# --- Exact, whatever the traffic ---


def test_one_batch_and_single_posts_from_8_clients_twice_over_and_shuffled_answer_the_same(catalogue: None):
    events = crowd(EVENTS)
    calm, stormy = customer("calm", members=200), customer("stormy", members=200)

    assert deliver(calm, events).outcomes() == {"recorded": EVENTS}
    posts = shuffled(events + events, seed=8)

    def client(place: int) -> Counter[str]:
        return sum((patiently(stormy, [post]) for post in posts[place::CLIENTS]), Counter())

    outcomes: Counter[str] = sum(at_once(*(lambda place=place: client(place) for place in range(CLIENTS))), Counter())

    assert outcomes == {"recorded": EVENTS, "duplicate": EVENTS}
    assert answers(stormy) == answers(calm)
    assert answers(stormy)["carried_in"] == 200
    assert answers(stormy, DECEMBER) == answers(calm, DECEMBER)
    assert (differences(calm), differences(stormy)) == ([], [])


def test_16_writers_of_overlapping_batches_record_every_event_once(catalogue: None):
    events = crowd(600)
    calm, stormy = customer("calm", members=20), customer("stormy", members=20)
    deliver(calm, events)

    def writer(number: int) -> list[str | None]:
        """The ids that it was told are recorded."""
        mine = shuffled(events, seed=number)[:400]
        receipts = [insist(stormy, batch) for batch in chunks(mine + mine[:50], 90)]
        return [item.id for receipt in receipts for item in receipt.items if item.verdict.outcome == "recorded"]

    told = at_once(*(lambda number=number: writer(number) for number in range(16)))
    recorded = Counter(key for keys in told for key in keys)

    assert recorded == Counter(sent["id"] for sent in events)
    assert answers(stormy) == answers(calm)
    assert differences(stormy) == []


def test_batches_that_mix_accounts_in_any_order_never_block_each_other_for_good(catalogue: None):
    slugs = ["hooli", "umbrella", "wonka"]
    accounts = [customer(slug) for slug in slugs]
    mixed = [sent | {"account": slug} for slug in slugs for sent in crowd(150)]

    def writer(number: int) -> Counter[str]:
        return sum((patiently(None, batch) for batch in chunks(shuffled(mixed, number), 60)), Counter())

    outcomes: Counter[str] = sum(at_once(*(lambda number=number: writer(number) for number in range(8))), Counter())

    # A batch that met a busy account is sent again, after others of its accounts may have been written.
    assert outcomes["recorded"] <= len(mixed) <= outcomes.total()
    assert [StoredEvent.objects.filter(account=account).count() for account in accounts] == [150] * 3
    assert [differences(account) for account in accounts] == [[], [], []]


def test_whoever_needs_a_period_first_opens_it_and_carries_in_once(catalogue: None):
    account = customer("acme", members=50)
    for number, turn in enumerate([NOVEMBER, DECEMBER, datetime(2027, 1, 1, tzinfo=UTC)], start=1):
        now = turn + timedelta(hours=1)
        readers = [lambda now=now: usage(account, now)["carried_in"]] * 5
        writers = [
            lambda now=now, person=person: deliver(account, [happened("web.visited", person, now)], now=now)
            for person in range(5)
        ]
        at_once(*readers, *writers, *[lambda now=now: due.run_due(now)] * 5)

        [period] = BillingPeriod.objects.filter(account=account, starts_at=turn)
        assert (period.carried_in, period.active_contacts) == (50, 50)
        assert BillingPeriod.objects.filter(account=account).count() == 1 + number
        assert differences(account) == []


def test_a_held_account_is_busy_within_seconds_and_others_are_not_affected(catalogue: None):
    acme, globex = customer("acme"), customer("globex")
    caller = Caller(make_key(acme))
    held, may_go = Event(), Event()

    def hold() -> None:
        with locked(acme.pk):
            held.set()
            may_go.wait(PATIENCE)

    def timed(job: Work) -> tuple[Any, float]:
        assert held.wait(PATIENCE)
        started = time.monotonic()
        try:
            answer = job()
        except AccountBusy as busy:
            answer = busy
        return answer, time.monotonic() - started

    def all_of_it() -> list[Any]:
        try:
            return at_once(
                lambda: timed(lambda: deliver(acme, [event()])),
                lambda: timed(lambda: caller.send(event(time=datetime.now(UTC)))),
                lambda: timed(lambda: [deliver(globex, [event()]).outcomes() for _ in range(10)]),
            )
        finally:
            may_go.set()

    _, [(busy, waited), (answer, _), (served, _)] = at_once(hold, all_of_it)

    assert isinstance(busy, AccountBusy)
    assert 1.9 < waited < PATIENCE
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert served == [{"recorded": 1}] * 10  # while the other was held: had they waited for it, they would be busy
    assert deliver(acme, [event()]).outcomes() == {"recorded": 1}


# --- Processes that die ---

CHILD = """
import json, signal, sys
import django
django.setup()
import psycopg
from datetime import datetime
from django.db import connection
from accounts.models import Account
from metering import envelope
from metering.intake import take_in

task = json.load(sys.stdin)
connection.settings_dict.update(task["database"])

def come_to(point):
    if task["point"] in point:
        print("reached", flush=True)
        signal.pause()

def watch(owner, name, point_of):
    original = getattr(owner, name)
    def watched(self, *values, **named):
        come_to(point_of(self, *values))
        return original(self, *values, **named)
    setattr(owner, name, watched)

def text(cursor, query, *_):
    if isinstance(query, bytes):
        return query.decode()
    return query if isinstance(query, str) else query.as_string(cursor.connection)

watch(psycopg.Cursor, "execute", text)
watch(psycopg.Cursor, "copy", text)
watch(psycopg.Connection, "commit", lambda *_: "COMMIT")
items = envelope.read(json.dumps(task["events"]).encode(), single=False)
take_in(items, sender=Account.objects.get(slug=task["account"]), now=datetime.fromisoformat(task["now"]))
come_to("the answer")
"""


@contextmanager
def killed_at(point: str, account: Account, events: Batch, now: datetime) -> Iterator[None]:
    """Another process that takes events in stands at a point while this goes on, and is killed there."""
    ours = connection.settings_dict
    database = {name: ours[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")}
    task = {"point": point, "database": database, "account": account.slug, "events": events, "now": now.isoformat()}
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
            assert child.stdout.readline() == "reached\n", f"it never came to {point}"
            yield
        finally:
            child.kill()
        assert child.wait(PATIENCE) == -9


POINTS_BEFORE_COMMIT = [
    "FROM metering_event",
    "INSERT INTO metering_countedcontact",
    "INSERT INTO metering_contact",
    "UPDATE metering_billingperiod AS period",
    'COPY "metering_event"',
    'COPY "metering_countedcontact"',
    "INSERT INTO metering_outcometally",
    "COMMIT",
]


@pytest.mark.parametrize("point", POINTS_BEFORE_COMMIT)
def test_a_process_killed_in_the_middle_leaves_nothing_and_sending_again_completes_it(catalogue: None, point: str):
    events = crowd(300)
    calm, struck = customer("calm", members=30), customer("struck", members=30)
    deliver(calm, events)
    stored = everything_stored()

    with killed_at(point, struck, events, NOW):
        assert everything_stored() == stored
    assert patiently(struck, events) == {"recorded": 300}

    assert answers(struck) == answers(calm)
    assert differences(struck) == []


def test_whoever_never_heard_the_answer_sends_again_and_nothing_counts_twice(catalogue: None):
    events = crowd(300)
    calm, struck = customer("calm", members=30), customer("struck", members=30)
    deliver(calm, events)

    with killed_at("the answer", struck, events, NOW):
        pass
    assert deliver(struck, events).outcomes() == {"duplicate": 300}

    assert answers(struck) == answers(calm)
    assert differences(struck) == []


def test_an_answer_lost_after_the_commit_is_found_again_by_sending_again(
    catalogue: None, monkeypatch: pytest.MonkeyPatch
):
    events = crowd(300)
    calm, struck = customer("calm", members=30), customer("struck", members=30)
    deliver(calm, events)
    database: Any = type(connections["default"])
    commit = database._commit

    def commit_unheard(self: Any) -> None:
        commit(self)
        raise OperationalError("the connection was closed")

    with monkeypatch.context() as patched:
        patched.setattr(database, "_commit", commit_unheard)
        with pytest.raises(OperationalError):
            deliver(struck, events)
    again = deliver(struck, events)

    assert again.outcomes() == {"duplicate": 300}
    assert {item.verdict.first for item in again.items} == {"recorded"}
    assert answers(struck) == answers(calm)
    assert differences(struck) == []


# --- Each guard is needed: what happens without it ---


@pytest.fixture
def no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody locks the account's meter row."""
    monkeypatch.setattr(QuerySet, "select_for_update", lambda self, **_options: self)


@contextmanager
def dropped(model: type[models.Model], name: str) -> Iterator[None]:
    """The database does without a constraint; then with it again, and the table empty."""
    [constraint] = [row for row in model._meta.constraints if row.name == name]
    with connection.schema_editor() as editor:
        editor.remove_constraint(model, constraint)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {model._meta.db_table} CASCADE")
        with connection.schema_editor() as editor:
            editor.add_constraint(model, constraint)


@pytest.fixture
def acme_with_ann(catalogue: None) -> Account:
    """Ann counts already: she opened a mail."""
    account = customer("acme")
    deliver(account, [ann("engagement.email_opened", id="first")])
    return account


def ann(kind: str, **attributes: Any) -> dict[str, Any]:
    return event(type=kind, subject="ann@example.com", **attributes)


def two_reasons_at_once(monkeypatch: pytest.MonkeyPatch, account: Account) -> list[Any]:
    """Two writers have both read what Ann counts for before either writes."""
    clicked, visited = [ann("engagement.email_clicked")], [ann("web.visited")]
    return race(monkeypatch, intake, "decide", lambda: deliver(account, clicked), lambda: deliver(account, visited))


def the_same_event_at_once(monkeypatch: pytest.MonkeyPatch, account: Account) -> list[Any]:
    """Two writers have both seen that an event is new before either writes it."""
    same = [ann("engagement.email_opened", id="same")]
    return race(monkeypatch, intake, "decide", *[lambda: deliver(account, same)] * 2)


def two_openings_at_once(monkeypatch: pytest.MonkeyPatch, account: Account) -> list[Any]:
    """Two readers have both seen that December is not open before either opens it."""
    now = DECEMBER + timedelta(hours=1)
    return race(monkeypatch, periods, "_open", *[lambda: usage(account, now)] * 2)


def errors_in(found: Sequence[Any]) -> list[type[Exception]]:
    return [type(answer) for answer in found if isinstance(answer, Exception)]


def reasons(account: Account) -> list[str]:
    return sorted(row["reason"] for row in usage(account, NOW)["by_reason"])


def test_two_writers_at_once_give_one_contact_both_reasons(acme_with_ann: Account, monkeypatch: pytest.MonkeyPatch):
    assert errors_in(two_reasons_at_once(monkeypatch, acme_with_ann)) == []

    assert reasons(acme_with_ann) == ["email_clicked", "email_opened", "web_visit"]
    assert differences(acme_with_ann) == []


@pytest.mark.usefixtures("no_lock")
def test_without_the_lock_one_writer_overwrites_the_other_and_a_recount_tells(
    acme_with_ann: Account, monkeypatch: pytest.MonkeyPatch
):
    two_reasons_at_once(monkeypatch, acme_with_ann)

    found = {row.check for row in differences(acme_with_ann)}
    assert "reasons of counted contacts" in found


@pytest.mark.usefixtures("no_lock")
def test_without_the_lock_a_contact_that_two_make_known_at_once_is_still_one(
    catalogue: None, monkeypatch: pytest.MonkeyPatch
):
    account = customer("acme")
    found = two_reasons_at_once(monkeypatch, account)

    assert errors_in(found) == [IntegrityError]
    assert Contact.objects.filter(account=account).count() == 1


def test_the_same_event_at_once_is_recorded_by_one_and_a_duplicate_to_the_other(
    acme_with_ann: Account, monkeypatch: pytest.MonkeyPatch
):
    found = the_same_event_at_once(monkeypatch, acme_with_ann)

    assert sorted(str(receipt.outcomes()) for receipt in found) == ["{'duplicate': 1}", "{'recorded': 1}"]


@pytest.mark.usefixtures("no_lock")
def test_without_the_lock_the_database_still_refuses_the_same_event_twice(
    acme_with_ann: Account, monkeypatch: pytest.MonkeyPatch
):
    assert errors_in(the_same_event_at_once(monkeypatch, acme_with_ann)) == [IntegrityError]

    assert usage(acme_with_ann, NOW)["totals"]["app_connector_events"] == 2
    assert differences(acme_with_ann) == []


@pytest.mark.usefixtures("no_lock")
def test_with_neither_lock_nor_constraint_the_same_event_counts_twice(
    acme_with_ann: Account, monkeypatch: pytest.MonkeyPatch
):
    with dropped(StoredEvent, "event_once_per_account_source_and_id"):
        assert errors_in(the_same_event_at_once(monkeypatch, acme_with_ann)) == []

        assert rows(StoredEvent, "key", account=acme_with_ann) == ["first", "same", "same"]
        assert usage(acme_with_ann, NOW)["totals"]["app_connector_events"] == 3


def test_two_openings_at_once_make_one_period(acme_with_ann: Account, monkeypatch: pytest.MonkeyPatch):
    assert errors_in(two_openings_at_once(monkeypatch, acme_with_ann)) == []

    assert rows(BillingPeriod, "starts_at", account=acme_with_ann) == [NOVEMBER, DECEMBER]


@pytest.mark.usefixtures("no_lock")
def test_without_the_lock_the_database_still_refuses_a_period_that_overlaps(
    acme_with_ann: Account, monkeypatch: pytest.MonkeyPatch
):
    [refused] = errors_in(two_openings_at_once(monkeypatch, acme_with_ann))

    # Two at the very same moment wait for each other, and the deadlock ends one of them.
    assert refused in (IntegrityError, OperationalError)
    assert rows(BillingPeriod, "starts_at", account=acme_with_ann) == [NOVEMBER, DECEMBER]


@pytest.mark.usefixtures("no_lock")
def test_with_neither_lock_nor_constraint_a_period_is_opened_twice(
    acme_with_ann: Account, monkeypatch: pytest.MonkeyPatch
):
    with dropped(BillingPeriod, "period_one_at_a_time"):
        assert errors_in(two_openings_at_once(monkeypatch, acme_with_ann)) == []

        assert rows(BillingPeriod, "starts_at", account=acme_with_ann) == [NOVEMBER, DECEMBER, DECEMBER]
