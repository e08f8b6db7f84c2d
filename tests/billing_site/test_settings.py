"""What the environment may say, what it may not, and what production gets."""

import json
import logging
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import mailers
from django.db import connection
from django.test import override_settings

from billing_site import checks, environment
from billing_site.logs import JsonLines, Readable
from tests.billing_site.programs import manage

PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "a-secret-of-this-test-that-is-long-enough-and-has-many-letters-1234567890",
    "KEY_PEPPER": "a-pepper-of-this-test-that-is-long-enough-too",
    "BASE_URL": "https://billing.example.com",
    "EMAIL_URL": "smtp+tls://user:pass@mail.example.com",
}


@pytest.mark.parametrize(
    ("read", "nonsense", "sentence"),
    [
        (environment.switch, "maybe", "NAME=maybe: say true or false."),
        (lambda name: environment.whole_number(name, 1), "-5", "NAME=-5: say a whole number, 0 or greater."),
        (lambda name: environment.whole_number(name, 1, most=9), "10", "NAME=10: say at most 9."),
        (lambda name: environment.old_secrets(name, "hunter2"), "x hunter2", "NAME holds the present one too"),
        (lambda name: environment.old_secrets(name, ""), "hunter2 hunter2", "NAME holds one of them twice"),
        (lambda name: environment.host_names(name, []), " , ", "NAME=,: name at least one host"),
        (lambda name: environment.host_names(name, []), "", "NAME=: name at least one host"),
        (
            lambda name: environment.host_names(name, []),
            "https://a.example",
            "'https://a.example' is no host",
        ),
        (
            lambda name: environment.web_address(name, ""),
            "billing.example.com",
            "say an address that begins with",
        ),
        (lambda name: environment.web_address(name, ""), "https://", "say an address that begins with"),
        (
            lambda name: environment.web_address(name, ""),
            "https://a:port/",
            "say an address that begins with",
        ),
        (environment.origins, "https://a.example/page", "'https://a.example/page' is no origin"),
        (environment.origins, "https://a.example;script-src *", "is no origin"),
        (environment.request_header, "X Forwarded", "say the name of a header"),
        (environment.database, "mysql://u:hunter2@h/n", "NAME has mysql: PostgreSQL is the one database"),
        (environment.database, "hunter2", "NAME has no scheme: PostgreSQL is the one database"),
        (environment.database, "postgresql://u:hunter2@h:port/n", "NAME cannot be read"),
        (environment.database, "postgresql://u:hunter2@h", "NAME names no database"),
        (lambda name: environment.mailers(name, ""), "pigeon://u:hunter2@loft", "NAME cannot be read"),
        (lambda name: environment.mailers(name, ""), "smtp://", "NAME names no mail server"),
    ],
)
def test_nonsense_is_refused_by_name_in_one_sentence_and_shows_no_password(
    read: Callable[[str], object], nonsense: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAME", nonsense)

    with pytest.raises(ImproperlyConfigured) as refused:
        read("NAME")

    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_secret_is_required_and_may_look_like_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", " ")
    with pytest.raises(ImproperlyConfigured, match="NAME is not set: set it, or DEBUG=true"):
        environment.secret("NAME", development_value=None)

    monkeypatch.setenv("NAME", "$HOME")
    assert environment.secret("NAME", development_value="not this") == "$HOME"


def test_old_secrets_are_separated_by_white_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", " $second,  first\n")

    assert environment.old_secrets("NAME", "third") == ["$second,", "first"]


def test_mail_goes_over_the_server_that_email_url_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_URL", "smtp+tls://ann:p%40ss@mail.example.com")
    with override_settings(MAILERS=environment.mailers("EMAIL_URL", "")):
        server: Any = mailers["default"]

    found = (server.host, server.port, server.username, server.password, server.use_tls, server.timeout)
    assert found == ("mail.example.com", 587, "ann", "p@ss", True, environment.MAIL_SECONDS)


def test_production_passes_djangos_deployment_checks() -> None:
    checked = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)

    assert checked.returncode == 0, checked.stderr


