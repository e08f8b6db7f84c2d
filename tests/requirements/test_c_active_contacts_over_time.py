"""REQUIREMENTS C: what stays counted, what counts again in the next period (for acme December), and why."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account, Connection
from metering.catalogue import BY_NAME, ContactUnit, Reason
from metering.models import CountedContact
from metering.usage import usage
from tests.conftest import StoppedClock
from tests.factories import NOW, Caller, deliver, event, put_connection
from tests.requirements.shorthand import DECEMBER, by_reason, each, people, used

pytestmark = pytest.mark.django_db

SYNC, OTHER_SYNC, MAIL, SCORING = "pipedrive-mailchimp", "hubspot-brevo", "mailchimp-pipedrive", "scoring"
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
AN_HOUR = timedelta(hours=1)


def _move(kind: str, subject: str, at: datetime, source: str = SYNC) -> dict[str, Any]:
    return event(source=source, type=f"contact.{kind}", subject=subject, time=at)


def test_c8_the_next_period_opens_with_members_and_live_scores_and_history_keeps_the_count(
    acme: Account, acme_caller: Caller, clock: StoppedClock
):
    acme_caller.send(each(people(3, of="member"), SYNC, "contact.matched"))
    acme_caller.send(each(people(2, of="scored"), SCORING, "score.set", data={"value": 5}))
    acme_caller.send(each(people(4, of="reader"), MAIL, "engagement.email_opened"))

    clock.move_to(DECEMBER)

    seen = acme_caller.get("usage").json()
    assert (seen["used"], seen["carried_in"], seen["new"]) == (5, 5, 0)
    assert by_reason(acme, DECEMBER) == [("contact_sync", 3), ("lead_score", 2)]
    history = acme_caller.get("usage/periods").json()["results"]
    assert [(row["start"], row["used"]) for row in history] == [
        ("2026-12-01T00:00:00Z", 5),
        ("2026-11-01T00:00:00Z", 9),
    ]


def test_c8_a_disabled_sync_carries_nothing_into_the_next_period(acme: Account):
    deliver(acme, each(people(3), SYNC, "contact.matched"))

    put_connection(acme, SYNC, enabled=False)

    assert (used(acme), used(acme, DECEMBER)) == (3, 0)


def test_c32_a_shorter_expiry_lowers_the_next_opening_and_not_this_period(acme: Account):
    put_connection(acme, SCORING, "lead_scoring", score_expiry_days=90)
    october = datetime(2026, 10, 1, 12, tzinfo=UTC)
    old = each(people(300, of="old"), SCORING, "score.set", data={"value": 5}, time=october)
    deliver(acme, old, now=october)
    deliver(acme, each(people(50, of="fresh"), SCORING, "score.set", data={"value": 5}))
    assert used(acme) == 350

    put_connection(acme, SCORING, "lead_scoring", score_expiry_days=30)

    assert (used(acme), used(acme, DECEMBER)) == (350, 50)


def test_c32_with_the_longer_expiry_the_next_opening_has_them_all(acme: Account):
    put_connection(acme, SCORING, "lead_scoring", score_expiry_days=90)
    october = datetime(2026, 10, 1, 12, tzinfo=UTC)

    deliver(
        acme,
        each(people(300), SCORING, "score.set", data={"value": 5}, time=october),
        now=october,
    )

    assert [used(acme, at) for at in (october, NOW, DECEMBER)] == [300, 300, 300]


def test_c33_an_expired_score_counts_in_its_period_and_not_in_the_next(acme: Account):
    at = NOVEMBER + AN_HOUR
    expiry = {"value": 5, "expires_at": "2026-11-05T00:00:00Z"}

    deliver(acme, [event(source=SCORING, type="score.set", time=at, data=expiry)], now=at)

    assert (used(acme, at), used(acme, NOW), used(acme, DECEMBER)) == (1, 1, 0)


def test_c34_who_leaves_the_sync_stays_counted_until_the_reset(acme: Account):
    deliver(acme, each(people(2_000), SYNC, "contact.matched", time=NOW - 2 * AN_HOUR))

    deliver(acme, each(people(500), SYNC, "contact.unmatched", time=NOW - AN_HOUR))

    assert used(acme) == 2_000
    seen = usage(acme, DECEMBER)
    assert (seen["used"], seen["carried_in"], seen["new"]) == (1_500, 1_500, 0)


def test_c35_leaving_and_entering_again_counts_once(acme: Account):
    ann = "ann@example.com"

    deliver(acme, [_move("matched", ann, NOW - 3 * AN_HOUR), _move("unmatched", ann, NOW - 2 * AN_HOUR)])
    deliver(acme, [_move("matched", ann, NOW - AN_HOUR)])

    assert (used(acme), used(acme, DECEMBER)) == (1, 1)


def test_c35_leaving_one_sync_and_entering_another_counts_once(acme: Account):
    ann = "ann@example.com"

    deliver(
        acme,
        [
            _move("matched", ann, NOW - 3 * AN_HOUR),
            _move("unmatched", ann, NOW - 2 * AN_HOUR),
            _move("matched", ann, NOW - AN_HOUR, OTHER_SYNC),
        ],
    )

    assert used(acme) == 1


def test_c36_legacy_customers_see_events_and_others_active_contacts(
    acme: Account, acme_caller: Caller, initech: Account, initech_caller: Caller
):
    acme_caller.send(each(["ann@example.com"] * 2, SYNC, "contact.updated_in_marketing"))
    initech_caller.send(each(["ann@example.com"] * 2, "salesforce-mailchimp", "contact.updated_in_marketing"))

    of_acme, of_initech = acme_caller.get("usage").json(), initech_caller.get("usage").json()

    assert (of_acme["unit"], of_acme["used"]) == ("active_contacts", 1)
    assert (of_initech["unit"], of_initech["used"]) == ("app_connector_events", 2)
    assert [row["reason"] for row in of_acme["by_reason"]] == ["contact_sync"]
    assert [row["type"] for row in of_initech["by_reason"]] == ["contact.updated_in_marketing"]


def test_c40_a_counted_contact_tells_period_reasons_and_first_cause(acme: Account):
    ann = "ann@example.com"
    first, then = NOW - 2 * AN_HOUR, NOW - AN_HOUR

    deliver(acme, [event(source=MAIL, id="late", type="engagement.email_clicked", subject=ann, time=then)])
    deliver(acme, [event(source=SYNC, id="match", type="contact.matched", subject=ann, time=then)])
    deliver(acme, [event(source=MAIL, id="early", type="engagement.email_opened", subject=ann, time=first)])

    assert _why(acme) == [
        {
            "contact": ann,
            "period": NOVEMBER,
            "unit": ContactUnit.ACTIVE,
            "carried_in": False,
            "by_events": {MAIL: Reason.EMAIL_OPENED | Reason.EMAIL_CLICKED, SYNC: Reason.CONTACT_SYNC},
            "carried": {MAIL: 0, SYNC: 0},
            "first": (first, MAIL, "early", "engagement.email_opened"),
        }
    ]


def test_c40_a_contact_that_is_only_carried_in_tells_its_state_and_no_first_cause(acme: Account):
    deliver(acme, [event(source=SYNC, id="match", type="contact.matched", subject="ann@example.com")])

    usage(acme, DECEMBER)

    november, december = _why(acme)
    assert november["first"] == (NOW - AN_HOUR, SYNC, "match", "contact.matched")
    assert december == {
        "contact": "ann@example.com",
        "period": DECEMBER,
        "unit": ContactUnit.ACTIVE,
        "carried_in": True,
        "by_events": {SYNC: 0},
        "carried": {SYNC: Reason.CONTACT_SYNC},
        "first": None,
    }


def test_c40_of_two_causes_at_one_instant_the_smaller_source_and_id_is_the_first(acme: Account):
    ann = "ann@example.com"

    deliver(
        acme,
        [
            event(source=SYNC, id="a", type="contact.matched", subject=ann),
            event(source=MAIL, id="c", subject=ann),
            event(source=MAIL, id="b", subject=ann),
        ],
    )

    [why] = _why(acme)
    assert why["first"] == (NOW - AN_HOUR, MAIL, "b", "engagement.email_opened")


def _why(account: Account) -> list[dict[str, Any]]:
    """All counted contacts of an account with all that is stored of why, the oldest period first."""
    keys = dict(Connection.objects.values_list("id", "key"))
    names = {kind.code: name for name, kind in BY_NAME.items()}
    counted = CountedContact.objects.filter(account=account).select_related("contact", "period")
    return [
        {
            "contact": row.contact.identity,
            "period": row.period.starts_at,
            "unit": row.unit,
            "carried_in": row.carried_in,
            "by_events": _by_connection(keys, row.connections, row.event_reasons),
            "carried": _by_connection(keys, row.connections, row.carried_reasons),
            "first": row.first_at and (row.first_at, row.first_source, row.first_key, names[row.first_type or 0]),
        }
        for row in counted.order_by("period__starts_at", "unit", "contact__identity")
    ]


def _by_connection(keys: dict[int, str], connections: list[int], reasons: list[int]) -> dict[str, int]:
    return {keys[connection]: mask for connection, mask in zip(connections, reasons, strict=True)}
