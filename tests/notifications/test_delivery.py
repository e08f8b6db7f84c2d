"""Mails go out once over real SMTP, whatever the mail server does; what cannot be sent is seen."""

import re
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection, transaction
from django_q.models import OrmQ

from accounts import usage_link
from accounts.models import Account
from accounts.refusals import Refused
from jobs import row_lock
from jobs.models import Job
from jobs.registry import TASKS, TryAgain
from jobs.waits import MOST_TRIES, next_wait
from notifications import delivery, outbox
from notifications.models import Audience, Kind, Notification, NotificationState
from tests.factories import NOW, put_account
from tests.notifications.facts import facts
from tests.smtp import DISCONNECT, KEEP_AND_DISCONNECT, OK, SILENT, Script, SmtpServer, smtp_server

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def server(settings: LazySettings) -> Iterator[SmtpServer]:
    """A mail server, and Headcount set up to use it."""
    settings.DEFAULT_FROM_EMAIL = "Headcount <headcount@example.com>"
    settings.SUPPORT_EMAIL = "support@example.com"
    settings.BASE_URL = "https://billing.example.com"
    with smtp_server() as server:
        settings.MAILERS = server.mailers()
        yield server


def post(account: Account, kind: Kind = Kind.THRESHOLD, *, key: str = "80", live: bool = True, **how: Any) -> int:
    """A notification in the outbox, by its id."""
    row = outbox.post(account.pk, kind, facts(), key=key, at=NOW, live=live, **{"percent": 80, **how})
    return row.pk


def stored(notification_id: int) -> Notification:
    """As it is now."""
    return Notification.objects.get(pk=notification_id)


def try_at(notification_id: int, now: datetime) -> TryAgain | None:
    """What the task says: to try again, or (None) that it is done."""
    try:
        TASKS["notifications.send"](notification_id, now)
    except TryAgain as later:
        return later
    return None


def run_from(notification_id: int, now: datetime, until: datetime) -> datetime:
    """Do as the runner does: try whenever it is due; the time at which the task was done, or would be tried next."""
    while now < until:
        later = try_at(notification_id, now)
        if later is None:
            return now
        assert later.at > now
        now = later.at
    return now


