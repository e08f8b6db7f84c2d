"""What is said of one operation, and how that becomes an operation object of OpenAPI."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from accounts.models import Scope
from billing_site.api import fields
from billing_site.api.description import parameters, problems
from billing_site.api.description.forms import codes_of
from billing_site.api.description.values import Schema, headers_of, ref, sample, text
from billing_site.api.endpoint import Endpoint

_IN_BRACES: Final = re.compile(r"{(\w+)}")


_ETAG: Final = headers_of({"ETag": text("What to ask with: `If-None-Match`.", '"9c1185a5c5e9fc54612808977ee8f548"')})
_NOT_MODIFIED: Final = {"description": "It is still the answer that `If-None-Match` names.", "headers": _ETAG}


@dataclass(frozen=True, slots=True)
class Link:
    """What an answer leads to: another operation and where its parameters come from."""

    operation: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Body:
    """A body: schema and examples by media type, and the codes that reading it can answer."""

    media: Mapping[str, tuple[Schema, Mapping[str, Any]]]
    description: str
    codes: Collection[str]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation. `answers`: the component that it answers with and what that means, by status.

    `refuses`: the codes of its own; those of its scope, parameters and body are known. `locks`: it takes the account's
    lock. `creates`: what its address names need not exist.
    """

    id: str
    tag: str
    summary: str
    text: str
    answers: Mapping[int, tuple[str, str]]
    body: Body | None = None
    refuses: Collection[str] = ()
    locks: bool = False
    creates: bool = False
    links: Collection[Link] = ()
    media_type: str = "application/json"
    headers: Mapping[str, Schema] = field(default_factory=dict)


def object_of(
    form: type[fields.StrictSerializer],
    component: str,
    examples: Mapping[str, Any],
    description: str,
    *,
    required: bool = True,
) -> Body:
    """A body that is one JSON object, read by a form."""
    codes = problems.OF_AN_OBJECT | codes_of(form)
    return Body({"application/json": (ref(component), examples)}, description, codes, required)


def described(
    operation: Operation, view: type[Endpoint], method: str, path: str, components: Mapping[str, Schema]
) -> dict[str, Any]:
    """The operation object. Scope and query parameters are those of the view."""
    scope, asked = view.scopes[method], view.parameters.get(method, ())
    of_path = _IN_BRACES.findall(path)
    codes = {*problems.OF_EVERY_REQUEST, *operation.refuses}
    for name in asked:
        codes |= {"repeated_parameter", *problems.OF_PARAMETERS[name]}
    if of_path and not operation.creates:
        codes.add("not_found")
    if operation.locks:
        codes.add("account_busy")
    is_limited = method == "GET" and scope is Scope.READ  # an account's keys cannot operate
    if is_limited:
        codes.add("too_many_requests")
    if view.revalidates:
        codes.add("precondition_failed")
    found: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": f"{operation.text}\n\nScope: `{scope.value}`",
        "security": [{"key": [scope.value]}],
        "parameters": [*parameters.of_path(of_path), *parameters.of_query(asked)],
    }
    if operation.body is not None:
        codes |= set(operation.body.codes)
        found["requestBody"] = _body(operation.body)
    found["responses"] = {
        **{str(status): _answer(operation, *answer, components) for status, answer in operation.answers.items()},
        **({"304": _NOT_MODIFIED} if view.revalidates else {}),
        **problems.answers(codes),
    }
    headers = (problems.OF_THE_LIMIT if is_limited else {}) | (_ETAG if view.revalidates else {})
    if headers:
        found["responses"]["200"].setdefault("headers", {}).update(headers)
    return found


def _body(body: Body) -> dict[str, Any]:
    return {
        "description": body.description,
        "required": body.required,
        "content": {
            media_type: {
                "schema": schema,
                "examples": {name: {"summary": name, "value": value} for name, value in examples.items()},
            }
            for media_type, (schema, examples) in body.media.items()
        },
    }


def _answer(operation: Operation, component: str, description: str, components: Mapping[str, Schema]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": description,
        "content": {
            operation.media_type: {
                "schema": ref(component),
                "examples": {"example": {"summary": "An answer", "value": sample(ref(component), components)}},
            }
        },
    }
    if operation.headers:
        answer["headers"] = headers_of(operation.headers)
    if operation.links:
        answer["links"] = {
            link.operation: {"operationId": link.operation, "parameters": dict(link.parameters)}
            for link in operation.links
        }
    return answer
