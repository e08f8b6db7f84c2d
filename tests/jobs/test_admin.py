"""Staff see the queue and can have a parked job tried again; nothing else changes it."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import Account, AuditEntry, User
from jobs.models import Job, JobState
from tests.conftest import StoppedClock
from tests.factories import NOW, rows
from tests.jobs.conftest import TASK, Register, handed_out, put

pytestmark = pytest.mark.django_db

LIST = "/admin/jobs/job/"


def member(*permissions: str) -> Client:
    """A member of staff who may do so much."""
    user = User.objects.create(username="sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def try_again(client: Client, *jobs: Job) -> str:
    """What the page says after the action was asked for."""
    chosen = {"action": "try_again", "_selected_action": [job.pk for job in jobs]}
    return client.post(LIST, chosen, follow=True).content.decode()


def test_a_parked_job_is_tried_again_and_the_trail_says_by_whom(acme: Account, clock: StoppedClock) -> None:
    job = put(account=acme, state=JobState.PARKED, finished_at=NOW, attempts=3, error="ValueError: <b>ann</b>")

    assert "1 jobs are tried again." in try_again(member("view_job", "change_job"), job)

    job.refresh_from_db()
    assert (job.state, job.attempts, handed_out()) == ("queued", 0, [job.pk])
    [entry] = AuditEntry.objects.filter(action="job.tried_again")
    assert (entry.account, entry.actor, entry.at) == (acme, "sam", NOW)
    assert entry.before == {"job": job.pk, "task": TASK, "subject_id": 7, "state": "parked"}


def test_what_is_not_parked_is_left_as_it_is_and_that_is_said() -> None:
    jobs = [put(), put(state=JobState.DONE, finished_at=NOW), put(state=JobState.PARKED, finished_at=NOW)]

    said = try_again(member("view_job", "change_job"), *jobs)

    assert "1 jobs are tried again. 2 were not parked and are left as they are." in said
    assert rows(Job, "state") == ["done", "queued", "queued"]
    assert len(rows(AuditEntry, "action")) == 1


def test_who_may_only_look_is_not_offered_it_and_cannot_do_it() -> None:
    job = put(state=JobState.PARKED, finished_at=NOW)
    client = member("view_job")

    assert "Try again" not in client.get(LIST).content.decode()
    try_again(client, job)

    assert (rows(Job, "state"), handed_out()) == (["parked"], [])


def test_who_may_try_again_still_cannot_edit_or_delete() -> None:
    job = put(state=JobState.PARKED, finished_at=NOW)
    client = member("view_job", "add_job", "change_job", "delete_job")

    assert "Try again" in client.get(LIST).content.decode()
    assert client.post(reverse("admin:jobs_job_change", args=[job.pk]), {"attempts": 0}).status_code == 403
    assert client.post(reverse("admin:jobs_job_delete", args=[job.pk]), {"post": "yes"}).status_code == 403
    assert client.post(LIST, {"action": "delete_selected", "_selected_action": [job.pk]}).status_code in (200, 302)
    assert rows(Job, "state") == ["parked"]


def test_jobs_are_found_by_state_and_task(register: Register) -> None:
    register(lambda subject_id, now: None)
    put(error="the-one", state=JobState.PARKED, finished_at=NOW)
    put(error="of-another-task", task="tests.other", state=JobState.PARKED, finished_at=NOW)
    put(error="still-queued")

    page = member("view_job").get(LIST, {"state__exact": "parked", "task": TASK}).content.decode()

    assert ("the-one" in page, "of-another-task" in page, "still-queued" in page) == (True, False, False)


@pytest.mark.parametrize("query", ["task=nonsense", "task=%00", "task=", "state__exact=%00", "error__contains=a"])
def test_no_filter_breaks_the_page(query: str) -> None:
    assert member("view_job").get(f"{LIST}?{query}").status_code in (200, 302, 400)


def test_what_went_wrong_is_shown_as_text() -> None:
    job = put(error="javascript:alert(1)//<img src=x onerror=alert(1)>\nsecond line")
    client = member("view_job")

    listed = client.get(LIST).content.decode()
    shown = client.get(reverse("admin:jobs_job_change", args=[job.pk])).content.decode()

    for page in (listed, shown):
        assert "javascript:alert(1)//&lt;img src=x onerror=alert(1)&gt;" in page
        assert "<img src=x" not in page
        assert 'href="javascript:alert' not in page
    assert "second line" not in listed
    assert "second line" in shown
