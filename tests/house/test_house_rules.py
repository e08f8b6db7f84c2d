"""Rules of the house that no linter knows (STYLE 2.25): a remark made twice in review becomes a test here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.db import models

HOUSE = Path(__file__).resolve().parents[2]
APPS = ("accounts", "jobs", "plans", "notifications", "webhooks", "metering", "billing_site")
OURS = [
    model
    for app in APPS
    if apps.is_installed(app) or apps.is_installed(f"{app}.apps")
    for model in apps.get_models()
    if model.__module__.partition(".")[0] == app
]

# Who may read the clock: the outermost layer, which hands the time on. The domain is told.
INTERFACES = ("billing_site/api/", "billing_site/health.py", "billing_site/usage/visit.py", "billing_site/demo/")
CLOCKS = {"timezone": {"now", "localtime", "localdate"}, "datetime": {"now", "utcnow", "today"}, "date": {"today"}}


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every module of ours but migrations, by its path."""
    for app in APPS:
        for path in sorted((HOUSE / app).rglob("*.py")):
            name = path.relative_to(HOUSE).as_posix()
            if "/migrations/" not in name:
                yield name, ast.parse(path.read_text(encoding="utf-8"), name)


def may_read_the_clock(name: str) -> bool:
    """Whether a module is an interface."""
    inside = ("/management/commands/", "/admin/")
    return (
        name.startswith(INTERFACES)
        or any(folder in name for folder in inside)
        or name.endswith(("/tasks.py", "/admin.py"))
    )


def clock_readings(module: ast.Module) -> list[int]:
    """The lines that read the wall clock or hand the reading on, however the name was imported."""
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and _last_name(node.value) in CLOCKS:
            if node.attr in CLOCKS[_last_name(node.value)]:
                found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "django.utils.timezone":
            found += [node.lineno for alias in node.names if alias.name in CLOCKS["timezone"]]
    return found


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def test_only_interfaces_read_the_clock():
    readings = [
        f"{name}:{line}"
        for name, module in sources()
        if not may_read_the_clock(name)
        for line in clock_readings(module)
    ]

    assert readings == []


def test_interfaces_do_read_it_so_the_rule_is_awake():
    assert any(clock_readings(module) for name, module in sources() if name.startswith("billing_site/api/"))


@pytest.mark.parametrize(
    "code",
    [
        "timezone.now()",
        "make(now=timezone.now)",
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "django.utils.timezone.now()",
        "date.today()",
        "from django.utils.timezone import now",
    ],
)
def test_a_reading_of_the_clock_is_seen_in_any_form(code: str):
    assert clock_readings(ast.parse(code)) == [1]


@pytest.mark.parametrize("code", ["now()", "Now()", "clock.now()", "timezone.utc", "datetime.fromisoformat(text)"])
def test_other_names_are_none_of_its_business(code: str):
    assert clock_readings(ast.parse(code)) == []


def test_every_command_says_what_it_does():
    commands = {
        name: load_command_class(app, name) for name, app in get_commands().items() if app.partition(".")[0] in APPS
    }

    assert {"create_key", "load_catalogue", "import_events", "reconcile", "serve"} <= commands.keys()
    assert [name for name, command in commands.items() if not command.help.strip()] == []


def test_every_model_says_what_a_row_is():
    silent = [
        model._meta.label
        for model in OURS
        if all("__str__" not in vars(each) for each in model.__mro__ if each is not models.Model and each is not object)
    ]

    assert len(OURS) > 20
    assert silent == []
