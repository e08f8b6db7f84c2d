"""The catalogue as a file: what goes out comes in again unchanged, and what comes in becomes drafts."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import AuditEntry
from plans.exchange import COLUMNS, MAX_BYTES, MAX_LINES, Import, NotACatalogue, bring_in, exported
from plans.models import Plan, Tier
from plans.versions import By, rename_plan
from tests.factories import NOW, rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]

BY = By("staff sam", "prices of 2027", NOW)
STARTER = {
    "plan": "connect",
    "name": "Connect",
    "unit": "active_contacts",
    "period_rule": "anniversary",
    "at_limit": "by_replayability",
    "grace_hours": "24",
    "tier": "starter",
    "limit": "1000",
    "price": "29.00",
    "trial": "false",
}


def a_file(*changes: dict[str, str]) -> str:
    """A line for each, which is that of connect/starter but for what is said."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows({**STARTER, **change} for change in changes)
    return text.getvalue()


def done(found: Import) -> list[str]:
    return ["; ".join(line.done) for line in found.lines]


def errors(found: Import) -> list[Any]:
    return [error for line in found.lines for error in line.errors]


def everything() -> list[Any]:
    return [
        rows(Plan, "key", "name", "unit", "at_limit", "published_at"),
        rows(Tier, "plan__key", "key", "version", "limit", "price", "trial", "published_at"),
        AuditEntry.objects.count(),
    ]


def test_what_goes_out_changes_nothing_when_it_comes_in():
    before = everything()

    found = bring_in(exported(), BY)

    assert (len(found.lines), found.changes, errors(found)) == (14, 0, [])
    assert everything() == before


def test_what_goes_out_is_what_is_published_by_the_newest_version_the_lowest_first():
    bring_in(a_file({"limit": "1500"}), BY)

    lines = [(line["plan"], line["tier"], line["limit"]) for line in csv.DictReader(io.StringIO(exported()))]

    assert lines[:3] == [("connect", "trial", "500"), ("connect", "starter", "1000"), ("connect", "growth", "2500")]
    assert len(lines) == 14


def test_other_terms_become_a_draft_of_the_next_version():
    found = bring_in(a_file({"limit": "", "price": "39.5"}), BY)

    assert done(found) == ["version 2: limit 1,000 → unlimited, price 29.00 → 39.50"]
    assert rows(Tier, "version", "limit", "published_at", key="starter") == [(1, 1_000, NOW), (2, None, None)]
    assert rows(AuditEntry, "action", "actor", "reason", account=None) == [
        ("catalogue.tier_drafted", "staff sam", "prices of 2027")
    ]


def test_the_same_file_drafts_once():
    bring_in(a_file({"limit": "1500"}), BY)
    before = everything()

    assert bring_in(a_file({"limit": "1500"}), BY).changes == 0
    assert everything() == before


def test_another_file_changes_the_draft():
    bring_in(a_file({"limit": "1500"}), BY)

    assert done(bring_in(a_file({"limit": "1600"}), BY)) == ["draft of version 2 changes: limit 1,500 → 1,600"]


def test_a_new_plan_comes_with_its_tiers_as_drafts():
    found = bring_in(a_file({"plan": "club", "tier": "gold"}, {"plan": "club", "tier": "silver", "trial": "TRUE"}), BY)

    assert done(found) == ["new plan; new tier", "new tier"]
    assert rows(Plan, "key", published_at=None) == ["club"]
    assert rows(Tier, "key", "trial", published_at=None) == [("gold", False), ("silver", True)]


