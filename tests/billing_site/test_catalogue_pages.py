"""What staff do to the catalogue: each page says what will follow, does it once, and says who and why in the audit."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account, AuditEntry, User
from plans.exchange import exported
from plans.models import Plan, Subscription, Tier
from plans.versions import draft_plan, draft_tier, publish_tier, rename_plan
from tests.billing_site.test_steering_pages import do as steer
from tests.factories import NOW, put_account, rows
from tests.plans.test_versions import BY, MORE, TERMS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock", "catalogue")]

HOSTILE = "<script>alert(1)</script>\"'=1+1"
NEW_PLAN = {"plan": "club", **TERMS}
GOLD = {"tier": "gold", "limit": "10", "price": "5.00"}


def login(*permissions: str) -> Client:
    """Somebody of staff with these permissions."""
    user = User.objects.create(username="sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def sam(db: None) -> Client:
    """May look at the catalogue, draft and publish."""
    return login(*(f"{verb}_{what}" for verb in ("view", "add", "change") for what in ("plan", "tier")))


def plan_page(key: str = "connect") -> str:
    return reverse("admin:plans_plan_change", args=[Plan.objects.get(key=key).pk])


def of_plan(key: str, step: str) -> str:
    return reverse("admin:plans_plan_step", args=[Plan.objects.get(key=key).pk, step])


def of_tier(tier: Tier, step: str) -> str:
    return reverse("admin:plans_tier_step", args=[tier.pk, step])


def starter(version: int = 1) -> Tier:
    return Tier.objects.get(plan__key="connect", key="starter", version=version)


def get(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def do(client: Client, address: str, **answers: Any) -> str:
    """Fill the form of a page in, with what it shows already, and send it: the page that follows."""
    form = client.get(address).context["form"]
    sent = {name: value for name, value in form.initial.items() if value not in (None, False)}
    return client.post(address, {"reason": "because", **sent, **answers}, follow=True).content.decode()


def drafted() -> Tier:
    return draft_tier(Plan.objects.get(key="connect").pk, "starter", MORE, BY)[0]


def actions() -> list[str]:
    found = AuditEntry.objects.filter(actor="staff sam", reason="because").order_by("pk")
    return [action.removeprefix("catalogue.") for action in found.values_list("action", flat=True)]


# -- a new version -----------------------------------------------------------------------------------------------------


def test_a_published_tier_changes_by_a_new_version(sam: Client, acme: Account):
    page = do(sam, of_tier(starter(), "terms"), limit="1500", price="39.00")
    assert "Version 2 of starter is drafted." in page
    assert rows(Tier, "version", "limit", "published_at", key="starter") == [(1, 1_000, NOW), (2, 1_500, None)]

    before = get(sam, of_tier(starter(2), "publish"))
    for words in ("1,000", "1,500", "EUR 29.00", "EUR 39.00", "1 account on older versions keep"):
        assert words in before

    assert "Version 2 of starter is published." in do(sam, of_tier(starter(2), "publish"))
    assert rows(Subscription, "tier__version") == [1]
    assert actions() == ["tier_drafted", "tier_published"]


def test_the_page_of_a_plan_shows_its_tiers_by_version_with_their_accounts(sam: Client, acme: Account):
    publish_tier(drafted().pk, BY)
    put_account("newcomer", plan="connect", tier="starter")
    put_account("another", plan="connect", tier="starter")

    table = sam.get(plan_page()).context["tiers"]["rows"]

    shown = [(row[1], row[2]["content"], row[4], row[5]) for row in table if ">starter<" in row[0]]
    assert shown == [(2, "1,500", "on offer", "2"), (1, "1,000", "replaced", "1")]


def test_a_draft_is_changed_and_discarded_from_its_page(sam: Client):
    draft = drafted()

    assert "Version 2 of starter has changed." in do(sam, of_tier(draft, "terms"), limit="7")
    assert rows(Tier, "limit", version=2) == [7]
    assert "The draft of starter is gone." in do(sam, of_tier(draft, "discard"))
    assert not Tier.objects.filter(version=2).exists()
    assert actions() == ["tier_changed", "tier_discarded"]


@pytest.mark.parametrize(
    ("draft", "offered"),
    [("none", ["New version"]), ("one", ["Publish", "Change", "Discard"]), ("published", ["New version"])],
)
def test_what_is_offered_is_what_makes_sense(sam: Client, draft: str, offered: list[str]):
    if draft != "none":
        drafted()
    if draft == "published":
        publish_tier(starter(2).pk, BY)

    table = sam.get(plan_page()).context["tiers"]["rows"]

    links = "".join(row[0] for row in table if ">starter<" in row[0])
    words = ("New version", "Publish", "Change", "Discard")
    assert [word for word in words if f">{word}</a>" in links] == offered


@pytest.mark.parametrize("step", ["terms", "publish"])
def test_a_second_click_finds_done_what_the_first_has_done(sam: Client, step: str):
    tier = starter() if step == "terms" else drafted()
    form = sam.get(of_tier(tier, step)).context["form"]
    sent = {name: value for name, value in form.initial.items() if value} | {"reason": "because"}
    sent |= {"limit": "1500"} if step == "terms" else {}

    for _ in range(2):
        assert sam.post(of_tier(tier, step), sent).status_code == 302

    assert len(actions()) == 1


def test_a_draft_that_has_changed_since_it_was_read_is_not_published(sam: Client):
    draft = drafted()
    form = sam.get(of_tier(draft, "publish")).context["form"]
    draft_tier(draft.plan_id, "starter", MORE._replace(limit=9), BY)

    page = sam.post(of_tier(draft, "publish"), {"reason": "because", **form.initial}).content.decode()

    assert "Somebody has changed the draft meanwhile" in page
    assert rows(Tier, "published_at", version=2) == [None]


# -- a plan ------------------------------------------------------------------------------------------------------------


def test_a_plan_is_drafted_given_tiers_and_published(sam: Client):
    assert "Plan club is drafted." in do(sam, reverse("admin:plans_plan_new"), **NEW_PLAN)
    assert "Tier gold is drafted." in do(sam, of_plan("club", "tier"), **GOLD)
    assert "gold" in get(sam, of_plan("club", "publish"))
    assert "Plan club is published." in do(sam, of_plan("club", "publish"))

    put_account("member", plan="club")
    assert rows(Subscription, "tier__key") == ["gold"]
    assert actions() == ["plan_drafted", "tier_drafted", "plan_published"]


def test_a_plan_in_draft_is_changed_and_discarded(sam: Client):
    draft_plan("club", TERMS, BY)

    assert "Plan club has changed." in do(sam, of_plan("club", "terms"), unit="activated_contacts")
    assert "The draft of plan club is gone." in do(sam, of_plan("club", "discard"))
    assert not Plan.objects.filter(key="club").exists()


def test_a_plan_without_tiers_says_why_it_is_not_published(sam: Client):
    draft_plan("club", TERMS, BY)

    assert "has no tiers" in do(sam, of_plan("club", "publish"))


def test_a_published_plan_is_renamed_and_nothing_else(sam: Client):
    assert "is called Connect 2027" in do(sam, of_plan("connect", "rename"), name="Connect 2027")
    assert "this cannot change any more" in do(sam, of_plan("connect", "terms"), unit="activated_contacts")
    assert rows(Plan, "name", "unit", key="connect") == [("Connect 2027", "active_contacts")]


@pytest.mark.parametrize(
    ("address", "answers"),
    [("new", {**NEW_PLAN, "plan": "connect"}), ("tier", {**GOLD, "tier": "starter"})],
)
def test_what_there_is_already_is_not_made_again(sam: Client, address: str, answers: dict[str, str]):
    before = rows(Tier, "pk", "limit"), rows(Plan, "pk", "name")
    page = reverse("admin:plans_plan_new") if address == "new" else of_plan("connect", "tier")

    assert "already" in do(sam, page, **answers)
    assert (rows(Tier, "pk", "limit"), rows(Plan, "pk", "name")) == before


@pytest.mark.parametrize(
    "answers",
    [
        {"reason": ""},
        {"price": "-1"},
        {"price": "NaN"},
        {"limit": "0"},
        {"limit": "9" * 30},
        {"tier": "a b"},
        {"tier": "\0"},
        {"tier": HOSTILE},
    ],
    ids=str,
)
def test_a_form_at_fault_changes_nothing(sam: Client, answers: dict[str, str]):
    before = rows(Tier, "pk", "limit")

    page = sam.post(of_plan("connect", "tier"), {"reason": "because", **GOLD, **answers})

    assert list(page.context["form"].errors) == list(answers)
    assert HOSTILE not in page.content.decode()
    assert rows(Tier, "pk", "limit") == before


# -- who may -----------------------------------------------------------------------------------------------------------

STEPS = {
    "plans_plan_new": "add_plan",
    "tier": "add_tier",
    "rename": "change_plan",
    "plan terms": "add_plan",
    "plan publish": "change_plan",
    "plan discard": "add_plan",
    "terms": "add_tier",
    "publish": "change_tier",
    "discard": "add_tier",
}


def address_of(step: str) -> str:
    plan, _ = draft_plan("club", TERMS, BY)
    tier, _ = draft_tier(plan.pk, "gold", MORE, BY)
    if step == "plans_plan_new":
        return reverse("admin:plans_plan_new")
    if step in ("terms", "publish", "discard"):
        return of_tier(tier, step)
    return of_plan("club", step.removeprefix("plan "))


@pytest.mark.parametrize("step", STEPS)
def test_a_step_needs_its_own_permission(step: str):
    address = address_of(step)
    others = {"add_plan", "change_plan", "add_tier", "change_tier", "view_plan", "view_tier"} - {STEPS[step]}
    client = login(*others)

    assert client.get(address).status_code == 403
    assert client.post(address, {"reason": "because"}).status_code == 403
    assert Client().get(address).status_code == 302

    User.objects.get().user_permissions.add(Permission.objects.get(codename=STEPS[step]))
    assert client.get(address).status_code == 200


def test_who_may_only_look_is_offered_nothing_but_the_export():
    client = login("view_plan", "view_tier")
    drafted()

    assert client.get(reverse("admin:plans_plan_changelist")).context["catalogue_links"] == [
        ("Export", reverse("admin:plans_plan_export"))
    ]
    assert client.get(plan_page()).context["steps"] == []
    assert "/catalogue/" not in get(client, plan_page())
    assert client.get(reverse("admin:plans_plan_import")).status_code == 403
    assert login_without_any().get(reverse("admin:plans_plan_export")).status_code == 403


def login_without_any() -> Client:
    client = Client()
    client.force_login(User.objects.create(username="kim", is_staff=True))
    return client


@pytest.mark.parametrize("path", ["plan/999999/catalogue/tier/", "tier/999999/catalogue/terms/"])
def test_what_is_not_there_leads_back(sam: Client, path: str):
    assert sam.get(f"/admin/plans/{path}").status_code == 302


def test_a_step_that_is_none_leads_back(sam: Client):
    assert sam.get(of_tier(starter(), "nonsense")).status_code == 302
    assert sam.get(of_plan("connect", "nonsense")).status_code == 302


# -- files -------------------------------------------------------------------------------------------------------------


def upload(client: Client, content: str | bytes) -> Any:
    file = SimpleUploadedFile("catalogue.csv", content if isinstance(content, bytes) else content.encode())
    return client.post(reverse("admin:plans_plan_import"), {"file": file})


def confirm(client: Client, answer: Any, reason: str = "because") -> Any:
    """Say yes to what the page of an import shows."""
    content = answer.context["form"].initial["content"]
    return client.post(reverse("admin:plans_plan_import"), {"content": content, "reason": reason}, follow=True)


def test_a_file_is_shown_first_and_then_drafted_once(sam: Client):
    file = exported().replace("starter,1000", "starter,1500") + (
        "club,Club,active_contacts,anniversary,hold,24,gold,10,5.00,false\r\n"
    )

    answer = upload(sam, file)
    page = answer.content.decode()
    assert "version 2: limit 1,000 → 1,500" in page
    assert "new plan; new tier" in page
    assert len(answer.context["lines"]["rows"]) == 2
    assert not Tier.objects.filter(published_at=None).exists()

    assert "2 of 15 lines were drafted." in confirm(sam, answer).content.decode()
    assert "0 of 15 lines were drafted." in confirm(sam, answer).content.decode()
    assert rows(Tier, "key", "version", published_at=None) == [("gold", 1), ("starter", 2)]
    assert sorted(actions()) == ["plan_drafted", "tier_drafted", "tier_drafted"]


def test_what_is_exported_changes_nothing(sam: Client):
    file = sam.get(reverse("admin:plans_plan_export"))
    assert file.headers["Content-Disposition"] == 'attachment; filename="catalogue-2026-11-22.csv"'

    answer = upload(sam, file.content)

    assert answer.context["found"].changes == 0
    assert "Nothing: the catalogue says all of it already." in answer.content.decode()
    assert "Draft it" not in answer.content.decode()


def test_an_import_needs_a_reason(sam: Client):
    answer = confirm(sam, upload(sam, exported().replace("starter,1000", "starter,1500")), reason="")

    assert "This field is required" in answer.content.decode()
    assert not Tier.objects.filter(published_at=None).exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must name these columns"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a\0b", "no text"),
        (b"a,b\n1,2\n", "must name these columns"),
        (b"x" * 1_100_000, "larger than"),
        (lambda: exported().replace("29.00", "<script>alert(1)</script>"), "price: Enter a number."),
    ],
    ids=["empty", "no UTF-8", "NUL", "other columns", "large", "bad line"],
)
def test_a_file_at_fault_is_told_and_changes_nothing(sam: Client, content: Any, words: str):
    sent = (
        content().replace("starter,1000,29.00", f"starter,1000,{HOSTILE.replace('"', '')}")
        if callable(content)
        else content
    )

    page = upload(sam, sent).content.decode()

    assert words in page
    assert "<script>alert(1)" not in page
    assert not Tier.objects.filter(published_at=None).exists()


@pytest.mark.parametrize("sent", [{}, {"content": ""}, {"content": "\0", "reason": "\0"}, {"file": "text"}], ids=str)
def test_no_forged_import_breaks_it(sam: Client, sent: dict[str, str]):
    assert sam.post(reverse("admin:plans_plan_import"), sent).status_code == 200


# -- moving to a newer version -----------------------------------------------------------------------------------------


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


def test_an_account_is_moved_to_the_newest_version_from_its_page(root: Client, acme: Account):
    publish_tier(drafted().pk, BY)
    page = reverse("admin:accounts_account_steer", args=[acme.pk, "renew"])
    assert "Move to the newest version" in get(root, reverse("admin:accounts_account_change", args=[acme.pk]))
    assert "starter (1,500 active contacts, EUR 39.00 per billing period)" in get(root, page)

    said = steer(root, acme, "renew")

    assert "The account is on version 2 of connect/starter." in said
    assert "Move to the newest version" not in said
    assert "nothing will change" in get(root, page)


# -- what it costs, and who may write what -----------------------------------------------------------------------------


def test_pages_cost_the_same_for_many_versions_and_accounts(root: Client, acme: Account):
    addresses = [
        plan_page(),
        *(reverse(f"admin:plans_{model}_changelist") for model in ("plan", "tier", "subscription")),
    ]

    def cost() -> list[int]:
        found = []
        for address in addresses:
            with CaptureQueriesContext(connection) as asked:
                get(root, address)
            found.append(len(asked))
        return found

    cost()
    before = cost()
    for number in range(20):
        publish_tier(
            draft_tier(acme.subscriptions.get().tier.plan_id, "starter", MORE._replace(limit=number + 1), BY)[0].pk, BY
        )
        put_account(f"more-{number}", plan="connect", tier="starter")

    assert cost() == before


def test_a_hostile_name_is_text_on_every_page(root: Client):
    plan = Plan.objects.get(key="connect")
    rename_plan(plan.pk, HOSTILE, BY)
    draft = drafted()

    for address in (
        plan_page(),
        of_plan("connect", "rename"),
        of_plan("connect", "tier"),
        of_tier(draft, "publish"),
        of_tier(draft, "terms"),
        reverse("admin:plans_plan_changelist"),
    ):
        assert "<script>alert(1)" not in get(root, address)
    assert "<script>alert(1)" not in upload(root, exported()).content.decode()
