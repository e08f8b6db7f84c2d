"""A contact's new address: not counted again, and what both addresses counted stays counted (DESIGN section 4)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import Account
from metering.catalogue import reasons_in
from metering.lock import locked
from metering.models import AccountMeter, BillingPeriod, Contact, CountedContact, Event, LeadScore, SyncMember
from metering.periods import do_due_work
from metering.reconcile import differences
from tests.factories import NOW, deliver, event, put_connection, rows

pytestmark = pytest.mark.django_db


def at(text: str) -> datetime:
    """An instant like `2026-12-01` or `2026-12-01 10:30`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture(autouse=True)
def _recount_is_silent(acme: Account):
    """Whatever a test did: every number is what a recount gives."""
    yield
    assert differences(acme) == []


def happens(name: str, person: str, **more: Any) -> dict[str, Any]:
    """An event of a type for a person of example.com, in November unless said otherwise."""
    if isinstance(when := more.pop("when", None), str):
        more["time"] = at(when)
    return event(type=name, subject=f"{person}@example.com", **more)


def renamed(old: str, new: str, **more: Any) -> dict[str, Any]:
    return happens("contact.renamed", new, data={"from": f"{old}@example.com"}, **more)


def take(account: Account, *events: dict[str, Any], now: datetime = NOW) -> None:
    """Take events in, one batch each, and expect no refusal."""
    for each in events:
        assert deliver(account, [each], now=now).outcomes().keys() <= {"recorded", "late"}


def people() -> dict[str, str]:
    """Every address, and whose it is."""
    found = Contact.objects.select_related("alias_of").order_by("identity")
    return {name(row): name(row.alias_of or row) for row in found}


def name(contact: Contact) -> str:
    return contact.identity.partition("@")[0]


def counted(start: str = "2026-11-01", unit: int = 1) -> list[tuple[str, list[str]]]:
    """Who counts in a period and why."""
    found = CountedContact.objects.filter(period__starts_at=at(start), unit=unit).select_related("contact")
    return sorted((name(row.contact), [reason.label for reason in reasons_in(row.reasons)]) for row in found)


def used() -> list[int]:
    return rows(BillingPeriod, "active_contacts")


def known() -> int:
    """How many contacts the account knows, as it says itself."""
    return AccountMeter.objects.get().contacts_known


# --- Who is whom -----------------------------------------------------------------------------------------------------


def test_a_known_contact_under_a_new_address_is_not_counted_again(acme: Account):
    take(acme, happens("web.visited", "ann"), renamed("ann", "anna"), happens("engagement.email_opened", "anna"))

    assert people() == {"ann": "anna", "anna": "anna"}
    assert counted() == [("anna", ["email_opened", "web_visit"])]
    assert (used(), known()) == ([1], 1)


def test_the_old_address_is_an_alias_from_then_on(acme: Account):
    take(acme, happens("web.visited", "ann"), renamed("ann", "anna"), happens("engagement.email_opened", "ann"))

    assert counted() == [("anna", ["email_opened", "web_visit"])]
    assert rows(Event, "contact__identity") == ["anna@example.com"] * 3


def test_what_both_counted_stays_counted(acme: Account):
    take(acme, happens("web.visited", "ann"), happens("engagement.email_opened", "bob"), renamed("ann", "bob"))

    assert people() == {"ann": "bob", "bob": "bob"}
    assert counted() == [("ann", ["web_visit"]), ("bob", ["email_opened"])]
    assert (used(), known()) == ([2], 1)


def test_what_only_the_old_contact_counted_moves_to_a_contact_that_is_known(acme: Account):
    take(acme, happens("web.visited", "ann"), happens("crm.tagged", "bob"), renamed("ann", "bob"))

    assert counted() == [("bob", ["web_visit"])]
    take(acme, happens("web.visited", "ann"), happens("web.visited", "bob"))
    assert (used(), known()) == ([1], 1)


def test_what_only_the_new_contact_counted_stays_where_it_is(acme: Account):
    take(acme, happens("crm.tagged", "ann"), happens("web.visited", "bob"), renamed("ann", "bob"))

    assert counted() == [("bob", ["web_visit"])]
    assert (used(), known()) == ([1], 1)


