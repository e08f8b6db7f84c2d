"""Keys: what they look like, when they are valid, and what is left of them in the database."""

import re
from datetime import datetime, timedelta
from io import StringIO
from ipaddress import ip_address
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection

from accounts import keys
from accounts.models import Account, ApiKey, AuditEntry
from accounts.refusals import Refused
from tests.at_once import race
from tests.factories import ACTOR, NOW, Caller, event, make_key, rows

pytestmark = pytest.mark.django_db


def test_a_key_has_a_type_an_id_a_secret_and_a_checksum():
    text = make_key()

    assert re.fullmatch(r"hc_live_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", text)


def test_a_key_is_found_with_its_account_in_one_query(acme: Account, django_assert_num_queries: Any):
    text = make_key(acme, "read")
    assert keys.admit(text, now=NOW)  # the use is noted

    with django_assert_num_queries(1):
        key = keys.admit(text, now=NOW)
        assert key is not None
        assert (key.account, key.scopes) == (acme, ["read"])


def test_nothing_of_a_secret_is_in_any_table(acme: Account, clock: Any):
    text = make_key(acme)
    secret = text.rpartition("_")[2]
    Caller(text).get("usage")
    Caller(text).get(f"usage/periods/{text}")
    Caller(text).send([event(), event(type="nothing")])
    revoke(text)

    said = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608 - names of our own tables
            said += [row for (row,) in cursor.fetchall()]

    assert any(text[:16] in row for row in said)
    assert not [row for row in said if secret in row or secret.encode().hex() in row]


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
        assert keys.admit(text, now=NOW) is None


def _with_checksum(body: str) -> str:
    return body + keys._checksum(body)


def wrong_secret(text: str) -> str:
    """The id of a key, and not its secret."""
    return _with_checksum(f"{text[:16]}_{'A' * 43}")


def test_an_unknown_id_costs_what_a_wrong_secret_costs(django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch):
    """One query and one hash. (`benchmarks/keys.py` measures the time.)"""
    known = wrong_secret(make_key())
    keys.admit(known, now=NOW)  # the refusal is noted
    hashed: list[str] = []
    digest = keys._digest

    def noting(text: str, pepper: str) -> bytes:
        hashed.append(text)
        return digest(text, pepper)

    monkeypatch.setattr(keys, "_digest", noting)

    for guess in (known, _with_checksum(f"hc_live_00000000_{'A' * 43}")):
        with django_assert_num_queries(1):
            assert keys.admit(guess, now=NOW) is None
        assert len(hashed) == 1
        hashed.clear()


def test_a_key_is_valid_until_the_instant_it_expires():
    text = make_key(expires_at=NOW + timedelta(seconds=1))

    assert keys.admit(text, now=NOW) is not None
    assert keys.admit(text, now=NOW + timedelta(seconds=1)) is None


def revoke(text: str, now: datetime = NOW) -> ApiKey:
    """End a key as staff does."""
    return keys.revoke_key(text[:16], reason="it leaked", actor="sam", now=now)


def test_a_revoked_key_is_no_key_from_the_next_request_on():
    text = make_key()
    assert keys.admit(text, now=NOW)
    revoke(text)

    assert keys.admit(text, now=NOW) is None


def test_a_key_is_revoked_once_and_the_audit_says_why(acme: Account):
    text = make_key(acme)
    revoke(text)
    again = revoke(text, NOW + timedelta(days=1))

    assert again.revoked_at == NOW
    assert rows(AuditEntry, "account", "actor", "reason", "at", action="key.revoked") == [
        (acme.pk, "sam", "it leaked", NOW)
    ]


@pytest.mark.parametrize(
    ("prefix", "reason", "code"), [("hc_live_00000000", "x", "not_found"), ("", " ", "missing_reason")]
)
def test_a_key_that_is_not_there_or_for_no_reason_is_not_revoked(prefix: str, reason: str, code: str):
    with pytest.raises(Refused) as refusal:
        keys.revoke_key(prefix, reason=reason, actor="sam", now=NOW)

    assert refusal.value.code == code


