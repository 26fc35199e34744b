"""Makes the OpenAPI 3.1 document from the table of operations and the annotations that also check the requests.

Each request and answer has an example in `examples.json`, recorded from real calls.
"""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from alertd.api.docs.refusals import headers, problem_examples, problem_responses, problem_schema, refusals
from alertd.api.http.bodies import JSON
from alertd.api.http.call import EVENTS
from alertd.api.http.idempotency import HEADER as IDEMPOTENCY_HEADER
from alertd.api.http.operations import ANY, NDJSON, Operation, Signature, signature_of

Schema = dict[str, Any]
#: Groups of operations by name, in the order of the document. Each has a `description` and `operations`, a list of
#: operation ids.
Groups = Mapping[str, Mapping[str, Any]]

_REF = "#/components/schemas/"

#: The schemas of bodies that are not JSON, by media type.
_OTHER_MEDIA: dict[str, Schema] = {
    NDJSON: {"type": "string", "description": "One JSON object a line; `x-item-schema` has its form."},
    EVENTS: {
        "type": "string",
        "description": "Server-sent events (HTML, section 9.2), each with JSON as `data`; `x-item-schema` has its form.",
    },
    "image/jpeg": {"type": "string", "format": "binary"},
    "application/octet-stream": {"type": "string", "format": "binary"},
}
_FORM = "multipart/form-data"
_TEXT: Schema = {"type": "string"}

#: The headers that answers can have, by name.
HEADERS: dict[str, Schema] = {
    "X-Request-Id": {"description": "The name of this call in the logs.", "required": True, "schema": _TEXT},
    "ETag": {"description": "The version in this answer; send it as If-Match.", "schema": _TEXT},
    "Location": {"description": "The address of the object.", "schema": _TEXT},
    "Accept-Encoding": {"description": "Accepted encodings of the body.", "schema": _TEXT},
    "Allow": {"description": "The methods that are known here.", "required": True, "schema": _TEXT},
    "WWW-Authenticate": {"description": "RFC 6750, section 3.", "required": True, "schema": _TEXT},
    "Set-Cookie": {"description": "Sets or deletes the browser's session.", "schema": _TEXT},
    "Retry-After": {"description": "Seconds.", "schema": _TEXT},
}


def openapi(operations: Iterable[Operation], groups: Groups, *, title: str, version: str, description: str) -> Schema:
    """Returns the OpenAPI document as JSON values, with the operations in the order of the groups. Raises TypeError for
    a handler that does not fit its path, ValueError if an operation is not in exactly one group, and KeyError for a
    wrong entry in `descriptions.toml`.
    """
    tags = _tags(groups)
    rows = [(each, signature_of(each)) for each in _in_order(operations, list(tags))]
    schemas, components = _schemas(rows)
    examples: Schema = json.loads(_EXAMPLES.read_text(encoding="utf-8"))
    paths: dict[str, Schema] = {}
    for operation, signature in rows:
        path = re.sub(r"\{(\w+):.*?\}(?=[/.]|$)", r"{\1}", operation.path)  # aiohttp's patterns are not OpenAPI's
        shown = _Shown(schemas, examples.get(operation.id, {}))
        paths.setdefault(path, {})[operation.method.lower()] = {
            "tags": [tags[operation.id]],
            **_operation(operation, signature, shown),
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": "/"}],
        "tags": [
            {"name": name, "description": group["description"], "x-operations": group["operations"]}
            for name, group in groups.items()
        ],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": problem_schema()},
            "responses": problem_responses(),
            "examples": problem_examples(),
            "headers": HEADERS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _tags(groups: Groups) -> dict[str, str]:
    """Returns the group's name of each operation id, in the order of the groups. Raises ValueError for an id in two
    groups.
    """
    ids = [name for group in groups.values() for name in group["operations"]]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"in two groups: {', '.join(twice)}")
    return {name: title for title, group in groups.items() for name in group["operations"]}


def _in_order(operations: Iterable[Operation], order: list[str]) -> list[Operation]:
    """Returns the operations in the `order` of their ids. Raises ValueError if an operation is not in `order`, or an id
    there has no operation.
    """
    by_id = {each.id: each for each in operations}
    if odd := sorted(by_id.keys() ^ set(order)):
        raise ValueError(f"an operation without a group, or a group's operation that does not exist: {', '.join(odd)}")
    return [by_id[name] for name in order]


_EXAMPLES = Path(__file__).with_name("examples.json")


@cache
def descriptions() -> dict[str, dict[str, Any]]:
    """Returns the content of `descriptions.toml`: `fields` by the names of their models, `variables` by the path up to
    them, `schemas` and `examples` by name.
    """
    return tomllib.loads(Path(__file__).with_name("descriptions.toml").read_text(encoding="utf-8"))


@cache
def groups() -> Groups:
    """Returns the content of `groups.toml`: the groups of operations, in the order of the document."""
    return tomllib.loads(Path(__file__).with_name("groups.toml").read_text(encoding="utf-8"))