def test_each_unit_moves_on_its_own(acme: Account):
    take(
        acme,
        happens("web.visited", "ann"),
        happens("automation.ai_reply", "ann"),
        happens("web.visited", "bob"),
        renamed("ann", "bob"),
    )

    assert counted() == [("ann", ["web_visit"]), ("bob", ["web_visit"])]
    assert counted(unit=2) == [("bob", ["ai_reply"])]


def test_a_rename_from_an_unknown_address_only_makes_the_contact_known(acme: Account):
    take(acme, renamed("nobody", "ann"))

    assert people() == {"ann": "ann"}
    assert (counted(), known()) == ([], 1)
    take(acme, happens("web.visited", "nobody"))
    assert (people(), known()) == ({"ann": "ann", "nobody": "nobody"}, 2)


def test_a_rename_to_itself_changes_nothing(acme: Account):
    take(acme, happens("web.visited", "ann"), renamed("ann", "ann"))

    assert (people(), counted(), known()) == ({"ann": "ann"}, [("ann", ["web_visit"])], 1)


def test_a_chain_of_addresses_is_one_contact(acme: Account):
    take(acme, happens("web.visited", "ann"), renamed("ann", "anna"), renamed("anna", "annabel"))
    take(acme, *(happens("engagement.email_opened", each) for each in ("ann", "anna", "annabel")))

    assert people() == {"ann": "annabel", "anna": "annabel", "annabel": "annabel"}
    assert counted() == [("annabel", ["email_opened", "web_visit"])]
    assert (used(), known()) == ([1], 1)


def test_a_rename_from_an_alias_renames_its_contact(acme: Account):
    take(acme, happens("web.visited", "ann"), renamed("ann", "anna"), renamed("ann", "annabel"))

    assert people() == {"ann": "annabel", "anna": "annabel", "annabel": "annabel"}
    assert (counted(), known()) == ([("annabel", ["web_visit"])], 1)


def test_a_rename_to_an_alias_of_somebody_makes_one_contact_of_both(acme: Account):
    take(acme, happens("web.visited", "bob"), renamed("bob", "rob"), happens("web.visited", "ann"))
    take(acme, renamed("ann", "bob"))

    assert people() == {"ann": "rob", "bob": "rob", "rob": "rob"}
    assert (used(), known()) == ([2], 1)


def test_back_to_the_old_address_makes_it_the_contact_again(acme: Account):
    take(acme, happens("web.visited", "ann"), renamed("ann", "anna"), renamed("anna", "ann"))

    assert people() == {"ann": "ann", "anna": "ann"}
    assert (counted(), used(), known()) == ([("ann", ["web_visit"])], [1], 1)
    take(acme, happens("engagement.email_opened", "anna"))
    assert counted() == [("ann", ["email_opened", "web_visit"])]


def test_back_to_the_middle_of_a_chain_keeps_everybody_together(acme: Account):
    take(acme, happens("contact.matched", "ann"), renamed("ann", "anna"), renamed("anna", "annabel"))
    take(acme, renamed("annabel", "anna"))

    assert people() == {"ann": "anna", "anna": "anna", "annabel": "anna"}
    assert (counted(), known()) == ([("anna", ["contact_sync"])], 1)
    assert rows(SyncMember, "contact__identity") == ["anna@example.com"]


def test_addresses_that_swap_stay_one_contact_and_two_counts(acme: Account):
    take(acme, happens("web.visited", "ann"), happens("web.visited", "bob"))
    take(acme, renamed("ann", "bob"), renamed("bob", "ann"), renamed("ann", "bob"))

    assert (used(), known()) == ([2], 1)


# --- What is known of them -------------------------------------------------------------------------------------------


def members() -> list[tuple[str, bool, str]]:
    return [
        (identity.partition("@")[0], holds, by)
        for identity, holds, by in rows(SyncMember, "contact__identity", "holds", "changed_by")
    ]


