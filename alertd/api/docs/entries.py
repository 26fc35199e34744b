"""Reads from an OpenAPI document what /docs shows: its operations and its schemas, each with its members and an
example.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alertd.api.docs.fields import Reader, Row, Schema, name_of
from alertd.api.docs.samples import examples_of
from alertd.api.http.bodies import JSON

#: Maximum number of lines of an example.
LONGEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation as /docs shows it, with a curl command."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    scope: str
    parameters: tuple[tuple[str, Row], ...]  # place (path, query or header) and row
    takes: str
    takes_schema: str  # the name of the body's schema; empty if it has no name
    takes_rows: tuple[Row, ...]
    curl: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One status with which an operation can answer: its content, or the problems that have this status."""

    status: str
    words: str
    kind: str
    schema: str  # the name of the content's schema; empty if it has no name
    rows: tuple[Row, ...]
    example: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaEntry:
    """One schema of the document as /docs shows it, with the operations and schemas that use it."""

    name: str
    description: str
    codes: tuple[str, ...]  # all values of a code; empty for other schemas
    rows: tuple[Row, ...]
    example: str
    operations: tuple[tuple[str, str], ...]  # id and summary of each operation that uses this schema
    schemas: tuple[str, ...]  # names of the schemas that contain this one


def operations_of(document: Schema) -> dict[str, Entry]:
    """Returns the operations of a document by their ids."""
    reader = Reader(document)
    return {
        operation["operationId"]: _entry(reader, method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def schemas_of(document: Schema) -> list[SchemaEntry]:
    """Returns the schemas of a document, sorted by name."""
    reader, examples = Reader(document), examples_of(document)
    operations: dict[str, dict[str, str]] = {name: {} for name in reader.components}
    schemas: dict[str, list[str]] = {name: [] for name in reader.components}
    for methods in document["paths"].values():
        for operation in methods.values():
            answers = [answer for status, answer in operation["responses"].items() if status < "300"]
            for name in _references([operation.get("requestBody", {}), *answers, operation["parameters"]]):
                operations[name][operation["operationId"]] = operation["summary"]
    for holder, schema in reader.components.items():
        for name in _references(schema):
            schemas[name].append(holder)
    return [
        SchemaEntry(
            name=name,
            description=schema.get("description", ""),
            codes=tuple(map(str, schema.get("enum", ()))),
            rows=reader.rows(schema),
            example="" if "enum" in schema else _shown(examples[name]),
            operations=tuple(operations[name].items()),
            schemas=tuple(sorted(schemas[name])),
        )
        for name, schema in sorted(reader.components.items())
    ]


def _references(node: Any) -> set[str]:
    """Returns the names of the schemas to which a part of a document refers, at any depth. Ignores examples."""
    if isinstance(node, Mapping):
        own = {name_of(node)} if str(node.get("$ref", "")).startswith("#/components/schemas/") else set()
        return own.union(*map(_references, (each for key, each in node.items() if key not in {"example", "examples"})))
    return set().union(*map(_references, node)) if isinstance(node, list) else set()


def _entry(reader: Reader, method: str, path: str, operation: Schema) -> Entry:
    """Returns one operation of the document as /docs shows it."""
    content = operation.get("requestBody", {}).get("content", {})
    schema = _schema(content)
    return Entry(
        id=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        description=operation["description"],
        scope=operation.get("x-scope", ""),
        parameters=tuple(_parameter(reader, each) for each in operation["parameters"]),
        takes=" or ".join(content),
        takes_schema=_schema_name(schema),
        takes_rows=reader.rows(schema) if schema else (),
        curl=_curl(reader, method, path, operation),
        answers=tuple(_answer(reader, status, each) for status, each in operation["responses"].items()),
    )


def _parameter(reader: Reader, parameter: Schema) -> tuple[str, Row]:
    """Returns the place of a parameter (path, query or header) and its row."""
    described = parameter.get("description") or parameter["schema"].get("description", "")
    schema = {**parameter["schema"], "description": described}
    return parameter["in"], reader.row(parameter["name"], schema, required=parameter["required"])


def _answer(reader: Reader, status: str, response: Schema) -> Answer:
    """Returns one status of an operation. A status of problems gets their slugs, and no content."""
    response = reader.named(response)
    problems = tuple(response.get("x-problems", ()))
    content: Mapping[str, Any] = {} if problems else response.get("content", {})
    schema = _schema(content)
    return Answer(
        status=status,
        words="" if problems else response["description"],
        kind=" or ".join(content),
        schema=_schema_name(schema),
        rows=reader.rows(schema) if schema and "$ref" not in schema else (),
        example=_example(content),
        problems=problems,
    )


def _schema(content: Mapping[str, Any]) -> Schema | None:
    """Returns the schema of the first media type that has one, or None."""
    return next((media["schema"] for media in content.values() if "schema" in media), None)


def _schema_name(schema: Schema | None) -> str:
    """Returns the name of a schema that is a reference; "" for any other schema."""
    return name_of(schema) if schema and "$ref" in schema else ""


def _example(content: Mapping[str, Any]) -> str:
    """Returns the example of the first media type that has one, as text; "" without an example."""
    return _shown(next((media["example"] for media in content.values() if "example" in media), ""))


def _shown(value: Any) -> str:
    """Returns a value as text: a string as it is, anything else as JSON. Cuts after `LONGEST` lines and adds
    a line with "…".
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    lines = text.splitlines()
    return "\n".join([*lines[:LONGEST], *(["…"] if len(lines) > LONGEST else [])])


def _curl(reader: Reader, method: str, path: str, operation: Schema) -> str:
    """Returns a curl command for an operation. It can be pasted into a shell in which ALERTD_URL, ALERTD_KEY and a
    variable for each path variable are set. The body is the operation's example, else a generated one.
    """
    url = f'"$ALERTD_URL{path.replace("{", "$").replace("}", "")}"'
    lines = [f"curl {'' if method == 'GET' else f'-X {method} '}{url}"]
    if operation.get("x-scope"):
        lines.append('-H "Authorization: Bearer $ALERTD_KEY"')
    if method == "POST" and operation.get("x-scope"):
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        lines += _sent(kind, media.get("example", reader.sample(media["schema"])))
        break
    return " \\\n  ".join(lines)


def _sent(kind: str, value: Any) -> list[str]:
    """Returns the options of curl that send a body of a media type: JSON in the command, a form part by part, any other
    body from a file.
    """
    if kind == "multipart/form-data":
        return ["-F photo=@FILE", f"-F 'facts={_quoted(value['facts'])};type={JSON}'"]
    return [f"-H 'Content-Type: {kind}'", f"-d '{_quoted(value)}'" if kind == JSON else "--data-binary @FILE"]


def _quoted(value: Any) -> str:
    """Returns a value as JSON that can stand between single quotes in a shell."""
    return json.dumps(value, ensure_ascii=False, indent=1).replace("'", "'\\''")
