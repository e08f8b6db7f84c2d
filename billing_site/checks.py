"""System checks: what must hold for Headcount to count right, each with an id and what to do about it."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections

OLDEST_POSTGRESQL = 15
SHORTEST_PEPPER = 32


@register()
def tasks_are_retried_after_their_timeout(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """headcount.E001: a task that is handed out again while it still runs would run twice at once."""
    cluster: dict[str, Any] = settings.Q_CLUSTER
    timeout, retry = cluster.get("timeout"), cluster.get("retry", 60)  # django-q2's own defaults
    if timeout is not None and retry > timeout:
        return []
    return [
        Error(
            f"Q_CLUSTER hands a task out again after {retry} s, but lets it run for {timeout} s.",
            hint="Make retry greater than timeout plus the wait in a worker's queue.",
            id="headcount.E001",
        )
    ]


@register()
def time_is_utc(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """headcount.E002: periods are stored in UTC; an account's own zone is a column of the account."""
    if settings.USE_TZ and settings.TIME_ZONE == "UTC":
        return []
    return [
        Error(
            f"TIME_ZONE is {settings.TIME_ZONE} and USE_TZ is {settings.USE_TZ}.",
            hint='Keep TIME_ZONE = "UTC" and USE_TZ = True.',
            id="headcount.E002",
        )
    ]


@register(Tags.security, deploy=True)
def peppers_are_secrets_of_their_own(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """headcount.W005: a pepper that can be guessed, or is known for another purpose, protects no key."""
    peppers = {"KEY_PEPPER": [settings.KEY_PEPPER], "KEY_PEPPERS_OLD": settings.KEY_PEPPERS_OLD}
    return [
        Warning(
            f"{name} holds what is no secret of its own: {what}.",
            hint="Make a new one, as .env.example says, and move the present one to KEY_PEPPERS_OLD.",
            id="headcount.W005",
        )
        for name, values in peppers.items()
        for what, is_so in {
            f"it has fewer than {SHORTEST_PEPPER} characters": any(len(value) < SHORTEST_PEPPER for value in values),
            "it is the SECRET_KEY": settings.SECRET_KEY in values,
        }.items()
        if is_so
    ]


@register(Tags.database)
def postgresql_is_recent(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **kwargs: Any
) -> list[CheckMessage]:
    """headcount.E003: the schema uses what PostgreSQL can do since 15."""
    problems: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor != "postgresql":
            found = connection.display_name
        else:
            major = connection.get_database_version()[0]
            if major >= OLDEST_POSTGRESQL:
                continue
            found = f"PostgreSQL {major}"
        problems.append(
            Error(
                f"The database {alias!r} is {found}.",
                hint=f"Headcount needs PostgreSQL {OLDEST_POSTGRESQL} or newer: set DATABASE_URL to one.",
                id="headcount.E003",
            )
        )
    return problems


@register(Tags.database)
def transactions_are_read_committed(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **kwargs: Any
) -> list[CheckMessage]:
    """headcount.E004: whoever waited for an account's lock must see what the one before committed."""
    problems: list[CheckMessage] = []
    for alias in databases or ():
        if connections[alias].vendor != "postgresql":
            continue
        with connections[alias].cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            (level,) = cursor.fetchone()
        if level != "read committed":
            problems.append(
                Error(
                    f"Transactions on the database {alias!r} are {level}.",
                    hint="Leave out isolation_level; reset default_transaction_isolation in the database.",
                    id="headcount.E004",
                )
            )
    return problems
