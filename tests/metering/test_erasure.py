"""A person is forgotten; what was counted stays (DESIGN section 4, Erasure)."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import Account, AuditEntry
from accounts.refusals import Refused
from metering.catalogue import reasons_in
from metering.erasure import Erased, erase
from metering.identity import BadSubject, is_pseudonym
from metering.lock import locked
from metering.models import (
    AccountMeter,
    BillingPeriod,
    Contact,
    CountedContact,
    Event,
    Gap,
    LeadScore,
    QuarantinedEvent,
    SyncMember,
)
from metering.reconcile import differences, repair
from metering.upkeep import do_due_work
from metering.voiding import void
from tests.at_once import at_once
from tests.factories import ACTOR, NOW, deliver, event, put_account, rows
from tests.metering.test_exact_under_fire import insist

pytestmark = pytest.mark.django_db

MAIL, SYNC, SITE, SCORING = "mailchimp-pipedrive", "pipedrive-mailchimp", "website", "scoring"
CANARY = "ann.canary@example.com"


def at(text: str) -> datetime:
    """An instant like `2026-12-01` or `2026-12-01 10:30`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


IN_GRACE, CLOSED = at("2026-12-01 12:00"), at("2026-12-03")
END_OF_NOVEMBER, END_OF_DECEMBER = at("2026-12-01"), at("2027-01-01")


@pytest.fixture(autouse=True)
def _recount_is_silent(acme: Account):
    """Whatever a test did: every number is what a recount gives."""
    yield
    assert differences(acme) == []


def happens(name: str, person: str, source: str = SYNC, **more: Any) -> dict[str, Any]:
    """An event of a type for a person of example.com, in November unless said otherwise."""
    if isinstance(when := more.pop("when", None), str):
        more["time"] = at(when)
    return event(**{"type": name, "subject": f"{person}@example.com", "source": source, **more})


def renamed(old: str, new: str, **more: Any) -> dict[str, Any]:
    return happens("contact.renamed", new, data={"from": f"{old}@example.com"}, **more)


def take(account: Account, *events: dict[str, Any], now: datetime = NOW) -> list[str]:
    """Take events in, one batch each; their outcomes."""
    return [next(iter(deliver(account, [each], now=now).outcomes())) for each in events]


def forget(account: Account, person: str, *, now: datetime = NOW, reason: str = "") -> Erased:
    return erase(account, f"{person}@example.com", actor=ACTOR, now=now, reason=reason)


def limit(account: Account, limit: int, at_limit: str, *, now: datetime = NOW) -> None:
    put_account(account.slug, now=now, limit_override=limit, at_limit=at_limit)


def people() -> list[str]:
    """Every address that is known; "?" is what stands in for one that was erased, "??" for one that is forgotten."""
    return sorted(
        "?" * name.count("\x7f") if is_pseudonym(name) else name.partition("@")[0] for name in rows(Contact, "identity")
    )


def counted(start: str = "2026-11-01", unit: int = 1) -> list[list[str]]:
    """Why the contacts of a period count."""
    found = CountedContact.objects.filter(period__starts_at=at(start), unit=unit)
    return sorted([reason.label for reason in reasons_in(row.reasons)] for row in found)


def used(start: str = "2026-11-01") -> int:
    return BillingPeriod.objects.get(starts_at=at(start)).active_contacts


def known() -> int:
    return AccountMeter.objects.get(account__slug="acme").contacts_known


# --- What goes and what stays ----------------------------------------------------------------------------------------


def test_who_it_was_goes_and_what_was_counted_stays(acme: Account):
    take(
        acme,
        happens("contact.matched", "ann", data={"phone": "123"}),
        happens("score.set", "ann", SCORING, data={"value": 7}),
        happens("web.visited", "ann", SITE, data={"page": "/prices"}),
        happens("web.visited", "bob", SITE, data={"page": "/"}),
    )

    assert forget(acme, "ann") == Erased(END_OF_NOVEMBER)

    assert people() == ["?", "bob"]
    assert rows(Contact, "display") == ["bob@example.com", "erased"]
    assert counted() == [["contact_sync", "web_visit", "lead_score"], ["web_visit"]]
    assert (used(), known()) == (2, 2)
    assert (rows(SyncMember, "contact"), rows(LeadScore, "contact")) == ([], [])
    assert rows(Event, "data", data__isnull=False) == [{"page": "/"}]
    assert (rows(Event, "state"), Event.objects.count()) == ([1, 1, 1, 1], 4)


