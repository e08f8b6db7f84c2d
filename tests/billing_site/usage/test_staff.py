"""Staff open a customer's window from the account's page, by a link that is made on the click."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import Account, User
from tests.billing_site.usage.window import text_of
from tests.conftest import StoppedClock
from tests.factories import deliver
from tests.metering.test_at_limit import people

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]


def staff(*permissions: str) -> Client:
    """A member of staff with these permissions, logged in."""
    user = User.objects.create(username="sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def window(account: Account) -> str:
    return reverse("admin:accounts_account_usage", args=[account.pk])


def test_who_may_see_accounts_sees_usage_as_the_customer_does_for_half_an_hour(acme: Account, clock: StoppedClock):
    deliver(acme, people(0, 3))
    client = staff("view_account")
    page = client.get(reverse("admin:accounts_account_change", args=[acme.pk])).content.decode()

    assert window(acme) in page
    assert "token=" not in page
    answer = client.get(window(acme))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/usage/?token=")
    assert "no-store" in answer["Cache-Control"]
    assert "Acme Ltd" in text_of(Client().get(answer["Location"]))
    people_page = answer["Location"].replace("/usage/?", "/usage/contacts?")
    assert "p1@example.com" in text_of(Client().get(people_page))
    clock.advance(minutes=30)
    assert Client().get(answer["Location"]).status_code == 403


def test_who_may_not_see_accounts_gets_no_link(acme: Account):
    assert staff().get(window(acme)).status_code == 403


def test_strangers_are_asked_to_log_in(acme: Account):
    answer = Client().get(window(acme))

    assert (answer.status_code, "/admin/login/" in answer["Location"]) == (302, True)


def test_an_account_that_is_not_there_leads_back(acme: Account):
    answer = staff("view_account").get(reverse("admin:accounts_account_usage", args=[acme.pk + 1]))

    assert (answer.status_code, "/usage/" in answer["Location"]) == (302, False)
