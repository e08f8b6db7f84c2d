"""`accounts/{slug}/connections/{key}/members`: the full list of a contact sync's members."""

import gzip
import tracemalloc
from itertools import chain, repeat

import pytest
from django.test import Client

from accounts.models import Account, Connection
from billing_site.api import people
from metering.envelope import BadBody
from metering.members import put_members
from metering.models import Event, SyncMember
from metering.reconcile import differences
from tests.factories import NOW, Caller, make_key, rows

pytestmark = pytest.mark.django_db

PATH = "accounts/acme/connections/pipedrive-mailchimp/members"
ANN_AND_BOB = b'{"subject": "ann@example.com"}\n{"subject": "bob@example.com"}\n'


def put(
    caller: Caller, body: bytes = ANN_AND_BOB, path: str = PATH, kind: str = "application/x-ndjson", **headers: str
):
    return caller._ask("PUT", path, body, kind, headers)


def present() -> list[str]:
    return rows(SyncMember, "contact__identity", holds=True)


def test_the_list_is_put_and_put_again(acme: Account, operator: Caller):
    answer = put(operator)

    assert answer.status_code == 200
    assert answer.json() == {"members": 2, "joined": 2, "left": 0, "outcomes": {"recorded": 2}}
    assert put(operator).json() == {"members": 2, "joined": 0, "left": 0, "outcomes": {}}
    assert put(operator, b"").json() == {"members": 0, "joined": 0, "left": 2, "outcomes": {"recorded": 2}}
    assert present() == []


@pytest.mark.django_db(transaction=True)
def test_it_is_taken_in_batch_by_batch_each_in_its_own_transaction(acme: Account, operator: Caller):
    crowd = b"".join(b'{"subject": "person-%d@example.com"}\n' % number for number in range(5_100))

    assert put(operator, crowd).json() == {
        "members": 5_100,
        "joined": 5_100,
        "left": 0,
        "outcomes": {"recorded": 5_100},
    }

    assert put(operator, crowd).json()["outcomes"] == {}
    assert len(present()) == 5_100
    assert differences(acme) == []


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/ndjson", "application/X-NDJSON; charset=UTF-8"])
def test_its_media_type_has_two_names(acme: Account, operator: Caller, kind: str):
    assert put(operator, kind=kind).status_code == 200


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-ndjson; charset=latin-1", ""])
def test_another_media_type_is_refused(acme: Account, operator: Caller, kind: str):
    assert put(operator, kind=kind).status_code == 415


def test_it_may_be_gzip(acme: Account, operator: Caller):
    assert put(operator, gzip.compress(ANN_AND_BOB), **{"Content-Encoding": "gzip"}).json()["joined"] == 2


@pytest.mark.parametrize("length", range(10, 50, 7))
def test_gzip_that_is_cut_off_changes_nothing(acme: Account, operator: Caller, length: int):
    answer = put(operator, gzip.compress(ANN_AND_BOB)[:length], **{"Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_gzip")
    assert (present(), Event.objects.count()) == ([], 0)


def test_a_body_that_is_cut_off_changes_nothing(acme: Account, operator: Caller):
    headers = {"Authorization": f"Bearer {operator.key}", "Content-Length": str(len(ANN_AND_BOB) + 1)}
    answer = Client().generic("PUT", f"/api/v1/{PATH}", ANN_AND_BOB, "application/x-ndjson", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "cut_off")
    assert present() == []


def test_a_bad_line_is_named(acme: Account, operator: Caller):
    answer = put(operator, ANN_AND_BOB + b'{"subject": "a@b@c"}')

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_address")
    assert answer.json()["detail"] == "Line 3: An address has exactly one @."
    assert present() == []


@pytest.mark.parametrize("zipped", [False, True])
def test_too_much_is_a_413(acme: Account, operator: Caller, monkeypatch: pytest.MonkeyPatch, zipped: bool):
    monkeypatch.setattr(people, "MAX_BYTES", 1_000)
    body = ANN_AND_BOB * 20
    headers = {"Content-Encoding": "gzip"} if zipped else {}

    answer = put(operator, gzip.compress(body) if zipped else body, **headers)

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert present() == []


def test_a_long_list_is_never_held_in_memory(acme: Account):
    """Its last line is bad, so all of it is read, and nothing changes."""
    link = Connection.objects.get(account=acme, key="pipedrive-mailchimp")
    chunk = b"".join(b'{"subject": "person-%d@example.com"}\n' % number for number in range(2_000))
    size, most = 200 * len(chunk), 8 * 2**20

    tracemalloc.start()
    with pytest.raises(BadBody):
        put_members(acme, link, chain(repeat(chunk, 200), [b"x"]), now=NOW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < most < size
    assert present() == []


@pytest.mark.parametrize("path", ["accounts/acme/connections/nothing/members", "accounts/nobody/connections/x/members"])
def test_what_is_missing_is_the_same_404(acme: Account, operator: Caller, path: str):
    assert (put(operator, path=path).status_code, put(operator, path=path).json()["code"]) == (404, "not_found")


def test_only_a_contact_sync_has_members(acme: Account, operator: Caller):
    answer = put(operator, path="accounts/acme/connections/website/members")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_a_contact_sync")


def test_only_an_operator_may(acme: Account, acme_caller: Caller, stranger: Caller):
    assert put(acme_caller).status_code == 403
    assert put(Caller(make_key(None, "write", "read"))).status_code == 403
    assert put(stranger).status_code == 401
    assert present() == []