def text_of(mail: EmailMessage, kind: str) -> str:
    """One of the two parts."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_a_mail_reaches_the_main_address_in_two_parts(server: SmtpServer, acme: Account):
    sent = post(acme)

    assert try_at(sent, NOW + MINUTE) is None

    [mail] = server.messages
    assert server.sent_to == [["billing@acme.example"]]
    assert mail["Subject"] == "Acme Ltd has used 80 % of its limit of 1,000 active contacts"
    assert (mail["To"], mail["From"]) == ("billing@acme.example", "Headcount <headcount@example.com>")
    assert (mail["Reply-To"], mail["Auto-Submitted"]) == ("support@example.com", "auto-generated")
    assert mail["Date"].datetime == NOW + MINUTE
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    for kind in ("plain", "html"):
        assert "812 of 1,000 active contacts" in text_of(mail, kind)


def test_what_was_sent_is_in_the_row(server: SmtpServer, acme: Account):
    sent = post(acme)
    try_at(sent, NOW + MINUTE)

    row = stored(sent)
    assert (row.state, row.sent_at, row.sent_to) == ("sent", NOW + MINUTE, "billing@acme.example")
    assert (row.tries, row.error, row.next_try_at) == (0, "", None)


def test_a_customers_link_opens_the_usage_of_that_account_for_90_days(server: SmtpServer, acme: Account):
    try_at(post(acme), NOW)

    text = text_of(server.messages[0], "plain")
    found = re.search(r"https://billing.example.com/usage/\?token=(\S+)", text)
    assert found
    assert usage_link.read(found[1], NOW + 90 * DAY - MINUTE) == ("acme", False)
    assert found[1] in text_of(server.messages[0], "html")


def test_staff_get_theirs_at_the_support_address_with_a_link_into_the_backoffice(server: SmtpServer, acme: Account):
    try_at(post(acme, Kind.OVER_TOP_TIER, audience=Audience.STAFF), NOW)

    [mail] = server.messages
    assert server.sent_to == [["support@example.com"]]
    assert mail["Subject"] == "[acme] Acme Ltd is above the highest tier"
    assert f"https://billing.example.com/admin/accounts/account/{acme.pk}/change/" in text_of(mail, "plain")
    assert "token=" not in mail.as_string()


def test_the_support_address_may_have_a_name(server: SmtpServer, settings: LazySettings, acme: Account):
    settings.SUPPORT_EMAIL = "Our Support <support@example.com>"

    try_at(post(acme, Kind.OVER_TOP_TIER, audience=Audience.STAFF), NOW)
    try_at(post(acme), NOW)

    assert server.sent_to == [["support@example.com"], ["billing@acme.example"]]
    assert server.messages[1]["Reply-To"] == "Our Support <support@example.com>"


def test_names_in_any_script_arrive_as_they_are(server: SmtpServer, acme: Account):
    Account.objects.filter(pk=acme.pk).update(name="Bäckerei 北京 🦊 GmbH", billing_email="post@bäckerei.example")
    try_at(post(acme), NOW)

    [mail] = server.messages
    assert str(mail["Subject"]).startswith("Bäckerei 北京 🦊 GmbH has used 80 %")
    assert "Bäckerei 北京 🦊 GmbH" in text_of(mail, "plain")
    assert "Bäckerei 北京 🦊 GmbH" in text_of(mail, "html")
    assert server.sent_to == [["post@xn--bckerei-5wa.example"]]


def test_a_name_injects_no_header(server: SmtpServer, acme: Account):
    Account.objects.filter(pk=acme.pk).update(name="Acme\r\nBcc: all@example.com\r\n\r\n<b>Hi</b>" + "x" * 100)
    try_at(post(acme), NOW)

    [mail] = server.messages
    assert mail["Bcc"] is None
    assert "\n" not in str(mail["Subject"])
    assert server.sent_to == [["billing@acme.example"]]
    assert "<b>Hi" not in text_of(mail, "html")


def test_it_is_sent_once(server: SmtpServer, acme: Account):
    sent = post(acme)

    for minute in range(3):
        assert try_at(sent, NOW + minute * MINUTE) is None

    assert len(server.messages) == 1
    assert server.conversations == 1


def test_replayed_history_is_never_sent(server: SmtpServer, acme: Account):
    old = post(acme, live=False)

    assert try_at(old, NOW) is None

    assert (server.conversations, stored(old).state) == (0, "historical")


@pytest.mark.django_db(transaction=True)
def test_two_tasks_at_once_send_once(server: SmtpServer, acme: Account):
    sent = post(acme)
    ready = threading.Barrier(2)
    said: list[TryAgain | None] = []

    def run() -> None:
        try:
            ready.wait()
            said.append(try_at(sent, NOW))
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(server.messages) == 1
    assert None in said
    assert stored(sent).state == "sent"


@pytest.mark.django_db(transaction=True)
def test_a_task_that_finds_the_mail_in_other_hands_for_long_looks_again_later(
    server: SmtpServer, acme: Account, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(row_lock, "WAIT_FOR_SOMEBODY_ELSE", "100ms")
    sent = post(acme)
    said: list[TryAgain | None] = []

    def run() -> None:
        try:
            said.append(try_at(sent, NOW))
        finally:
            connection.close()

    with transaction.atomic():
        Notification.objects.select_for_update().get(pk=sent)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(5)
        assert not thread.is_alive(), "it waits for ever"

    [later] = said
    assert later is not None
    assert (later.at, server.conversations) == (NOW + MINUTE, 0)


def test_mails_of_an_account_arrive_in_the_order_of_what_happened_whichever_task_comes_first(
    server: SmtpServer, acme: Account
):
    first, second = post(acme, key="80"), post(acme, key="100", percent=100)

    assert try_at(second, NOW) is None
    assert try_at(first, NOW) is None

    assert ["80 %" in str(mail["Subject"]) for mail in server.messages] == [True, False]


def test_a_mail_that_cannot_go_now_does_not_keep_the_next_one(server: SmtpServer, acme: Account):
    first, second = post(acme, key="80"), post(acme, key="100", percent=100)
    server.script({"RCPT": "451 later"})

    try_at(second, NOW)

    assert [stored(each).state for each in (first, second)] == ["pending", "sent"]


LATER: dict[str, tuple[Script, str]] = {
    "busy at the door": ({"CONNECT": "421 too many"}, "no conversation with the mail server"),
    "closed for us": ({"CONNECT": "554 not you"}, "554 not you"),
    "no greeting": ({"CONNECT": SILENT}, "no conversation with the mail server"),
    "hangs up": ({"EHLO": DISCONNECT}, "went away or said nothing"),
    "greets nobody": ({"EHLO": "550 no", "HELO": "550 no"}, "550 no"),
    "greylisted": (
        {"RCPT": "451 come back in 5 minutes"},
        "the recipient was not accepted: 451 come back in 5 minutes",
    ),
    "sender put off": ({"MAIL": "450 later"}, "the sender was not accepted: 450 later"),
    "wants a login": ({"MAIL": "530 authentication required"}, "530 authentication required"),
    "shuts down midway": ({"RCPT": "421 shutting down"}, "421 shutting down"),
    "full": ({"END": "452 no room"}, "the mail was not accepted: 452 no room"),
    "gone before it answers": ({"END": DISCONNECT}, "went away or said nothing"),
    "never answers": ({"END": SILENT}, "went away or said nothing"),
}


@pytest.mark.parametrize(("script", "words"), LATER.values(), ids=LATER)
def test_trouble_that_passes_is_tried_again(
    server: SmtpServer, settings: LazySettings, acme: Account, script: Script, words: str
):
    settings.MAILERS = server.mailers(timeout=0.4)
    server.script(script, OK)
    sent = post(acme)

    later = try_at(sent, NOW)

    row = stored(sent)
    assert later is not None
    assert later.at == row.next_try_at == NOW + MINUTE
    assert words in row.error
    assert (row.state, row.tries, server.messages) == ("pending", 1, [])

    assert try_at(sent, NOW + MINUTE) is None
    assert len(server.messages) == 1
    assert (stored(sent).state, stored(sent).error) == ("sent", "")


FOREVER: dict[str, tuple[Script, str]] = {
    "no such person": ({"RCPT": "550 no such user"}, "the recipient was not accepted: 550 no such user"),
    "sender blocked": ({"MAIL": "550 we do not know you"}, "the sender was not accepted: 550 we do not know you"),
    "text refused": ({"END": "554 looks like spam"}, "the mail was not accepted: 554 looks like spam"),
    "no data wanted": ({"DATA": "554 no"}, "the mail was not accepted: 554 no"),
    "rude": ({"END": "554 \x00\x1b[31m\xff"}, "554"),
}


@pytest.mark.parametrize(("script", "words"), FOREVER.values(), ids=FOREVER)
def test_a_refusal_for_good_is_kept_where_staff_see_it(server: SmtpServer, acme: Account, script: Script, words: str):
    server.script(script)
    sent = post(acme)

    assert try_at(sent, NOW) is None
    assert try_at(sent, NOW + DAY) is None

    row = stored(sent)
    assert words in row.error
    assert (row.state, row.tries, row.next_try_at, row.sent_at) == ("failed", 1, None, None)
    assert (server.messages, server.conversations) == ([], 1)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "no main e-mail address"),
        ("nobody", "is no address"),
        (" ", "is no address"),
        ("Ann <ann@example.com>", "is no address"),
        ("jörg@example.com", "is no address"),
        ("a@b.example, c@d.example", "is no address"),
        ("a@b.example\r\nBcc: c@d.example", "is no address"),
    ],
)
def test_an_address_that_is_none_is_not_tried(server: SmtpServer, acme: Account, address: str, why: str):
    Account.objects.filter(pk=acme.pk).update(billing_email=address)
    sent = post(acme)

    assert try_at(sent, NOW) is None

    assert why in stored(sent).error
    assert (stored(sent).state, server.conversations) == ("failed", 0)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("smtp+tls://127.0.0.1:{port}", "STARTTLS"),
        ("smtp+ssl://127.0.0.1:{port}", "no conversation with the mail server"),
        ("smtp://user:wrong@127.0.0.1:{port}", "535 who?"),
        ("smtp://no-such-host.invalid", "no conversation with the mail server"),
    ],
)
def test_what_an_administrator_must_set_right_is_tried_again(
    server: SmtpServer, settings: LazySettings, acme: Account, url: str, words: str
):
    server.script({"AUTH": "535 who?"})
    settings.MAILERS = server.mailers(url=url.format(port=server.url.rpartition(":")[2]), timeout=0.4)
    sent = post(acme)

    assert try_at(sent, NOW) is not None
    assert words in stored(sent).error

    settings.MAILERS = server.mailers()
    assert try_at(sent, NOW + MINUTE) is None
    assert len(server.messages) == 1


def test_a_sender_address_that_is_none_waits_for_an_administrator(
    server: SmtpServer, settings: LazySettings, acme: Account
):
    settings.DEFAULT_FROM_EMAIL = "Head count at example"
    sent = post(acme)

    assert try_at(sent, NOW) is not None

    assert "DEFAULT_FROM_EMAIL" in stored(sent).error


def test_a_mail_server_that_is_down_for_an_hour_delays_mails_and_loses_none(server: SmtpServer, acme: Account):
    server.stop()
    mails = [post(acme, key=key) for key in ("80", "100")]
    due = [run_from(each, NOW, NOW + HOUR) for each in mails]
    assert [stored(each).tries for each in mails] == [6, 6]
    assert "Connection refused" in stored(mails[0]).error

    server.start()
    for each, at in zip(mails, due, strict=True):
        run_from(each, at, NOW + DAY)

    assert len(server.messages) == 2
    assert [stored(each).state for each in mails] == ["sent", "sent"]
    assert stored(mails[0]).sent_at == NOW + HOUR + 3 * MINUTE


def test_after_three_days_a_person_must_look(server: SmtpServer, acme: Account):
    server.stop()
    sent = post(acme)

    given_up_at = run_from(sent, NOW, NOW + 30 * DAY)

    row = stored(sent)
    assert NOW + 3 * DAY - HOUR <= given_up_at <= NOW + 3 * DAY + HOUR
    assert row.state == "failed"
    assert row.error.startswith(f"given up after {MOST_TRIES} tries in three days; the last one:")


def test_the_waits_grow_from_a_minute_to_an_hour():
    waits = [next_wait(tries) for tries in range(1, MOST_TRIES + 1)]

    assert waits[:8] == [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, HOUR]
    assert waits[-1] is None


def test_the_address_is_the_one_of_the_moment(server: SmtpServer, acme: Account):
    server.script({"RCPT": "451 later"})
    sent = post(acme)
    try_at(sent, NOW)

    put_account("acme", billing_email="new@acme.example", signed_up_at=acme.signed_up_at)
    try_at(sent, NOW + MINUTE)

    assert server.sent_to == [["new@acme.example"]]
    assert stored(sent).sent_to == "new@acme.example"


def test_the_numbers_are_those_of_the_moment_it_tells_of(server: SmtpServer, acme: Account):
    sent = post(acme)
    put_account("acme", limit_override=5_000, signed_up_at=acme.signed_up_at)

    try_at(sent, NOW + DAY)

    assert "812 of 1,000 active contacts" in text_of(server.messages[0], "plain")


def test_a_mail_that_was_taken_unheard_comes_again_under_the_same_id(server: SmtpServer, acme: Account):
    server.script({"END": KEEP_AND_DISCONNECT})
    sent, other = post(acme), post(acme, key="100")

    run_from(sent, NOW, NOW + HOUR)
    run_from(other, NOW, NOW + HOUR)

    first, second, third = (mail["Message-ID"] for mail in server.messages)
    assert first == second != third
    assert first.endswith("@billing.example.com>")


def test_a_goodbye_that_fails_does_not_send_a_second_mail(server: SmtpServer, acme: Account):
    server.script({"QUIT": DISCONNECT})
    sent = post(acme)

    assert try_at(sent, NOW) is None

    assert stored(sent).state == "sent"


def test_the_row_is_written_before_the_runner_hears_of_it(server: SmtpServer, acme: Account):
    server.script({"RCPT": "451 later"})
    sent = post(acme)

    with pytest.raises(TryAgain, match="451 later"):
        delivery.send(sent, NOW)

    assert stored(sent).tries == 1


def test_a_failed_mail_is_sent_again_when_staff_say_so(server: SmtpServer, acme: Account):
    server.script({"RCPT": "550 no such user"})
    sent = post(acme)
    try_at(sent, NOW)
    before = Job.objects.filter(task=outbox.SEND, subject_id=sent).count()

    delivery.resend(stored(sent), NOW + HOUR)

    row = stored(sent)
    assert (row.state, row.tries, row.next_try_at) == ("pending", 0, NOW + HOUR)
    assert Job.objects.filter(task=outbox.SEND, subject_id=sent, account=acme).count() == before + 1
    assert OrmQ.objects.count() == before + 1
    assert try_at(sent, NOW + HOUR) is None
    assert len(server.messages) == 1


def test_what_did_not_fail_is_not_sent_again(server: SmtpServer, acme: Account):
    sent, waiting, old = post(acme, key="100"), post(acme), post(acme, key="old", live=False)
    try_at(sent, NOW)

    for notification_id, code in ((waiting, "not_failed"), (sent, "already_sent"), (old, "not_failed")):
        with pytest.raises(Refused) as refused:
            delivery.resend(stored(notification_id), NOW)
        assert refused.value.code == code

    assert [stored(each).state for each in (waiting, sent, old)] == ["pending", "sent", "historical"]


def test_a_mail_that_nobody_posted_is_a_mistake(db: None):
    with pytest.raises(Notification.DoesNotExist):
        delivery.send(0, NOW)


def test_every_kind_goes_through(server: SmtpServer, acme: Account):
    for kind in Kind:
        for audience in Audience:
            assert try_at(post(acme, kind, audience=audience), NOW) is None

    assert len(server.messages) == len(Kind) * len(Audience)
    assert not Notification.objects.exclude(state=NotificationState.SENT).exists()