def test_the_next_period_carries_in_nothing_of_it(acme: Account):
    take(acme, happens("contact.matched", "ann"), happens("contact.matched", "bob"))

    forget(acme, "ann")
    with locked(acme.pk):
        do_due_work(acme, IN_GRACE)

    assert (used(), used("2026-12-01")) == (2, 1)
    assert differences(acme) == []


def test_what_was_carried_in_stays_counted(acme: Account):
    take(acme, happens("contact.matched", "ann"), happens("web.visited", "bob", SITE, when="2026-12-01"), now=IN_GRACE)

    assert forget(acme, "ann", now=IN_GRACE) == Erased(END_OF_DECEMBER)

    assert (used(), used("2026-12-01")) == (1, 2)


def test_a_score_that_was_cleared_by_a_0_stays_uncounted(acme: Account):
    take(acme, happens("score.set", "ann", SCORING, data={"value": 0, "why": "left"}))

    forget(acme, "ann")

    assert rows(Event, "data") == [{"value": 0}]
    assert used() == 0
    assert repair(acme, actor=ACTOR, at=NOW) == []


def test_its_secret_is_made_once(acme: Account):
    take(acme, happens("web.visited", "ann", SITE), happens("web.visited", "bob", SITE))
    forget(acme, "ann")
    acme.refresh_from_db()
    secret = bytes(acme.erasure_secret or b"")

    forget(acme, "bob")

    acme.refresh_from_db()
    assert (len(secret), bytes(acme.erasure_secret or b"")) == (32, secret)


def test_all_addresses_of_a_person_are_erased_by_any_of_them(acme: Account):
    take(acme, happens("web.visited", "ann", SITE), renamed("ann", "anna"), happens("web.visited", "bob", SITE))

    forget(acme, "ann")

    assert people() == ["?", "?", "bob"]
    assert rows(Event, "data", data__isnull=False) == []


def test_any_spelling_will_do(acme: Account):
    take(acme, happens("web.visited", "ann", SITE))

    erase(acme, "  ANN@Example.COM ", actor=ACTOR, now=NOW)

    assert people() == ["?"]


def test_erased_twice_is_erased_once(acme: Account):
    take(acme, happens("web.visited", "ann", SITE), renamed("ann", "anna"))
    first = forget(acme, "ann")
    before = rows(Contact, "identity", "erased_through"), AuditEntry.objects.count()

    assert forget(acme, "ann") == forget(acme, "anna") == first

    assert (rows(Contact, "identity", "erased_through"), AuditEntry.objects.count()) == before


def test_who_is_not_known_cannot_be_erased(acme: Account, globex: Account):
    take(acme, happens("web.visited", "ann", SITE))

    for account, person in [(acme, "bob"), (globex, "ann")]:
        with pytest.raises(Refused) as refused:
            forget(account, person)
        assert (refused.value.code, refused.value.status) == ("not_found", 404)
    with pytest.raises(BadSubject):
        erase(acme, "a@b@c", actor=ACTOR, now=NOW)
    assert people() == ["ann"]
    assert Account.objects.exclude(erasure_secret=None).count() == 0


def test_the_audit_trail_says_who_and_why_but_not_whom(acme: Account):
    take(acme, happens("web.visited", "ann", SITE))

    forget(acme, "ann", reason="Ann@Example.com wrote to us")

    [entry] = AuditEntry.objects.filter(action="contact.erased")
    [contact] = rows(Contact, "pk")
    assert (entry.actor, entry.reason, entry.before) == (ACTOR, "(erased) wrote to us", {})
    assert entry.after == {"contacts": [contact], "quarantined": 0}


# --- Coming again ----------------------------------------------------------------------------------------------------


def test_whoever_comes_again_in_time_counts_once(acme: Account):
    take(acme, happens("contact.matched", "ann"))
    before = rows(Contact, "pk")
    forget(acme, "ann")

    assert take(acme, happens("web.visited", "ann", SITE, subject="ANN@example.com")) == ["recorded"]

    assert (rows(Contact, "pk"), people(), known()) == (before, ["ann"], 1)
    assert rows(Contact, "display") == ["ANN@example.com"]
    assert (counted(), used()) == ([["contact_sync", "web_visit"]], 1)
    assert rows(SyncMember, "holds") == []


