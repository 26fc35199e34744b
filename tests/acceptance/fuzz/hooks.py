"""What schemathesis is told of this API: a check of its problems, bodies that are lines, and ids of what is there.

Loaded by schemathesis in a process of its own (SCHEMATHESIS_HOOKS); `THERE` is JSON of what a call can be about.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import schemathesis

#: By the beginning of a path and the name of a variable in it: values of things that exist.
THERE: dict[str, dict[str, list[str]]] = json.loads(os.environ.get("THERE", "{}"))
#: Ids of that form alone are replaced: what is meant to be wrong stays so.
FORM = {"id": r"[0-9A-HJKMNP-TV-Z]{26}(-\d+)?|[A-Za-z0-9._~-]{1,64}|med_[\w-]+|wh_[0-9a-f]{16}", "tag": r"[\w-]{1,80}"}


@schemathesis.serializer("application/x-ndjson")
def lines(ctx: Any, value: Any) -> bytes:
    """A body of lines: what was made up is one of them."""
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")


@schemathesis.check
def refusals_are_documented_problems(ctx: Any, response: Any, case: Any) -> None:
    """Every refusal is a problem of a type that the document has for this status, and one of form names each place at fault."""
    if response.status_code < 400 or response.status_code == 405:
        return
    document = case.operation.schema.raw_schema
    answers = case.operation.definition.raw["responses"]
    answer = answers[str(response.status_code)]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    problem = response.json()
    slug = problem["type"].removeprefix("/problems/")
    assert slug in answer["x-problems"], f"{slug} is not documented for {response.status_code}"
    assert problem["status"] == response.status_code
    if slug == "invalid-request":
        assert problem.get("errors"), "no place at fault is named"


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Half of the calls are about what is there, so that they get further than "not found"."""
    for name, value in (path_parameters or {}).items():
        known = next(
            (found.get(name) for start, found in THERE.items() if context.operation.path.startswith(start)), None
        )
        if known and isinstance(value, str) and re.fullmatch(FORM.get(name, r"[\w.-]{1,40}"), value):
            number = sum(value.encode())
            if number % 2:
                path_parameters[name] = known[number // 2 % len(known)]  # type: ignore[index]
    return path_parameters
