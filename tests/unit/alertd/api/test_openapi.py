"""The API's document is whole: every operation with its schemas and examples, every problem with its status."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from alertd.api.application import OPERATIONS, document
from alertd.api.docs.openapi import describe, descriptions
from alertd.api.http.operations import signature_of
from alertd.common.errors import CATALOGUE

NDJSON, EVENTS = "application/x-ndjson", "text/event-stream"
NO_EXAMPLE = {"image/jpeg"}  # a picture is no text


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """The document as programs read it."""
    return json.loads(json.dumps(document()))


def operations(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in told["paths"].values():
        yield from methods.values()


def contents(told: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each body and each answer that is no problem: operation, media type, and what is said of it."""
    for operation in operations(told):
        answers = [answer for status, answer in operation["responses"].items() if status < "300"]
        for part in (operation.get("requestBody", {}), *answers):
            for kind, media in part.get("content", {}).items():
                yield operation["operationId"], kind, media


def faults(told: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    whole = Draft202012Validator({**schema, "components": told["components"]}, format_checker=FormatChecker())
    return [f"{fault.json_path}: {fault.message}" for fault in whole.iter_errors(value)]


def items(kind: str, text: str) -> list[Any]:
    """What is in an example of a stream."""
    lines = text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if kind == NDJSON or line.startswith("data: ")]


def test_no_two_models_share_a_name(told: dict[str, Any]):
    """Else both are called by their modules, and generators of clients leave out what has either."""
    assert [name for name in told["components"]["schemas"] if "__" in name] == []


def test_it_is_valid_and_has_every_operation_of_the_table(told: dict[str, Any]):
    """Valid OpenAPI 3.1; each operation has a name fit for programs, words, a scope, and its refusals."""
    validate(told)
    found = {each["operationId"]: each for each in operations(told)}
    assert set(found) == {each.id for each in OPERATIONS}
    for name, each in found.items():
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", name)
        assert each["summary"]
        assert len(each["description"]) > 20, name
        assert bool(each["security"]) == ("x-scope" in each) == ("401" in each["responses"]), name
        assert {"400", "500", "503"} <= set(each["responses"]), name
        assert "default" not in each["responses"], name


def test_every_body_and_answer_has_an_example_that_its_schema_allows(told: dict[str, Any]):
    """The examples were recorded, so one that does not fit is a lie of the schema."""
    wrong = []
    for name, kind, media in contents(told):
        if kind in NO_EXAMPLE:
            continue
        if "example" not in media:
            wrong.append(f"{name} {kind}: no example")
            continue
        values = [media["example"]] if "x-item-schema" not in media else items(kind, media["example"])
        schema = media.get("x-item-schema", media["schema"])
        assert values, name
        if name == "import_subscribers" and "line" not in values[0]:
            values = values[:1]  # the second is there to be refused
        wrong += [f"{name} {kind}: {fault}" for value in values for fault in faults(told, schema, value)]
    assert not wrong, "record them anew with python -m tests.acceptance.api_walk:\n" + "\n".join(wrong)


def test_every_member_of_a_schema_can_be_found_in_the_document(told: dict[str, Any]):
    """No reference leads nowhere, and no component is left that nobody refers to."""
    text = json.dumps(told)
    named = {tuple(place.split("/")) for place in re.findall(r'"\$ref": "#/components/([^"]+)"', text)}
    there = {(kind, name) for kind, parts in told["components"].items() for name in parts}
    assert named <= there
    assert {place for place in there - named if place[0] == "schemas"} == set()