def test_whoever_comes_again_may_join_again_and_be_erased_again(acme: Account):
    take(acme, happens("contact.matched", "ann", when="2026-11-10"))
    forget(acme, "ann")
    take(acme, happens("contact.matched", "ann", when="2026-11-09"))  # older than what was forgotten
    assert rows(SyncMember, "holds", "changed_at") == [(True, at("2026-11-09"))]
    assert differences(acme) == []

    assert forget(acme, "ann") == Erased(END_OF_NOVEMBER)

    assert (people(), used(), rows(SyncMember, "pk")) == (["?"], 1, [])


def test_at_the_limit_it_is_known_all_the_same(acme: Account):
    limit(acme, 1, "hold")
    take(acme, happens("web.visited", "ann", SITE))
    forget(acme, "ann")

    visit = happens("web.visited", "bob", SITE), happens("web.visited", "ann", SITE)
    assert take(acme, *visit) == ["held", "recorded"]

    assert (used(), people()) == (1, ["ann", "bob"])


def test_an_alias_that_comes_again_is_that_persons_alias(acme: Account):
    take(acme, happens("web.visited", "ann", SITE), renamed("ann", "anna"))
    forget(acme, "anna")

    take(acme, happens("web.visited", "ann", SITE))
    assert people() == ["?", "ann"]
    assert rows(Contact, "display") == ["ann@example.com", "ann@example.com"]
    take(acme, happens("web.visited", "anna", SITE))

    assert rows(Contact, "identity", "alias_of__identity") == [
        ("ann@example.com", "anna@example.com"),
        ("anna@example.com", None),
    ]
    assert (used(), known()) == (1, 1)


def test_both_addresses_in_one_batch_are_one_person(acme: Account):
    take(acme, happens("web.visited", "ann", SITE), renamed("ann", "anna"))
    forget(acme, "anna")

    deliver(acme, [happens("web.visited", "anna", SITE), happens("web.visited", "ann", SITE)])

    assert (people(), used(), known()) == (["ann", "anna"], 1, 1)


def test_what_is_sent_again_is_a_duplicate_and_revives_nobody(acme: Account):
    again = happens("web.visited", "ann", SITE)
    take(acme, again)
    forget(acme, "ann")

    assert take(acme, again) == ["duplicate"]
    assert take(acme, {**again, "subject": "bob@example.com"}) == ["conflict"]
    assert people() == ["?"]


def test_without_a_period_that_counts_it_nothing_can_be_known_again(acme: Account):
    take(acme, happens("crm.tagged", "ann"))

    assert forget(acme, "ann") == Erased(None)

    assert people() == ["??"]
    with pytest.raises(Refused):
        forget(acme, "ann")
    take(acme, happens("crm.tagged", "ann"))
    assert (people(), known()) == (["??", "ann"], 2)


def test_the_last_closing_forgets_for_good(acme: Account):
    take(acme, happens("web.visited", "ann", SITE), renamed("ann", "anna"), happens("web.visited", "bob", SITE))
    forget(acme, "ann")
    forget(acme, "bob")
    with locked(acme.pk):
        do_due_work(acme, IN_GRACE)
    assert people() == ["?"] * 3

    with locked(acme.pk):
        do_due_work(acme, CLOSED)

    assert people() == ["??"] * 3
    assert len(set(rows(Contact, "identity"))) == 3
    assert take(acme, happens("web.visited", "ann", SITE, when="2026-12-03"), now=CLOSED) == ["recorded"]
    assert (used(), used("2026-12-01")) == (2, 1)


def test_of_two_that_counted_before_they_were_one_both_stay(acme: Account):
    take(acme, happens("web.visited", "ann", SITE), happens("contact.matched", "bob"), renamed("ann", "bob"))

    forget(acme, "bob")
    take(acme, happens("web.visited", "ann", SITE))

    assert (used(), known()) == (2, 1)


# --- Renames after an erasure ----------------------------------------------------------------------------------------


def test_whoever_came_again_may_be_renamed(acme: Account):
    take(acme, happens("contact.matched", "ann", when="2026-11-10"))
    forget(acme, "ann")

    take(acme, happens("web.visited", "ann", SITE), renamed("ann", "anna"), happens("web.visited", "anna", SITE))

    assert (people(), used(), known()) == (["ann", "anna"], 1, 1)
    assert rows(SyncMember, "pk") == []


