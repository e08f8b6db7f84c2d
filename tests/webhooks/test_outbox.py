"""A message exists exactly if somebody wants it and what it tells of has happened, and once."""

import json

import pytest
from django.db import transaction
from django_q.models import OrmQ

from accounts.models import Account
from accounts.refusals import Refused
from jobs.models import Job
from tests.at_once import at_once
from tests.factories import ACTOR, NOW, rows
from tests.webhooks.messages import URL, listen, stored, tell
from webhooks import endpoints, outbox
from webhooks.models import Delivery, EventType, Message

pytestmark = pytest.mark.django_db


def test_the_payload_is_as_the_specification_has_it(acme: Account):
    listen()

    [row] = tell(acme, percent=80, at=NOW)

    assert stored(row).message.payload == (
        '{"type":"threshold.crossed","timestamp":"2026-11-22T12:00:00Z",'
        '"data":{"account":"acme","percent":80,"at":"2026-11-22T12:00:00Z"}}'
    )


def test_whoever_wants_to_know_gets_it_with_a_job_of_its_own(acme: Account, globex: Account):
    everything = listen()
    of_acme = listen(URL, acme)
    of_this_type = listen(URL, acme, "threshold.crossed", "period.closed")
    listen(URL, globex)
    listen(URL, None, "account.paused")
    off = listen()
    endpoints.disable(off, "no more", actor=ACTOR, now=NOW)

    deliveries = tell(acme)

    assert rows(Delivery, "endpoint_id") == [everything.pk, of_acme.pk, of_this_type.pk]
    assert rows(Job, "subject_id", task=outbox.DELIVER, account=acme) == deliveries
    assert OrmQ.objects.count() == 3


def test_without_a_listener_nothing_is_written_for_one_query(acme: Account, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert outbox.listeners(acme.pk, EventType.PERIOD_CLOSED) == []


def test_the_same_thing_is_told_once(acme: Account):
    listen()

    assert tell(acme, "80") == tell(acme, "80", percent=100)

    assert Message.objects.count() == Delivery.objects.count() == Job.objects.count() == 1


def test_two_accounts_may_be_told_the_same_key(acme: Account, globex: Account):
    listen()

    assert tell(acme, "80") != tell(globex, "80")


def test_replayed_history_is_written_and_no_job_is_made(acme: Account):
    listen()

    [row] = tell(acme, live=False)

    assert (stored(row).state, stored(row).next_try_at) == ("historical", None)
    assert Job.objects.count() == OrmQ.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_what_is_undone_was_never_told(acme: Account):
    listen()

    def change_and_fail() -> None:
        with transaction.atomic():
            tell(acme)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()

    assert Message.objects.count() == Delivery.objects.count() == Job.objects.count() == OrmQ.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_two_at_once_tell_it_once(acme: Account):
    listen()

    answers = at_once(lambda: tell(acme), lambda: tell(acme))

    assert [type(answer) for answer in answers] == [list, list]
    assert Message.objects.count() == Delivery.objects.count() == Job.objects.count() == 1


def test_the_public_id_differs_between_messages_and_has_no_dot(acme: Account):
    listen()
    first, second = (stored(row).message.public_id for key in ("1", "2") for row in tell(acme, key))

    assert first != second
    assert "." not in first + second


@pytest.mark.parametrize(
    ("url", "types", "code"),
    [
        ("http://hooks.example.com/", [], "bad_url"),
        ("https://10.0.0.1/", [], "bad_url"),
        (URL, ["period.opened"], "unknown_type"),
        (URL, ["period.closed", ""], "unknown_type"),
    ],
)
def test_an_endpoint_that_could_hear_nothing_is_refused(db: None, url: str, types: list[str], code: str):
    with pytest.raises(Refused) as refused:
        endpoints.create(url, account=None, types=types, actor=ACTOR, now=NOW)

    assert (refused.value.code, refused.value.status) == (code, 400)


def test_what_is_done_to_an_endpoint_is_audited_without_its_secrets(acme: Account):
    row = listen(URL, acme)
    rotated = endpoints.rotate_secret(row, actor=ACTOR, now=NOW)
    endpoints.disable(row, "they asked", actor=ACTOR, now=NOW)
    endpoints.enable(row, actor=ACTOR, now=NOW)
    endpoints.delete(row, actor=ACTOR, now=NOW)

    told = [entry for entry in acme.audit.order_by("pk") if entry.action.startswith("webhook")]
    assert [entry.action for entry in told] == [
        f"webhook_endpoint.{done}" for done in ("created", "secret_rotated", "disabled", "enabled", "deleted")
    ]
    text = json.dumps([[entry.before, entry.after, entry.reason] for entry in told])
    assert row.secret not in text
    assert rotated.secret not in text
    assert "whsec_" not in text


def test_disabling_and_enabling_again_changes_nothing_more(acme: Account):
    row = listen(URL, acme)

    assert endpoints.enable(row, actor=ACTOR, now=NOW) is False
    assert endpoints.disable(row, "they asked", actor=ACTOR, now=NOW) is True
    assert endpoints.disable(row, "once more", actor=ACTOR, now=NOW) is False
    row.refresh_from_db()
    assert row.disabled_because == "they asked"
