"""Whatever happens at the limit, in any order: the count is exact, never above the limit by an event, and nothing is
unaccounted for."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Account
from accounts.refusals import Refused
from metering import steering
from metering.models import BillingPeriod, Event, EventState, Gap, OutcomeTally, ThresholdCrossing, UpgradeCause
from metering.periods import period_at
from metering.reconcile import differences
from metering.replay import replay_all
from metering.upgrades import settle_pending
from metering.upkeep import do_due_work
from notifications.models import Notification
from tests.factories import ACTOR, deliver, event, put_account, put_connection
from tests.properties.world import HOUR, TURN, examples, make_account, undone

pytestmark = pytest.mark.django_db

BY: dict[str, Any] = {"reason": "a test", "actor": ACTOR}
PEOPLE = [f"p{number}@example.com" for number in range(8)]
EXACT = ("hold", "pause", "limit_new")

Name = Literal[
    "send", "limit", "policy", "switch", "pause", "resume", "replay", "settle", "time", "site", "upgrade", "downgrade"
]


@dataclass(frozen=True)
class Step:
    """Something that happens: by name, with what it needs."""

    name: Name
    value: Any = None


def sent() -> st.SearchStrategy[Step]:
    kinds = ["contact.matched", "contact.unmatched", "web.visited", "score.set", "score.cleared", "crm.tagged"]
    one = st.tuples(st.sampled_from(PEOPLE), st.sampled_from(kinds), st.integers(-1, 30), st.integers(0, 20))
    return st.lists(one, min_size=1, max_size=6).map(lambda rows: Step("send", tuple(rows)))


def steps() -> st.SearchStrategy[list[Step]]:
    others = st.one_of(
        st.sampled_from([None, 1, 2, 3, 5]).map(lambda limit: Step("limit", limit)),
        st.sampled_from([None, "hold", "pause", "limit_new", "upgrade"]).map(lambda policy: Step("policy", policy)),
        st.booleans().map(lambda on: Step("switch", on)),
        st.booleans().map(lambda on: Step("site", on)),
        st.sampled_from([0.95, 1, 20, 30, 24 * 15, 24 * 31]).map(lambda hours: Step("time", hours)),
        st.sampled_from(["starter", "growth"]).map(lambda tier: Step("downgrade", tier)),
        st.sampled_from(["growth", "professional"]).map(lambda tier: Step("upgrade", tier)),
        st.sampled_from([Step("pause"), Step("resume"), Step("replay"), Step("settle")]),
    )
    return st.lists(st.one_of(sent(), sent(), others), min_size=2, max_size=14)


class Story:
    """An account that things happen to, from an hour before a turn of its period on."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.now: datetime = TURN - HOUR
        self.received: Counter[str] = Counter()
        self.ids: dict[int, dict[str, Any]] = {}

    def take(self, step: Step) -> None:
        match step.name:
            case "send":
                self.send(step.value)
            case "limit":
                self.put(limit_override=step.value)
            case "policy":
                self.put(at_limit=step.value)
            case "switch":
                self.put(auto_upgrade=step.value)
            case "site":
                put_connection(self.account, "site", "web_tracking", enabled=step.value, now=self.now)
            case "time":
                self.now += timedelta(hours=step.value)
            case "settle":
                while do_due_work(self.fresh(), self.now):
                    pass
                settle_pending(self.fresh(), self.now)
                replay_all(self.fresh(), self.now)
            case "upgrade" | "downgrade":
                try:
                    getattr(steering, step.name)(self.account, step.value, now=self.now, **BY)
                except Refused as refused:
                    assert refused.code in ("not_higher", "not_lower", "over_target")  # noqa: PT017 - either is fine
            case "pause" | "resume" | "replay":
                try:
                    getattr(steering, step.name)(self.account, now=self.now, **BY)
                except Refused as refused:
                    assert refused.code == "paused"  # noqa: PT017 - whether it is refused is not the question

    def send(self, rows: tuple[tuple[str, str, int, int], ...]) -> None:
        """Events of an id each; one that was sent before is sent again as it was."""
        batch = []
        for person, kind, hours_ago, number in rows:
            at = self.now + timedelta(minutes=4) if hours_ago < 0 else self.now - timedelta(hours=hours_ago)
            source = {"score": "scoring", "web": "mail"}.get(kind.partition(".")[0], "crm")
            data = {"data": {"value": 5}} if kind == "score.set" else {}
            made = event(
                id=f"e{number}",
                source=source,
                type=kind,
                subject=person,
                time=at,
                **data,
            )
            batch.append(self.ids.setdefault(number, made))
        before = self.standing()
        receipt = deliver(self.account, batch, now=self.now)
        assert sum(receipt.outcomes().values()) == len(batch)
        self.received.update(receipt.outcomes())
        self.check_exact(before, receipt.outcomes())

    def standing(self) -> dict[int, tuple[int, int]]:
        """What each period has used and carried in."""
        found = BillingPeriod.objects.filter(account=self.account)
        return {row.pk: (row.active_contacts, row.carried_in) for row in found}

    def check_exact(self, before: dict[int, tuple[int, int]], outcomes: dict[str, int]) -> None:
        """No event takes a count above the limit: it was there before, or is carried in."""
        if self.fresh().at_limit not in EXACT:
            return
        for row in BillingPeriod.objects.filter(account=self.account, limit__isnull=False):
            used, carried = before.get(row.pk, (0, 0))
            assert row.active_contacts <= max(row.limit or 0, used) + max(row.carried_in - carried, 0)

    def put(self, **fields: Any) -> None:
        put_account(self.account.slug, now=self.now, signed_up_at=self.account.signed_up_at, **fields)

    def fresh(self) -> Account:
        return Account.objects.get(pk=self.account.pk)

    def check(self) -> None:
        assert differences(self.account) == []
        tallied: Counter[str] = Counter()
        for outcome, deliveries in OutcomeTally.objects.filter(account_id=self.account.pk).values_list(
            "outcome", "deliveries"
        ):
            tallied[outcome] += deliveries
        assert tallied == self.received
        dropped = sum(Gap.objects.filter(account_id=self.account.pk).values_list("attempts", flat=True))
        given_up = Event.objects.filter(account_id=self.account.pk, state=EventState.GIVEN_UP).count()
        assert dropped == self.received["dropped"] + given_up
        told = Notification.objects.filter(account=self.account, kind="threshold").count()
        crossings = ThresholdCrossing.objects.filter(account_id=self.account.pk)
        upgrades = Notification.objects.filter(account=self.account, kind="upgraded")
        assert told <= crossings.count() <= told + 2 * upgrades.count()
        asked = self.account.audit.filter(action="account.upgraded")
        assert upgrades.count() == asked.count()
        settled = UpgradeCause.objects.filter(account_id=self.account.pk, outcome="upgraded").count()
        assert settled <= asked.filter(actor="automatic upgrade").count()
        self.check_what_was_told_last()

    def check_what_was_told_last(self) -> None:
        """Whether the account runs, as the last mail says; and no gap is open without a pause."""
        stops = ["paused", "held", "trial_ended", "resumed"]
        told = Notification.objects.filter(account=self.account, kind__in=stops).order_by("-pk").first()
        word = "resumed" if told is None else told.kind
        period = period_at(self.account.pk, self.now)
        state = "" if period is None else period.limit_state
        if self.fresh().paused_at is not None:
            assert word == "paused"
            return
        assert (word == "paused", word == "held") == (state == "paused", state == "holding")
        reasons = set(Gap.objects.filter(account_id=self.account.pk, ends_at=None).values_list("reason", flat=True))
        assert reasons <= ({"limit_reached"} if state == "paused" else set())


@examples(100)
@given(steps())
def test_whatever_happens_at_the_limit_adds_up(catalogue: None, happens: list[Step]):
    with undone():
        story = Story(make_account())
        for step in happens:
            story.take(step)
        story.take(Step("settle"))
        story.check()
