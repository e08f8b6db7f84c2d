"""Whatever is sent, taken back, renamed, erased and listed, in whatever order: the books are right at every moment."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Account, Connection
from accounts.refusals import Refused
from metering.erasure import erase
from metering.members import put_members
from metering.models import Contact, Event
from metering.voiding import void
from tests.factories import ACTOR, deliver, event, put_account
from tests.properties.books import check_books, run_scheduler
from tests.properties.world import DAY, HOUR, START, TURN, examples, make_account, undone

pytestmark = pytest.mark.django_db

PEOPLE = ["ann@example.com", "bob@example.com", "cid@example.com", "ig:42"]
_KINDS = [
    ("contact.matched", "crm"),
    ("contact.unmatched", "crm"),
    ("contact.refused", "shop"),
    ("contact.created_in_crm", "shop"),
    ("score.set", "scoring"),
    ("score.cleared", "scoring"),
    ("web.visited", "site"),
    ("automation.ai_reply", "bot"),
    ("crm.tagged", "crm"),
]
_person = st.sampled_from(PEOPLE)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sent"), _person, st.sampled_from(_KINDS), st.integers(0, 40), st.integers(0, 1)),
        st.tuples(st.just("sent"), _person, st.sampled_from(_KINDS), st.integers(0, 40), st.integers(0, 1)),
        st.tuples(st.just("renamed"), _person, _person),
        st.tuples(st.just("erased"), _person),
        st.tuples(st.just("taken back"), st.integers(0, 30)),
        st.tuples(st.just("listed"), st.sets(_person)),
        st.tuples(st.just("time goes by"), st.integers(1, 30)),
    ),
    max_size=25,
)


@pytest.fixture
def account(catalogue: None) -> Account:
    return make_account()


@examples(40)
@given(steps=_STEPS, limit=st.sampled_from([None, (1, "hold"), (2, "pause"), (2, "limit_new")]))
def test_the_books_are_right_after_each_step(account: Account, steps: list[Any], limit: Any):
    now = TURN - 20 * HOUR
    with undone():
        if limit:
            most, policy = limit
            put_account(account.slug, now=START, limit_override=most, at_limit=policy)
        for place, (what, *how) in enumerate(steps):
            if what == "time goes by":
                now += how[0] * HOUR
            else:
                DO[what](account, now, place, *how)
            check_books(account)
        for later in (now + DAY, TURN + 3 * DAY):
            run_scheduler(account, max(now, later))
            check_books(account)


def send(account: Account, now: datetime, place: int, person: str, kind: tuple[str, str], back: int, value: int):
    name, source = kind
    data = {"value": value} if name == "score.set" else {}
    at = max(now - back * HOUR, START + HOUR)
    sent = event(id=str(place), type=name, source=source, subject=person, time=at, data=data)
    deliver(account, [sent, sent], now=now)


def rename(account: Account, now: datetime, place: int, old: str, new: str):
    sent = event(id=str(place), type="contact.renamed", source="crm", subject=new, time=now, data={"from": old})
    deliver(account, [sent], now=now)


def forget(account: Account, now: datetime, _place: int, person: str):
    try:
        first = erase(account, person, actor=ACTOR, now=now)
    except Refused:
        return  # nobody knows them
    assert not Contact.objects.filter(account_id=account.pk, identity=person).exists()
    if first.counted_until is not None:
        assert erase(account, person, actor=ACTOR, now=now) == first


def take_back(account: Account, now: datetime, _place: int, which: int):
    events = list(Event.objects.filter(account_id=account.pk).order_by("pk").select_related("connection"))
    if which < len(events):
        with suppress(Refused):  # late, limited, given up, or of a closed period
            void(account, events[which].connection.key, events[which].key, reason="?", actor=ACTOR, now=now)


def put_list(account: Account, now: datetime, _place: int, people: set[str]):
    link = Connection.objects.get(account=account, key="crm")
    text = "".join(f'{{"subject": "{person}"}}\n' for person in sorted(people))
    put_members(account, link, [text.encode()], now=now)


DO: dict[str, Callable[..., None]] = {
    "sent": send,
    "renamed": rename,
    "erased": forget,
    "taken back": take_back,
    "listed": put_list,
}
