"""Every what-if, and every `only_here`, is what counting the same again without it gives: in an account of its own."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.models import Account, Connection
from metering.catalogue import BY_NAME, REASON_BY_LABEL
from metering.usage import usage
from metering.voiding import void
from metering.what_if import WhatIf, with_score_expiry, without_connection, without_reason
from tests.factories import ACTOR, deliver, put_connection
from tests.properties.books import come_by, run_scheduler
from tests.properties.oracle import Happening
from tests.properties.test_any_delivery import IN_TIME, at_the_turn, stories
from tests.properties.test_renames import Batches, in_grace, october
from tests.properties.world import (
    DAY,
    HOUR,
    KINDS,
    NEXT_TURN,
    TURN,
    Delivery,
    as_sent,
    examples,
    happenings,
    make_account,
    undone,
)

Keep = Callable[[Happening], bool]


class Change(NamedTuple):
    """Something to do without: a reason, a connection, or scores that live longer than so many days."""

    what: str
    value: Any

    def asked(self, account: Account, now: datetime) -> WhatIf:
        if self.what == "reason":
            return without_reason(account, self.value, now)
        if self.what == "connection":
            return without_connection(account, Connection.objects.get(account=account, key=self.value), now)
        return with_score_expiry(account, self.value, now)

    def keeps(self, it: Happening) -> bool:
        if self.what == "reason":
            kind = BY_NAME[it.type]
            clears = it.data.get("value") == 0
            return clears or kind.reason is None or kind.reason.label != self.value
        return self.what != "connection" or it.source != self.value

    def shorten(self, account: Account) -> None:
        """Have the scores of an account expire sooner."""
        if self.what == "expiry":
            for link in Connection.objects.filter(account=account):
                days = min(self.value, link.score_expiry_days or self.value)
                put_connection(account, link.key, link.kind, score_expiry_days=days)


reasons = st.sampled_from(["contact_sync", "lead_score", "email_opened", "web_visit", "campaign_message", "ai_reply"])
changes = st.one_of(
    st.builds(Change, st.just("reason"), reasons | st.sampled_from(sorted(REASON_BY_LABEL))),
    st.builds(Change, st.just("connection"), st.sampled_from(sorted(KINDS))),
    st.builds(Change, st.just("expiry"), st.sampled_from([1, 2, 6, 7, 8, 20, 36_500])),
)


@pytest.fixture
def account(catalogue: None) -> Account:
    return make_account()


def take_in(account: Account, steps: Sequence[Delivery], keep: Keep) -> None:
    for step in steps:
        come_by(account, step.beforehand, step.now)
        deliver(account, [as_sent(it) for it in step.batch if keep(it)], now=step.now)


def everything(_: Happening) -> bool:
    return True


def counted_again(slug: str, change: Change, steps: Sequence[Delivery], moments: Sequence[datetime]) -> list[int]:
    """What a fresh account uses at each moment that takes in the same without it."""
    fresh = make_account(slug)
    change.shorten(fresh)
    take_in(fresh, steps, change.keeps)
    return [usage(fresh, now)["used"] for now in moments]


AN_OLD_SCORE = at_the_turn("score.set", "crm", "ann@example.com", 8 * DAY, value=1)
A_WEEK_OLD = at_the_turn("score.set", "crm", "cy+news@example.com", 7 * DAY, value=1)
SET_AGAIN_AFTER = at_the_turn("score.set", "crm", "ig:42", -HOUR, value=1)
CLEARED_AFTER = at_the_turn("score.cleared", "crm", "ann@example.com", -HOUR)
SCORES = [
    Delivery([AN_OLD_SCORE, A_WEEK_OLD], TURN - HOUR, "nothing"),
    Delivery([SET_AGAIN_AFTER, CLEARED_AFTER], TURN + 2 * HOUR, "a read"),
]


@examples(60)
@given(story=stories(), change=changes)
@example(story=([], [SCORES]), change=Change("expiry", 7))
@example(story=([], [SCORES]), change=Change("expiry", 8))
@example(story=([], [SCORES]), change=Change("reason", "lead_score"))
@example(story=([], [SCORES]), change=Change("connection", "crm"))
def test_what_if_is_what_counting_again_gives(
    account: Account, story: tuple[list[Happening], Sequence[list[Delivery]]], change: Change
):
    _, [steps] = story
    moments = [max(IN_TIME, steps[-1].now), NEXT_TURN + HOUR]
    with undone():
        take_in(account, steps, everything)
        answers = []
        for now in moments:
            used = usage(account, now)["used"]
            answers.append(change.asked(account, now))
            assert answers[-1].used == used == answers[-1].would_be + answers[-1].saved
        assert [answer.would_be for answer in answers] == counted_again("again", change, steps, moments)


@examples(25)
@given(story=stories(), change=changes.filter(lambda change: change.what != "expiry"))
def test_only_here_is_what_counting_again_saves(
    account: Account, story: tuple[list[Happening], Sequence[list[Delivery]]], change: Change
):
    _, [steps] = story
    now = max(IN_TIME, steps[-1].now)
    with undone():
        take_in(account, steps, everything)
        seen = usage(account, now)
        only_here = {row[change.what]: row["only_here"] for row in seen[f"by_{change.what}"]}
        [again] = counted_again("again", change, steps, [now])
        assert only_here.get(change.value, 0) == seen["used"] - again


@examples(35)
@given(story=stories(latest=TURN + 3 * DAY, beforehand=["the scheduler"]), change=changes)
def test_after_late_events_what_if_is_what_counting_again_gives(
    account: Account, story: tuple[list[Happening], Sequence[list[Delivery]]], change: Change
):
    _, [steps] = story
    now = max(TURN + 3 * DAY, steps[-1].now)
    with undone():
        usage(account, TURN - 20 * DAY)
        take_in(account, steps, everything)
        usage(account, now)
        answer = change.asked(account, now)
        fresh = make_account("again")
        change.shorten(fresh)
        usage(fresh, TURN - 20 * DAY)
        take_in(fresh, steps, change.keeps)
        again = usage(fresh, now)["used"]
        assert answer.would_be == again


@examples(35)
@given(before=october, after=in_grace, change=changes)
def test_after_renames_what_if_is_what_counting_again_gives(
    account: Account, before: Batches, after: Batches, change: Change
):
    def live(account: Account, keep: Keep) -> None:
        for batches, now in ((before, TURN - timedelta(minutes=1)), (after, TURN + 20 * HOUR)):
            for batch in batches:
                deliver(account, [as_sent(it) for it in batch if keep(it)], now=now)
            run_scheduler(account, TURN + HOUR)

    with undone():
        live(account, everything)
        usage(account, TURN + 20 * HOUR)
        answer = change.asked(account, TURN + 20 * HOUR)
        fresh = make_account("again")
        change.shorten(fresh)
        live(fresh, lambda it: change.keeps(it) or it.type == "contact.renamed")
        again = usage(fresh, TURN + 20 * HOUR)["used"]
        assert answer.would_be == again


@examples(25)
@given(happened=happenings(), taken_back=st.sets(st.integers(0, 11), max_size=4), change=changes)
def test_what_was_taken_back_is_in_no_what_if(
    account: Account, happened: list[Happening], taken_back: set[int], change: Change
):
    def live(account: Account, keep: Keep) -> None:
        kept = [it for it in happened if keep(it)]
        now = IN_TIME
        run_scheduler(account, TURN - DAY)
        receipt = deliver(account, [as_sent(it) for it in kept], now=now)
        for it, item in zip(kept, receipt.items, strict=True):
            if happened.index(it) in taken_back and item.verdict.outcome == "recorded":
                void(account, it.source, it.key, reason="?", actor=ACTOR, now=now)

    with undone():
        live(account, everything)
        usage(account, IN_TIME)
        answer = change.asked(account, IN_TIME)
        fresh = make_account("again")
        change.shorten(fresh)
        live(fresh, change.keeps)
        assert answer.would_be == usage(fresh, IN_TIME)["used"]
