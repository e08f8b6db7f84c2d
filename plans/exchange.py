"""The catalogue as a CSV file: a line per tier, with the plan that it is of.

Out goes what is published, each tier in its newest version. What comes in becomes drafts, which staff then publish: no
line changes anything that is published. So a file that goes out and comes in again changes nothing.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from django import forms
from django.db import transaction

from accounts.refusals import Refused
from plans.catalogue_forms import PlanFields, TierFields
from plans.models import Plan, Tier
from plans.tiers import rank
from plans.versions import PLAN_TERMS, By, Drafted, Terms, draft_plan, draft_tier

TIER_TERMS: Final = ("limit", "price", "trial")
COLUMNS: Final = ("plan", *PLAN_TERMS, "tier", *TIER_TERMS)
MAX_BYTES: Final = 1024 * 1024
MAX_LINES: Final = 1_000

_BEGINS_A_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_AS_TEXT: Final = "'"


class NotACatalogue(Exception):
    """The file as a whole cannot be read; its message says why."""


class LineForm(PlanFields, TierFields):
    """What one line must be. The keys are those of the columns."""

    trial = forms.TypedChoiceField(  # type: ignore[assignment]  # a box that is not ticked is not sent, a cell is
        choices=[("true", "true"), ("false", "false")],
        coerce=lambda word: word == "true",
        error_messages={"invalid_choice": "Say true or false."},
    )


@dataclass(slots=True)
class Line:
    """A line of a file, and what became of it: `done` in words, or `errors` (field and what is wrong with it)."""

    number: int
    plan: str
    tier: str
    done: list[str] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Import:
    """What a file did, or would do; with any error it did nothing."""

    lines: list[Line]

    @property
    def is_faulty(self) -> bool:
        return any(line.errors for line in self.lines)

    @property
    def changes(self) -> int:
        """How many lines change something."""
        return sum(1 for line in self.lines if line.done)


def exported() -> str:
    """The published catalogue as a file."""
    tiers = Tier.objects.newest().select_related("plan")
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for tier in sorted(tiers, key=lambda tier: (tier.plan.key, *rank(tier), tier.key)):
        plan = [tier.plan.key, *(getattr(tier.plan, name) for name in PLAN_TERMS)]
        terms = ["" if tier.limit is None else tier.limit, f"{tier.price:.2f}", "true" if tier.trial else "false"]
        writer.writerow([_defused(cell) for cell in (*plan, tier.key, *terms)])
    return text.getvalue()


def bring_in(content: str, by: By, *, dry_run: bool = False) -> Import:
    """Draft what a file says, all of it or, if a line is at fault, nothing. A dry run tells and drafts nothing.

    Raises `NotACatalogue`.
    """
    rows = list(_rows(content))
    with transaction.atomic():
        found = Import([])
        named: dict[tuple[str, str], int] = {}
        for number, row in rows:
            line = Line(number, row["plan"], row["tier"])
            found.lines.append(line)
            first = named.setdefault((line.plan, line.tier), number)
            if first != number:
                line.errors.append(("tier", f"Line {first} is about this tier already."))
            else:
                _take(line, row, by)
        if dry_run or found.is_faulty:
            transaction.set_rollback(True)
    return found


def _take(line: Line, row: dict[str, str], by: By) -> None:
    form = LineForm(row)
    if not form.is_valid():
        line.errors += [(name, " ".join(map(str, errors))) for name, errors in form.errors.items()]
        return
    said = form.cleaned_data
    try:
        plan, of_plan = draft_plan(said["plan"], {name: said[name] for name in PLAN_TERMS}, by)
        before = _present(plan, said["tier"])
        tier, of_tier = draft_tier(plan.pk, said["tier"], Terms(*(said[name] for name in TIER_TERMS)), by)
    except Refused as refusal:
        line.errors.append((refusal.field, refusal.detail))
        return
    if of_plan != Drafted.UNCHANGED:
        line.done.append("new plan" if of_plan == Drafted.CREATED else "plan in draft changes")
    if of_tier == Drafted.CHANGED:
        line.done.append(f"draft of version {tier.version} changes: {_difference(before, tier)}")
    elif of_tier == Drafted.CREATED:
        line.done.append("new tier" if before is None else f"version {tier.version}: {_difference(before, tier)}")


def _present(plan: Plan, key: str) -> Tier | None:
    """The newest version of a tier, be it a draft."""
    return plan.tiers.filter(key=key).order_by("-version").first()


def _difference(before: Tier | None, after: Tier) -> str:
    return ", ".join(
        f"{name} {_word(getattr(before, name))} → {_word(getattr(after, name))}"
        for name in TIER_TERMS
        if getattr(before, name) != getattr(after, name)
    )


def _word(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    return "unlimited" if value is None else f"{value:,}"


def _rows(content: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines with their numbers, the header being the first."""
    if len(content.encode()) > MAX_BYTES:
        raise NotACatalogue(f"The file is larger than {MAX_BYTES // 1024} KiB.")
    reader = csv.reader(io.StringIO(content.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = next(reader, [])
        if sorted(header) != sorted(COLUMNS):
            raise NotACatalogue(f"The first line must name these columns: {', '.join(COLUMNS)}.")
        read = 0
        for cells in islice(reader, MAX_LINES + 1):
            if not any(cells):
                continue
            read += 1
            if read > MAX_LINES:
                raise NotACatalogue(f"The file has more than {MAX_LINES:,} lines.")
            if len(cells) != len(header):
                raise NotACatalogue(f"Line {reader.line_num} has {len(cells)} cells and not {len(header)}.")
            row = dict(zip(header, map(_as_it_was, cells), strict=True))
            row["trial"] = row["trial"].lower()  # spreadsheets write TRUE
            yield reader.line_num, row
    except csv.Error as error:
        raise NotACatalogue(f"Line {reader.line_num} is no CSV: {error}.") from error


def _defused(cell: Any) -> Any:
    """A text that no spreadsheet takes for a formula."""
    return f"{_AS_TEXT}{cell}" if isinstance(cell, str) and cell.startswith((*_BEGINS_A_FORMULA, _AS_TEXT)) else cell


def _as_it_was(cell: str) -> str:
    """The text that was defused."""
    rest = cell.removeprefix(_AS_TEXT)
    return rest if rest.startswith((*_BEGINS_A_FORMULA, _AS_TEXT)) else cell
