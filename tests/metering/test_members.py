"""The full list of a contact sync's members: differences act as events, and nothing else happens."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Account, Connection
from accounts.refusals import Refused
from metering import members
from metering.envelope import BadBody
from metering.erasure import erase
from metering.intake import take_in_for
from metering.lock import AccountBusy
from metering.members import MembersAnswer, put_members
from metering.models import BillingPeriod, Contact, Event, Gap, SyncMember
from metering.reconcile import differences
from tests.factories import ACTOR, NOW, deliver, event, put_account, put_connection, rows
from tests.properties.world import undone

pytestmark = pytest.mark.django_db

SYNC, OTHER, SITE = "pipedrive-mailchimp", "hubspot-brevo", "website"
MATCHED, UNMATCHED = 4, 6


@pytest.fixture(autouse=True)
def _recount_is_silent(acme: Account):
    """Whatever a test did: every number is what a recount gives."""
    yield
    assert differences(acme) == []


def happens(name: str, person: str, source: str = SYNC, **more: Any) -> dict[str, Any]:
    return event(**{"type": name, "subject": f"{person}@example.com", "source": source, **more})


def take(account: Account, *events: dict[str, Any]) -> list[str]:
    """Take events in, one batch each; their outcomes."""
    return [next(iter(deliver(account, [each]).outcomes())) for each in events]


def lines(*people: str) -> bytes:
    return b"".join(json.dumps({"subject": f"{person}@example.com"}).encode() + b"\n" for person in people)


def put(account: Account, *people: str, source: str = SYNC, now: datetime = NOW) -> MembersAnswer:
    return put_text(account, lines(*people), source=source, now=now)


def put_text(account: Account, text: bytes, *, source: str = SYNC, now: datetime = NOW, step: int = 7) -> MembersAnswer:
    link = Connection.objects.get(account=account, key=source)
    pieces = (text[begin : begin + step] for begin in range(0, len(text), step))
    return put_members(account, link, pieces, now=now)


def present(source: str = SYNC) -> list[str]:
    """Who is a member now."""
    held = rows(SyncMember, "contact__identity", holds=True, connection__key=source)
    return [name.partition("@")[0] for name in held]


def used() -> int:
    period = BillingPeriod.objects.order_by("-starts_at").first()
    assert period is not None
    return period.active_contacts


def limit(account: Account, limit: int, at_limit: str) -> None:
    put_account(account.slug, limit_override=limit, at_limit=at_limit)


# --- Differences -----------------------------------------------------------------------------------------------------


def test_whoever_is_new_on_the_list_joins_and_counts(acme: Account):
    assert put(acme, "ann", "bob") == MembersAnswer(2, 2, 0, {"recorded": 2})

    assert present() == ["ann", "bob"]
    assert used() == 2
    assert rows(Event, "type", "occurred_at", "connection__key") == [(MATCHED, NOW, SYNC)] * 2


def test_whoever_is_not_on_it_leaves_and_stays_counted(acme: Account):
    put(acme, "ann", "bob")

    assert put(acme, "bob", "cid", now=NOW + timedelta(days=1)) == MembersAnswer(2, 1, 1, {"recorded": 2})

    assert present() == ["bob", "cid"]
    assert used() == 3


def test_the_same_list_again_changes_nothing(acme: Account):
    put(acme, "ann", "bob")

    assert put(acme, "bob", "ann") == MembersAnswer(2, 0, 0, {})

    assert Event.objects.count() == 2


def test_of_two_lists_at_one_instant_the_later_holds(acme: Account):
    for people in (["ann"], [], ["ann", "bob"], ["bob"], []):
        put(acme, *people)
        assert present() == people


def test_an_empty_list_means_that_nobody_is_a_member(acme: Account):
    put(acme, "ann", "bob")

    assert put_text(acme, b"") == MembersAnswer(0, 0, 2, {"recorded": 2})
    assert put_text(acme, b"\n \r\n\n") == MembersAnswer(0, 0, 0, {})

    assert (present(), used()) == ([], 2)


def test_a_person_in_several_spellings_is_one(acme: Account):
    text = b'{"subject": " Ann@Example.com"}\r\n\n{"subject":"ann@example.com"}\n  { "subject" : "ANN@EXAMPLE.COM" }'

    assert put_text(acme, text) == MembersAnswer(1, 1, 0, {"recorded": 1})

    assert rows(Contact, "identity", "display") == [("ann@example.com", "Ann@Example.com")]


def test_a_person_under_an_old_address_is_one(acme: Account):
    take(acme, happens("contact.matched", "ann"), happens("contact.renamed", "anna", data={"from": "ann@example.com"}))

    assert put(acme, "ann") == put(acme, "anna", "ann") == MembersAnswer(1, 0, 0, {})

    assert present() == ["anna"]
    assert put(acme) == MembersAnswer(0, 0, 1, {"recorded": 1})
    assert put(acme, "ann").joined == 1
    assert present() == ["anna"]


def test_other_connections_and_accounts_are_left_alone(acme: Account, initech: Account):
    put(acme, "ann", source=OTHER)
    put(initech, "ann", source="salesforce-mailchimp")

    put(acme, "bob")

    assert (present(), present(OTHER), present("salesforce-mailchimp")) == (["bob"], ["ann"], ["ann"])
    assert differences(initech) == []


def test_one_whom_the_destination_refuses_is_a_member(acme: Account):
    take(acme, happens("contact.refused", "ann"))

    assert put(acme, "ann") == MembersAnswer(1, 0, 0, {})

    assert SyncMember.objects.exclude(refused_since=None).count() == 1


def test_whoever_was_erased_joins_again_and_counts_once(acme: Account):
    put(acme, "ann")
    erase(acme, "ann@example.com", actor=ACTOR, now=NOW)

    assert put(acme, "ann") == MembersAnswer(1, 1, 0, {"recorded": 1})

    assert (present(), used()) == (["ann"], 1)


def test_whoever_was_erased_and_came_under_an_alias_may_leave(acme: Account):
    take(acme, happens("contact.matched", "ann"), happens("contact.renamed", "anna", data={"from": "ann@example.com"}))
    erase(acme, "ann@example.com", actor=ACTOR, now=NOW)
    put(acme, "ann")

    assert put(acme) == MembersAnswer(0, 0, 1, {"recorded": 1})

    assert rows(SyncMember, "holds") == [False]


# --- At the limit, and while nothing is taken in ---------------------------------------------------------------------


def test_whoever_does_not_fit_is_held_once(acme: Account):
    limit(acme, 1, "hold")

    assert put(acme, "ann", "bob", "cid") == MembersAnswer(3, 3, 0, {"recorded": 1, "held": 2})
    assert put(acme, "ann", "bob", "cid", now=NOW + timedelta(days=1)) == MembersAnswer(3, 0, 0, {})

    limit(acme, 5, "hold")
    assert (present(), used()) == (["ann", "bob", "cid"], 3)


def test_whoever_was_held_and_is_not_listed_any_more_is_no_member_after_the_replay(acme: Account):
    limit(acme, 1, "hold")
    put(acme, "ann", "bob")
    tomorrow = NOW + timedelta(days=1)

    assert put(acme, "ann", now=tomorrow) == MembersAnswer(1, 0, 1, {"recorded": 1})
    assert put(acme, "ann", now=tomorrow) == MembersAnswer(1, 0, 0, {})

    limit(acme, 5, "hold")
    assert (present(), used()) == (["ann"], 2)
    assert put(acme, "ann", "bob", now=tomorrow).joined == 1
    assert present() == ["ann", "bob"]


def test_whoever_left_while_held_and_is_listed_again_is_held_again(acme: Account):
    limit(acme, 1, "hold")
    for day, people in enumerate([["ann", "bob"], ["ann"], ["ann", "bob"], ["ann", "bob"]]):
        put(acme, *people, now=NOW + timedelta(days=day))

    limit(acme, 5, "hold")

    assert (present(), rows(Event, "type")) == (["ann", "bob"], [MATCHED] * 3 + [UNMATCHED])


def test_while_it_is_paused_joins_are_lost_and_leaving_is_not(acme: Account):
    put(acme, "ann")
    limit(acme, 1, "pause")

    assert put(acme, "bob", "cid") == MembersAnswer(2, 2, 1, {"recorded": 1, "dropped": 2})

    assert (present(), rows(Gap, "reason", "type", "events")) == ([], [("limit_reached", MATCHED, 2)])


def test_where_new_contacts_are_limited_they_are_tried_again_each_night(acme: Account):
    limit(acme, 1, "limit_new")

    assert put(acme, "ann", "bob").outcomes == {"recorded": 1, "limited": 1}
    limit(acme, 5, "limit_new")
    assert put(acme, "ann", "bob") == MembersAnswer(2, 1, 0, {"recorded": 1})

    assert present() == ["ann", "bob"]


def test_a_connection_that_is_switched_off_takes_nobody(acme: Account):
    put_connection(acme, SYNC, enabled=False, now=NOW - timedelta(days=1))

    assert put(acme, "ann") == MembersAnswer(1, 1, 0, {"rejected": 1})

    assert present() == []


# --- Whole or not at all ---------------------------------------------------------------------------------------------

# what is wrong with the third line | its text | the code
BAD_LINES: list[tuple[str, bytes, str]] = [
    ("no JSON", b"ann@example.com", "bad_json"),
    ("cut off", b'{"subject": "ann', "bad_json"),
    ("two values", b'{"subject": "a@b.example"} {}', "bad_json"),
    ("another encoding", '{"subject": "é@b.example"}'.encode("latin-1"), "bad_json"),
    ("half a character", b'{"subject": "\\ud800"}', "bad_json"),
    ("a text", b'"ann@example.com"', "not_an_object"),
    ("an array", b"[]", "not_an_object"),
    ("null", b"null", "not_an_object"),
    ("empty", b"{}", "missing_field"),
    ("null for a subject", b'{"subject": null}', "wrong_type"),
    ("a number for a subject", b'{"subject": 1}', "wrong_type"),
    ("another field", b'{"subject": "a@b.example", "name": 1}', "unknown_field"),
    ("another field alone", b'{"email": "a@b.example"}', "unknown_field"),
    ("two @", b'{"subject": "a@b@c"}', "bad_address"),
    ("a blank", b'{"subject": " "}', "blank"),
    ("a line break", b'{"subject": "a\\nb"}', "bad_characters"),
    ("what stands in for the erased", b'{"subject": "\\u007fabc"}', "bad_characters"),
    ("a long one", b'{"subject": "' + b"x" * 321 + b'"}', "too_long"),
    ("a very long one", b'{"subject": "a@b.example"' + b" " * 20_000 + b"}", "too_long"),
    ("a very long blank one", b" " * 70_000 + b'\n{"subject": "a@b.example"}', "too_long"),
    ("a deep one", b"[" * 10_000, "bad_json"),
]


@pytest.mark.parametrize(("text", "code"), [row[1:] for row in BAD_LINES], ids=[row[0] for row in BAD_LINES])
@pytest.mark.parametrize("rest", [b"", b"\n" + lines("dee")])
@pytest.mark.parametrize("step", [5, 100_000])
def test_a_bad_line_is_named_and_changes_nothing(acme: Account, text: bytes, code: str, rest: bytes, step: int):
    put(acme, "ann")

    with pytest.raises(BadBody) as refused:
        put_text(acme, lines("bob", "cid") + text + rest, step=step)

    assert (refused.value.code, refused.value.status) == (code, 400)
    assert refused.value.detail.startswith("Line 3: ")
    assert (present(), used(), Event.objects.count()) == (["ann"], 1, 1)


def test_too_many_lines_change_nothing(acme: Account, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "MAX_LINES", 3)

    assert put(acme, "ann", "bob", "cid").joined == 3
    for text in (lines("ann", "bob", "cid", "dee"), b"\n\n\n\n"):
        with pytest.raises(BadBody) as refused:
            put_text(acme, text)
        assert (refused.value.code, refused.value.status) == ("too_many_lines", 413)

    assert present() == ["ann", "bob", "cid"]


def test_a_list_that_breaks_off_changes_nothing(acme: Account):
    put(acme, "ann")

    def breaks_off() -> Iterator[bytes]:
        yield lines("bob", "cid")
        raise OSError("the client went away")

    with pytest.raises(OSError, match="went away"):
        put_members(acme, Connection.objects.get(account=acme, key=SYNC), breaks_off(), now=NOW)

    assert (present(), Contact.objects.count()) == (["ann"], 1)


@pytest.mark.parametrize("source", ["mailchimp-pipedrive", "website", "scoring"])
def test_only_a_contact_sync_has_members(acme: Account, source: str):
    with pytest.raises(Refused) as refused:
        put(acme, "ann", source=source)

    assert (refused.value.code, refused.value.status) == ("not_a_contact_sync", 409)


def test_what_was_interrupted_is_done_by_the_same_list_again(acme: Account, monkeypatch: pytest.MonkeyPatch):
    put(acme, "zoe")
    calls = 0

    def busy_at_the_second(*values: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise AccountBusy
        return take_in_for(*values, **named)

    monkeypatch.setattr(members, "AT_ONCE", 2)
    monkeypatch.setattr(members, "take_in_for", busy_at_the_second)
    with pytest.raises(AccountBusy):
        put(acme, "ann", "bob", "cid", "dee")
    assert Event.objects.count() == 3

    assert put(acme, "ann", "bob", "cid", "dee").members == 4

    assert present() == ["ann", "bob", "cid", "dee"]
    assert Event.objects.count() == 6


def test_batches_do_all_of_it(acme: Account, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "AT_ONCE", 3)
    monkeypatch.setattr(members, "_COPIED_AT_ONCE", 4)
    crowd = [f"p{number}" for number in range(20)]

    assert put(acme, *crowd) == MembersAnswer(20, 20, 0, {"recorded": 20})
    assert put(acme, *crowd[5:]) == MembersAnswer(15, 0, 5, {"recorded": 5})

    assert present() == sorted(crowd[5:])


def test_nothing_is_left_of_a_list(acme: Account):
    put(acme, "ann")
    with pytest.raises(BadBody):
        put_text(acme, b"x")

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'members\\_%'")
        assert cursor.fetchone() == (0,)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(lists=st.lists(st.lists(st.sampled_from(["ann", "bob", "cid", "dee", "eve"]), max_size=7), max_size=5))
def test_after_any_lists_the_members_are_those_of_the_last(acme: Account, lists: list[list[str]]):
    with undone():
        for place, people in enumerate(lists):
            assert put(acme, *people, now=NOW + timedelta(seconds=place // 2)).members == len(set(people))
            assert present() == sorted(set(people))
            assert differences(acme) == []
        everybody = {person for people in lists for person in people}
        assert not everybody or used() == len(everybody)
