"""The API's description as tests ask it: which operation an address is, whether it documents an answer."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

from tests.billing_site.programs import ROOT

FILE = ROOT / "billing_site" / "api" / "openapi.json"

# Of no operation in particular: a method that the address does not take, and a failure of ours.
OF_NO_OPERATION = (405, 500)


@cache
def description() -> Any:
    """The file, as it is served."""
    return json.loads(FILE.read_text(encoding="utf-8"))


class Operation(NamedTuple):
    """An operation and where it is: `PUT`, `/accounts/{slug}`."""

    method: str
    path: str
    found: Any

    @property
    def id(self) -> str:
        return self.found["operationId"]

    def answers(self) -> dict[int, Any]:
        """Its answers by status, references followed."""
        return {int(status): _followed(answer) for status, answer in self.found["responses"].items()}

    def codes(self) -> set[tuple[int, str]]:
        """The status and code of every error that it documents."""
        return {(status, code) for status, answer in self.answers().items() if status >= 400 for code in _codes(answer)}


def _followed(node: Any) -> Any:
    while "$ref" in node:
        kind, name = node["$ref"].split("/")[-2:]
        node = description()["components"][kind][name]
    return node


def _codes(answer: Any) -> list[str]:
    return answer["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]


@cache
def operations() -> list[Operation]:
    """All of them, in the order of the file."""
    return [
        Operation(method.upper(), path, found)
        for path, methods in description()["paths"].items()
        for method, found in methods.items()
    ]


def operation_of(method: str, path: str) -> Operation | None:
    """The operation that a method and a path below `/api/v1` ask for, if there is one."""
    fitting = [found for found in operations() if found.method == method and _pattern(found.path).fullmatch(path)]
    return min(fitting, key=lambda found: found.path.count("{"), default=None)


@cache
def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"{(\w+)}", path)
    return re.compile("".join(re.escape(part) if place % 2 == 0 else _any(part) for place, part in enumerate(parts)))


def _any(name: str) -> str:
    return ".+" if name == "subject" else "[^/]+"


@cache
def validator(status: int, operation: str, media_type: str) -> Draft202012Validator:
    """What an answer must look like."""
    [found] = [each for each in operations() if each.id == operation]
    schema = found.answers()[status]["content"][media_type]["schema"]
    return validator_of(schema)


def validator_of(schema: Any) -> Draft202012Validator:
    """Of a schema that stands in the file, with its references."""
    return Draft202012Validator(
        {"allOf": [schema], "components": description()["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def undocumented(method: str, path: str, answer: Any) -> Iterator[str]:
    """What about an answer to a request below `/api/v1` is not in the description; nothing of what is no operation."""
    operation = operation_of(method, path.partition("?")[0])
    if operation is None or answer.status_code in OF_NO_OPERATION:
        return
    documented = operation.answers().get(answer.status_code)
    if documented is None:
        yield f"{operation.id}: status {answer.status_code}, {answer.content[:300]!r}"
        return
    if "content" not in documented:
        return
    media_type = answer.headers.get("Content-Type", "").partition(";")[0]
    if media_type not in documented["content"]:
        yield f"{operation.id}: a {answer.status_code} of {media_type}"
        return
    for name, header in documented.get("headers", {}).items():
        if header.get("required") and name not in answer.headers:
            yield f"{operation.id}: a {answer.status_code} without {name}"
    if answer.streaming:
        return  # a file, however large
    for error in validator(answer.status_code, operation.id, media_type).iter_errors(answer.json()):
        yield f"{operation.id}: {answer.status_code}, {error.json_path}: {error.message[:500]}"