def test_the_audit_says_who_made_a_key_and_for_what(acme: Account):
    text = make_key(acme, "read", networks=["192.0.2.0/24"])

    [entry] = AuditEntry.objects.filter(action="key.created")
    assert (entry.account, entry.actor) == (acme, ACTOR)
    assert entry.after == {"prefix": text[:16], "scopes": ["read"], "networks": ["192.0.2.0/24"]}


def test_a_key_made_with_another_pepper_is_no_key(settings: Any):
    text = make_key()
    settings.KEY_PEPPER = "another pepper"

    assert keys.admit(text, now=NOW) is None


def test_keys_outlive_a_new_pepper_while_the_old_one_is_listed(settings: Any):
    first = make_key()
    settings.KEY_PEPPERS_OLD, settings.KEY_PEPPER = [settings.KEY_PEPPER], "the second"
    second = make_key()
    settings.KEY_PEPPERS_OLD, settings.KEY_PEPPER = [settings.KEY_PEPPER, *settings.KEY_PEPPERS_OLD], "the third"
    assert [bool(keys.admit(text, now=NOW)) for text in (first, second, make_key())] == [True] * 3

    settings.KEY_PEPPERS_OLD = settings.KEY_PEPPERS_OLD[:1]
    assert [bool(keys.admit(text, now=NOW)) for text in (first, second, make_key())] == [False, True, True]


def test_keys_from_before_peppers_had_names_belong_to_the_oldest(settings: Any):
    text = make_key()
    ApiKey.objects.update(pepper="")
    assert keys.admit(text, now=NOW)

    settings.KEY_PEPPERS_OLD, settings.KEY_PEPPER = [settings.KEY_PEPPER], "the second"
    assert keys.admit(text, now=NOW)


def test_a_new_secret_key_leaves_keys_alone(settings: Any):
    text = make_key()
    settings.SECRET_KEY = "another one altogether"

    assert keys.admit(text, now=NOW)


def test_use_is_noted_at_most_once_a_minute(django_assert_num_queries: Any):
    text = make_key()

    def use(address: str, **later: int) -> None:
        assert keys.admit(text, now=NOW + timedelta(**later), address=ip_address(address))

    use("192.0.2.1")
    with django_assert_num_queries(1):
        use("192.0.2.2", seconds=59)
    assert rows(ApiKey, "last_used_at", "last_used_from") == [(NOW, "192.0.2.1")]
    use("2001:db8::1", seconds=60)
    assert rows(ApiKey, "last_used_at", "last_used_from") == [(NOW + timedelta(minutes=1), "2001:db8::1")]


def test_refusals_are_counted_at_most_once_a_minute(django_assert_num_queries: Any):
    good = make_key()
    text = wrong_secret(good)

    keys.admit(text, now=NOW)
    with django_assert_num_queries(1):
        keys.admit(text, now=NOW + timedelta(seconds=59))
    assert rows(ApiKey, "refusals", "refused_at", "last_used_at") == [(1, NOW, None)]
    revoke(good)
    keys.admit(good, now=NOW + timedelta(seconds=60))
    assert rows(ApiKey, "refusals", "refused_at") == [(2, NOW + timedelta(minutes=1))]


@pytest.mark.parametrize(
    ("networks", "address", "may"),
    [
        ([], None, True),
        ([], "192.0.2.7", True),
        (["192.0.2.0/24"], "192.0.2.7", True),
        (["192.0.2.0/24"], "192.0.3.7", False),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7", "2001:db8::/32"], "2001:db8:ffff::1", True),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["0.0.0.0/0"], None, False),
    ],
)
def test_a_key_bound_to_networks_is_no_key_elsewhere(networks: list[str], address: str | None, may: bool):
    text = make_key(networks=networks)

    found = keys.admit(text, now=NOW, address=None if address is None else ip_address(address))

    assert (found is not None) is may


