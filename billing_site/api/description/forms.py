"""The strict forms that read bodies, as schemas: the rules come from the form, the words from who describes it."""

from collections.abc import Mapping
from typing import Any

from rest_framework.serializers import Field

from billing_site.api import fields
from billing_site.api.description.values import Schema, record

_ANY_TEXT = {"too_long", "bad_characters"}


def schema_of(form: type[fields.StrictSerializer], words: Mapping[str, Schema]) -> Schema:
    """The schema of a form. `words`: description and examples of each of its fields, and nothing of others."""
    found = form().get_fields()
    assert found.keys() == words.keys(), f"{form.__name__}: {found.keys() ^ words.keys()}"  # noqa: S101 - of the build
    properties = {name: words[name] | _rules(field) for name, field in found.items()}
    optional = [name for name, field in found.items() if not field.required]
    return record((form.__doc__ or "").strip(), properties, optional=optional)


def codes_of(form: type[fields.StrictSerializer]) -> set[str]:
    """The codes that reading a form can answer."""
    found = form().get_fields().values()
    codes = {"unknown_field"}.union(*(_codes(field) for field in found))
    return codes | {"invalid"} if found else codes


def _rules(field: Field[Any, Any, Any, Any]) -> Schema:
    rules: Schema
    match field:
        case fields.Address():
            rules = {"anyOf": [{"type": "string", "format": "email", "maxLength": field.max_length}]}
            if field.allow_blank:
                rules["anyOf"].append({"const": ""})
        case fields.TimeZone():
            rules = {"type": "string", "format": "timezone", "maxLength": field.max_length}
        case fields.Text():
            least = 0 if field.allow_blank else 1
            rules = {"type": "string", "format": "printable", "minLength": least, "maxLength": field.max_length}
            if not field.allow_blank:
                rules["pattern"] = r"\S"
        case fields.Choice():
            rules = {"type": "string", "enum": list(field.choices)}
        case fields.YesNo():
            rules = {"type": "boolean"}
        case fields.WholeNumber():
            rules = {"type": "integer", "minimum": field.min_value, "maximum": field.max_value}
        case fields.Instant():
            rules = {"type": "string", "format": "date-time"}
        case _:
            raise TypeError(f"{field!r} is not one of `fields`")
    if field.allow_null:
        rules["type"] = [rules["type"], "null"]
        if "enum" in rules:
            rules["enum"].append(None)
    return rules


def _codes(field: Field[Any, Any, Any, Any]) -> set[str]:
    codes = {"wrong_type"}
    match field:
        case fields.Address():
            codes |= _ANY_TEXT | {"bad_address"}
        case fields.TimeZone():
            codes |= _ANY_TEXT | {"unknown_timezone"}
        case fields.Text():
            codes |= _ANY_TEXT
        case fields.Choice():
            codes |= {"unknown_choice"}
        case fields.WholeNumber():
            codes |= {"out_of_range"}
        case fields.Instant():
            codes |= {"bad_time", "out_of_range"}
    if isinstance(field, fields.Text) and not field.allow_blank:
        codes.add("blank")
    if not field.allow_null:
        codes.add("null")
    if field.required:
        codes.add("missing_field")
    return codes
