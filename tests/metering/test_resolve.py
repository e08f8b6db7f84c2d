"""From events in good form to arrivals: types, connections and what a type asks of its data."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from metering import envelope
from metering.catalogue import SCORE_CLEARED, SCORE_SET
from metering.envelope import Refusal
from metering.facts import Arrival, ConnectionFacts
from metering.resolve import resolve
from tests.factories import NOW, event

SYNC = ConnectionFacts(
    id=7,
    key="pipedrive-mailchimp",
    keeps_members=True,
    enabled=True,
    switched_at=(),
    record_email_sent=True,
    score_expiry_days=None,
)


def resolved(*events: dict[str, Any]) -> tuple[list[Arrival], list[Refusal]]:
    """What becomes of a batch of an account whose only connection is `SYNC`."""
    items = envelope.read(msgspec.json.encode(events), single=False)
    good = [item for item in items if isinstance(item, envelope.Event)]
    assert len(good) == len(events), items
    return resolve(good, {SYNC.key: SYNC})


def arrival(**attributes: Any) -> Arrival:
    """The one arrival that a good event becomes."""
    [found], refusals = resolved(event(**attributes))
    assert refusals == []
    return found


def refusal(**attributes: Any) -> Refusal:
    """The one refusal that a bad event becomes."""
    arrivals, [found] = resolved(event(**attributes))
    assert arrivals == []
    return found


def test_an_event_meets_its_type_its_connection_and_its_contact():
    found = arrival(id="evt-1", subject=" Ann@Example.COM ", time="2026-11-22T12:00:00.5+01:00", data={"mail": "m1"})

    assert (found.key, found.connection, found.type.name, found.stored_type) == (
        "evt-1",
        SYNC,
        "engagement.email_opened",
        11,
    )
    assert found.identity == "ann@example.com"
    assert found.time == datetime(2026, 11, 22, 11, 0, 0, 500_000, tzinfo=UTC)
    assert (found.data, found.score, found.renamed_from, found.origin) == ({"mail": "m1"}, None, None, "")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("engagement.email_opend", "; did you mean engagement.email_opened?"),
        ("contact.match", "; did you mean contact.matched?"),
        ("Score.Set", "; did you mean score.set?"),
        ("crm.foldr_added", "; did you mean crm.folder_added?"),
        ("zzzzzz", ""),
    ],
)
def test_an_unknown_type_suggests_the_nearest(name: str, hint: str):
    found = refusal(type=name)

    assert (found.code, found.field, found.detail) == ("unknown_type", "type", f"no event type {name}{hint}")


def test_only_the_first_ten_unknown_types_of_a_batch_get_a_suggestion():
    _, refusals = resolved(*(event(type="engagement.email_opend") for _ in range(12)))

    assert ["did you mean" in row.detail for row in refusals] == [True] * 10 + [False] * 2


def test_a_source_that_the_account_does_not_have_is_refused():
    found = refusal(id="evt-1", source="salesforce-brevo")

    assert (found.code, found.field, found.id, found.source) == (
        "unknown_source",
        "source",
        "evt-1",
        "salesforce-brevo",
    )
    assert found.detail == "the account has no connection salesforce-brevo"


def test_of_two_faults_the_type_is_told():
    assert refusal(type="nothing", source="nowhere").code == "unknown_type"


def test_what_is_refused_keeps_its_body():
    sent = event(source="nowhere", account="acme", data={"a": 1})

    body = json.loads(refusal(**sent).body)

    assert body == sent | {"time": "2026-11-22T11:00:00Z"}


@pytest.mark.parametrize("value", [1, -3, 0.5, 1e9, 12345678901234567890])
def test_a_score_is_any_number(value: float):
    found = arrival(type="score.set", data={"value": value})

    assert (found.type, found.stored_type, found.score) == (SCORE_SET, SCORE_SET.code, (float(value), None))


@pytest.mark.parametrize("value", [0, 0.0, -0.0])
def test_a_score_of_zero_is_stored_as_what_it_was_called_and_means_that_it_is_cleared(value: float):
    found = arrival(type="score.set", data={"value": value})

    assert (found.type, found.stored_type, found.score) == (SCORE_CLEARED, SCORE_SET.code, None)


def test_a_score_may_name_its_expiry():
    found = arrival(type="score.set", data={"value": 5, "expires_at": "2026-12-24T18:00:00+01:00"})

    assert found.score == (5.0, datetime(2026, 12, 24, 17, tzinfo=UTC))


A_NUMBER = "score.set needs data.value, a number"
A_TIME = "data.expires_at must be a time like 2026-11-22T10:00:00Z"
AFTER = "data.expires_at must be after the event's time"
AN_ADDRESS = "contact.renamed needs data.from, the old address"
ORIGIN = "data.origin must be one of organic, ad, collaboration"
AT = "2026-11-22T11:00:00Z"


@pytest.mark.parametrize(
    ("name", "data", "detail"),
    [
        ("score.set", None, A_NUMBER),
        ("score.set", {}, A_NUMBER),
        ("score.set", {"score": 5}, A_NUMBER),
        ("score.set", {"value": None}, A_NUMBER),
        ("score.set", {"value": "5"}, A_NUMBER),
        ("score.set", {"value": True}, A_NUMBER),
        ("score.set", {"value": [5]}, A_NUMBER),
        ("score.set", {"value": 5, "expires_at": None}, A_TIME),
        ("score.set", {"value": 5, "expires_at": 1_800_000_000}, A_TIME),
        ("score.set", {"value": 5, "expires_at": ""}, A_TIME),
        ("score.set", {"value": 5, "expires_at": "tomorrow"}, A_TIME),
        ("score.set", {"value": 5, "expires_at": "2026-12-24"}, A_TIME),
        ("score.set", {"value": 5, "expires_at": "2026-12-24T18:00:00"}, A_TIME),
        ("score.set", {"value": 5, "expires_at": AT}, AFTER),
        ("score.set", {"value": 5, "expires_at": "2026-11-22T10:59:59Z"}, AFTER),
        ("score.set", {"value": 0, "expires_at": "tomorrow"}, A_TIME),
        ("contact.renamed", None, AN_ADDRESS),
        ("contact.renamed", {"to": "ann@example.com"}, AN_ADDRESS),
        ("contact.renamed", {"from": None}, AN_ADDRESS),
        ("contact.renamed", {"from": 5}, AN_ADDRESS),
        ("contact.renamed", {"from": " "}, "data.from: A subject must hold more than white space."),
        ("contact.renamed", {"from": "a@b@c.com"}, "data.from: An address has exactly one @."),
        ("contact.renamed", {"from": "a\u200bb"}, "data.from: A subject cannot hold the character U+200B."),
        ("crm.lead_captured", {"origin": "facebook"}, ORIGIN),
        ("crm.lead_captured", {"origin": "Ad"}, ORIGIN),
        ("crm.lead_captured", {"origin": ""}, ORIGIN),
        ("crm.lead_captured", {"origin": None}, ORIGIN),
        ("crm.lead_captured", {"origin": ["ad"]}, ORIGIN),
        ("crm.lead_captured", {"origin": {}}, ORIGIN),
    ],
)
def test_data_that_its_type_cannot_use_is_refused(name: str, data: dict[str, Any] | None, detail: str):
    attributes = {} if data is None else {"data": data}

    found = refusal(type=name, time=AT, **attributes)

    assert (found.code, found.field, found.detail) == ("bad_data", "data", detail)


def test_an_expiry_a_moment_after_the_event_is_good():
    found = arrival(type="score.set", time=AT, data={"value": 5, "expires_at": "2026-11-22T11:00:00.000001Z"})

    assert found.score is not None
    assert found.score[1] == found.time + timedelta(microseconds=1)


def test_a_rename_names_the_old_address_in_its_normal_form():
    found = arrival(type="contact.renamed", subject="ann@new.example", data={"from": " Ann@OLD.example "})

    assert (found.identity, found.renamed_from) == ("ann@new.example", "ann@old.example")


@pytest.mark.parametrize(("data", "origin"), [({}, ""), ({"campaign": "x"}, ""), ({"origin": "ad"}, "ad")])
def test_a_lead_may_name_its_origin(data: dict[str, Any], origin: str):
    assert arrival(type="crm.lead_captured", data=data).origin == origin


@pytest.mark.parametrize("name", ["contact.matched", "score.cleared", "web.visited", "crm.tagged"])
def test_other_types_take_any_data(name: str):
    assert arrival(type=name, data={"value": "much", "from": 5, "origin": "facebook"}).type.name == name


BASE = {"id": "evt-1", "subject": "ann@example.com", "time": AT, "type": "engagement.email_opened"}


def sameness(**attributes: Any) -> tuple[int, object, datetime]:
    """What tells a repetition from a conflict."""
    found = arrival(**BASE | attributes)
    return found.stored_type, found.fingerprint, found.time


@pytest.mark.parametrize(
    "change",
    [
        {"id": "evt-2"},
        {"subject": " ANN@Example.com"},
        {"time": "2026-11-22T12:00:00+01:00"},
        {"time": "2026-11-22T11:00:00.0000001Z"},
        {"data": {"mail": "m1"}},
    ],
)
def test_id_spelling_and_data_make_no_other_event(change: dict[str, Any]):
    assert sameness(**change) == sameness()


@pytest.mark.parametrize(
    "change",
    [
        {"type": "engagement.email_clicked"},
        {"subject": "ann+1@example.com"},
        {"time": "2026-11-22T11:00:00.000001Z"},
        {"time": "2026-11-22T11:00:00+01:00"},
    ],
)
def test_type_identity_and_instant_tell_events_apart(change: dict[str, Any]):
    assert sameness(**change) != sameness()


def test_a_score_of_zero_is_not_taken_for_a_cleared_one():
    """They are stored under different types, so one is no repetition of the other."""
    zero = sameness(type="score.set", data={"value": 0})

    assert zero != sameness(type="score.cleared")
    assert zero == sameness(type="score.set", data={"value": 5})


def test_an_index_is_kept_beside_refused_neighbours():
    arrivals, refusals = resolved(event(), event(type="nothing"), event(source="nowhere"), event())

    assert [row.index for row in arrivals] == [0, 3]
    assert [(row.index, row.code) for row in refusals] == [(1, "unknown_type"), (2, "unknown_source")]
    assert arrivals[0].time == NOW - timedelta(hours=1)
