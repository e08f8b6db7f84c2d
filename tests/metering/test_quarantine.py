"""The quarantine: what was rejected, once per body, until it is put right or 30 days have passed."""

import json
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account
from metering import envelope, quarantine
from metering.intake import take_in
from metering.models import QuarantinedEvent
from metering.quarantine import forget_old
from tests.factories import NOW, deliver, event, rows

pytestmark = pytest.mark.django_db


def send(account: Account | None, body: bytes) -> None:
    """Take in a body as it is."""
    take_in(envelope.read(body, single=False), sender=account, now=NOW)


def test_a_rejected_event_is_kept_with_what_is_wrong_with_it(acme: Account):
    sent = event(id="evt-1", source="nowhere", subject="Ann@example.com")

    deliver(acme, [sent])

    [row] = QuarantinedEvent.objects.all()
    assert (row.account, row.source, row.key, row.times_seen) == (acme, "nowhere", "evt-1", 1)
    assert (row.code, row.field, row.detail) == (
        "unknown_source",
        "source",
        "the account has no connection nowhere",
    )
    assert (row.first_seen_at, row.last_seen_at, row.resolved_at) == (NOW, NOW, None)
    assert json.loads(bytes(row.body)) == sent


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"specversion": "0.3"}, "unsupported_specversion"),
        ({"subject": "a@b@c"}, "bad_address"),
        ({"type": "nothing"}, "unknown_type"),
        ({"source": "nowhere"}, "unknown_source"),
        ({"account": "globex"}, "unknown_account"),
        ({"type": "score.set"}, "bad_data"),
        ({"time": NOW + timedelta(hours=1)}, "too_far_ahead"),
        ({"time": NOW - timedelta(days=36)}, "too_old"),
    ],
)
def test_every_kind_of_rejection_is_kept(acme: Account, sent: dict[str, Any], code: str):
    deliver(acme, [event(**sent)])

    assert rows(QuarantinedEvent, "code", account=acme) == [code]


@pytest.mark.parametrize(
    "sent",
    [
        [event()],
        [event(id="evt-1"), event(id="evt-1")],
        [event(type="engagement.email_sent", time=NOW - timedelta(days=30))],
    ],
    ids=["recorded", "conflict", "late"],
)
def test_nothing_else_is_kept(acme: Account, sent: list[dict[str, Any]]):
    deliver(acme, sent)

    assert rows(QuarantinedEvent, "code") == []


def test_a_dry_run_keeps_nothing(acme: Account):
    deliver(acme, [event(source="nowhere")], dry_run=True)
    deliver(None, [event(account="nobody")], dry_run=True)

    assert rows(QuarantinedEvent, "code") == []


def test_the_same_body_is_kept_once_and_counted(acme: Account):
    sent = event(source="nowhere")
    later = NOW + timedelta(hours=2)

    deliver(acme, [sent, sent, event(source="nowhere")])
    deliver(acme, [sent], now=later)

    assert rows(QuarantinedEvent, "times_seen", "first_seen_at", "last_seen_at") == [(1, NOW, NOW), (3, NOW, later)]


def test_the_reason_is_the_one_of_the_last_time(acme: Account):
    sent = event(time=NOW + timedelta(days=10))

    deliver(acme, [sent])
    deliver(acme, [sent], now=NOW + timedelta(days=60))

    assert rows(QuarantinedEvent, "code", "times_seen") == [("too_old", 2)]


def test_accounts_do_not_share_a_row(acme: Account, initech: Account):
    sent = event(source="nowhere")

    deliver(acme, [sent])
    deliver(initech, [sent])

    assert rows(QuarantinedEvent, "account", "times_seen") == sorted([(acme.pk, 1), (initech.pk, 1)], key=repr)


# --- Put right -------------------------------------------------------------------------------------------------------


def test_an_event_that_is_stored_later_resolves_its_row(acme: Account):
    bad = event(id="evt-1", time=NOW - timedelta(days=40))
    deliver(acme, [bad, event(id="evt-2", time=NOW - timedelta(days=40))])
    later = NOW + timedelta(hours=2)

    deliver(acme, [event(id="evt-1")], now=later)

    assert rows(QuarantinedEvent, "key", "resolved_at") == [("evt-1", later), ("evt-2", None)]


def test_a_late_event_resolves_its_row_too(acme: Account):
    deliver(acme, [event(id="evt-1", type="nothing")])

    assert deliver(acme, [event(id="evt-1", time=NOW - timedelta(days=30))]).outcomes() == {"late": 1}

    assert rows(QuarantinedEvent, "key", "resolved_at") == [("evt-1", NOW)]


def test_the_same_id_of_another_source_resolves_nothing(acme: Account):
    deliver(acme, [event(id="evt-1", type="nothing")])

    deliver(acme, [event(id="evt-1", source="hubspot-brevo")])

    assert rows(QuarantinedEvent, "resolved_at") == [None]


def test_a_correction_in_the_same_batch_resolves_its_row(acme: Account):
    deliver(acme, [event(id="evt-1", type="nothing"), event(id="evt-1")])

    assert rows(QuarantinedEvent, "key", "resolved_at") == [("evt-1", NOW)]


