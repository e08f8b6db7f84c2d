"""The API's description: complete, in step with the code, and served to everybody."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.validation import validate_schema

from billing_site.api.description.schema import Undescribed
from billing_site.api.endpoint import Endpoint
from tests.billing_site.api.description import FILE, Operation, description, operations, validator_of

each_operation = pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.id)


def fields() -> Iterator[tuple[str, Any]]:
    """Every property of every schema of the components, by where it is."""
    for name, schema in description()["components"]["schemas"].items():
        yield from _fields(name, schema)


def _fields(where: str, schema: Any) -> Iterator[tuple[str, Any]]:
    for name, each in schema.get("properties", {}).items():
        yield f"{where}.{name}", each
        yield from _fields(f"{where}.{name}", each)
    for each in (schema.get("items"), *schema.get("anyOf", [])):
        if each is not None:
            yield from _fields(f"{where}[]", each)


def test_the_file_is_what_the_code_describes():
    made = SchemaGenerator().get_schema(request=None, public=True)

    assert OpenApiJsonRenderer().render(made, renderer_context={}).decode() + "\n" == FILE.read_text(encoding="utf-8")


def test_it_is_openapi_3_1():
    assert description()["openapi"] == "3.1.0"
    validate_schema(description())


def test_an_endpoint_without_a_description_is_refused(monkeypatch: pytest.MonkeyPatch):
    class Silent(Endpoint):
        scopes = {}

        def get(self, request: Any) -> Any: ...

    with pytest.raises(Undescribed, match="GET /api/v1/silent"):
        SchemaGenerator(patterns=[path("api/v1/silent", Silent.as_view())]).get_schema(public=True)


@each_operation
def test_every_operation_says_what_it_does_and_needs(operation: Operation):
    found = operation.found

    assert found["summary"]
    assert found["description"]
    assert found["tags"][0] in [tag["name"] for tag in description()["tags"]]
    assert found["security"][0]["key"]
    assert all(each["description"] for each in found["parameters"])
    assert all("example" in each for each in found["parameters"] if each["name"] != "cursor")


def test_operations_have_names_of_their_own():
    names = [operation.id for operation in operations()]

    assert len(set(names)) == len(names)


def test_every_field_says_what_it_means_and_shows_an_example():
    silent = [where for where, schema in fields() if "$ref" not in schema and not schema.get("description")]
    bare = [
        where for where, schema in fields() if not {"$ref", "examples", "const", "properties", "items"} & schema.keys()
    ]

    assert (silent, bare) == ([], [])


def test_every_example_fits_its_schema():
    wrong = [
        (where, example, error.message)
        for where, schema in fields()
        for example in schema.get("examples", [])
        for error in validator_of(schema).iter_errors(example)
    ]

    assert wrong == []


@each_operation
def test_every_example_of_a_body_or_an_answer_fits(operation: Operation):
    contents = [operation.found.get("requestBody", {}).get("content", {})]
    contents += [answer.get("content", {}) for answer in operation.answers().values()]
    wrong = [
        (name, error.message)
        for content in contents
        for media in content.values()
        for name, example in media["examples"].items()
        for error in validator_of(media["schema"]).iter_errors(example["value"])
    ]

    assert all(media["examples"] for content in contents for media in content.values())
    assert wrong == []


@each_operation
def test_links_lead_to_operations_and_their_parameters(operation: Operation):
    by_name = {each.id: each for each in operations()}

    for answer in operation.answers().values():
        for link in answer.get("links", {}).values():
            known = {each["name"] for each in by_name[link["operationId"]].found["parameters"]}
            assert link["parameters"].keys() <= known


def test_an_object_in_an_answer_has_no_fields_besides():
    open_ones = [
        name
        for name, schema in description()["components"]["schemas"].items()
        if "properties" in schema and schema.get("additionalProperties") is not False
    ]

    assert open_ones == []


# --- Served ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_everybody_may_read_it(client: Client):
    answer = client.get("/api/v1/schema/")

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.content == FILE.read_bytes()


def test_who_has_it_is_told_so(client: Client):
    tag = client.get("/api/v1/schema/").headers["ETag"]

    assert client.get("/api/v1/schema/", headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("address", ["/api/v1/schema/", "/api/v1/docs/"])
def test_it_takes_no_other_method(client: Client, address: str):
    answer = client.post(address)

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_the_page_has_no_script_of_its_own_nor_of_another_host(client: Client):
    answer = client.get("/api/v1/docs/")
    page = answer.content.decode()

    assert answer.status_code == 200
    assert "script-src" not in answer.headers["Content-Security-Policy"]  # the site's own: 'self'
    assert page.count("<script") == page.count('<script src="/static/') == 2
    assert "://" not in page


def test_what_it_shows_is_valid_json():
    assert json.loads(FILE.read_bytes())["info"]["title"] == "Headcount"