class _Schemas:
    """Finds the schemas of the parts of operations. A part is named "query", "headers", "path.NAME", "body TYPE" or
    "gives TYPE" (the answer); TYPE is a media type.
    """

    def __init__(self, found: dict[tuple[str, str], Schema], components: dict[str, Schema]) -> None:
        self._found = found
        self._components = components

    def of(self, operation: Operation, part: str) -> Schema:
        """Returns the schema of a part of an operation, or a reference to it. Raises KeyError if the part has none."""
        return self._found[operation.id, part]

    def found(self, operation: Operation, part: str) -> Schema | None:
        """Returns the schema of a part of an operation, or a reference to it; None if the part has none."""
        return self._found.get((operation.id, part))

    def whole(self, operation: Operation, part: str) -> Schema:
        """Returns the schema of a part of an operation itself, never a reference. Raises KeyError if the part has
        none.
        """
        schema = self.of(operation, part)
        return self._components[schema["$ref"].removeprefix(_REF)] if "$ref" in schema else schema


class _Shown:
    """Builds the content of one operation's request and answers: by media type, its schema and its recorded example."""

    def __init__(self, schemas: _Schemas, examples: Schema) -> None:
        self.schemas = schemas
        self._examples = examples

    def taken(self, operation: Operation) -> Schema:
        """Returns the content of the request's body by media type, without the type of an ignored body."""
        return self._content(operation, "body", (each for each in operation.takes if each != ANY))

    def response_content(self, operation: Operation) -> Schema:
        """Returns the content of the successful answers by media type."""
        return self._content(operation, "gives", operation.gives)

    def _content(self, operation: Operation, part: str, kinds: Iterable[str]) -> Schema:
        return {kind: self._media(operation, part, kind) for kind in kinds}

    def _media(self, operation: Operation, part: str, kind: str) -> Schema:
        """Returns the schema and the example of one media type. A stream (NDJSON, events) has the schema of its lines
        or events as `x-item-schema`.
        """
        schema = self.schemas.found(operation, f"{part} {kind}")
        kept = self._examples.get(part, {})
        example = kept.get(kind, kept.get(operation.takes[0]) if kind.endswith("/xml") else None)
        extra = {} if example is None else {"example": example}
        if kind in {NDJSON, EVENTS}:
            return {"schema": _OTHER_MEDIA[kind], "x-item-schema": schema or {}, **extra}
        return {"schema": schema or _OTHER_MEDIA.get(kind, _TEXT), **extra}


def _schemas(rows: list[tuple[Operation, Signature]]) -> tuple[_Schemas, dict[str, Schema]]:
    """Returns the schemas of all parts of the operations, and the document's components by name. Models of queries and
    headers are no components, because they become parameters.
    """
    inputs: list[tuple[tuple[str, str], Literal["validation", "serialization"], TypeAdapter[Any]]] = []
    for operation, signature in rows:
        inputs += [
            ((operation.id, part), "serialization" if part.startswith("gives") else "validation", TypeAdapter(kind))
            for part, kind in _parts(operation, signature)
        ]
    found, rest = TypeAdapter.json_schemas(inputs, ref_template=_REF + "{model}")
    _name_members([*found.values(), rest])
    components = rest.get("$defs", {})
    describe(components)
    schemas = _Schemas({key: schema for (key, _mode), schema in found.items()}, components)
    hidden = {
        schemas.of(operation, part).get("$ref", "").removeprefix(_REF)
        for operation, signature in rows
        for part, _ in _parts(operation, signature)
        if part in {"query", "headers"}  # these become parameters instead of components
    }
    return schemas, {name: schema for name, schema in components.items() if name not in hidden}


def describe(components: dict[str, Schema]) -> None:
    """Adds the descriptions in `descriptions.toml` to the document's schemas and their fields. Raises KeyError for an
    unknown field, and for a schema or field that also has a description in the code.
    """
    for name, text in descriptions()["schemas"].items():
        if name in components:
            _describe(name, components[name], text)
    for names, fields in descriptions()["fields"].items():
        for name in components.keys() & set(names.split()):
            for field, text in fields.items():
                _describe(f"{name}.{field}", components[name]["properties"][field], text)


def _describe(name: str, schema: Schema, text: str) -> None:
    """Sets the description of a schema. Raises KeyError if it has one; `name` is for the error's text."""
    if "description" in schema:
        raise KeyError(f"{name} is described where it is declared, too")
    schema["description"] = text


def _name_members(schema: Any) -> None:
    """Changes all schemas of maps, at any depth, in place. pydantic describes a map by `patternProperties`; this moves
    the pattern of the names into `propertyNames`, and the schema of the values into `additionalProperties`.
    """
    if isinstance(schema, list):
        for each in schema:
            _name_members(each)
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            ((pattern, value),) = schema.pop("patternProperties").items()
            named = {"pattern": pattern, **schema.get("propertyNames", {})}
            schema |= {"additionalProperties": value, "propertyNames": named}
        for each in schema.values():
            _name_members(each)


