"""The OpenAPI 3.1 document, made from the same table and the same annotations that check the requests."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Literal

from pydantic import TypeAdapter

from alertd.api.idempotency import HEADER as IDEMPOTENCY_HEADER
from alertd.api.operations import Operation, Signature, signature_of
from alertd.api.problems import CONTENT_TYPE as PROBLEM
from alertd.errors import CATALOGUE

Schema = dict[str, Any]

_REF = "#/components/schemas/"
_PROBLEM_REF = {"schema": {"$ref": _REF + "Problem"}}

#: What every operation of a form can answer, besides what its row says.
_OF_BODY = ("invalid-request", "wrong-content-type", "too-large")
_OF_SCOPE = ("not-allowed",)
_OF_POST = ("idempotency-mismatch", "idempotency-in-progress")
_OF_ALL = ("store-unavailable", "internal-error")


def openapi(operations: Iterable[Operation], *, title: str, version: str, description: str) -> Schema:
    """The document, as JSON values. Raises TypeError for a handler that does not fit its path."""
    rows = [(each, signature_of(each)) for each in operations]
    schemas, components = _schemas(rows)
    paths: dict[str, Schema] = {}
    for operation, signature in rows:
        path = re.sub(r"\{(\w+):[^/]*\}", r"{\1}", operation.path)  # aiohttp's patterns are not OpenAPI's
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, signature, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": "/"}],
        "tags": [{"name": group} for group in dict.fromkeys(each.group for each, _ in rows)],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _problem_schema()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


class _Schemas:
    """The schema of each operation's parts."""

    def __init__(self, found: dict[tuple[str, str], Schema], components: dict[str, Schema]) -> None:
        self._found = found
        self._components = components

    def of(self, operation: Operation, part: str) -> Schema:
        """A reference, or a schema in place."""
        return self._found[operation.id, part]

    def whole(self, operation: Operation, part: str) -> Schema:
        """The schema itself, where a reference will not do."""
        schema = self.of(operation, part)
        return self._components[schema["$ref"].removeprefix(_REF)] if "$ref" in schema else schema


def _schemas(rows: list[tuple[Operation, Signature]]) -> tuple[_Schemas, dict[str, Schema]]:
    inputs: list[tuple[tuple[str, str], Literal["validation", "serialization"], TypeAdapter[Any]]] = []
    for operation, signature in rows:
        inputs += [
            ((operation.id, part), "serialization" if part == "gives" else "validation", TypeAdapter(kind))
            for part, kind in _parts(signature)
        ]
    found, rest = TypeAdapter.json_schemas(inputs, ref_template=_REF + "{model}")
    components = rest.get("$defs", {})
    schemas = _Schemas({key: schema for (key, _mode), schema in found.items()}, components)
    lists = {f"{part}": None for part in ("query", "headers")}  # these become parameters and are no components
    hidden = {
        schemas.of(operation, part).get("$ref", "").removeprefix(_REF)
        for operation, signature in rows
        for part, _ in _parts(signature)
        if part in lists
    }
    return schemas, {name: schema for name, schema in components.items() if name not in hidden}


def _parts(signature: Signature) -> Iterator[tuple[str, Any]]:
    yield from ((f"path.{name}", kind) for name, kind in signature.path.items())
    named = {"query": signature.query, "headers": signature.headers, "body": signature.body, "gives": signature.gives}
    yield from ((part, kind) for part, kind in named.items() if kind is not None)


def _operation(operation: Operation, signature: Signature, schemas: _Schemas) -> Schema:
    described = inspect.getdoc(operation.handler) or ""
    either = f" or `{operation.or_scope}`" if operation.or_scope else ""
    scope = f"Needs the scope `{operation.scope}`{either}." if operation.scope else "Needs no key."
    document: Schema = {
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.summary,
        "description": "\n\n".join(part for part in (described, scope) if part),
        "parameters": list(_parameters(operation, signature, schemas)),
        "security": [{"key": []}] if operation.scope else [],
        "responses": _responses(operation, signature, schemas),
    }
    if operation.scope:
        document["x-scope"] = operation.scope
    if signature.body is not None:
        content = {operation.takes[0]: _with_example(schemas.of(operation, "body"), schemas.whole(operation, "body"))}
        document["requestBody"] = {"required": signature.body_required, "content": content}
    elif not operation.reads_json:
        document["requestBody"] = {"required": True, "content": {kind: {} for kind in operation.takes}}
    return document


