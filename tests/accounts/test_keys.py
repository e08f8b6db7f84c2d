"""Keys: what they look like, when they are valid, and what is left of them in the database."""

import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection

from accounts import keys
from accounts.models import Account, ApiKey
from accounts.refusals import Refused
from tests.factories import NOW, make_key

pytestmark = pytest.mark.django_db


def test_a_key_has_a_type_an_id_a_secret_and_a_checksum():
    text = make_key()

    assert re.fullmatch(r"hc_live_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", text)


def test_a_key_is_found_with_its_account_in_one_query(acme: Account, django_assert_num_queries: Any):
    text = make_key(acme, "read")

    with django_assert_num_queries(1):
        key = keys.find_key(text, now=NOW)
        assert key is not None
        assert (key.account, key.scopes) == (acme, ["read"])


def test_nothing_of_the_secret_is_stored():
    text = make_key()
    secret = text.rpartition("_")[2]

    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text, encode(digest, 'escape') FROM accounts_apikey k")
        [[row, digest]] = cursor.fetchall()

    assert secret not in row
    assert secret not in digest
    assert text[:16] in row


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),
        lambda text: text[:20] + ("0" if text[20] != "0" else "1") + text[21:],
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text + "\n",
        lambda text: text.replace("live", "test"),
        lambda text: "",
        lambda text: "\0",
        lambda text: "x" * 10_000,
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "\ud800",
    ],
)
def test_what_cannot_be_a_key_costs_no_query(change: Any, django_assert_num_queries: Any):
    text = change(make_key())

    with django_assert_num_queries(0):
        assert keys.find_key(text, now=NOW) is None


def _with_checksum(body: str) -> str:
    return body + keys._checksum(body)


def test_the_right_id_with_another_secret_and_an_unknown_id_both_cost_one_query(
    django_assert_num_queries: Any,
):
    prefix = make_key()[:16]

    for guess in (f"{prefix}_{'A' * 43}", f"hc_live_00000000_{'A' * 43}"):
        with django_assert_num_queries(1):
            assert keys.find_key(_with_checksum(guess), now=NOW) is None


def test_a_key_is_valid_until_the_instant_it_expires():
    text = make_key(expires_at=NOW + timedelta(seconds=1))

    assert keys.find_key(text, now=NOW) is not None
    assert keys.find_key(text, now=NOW + timedelta(seconds=1)) is None


def test_a_revoked_key_is_no_key_from_the_next_request_on():
    text = make_key()
    ApiKey.objects.update(revoked_at=NOW)

    assert keys.find_key(text, now=NOW) is None


def test_a_key_made_with_another_pepper_is_no_key(settings: Any):
    text = make_key()
    settings.KEY_PEPPER = "another pepper"

    assert keys.find_key(text, now=NOW) is None


def test_use_is_noted_at_most_once_a_minute(django_assert_num_queries: Any):
    text = make_key()

    def use(at: Any) -> None:
        key = keys.find_key(text, now=at)
        assert key is not None
        keys.note_use(key, now=at)

    use(NOW)
    with django_assert_num_queries(1):
        use(NOW + timedelta(seconds=59))
    assert ApiKey.objects.get().last_used_at == NOW
    use(NOW + timedelta(seconds=60))
    assert ApiKey.objects.get().last_used_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("scopes", "code"), [([], "missing_scope"), (["admin"], "unknown_scope"), (["operate"], "operator_only")]
)
def test_scopes_that_a_key_of_an_account_cannot_have_are_refused(acme: Account, scopes: Any, code: str):
    with pytest.raises(Refused) as refusal:
        keys.create_key(account=acme, scopes=scopes, now=NOW)

    assert refusal.value.code == code


def test_the_database_too_refuses_a_key_of_an_account_that_operates(acme: Account):
    with pytest.raises(IntegrityError, match="key_of_an_account_cannot_operate"):
        ApiKey.objects.create(account=acme, prefix="x", digest=b"", scopes=["operate"])


def _create_key(*words: str) -> str:
    out = StringIO()
    call_command("create_key", *words, stdout=out)
    return out.getvalue()


def test_the_command_prints_the_key_alone(acme: Account):
    printed = _create_key("--account", "acme", "--scope", "write", "--scope", "read", "--name", "worker 1")

    key = keys.find_key(printed.removesuffix("\n"), now=NOW)
    assert key is not None
    assert (key.account, key.scopes, key.name, key.expires_at) == (acme, ["write", "read"], "worker 1", None)


def test_the_command_makes_keys_of_the_operator():
    printed = _create_key("--operator", "--scope", "operate", "--expires", "2999-01-01T00:00:00Z")

    key = keys.find_key(printed.strip(), now=NOW)
    assert key is not None
    assert (key.account, key.scopes) == (None, ["operate"])
    assert key.expires_at is not None
    assert key.expires_at.isoformat() == "2999-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--scope", "read"], "either --operator or --account"),
        (["--operator", "--account", "acme", "--scope", "read"], "either --operator or --account"),
        (["--account", "acme", "--scope", "operate"], "cannot operate"),
        (["--account", "nobody", "--scope", "read"], "There is no account 'nobody'"),
        (["--account", "\0", "--scope", "read"], "There is no account"),
        (["--operator"], "at least one scope"),
        (["--operator", "--scope", "admin"], "There is no scope admin"),
        (["--operator", "--scope", "read", "--expires", "tomorrow"], "say a time with its offset"),
        (["--operator", "--scope", "read", "--expires", "2999-01-01"], "say a time with its offset"),
        (["--operator", "--scope", "read", "--expires", "2001-01-01T00:00:00Z"], "in the future"),
        (["--operator", "--scope", "read", "--name", "a\0"], "all of them printable"),
    ],
)
def test_the_command_says_in_a_sentence_what_is_wrong(acme: Account, words: list[str], sentence: str):
    with pytest.raises(CommandError, match=re.escape(sentence)):
        _create_key(*words)

    assert not ApiKey.objects.exists()
