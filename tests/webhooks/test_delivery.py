"""Messages arrive over real HTTPS, signed, whatever the receiver does; what was given up is seen."""

import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from standardwebhooks import Webhook

from accounts.models import Account, AuditEntry
from accounts.refusals import Refused
from jobs.models import Job
from jobs.registry import TryAgain
from jobs.waits import next_wait
from tests.factories import ACTOR, NOW
from tests.webhooks.messages import listen, run_from, stored, tell, try_at
from tests.webhooks.receiver import Receiver, Script, endless, hangs_up, says, silent
from webhooks import delivery, endpoints, outbox
from webhooks.models import Delivery, Endpoint

pytestmark = pytest.mark.django_db

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def test_what_arrives_is_verified_with_the_published_library(server: Receiver, acme: Account):
    endpoint, now = listen(server.url), datetime.now(UTC)
    [row] = tell(acme, now=now, percent=80)

    assert try_at(row, now, server.net()) is None

    [heard] = server.heard
    assert Webhook(endpoint.secret).verify(heard.body, heard.headers) == {
        "type": "threshold.crossed",
        "timestamp": now.isoformat().replace("+00:00", "Z"),
        "data": {"account": "acme", "percent": 80},
    }
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["webhook-id"] == stored(row).message.public_id


def test_what_was_sent_is_in_the_row(server: Receiver, acme: Account):
    listen(server.url)
    [row] = tell(acme)

    try_at(row, NOW + MINUTE, server.net())

    sent = stored(row)
    assert (sent.state, sent.sent_at, sent.status) == ("sent", NOW + MINUTE, 204)
    assert (sent.tries, sent.error, sent.next_try_at) == (0, "", None)


def test_it_is_sent_once(server: Receiver, acme: Account):
    listen(server.url)
    [row] = tell(acme)

    for minute in range(3):
        assert try_at(row, NOW + minute * MINUTE, server.net()) is None

    assert len(server.heard) == 1


def test_replayed_history_is_never_sent(server: Receiver, acme: Account):
    listen(server.url)
    [row] = tell(acme, live=False)

    assert try_at(row, NOW, server.net()) is None

    assert (server.connections, stored(row).state) == (0, "historical")


def test_by_default_nothing_is_sent_to_this_machine(server: Receiver, acme: Account):
    listen(server.url)
    [row] = tell(acme)

    with pytest.raises(TryAgain):
        delivery.deliver(row, NOW)

    assert server.connections == 0


@pytest.mark.django_db(transaction=True)
def test_two_tasks_at_once_send_once(server: Receiver, acme: Account):
    listen(server.url)
    [row] = tell(acme)
    ready = threading.Barrier(2)
    said: list[Any] = []

    def run() -> None:
        try:
            ready.wait()
            said.append(try_at(row, NOW, server.net()))
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(server.heard) == 1
    assert None in said


REFUSALS: dict[str, tuple[Script, int | None, str]] = {
    "broken": (says(500, b"Traceback"), 500, "the endpoint answered 500"),
    "down": (says(503), 503, "the endpoint answered 503"),
    "busy": (says(429), 429, "the endpoint answered 429"),
    "a bad request": (says(400, b"no"), 400, "the endpoint answered 400"),
    "not there": (says(404), 404, "the endpoint answered 404"),
    "moved": (says(301, Location="https://127.0.0.1/"), 301, "a redirect, which is not followed"),
    "found on this machine": (says(302, Location="https://localhost/"), 302, "a redirect, which is not followed"),
    "post there": (says(307, Location="https://169.254.169.254/"), 307, "a redirect, which is not followed"),
    "not modified": (says(304), 304, "a redirect, which is not followed"),
    "hangs up": (hangs_up, None, "no answer"),
    "silent": (silent, None, "no answer within 0.5 seconds"),
    "huge": (endless(500), 500, "the endpoint answered 500"),
}