def test_a_member_that_was_erased_and_joined_again_may_be_renamed(acme: Account):
    take(acme, happens("contact.matched", "ann", when="2026-11-10"))
    forget(acme, "ann")

    take(acme, happens("contact.matched", "ann", when="2026-11-09"), renamed("ann", "anna"))

    assert rows(SyncMember, "contact__identity", "holds") == [("anna@example.com", True)]
    assert (used(), known()) == (1, 1)


@pytest.mark.parametrize("joins", [["bob"], ["bob", "ann"], ["ann"], []])
def test_whoever_came_again_may_turn_out_to_be_somebody_known(acme: Account, joins: list[str]):
    take(acme, happens("contact.matched", "ann"), happens("crm.tagged", "bob"))
    if "bob" in joins:
        take(acme, happens("contact.unmatched", "bob"))
    forget(acme, "ann")
    if "ann" in joins:
        take(acme, happens("contact.matched", "ann"))

    take(acme, happens("web.visited", "ann", SITE), renamed("ann", "bob"), happens("web.visited", "ann", SITE))

    assert people() == ["ann", "bob"]
    assert known() == 1


def test_somebody_may_take_the_address_of_whoever_came_again(acme: Account):
    take(acme, happens("contact.matched", "bob", when="2026-11-10"), happens("contact.matched", "ann"))
    forget(acme, "ann")
    take(acme, happens("crm.tagged", "ann"))

    take(acme, renamed("bob", "ann"))

    assert rows(SyncMember, "contact__identity", "holds") == [("ann@example.com", True)]
    assert known() == 1


def test_back_to_an_address_that_was_erased(acme: Account):
    take(acme, happens("contact.matched", "ann"), renamed("ann", "anna"))
    forget(acme, "ann")

    take(acme, renamed("anna", "ann"), happens("web.visited", "ann", SITE))

    assert (used(), known()) == (1, 1)


def test_an_old_address_that_was_erased_is_unknown(acme: Account):
    take(acme, happens("crm.tagged", "ann"))
    forget(acme, "ann")

    take(acme, renamed("ann", "anna"))

    assert (people(), known()) == (["??", "anna"], 2)


# --- At the limit ----------------------------------------------------------------------------------------------------


def test_what_is_held_is_given_up_into_a_gap(acme: Account):
    limit(acme, 1, "hold")
    take(acme, happens("web.visited", "bob", SITE))
    held = [happens("contact.matched", "ann"), happens("web.visited", "ann", SITE), happens("web.visited", "cid", SITE)]
    assert take(acme, *held) == ["held"] * 3

    assert forget(acme, "ann", now=at("2026-11-23")) == Erased(None)
    limit(acme, 10, "hold", now=at("2026-11-23"))

    assert rows(Gap, "reason", "connection__key", "type", "events", "attempts", "starts_at", "ends_at") == [
        ("erased", SYNC, 4, 1, 1, NOW, at("2026-11-23")),
        ("erased", SITE, 20, 1, 1, NOW, at("2026-11-23")),
    ]
    assert people() == ["??", "bob", "cid"]
    assert (used(), rows(Event, "state"), rows(SyncMember, "pk")) == (2, [1, 1, 6, 6], [])
    assert deliver(acme, held[:1]).items[0].verdict.first == "given_up"


def test_what_was_limited_is_not_served_any_more(acme: Account):
    limit(acme, 1, "limit_new")
    joins = happens("contact.matched", "ann")
    assert take(acme, happens("web.visited", "bob", SITE), joins) == ["recorded", "limited"]
    forget(acme, "ann")
    limit(acme, 10, "limit_new")

    assert take(acme, joins, happens("contact.matched", "ann")) == ["duplicate", "recorded"]

    assert (used(), rows(Gap, "pk")) == (2, [])
    assert rows(SyncMember, "holds") == [True]


def test_while_it_is_paused_people_are_forgotten_all_the_same(acme: Account):
    limit(acme, 1, "pause")
    two = [happens("web.visited", "ann", SITE), happens("web.visited", "bob", SITE)]
    assert take(acme, *two) == ["recorded", "dropped"]

    forget(acme, "ann")

    assert take(acme, happens("web.visited", "ann", SITE)) == ["dropped"]
    assert people() == ["?"]