def test_a_membership_moves_to_the_new_address_and_is_carried_in(acme: Account):
    take(acme, happens("contact.matched", "ann", id="evt-1"), renamed("ann", "anna"))

    assert members() == [("anna", True, "evt-1")]
    with locked(acme.pk):
        do_due_work(acme, at("2026-12-01"))
    assert counted("2026-12-01") == [("anna", ["contact_sync"])]


@pytest.mark.parametrize(
    ("anns", "bobs", "expected"),
    [
        ("2026-11-20 10:00", "2026-11-20 11:00", ("bob", False, "evt-bob")),
        ("2026-11-20 11:00", "2026-11-20 10:00", ("bob", True, "evt-ann")),
        ("2026-11-20 10:00", "2026-11-20 10:00", ("bob", False, "evt-bob")),
    ],
)
def test_of_two_memberships_the_greater_time_and_id_wins(
    acme: Account, anns: str, bobs: str, expected: tuple[str, bool, str]
):
    take(
        acme,
        happens("contact.matched", "ann", when=anns, id="evt-ann"),
        happens("contact.unmatched", "bob", when=bobs, id="evt-bob"),
        renamed("ann", "bob"),
    )

    assert members() == [expected]


def test_memberships_of_different_connections_stay_beside_each_other(acme: Account):
    take(
        acme,
        happens("contact.matched", "ann", id="evt-1"),
        happens("contact.matched", "bob", id="evt-2", source="hubspot-brevo"),
        renamed("ann", "bob"),
    )

    assert members() == [("bob", True, "evt-1"), ("bob", True, "evt-2")]


def test_a_score_moves_to_the_new_address_and_the_later_one_wins(acme: Account):
    take(
        acme,
        happens("score.set", "ann", when="2026-11-20", id="evt-1", data={"value": 3}),
        happens("score.set", "bob", when="2026-11-21", id="evt-2", data={"value": 5}),
        happens("score.set", "ann", when="2026-11-20", id="evt-3", source="scoring", data={"value": 7}),
        renamed("ann", "bob"),
    )

    assert rows(LeadScore, "contact__identity", "value", "changed_by") == [
        ("bob@example.com", 5.0, "evt-2"),
        ("bob@example.com", 7.0, "evt-3"),
    ]


def test_a_membership_from_before_the_boundary_moves_too(acme: Account):
    now = at("2026-12-01 01:00")
    take(acme, happens("contact.matched", "ann", when="2026-11-20"), happens("crm.tagged", "bob"))
    take(acme, happens("contact.matched", "ann", when="2026-12-01 00:30"), now=now)

    take(acme, renamed("ann", "bob", when="2026-12-01 00:40"), now=now)
    take(acme, happens("contact.unmatched", "ann", when="2026-11-19"), now=now)
    assert rows(BillingPeriod, "active_contacts", "carried_in", starts_at=at("2026-12-01")) == [(1, 1)]
    assert counted("2026-12-01") == [("bob", ["contact_sync"])]
    take(acme, happens("contact.unmatched", "ann", when="2026-11-30 23:59"), now=now)

    assert rows(BillingPeriod, "active_contacts", "carried_in", starts_at=at("2026-12-01")) == [(1, 0)]


def test_last_engagement_and_origin_are_kept(acme: Account):
    take(
        acme,
        happens("web.visited", "ann", when="2026-11-21"),
        happens("web.visited", "bob", when="2026-11-20"),
        happens("crm.lead_captured", "ann", data={"origin": "ad"}),
        renamed("ann", "bob"),
    )

    assert rows(Contact, "last_engaged_at", "origin", identity="bob@example.com") == [(at("2026-11-21"), "ad")]


def test_an_earlier_origin_of_the_new_address_stays(acme: Account):
    take(
        acme,
        happens("crm.lead_captured", "ann", when="2026-11-21", data={"origin": "ad"}),
        happens("crm.lead_captured", "bob", when="2026-11-20", data={"origin": "organic"}),
        renamed("ann", "bob"),
    )

    assert rows(Contact, "origin", identity="bob@example.com") == ["organic"]


# --- When ------------------------------------------------------------------------------------------------------------


