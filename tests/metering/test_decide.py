"""What becomes of each event, without a database (DESIGN section 4): every outcome in its order, at its edges."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from metering import envelope
from metering.catalogue import BY_NAME, ContactUnit, Reason
from metering.counting import NOT_COUNTED, Counted
from metering.decide import Clock, decide, judge_all
from metering.facts import AccountFacts, AccountState, ConnectionFacts, Decision, PeriodFacts
from metering.resolve import resolve
from metering.transitions import Register, Transition
from tests.factories import NOW, event

ACTIVE, ACTIVATED = ContactUnit.ACTIVE, ContactUnit.ACTIVATED
MOMENT = timedelta(microseconds=1)
SIGN_UP = datetime(2026, 3, 1, tzinfo=UTC)
SEPTEMBER, OCTOBER, NOVEMBER, DECEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in (9, 10, 11, 12))


def connection(number: int, key: str, **settings: Any) -> ConnectionFacts:
    return ConnectionFacts(
        **{
            "id": number,
            "key": key,
            "keeps_members": False,
            "enabled": True,
            "switched_at": (),
            "record_email_sent": True,
            "score_expiry_days": None,
            **settings,
        }
    )


SYNC = connection(1, "pipedrive-mailchimp", keeps_members=True)
SECOND_SYNC = connection(2, "hubspot-brevo", keeps_members=True)
ENGAGEMENT = connection(3, "mailchimp-pipedrive")
SCORING = connection(4, "scoring", score_expiry_days=60)
CONNECTIONS = (SYNC, SECOND_SYNC, ENGAGEMENT, SCORING)

CLOSED = PeriodFacts(10, OCTOBER, NOVEMBER, closed=True, provisional=False)
OPEN = PeriodFacts(11, NOVEMBER, DECEMBER, closed=False, provisional=False)


def acme(*, periods: list[PeriodFacts] | None = None, **loaded: Any) -> AccountState:
    """An account whose October is closed and whose November is open, with nothing in it yet."""
    facts: dict[str, Any] = {"id": 1, "signed_up_at": SIGN_UP, "closed_at": None, "timezone": "UTC"}
    account = AccountFacts(**facts | {name: loaded.pop(name) for name in list(loaded) if name in facts})
    return AccountState(
        account=account, periods=[CLOSED, OPEN] if periods is None else periods, **{"stored": {}, **loaded}
    )


def run(
    state: AccountState,
    *events: dict[str, Any],
    connections: tuple[ConnectionFacts, ...] = CONNECTIONS,
    now: datetime = NOW,
) -> Decision:
    """Decide a batch at a time."""
    items = envelope.read(msgspec.json.encode(events), single=False)
    good = [item for item in items if isinstance(item, envelope.Event)]
    arrivals, refusals = resolve(good, {facts.key: facts for facts in connections})
    assert len(arrivals) == len(events), refusals
    return decide(state, arrivals, judge_all(state, arrivals, Clock(now)), Clock(now))


def outcomes(decision: Decision) -> list[str]:
    """Each outcome with its code, if it has one."""
    return [f"{row.outcome} {row.code}".strip() for row in decision.verdicts]


def outcome(state: AccountState, sent: dict[str, Any], **how: Any) -> str:
    [only] = outcomes(run(state, sent, **how))
    return only


def stored(sent: dict[str, Any], *, when: datetime = NOW) -> AccountState:
    """An account that has taken an event in before."""
    before = acme(periods=[PeriodFacts(9, SEPTEMBER, OCTOBER, closed=False, provisional=False), CLOSED, OPEN])
    assert outcome(before, sent, now=when) in ("recorded", "late")
    return acme(stored=before.stored)


def counted(decision: Decision) -> list[tuple[int, ContactUnit, int, dict[int, list[int]]]]:
    """(period, unit, contact, reasons by connection) of what changed."""
    return [(row.period_id, row.unit, row.contact, row.reasons) for row in decision.counted.values()]


# --- The outcomes, and their order -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (NOW + timedelta(minutes=5), "recorded"),
        (NOW + timedelta(minutes=5) + MOMENT, "rejected too_far_ahead"),
        (NOW, "recorded"),
        (NOVEMBER, "recorded"),
        (NOVEMBER - MOMENT, "late"),
        (NOW - timedelta(days=35), "late"),
        (NOW - timedelta(days=35) - MOMENT, "rejected too_old"),
    ],
)
def test_an_event_is_taken_from_35_days_ago_to_5_minutes_ahead(at: datetime, expected: str):
    assert outcome(acme(), event(time=at)) == expected


@pytest.mark.parametrize(
    ("at", "expected"), [(NOW - MOMENT, "rejected before_sign_up"), (NOW, "recorded"), (NOW + MOMENT, "recorded")]
)
def test_nothing_is_taken_from_before_the_sign_up(at: datetime, expected: str):
    assert outcome(acme(signed_up_at=NOW), event(time=at)) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [(NOW - MOMENT, "recorded"), (NOW, "rejected account_closed"), (NOW + MOMENT, "rejected account_closed")],
)
def test_nothing_is_taken_from_after_the_closing_of_the_account(at: datetime, expected: str):
    assert outcome(acme(closed_at=NOW), event(time=at)) == expected


def hours(*ago: float) -> tuple[datetime, ...]:
    return tuple(NOW - timedelta(hours=number) for number in ago)


DISABLED = "rejected connection_disabled"


@pytest.mark.parametrize(
    ("enabled", "switched_at", "at", "expected"),
    [
        (True, (), NOW - timedelta(days=1), "recorded"),
        (False, (), NOW - timedelta(days=1), DISABLED),
        # switched off four hours ago
        (False, hours(4), NOW - timedelta(hours=4) - MOMENT, "recorded"),
        (False, hours(4), NOW - timedelta(hours=4), DISABLED),
        (False, hours(4), NOW, DISABLED),
        # off four hours ago, on again two hours ago
        (True, hours(4, 2), NOW - timedelta(hours=4) - MOMENT, "recorded"),
        (True, hours(4, 2), NOW - timedelta(hours=4), DISABLED),
        (True, hours(4, 2), NOW - timedelta(hours=2) - MOMENT, DISABLED),
        (True, hours(4, 2), NOW - timedelta(hours=2), "recorded"),
        (True, hours(4, 2), NOW, "recorded"),
        # off and on again at one instant
        (True, hours(4, 4), NOW - timedelta(hours=4) - MOMENT, "recorded"),
        (True, hours(4, 4), NOW - timedelta(hours=4), "recorded"),
        # made disabled, on four hours ago, off two hours ago
        (False, hours(4, 2), NOW - timedelta(hours=5), DISABLED),
        (False, hours(4, 2), NOW - timedelta(hours=3), "recorded"),
        (False, hours(4, 2), NOW - timedelta(hours=1), DISABLED),
    ],
)
def test_a_connection_takes_only_what_happened_while_it_was_enabled(
    enabled: bool, switched_at: tuple[datetime, ...], at: datetime, expected: str
):
    facts = connection(1, "pipedrive-mailchimp", enabled=enabled, switched_at=switched_at)

    assert outcome(acme(), event(time=at), connections=(facts,)) == expected


SENT = event(id="evt-1", subject="ann@example.com", type="engagement.email_sent")
NO_SENDS = connection(1, "pipedrive-mailchimp", record_email_sent=False)
DISABLED_NO_SENDS = connection(1, "pipedrive-mailchimp", enabled=False, record_email_sent=False)
IN_OCTOBER = NOVEMBER - timedelta(hours=1)
TOO_OLD = OCTOBER - timedelta(days=1)


OLD_SENT = SENT | {"time": "2026-09-30T00:00:00Z"}


@pytest.mark.parametrize(
    ("state", "sent", "connection_", "expected"),
    [
        (stored(OLD_SENT, when=OCTOBER), OLD_SENT, SYNC, "duplicate"),
        (stored(SENT), SENT, DISABLED_NO_SENDS, "duplicate"),
        (stored(SENT), SENT, NO_SENDS, "duplicate"),
        (stored(SENT), OLD_SENT, SYNC, "conflict conflict"),
        (stored(SENT), SENT | {"time": "2026-12-01T00:00:00Z"}, SYNC, "conflict conflict"),
        (acme(signed_up_at=NOW), OLD_SENT, SYNC, "rejected too_old"),
        (acme(signed_up_at=NOW), SENT, DISABLED_NO_SENDS, "rejected before_sign_up"),
        (acme(closed_at=SIGN_UP), SENT, DISABLED_NO_SENDS, "rejected connection_disabled"),
        (acme(), SENT, DISABLED_NO_SENDS, "rejected connection_disabled"),
        (acme(), event(type="engagement.email_sent", time=IN_OCTOBER), NO_SENDS, "ignored"),
    ],
    ids=[
        "a duplicate that is too old by now",
        "a duplicate from a disabled connection",
        "a duplicate that is switched off by now",
        "a conflict that is too old",
        "a conflict that is too far ahead",
        "too old and before the sign-up",
        "before the sign-up and disabled",
        "disabled and the account closed",
        "disabled and switched off",
        "switched off and late",
    ],
)
def test_the_first_outcome_that_applies_wins(
    state: AccountState, sent: dict[str, Any], connection_: ConnectionFacts, expected: str
):
    assert outcome(state, sent, connections=(connection_,)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "duplicate"),
        ({"subject": " ANN@Example.com "}, "duplicate"),
        ({"time": "2026-11-22T12:00:00+01:00"}, "duplicate"),
        ({"data": {"mail": "m2"}}, "duplicate"),
        ({"type": "engagement.email_clicked"}, "conflict conflict"),
        ({"subject": "bob@example.com"}, "conflict conflict"),
        ({"time": "2026-11-22T11:00:01Z"}, "conflict conflict"),
        ({"source": "hubspot-brevo"}, "recorded"),
    ],
)
def test_an_id_that_is_stored_is_a_duplicate_or_a_conflict(change: dict[str, Any], expected: str):
    first = event(id="evt-1", subject="ann@example.com")

    assert outcome(stored(first), first | change) == expected
    assert outcomes(run(acme(), first, first | change)) == ["recorded", expected]


@pytest.mark.parametrize(("at", "first"), [(NOW, "recorded"), (IN_OCTOBER, "late")])
def test_a_duplicate_is_told_what_the_stored_event_is_now(at: datetime, first: str):
    sent = event(time=at)

    [verdict] = run(stored(sent), sent).verdicts

    assert (verdict.outcome, verdict.first) == ("duplicate", first)


def test_a_duplicate_within_a_batch_is_told_that_the_first_was_late():
    sent = event(time=IN_OCTOBER)

    assert [row.first for row in run(acme(), sent, sent).verdicts] == ["", "late"]


@pytest.mark.parametrize(
    ("second", "connections"),
    [
        ({"time": "2026-10-01T00:00:00Z"}, (SYNC,)),
        ({"time": "2026-11-23T00:00:00Z"}, (SYNC,)),
        ({"type": "engagement.email_sent"}, (NO_SENDS,)),
    ],
    ids=["too old", "too far ahead", "switched off"],
)
def test_a_conflict_within_a_batch_is_what_it_would_be_in_the_next(
    second: dict[str, Any], connections: tuple[ConnectionFacts, ...]
):
    first = event()

    assert outcome(stored(first), first | second, connections=connections) == "conflict conflict"
    assert outcomes(run(acme(), first, first | second, connections=connections)) == ["recorded", "conflict conflict"]


def test_what_is_not_stored_burns_no_id():
    ignored, rejected = event(id="evt-1", type="engagement.email_sent"), event(id="evt-2", time=TOO_OLD)

    decision = run(
        acme(),
        ignored,
        ignored | {"type": "engagement.email_opened"},
        rejected,
        rejected | {"time": "2026-11-22T11:00:00Z"},
        connections=(NO_SENDS,),
    )

    assert outcomes(decision) == ["ignored", "recorded", "rejected too_old", "recorded"]
    assert [row.arrival.key for row in decision.events] == ["evt-1", "evt-2"]


def test_only_sent_mails_are_switched_off_by_their_switch():
    names = ["email_sent", "email_opened", "email_clicked", "email_bounced", "unsubscribed"]

    decision = run(acme(), *(event(type=f"engagement.{name}") for name in names), connections=(NO_SENDS,))

    assert outcomes(decision) == ["ignored", "recorded", "recorded", "recorded", "recorded"]


def test_what_is_not_stored_leaves_nothing_behind():
    state = acme(closed_at=SIGN_UP)

    decision = run(state, event(), event(type="contact.matched"), event(type="score.set", data={"value": 1}))

    assert (decision.events, decision.new_contacts, counted(decision)) == ([], {}, [])
    assert (decision.members, decision.scores, decision.engaged) == ({}, {}, {})
    assert (dict(decision.billable), dict(decision.events_by_day), state.contacts) == ({}, {}, {})


# --- Late ------------------------------------------------------------------------------------------------------------


def test_a_late_event_is_stored_and_not_counted():
    decision = run(acme(), event(time=IN_OCTOBER))

    assert outcomes(decision) == ["late"]
    assert [(row.contact, row.period_id) for row in decision.events] == [(-1, None)]
    assert (counted(decision), dict(decision.billable), dict(decision.events_by_day)) == ([], {}, {})


def test_a_late_event_changes_the_state_all_the_same():
    decision = run(
        acme(),
        event(type="contact.matched", subject="ann@example.com", time=IN_OCTOBER, id="evt-1"),
        event(type="score.set", subject="ann@example.com", time=IN_OCTOBER, id="evt-2", data={"value": 5}),
        event(type="web.visited", subject="ann@example.com", time=IN_OCTOBER),
        event(type="crm.lead_captured", subject="ann@example.com", time=IN_OCTOBER, data={"origin": "ad"}),
    )

    assert outcomes(decision) == ["late"] * 4
    assert decision.members[-1, SYNC.id].last == Transition(IN_OCTOBER, "evt-1", holds=True)
    assert decision.scores[-1, SYNC.id].last == Transition(IN_OCTOBER, "evt-2", holds=True, value=5)
    assert (decision.engaged, decision.origins) == ({-1: IN_OCTOBER}, {-1: (IN_OCTOBER, "ad")})


def test_a_period_that_was_never_opened_and_is_closed_by_time_makes_its_events_late():
    never_opened = PeriodFacts(None, OCTOBER, NOVEMBER, closed=True, provisional=False)

    decision = run(acme(periods=[never_opened, OPEN]), event(time=IN_OCTOBER))

    assert (outcomes(decision), counted(decision)) == (["late"], [])


def test_an_event_whose_period_was_not_opened_is_our_fault_and_said_so():
    with pytest.raises(LookupError, match="its opening was forgotten"):
        run(acme(periods=[OPEN]), event(time=IN_OCTOBER))


# --- What counts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_NAME)
def test_a_recorded_event_counts_in_each_unit_as_its_type_says(name: str):
    """All three units are metered whatever the plan of the account."""
    kind = BY_NAME[name]
    data = {"score.set": {"value": 7}, "contact.renamed": {"from": "old@example.com"}}.get(name, {})

    decision = run(acme(), event(type=name, data=data))

    assert outcomes(decision) == ["recorded"]
    [(_, day, _)] = decision.events_by_day
    assert dict(decision.billable) == ({(11, SYNC.id, kind.code, day): 1} if kind.billable else {})
    assert list(decision.events_by_day.values()) == [1]
    assert counted(decision) == ([] if kind.unit is None else [(11, kind.unit, -1, {SYNC.id: [kind.reason, 0]})])


def test_one_trigger_with_two_events_is_two_billable_events_and_one_contact():
    decision = run(
        acme(),
        event(type="engagement.form_submitted", subject="ann@example.com"),
        event(type="contact.created_in_crm", subject="ann@example.com"),
    )

    assert sum(decision.billable.values()) == 2
    assert counted(decision) == [(11, ACTIVE, -1, {SYNC.id: [Reason.FORM_SUBMITTED | Reason.CONTACT_SYNC, 0]})]


def test_a_contact_counts_once_on_however_many_connections():
    decision = run(
        acme(),
        *(
            event(type="contact.matched", subject="ann@example.com", source=facts.key)
            for facts in (SYNC, SECOND_SYNC, ENGAGEMENT)
        ),
    )

    assert counted(decision) == [(11, ACTIVE, -1, {facts.id: [Reason.CONTACT_SYNC, 0] for facts in CONNECTIONS[:3]})]


def test_one_contact_may_count_in_both_contact_units():
    decision = run(
        acme(),
        event(type="web.visited", subject="ann@example.com"),
        event(type="automation.ai_reply", subject="ann@example.com"),
    )

    assert counted(decision) == [
        (11, ACTIVE, -1, {SYNC.id: [Reason.WEB_VISIT, 0]}),
        (11, ACTIVATED, -1, {SYNC.id: [Reason.AI_REPLY, 0]}),
    ]


def test_a_period_in_grace_takes_its_own_events():
    ended = PeriodFacts(10, OCTOBER, NOVEMBER, closed=False, provisional=False)

    decision = run(
        acme(periods=[ended, OPEN]),
        event(subject="ann@example.com", time=IN_OCTOBER),
        event(subject="ann@example.com"),
    )

    assert [row[0] for row in counted(decision)] == [10, 11]
    assert [row.period_id for row in decision.events] == [10, 11]


def test_a_known_contact_is_found_through_its_address_and_a_new_one_is_made_once():
    decision = run(
        acme(contacts={"ann@example.com": 100}),
        event(subject="Ann@example.com"),
        event(subject="Bob@example.com"),
        event(subject="bob@EXAMPLE.com"),
    )

    assert decision.new_contacts == {"bob@example.com": (-1, "Bob@example.com")}
    assert [row.contact for row in decision.events] == [100, -1, -1]


def test_an_event_that_adds_no_reason_changes_no_counted_contact():
    ann = Counted(11, ACTIVE, 100, {SYNC.id: [Reason.EMAIL_OPENED, 0]})
    ann.give(SYNC.id, Reason.EMAIL_OPENED, NOVEMBER, SYNC.key, "evt-0", 11, NOVEMBER.toordinal())
    state = acme(contacts={"ann@example.com": 100}, counted={(11, ACTIVE, 100): ann})

    decision = run(state, event(subject="ann@example.com"))

    assert outcomes(decision) == ["recorded"]
    assert counted(decision) == []


# --- State -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("contact.created_in_marketing", True),
        ("contact.created_in_crm", True),
        ("contact.updated_in_marketing", True),
        ("contact.matched", True),
        ("contact.refused", True),
        ("contact.unmatched", False),
    ],
)
def test_a_contact_event_on_a_contact_sync_makes_a_member_or_ends_one(name: str, holds: bool):
    decision = run(acme(), event(type=name, id="evt-1"))

    [(key, register)] = decision.members.items()
    assert key == (-1, SYNC.id)
    assert register.last is not None
    assert (register.last.by, register.last.holds) == ("evt-1", holds)
    assert (register.last.refused_since is not None) is (name == "contact.refused")


@pytest.mark.parametrize("name", ["contact.matched", "contact.refused", "contact.unmatched"])
def test_on_another_kind_of_connection_it_leaves_no_state(name: str):
    decision = run(acme(), event(type=name, source=ENGAGEMENT.key))

    assert outcomes(decision) == ["recorded"]
    assert decision.members == {}


def test_a_score_comes_from_any_connection():
    decision = run(acme(), event(type="score.set", source=ENGAGEMENT.key, data={"value": 5}))

    assert list(decision.scores) == [(-1, ENGAGEMENT.id)]


def test_a_score_of_zero_ends_the_score_and_counts_nothing():
    at = NOW - timedelta(hours=2)
    state = acme(
        contacts={"ann@example.com": 100},
        scores={(100, SYNC.id): Register(Transition(at, "evt-0", holds=True, value=5))},
    )

    decision = run(state, event(type="score.set", id="evt-1", subject="ann@example.com", data={"value": 0}))

    assert outcomes(decision) == ["recorded"]
    assert counted(decision) == []
    last = decision.scores[100, SYNC.id].last
    assert last is not None
    assert (last.by, last.holds) == ("evt-1", False)
    assert [(row.arrival.stored_type, row.period_id) for row in decision.events] == [(30, 11)]


def test_an_older_event_that_comes_later_counts_and_leaves_the_state_as_it_is():
    newer = Transition(NOW - timedelta(minutes=1), "evt-9", holds=False)
    state = acme(contacts={"ann@example.com": 100}, members={(100, SYNC.id): Register(newer)})

    decision = run(state, event(type="contact.matched", subject="ann@example.com"))

    assert counted(decision) == [(11, ACTIVE, 100, {SYNC.id: [Reason.CONTACT_SYNC, 0]})]
    assert decision.members == {}
    assert state.members[100, SYNC.id].last == newer


def test_the_last_engagement_is_the_latest_of_the_batch():
    decision = run(
        acme(),
        event(subject="ann@example.com", time=NOW - timedelta(hours=2)),
        event(subject="ann@example.com", time=NOW - timedelta(hours=1)),
        event(subject="ann@example.com", time=NOW - timedelta(hours=3)),
        event(subject="ann@example.com", type="contact.matched", time=NOW),
    )

    assert decision.engaged == {-1: NOW - timedelta(hours=1)}


def test_a_lead_keeps_the_origin_that_happened_first():
    first, second = NOW - timedelta(hours=2), NOW - timedelta(hours=1)

    decision = run(
        acme(),
        event(type="crm.lead_captured", subject="ann@example.com", time=first - timedelta(hours=1)),
        event(type="crm.lead_captured", subject="ann@example.com", time=second, data={"origin": "ad"}),
        event(type="crm.lead_captured", subject="ann@example.com", time=first, data={"origin": "organic"}),
    )

    assert decision.origins == {-1: (first, "organic")}


# --- The carry-in of a provisional period ----------------------------------------------------------------------------

EARLY_DECEMBER = DECEMBER + timedelta(hours=1)
LAST_MINUTE = DECEMBER - timedelta(minutes=1)
ENDED = PeriodFacts(11, NOVEMBER, DECEMBER, closed=False, provisional=False)
PROVISIONAL = PeriodFacts(12, DECEMBER, datetime(2027, 1, 1, tzinfo=UTC), closed=False, provisional=True)
SETTLED = PeriodFacts(12, DECEMBER, datetime(2027, 1, 1, tzinfo=UTC), closed=False, provisional=False)


def december(newest: PeriodFacts = PROVISIONAL, **loaded: Any) -> AccountState:
    """An account whose November is in grace and whose December has begun; it knows Ann."""
    return acme(periods=[ENDED, newest], contacts={"ann@example.com": 100}, **loaded)


def carried(reason: Reason, at: ConnectionFacts = SYNC) -> dict[tuple[int, ContactUnit, int], Counted]:
    """Ann, counted in December as carried in."""
    row = Counted(12, ACTIVE, 100, {at.id: [0, reason]})
    row.stored = row.standing()
    return {(12, ACTIVE, 100): row}


def in_december(decision: Decision) -> list[dict[int, list[int]]]:
    return [row.reasons for row in decision.counted.values() if row.period_id == 12]


def test_a_contact_that_proves_to_have_left_is_withdrawn():
    member = Register(Transition(NOW, "evt-0", holds=True))
    state = december(members={(100, SYNC.id): member}, counted=carried(Reason.CONTACT_SYNC))

    decision = run(
        state, event(type="contact.unmatched", subject="ann@example.com", time=LAST_MINUTE), now=EARLY_DECEMBER
    )

    assert in_december(decision) == [{}]


def test_a_contact_that_proves_to_have_been_a_member_is_added():
    decision = run(
        december(),
        event(type="contact.matched", subject="ann@example.com", time=LAST_MINUTE),
        now=EARLY_DECEMBER,
    )

    assert counted(decision) == [
        (11, ACTIVE, 100, {SYNC.id: [Reason.CONTACT_SYNC, 0]}),
        (12, ACTIVE, 100, {SYNC.id: [0, Reason.CONTACT_SYNC]}),
    ]


def test_another_reason_keeps_the_contact_that_proves_to_have_left():
    rows = carried(Reason.CONTACT_SYNC)
    rows[12, ACTIVE, 100].give(SYNC.id, Reason.EMAIL_OPENED, DECEMBER, SYNC.key, "evt-1", 11, DECEMBER.toordinal())
    member = Register(Transition(NOW, "evt-0", holds=True))
    state = december(members={(100, SYNC.id): member}, counted=rows)

    decision = run(
        state, event(type="contact.unmatched", subject="ann@example.com", time=LAST_MINUTE), now=EARLY_DECEMBER
    )

    assert in_december(decision) == [{SYNC.id: [Reason.EMAIL_OPENED, 0]}]


def test_an_old_event_corrects_the_carry_in_behind_a_newer_one():
    after = Transition(DECEMBER, "evt-9", holds=True)
    state = december(
        members={(100, SYNC.id): Register(after, Transition(NOW, "evt-0", holds=True))},
        counted=carried(Reason.CONTACT_SYNC),
    )

    decision = run(
        state, event(type="contact.unmatched", subject="ann@example.com", time=LAST_MINUTE), now=EARLY_DECEMBER
    )

    assert in_december(decision) == [{}]
    assert state.members[100, SYNC.id].last == after


def test_an_event_on_the_boundary_corrects_nothing():
    decision = run(
        december(), event(type="contact.unmatched", subject="ann@example.com", time=DECEMBER), now=EARLY_DECEMBER
    )

    assert in_december(decision) == []


def test_a_period_that_is_no_longer_provisional_is_not_corrected():
    closed = PeriodFacts(11, NOVEMBER, DECEMBER, closed=True, provisional=False)
    state = acme(periods=[closed, SETTLED], contacts={"ann@example.com": 100})

    decision = run(
        state, event(type="contact.matched", subject="ann@example.com", time=LAST_MINUTE), now=EARLY_DECEMBER
    )

    assert outcomes(decision) == ["late"]
    assert counted(decision) == []
    assert list(decision.members) == [(100, SYNC.id)]


def test_a_connection_that_was_disabled_at_the_start_carries_nothing_in():
    off = connection(1, SYNC.key, keeps_members=True, enabled=False, switched_at=(DECEMBER,))

    decision = run(
        december(),
        event(type="contact.matched", subject="ann@example.com", time=LAST_MINUTE),
        connections=(off,),
        now=EARLY_DECEMBER,
    )

    assert outcomes(decision) == ["recorded"]
    assert in_december(decision) == [{}]
    assert [row.standing() for row in decision.counted.values() if row.period_id == 12] == [NOT_COUNTED]


@pytest.mark.parametrize(
    ("data", "at", "carried_in"),
    [
        ({"value": 5}, LAST_MINUTE, True),
        ({"value": 5, "expires_at": "2026-12-01T00:00:00Z"}, LAST_MINUTE, False),
        ({"value": 5, "expires_at": "2026-12-01T00:00:00.000001Z"}, LAST_MINUTE, True),
        ({"value": 5}, DECEMBER - timedelta(days=20), False),
        ({"value": 5}, DECEMBER - timedelta(days=20) + MOMENT, True),
        ({"value": 5, "expires_at": "2027-01-01T00:00:00Z"}, DECEMBER - timedelta(days=20), True),
    ],
)
def test_a_score_is_carried_in_if_it_lived_at_the_start(data: dict[str, Any], at: datetime, carried_in: bool):
    twenty_days = connection(4, "scoring", score_expiry_days=20)

    decision = run(
        december(),
        event(type="score.set", source="scoring", subject="ann@example.com", time=at, data=data),
        connections=(twenty_days,),
        now=EARLY_DECEMBER,
    )

    assert in_december(decision) == [{4: [0, Reason.LEAD_SCORE]} if carried_in else {}]


def test_a_score_that_proves_to_have_been_cleared_is_withdrawn():
    state = december(
        scores={(100, SCORING.id): Register(Transition(NOW, "evt-0", holds=True, value=5))},
        counted=carried(Reason.LEAD_SCORE, SCORING),
    )

    decision = run(
        state,
        event(type="score.set", source="scoring", subject="ann@example.com", time=LAST_MINUTE, data={"value": 0}),
        now=EARLY_DECEMBER,
    )

    assert in_december(decision) == [{}]


# --- The clock of an import ------------------------------------------------------------------------------------------


def test_an_own_clock_moves_with_the_events_and_never_back():
    clock = Clock(OCTOBER, moves_until=NOW)

    readings = []
    for at in (OCTOBER + timedelta(days=1), OCTOBER, NOVEMBER, NOW + timedelta(minutes=4), NOW + timedelta(minutes=6)):
        clock = clock.after(at)
        readings.append(clock.reading)

    assert readings == [OCTOBER + timedelta(days=1), OCTOBER + timedelta(days=1), NOVEMBER, NOW, NOW]


def test_the_wall_clock_does_not_move_with_the_events():
    assert Clock(OCTOBER).after(NOVEMBER) == Clock(OCTOBER)
