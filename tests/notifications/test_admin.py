"""What staff see of mails, and the one thing that they may do with them."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import Account, User
from notifications import outbox
from notifications.models import Kind, Notification, NotificationState
from tests.factories import NOW
from tests.notifications.facts import facts

LIST = reverse("admin:notifications_notification_changelist")


def post(account: Account, key: str, state: NotificationState = NotificationState.PENDING) -> Notification:
    """A mail in some state."""
    row = outbox.post(account.pk, Kind.THRESHOLD, facts(), key=key, at=NOW, live=True, percent=80)
    row.state = state
    row.sent_at = NOW if state == NotificationState.SENT else None
    row.error = "550 no such user" if state == NotificationState.FAILED else ""
    row.save()
    return row


def login(*permissions: str) -> Client:
    """Somebody of staff with these permissions."""
    user = User.objects.create(username="sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def manager(acme: Account) -> Client:
    """May look, and send again."""
    return login("view_notification", "change_notification")


def page_of(client: Client, row: Notification) -> str:
    """The page of one mail."""
    answer = client.get(reverse("admin:notifications_notification_change", args=[row.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def send_again(client: Client, *rows: Notification) -> str:
    """Choose the action for some rows; the list that follows."""
    data = {"action": "send_again", "_selected_action": [row.pk for row in rows]}
    return client.post(LIST, data, follow=True).content.decode()


def test_the_list_is_found_by_state_kind_and_account(manager: Client, acme: Account):
    failed, waiting = post(acme, "80", NotificationState.FAILED), post(acme, "100")

    def found(**query: str) -> list[Notification]:
        return list(manager.get(LIST, query).context["cl"].result_list)

    assert found() == found(kind__exact="threshold") == found(q="acme") == [waiting, failed]
    assert found(state__exact="failed") == [failed]
    assert found(q="globex") == found(kind__exact="paused") == []


def test_a_mail_shows_what_it_says_and_what_went_wrong(manager: Client, acme: Account):
    page = page_of(manager, post(acme, "80", NotificationState.FAILED))

    assert "Acme Ltd has used 80 % of its limit of 1,000 active contacts" in page
    assert "812 of 1,000 active contacts (81 %)" in page
    assert "550 no such user" in page


def test_a_mail_shows_no_link_that_opens_anything_and_no_markup_of_others(manager: Client, acme: Account):
    Account.objects.filter(pk=acme.pk).update(name="<script>alert(1)</script>")

    page = page_of(manager, post(acme, "80"))

    assert "/usage/?token=..." in page
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_row_that_no_mail_can_be_made_of_still_opens(manager: Client, acme: Account):
    row = post(acme, "80")
    row.facts = {"unit": "nonsense"}
    row.save()

    assert "This mail cannot be composed" in page_of(manager, row)


def test_failed_mails_are_sent_again_and_others_are_not(manager: Client, acme: Account):
    failed = post(acme, "80", NotificationState.FAILED)
    sent = post(acme, "100", NotificationState.SENT)

    page = send_again(manager, failed, sent)

    assert "1 will be sent again." in page
    assert "This mail was sent already." in page
    failed.refresh_from_db()
    sent.refresh_from_db()
    assert (failed.state, sent.state) == ("pending", "sent")


def test_who_may_only_look_sends_nothing(acme: Account):
    failed = post(acme, "80", NotificationState.FAILED)

    page = send_again(login("view_notification"), failed)

    assert "will be sent again" not in page
    failed.refresh_from_db()
    assert failed.state == "failed"
