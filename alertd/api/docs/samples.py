"""Finds an example of each schema of an OpenAPI document: the schema's own one, else a part of a recorded request or
answer, else one from `descriptions.toml`, else a generated one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from alertd.api.docs.fields import Reader, Schema, by_name, choices_of, name_of
from alertd.api.docs.openapi import descriptions


def examples_of(document: Schema) -> dict[str, Any]:
    """Returns an example of each schema of a document, by the schema's name."""
    reader = Reader(document)
    found = {name: schema["examples"][0] for name, schema in reader.components.items() if schema.get("examples")}
    recorded = [*_recorded(document)]
    for schema, value in recorded:  # a whole body is a better example of its schema than a part of another body
        if "$ref" in schema:
            found.setdefault(name_of(schema), value)
    for schema, value in recorded:
        for name, part in _parts(reader, schema, value):
            found.setdefault(name, part)
    written = descriptions()["examples"]
    return {
        name: found[name] if name in found else written.get(name, reader.sample(schema))
        for name, schema in reader.components.items()
    }


def _recorded(document: Schema) -> Iterator[tuple[Schema, Any]]:
    """Yields pairs of a schema and a JSON value from the examples of requests, answers and problems."""
    for methods in document["paths"].values():
        for operation in methods.values():
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                for media in part.get("content", {}).values():
                    yield from _values(media)
    for example in document["components"]["examples"].values():
        yield {"$ref": "#/components/schemas/Problem"}, example["value"]


def _values(media: Schema) -> Iterator[tuple[Schema, Any]]:
    """Yields pairs of a schema and a JSON value from the example of one media type; for a stream, one for each line or
    event.
    """
    example = media.get("example")
    if example is not None and not isinstance(example, str):
        yield media["schema"], example
    elif media.get("x-item-schema"):  # a stream: lines, or events
        for line in str(example or "").splitlines():
            if line.removeprefix("data: ").startswith("{"):
                yield media["x-item-schema"], json.loads(line.removeprefix("data: "))


def _parts(reader: Reader, schema: Schema, value: Any) -> Iterator[tuple[str, Any]]:
    """Yields the names of the named schemas in `schema`, at any depth, each with the part of `value` that it
    describes.
    """
    whole = reader.resolved(schema)
    if "$ref" in schema:
        yield name_of(schema), value
    fitting = next((each for each in choices_of(whole) if _fits(reader, each, value)), None)
    if fitting is not None:
        yield from _parts(reader, fitting, value)
    elif isinstance(value, Mapping):
        rest = by_name(whole)
        for name, part in value.items():
            member = whole.get("properties", {}).get(name, rest)
            if member is not None:
                yield from _parts(reader, member, part)
    elif isinstance(value, list):
        for part in value:
            yield from _parts(reader, whole.get("items") or {}, part)


def _fits(reader: Reader, schema: Schema, value: Any) -> bool:
    """Returns whether a value may be of this alternative of a schema. Compares only the kind of value, the names of its
    members, and constants.
    """
    whole = reader.resolved(schema)
    choices = choices_of(whole)
    if choices:
        return any(_fits(reader, each, value) for each in choices)
    if not isinstance(value, Mapping):
        return whole.get("type") == ("array" if isinstance(value, list) else None)
    members = whole.get("properties", {})
    if whole.get("type") != "object" or not set(whole.get("required", ())) <= value.keys():
        return False
    if by_name(whole) is None and not value.keys() <= members.keys():
        return False
    return all(value[name] == each["const"] for name, each in members.items() if "const" in each and name in value)
