"""Renames in any mix with other events: one person counts once from then on, and nothing is lost.

They take effect on arrival, so the model that they are compared with follows the order of delivery.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
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
STATES = ["crm", "shop", "scoring"]
Batches = list[list[Happening]]
Reasons = set[tuple[str, str]]


@pytest.fixture
def account(catalogue: None) -> Account:
    """On connect/starter, with connections of every kind."""
    return make_account()


@dataclass
class People:
    """Who is who by now, why each counts in which period and unit, and what has changed their states.

    A reason is (given or carried, connection). `turn` is the start of a period whose carry-in is still corrected.
    """

    contact_of: dict[str, int] = field(default_factory=dict)
    counted: defaultdict[tuple[datetime, str], dict[int, Reasons]] = field(default_factory=lambda: defaultdict(dict))
    changes: defaultdict[tuple[int, str], list[Happening]] = field(default_factory=lambda: defaultdict(list))
    turn: datetime | None = None

    def meet(self, it: Happening, period: datetime) -> None:
        contact = self.contact_of.setdefault(it.person, len(self.contact_of))
        if it.reason:
            self._count(period, it.reason[0], contact, ("given", it.source))
        if it.source in STATES and it.type != RENAMED:
            self.changes[contact, it.source].append(it)
            if self.turn and it == last_before(self.turn, self.changes[contact, it.source]):
                self._carry(self.turn, contact, it.source)
        if it.type == RENAMED and it.data["from"] in self.contact_of:
            self._merge(self.contact_of[it.data["from"]], contact)

    def open(self, start: datetime) -> None:
        """Count into a period whoever is a member or has a live score at its start."""
        self.turn = start
        for contact, source in list(self.changes):
            self._carry(start, contact, source)

    def _count(self, period: datetime, unit: str, contact: int, reason: tuple[str, str]) -> None:
        self.counted[period, unit].setdefault(contact, set()).add(reason)

    def _carry(self, start: datetime, contact: int, source: str) -> None:
        last = last_before(start, self.changes[contact, source])
        week = LINKS[source].score_expiry
        if last and last.holds and (week is None or last.at + week > start):
            self._count(start, ACTIVE, contact, ("carried", source))
            return
        reasons = self.counted[start, ACTIVE].get(contact, set())
        reasons.discard(("carried", source))
        if not reasons:
            self.counted[start, ACTIVE].pop(contact, None)

    def _merge(self, old: int, new: int) -> None:
        if old == new:
            return
        self.contact_of |= {address: new for address, contact in self.contact_of.items() if contact == old}
        for counted in self.counted.values():
            if old in counted and new not in counted:  # where both counted, both stay counted
                counted[new] = counted.pop(old)
        for source in STATES:
            self.changes[new, source] += self.changes.pop((old, source), [])


def last_before(moment: datetime, changes: list[Happening]) -> Happening | None:
    earlier = [it for it in changes if it.at < moment]
    return max(earlier, key=lambda it: (it.at, it.key), default=None)


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
in_grace = _histories("n", TURN - 14 * DAY, TURN + 20 * HOUR)


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
        active = people.counted[period.starts_at, ACTIVE].values()
        assert period.carried_in == sum(any(how == "carried" for how, _ in reasons) for reasons in active)
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


def open_next(account: Account, people: People, period: datetime) -> None:
    """The next period opens with the people whose memberships and scores hold."""
    run_scheduler(account, period + HOUR)
    people.open(period)
    check_people(account, people)


def _move(number: int, kind: str, person: str, at: datetime, **data: Any) -> Happening:
    return Happening("crm", f"m{number}", kind, person, person, at, data)


ANN, AT_WORK = ADDRESSES[:2]
JOINED = _move(1, "contact.matched", ANN, TURN - HOUR)
LEFT_AND_WAS_RENAMED = [
    _move(2, "contact.unmatched", ANN, TURN + HOUR),
    _move(3, RENAMED, AT_WORK, TURN + HOUR, **{"from": ANN}),
]
HAD_LEFT_EARLIER = _move(4, "contact.unmatched", AT_WORK, TURN - DAY)


@examples(40)
@given(before=october, after=in_grace)
@example(before=[[JOINED]], after=[LEFT_AND_WAS_RENAMED, [HAD_LEFT_EARLIER]])
def test_any_mix_of_renames_leaves_every_person_counted_once_from_then_on(
    account: Account, before: Batches, after: Batches
):
    with undone():
        people = People()
        for batch in before:
            come_in_twice(account, batch, TURN - timedelta(minutes=1))
            for it in batch:
                people.meet(it, opened(account)[0].starts_at)
            check_people(account, people)
        open_next(account, people, TURN)
        for batch in after:
            come_in_twice(account, batch, TURN + 20 * HOUR)
            for it in batch:
                people.meet(it, TURN if it.at >= TURN else opened(account)[0].starts_at)
            check_people(account, people)
        open_next(account, people, NEXT_TURN)
