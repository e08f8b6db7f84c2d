"""From an event to the mailbox: a real task cluster, a real SMTP conversation, each mail in at least one journey."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from time import monotonic
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command

from accounts.models import Account
from jobs.models import Job
from jobs.runner import sweep
from metering import due, steering
from metering.models import Event, EventState
from metering.usage import ensure_current, usage
from notifications.models import Kind, Notification
from tests.billing_site.programs import eventually
from tests.cluster import cluster
from tests.factories import ACTOR, deliver, make_plan, put_account, put_connection
from tests.metering.test_at_limit import people
from tests.smtp import SmtpServer, smtp_server

pytestmark = pytest.mark.django_db(transaction=True)

BY: dict[str, Any] = {"reason": "as they asked", "actor": ACTOR}


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with smtp_server() as server:
        yield server


@pytest.fixture
def now(db: None) -> datetime:
    """The real time, which the cluster goes by too. There is a plan with tiers of 2, 5 and 10 contacts, and a trial."""
    call_command("load_catalogue", verbosity=0)
    make_plan("mini", {"two": 2, "five": 5, "ten": 10, "trial": 2}, trials=["trial"], at_limit="upgrade")
    return datetime.now(UTC)


def customer(slug: str, now: datetime, tier: str = "two", **fields: Any) -> Account:
    """A customer on the small plan, with a sync that can be replayed, whose period began 10 days ago."""
    began = now - timedelta(days=100)
    account = put_account(
        slug,
        now=began,
        name=f"{slug.title()} Ltd",
        billing_email=f"boss@{slug}.example",
        plan="mini",
        tier=tier,
        signed_up_at=began,
        anchor=now - timedelta(days=10),
        **fields,
    )
    put_connection(account, "crm", "contact_sync", now=began, name="CRM to newsletter")
    return account


def come(account: Account, first: int, last: int, at: datetime, **attributes: Any) -> None:
    deliver(account, people(first, last, source="crm", time=at, **attributes), now=at)


def subjects_to(server: SmtpServer, address: str) -> list[str]:
    return sorted(str(mail["Subject"]) for mail in server.messages if mail["To"] == address)


def bodies(mail: EmailMessage) -> tuple[str, str]:
    """The text part and the HTML part."""
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


def test_every_kind_of_mail_arrives_once_at_whom_it_is_for(now: datetime, server: SmtpServer):
    with cluster(EMAIL_URL=server.url):
        upgraded = customer("upgraded", now)
        come(upgraded, 0, 3, now)
        over = customer("over", now, "ten")
        come(over, 0, 11, now)
        paused = customer("paused", now, at_limit="pause")
        come(paused, 0, 3, now)
        steering.resume(paused, now=now, **BY)
        opted_out = customer("optedout", now)
        come(opted_out, 0, 1, now)
        put_account("optedout", now=now, signed_up_at=opted_out.signed_up_at, auto_upgrade=False)
        holding = customer("holding", now, at_limit="hold")
        come(holding, 0, 4, now - timedelta(days=84))
        trying = customer("trying", now, "trial", trial_ends_at=now - timedelta(hours=1))
        lapsing = customer("lapsing", now, "five")
        before_the_turn = now - timedelta(days=11)
        come(lapsing, 0, 1, before_the_turn, type="contact.matched")
        steering.downgrade(lapsing, "two", now=before_the_turn, **BY)
        come(lapsing, 1, 4, before_the_turn, type="contact.matched")
        due.run_due(now)
        eventually(lambda: set(Notification.objects.values_list("kind", flat=True)) == set(Kind.values), seconds=30)
        eventually(lambda: not Notification.objects.exclude(state="sent").exists(), seconds=60)
        eventually(lambda: not Job.objects.exclude(state="done").exists(), seconds=30)

    sent = Notification.objects.all()
    assert len(server.messages) == sent.count()
    assert len({mail["Message-ID"] for mail in server.messages}) == len(server.messages)
    for account in (upgraded, over, paused, opted_out, holding, trying, lapsing):
        own = sent.filter(account=account, audience="customer")
        assert len(subjects_to(server, account.billing_email)) == own.count() > 0, account.slug
    staff = [mail["Subject"] for mail in server.messages if mail["To"] == django_settings.SUPPORT_EMAIL]
    assert len(staff) == 2
    for mail in server.messages:
        if mail["To"] == django_settings.SUPPORT_EMAIL:
            continue
        text, html = bodies(mail)
        assert django_settings.SUPPORT_EMAIL in text
        assert django_settings.SUPPORT_EMAIL in html
        assert "/usage/?token=" in text
        assert "/usage/?token=" in html
    per_cent = [subject for mail in server.messages if "%" in (subject := str(mail["Subject"]))]
    assert len(per_cent) == sent.filter(kind="threshold").count()
    assert usage(Account.objects.get(slug="upgraded"), now)["tier"] == "five"
    assert usage(Account.objects.get(slug="over"), now)["state"] == "over_top_tier"


def test_what_is_held_is_replayed_by_the_cluster_when_the_next_period_begins(now: datetime, server: SmtpServer):
    account = customer("holding", now, at_limit="hold")
    before = now - timedelta(days=11)
    come(account, 0, 4, before)
    assert Event.objects.filter(state=EventState.HELD).count() == 2

    with cluster(EMAIL_URL=server.url):
        ensure_current(account, now)
        eventually(lambda: not Event.objects.filter(state=EventState.HELD).exists(), seconds=30)

    assert usage(account, now)["used"] == 2


def test_with_the_mail_server_away_intake_is_unaffected_and_every_mail_goes_out_once_afterwards(
    now: datetime, server: SmtpServer
):
    account = customer("stranded", now, "ten", at_limit="pause")
    server.stop()

    with cluster(EMAIL_URL=server.url):
        started = monotonic()
        for number in range(12):
            come(account, number, number + 1, now)
        assert monotonic() - started < 10
        eventually(lambda: Notification.objects.filter(tries__gte=1).count() == 3, seconds=30)
        assert server.messages == []
        server.start()
        an_hour_later = datetime.now(UTC)  # as far as the outbox and the queue are concerned
        Notification.objects.update(next_try_at=an_hour_later)
        Job.objects.filter(task="notifications.send").update(not_before=None, run_at=an_hour_later)
        sweep(an_hour_later)
        server.wait_for(3)
        eventually(lambda: Notification.objects.filter(state="sent").count() == 3)
        sweep(datetime.now(UTC) + timedelta(hours=1))

    assert sorted(str(mail["Subject"]) for mail in server.messages) == subjects_to(server, account.billing_email)
    assert len(server.messages) == 3