def test_an_event_of_somebody_erased_can_be_taken_back(acme: Account):
    take(acme, happens("score.set", "ann", SCORING, id="1", data={"value": 7}))
    take(acme, happens("score.set", "ann", SCORING, id="2", data={"value": 0}))
    forget(acme, "ann")

    void(acme, SCORING, "2", reason="?", actor=ACTOR, now=NOW)
    assert used() == 1
    void(acme, SCORING, "1", reason="?", actor=ACTOR, now=NOW)
    assert used() == 0


# --- Nothing is left -------------------------------------------------------------------------------------------------


def hits(text: str) -> dict[str, int]:
    """The columns of any table that hold a text in any case, as text, JSON or bytes, and in how many rows."""
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT format('%I.%I', relation.relnamespace::regnamespace, relation.relname), quote_ident(attname),
                      atttypid = 'bytea'::regtype
               FROM pg_class AS relation JOIN pg_attribute ON attrelid = relation.oid
               WHERE relation.relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
                 AND relation.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"""
        )
        for table, column, is_bytes in cursor.fetchall():
            shown = f"encode({column}, 'escape')" if is_bytes else f"{column}::text"
            query = f"SELECT count(*) FROM {table} WHERE strpos(lower({shown}), lower(%s)) > 0"  # noqa: S608
            cursor.execute(query, [text])
            [count] = cursor.fetchone() or [0]
            if count:
                found[f"{table}.{column}"] = count
    return found


def test_the_address_is_nowhere_any_more(acme: Account, globex: Account):
    limit(acme, 2, "hold")
    canary = {"subject": "Ann.Canary@Example.com"}
    take(acme, happens("web.visited", "bob", SITE), happens("contact.matched", "", **canary, data={"mail": CANARY}))
    take(acme, happens("contact.renamed", "annie", data={"from": CANARY}), happens("web.visited", "cid", SITE))
    limit(acme, 1, "hold")
    take(acme, happens("score.set", "", SCORING, **canary, data={"value": 5, "mail": CANARY}))
    refused = [
        {**happens("web.visited", ""), **canary, "type": "nothing.like_it"},
        {**happens("web.visited", ""), **canary, "time": CANARY},
        {**happens("contact.renamed", "x", data={"from": CANARY}), "source": "nowhere"},
        {**happens("web.visited", "x"), "id": f"mail to {CANARY}", "time": "then"},
        {**happens("web.visited", "x"), CANARY: 1},
        [CANARY],
    ]
    assert deliver(acme, refused).outcomes() == {"rejected": 6}
    deliver(None, [{**happens("web.visited", ""), **canary, "account": "nobody"}])
    assert {column.split(".")[1] for column in hits(CANARY)} == {
        "metering_contact",
        "metering_event",
        "metering_quarantinedevent",
    }

    erase(acme, CANARY, actor=ACTOR, now=NOW, reason=f"asked for by {CANARY}")

    assert hits(CANARY) == {}
    assert rows(QuarantinedEvent, "code", body=b"") == rows(QuarantinedEvent, "code")


def test_refused_events_of_others_are_kept(acme: Account):
    take(acme, happens("web.visited", "ann", SITE))
    deliver(acme, [happens("nothing.like_it", "bob"), happens("nothing.like_it", "joann")])

    forget(acme, "ann")

    assert QuarantinedEvent.objects.exclude(body=b"").count() == 2


def test_who_is_known_from_refused_events_alone_is_forgotten_too(acme: Account):
    deliver(acme, [happens("nothing.like_it", "ann")])

    assert forget(acme, "ann") == Erased(None)

    assert rows(QuarantinedEvent, "body", "key", "detail") == [(b"", "", "")]
    assert AuditEntry.objects.filter(action="contact.erased").count() == 1
    with pytest.raises(Refused):
        forget(acme, "ann")


# --- At once ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_erasure_during_intake_leaves_everything_consistent(acme: Account):
    batches = [
        [happens(kind, person, SYNC, when="2026-11-20") for person in ("ann", "bob") for kind in kinds]
        for kinds in (["contact.matched"], ["contact.unmatched", "contact.matched"], ["web.visited"])
    ]
    insist(acme, [happens("contact.matched", "ann")])

    jobs = [lambda batch=batch: insist(acme, batch) for batch in batches]
    answers = at_once(*jobs, lambda: forget(acme, "ann"), lambda: forget(acme, "ann"))

    assert [type(answer).__name__ for answer in answers[-2:]] == ["Erased", "Erased"]
    assert used() == 2
    assert len(rows(Contact, "pk")) == known() == 2
    with transaction.atomic():
        assert differences(acme) == []
