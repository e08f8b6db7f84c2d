"""Who counts and why: `usage/contacts`, the why of one contact, and the list of connections."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from accounts.models import Account, Connection
from metering.erasure import erase
from tests.billing_site.api.test_ledgers import asked, listed, read_through
from tests.conftest import StoppedClock
from tests.factories import ACTOR, NOW, Caller, deliver, event, put_connection

pytestmark = pytest.mark.django_db

SYNC, SECOND_SYNC, MAILER, TRACKER = "pipedrive-mailchimp", "hubspot-brevo", "mailchimp-pipedrive", "website"
NOVEMBER, DECEMBER = "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"
ELEVEN = "2026-11-22T11:00:00Z"
ANN, BOB, CID, DEE = (f"{name}@example.com" for name in ("ann", "bob", "cid", "dee"))


def happens(name: str, subject: str, source: str, **more: Any) -> dict[str, Any]:
    return event(type=name, subject=subject, source=source, **more)


def deliver_some(account: Account) -> None:
    """Ann by three reasons, Bob refused, Cid by a visit; Dee is only activated."""
    deliver(
        account,
        [
            happens("crm.lead_captured", ANN, SYNC, data={"origin": "ad"}),
            happens("contact.matched", ANN, SECOND_SYNC, id="m-1", time=NOW - timedelta(hours=3)),
            happens("engagement.email_sent", ANN, MAILER, time=NOW - timedelta(hours=2)),
            happens("engagement.email_opened", ANN, MAILER),
            happens("contact.refused", BOB, SYNC, id="r-1"),
            happens("web.visited", CID, TRACKER, id="v-1"),
            happens("automation.ai_reply", DEE, TRACKER),
        ],
    )


def subjects(caller: Caller, **query: Any) -> list[str]:
    return [row["subject"] for row in listed(caller, "usage/contacts", **query)]


# --- The list --------------------------------------------------------------------------------------------------------


def test_every_counted_contact_says_why_it_counts(acme: Account, acme_caller: Caller):
    deliver_some(acme)

    assert listed(acme_caller, "usage/contacts") == [
        {
            "subject": ANN,
            "origin": "ad",
            "carried_in": False,
            "reasons": [
                {"reason": "contact_sync", "connection": SECOND_SYNC},
                {"reason": "email_sent", "connection": MAILER},
                {"reason": "email_opened", "connection": MAILER},
            ],
            "first": {
                "time": "2026-11-22T09:00:00Z",
                "connection": SECOND_SYNC,
                "id": "m-1",
                "type": "contact.matched",
            },
            "refused_since": None,
            "last_engaged_at": ELEVEN,
        },
        {
            "subject": BOB,
            "origin": None,
            "carried_in": False,
            "reasons": [{"reason": "contact_sync", "connection": SYNC}],
            "first": {"time": ELEVEN, "connection": SYNC, "id": "r-1", "type": "contact.refused"},
            "refused_since": ELEVEN,
            "last_engaged_at": None,
        },
        {
            "subject": CID,
            "origin": None,
            "carried_in": False,
            "reasons": [{"reason": "web_visit", "connection": TRACKER}],
            "first": {"time": ELEVEN, "connection": TRACKER, "id": "v-1", "type": "web.visited"},
            "refused_since": None,
            "last_engaged_at": ELEVEN,
        },
    ]


def test_a_contact_that_is_only_carried_in_has_no_first_cause(acme: Account, acme_caller: Caller, clock: StoppedClock):
    deliver_some(acme)
    clock.advance(days=10)

    [ann, bob] = listed(acme_caller, "usage/contacts")

    assert [(row["subject"], row["carried_in"], row["first"]) for row in (ann, bob)] == [
        (ANN, True, None),
        (BOB, True, None),
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"reason": "contact_sync"}, [ANN, BOB]),
        ({"reason": "email_sent"}, [ANN]),
        ({"reason": "meeting_scheduled"}, []),
        ({"reason": "ai_reply"}, []),
        ({"connection": SYNC}, [BOB]),
        ({"connection": MAILER}, [ANN]),
        ({"connection": "scoring"}, []),
        ({"connection": SECOND_SYNC, "reason": "contact_sync"}, [ANN]),
        ({"connection": MAILER, "reason": "contact_sync"}, []),
        ({"refused": "true"}, [BOB]),
        ({"refused": "false"}, [ANN, CID]),
        ({"refused": "true", "connection": SECOND_SYNC}, []),
        ({"period": NOVEMBER}, [ANN, BOB, CID]),
    ],
)
def test_the_list_can_be_narrowed(acme: Account, acme_caller: Caller, query: dict[str, str], found: list[str]):
    deliver_some(acme)

    assert subjects(acme_caller, **query) == found


def test_a_closed_period_still_lists_who_counted(acme: Account, acme_caller: Caller, clock: StoppedClock):
    deliver_some(acme)
    clock.advance(days=20)

    assert subjects(acme_caller, period=NOVEMBER) == [ANN, BOB, CID]


def test_a_plan_of_activated_contacts_lists_these(globex: Account, globex_caller: Caller):
    deliver(globex, [happens("automation.ai_reply", ANN, "instagram"), happens("web.visited", BOB, "lead-ads")])

    assert subjects(globex_caller) == [ANN]


def test_a_plan_of_events_lists_the_active_contacts(initech: Account, initech_caller: Caller):
    deliver(initech, [happens("web.visited", ANN, "typeform"), happens("automation.ai_reply", BOB, "typeform")])

    assert subjects(initech_caller) == [ANN]


def test_a_long_list_is_read_in_pages_there_and_back(acme: Account, acme_caller: Caller):
    deliver(acme, [event() for _ in range(7)])

    there, back = read_through(acme_caller, "usage/contacts", page_size=3)

    assert there == back == listed(acme_caller, "usage/contacts")


def test_a_page_takes_as_many_queries_for_many_contacts_as_for_one(acme: Account, acme_caller: Caller):
    deliver_some(acme)
    acme_caller.get("usage")
    few = asked(acme_caller, "usage/contacts")
    deliver(acme, [event() for _ in range(50)])

    assert asked(acme_caller, "usage/contacts") == few


def test_a_contact_that_was_renamed_stands_under_its_new_address(acme: Account, acme_caller: Caller):
    deliver_some(acme)
    deliver(acme, [happens("contact.renamed", "cid@work.example", SYNC, data={"from": CID})])

    assert subjects(acme_caller) == [ANN, BOB, "cid@work.example"]


def test_two_contacts_that_prove_to_be_one_stand_under_the_addresses_that_counted(acme: Account, acme_caller: Caller):
    deliver_some(acme)
    deliver(acme, [happens("contact.renamed", ANN, SYNC, data={"from": BOB})])

    rows = listed(acme_caller, "usage/contacts", refused="true")

    assert [(row["subject"], row["origin"]) for row in rows] == [(ANN, "ad"), (BOB, "ad")]


def test_an_erased_contact_is_listed_without_its_address(acme: Account, acme_caller: Caller):
    deliver_some(acme)
    erase(acme, ANN, actor=ACTOR, now=NOW)

    assert subjects(acme_caller) == ["erased", BOB, CID]


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({"reason": "opened"}, "unknown_reason", "reason"),
        ({"reason": ""}, "unknown_reason", "reason"),
        ({"refused": "yes"}, "bad_switch", "refused"),
        ({"period": "November"}, "bad_time", "period"),
        ({"period": ""}, "bad_time", "period"),
        ({"page_size": "0"}, "out_of_range", "page_size"),
        ({"cursor": "x"}, "bad_cursor", "cursor"),
        ({"subject": ANN}, "unknown_parameter", "subject"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(acme_caller: Caller, query: dict[str, str], code: str, field: str):
    answer = acme_caller.get("usage/contacts", **query)

    assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["field"]) == (400, code, field)


@pytest.mark.parametrize("query", [{"connection": "nowhere"}, {"connection": "?"}, {"period": DECEMBER}])
def test_a_connection_or_period_that_does_not_exist_is_not_found(acme_caller: Caller, query: dict[str, str]):
    assert acme_caller.get("usage/contacts", **query).status_code == 404


# --- The why of one --------------------------------------------------------------------------------------------------


def test_the_why_of_a_contact_lists_every_period_and_unit_the_newest_first(
    acme: Account, acme_caller: Caller, clock: StoppedClock
):
    deliver_some(acme)
    deliver(acme, [happens("automation.ai_reply", ANN, TRACKER, id="a-1")])
    clock.advance(days=10)
    acme_caller.get("usage")

    answer = acme_caller.get(f"usage/contacts/{ANN}").json()

    assert answer["subject"] == ANN
    assert [(row["start"], row["unit"], row["carried_in"]) for row in answer["periods"]] == [
        (DECEMBER, "active_contacts", True),
        (NOVEMBER, "active_contacts", False),
        (NOVEMBER, "activated_contacts", False),
    ]
    assert answer["periods"][2] == {
        "start": NOVEMBER,
        "unit": "activated_contacts",
        "subject": ANN,
        "origin": "ad",
        "carried_in": False,
        "reasons": [{"reason": "ai_reply", "connection": TRACKER}],
        "first": {"time": ELEVEN, "connection": TRACKER, "id": "a-1", "type": "automation.ai_reply"},
        "refused_since": None,
        "last_engaged_at": ELEVEN,
    }


@pytest.mark.parametrize("spelling", ["ANN@Example.com", " ann@example.com ", "Ann@Home.example"])
def test_any_spelling_and_any_address_of_a_contact_leads_to_it(acme: Account, acme_caller: Caller, spelling: str):
    deliver_some(acme)
    deliver(acme, [happens("contact.renamed", "ann@home.example", SYNC, data={"from": ANN})])

    answer = acme_caller.get(f"usage/contacts/{quote(spelling)}").json()

    assert (answer["subject"], len(answer["periods"])) == ("ann@home.example", 1)


def test_two_contacts_that_prove_to_be_one_have_one_why(acme: Account, acme_caller: Caller):
    deliver_some(acme)
    deliver(acme, [happens("contact.renamed", ANN, SYNC, data={"from": BOB})])

    answer = acme_caller.get(f"usage/contacts/{BOB}").json()

    assert answer["subject"] == ANN
    assert [row["subject"] for row in answer["periods"]] == [ANN, BOB]


@pytest.mark.parametrize("subject", ["ig:42", "a/b/c", "/", "//x", "100% Ann?", "connections", "a b", "\U0001f600"])
def test_a_channel_user_id_of_any_characters_is_found_by_its_path(acme: Account, acme_caller: Caller, subject: str):
    deliver(acme, [event(subject=subject)])

    answer = acme_caller.get(f"usage/contacts/{quote(subject, safe='')}")

    assert (answer.status_code, answer.json()["subject"]) == (200, subject)


def test_a_contact_that_never_counted_has_no_periods(acme: Account, acme_caller: Caller):
    deliver(acme, [happens("crm.tagged", ANN, SYNC)])

    assert acme_caller.get(f"usage/contacts/{ANN}").json() == {"subject": ANN, "periods": []}


@pytest.mark.parametrize("subject", ["nobody@example.com", "two@at@example.com", "%00", "x" * 400, "%20"])
def test_a_contact_that_nobody_knows_is_not_found(acme: Account, acme_caller: Caller, subject: str):
    assert acme_caller.get(f"usage/contacts/{subject}").status_code == 404


def test_an_erased_contact_is_known_to_nobody(acme: Account, acme_caller: Caller):
    deliver_some(acme)
    erase(acme, ANN, actor=ACTOR, now=NOW)

    assert acme_caller.get(f"usage/contacts/{ANN}").status_code == 404


# --- Connections -----------------------------------------------------------------------------------------------------


def test_connections_are_listed_with_their_settings_by_key(acme: Account, acme_caller: Caller):
    Connection.objects.filter(account=acme).exclude(key="scoring").delete()
    put_connection(acme, "scoring", "lead_scoring", name="Scores", score_expiry_days=30, enabled=False)

    assert listed(acme_caller, "connections") == [
        {
            "key": "scoring",
            "name": "Scores",
            "kind": "lead_scoring",
            "source_app": "",
            "destination_app": "",
            "enabled": False,
            "record_email_sent": True,
            "replayable": None,
            "score_expiry_days": 30,
        }
    ]


def test_an_operator_lists_the_connections_of_the_account_it_names(acme: Account, globex: Account, operator: Caller):
    assert [row["key"] for row in listed(operator, "connections", account="globex")] == [
        "instagram",
        "lead-ads",
        "messenger",
    ]


def test_connections_come_in_pages(acme: Account, acme_caller: Caller):
    there, back = read_through(acme_caller, "connections", page_size=2)

    assert (
        [row["key"] for row in there]
        == [row["key"] for row in back]
        == sorted([SYNC, SECOND_SYNC, MAILER, TRACKER, "scoring"])
    )