def test_what_is_rejected_after_its_id_was_stored_stays_unresolved(acme: Account):
    deliver(acme, [event(id="evt-1"), event(id="evt-1", type="nothing")])

    assert rows(QuarantinedEvent, "key", "resolved_at") == [("evt-1", None)]


def test_a_body_that_is_rejected_again_is_unresolved_again(acme: Account):
    bad = event(id="evt-1", type="nothing")
    deliver(acme, [bad])
    deliver(acme, [event(id="evt-1")])
    assert rows(QuarantinedEvent, "resolved_at") == [NOW]

    deliver(acme, [bad])

    assert rows(QuarantinedEvent, "resolved_at", "times_seen") == [(None, 2)]


# --- Bounds ----------------------------------------------------------------------------------------------------------


def test_beyond_the_bound_the_oldest_make_room(acme: Account, initech: Account, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quarantine, "MOST", 3)
    deliver(initech, [event(id="evt-of-initech", source="nowhere")])
    for number in range(5):
        deliver(acme, [event(id=f"evt-{number}", source="nowhere")], now=NOW + timedelta(minutes=number))

    deliver(acme, [event(id="evt-5", source="nowhere")], now=NOW + timedelta(minutes=9))

    assert rows(QuarantinedEvent, "key", account=acme) == ["evt-3", "evt-4", "evt-5"]
    assert rows(QuarantinedEvent, "key", account=initech) == ["evt-of-initech"]


def test_what_is_seen_again_is_not_the_oldest(acme: Account, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quarantine, "MOST", 2)
    sent = [event(id=f"evt-{number}", source="nowhere") for number in range(3)]

    for minutes, number in enumerate((0, 1, 0, 2)):
        deliver(acme, [sent[number]], now=NOW + timedelta(minutes=minutes))

    assert rows(QuarantinedEvent, "key") == ["evt-0", "evt-2"]


def test_one_batch_cannot_exceed_the_bound(acme: Account, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quarantine, "MOST", 2)

    assert deliver(acme, [event(source="nowhere") for _ in range(9)]).outcomes() == {"rejected": 9}

    assert QuarantinedEvent.objects.count() == 2


def test_unattributed_ones_have_a_bound_of_their_own(acme: Account, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quarantine, "MOST", 2)
    deliver(acme, [event(source="nowhere"), event(source="nowhere")])

    deliver(None, [event(account="nobody") for _ in range(3)])

    assert rows(QuarantinedEvent, "account") == sorted([acme.pk, acme.pk, None, None], key=repr)


def test_the_bound_is_ten_thousand():
    assert quarantine.MOST == 10_000


def test_after_30_days_without_being_seen_a_row_is_forgotten(acme: Account):
    sent = {name: event(id=name, source="nowhere") for name in ("old", "seen again", "new")}
    deliver(acme, [sent["old"], sent["seen again"]])
    deliver(acme, [sent["seen again"], sent["new"]], now=NOW + timedelta(seconds=1))

    assert forget_old(NOW + timedelta(days=30)) == 0
    assert forget_old(NOW + timedelta(days=30, seconds=1)) == 1

    assert rows(QuarantinedEvent, "key") == ["new", "seen again"]


# --- What belongs to nobody, and what is hostile ----------------------------------------------------------------------


def test_what_names_no_account_that_exists_is_kept_for_nobody(acme: Account):
    deliver(None, [event(id="evt-1"), event(id="evt-2", account="nobody"), event(id="evt-3", account="acme")])

    assert rows(QuarantinedEvent, "account", "key", "code") == [
        (None, "evt-1", "missing_attribute"),
        (None, "evt-2", "unknown_account"),
    ]


def test_unattributed_bodies_are_kept_once_too(db: None):
    sent = event(account="nobody")

    deliver(None, [sent, sent])
    deliver(None, [sent])

    assert rows(QuarantinedEvent, "account", "times_seen") == [(None, 3)]


@pytest.mark.parametrize(
    "item",
    [
        b'{"id": "a\\u0000b"}',
        b'{"id": "\\ud800"}',
        b'{"id": "evt-1", "source": "' + b"s" * 300 + b'"}',
        b'{"id": "\xf0\x9f\x92\xa9\xe2\x80\xae"}',
        b"null",
        b"[[[[[[]]]]]]",
        b'"\\u0000"',
        b"1e400",
        b'{"' + b"k" * 200_000 + b'": 1}',
        b'{"id": "evt-1", "data": {"x": "\\u0000"}}',
    ],
)
def test_hostile_bytes_are_kept_and_cost_no_neighbour(acme: Account, item: bytes):
    good = json.dumps(event(id="evt-good")).encode()

    send(acme, b"[" + item + b"," + good + b"]")

    [row] = QuarantinedEvent.objects.all()
    assert len(bytes(row.body)) <= 64 * 2**10
    assert bytes(row.body).isascii()
    assert len(row.source) <= 255
    assert "\0" not in row.key


def test_distinct_hostile_bodies_are_distinct_rows(acme: Account):
    send(acme, b'[{"id": "\\u0000"}, {"id": "\\u0001"}, {"id": "\\u0000"}]')

    assert rows(QuarantinedEvent, "times_seen") == [1, 2]
