"""REQUIREMENTS, what customers see in their window: A19, B22, B23, C16, C27, C29, C31, C36 and C37."""

import csv
from datetime import timedelta

import pytest

from accounts.models import Account
from notifications import render
from notifications.compose import compose
from tests.billing_site.usage.window import PATHS, look, numbers, text_of
from tests.factories import NOW, deliver
from tests.notifications.facts import facts
from tests.requirements.shorthand import DECEMBER, each, followers, people, used

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]

SYNC, OTHER_SYNC, MAIL, WEB = "pipedrive-mailchimp", "hubspot-brevo", "mailchimp-pipedrive", "website"
SUPPORT = 'href="mailto:support@localhost"'


def test_a19_event_counters_are_marked_as_not_billed_and_point_to_how_the_unit_counts(acme: Account):
    deliver(acme, each(people(3), SYNC, "contact.updated_in_marketing"))

    status = look(acme, f"connections/{SYNC}")

    assert numbers(status)["contact_events"] == 3
    assert "not billed" in text_of(status)
    overview = look(acme)
    assert "How active contacts are counted" in text_of(overview)
    assert "/usage/help" in overview.content.decode()


def test_a19_for_a_legacy_account_the_events_are_what_is_billed(initech: Account):
    deliver(initech, each(people(3), "salesforce-mailchimp", "contact.updated_in_marketing"))

    status = look(initech, "connections/salesforce-mailchimp")

    assert numbers(status)["contact_events"] == 3
    assert "not billed" not in text_of(status)


def test_b22_leads_in_the_crm_and_activated_contacts_are_shown_apart_and_labelled(globex: Account):
    leads = followers(5_000)
    deliver(globex, each(leads, "lead-ads", "crm.lead_captured", data={"origin": "ad"}))
    deliver(globex, each(leads[:42], "instagram", "automation.scenario_run"))

    overview = look(globex)

    assert "Contacts known (leads in the CRM) 5,000 Activated in this period 42" in text_of(overview)
    assert numbers(overview)["used"] == 42


@pytest.mark.parametrize("path", PATHS)
def test_b23_help_and_support_are_linked_from_every_page(globex: Account, path: str):
    page = look(globex, path).content.decode()

    assert SUPPORT in page
    assert 'href="/usage/help' in page


def test_c16_connections_stand_in_order_with_what_they_count_and_what_only_they_count(acme: Account):
    deliver(acme, each(people(60), SYNC, "contact.matched"))
    deliver(acme, each(people(90)[40:], MAIL, "engagement.email_opened"))
    deliver(acme, each(people(10), WEB, "web.visited"))

    seen = numbers(look(acme))

    rows = [name for name in seen if name.startswith("by_connection.") and name.endswith(".number")]
    assert rows == [f"by_connection.{key}.number" for key in (SYNC, MAIL, WEB)]
    assert [seen[name] for name in rows] == [60, 50, 10]
    assert [seen[f"by_connection.{key}.only_here"] for key in (SYNC, MAIL, WEB)] == [30, 30, 0]


def test_c27_a_hint_says_how_many_would_leave_the_count_with_the_inactive(acme: Account):
    everybody, long_ago = people(2_000), NOW - timedelta(days=100)
    deliver(acme, each(everybody, SYNC, "contact.matched"))
    deliver(acme, each(everybody[:300], MAIL, "engagement.email_opened", time=long_ago), now=long_ago)
    deliver(acme, each(everybody[600:], MAIL, "engagement.email_clicked"))

    page = look(acme, "less")

    assert "600 would leave the count next period" in text_of(page)
    deliver(acme, each(everybody[:600], SYNC, "contact.unmatched", time=NOW))
    assert (used(acme), used(acme, DECEMBER)) == (2_000, 1_400)


def test_c29_those_that_the_destination_refuses_are_listed_and_exported(acme: Account):
    everybody = people(10)
    deliver(acme, each(everybody[:7], SYNC, "contact.matched"))
    deliver(acme, each(everybody[7:], SYNC, "contact.refused"))

    advice = look(acme, "less")
    assert numbers(advice)["refused"] == 3
    assert "/usage/contacts?refused=true" in advice.content.decode()
    listed = text_of(look(acme, "contacts", refused="true"))
    exported = b"".join(look(acme, "contacts.csv", refused="true").streaming_content).decode()
    assert [name for name in everybody if name in listed] == everybody[7:]
    assert listed.count("refused since") == 3
    assert [row["subject"] for row in csv.DictReader(exported.splitlines())] == everybody[7:]


def test_c31_engagement_is_split_by_kind_and_sends_say_how_many_count_only_by_them(acme: Account):
    sent = people(100)
    for kind, number in (("email_opened", 40), ("email_clicked", 20), ("email_bounced", 10), ("unsubscribed", 5)):
        deliver(acme, each(sent[:number], MAIL, f"engagement.{kind}"))
    deliver(acme, each(sent, MAIL, "engagement.email_sent"))

    overview = look(acme)

    seen = numbers(overview)
    kinds = ("email_sent", "email_opened", "email_clicked", "email_bounced", "unsubscribed")
    assert [seen[f"by_reason.{kind}.number"] for kind in kinds] == [100, 40, 20, 10, 5]
    assert "60 contacts count only because of sends" in text_of(overview)
    assert numbers(look(acme, "less"))["what_if.sends"] == 60


def test_c36_legacy_customers_see_events_and_others_active_contacts(acme: Account, initech: Account):
    deliver(acme, each(["ann@example.com"] * 2, SYNC, "contact.updated_in_marketing"))
    deliver(initech, each(["ann@example.com"] * 2, "salesforce-mailchimp", "contact.updated_in_marketing"))

    of_acme, of_initech = look(acme), look(initech)

    assert (numbers(of_acme)["used"], numbers(of_initech)["used"]) == (1, 2)
    assert "active contacts" in text_of(of_acme)
    assert "app connector events" in text_of(of_initech)


@pytest.mark.parametrize("path", PATHS)
def test_c37_support_is_offered_on_every_page(acme: Account, path: str):
    assert SUPPORT in look(acme, path).content.decode()


@pytest.mark.parametrize("percent", [80, 100])
def test_c37_support_is_offered_in_both_mails(percent: int):
    mail = compose(
        "threshold",
        percent,
        facts(),
        account_name="Acme Ltd",
        account_slug="acme",
        usage_url="https://billing.example.com/usage/?token=a.b",
        support_email="support@example.com",
    )

    assert "support@example.com" in render.text(mail)
