"""JSON schemas of what the API takes and gives: every value with its meaning, its unit and an example."""

from collections.abc import Collection, Mapping
from typing import Any

type Schema = dict[str, Any]


def text(description: str, example: str, **rules: Any) -> Schema:
    """A string."""
    return {"type": "string", "description": description, "examples": [example], **rules}


def printable(description: str, example: str, most: int, least: int = 1) -> Schema:
    """A string without control and other characters that cannot be seen, of at most so many characters."""
    return text(description, example, format="printable", minLength=least, maxLength=most)


def number(description: str, example: int, least: int = 0, **rules: Any) -> Schema:
    """A whole number."""
    return {"type": "integer", "description": description, "examples": [example], "minimum": least, **rules}


def yes_or_no(description: str, example: bool) -> Schema:
    """true or false."""
    return {"type": "boolean", "description": description, "examples": [example]}


def instant(description: str, example: str = "2026-11-22T10:00:00Z") -> Schema:
    """A time, RFC 3339."""
    return text(description, example, format="date-time")


def day(description: str, example: str = "2026-11-22") -> Schema:
    """A local day of the account."""
    return text(description, example, format="date")


def one_of(description: str, example: str, words: Collection[str]) -> Schema:
    """One of a few words."""
    return text(description, example, enum=[str(word) for word in words])


def slug(description: str, example: str = "acme") -> Schema:
    """What an account is called in addresses."""
    return text(description, example, pattern="^[a-z0-9-]{1,63}$")


def connection_key(description: str, example: str = "pipedrive-mailchimp") -> Schema:
    """What a connection is called in addresses and in the `source` of events."""
    return text(description, example, pattern=r"^(?!\.{1,2}$)[A-Za-z0-9._~:-]{1,100}$")


def or_null(schema: Schema, when: str, *, example_is_null: bool = False) -> Schema:
    """The same, or null, which means: `when`."""
    found = {**schema, "description": f"{schema['description']} Null: {when}."}
    if "anyOf" in found:
        found["anyOf"] = [*found["anyOf"], {"type": "null"}]
    else:
        found["type"] = [schema["type"], "null"]
    if "enum" in found:
        found["enum"] = [*schema["enum"], None]
    if example_is_null:
        found["examples"] = [None]
    return found


def many(description: str, items: Schema, **rules: Any) -> Schema:
    """A list."""
    return {"type": "array", "description": description, "items": items, **rules}


def tally(description: str, example: Mapping[str, int], words: Collection[str]) -> Schema:
    """Numbers by word; a word that is not there stands for 0."""
    return {
        "type": "object",
        "description": f"{description} What is not listed is 0.",
        "propertyNames": {"enum": [str(word) for word in words]},
        "additionalProperties": {"type": "integer", "minimum": 0},
        "examples": [dict(example)],
    }


def record(description: str, properties: Mapping[str, Schema], *, optional: Collection[str] = ()) -> Schema:
    """An object of these properties and no others; all are there but the optional ones."""
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def either(description: str, *schemas: Schema) -> Schema:
    """One of several forms."""
    return {"description": description, "anyOf": list(schemas)}


def ref(name: str) -> Schema:
    """A schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def page_of(name: str, what: str) -> Schema:
    """A page of a list."""
    address = "The address of the {} page, to be followed as it is."
    example = "https://billing.example.com/api/v1/…?cursor=…"
    return record(
        f"A page of a list: {what}",
        {
            "results": many(what, ref(name), maxItems=1_000),
            "next": or_null(text(address.format("next"), example, format="uri"), "this is the last one"),
            "previous": or_null(
                text(address.format("previous"), example, format="uri"), "this is the first one", example_is_null=True
            ),
        },
    )


def sample(schema: Schema, components: Mapping[str, Schema]) -> Any:
    """An example of a schema, put together from those of its parts."""
    if "$ref" in schema:
        return sample(components[schema["$ref"].rpartition("/")[2]], components)
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], components)
    if schema.get("type") == "array":
        return [sample(schema["items"], components)]
    return {name: sample(each, components) for name, each in schema["properties"].items()}


def headers_of(schemas: Mapping[str, Schema], *, required: bool = True) -> dict[str, Schema]:
    """Headers of an answer; unless they are required, it may have them."""
    return {
        name: {"description": schema["description"], "required": required, "schema": schema}
        for name, schema in schemas.items()
    }
