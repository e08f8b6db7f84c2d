"""What staff see and do of webhooks: no secret but a new one, no private address, nothing without permission."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import Account, AuditEntry, User
from tests.factories import ACTOR, NOW
from tests.webhooks.messages import URL, listen, stored, tell
from webhooks import endpoints
from webhooks.models import Delivery, Endpoint

ENDPOINTS = reverse("admin:webhooks_endpoint_changelist")
ADD = reverse("admin:webhooks_endpoint_add")
DELIVERIES = reverse("admin:webhooks_delivery_changelist")

pytestmark = pytest.mark.django_db


def login(*permissions: str) -> Client:
    """Somebody of staff with these permissions."""
    user = User.objects.create(username="sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def manager(acme: Account) -> Client:
    """May do whatever can be done with webhooks."""
    rights = ("add", "view", "change", "delete")
    return login("view_account", "view_delivery", "change_delivery", *(f"{right}_endpoint" for right in rights))


@pytest.fixture
def onlooker(acme: Account) -> Client:
    """May only look."""
    return login("view_endpoint", "view_delivery")


def page_of(client: Client, row: Endpoint | Delivery) -> str:
    """The page of one row."""
    name = f"admin:webhooks_{row._meta.model_name}_change"
    answer = client.get(reverse(name, args=[row.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def choose(client: Client, address: str, action: str, *rows: Any) -> str:
    """Choose an action for some rows; the page that follows."""
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(address, data, follow=True).content.decode()


def secrets_in(page: str) -> list[str]:
    """The secrets that a page shows."""
    return re.findall(r"whsec_[A-Za-z0-9+/=]+", page.replace("&#x2B;", "+"))


def test_a_new_endpoint_shows_its_secret_once_and_nowhere_else(manager: Client, acme: Account):
    answer = manager.post(ADD, {"url": URL, "account": acme.pk, "types": ["period.closed"], "description": "theirs"})

    row = Endpoint.objects.get()
    assert secrets_in(answer.content.decode()) == [row.secret]
    assert "no-store" in answer.headers["Cache-Control"]
    assert not [each for each in manager.cookies.values() if "whsec" in each.value]
    assert (row.url, row.account, row.types, row.description) == (URL, acme, ["period.closed"], "theirs")
    assert AuditEntry.objects.filter(account=acme, action="webhook_endpoint.created", actor="sam").count() == 1
    for page in (page_of(manager, row), manager.get(ENDPOINTS).content.decode(), manager.get(ADD).content.decode()):
        assert secrets_in(page) == []


def test_a_private_address_is_refused_with_a_sentence(manager: Client):
    page = manager.post(ADD, {"url": "https://169.254.169.254/"}).content.decode()

    assert "Webhooks never go to private or reserved addresses." in page
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize("data", [{}, {"url": URL, "types": ["nope"]}, {"url": URL, "account": "0"}, {"url": "\0"}])
def test_nonsense_makes_no_endpoint(manager: Client, data: dict[str, Any]):
    assert manager.post(ADD, data).status_code == 200
    assert not Endpoint.objects.exists()


def test_endpoints_are_disabled_and_enabled(manager: Client, acme: Account):
    row, off = listen(), listen()
    endpoints.disable(off, "no more", actor=ACTOR, now=NOW)

    assert "1 disabled." in choose(manager, ENDPOINTS, "disable", row, off)
    row.refresh_from_db()
    assert (row.enabled, row.disabled_because) == (False, "by sam")
    assert "2 enabled." in choose(manager, ENDPOINTS, "enable", row, off)
    assert Endpoint.objects.filter(enabled=True).count() == 2


def test_a_new_secret_is_shown_once_and_the_old_one_signs_on(manager: Client, acme: Account):
    row = listen()

    page = choose(manager, ENDPOINTS, "rotate_secret", row)

    rotated = Endpoint.objects.get()
    assert secrets_in(page) == [rotated.secret]
    assert rotated.previous_secret == row.secret != rotated.secret
    assert secrets_in(page_of(manager, rotated)) == []


def test_secrets_are_made_for_one_endpoint_at_a_time(manager: Client, acme: Account):
    rows = listen(), listen()

    page = choose(manager, ENDPOINTS, "rotate_secret", *rows)

    assert "Choose one endpoint" in page
    assert secrets_in(page) == []
    assert not Endpoint.objects.exclude(previous_secret="").exists()


def test_an_endpoint_is_deleted_only_if_nothing_was_written_for_it(manager: Client, acme: Account):
    used, unused = listen(URL, acme), listen("https://other.example.com/", acme, "period.closed")
    tell(acme)

    answers = [
        manager.post(reverse("admin:webhooks_endpoint_delete", args=[row.pk]), {"post": "yes"}).status_code
        for row in (used, unused)
    ]
    choose(manager, ENDPOINTS, "delete_selected", used)

    assert answers == [403, 302]
    assert list(Endpoint.objects.all()) == [used]
    assert AuditEntry.objects.filter(account=acme, action="webhook_endpoint.deleted", actor="sam").count() == 1


def test_an_endpoint_is_not_changed_on_its_page(manager: Client, acme: Account):
    row = listen()

    answer = manager.post(reverse("admin:webhooks_endpoint_change", args=[row.pk]), {"url": "https://x.example.com/"})

    assert answer.status_code == 403
    assert Endpoint.objects.get().url == URL


def test_who_may_only_look_does_nothing(onlooker: Client, acme: Account):
    row = listen()
    [delivered] = tell(acme)
    Delivery.objects.update(state="failed", next_try_at=None)

    assert onlooker.get(ADD).status_code == 403
    for action in ("disable", "rotate_secret", "delete_selected"):
        assert secrets_in(choose(onlooker, ENDPOINTS, action, row)) == []
    choose(onlooker, DELIVERIES, "send_again", stored(delivered))

    assert (Endpoint.objects.get().enabled, Endpoint.objects.get().secret) == (True, row.secret)
    assert stored(delivered).state == "failed"


@pytest.mark.parametrize("query", ["secret__startswith=whsec", "previous_secret=x", "message__payload__contains=a"])
def test_no_list_is_searched_by_what_it_does_not_show(manager: Client, acme: Account, query: str):
    listen()

    for address in (ENDPOINTS, DELIVERIES):
        assert manager.get(f"{address}?{query}").status_code in (302, 400)


def test_deliveries_are_found_by_state_type_and_account(manager: Client, acme: Account):
    listen()
    [waiting], [failed] = tell(acme, "80"), tell(acme, "100")
    Delivery.objects.filter(pk=failed).update(state="failed", next_try_at=None)

    def found(**query: str) -> list[int]:
        return [row.pk for row in manager.get(DELIVERIES, query).context["cl"].result_list]

    assert found() == found(message__type__exact="threshold.crossed") == found(q="acme") == [failed, waiting]
    assert found(state__exact="failed") == [failed]
    assert found(q="globex") == found(message__type__exact="period.closed") == []


def test_a_delivery_shows_what_was_told_and_answered_as_text(manager: Client, acme: Account):
    listen()
    [row] = tell(acme, name="<script>alert(1)</script>")
    Delivery.objects.update(status=500, answer="<script>alert(2)</script>", error="the endpoint answered 500")

    page = page_of(manager, stored(row))

    assert "the endpoint answered 500" in page
    assert stored(row).message.public_id in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(" not in page
    assert secrets_in(page) == []


def test_failed_and_sent_ones_are_sent_again_and_others_are_not(manager: Client, acme: Account):
    listen()
    [failed], [sent], [waiting] = tell(acme, "1"), tell(acme, "2"), tell(acme, "3")
    Delivery.objects.filter(pk=failed).update(state="failed", next_try_at=None)
    Delivery.objects.filter(pk=sent).update(state="sent", next_try_at=None, sent_at=NOW)

    page = choose(manager, DELIVERIES, "send_again", *(stored(row) for row in (failed, sent, waiting)))

    assert "2 will be sent again." in page
    assert "It is being tried already." in page
    assert set(Delivery.objects.values_list("state", flat=True)) == {"pending"}
    again = AuditEntry.objects.filter(account=acme, action="webhook.sent_again", actor="sam").order_by("pk")
    assert [entry.before["state"] for entry in again] == ["failed", "sent"]