def test_a_rename_that_comes_again_changes_nothing(acme: Account):
    """Otherwise it would undo the later one."""
    first = renamed("ann", "anna", id="evt-1")
    take(acme, happens("web.visited", "ann"), first, renamed("anna", "annabel"))

    assert deliver(acme, [first, first]).outcomes() == {"duplicate": 2}

    assert people() == {"ann": "annabel", "anna": "annabel", "annabel": "annabel"}
    assert known() == 1


def test_a_rename_in_the_middle_of_a_batch_holds_for_what_follows(acme: Account):
    events = [
        happens("web.visited", "ann"),
        renamed("ann", "anna"),
        happens("engagement.email_opened", "anna"),
        renamed("anna", "annabel"),
        happens("automation.ai_reply", "ann"),
    ]

    assert deliver(acme, events).outcomes() == {"recorded": 5}

    assert counted() == [("annabel", ["email_opened", "web_visit"])]
    assert counted(unit=2) == [("annabel", ["ai_reply"])]
    assert (used(), known()) == ([1], 1)


def test_one_batch_comes_to_the_same_as_five(acme: Account, initech: Account):
    events = [
        happens("web.visited", "ann", source="hubspot-brevo"),
        renamed("ann", "anna", source="hubspot-brevo"),
        happens("contact.matched", "anna", source="hubspot-brevo"),
        renamed("anna", "ann", source="hubspot-brevo"),
        happens("contact.unmatched", "anna", source="hubspot-brevo"),
    ]
    put_connection(initech, "hubspot-brevo")
    deliver(acme, events)
    take(initech, *events)

    for model, columns in (
        (BillingPeriod, ("active_contacts", "carried_in")),
        (CountedContact, ("contact__identity", "reasons", "first_key")),
        (SyncMember, ("contact__identity", "holds", "changed_by")),
        (AccountMeter, ("contacts_known",)),
    ):
        assert rows(model, *columns, account=acme) == rows(model, *columns, account=initech)


def test_a_late_rename_takes_effect_and_moves_no_closed_count(acme: Account):
    take(acme, happens("web.visited", "ann", when="2026-11-20"))
    with locked(acme.pk):
        do_due_work(acme, at("2026-12-02"))
    checksum = rows(BillingPeriod, "checksum", state="closed")
    late = renamed("ann", "anna", when="2026-11-30")

    assert deliver(acme, [late], now=at("2026-12-02")).outcomes() == {"late": 1}

    assert people() == {"ann": "anna", "anna": "anna"}
    assert counted() == [("ann", ["web_visit"])]
    assert rows(BillingPeriod, "checksum", state="closed") == checksum
    take(acme, happens("web.visited", "ann", when="2026-12-02"), now=at("2026-12-02"))
    assert counted("2026-12-01") == [("anna", ["web_visit"])]


def test_a_rename_moves_the_counts_of_every_period_that_is_not_closed(acme: Account):
    now = at("2026-12-01 01:00")
    take(acme, happens("contact.matched", "ann", when="2026-11-20"))
    take(acme, happens("web.visited", "ann", when="2026-12-01 00:30"), now=now)

    take(acme, renamed("ann", "anna", when="2026-12-01 00:40"), now=now)

    assert counted() == [("anna", ["contact_sync"])]
    assert counted("2026-12-01") == [("anna", ["contact_sync", "web_visit"])]


@pytest.mark.parametrize("refused", [{"time": at("2026-01-01")}, {"data": {}}, {"source": "nowhere"}])
def test_a_rename_that_is_refused_renames_nobody(acme: Account, refused: dict[str, Any]):
    take(acme, happens("web.visited", "ann"))

    deliver(acme, [{**renamed("ann", "anna"), **event(**refused), "type": "contact.renamed"}])

    assert people() == {"ann": "ann"}


def test_a_rename_stays_within_its_account(acme: Account, initech: Account):
    take(acme, happens("web.visited", "ann"))
    take(initech, happens("web.visited", "ann", source="typeform"), renamed("ann", "anna", source="typeform"))

    assert rows(Contact, "identity", account=acme) == ["ann@example.com"]
    assert rows(CountedContact, "contact__identity") == ["ann@example.com", "anna@example.com"]
    assert differences(initech) == []