def test_a_dry_run_tells_the_same_and_drafts_nothing():
    before = everything()

    found = bring_in(a_file({"plan": "club"}, {"limit": "1500"}), BY, dry_run=True)

    assert done(found) == ["new plan; new tier", "version 2: limit 1,000 → 1,500"]
    assert everything() == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"unit": "seats"}, "unit"),
        ({"unit": "activated_contacts"}, "unit"),  # of a published plan
        ({"name": "Other"}, "name"),
        ({"trial": "true"}, "trial"),  # of a tier that is none
        ({"trial": "perhaps"}, "trial"),
        ({"plan": "Ünicode"}, "plan"),
        ({"plan": ""}, "plan"),
        ({"tier": "=1+1"}, "tier"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1e3"}, "limit"),
        ({"limit": "9" * 40}, "limit"),
        ({"price": "-1"}, "price"),
        ({"price": "NaN"}, "price"),
        ({"price": "1.999"}, "price"),
        ({"price": "1e99"}, "price"),
        ({"grace_hours": "649"}, "grace_hours"),
        ({"plan": "club", "unit": "app_connector_events", "at_limit": "limit_new"}, "at_limit"),
        ({"name": "x" * 101}, "name"),
        ({"plan": "club", "name": "a\0b"}, "name"),
    ],
    ids=str,
)
def test_a_line_at_fault_names_its_field_and_nothing_of_the_file_is_drafted(change: dict[str, str], field: str):
    before = everything()

    found = bring_in(a_file({"tier": "new"}, change), BY)

    assert [name for name, _ in errors(found)] == [field]
    assert found.lines[1].number == 3
    assert everything() == before


def test_a_tier_is_in_a_file_once():
    found = bring_in(a_file({"limit": "5"}, {"limit": "6"}), BY)

    assert errors(found) == [("tier", "Line 2 is about this tier already.")]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "plan,tier\nconnect,starter\n",
        a_file({}).replace("price", "cost"),
        a_file({}).rstrip() + ",more\n",
        a_file({}) + '"never closed',
        a_file({}) + "x" * MAX_BYTES,
        a_file(*[{"tier": f"t{number}"} for number in range(MAX_LINES + 1)]),
    ],
    ids=["empty", "few columns", "other column", "more cells", "no CSV", "large", "long"],
)
def test_what_is_no_catalogue_is_refused_as_a_whole(content: str):
    before = everything()

    with pytest.raises(NotACatalogue):
        bring_in(content, BY)

    assert everything() == before


@pytest.mark.parametrize(
    "name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "'quoted", "'=both", 'a,"b"', "<script>"]
)
def test_a_name_is_no_formula_in_the_file_and_the_same_name_after_it(name: str):
    rename_plan(Plan.objects.get(key="social").pk, name, BY)

    cells = {line["name"] for line in csv.DictReader(io.StringIO(exported()))}

    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert bring_in(exported(), BY).changes == 0
    assert not bring_in(exported(), BY).is_faulty


@given(content=st.text(max_size=80) | st.lists(st.text(max_size=9), min_size=10, max_size=10).map(",".join))
def test_no_text_breaks_it(content: str):
    for text in (content, f"{','.join(COLUMNS)}\n{content}"):
        try:
            bring_in(text, BY, dry_run=True)
        except NotACatalogue:
            continue


def test_the_commands_bring_a_catalogue_from_one_place_to_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    call_command("export_catalogue")
    file = tmp_path / "catalogue.csv"
    file.write_text(capsys.readouterr().out.replace("starter,1000", "starter,1200"), encoding="utf-8")

    call_command("import_catalogue", file, "--dry-run")
    call_command("import_catalogue", file)

    assert capsys.readouterr().out.splitlines() == [
        "line 3, connect/starter: version 2: limit 1,000 → 1,200",
        "1 of 14 lines would be drafted",
        "line 3, connect/starter: version 2: limit 1,000 → 1,200",
        "1 of 14 lines drafted",
    ]
    assert rows(Tier, "limit", published_at=None) == [1_200]


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"nothing", a_file({"price": "free"}).encode()])
def test_the_command_says_what_is_wrong_with_a_file(tmp_path: Path, content: bytes | None):
    file = tmp_path / "catalogue.csv"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(CommandError):
        call_command("import_catalogue", file)
