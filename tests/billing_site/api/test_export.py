"""`usage/export`: the counted contacts of a period as a CSV file."""

import csv
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from accounts.models import Account
from billing_site.api import contacts
from metering import export
from metering.models import BillingPeriod
from tests.billing_site.api.test_contacts import ANN, BOB, CID, MAILER, SECOND_SYNC, SYNC, deliver_some
from tests.conftest import StoppedClock
from tests.factories import NOW, Caller, deliver, event

pytestmark = pytest.mark.django_db


def text_of(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode()


def exported(caller: Caller, **query: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(text_of(caller.get("usage/export", **query)).splitlines()))


def test_every_counted_contact_is_a_line_under_a_header(acme: Account, acme_caller: Caller):
    deliver_some(acme)

    header, *lines = text_of(acme_caller.get("usage/export")).splitlines()

    assert header == (
        "subject,origin,carried_in,reasons,first_time,first_connection,first_id,first_type,refused_since,last_engaged_at"
    )
    assert lines == [
        f"{ANN},ad,false,contact_sync:{SECOND_SYNC} email_sent:{MAILER} email_opened:{MAILER},"
        f"2026-11-22T09:00:00Z,{SECOND_SYNC},m-1,contact.matched,,2026-11-22T11:00:00Z",
        f"{BOB},,false,contact_sync:{SYNC},2026-11-22T11:00:00Z,{SYNC},r-1,contact.refused,2026-11-22T11:00:00Z,",
        f"{CID},,false,web_visit:website,2026-11-22T11:00:00Z,website,v-1,web.visited,,2026-11-22T11:00:00Z",
    ]


def test_a_contact_that_is_only_carried_in_has_no_first_cause(acme: Account, acme_caller: Caller, clock: StoppedClock):
    deliver_some(acme)
    clock.advance(days=10)

    [ann, _] = exported(acme_caller)

    assert (ann["carried_in"], ann["first_time"], ann["first_id"]) == ("true", "", "")


def test_the_file_says_what_it_is_and_what_to_be_called(acme: Account, acme_caller: Caller):
    answer = acme_caller.get("usage/export")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="contacts-acme-2026-11-01.csv"'
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "found"),
    [({"reason": "email_sent"}, [ANN]), ({"connection": SYNC}, [BOB]), ({"refused": "false"}, [ANN, CID])],
)
def test_the_file_can_be_narrowed_like_the_list(
    acme: Account, acme_caller: Caller, query: dict[str, str], found: list[str]
):
    deliver_some(acme)

    assert [row["subject"] for row in exported(acme_caller, **query)] == found


def test_a_past_period_can_be_exported(acme: Account, acme_caller: Caller, clock: StoppedClock):
    deliver_some(acme)
    clock.advance(days=20)

    assert len(exported(acme_caller, period="2026-11-01T00:00:00Z")) == 3


@pytest.mark.parametrize("subject", ["=1+1", "+4915112345678", "-2", "=cmd|' /C calc'!A0"])
def test_no_spreadsheet_takes_a_subject_for_a_formula(acme: Account, acme_caller: Caller, subject: str):
    deliver(acme, [event(subject=subject)])

    assert [row["subject"] for row in exported(acme_caller)] == [f"'{subject}"]


def test_no_spreadsheet_takes_the_id_of_an_event_for_a_formula(acme: Account, acme_caller: Caller):
    deliver(acme, [event(id="@SUM(1)")])

    assert [row["first_id"] for row in exported(acme_caller)] == ["'@SUM(1)"]


def test_quotes_commas_and_spaces_in_a_subject_survive(acme: Account, acme_caller: Caller):
    deliver(acme, [event(subject='a "b", c;d')])

    assert [row["subject"] for row in exported(acme_caller)] == ['a "b", c;d']


def test_a_long_file_is_made_of_many_reads_and_lists_everybody_once(
    acme: Account, acme_caller: Caller, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(export, "CHUNK", 3)
    deliver(acme, [event(subject=f"{number}@example.com") for number in range(10)])

    assert [row["subject"] for row in exported(acme_caller)] == [f"{number}@example.com" for number in range(10)]


def test_who_comes_to_count_while_the_file_is_read_is_listed_or_not_but_nobody_twice(
    acme: Account, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(export, "CHUNK", 2)
    deliver(acme, [event(subject=f"{number}@example.com") for number in range(4)])
    period = BillingPeriod.objects.select_related("subscription__tier__plan").get(account=acme)
    lines = export.contacts_as_csv(period)
    begun = [next(lines), next(lines)]

    deliver(acme, [event(subject="new@example.com"), event(subject="0@example.com", type="web.visited")])

    subjects = [row["subject"] for row in csv.DictReader("".join([*begun, *lines]).splitlines())]
    assert subjects == [*(f"{number}@example.com" for number in range(4)), "new@example.com"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"reason": "?"}, 400),
        ({"page_size": 3}, 400),
        ({"connection": "nowhere"}, 404),
        ({"period": "1999-01-01T00:00:00Z"}, 404),
    ],
)
def test_what_is_wrong_is_told_before_the_file_begins(acme_caller: Caller, query: dict[str, Any], status: int):
    answer = acme_caller.get("usage/export", **query)

    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")


def test_a_database_that_fails_before_the_first_line_is_no_broken_file(
    acme_caller: Caller, monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: Any) -> Iterable[str]:
        yield from ()
        raise OperationalError("gone")

    monkeypatch.setattr(contacts, "contacts_as_csv", fails)

    assert acme_caller.get("usage/export").status_code == 503


def test_an_account_that_has_counted_nobody_gets_a_header(acme: Account, acme_caller: Caller):
    deliver(acme, [event(type="crm.tagged", time=NOW - timedelta(hours=1))])

    assert exported(acme_caller) == []
