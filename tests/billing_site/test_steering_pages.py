"""What staff do to an account: each page says what will follow, does it once, and leaves who and why in the audit."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account, AuditEntry, User
from metering import steering
from metering.models import AccountMeter, BillingPeriod, Event, Gap
from metering.steering_pages import BUSY, STEPS
from metering.warnings import opt_out_warning
from notifications.models import Notification
from plans.models import Tier
from tests.conftest import StoppedClock
from tests.factories import NOW, deliver, event, put_account, put_connection, rows, unguarded
from tests.metering.test_tier_versions import publish

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]

HOSTILE = "<script>alert(1)</script>"


def login(*permissions: str, name: str = "sam") -> Client:
    """Somebody of staff with these permissions; errors in a view are raised, a missing CSRF token is refused."""
    user = User.objects.create(username=name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def sam(db: None) -> Client:
    """May look at accounts, and change them."""
    return login("view_account", "change_account", "view_notification", "view_auditentry")


def address(account: Account, step: str) -> str:
    return reverse("admin:accounts_account_steer", args=[account.pk, step])


def account_page(account: Account) -> str:
    return reverse("admin:accounts_account_change", args=[account.pk])


def shown(client: Client, account: Account, step: str) -> str:
    """The page before anything is done."""
    answer = client.get(address(account, step))
    assert answer.status_code == 200
    return answer.content.decode()


def do(client: Client, account: Account, step: str, **answers: Any) -> str:
    """Fill the form in and send it: the page that follows."""
    sent = {"reason": "the customer asked", **answers}
    return client.post(address(account, step), sent, follow=True).content.decode()


def tier(plan: str, key: str) -> int:
    return Tier.objects.get(plan__key=plan, key=key).pk


def audit(account: Account) -> list[tuple[str, str, str]]:
    """What staff did, in order: action, who, why."""
    found = AuditEntry.objects.filter(account=account, actor__startswith="staff ").order_by("pk")
    return list(found.values_list("action", "actor", "reason"))


def fill(account: Account, people: int, **attributes: Any) -> None:
    """So many people count."""
    deliver(account, [event(subject=f"p{number}@example.com", **attributes) for number in range(people)])


@pytest.fixture
def holding(acme: Account) -> Account:
    """Acme at a limit of its own of 2, with one event held."""
    put_account("acme", signed_up_at=acme.signed_up_at, limit_override=2, at_limit="hold")
    fill(acme, 3)
    return Account.objects.get(pk=acme.pk)


# -- opting out of upgrades --------------------------------------------------------------------------------------------


def test_opting_out_names_what_will_be_lost_and_where(sam: Client, acme: Account):
    page = shown(sam, acme, "opt-out")

    for words in (
        "contact sync, engagement sync, web tracking, lead scoring and automations stop",
        "dropped",
        "leaves gaps",
        "cannot be replayed",
        "hubspot-brevo",
        "website",
        "billing@acme.example",
    ):
        assert words in page
    assert "0</div>" in page
    assert "1,000" in page


def test_the_warning_leaves_disabled_connections_out(acme: Account):
    put_connection(acme, "website", "web_tracking", enabled=False)

    assert "hubspot-brevo, mailchimp-pipedrive, pipedrive-mailchimp and scoring." in opt_out_warning(acme)


def test_opting_out_needs_the_acceptance(sam: Client, acme: Account):
    page = do(sam, acme, "opt-out")

    assert "the loss of data must be accepted" in page
    assert rows(Account, "auto_upgrade", slug="acme") == [True]
    assert audit(acme) == []
    assert not Notification.objects.exists()


def test_opting_out_and_in_again(sam: Client, acme: Account):
    assert "acme: Automatic upgrades are off." in do(sam, acme, "opt-out", accepted="on")
    assert rows(Account, "auto_upgrade", slug="acme") == [False]

    assert "acme: Automatic upgrades are on." in do(sam, acme, "opt-in")
    assert rows(Account, "auto_upgrade", slug="acme") == [True]
    assert audit(acme) == [("account.changed", "staff sam", "the customer asked")] * 2


# -- the other operations ----------------------------------------------------------------------------------------------


def test_pausing_and_resuming(sam: Client, acme: Account):
    assert "until somebody resumes" in shown(sam, acme, "pause")
    page = do(sam, acme, "pause", reason="they asked for a break")
    fill(acme, 1)

    assert "acme: The account is paused." in page
    assert "Paused since 22 November 2026, 12:00 (UTC) by staff sam" in page
    assert "they asked for a break" in page
    assert Gap.objects.get().events == 1

    assert "stays lost" in shown(sam, acme, "resume")
    assert "acme: The account is not paused." in do(sam, acme, "resume")
    assert [row[0] for row in audit(acme)] == ["account.paused", "account.resumed"]


def test_a_trial_that_has_ended_is_not_resumed(sam: Client, catalogue: None):
    account = put_account("new", plan="connect", tier="trial", trial_ends_at=NOW)

    assert "only an upgrade" in shown(sam, account, "resume")
    assert "The trial has ended: upgrade the account to go on." in do(sam, account, "resume")
    assert audit(account) == []


def test_upgrading_offers_higher_tiers_with_limit_and_price(sam: Client, holding: Account):
    page = shown(sam, holding, "upgrade")

    assert "growth (2,500 active contacts, EUR" in page
    assert "starter (1,000 active contacts, EUR" not in page.split("<form")[-1]
    assert "trial (" not in page
    assert "The custom limit of 2 ends with it." in page
    assert "1 event held" in page

    page = do(sam, holding, "upgrade", tier=tier("connect", "professional"))

    assert "acme: The account is on connect/professional." in page
    assert BillingPeriod.objects.get().limit == 10_000
    assert audit(holding) == [("account.upgraded", "staff sam", "the customer asked")]


def test_only_what_is_offered_can_be_chosen(sam: Client, acme: Account):
    for nonsense in (tier("connect", "trial"), tier("social", "pro-1k"), "x", "", "9" * 30):
        assert "errors" in do(sam, acme, "upgrade", tier=nonsense)

    assert audit(acme) == []


def test_a_downgrade_shows_what_is_used_beside_each_target(sam: Client, catalogue: None):
    account = put_account("big", plan="connect", tier="growth")
    put_connection(account, "pipedrive-mailchimp")
    fill(account, 150)
    page = shown(sam, account, "downgrade")

    assert "150 used so far, fits" in page
    assert "Social free" not in page
    assert "free (100 activated contacts, EUR 0.00 per billing period): 0 used so far, fits" in page

    page = do(sam, account, "downgrade", tier=tier("connect", "starter"))

    assert "The account moves to connect/starter on 1 December 2026, 00:00 (UTC)." in page
    assert "Moves to connect/starter on 1 December 2026, 00:00 (UTC)." in page
    assert audit(account) == [("account.downgraded", "staff sam", "the customer asked")]


def test_a_downgrade_that_does_not_fit_is_refused_in_the_form(sam: Client, initech: Account):
    put_account("initech", signed_up_at=initech.signed_up_at, plan="connect-legacy")
    steering.upgrade(initech, "m", reason="", actor="tests", now=NOW)
    deliver(initech, [event(source="typeform") for _ in range(1_001)])

    assert "1,001 used so far, does not fit" in shown(sam, initech, "downgrade")
    page = do(sam, initech, "downgrade", tier=tier("connect-legacy", "s"))

    assert "The account has used 1,001, more than the 1,000 of s." in page
    assert audit(initech) == []


def test_a_custom_limit_is_set_and_taken_away(sam: Client, acme: Account):
    assert "of the tier" in shown(sam, acme, "limit")
    assert "acme: The limit is 1,500." in do(sam, acme, "limit", limit_override="1500")
    assert "custom limit" in shown(sam, acme, "limit")
    assert "acme: The limit is that of the tier." in do(sam, acme, "limit", limit_override="")

    changes = AuditEntry.objects.filter(actor="staff sam").order_by("pk").values_list("after", flat=True)
    assert list(changes) == [{"limit_override": 1_500}, {"limit_override": None}]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "9" * 30])
def test_a_limit_that_is_none_is_refused(sam: Client, acme: Account, limit: str):
    assert "errors" in do(sam, acme, "limit", limit_override=limit)
    assert audit(acme) == []


def test_what_happens_at_the_limit_is_chosen(sam: Client, acme: Account):
    page = shown(sam, acme, "policy")
    assert "Now: The 1,000th active contact will still be counted." in page
    assert "The plan says: By what can be replayed" in page
    assert "acme: At the limit: hold." in do(sam, acme, "policy", at_limit="hold")
    assert rows(Account, "at_limit", slug="acme") == ["hold"]

    assert "acme: At the limit: as the plan says." in do(sam, acme, "policy", at_limit="")
    assert rows(Account, "at_limit", slug="acme") == [None]


def test_held_events_are_replayed(sam: Client, holding: Account):
    assert "1 event held: replayed now" in shown(sam, holding, "replay")
    assert "acme: 0 events replayed; 1 still held." in do(sam, holding, "replay")

    put_account("acme", signed_up_at=holding.signed_up_at, limit_override=3)

    assert not Event.objects.filter(state=3).exists()
    assert "Nothing is held" in shown(sam, holding, "replay")


def test_nothing_is_replayed_into_a_pause(sam: Client, holding: Account):
    steering.pause(holding, reason="", actor="tests", now=NOW)

    assert "The account is paused: resume it first." in do(sam, holding, "replay")


def test_closing(sam: Client, acme: Account):
    assert "1 December 2026, 00:00 (UTC)" in shown(sam, acme, "close")
    assert "acme: The account closes on 1 December 2026, 00:00 (UTC)." in do(sam, acme, "close")
    assert "The account is closed from" in do(sam, acme, "upgrade", tier=tier("connect", "growth"))
    assert [row[0] for row in audit(acme)] == ["account.closed"]


# -- whatever the operation --------------------------------------------------------------------------------------------

ANSWERS: dict[str, dict[str, Any]] = {
    "opt-out": {"accepted": "on"},
    "upgrade": {"tier": ("connect", "growth")},
    "downgrade": {"tier": ("social", "free")},
    "limit": {"limit_override": "77"},
    "policy": {"at_limit": "pause"},
}


def answers_of(step: str) -> dict[str, Any]:
    return {name: tier(*value) if isinstance(value, tuple) else value for name, value in ANSWERS.get(step, {}).items()}


@pytest.mark.parametrize("step", STEPS)
def test_without_a_reason_nothing_is_changed(sam: Client, holding: Account, step: str):
    before = AuditEntry.objects.count()
    for reason in ("", "  ", "\0", "x" * 1_001):
        assert "errors" in do(sam, holding, step, **answers_of(step), reason=reason)

    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize("step", STEPS)
def test_a_double_click_leaves_one_row(sam: Client, acme: Account, step: str):
    if step == "opt-in":
        put_account("acme", signed_up_at=acme.signed_up_at, auto_upgrade=False)
    elif step == "resume":
        steering.pause(acme, reason="", actor="tests", now=NOW)
    elif step == "replay":
        put_account("acme", signed_up_at=acme.signed_up_at, limit_override=2, at_limit="hold")
        fill(acme, 4)
        BillingPeriod.objects.update(limit=3)  # there is room for one, not for both
    elif step == "renew":
        publish("starter", 1_200)
    first, again = (do(sam, acme, step, **answers_of(step)) for _ in range(2))

    assert ("acme: " in first, "acme: " in again) == (True, True)
    assert len(audit(acme)) == 1


@pytest.mark.parametrize("step", STEPS)
def test_who_may_only_look_cannot_steer(acme: Account, step: str):
    looker = login("view_account")

    assert looker.get(address(acme, step)).status_code == 403
    assert looker.post(address(acme, step), {"reason": "x", **answers_of(step)}).status_code == 403
    assert address(acme, step) not in looker.get(account_page(acme)).content.decode()
    assert Client().get(address(acme, step)).status_code == 302
    assert audit(acme) == []


def test_a_forged_request_is_refused(acme: Account):
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))

    assert client.post(address(acme, "pause"), {"reason": "x"}).status_code == 403
    assert audit(acme) == []


@pytest.mark.parametrize("path", ["999999/steer/pause/", "99999999999999999999/steer/pause/", "{pk}/steer/nonsense/"])
def test_what_is_not_there_leads_back(sam: Client, acme: Account, path: str):
    assert sam.get(f"/admin/accounts/account/{path.format(pk=acme.pk)}").status_code == 302


@pytest.mark.parametrize("step", STEPS)
def test_hostile_names_are_text(sam: Client, acme: Account, step: str):
    put_account("acme", signed_up_at=acme.signed_up_at, name=HOSTILE, limit_override=5)
    put_connection(acme, "website", "web_tracking", name=HOSTILE)
    steering.pause(acme, reason=HOSTILE, actor="tests", now=NOW)
    pages = [shown(sam, acme, step), do(sam, acme, step, reason=HOSTILE), sam.get(account_page(acme)).content.decode()]

    assert all("<script>alert" not in page for page in pages)
    assert "&lt;script&gt;alert" in pages[2]


@pytest.mark.parametrize("step", STEPS)
def test_no_page_has_a_script_of_its_own(sam: Client, acme: Account, step: str):
    answer = sam.get(address(acme, step))
    page = answer.content.decode()

    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"].split("script-src")[1].split(";")[0]
    assert all(" src=" in tag for tag in page.split("<script")[1:])
    assert " onclick=" not in page


# -- the account's page ------------------------------------------------------------------------------------------------


def test_the_page_of_an_account_tells_how_it_stands(sam: Client, holding: Account):
    page = sam.get(account_page(holding)).content.decode()

    assert "holding" in page
    assert "Held events: 1." in page
    assert "What happens now that the limit is reached" in page
    assert "this is how the account was set up" in page
    assert "account.created" in page
    assert "Held" in page  # the mail
    assert address(holding, "replay") in page
    assert address(holding, "resume") in page
    assert address(holding, "opt-in") not in page


def test_an_account_that_never_counted_anything_has_a_page_too(sam: Client, acme: Account):
    page = sam.get(account_page(acme)).content.decode()

    assert "1 December 2026" in page
    assert not BillingPeriod.objects.exists()


@pytest.fixture
def unusual(request: pytest.FixtureRequest, catalogue: None, clock: StoppedClock) -> Account:
    """An account in a state that pages forget."""
    account = put_account("odd", plan="connect", tier="trial" if request.param == "trial ended" else "starter")
    put_connection(account, "pipedrive-mailchimp")
    fill(account, 3)
    match request.param:
        case "closed":
            steering.close(account, reason="", actor="tests", now=NOW)
            clock.advance(days=10)
        case "trial ended":
            put_account("odd", trial_ends_at=NOW)
        case "period not opened":
            clock.advance(days=10)
        case "unlimited":
            with unguarded():
                Tier.objects.filter(plan__key="connect", key="starter").update(limit=None)
            BillingPeriod.objects.update(limit=None)
        case "over the limit":
            put_account("odd", limit_override=1)
        case "change of plan waits":
            steering.downgrade(account, "pro-1k", "social", reason="", actor="tests", now=NOW)
        case "no settings":
            put_account("odd", billing_email="", timezone="Asia/Kathmandu")
    return Account.objects.get(pk=account.pk)


@pytest.mark.parametrize(
    "unusual",
    [
        "closed",
        "trial ended",
        "period not opened",
        "unlimited",
        "over the limit",
        "change of plan waits",
        "no settings",
    ],
    indirect=True,
)
def test_every_page_opens_for_unusual_accounts(sam: Client, unusual: Account):
    assert sam.get(account_page(unusual)).status_code == 200
    for step in STEPS:
        assert shown(sam, unusual, step).count("<li>") > 0


def test_the_page_costs_the_same_for_much_as_for_little(sam: Client, holding: Account, clock: StoppedClock):
    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert sam.get(account_page(holding)).status_code == 200
        return len(asked)

    cost()
    before = cost()
    for number in range(12):
        clock.advance(seconds=1)
        put_connection(holding, f"more-{number}")
        put_account("acme", now=clock.now, signed_up_at=holding.signed_up_at, name=f"Acme {number}")
        steering.pause(holding, reason="", actor="tests", now=clock.now)
        steering.resume(holding, reason="", actor="tests", now=clock.now)
    deliver(holding, [event(source=f"more-{number % 12}") for number in range(50)], now=clock.now)

    assert cost() == before <= 25


# -- under the lock of another -----------------------------------------------------------------------------------------


@pytest.fixture
def locked_by_another(transactional_db: None, acme: Account) -> Iterator[None]:
    """Somebody else holds acme."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            AccountMeter.objects.select_for_update().get(account=acme)
            taken.set()
            done.wait(20)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    yield
    done.set()
    thread.join()


def test_a_busy_account_is_to_be_tried_again(locked_by_another: None, acme: Account):
    page = do(login("view_account", "change_account"), acme, "pause")

    assert BUSY in page
    assert audit(acme) == []