def test_every_problem_is_a_named_response_with_its_status(told: dict[str, Any]):
    """Each type of the catalogue: its response, an example of it, and only statuses under which it is told."""
    responses, examples = told["components"]["responses"], told["components"]["examples"]
    assert set(CATALOGUE) <= set(responses)
    for name, response in responses.items():
        (slug,) = response["x-problems"]
        value = examples[name]["value"]
        assert value["type"] == f"/problems/{slug}"
        assert name == slug if value["status"] == CATALOGUE[slug].status else name == f"{slug}-{value['status']}"
        assert faults(told, {"$ref": "#/components/schemas/Problem"}, value) == []
    for operation in operations(told):
        for status, answer in operation["responses"].items():
            whole = responses[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
            shown = whole.get("content", {}).get("application/problem+json", {}).get("examples", {})
            statuses = {examples[one["$ref"].rpartition("/")[2]]["value"]["status"] for one in shown.values()}
            assert statuses <= {int(status)}, operation["operationId"]


def test_every_number_among_the_parameters_has_its_bounds(told: dict[str, Any]):
    """The store and programs in other languages count to 2 ** 53 alike; what is beyond is refused in words, not by them."""
    for operation in operations(told):
        for parameter in operation["parameters"]:
            schema = parameter["schema"]
            if schema.get("type") == "integer":
                assert 0 <= schema["minimum"] <= schema["maximum"] < 2**53, (
                    operation["operationId"],
                    parameter["name"],
                )


def test_parameters_of_the_path_are_those_of_the_handler(told: dict[str, Any]):
    """A program that fills them in reaches the operation."""
    for operation in OPERATIONS:
        path = next(path for path, methods in told["paths"].items() if _has(methods, operation.id))
        assert re.findall(r"\{(\w+)\}", path) == list(signature_of(operation).path)
        assert re.sub(r"\{\w+\}", "", path).isascii()
        assert not re.search(r"[()\[\]?]", path)


def _has(methods: dict[str, Any], name: str) -> bool:
    return any(each["operationId"] == name for each in methods.values())


#: Members that end like a person's and name something else: a version, a region, an organisation; or words that somebody wrote into a case.
NO_PERSONS = {
    "AlertReply.told_by", "PermissionReply.told_by", "CoveredRegion.by", "PermissionRequest.asked_by", "Decision.by",
    "AlertRequest.author", "UpdateRequest.author",
}  # fmt: skip


def test_every_answer_that_names_a_person_names_their_organisation_too(told: dict[str, Any]):
    """Two organisations may have people of the same name: beside `by`, `made_by`, `author` or `approver` stands `by_org` and so on."""
    people = {
        f"{name}.{member}"
        for name, schema in told["components"]["schemas"].items()
        for member in schema.get("properties", {})
        if member in {"by", "author", "approver"} or member.endswith("_by")
    } - NO_PERSONS
    members = {
        f"{name}.{one}"
        for name, schema in told["components"]["schemas"].items()
        for one in schema.get("properties", {})
    }
    assert [one for one in sorted(people) if f"{one}_org" not in members] == []
    assert len(people) > 20


#: Fields that are not described: those of Web Authentication, whose names are the standard's, and of addresses that only alertd makes. Never more.
UNDESCRIBED = 16


def fields(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each member of an object, with its schema."""
    if isinstance(node, list):
        for each in node:
            yield from fields(each)
    elif isinstance(node, dict):
        members = node.get("properties", {})
        yield from ((name, schema) for name, schema in members.items() if isinstance(schema, dict))
        yield from fields([value for key, value in node.items() if key not in {"example", "examples"}])


def test_fields_say_what_they_mean(told: dict[str, Any]):
    """Whoever writes a client reads the document alone. A new field needs its meaning, where it is declared or in `descriptions`."""
    found = [*fields(told["components"]["schemas"]), *fields(told["paths"])]
    found += [(one["name"], one) for operation in operations(told) for one in operation["parameters"]]
    lacking = sorted(name for name, schema in found if not schema.get("description"))
    assert len(found) > 1_000
    assert len(lacking) <= UNDESCRIBED, lacking


def test_a_meaning_is_of_a_field_that_exists_and_has_no_other(told: dict[str, Any]):
    """A field that is renamed takes its meaning along, and none is told in two ways."""
    models = {
        name for names in descriptions()["fields"] for name in names.split() if not name.endswith("Query")
    }  # those are parameters
    assert models <= set(told["components"]["schemas"])
    with pytest.raises(KeyError):
        describe({name: {"properties": {}} for names in descriptions()["fields"] for name in names.split()})
    for text in (text for of in descriptions()["fields"].values() for text in of.values()):
        assert text.endswith("."), text
    paths = {re.sub(r"\{(\w+):.*?\}(?=[/.]|$)", r"{\1}", one.path) for one in OPERATIONS}
    assert [start for start in descriptions()["variables"] if not any(path.startswith(start) for path in paths)] == []