def _with_example(schema: Schema, whole: Schema) -> Schema:
    examples = whole.get("examples")
    return {"schema": schema, "example": examples[0]} if examples else {"schema": schema}


def _parameters(operation: Operation, signature: Signature, schemas: _Schemas) -> Iterator[Schema]:
    for name in signature.path:
        yield {"name": name, "in": "path", "required": True, "schema": schemas.of(operation, f"path.{name}")}
    for part, place in (("query", "query"), ("headers", "header")):
        if getattr(signature, part) is None:
            continue
        whole = schemas.whole(operation, part)
        for name, schema in whole.get("properties", {}).items():
            told = {"description": schema["description"]} if "description" in schema else {}
            required = name in whole.get("required", ())
            yield {"name": name, "in": place, "required": required, **told, "schema": _present(schema)}
    if operation.takes_key:
        yield {
            "name": IDEMPOTENCY_HEADER,
            "in": "header",
            "required": False,
            "description": "The same key with the same request within 24 hours is done once and answered again.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }


def _present(schema: Schema) -> Schema:
    """A parameter's schema where there is one: absent is not null, and only a member of JSON can be null."""
    kept = {key: value for key, value in schema.items() if key not in {"title", "description", "anyOf"}}
    if kept.get("default", ...) is None:
        del kept["default"]
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    return {**kept, **choices[0]} if len(choices) == 1 else {**kept, **({"anyOf": choices} if choices else {})}


def _responses(operation: Operation, signature: Signature, schemas: _Schemas) -> Schema:
    content: Schema = {}
    if signature.writes:
        content = {kind: {} for kind in operation.gives}
    if signature.gives is not None:
        shown = _with_example(schemas.of(operation, "gives"), schemas.whole(operation, "gives"))
        content[operation.gives[0]] = shown
    status = operation.status if content else 204
    success: Schema = {"description": HTTPStatus(status).phrase}
    if content:
        success["content"] = content
    return {str(status): success, **_refusals(operation, signature)}


def _refusals(operation: Operation, signature: Signature) -> Schema:
    """The problems by status; `default` stands for those that any operation can have."""
    slugs = dict.fromkeys(operation.problems)
    slugs |= dict.fromkeys(_OF_BODY if signature.body is not None else ("invalid-request",))
    slugs |= dict.fromkeys(("not-found",) if signature.path else ())
    slugs |= dict.fromkeys(_OF_SCOPE if operation.scope else ())
    slugs |= dict.fromkeys(_OF_POST if operation.takes_key else ())
    by_status: dict[int, list[str]] = {}
    for slug in slugs:
        by_status.setdefault(CATALOGUE[slug].status, []).append(slug)
    if signature.headers is not None:  # the only headers there are: If-Match
        by_status[HTTPStatus.PRECONDITION_FAILED] = ["precondition-failed"]
    if operation.scope:
        by_status.setdefault(401, []).append("not-allowed")
    refusals = {str(status): _refusal(by_status[status]) for status in sorted(by_status)}
    return {**refusals, "default": _refusal(list(_OF_ALL))}


def _refusal(slugs: list[str]) -> Schema:
    described = "; ".join(f"`{slug}`: {CATALOGUE[slug].title.lower()}" for slug in slugs)
    return {"description": described, "x-problems": slugs, "content": {PROBLEM: _PROBLEM_REF}}


def _problem_schema() -> Schema:
    text = {"type": "string"}
    fault = {
        "type": "object",
        "required": ["detail"],
        "properties": {
            "pointer": {**text, "description": "Where in the body: a JSON pointer (RFC 6901); to XML, too."},
            "parameter": {**text, "description": "The query parameter or header at fault, where it is not the body."},
            "line": {"type": "integer", "minimum": 1, "description": "Of the body, where it is XML."},
            "detail": text,
        },
    }
    return {
        "type": "object",
        "description": "What went wrong (RFC 9457). A type can have further members.",
        "required": ["type", "title", "status", "detail", "what_to_do", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "enum": [f"/problems/{slug}" for slug in CATALOGUE]},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "what_to_do": text,
            "request_id": {**text, "description": "The name of this call in the logs."},
            "errors": {"type": "array", "items": fault, "description": "All faults of the request at once."},
        },
    }