@pytest.mark.parametrize(
    ("networks", "code"),
    [
        (["192.0.2.0/33"], "bad_network"),
        (["192.0.2.1/24"], "bad_network"),
        (["localhost"], "bad_network"),
        ([""], "bad_network"),
        ([f"192.0.2.{last}" for last in range(21)], "too_many_networks"),
    ],
)
def test_what_is_no_network_is_refused(networks: list[str], code: str):
    with pytest.raises(Refused) as refusal:
        make_key(networks=networks)

    assert refusal.value.code == code


def test_an_account_has_at_most_two_live_keys_for_the_same(acme: Account, globex: Account):
    """One in use and the one that replaces it."""
    make_key(acme, "read")
    make_key(acme, "read", expires_at=NOW + timedelta(days=1))
    with pytest.raises(Refused) as refusal:
        make_key(acme, "read")
    assert refusal.value.code == "two_live_keys"

    make_key(acme, "write")
    make_key(acme, "read", "write")
    make_key(globex, "read")
    assert make_key(acme, "read", now=NOW + timedelta(days=1))


def test_a_revoked_key_makes_room_for_another(acme: Account):
    first, _ = make_key(acme), make_key(acme)
    revoke(first)

    assert make_key(acme)


def test_the_operator_may_have_many_keys():
    assert len({make_key() for _ in range(5)}) == 5


@pytest.mark.django_db(transaction=True)
def test_of_two_third_keys_at_once_neither_is_overlooked(acme: Account, monkeypatch: pytest.MonkeyPatch):
    make_key(acme)

    made = race(monkeypatch, keys, "_fingerprint", *[lambda: make_key(acme)] * 3)

    assert sorted(type(each).__name__ for each in made) == ["Refused", "Refused", "str"]
    assert ApiKey.objects.count() == 2


@pytest.mark.parametrize(
    ("scopes", "code"), [([], "missing_scope"), (["admin"], "unknown_scope"), (["operate"], "operator_only")]
)
def test_scopes_that_a_key_of_an_account_cannot_have_are_refused(acme: Account, scopes: Any, code: str):
    with pytest.raises(Refused) as refusal:
        keys.create_key(account=acme, scopes=scopes, actor=ACTOR, now=NOW)

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

    key = keys.admit(printed.removesuffix("\n"), now=NOW)
    assert key is not None
    assert (key.account, key.scopes, key.name, key.expires_at) == (acme, ["write", "read"], "worker 1", None)


def test_the_command_makes_keys_of_the_operator():
    printed = _create_key("--operator", "--scope", "operate", "--expires", "2999-01-01T00:00:00Z")

    key = keys.admit(printed.strip(), now=NOW)
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
        (["--operator", "--scope", "read", "--network", "home"], "A network is an address like"),
    ],
)
def test_the_command_says_in_a_sentence_what_is_wrong(acme: Account, words: list[str], sentence: str):
    with pytest.raises(CommandError, match=re.escape(sentence)):
        _create_key(*words)

    assert not ApiKey.objects.exists()


def test_the_command_binds_a_key_to_networks():
    _create_key("--operator", "--scope", "read", "--network", "192.0.2.7", "--network", "2001:db8::/32")

    assert ApiKey.objects.get().networks == ["192.0.2.7/32", "2001:db8::/32"]


def _revoke_key(*words: str) -> str:
    out = StringIO()
    call_command("revoke_key", *words, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("length", [16, None])
def test_the_command_revokes_a_key_by_its_prefix_or_all_of_it(clock: Any, length: int | None):
    text = make_key()

    said = _revoke_key(text[:length], "--reason", "it leaked")

    assert said == f"{text[:16]} was revoked at 2026-11-22 12:00:00 UTC.\n"
    assert keys.admit(text, now=NOW) is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["hc_live_00000000", "--reason", "x"], "There is no key hc_live_00000000."),
        (["\0", "--reason", "x"], "That is no key."),
        (["hc_live_00000000"], "Say why the key is revoked. (--reason)"),
        (["hc_live_00000000", "--reason", "\0"], "all of them printable"),
    ],
)
def test_the_command_says_why_it_revokes_nothing(db: None, words: list[str], sentence: str):
    with pytest.raises(CommandError, match=re.escape(sentence)):
        _revoke_key(*words)
