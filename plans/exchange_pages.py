"""The staff pages that take a file of the catalogue in: what it would do first, then the drafts that it makes."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from plans.catalogue_forms import ImportForm, UploadForm
from plans.exchange import MAX_BYTES, Import, NotACatalogue, bring_in
from plans.versions import By


def take_in(request: HttpRequest, *, now: datetime, back: str, context: dict[str, Any]) -> HttpResponse:
    """Asks for a file; shows what it would do; with a reason does that and leads `back`.

    The content goes along in the page, so nothing is kept between the steps, and a second click drafts nothing more.
    The caller has asked whether this user may.
    """
    who = f"staff {request.user.get_username()}"
    form: UploadForm | ImportForm
    found = None
    if "content" in request.POST:
        form = ImportForm(request.POST)
        may = form.is_valid()
        by = By(who, form.cleaned_data.get("reason", ""), now)
        found = _try(form, form.cleaned_data.get("content"), by, dry_run=not may)
        if may and found is not None and not found.is_faulty:
            messages.success(request, f"{found.changes:,} of {len(found.lines):,} lines were drafted.")
            return HttpResponseRedirect(back)
    else:
        form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
        content = _content(form)
        found = _try(form, content, By(who, "", now), dry_run=True)
        if found is not None:
            form = ImportForm(initial={"content": content})
    shown = {**context, "title": "Import the catalogue", "form": form, "back": back, "again": request.path}
    if found is not None:
        lines = {"headers": ["Line", "Plan", "Tier", "What it does"], "rows": _rows(found)}
        shown |= {"found": found, "lines": lines}
    return TemplateResponse(request, "plans/catalogue_import.html", shown)


def _content(form: UploadForm) -> str | None:
    """The text of the file; None, with the form saying why, if there is none."""
    if not form.is_bound or not form.is_valid():
        return None
    file = form.cleaned_data["file"]
    if file.size > MAX_BYTES:
        form.add_error("file", f"The file is larger than {MAX_BYTES // 1024} KiB.")
        return None
    try:
        content: str = file.read().decode()
    except UnicodeDecodeError:
        form.add_error("file", "The file is not UTF-8: save it as “CSV UTF-8”.")
        return None
    if "\0" in content:
        form.add_error("file", "The file is no text.")
        return None
    return content


def _try(form: forms.Form, content: str | None, by: By, *, dry_run: bool) -> Import | None:
    """What the content does; None, with the form saying why, if it is no catalogue."""
    try:
        return None if content is None else bring_in(content, by, dry_run=dry_run)
    except NotACatalogue as error:
        form.add_error(None, str(error))
        return None


def _rows(found: Import) -> list[list[Any]]:
    """The lines that change something or are at fault; in a long file the others would hide them."""
    return [
        [line.number, line.plan, line.tier, "; ".join([*(_said(*error) for error in line.errors), *line.done])]
        for line in found.lines
        if line.errors or line.done
    ]


def _said(field: str, text: str) -> str:
    return f"{field}: {text}" if field else text
