"""What staff see: every page opens, changes nothing, and shows no secret."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.admin import ReadOnlyAdmin
from accounts.models import Account, ApiKey, AuditEntry, User
from jobs.models import Job
from jobs.queue import enqueue
from metering import steering
from metering.models import Event, EventVoid
from notifications import outbox
from notifications.models import Kind
from tests.factories import NOW, deliver, event, make_key, put_account, rows
from tests.notifications.facts import facts
from tests.webhooks.messages import listen, tell

pytestmark = pytest.mark.django_db

OURS = [model for model, page in admin.site._registry.items() if isinstance(page, ReadOnlyAdmin)]


@pytest.fixture
def staff() -> Client:
    """A superuser, logged in."""
    client = Client()
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def filled(acme: Account, globex: Account, initech: Account) -> None:
    """At least one row on every page."""
    make_key(acme)
    listen()
    put_account("acme", limit_override=1, signed_up_at=acme.signed_up_at)
    deliver(acme, [event(), event(id="<script>alert(1)</script>", type="nope")])
    outbox.post(acme.pk, Kind.THRESHOLD, facts(), key="80", at=NOW, live=True, percent=80)
    deliver(acme, [event(id="<script>alert(2)</script>")])  # exceeds: an upgrade is caused
    voided = Event.objects.filter(account=acme).latest("pk")
    EventVoid.objects.create(account=acme, event=voided, at=NOW, actor="sam", reason="<script>alert(1)</script>")
    put_account("initech", signed_up_at=initech.signed_up_at, limit_override=1, at_limit="hold")
    deliver(initech, [event(source="typeform"), event(source="typeform", id="<script>alert(1)</script>")])
    steering.pause(globex, reason="<script>alert(1)</script>", actor="sam", now=NOW)
    deliver(globex, [event(source="instagram", type="automation.scenario_run")])
    job = enqueue("<script>alert(1)</script>", 1, account_id=acme.pk, now=NOW)
    Job.objects.filter(pk=job.pk).update(error="<script>alert(1)</script>")


def _address(model: type[Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def test_there_is_a_page_for_each_of_these():
    assert sorted(model.__name__ for model in OURS) == [
        "Account",
        "ApiKey",
        "AuditEntry",
        "BillingPeriod",
        "Connection",
        "Delivery",
        "Event",
        "EventVoid",
        "Gap",
        "Job",
        "Notification",
        "Plan",
        "QuarantinedEvent",
        "Subscription",
        "ThresholdCrossing",
        "Tier",
        "UpgradeCause",
    ]


@pytest.mark.parametrize("model", OURS)
def test_every_page_opens_and_changes_nothing(staff: Client, filled: None, model: type[Model]):
    listed = staff.get(_address(model, "changelist"))
    assert staff.get(_address(model, "changelist"), {"q": "acme"}).status_code == 200
    row = listed.context["cl"].result_list[0]
    shown = staff.get(_address(model, "change", row.pk))

    assert (listed.status_code, shown.status_code) == (200, 200)
    assert staff.get(_address(model, "add")).status_code == 403
    assert staff.post(_address(model, "change", row.pk), {"name": "x"}).status_code == 403
    assert staff.post(_address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert b"<script>alert(1)" not in listed.content + shown.content


@pytest.mark.parametrize("model", OURS)
def test_a_list_costs_the_same_for_many_rows(
    staff: Client, filled: None, acme: Account, globex: Account, initech: Account, model: type[Model]
):
    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert staff.get(_address(model, "changelist")).status_code == 200
        return len(asked)

    cost()
    before = cost()
    for number in range(5):
        make_key()
        deliver(globex, [event(type=f"nope-{number}")])
        deliver(acme, [event(type=f"nope-{number}")])
        deliver(initech, [event(source="typeform")])  # held
        enqueue("tests.nothing", number, account_id=globex.pk, now=NOW)
        tell(acme, str(number))

    assert cost() == before


def test_no_page_shows_the_digest_of_a_key(staff: Client, filled: None):
    key = ApiKey.objects.get()
    page = staff.get(_address(ApiKey, "change", key.pk)).content.decode()

    assert key.prefix in page
    assert "digest" not in page.lower()
    assert bytes(key.digest).hex() not in page


def revoke(client: Client, key: ApiKey, reason: str) -> str:
    """Choose the key in the list, give a reason and run the action: the page that follows."""
    chosen = {"action": "revoke", "_selected_action": key.pk, "reason": reason}
    return client.post(_address(ApiKey, "changelist"), chosen, follow=True).content.decode()


def test_a_key_is_revoked_for_a_reason_that_is_kept(staff: Client, filled: None):
    key = ApiKey.objects.get()

    page = revoke(staff, key, " it leaked ")

    assert "1 keys are revoked." in page
    assert rows(ApiKey, "revoked_at") != [None]
    assert rows(AuditEntry, "actor", "reason", action="key.revoked") == [("root", "it leaked")]


def test_without_a_reason_no_key_is_revoked(staff: Client, filled: None):
    page = revoke(staff, ApiKey.objects.get(), " ")

    assert "Nothing was revoked: give a reason." in page
    assert rows(ApiKey, "revoked_at") == [None]


def test_who_may_only_look_cannot_revoke(filled: None):
    viewer = User.objects.create(username="viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    client = Client()
    client.force_login(viewer)

    revoke(client, ApiKey.objects.get(), "because")

    assert client.get(_address(ApiKey, "changelist")).status_code == 200
    assert rows(ApiKey, "revoked_at") == [None]


def test_the_list_of_keys_asks_for_the_reason(staff: Client, filled: None):
    assert 'name="reason"' in staff.get(_address(ApiKey, "changelist")).content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "created_at__year=99999",
        "keys__digest__startswith=a",
        "name__contains=%00",
        "at_limit__exact=%00",
        "at_limit__exact=nonsense",
        "auto_upgrade__exact=nonsense",
        "q=%00",
        "p=99999999999999999999",
        "p=-1",
        "o=99.x",
        "all=",
        "e=1",
        "nonsense=1",
    ],
)
def test_no_address_of_a_list_breaks_it(staff: Client, filled: None, query: str):
    assert staff.get(f"{_address(Account, 'changelist')}?{query}").status_code in (200, 302, 400)


@pytest.mark.parametrize("pk", ["0", "x", "99999999999999999999", "%00", "_00", "-1"])
def test_a_row_that_is_not_there_leads_back(staff: Client, filled: None, pk: str):
    assert staff.get(f"/admin/accounts/account/{pk}/change/").status_code == 302


def test_nobody_sees_anything_without_a_login(filled: None):
    for model in OURS:
        answer = Client().get(_address(model, "changelist"))
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/admin/login/")
