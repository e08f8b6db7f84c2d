"""Renames in any mix with other events: one person counts once from then on, and nothing is lost.

They take effect on arrival, so the model that they are compared with follows the order of delivery.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Account
from metering.models import AccountMeter, Contact
from metering.usage import totals
from tests.factories import deliver
from tests.properties.books import check_books, everything_stored, opened, run_scheduler, tallied
from tests.properties.oracle import ACTIVATED, ACTIVE, Happening
from tests.properties.world import (
    DAY,
    HOUR,
    LINKS,
    NEXT_TURN,
    TURN,
    as_sent,
    examples,
    make_account,
    undone,
)

ADDRESSES = ["ann@example.com", "ann@example.org", "a.smith@example.com", "bob@example.com", "bo@example.com", "ig:42"]
RENAMED = "contact.renamed"
TYPES = {
    "crm": ["contact.matched", "contact.unmatched", "contact.refused", "contact.created_in_crm"],
    "shop": ["contact.matched", "contact.unmatched"],
    "scoring": ["score.set", "score.cleared"],
    "mail": ["engagement.email_opened", "engagement.unsubscribed"],
    "bot": ["automation.ai_reply", "crm.tagged"],
}
Batches = list[list[Happening]]


@pytest.fixture
def account(catalogue: None) -> Account:
    """On connect/starter, with connections of every kind."""
    return make_account()


@dataclass
class People:
    """Who is who by now, who counts in which period and unit, and what changed each of their states last."""

    contact_of: dict[str, int] = field(default_factory=dict)
    counted: defaultdict[tuple[datetime, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    states: dict[tuple[int, str], Happening] = field(default_factory=dict)

    def meet(self, it: Happening, period: datetime) -> None:
        contact = self.contact_of.setdefault(it.person, len(self.contact_of))
        if it.reason:
            self.counted[period, it.reason[0]].add(contact)
        if it.source in ("crm", "shop", "scoring") and it.type != RENAMED:
            self._change(contact, it)
        if it.type == RENAMED and it.data["from"] in self.contact_of:
            self._merge(self.contact_of[it.data["from"]], contact)

    def _change(self, contact: int, it: Happening) -> None:
        last = self.states.setdefault((contact, it.source), it)
        if (it.at, it.key) > (last.at, last.key):
            self.states[contact, it.source] = it

    def _merge(self, old: int, new: int) -> None:
        if old == new:
            return
        self.contact_of |= {address: new for address, contact in self.contact_of.items() if contact == old}
        for counted in self.counted.values():
            if old in counted and new not in counted:  # where both counted, both stay counted
                counted.remove(old)
                counted.add(new)
        for contact, source in [key for key in self.states if key[0] == old]:
            self._change(new, self.states.pop((contact, source)))

    def holding(self, at: datetime) -> set[int]:
        """The members and the live scores."""
        week = LINKS["scoring"].score_expiry or timedelta()
        return {
            contact
            for (contact, source), it in self.states.items()
            if it.holds and (source != "scoring" or it.at + week > at)
        }


@st.composite
def _histories(draw: st.DrawFn, prefix: str, first: datetime, last: datetime) -> Batches:
    minutes = st.integers(0, int((last - first) / timedelta(minutes=1)) - 1)
    happened = []
    for number in range(draw(st.integers(1, 9))):
        person = draw(st.sampled_from(ADDRESSES))
        source = draw(st.sampled_from(sorted(TYPES)))
        kind = draw(st.sampled_from(TYPES[source]) | st.just(RENAMED))
        data: dict[str, Any] = {"value": 7} if kind == "score.set" else {}
        if kind == RENAMED:
            data = {"from": draw(st.sampled_from(ADDRESSES))}
        at = first + timedelta(minutes=draw(minutes))
        happened.append(Happening(source, f"{prefix}{number}", kind, person, person, at, data))
    cuts = sorted(draw(st.sets(st.integers(1, len(happened)), max_size=3)) | {len(happened)})
    return [happened[start:end] for start, end in zip([0, *cuts], cuts, strict=False)]


october = _histories("o", TURN - 14 * DAY, TURN)
november = _histories("n", TURN, TURN + 20 * HOUR)


def come_in_twice(account: Account, batch: list[Happening], now: datetime) -> None:
    """The second time all are duplicates, and no table but the tally of deliveries changes."""
    sent = [as_sent(it) for it in batch]
    assert deliver(account, sent, now=now).outcomes() == {"recorded": len(batch)}
    stored, deliveries = everything_stored(), tallied(account)
    assert deliver(account, reversed(sent), now=now).outcomes() == {"duplicate": len(batch)}
    assert tallied(account) - deliveries == {"duplicate": len(batch)}
    tally = "metering_outcometally"
    assert everything_stored() | {tally: ""} == stored | {tally: ""}


def check_people(account: Account, people: People) -> None:
    """Who is one person, how many count, and that a recount agrees."""
    check_books(account)
    for period in opened(account):
        used = totals(period)
        for unit in (ACTIVE, ACTIVATED):
            assert used[unit] == len(people.counted[period.starts_at, unit])
    contacts = Contact.objects.filter(account_id=account.pk).values_list("identity", "alias_of_id", "pk")
    stored = {identity: alias_of or pk for identity, alias_of, pk in contacts}
    assert partition(stored) == partition(people.contact_of)
    known = AccountMeter.objects.get(account_id=account.pk).contacts_known
    assert known == len(set(people.contact_of.values()))


def partition(contact_of: dict[str, int]) -> set[frozenset[str]]:
    """The addresses of each contact."""
    groups: defaultdict[int, set[str]] = defaultdict(set)
    for address, contact in contact_of.items():
        groups[contact].add(address)
    return {frozenset(group) for group in groups.values()}


def carry_in(account: Account, people: People, period: datetime) -> None:
    """The next period opens with the people whose memberships and scores hold."""
    run_scheduler(account, period + HOUR)
    people.counted[period, ACTIVE] |= people.holding(period)
    assert opened(account)[-1].carried_in == len(people.counted[period, ACTIVE])
    check_people(account, people)


@examples(40)
@given(before=october, after=november)
def test_any_mix_of_renames_leaves_every_person_counted_once_from_then_on(
    account: Account, before: Batches, after: Batches
):
    with undone():
        people = People()
        start = None
        for batch in before:
            come_in_twice(account, batch, TURN - timedelta(minutes=1))
            start = start or opened(account)[0].starts_at
            for it in batch:
                people.meet(it, start)
            check_people(account, people)
        carry_in(account, people, TURN)
        for batch in after:
            come_in_twice(account, batch, TURN + 20 * HOUR)
            for it in batch:
                people.meet(it, TURN)
            check_people(account, people)
        carry_in(account, people, NEXT_TURN)