def test_without_tls_nobody_is_redirected_and_the_deployment_checks_say_so() -> None:
    checked = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION | {"BASE_URL": "http://10.0.0.7"})

    assert checked.returncode == 1
    assert "security.W008" in checked.stderr


def test_a_program_with_nonsense_in_its_environment_does_not_start() -> None:
    refused = manage("check", DEBUG="maybe")

    assert refused.returncode == 1
    assert refused.stderr.rstrip().endswith("DEBUG=maybe: say true or false.")


def ids(messages: list[Any]) -> list[str]:
    return [message.id for message in messages]


def test_the_checks_are_content_with_these_settings_and_this_database(db: None) -> None:
    assert checks.tasks_are_retried_after_their_timeout(None) == []
    assert checks.time_is_utc(None) == []
    assert checks.postgresql_is_recent(None, ["default"]) == []
    assert checks.transactions_are_read_committed(None, ["default"]) == []


def test_a_task_that_would_run_twice_at_once_is_an_error() -> None:
    with override_settings(Q_CLUSTER=settings.Q_CLUSTER | {"timeout": 300, "retry": 300}):
        assert ids(checks.tasks_are_retried_after_their_timeout(None)) == ["headcount.E001"]


def test_another_time_zone_is_an_error() -> None:
    with override_settings(TIME_ZONE="Europe/Berlin"):
        assert ids(checks.time_is_utc(None)) == ["headcount.E002"]


@pytest.mark.parametrize(
    ("changed", "count"),
    [
        ({"KEY_PEPPER": "x" * 32, "KEY_PEPPERS_OLD": ["y" * 32]}, 0),
        ({"KEY_PEPPER": "x" * 31}, 1),
        ({"KEY_PEPPER": "x" * 50, "SECRET_KEY": "x" * 50}, 1),
        ({"KEY_PEPPER": "x" * 32, "KEY_PEPPERS_OLD": ["y" * 31]}, 1),
    ],
)
def test_a_pepper_that_is_no_secret_is_a_warning_before_deployment(changed: dict[str, Any], count: int) -> None:
    with override_settings(**changed):
        found = checks.peppers_are_secrets_of_their_own(None)

    assert ids(found) == ["headcount.W005"] * count
    assert not [each for each in found if "xxx" in each.msg or "yyy" in each.msg]


def test_an_old_postgresql_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(vendor="postgresql", get_database_version=lambda: (14, 19))
    monkeypatch.setattr(checks, "connections", {"default": old})

    (problem,) = checks.postgresql_is_recent(None, ["default"])

    assert (problem.id, problem.msg) == ("headcount.E003", "The database 'default' is PostgreSQL 14.")


def test_another_isolation_level_is_an_error(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    assert ids(checks.transactions_are_read_committed(None, ["default"])) == ["headcount.E004"]


def record(message: str, *args: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("django.request", logging.WARNING, __file__, 1, message, args, more.pop("exc_info", None))
    made.__dict__.update(more)
    return made


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/usage/contacts/ann.o'hara+x@example.com",
        "/api/v1/usage/contacts/ann%40example.com?period=2026-11-01",
        "/api/v1/usage/contacts/4915112345678",
        "/api/v1/usage/contacts/49151/ann/hara",
        "/api/v1/usage/contacts/ig user?'ann' \"hara\" HTTP/1.1 49151",
        "/admin/metering/contact/?q=ann@example.com&p=1",
    ],
)
@pytest.mark.parametrize("formatter", [Readable(), JsonLines()])
def test_no_address_is_logged(formatter: logging.Formatter, path: str) -> None:
    line = formatter.format(record("Not Found: %s", path))

    assert "Not Found: /" in line
    assert not [part for part in ("ann", "hara", "example", "49151") if part in line]


def test_a_line_for_machines_is_one_json_object() -> None:
    try:
        raise ValueError("Key (identity)=(ann@example.com) already exists.")
    except ValueError:
        line = JsonLines().format(record("first\nsecond", status_code=500, exc_info=sys.exc_info()))

    assert "\n" not in line
    said = json.loads(line)
    assert (said["level"], said["message"], said["status"]) == ("warning", "first\nsecond", 500)
    assert said["error"].endswith("ValueError: Key (identity)=(…) already exists.")