def _parts(operation: Operation, signature: Signature) -> Iterator[tuple[str, Any]]:
    """Yields the name and the annotation of each part of an operation that has one. For the names see `_Schemas`."""
    yield from ((f"path.{name}", kind) for name, kind in signature.path.items())
    named = {
        "query": signature.query,
        "headers": signature.headers,
        f"body {operation.takes[0]}": signature.body,
        f"gives {operation.gives[0]}": signature.gives,
    }
    named |= {f"body {kind}": model for kind, model in operation.reads.items()}
    named |= {f"gives {kind}": model for kind, model in operation.writes_out.items()}
    yield from ((part, kind) for part, kind in named.items() if kind is not None)


def _operation(operation: Operation, signature: Signature, shown: _Shown) -> Schema:
    """Returns the OpenAPI object of one operation; the handler's docstring is its description."""
    described = inspect.getdoc(operation.handler) or ""
    either = f" or `{operation.or_scope}`" if operation.or_scope else ""
    scope = f"Needs the scope `{operation.scope}`{either}." if operation.scope else "Needs no key."
    document: Schema = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": "\n\n".join(part for part in (described, scope) if part),
        "parameters": list(_parameters(operation, signature, shown.schemas)),
        "security": [{"key": []}] if operation.scope else [],
        "responses": {**_successes(operation, signature, shown), **refusals(operation, signature)},
    }
    if operation.scope:
        document["x-scope"] = operation.scope
    if operation.step_up:
        document["x-step-up"] = True
    if content := shown.taken(operation) if signature.body is not None or not operation.reads_json else {}:
        document["requestBody"] = {"required": signature.body_required or not operation.reads_json, "content": content}
        if _FORM in content:  # the part `facts` is JSON, not a file
            content[_FORM]["encoding"] = {"facts": {"contentType": JSON}}
    return document


def _parameters(operation: Operation, signature: Signature, schemas: _Schemas) -> Iterator[Schema]:
    """Yields the parameters of an operation: variables of the path, members of the query, headers, and Idempotency-Key
    if the operation takes it.
    """
    for name in signature.path:
        variable = re.sub(r"\{(\w+):.*?\}(?=[/.]|$)", r"{\1}", operation.path).partition(f"{{{name}}}")
        text = descriptions()["variables"].get("".join(variable[:2]))
        description = {} if text is None else {"description": text}
        yield {
            "name": name,
            "in": "path",
            "required": True,
            **description,
            "schema": schemas.of(operation, f"path.{name}"),
        }
    for part, place in (("query", "query"), ("headers", "header")):
        if getattr(signature, part) is None:
            continue
        whole = schemas.whole(operation, part)
        for name, schema in whole.get("properties", {}).items():
            description = {"description": schema["description"]} if "description" in schema else {}
            required = name in whole.get("required", ())
            yield {"name": name, "in": place, "required": required, **description, "schema": _present(schema)}
    if operation.takes_key:
        yield {
            "name": IDEMPOTENCY_HEADER,
            "in": "header",
            "required": False,
            "description": "The same key with the same request within 24 hours is done once and answered again.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }


def _present(schema: Schema) -> Schema:
    """Returns the schema of a parameter without null, because a client omits a parameter instead of sending null. A
    single allowed value becomes a list of one, because some generators of clients do not support `const`.
    """
    kept = {key: value for key, value in schema.items() if key not in {"title", "description", "anyOf"}}
    if kept.get("default", ...) is None:
        del kept["default"]
    choices = [_listed(each) for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    return {**kept, **choices[0]} if len(choices) == 1 else {**kept, **({"anyOf": choices} if choices else {})}


def _listed(schema: Schema) -> Schema:
    """Returns the schema with its `const` as an `enum` of one value."""
    return {
        **{key: value for key, value in schema.items() if key != "const"},
        **({"enum": [schema["const"]]} if "const" in schema else {}),
    }


def _successes(operation: Operation, signature: Signature, shown: _Shown) -> Schema:
    """Returns the successful responses of an operation (below 400) by status. Without content, the status is 204."""
    content = shown.response_content(operation) if signature.writes or signature.gives is not None else {}
    own = operation.status if content else HTTPStatus.NO_CONTENT
    statuses = sorted({own, *(status for status in operation.also if status < 400)})
    return {str(status): _success(status, operation, content) for status in statuses}


def _success(status: int, operation: Operation, content: Schema) -> Schema:
    """Returns the response for one successful status, with its headers and content. A 304 has no content."""
    success: Schema = {"description": HTTPStatus(status).phrase, "headers": headers(*operation.tells)}
    if content and status != HTTPStatus.NOT_MODIFIED:
        success["content"] = content
    return success