@pytest.mark.parametrize(("script", "status", "words"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_no_success_is_tried_again(
    server: Receiver, acme: Account, script: Script, status: int | None, words: str
):
    listen(server.url)
    [row] = tell(acme)
    server.script(script)

    later = try_at(row, NOW, server.net(seconds=0.5))

    waits = stored(row)
    assert later is not None
    assert later.at == waits.next_try_at == NOW + MINUTE
    assert words in waits.error
    assert (waits.state, waits.tries, waits.status) == ("pending", 1, status)
    assert try_at(row, NOW + MINUTE, server.net()) is None
    assert (stored(row).state, stored(row).error) == ("sent", "")


def test_the_answer_is_kept_where_staff_see_it(server: Receiver, acme: Account):
    listen(server.url)
    [row] = tell(acme)
    server.script(says(422, b"\0<b>unknown account</b>" + b"x" * 1000))

    try_at(row, NOW, server.net())

    assert stored(row).answer.startswith("<b>unknown account</b>xxx")
    assert len(stored(row).answer) == 500


def test_every_attempt_has_the_same_id_and_body_and_a_time_of_its_own(server: Receiver, acme: Account):
    endpoint, now = listen(server.url), datetime.now(UTC)
    [row] = tell(acme, now=now)
    server.script(says(500), says(500))

    run_from(row, now, now + HOUR, server.net())

    assert len({(heard.headers["webhook-id"], heard.body) for heard in server.heard}) == 1
    times = [int(heard.headers["webhook-timestamp"]) for heard in server.heard]
    assert [at - times[0] for at in times] == [0, 60, 180]
    for heard in server.heard:
        Webhook(endpoint.secret).verify(heard.body, heard.headers)


def test_a_message_that_is_not_accepted_keeps_no_other_waiting(server: Receiver, acme: Account):
    listen(server.url)
    [first], [second] = tell(acme, "80"), tell(acme, "100")
    server.script(says(500))

    try_at(first, NOW, server.net())
    try_at(second, NOW, server.net())

    assert [stored(row).state for row in (first, second)] == ["pending", "sent"]


def test_a_silent_endpoint_is_asked_once_and_rests_while_others_are_served(server: Receiver, acme: Account):
    listen(server.url)
    listen(f"https://other.example:{server.port}/")
    deliveries = [row for number in range(5) for row in tell(acme, str(number))]
    of_silent, of_other = deliveries[::2], deliveries[1::2]
    server.script(silent)

    for row in (*of_silent, *of_other):
        try_at(row, NOW, server.net(seconds=0.5))

    assert [stored(row).tries for row in of_silent] == [1, 0, 0, 0, 0]
    assert {stored(row).next_try_at for row in of_silent} == {NOW + MINUTE}
    assert {stored(row).state for row in of_other} == {"sent"}
    assert len(server.heard) == 1 + 5


def test_an_endpoint_that_answers_again_rests_no_longer(server: Receiver, acme: Account):
    endpoint = listen(server.url)
    deliveries = [row for number in range(3) for row in tell(acme, str(number))]
    server.script(hangs_up)
    for row in deliveries:
        try_at(row, NOW, server.net())

    for row in deliveries:
        assert try_at(row, NOW + MINUTE, server.net()) is None

    endpoint.refresh_from_db()
    assert (endpoint.silences, endpoint.rests_until) == (0, None)


def test_the_rests_of_a_dead_endpoint_grow_to_an_hour(server: Receiver, acme: Account):
    endpoint, rests = listen("https://hooks.example:1/"), []
    [row] = tell(acme)
    now = NOW
    for _ in range(8):
        later = try_at(row, now, server.net())
        assert later is not None
        endpoint.refresh_from_db()
        assert endpoint.rests_until is not None
        rests.append(endpoint.rests_until - now)
        now = later.at

    assert rests == [next_wait(tries) for tries in range(1, 9)]


def test_after_three_days_a_person_must_look(server: Receiver, acme: Account):
    listen("https://hooks.example:1/")
    [first], [second] = tell(acme, "80"), tell(acme, "100")

    due, ended = {first: NOW, second: NOW}, {}
    while due:
        row = min(due, key=lambda each: due[each])
        now = due.pop(row)
        later = try_at(row, now, server.net())
        if later is None:
            ended[row] = now
        else:
            due[row] = later.at

    for row in (first, second):
        assert NOW + 3 * DAY - 2 * HOUR <= ended[row] <= NOW + 3 * DAY
        assert stored(row).state == "failed"
        assert re.match(r"given up after \d+ tries in three days; the last one: ", stored(row).error)


def test_who_answers_that_it_is_gone_is_disabled(server: Receiver, acme: Account):
    endpoint = listen(server.url, acme)
    [first], [second] = tell(acme, "80"), tell(acme, "100")
    server.script(says(410))

    for row in (first, second):
        assert try_at(row, NOW, server.net()) is None

    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_at) == (False, NOW)
    assert endpoint.disabled_because == "it answered 410 Gone"
    assert [stored(row).state for row in (first, second)] == ["failed", "failed"]
    assert len(server.heard) == 1
    assert tell(acme, "later") == []
    assert AuditEntry.objects.filter(account=acme, action="webhook_endpoint.disabled", actor="webhooks").count() == 1


def test_while_a_secret_is_replaced_both_sign_and_afterwards_the_new_one(server: Receiver, acme: Account):
    now = datetime.now(UTC)
    old = listen(server.url, now=now)
    new = endpoints.rotate_secret(old, actor=ACTOR, now=now - 7 * DAY + MINUTE)
    [row], [later] = tell(acme, "80", now=now), tell(acme, "100", now=now)

    try_at(row, now, server.net())
    try_at(later, now + MINUTE, server.net())

    during, after = server.heard
    for secret in (old.secret, new.secret):
        Webhook(secret).verify(during.body, during.headers)
    assert len(during.headers["webhook-signature"].split()) == 2
    assert len(after.headers["webhook-signature"].split()) == 1
    Webhook(new.secret).verify(after.body, after.headers)


def test_a_failed_one_is_sent_again_when_staff_say_so(server: Receiver, acme: Account):
    listen(server.url)
    [row] = tell(acme)
    Delivery.objects.filter(pk=row).update(state="failed", tries=76, next_try_at=None, error="given up")
    before = Job.objects.filter(task=outbox.DELIVER, subject_id=row).count()

    delivery.send_again(stored(row), NOW + 9 * DAY)

    again = stored(row)
    assert (again.state, again.tries, again.next_try_at) == ("pending", 0, NOW + 9 * DAY)
    assert Job.objects.filter(task=outbox.DELIVER, subject_id=row, account=acme).count() == before + 1
    assert try_at(row, NOW + 9 * DAY, server.net()) is None
    assert stored(row).state == "sent"


def test_a_sent_one_is_sent_again_under_the_same_id(server: Receiver, acme: Account):
    listen(server.url)
    [row] = tell(acme)
    try_at(row, NOW, server.net())

    delivery.send_again(stored(row), NOW + HOUR)
    server.script(says(500))
    run_from(row, NOW + HOUR, NOW + DAY, server.net())

    assert len({heard.headers["webhook-id"] for heard in server.heard}) == 1
    assert len(server.heard) == 3
    assert stored(row).sent_at == NOW + HOUR + MINUTE


def test_what_waits_or_is_history_or_has_no_ear_is_not_sent_again(server: Receiver, acme: Account):
    endpoint = listen(server.url)
    [waiting], [old], [deaf] = tell(acme, "80"), tell(acme, "old", live=False), tell(acme, "100")
    try_at(deaf, NOW, server.net())
    endpoints.disable(endpoint, "no more", actor=ACTOR, now=NOW)

    for row, code in ((waiting, "not_sent_yet"), (old, "historical"), (deaf, "endpoint_disabled")):
        with pytest.raises(Refused) as refused:
            delivery.send_again(stored(row), NOW)
        assert refused.value.code == code

    assert [stored(row).state for row in (waiting, old, deaf)] == ["pending", "historical", "sent"]


def test_a_message_may_arrive_after_a_later_one(server: Receiver, acme: Account):
    listen(server.url)
    [first], [second] = tell(acme, "80"), tell(acme, "100")

    try_at(second, NOW, server.net())
    try_at(first, NOW, server.net())

    ids = [heard.headers["webhook-id"] for heard in server.heard]
    assert ids == [stored(row).message.public_id for row in (second, first)]


def test_a_delivery_that_nobody_wrote_is_a_mistake(db: None):
    with pytest.raises(Delivery.DoesNotExist):
        delivery.deliver(0, NOW)


def test_the_word_of_an_endpoint_hides_its_secrets(acme: Account):
    endpoint = listen()

    assert endpoint.secret not in str(endpoint)
    assert Endpoint.objects.get().secret.startswith("whsec_")
