"""The problems of the catalogue in the OpenAPI document: a named response and an example for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alertd.api.http.bodies import JSON
from alertd.api.http.operations import Operation, Signature, names_of
from alertd.api.http.problems import CONTENT_TYPE as PROBLEM
from alertd.common.errors import CATALOGUE

Schema = dict[str, Any]

_EXAMPLES = "#/components/examples/"
_RESPONSES = "#/components/responses/"

#: Problems besides those that an operation declares: of each operation with a body, of each one that takes an
#: Idempotency-Key, and of all.
_OF_BODY = ("wrong-content-type", "wrong-encoding", "too-large")
_OF_POST = ("idempotency-mismatch", "idempotency-in-progress")
_OF_ALL = ("invalid-request", "internal-error", "store-unavailable")

#: Headers of refusals by status, besides X-Request-Id.
_HEADERS = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    415: ("Accept-Encoding",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


def refusals(operation: Operation, signature: Signature) -> Schema:
    """Returns the responses of an operation that report problems, by status. A status with one problem refers to the
    problem's named response; one with several has a response of its own.
    """
    by_status: dict[int, list[str]] = {}
    for slug in sorted(set(_told(operation, signature))):
        by_status.setdefault(CATALOGUE[slug].status, []).append(slug)
    return {str(status): _refusal(status, slugs) for status, slugs in sorted(by_status.items())}


def _told(operation: Operation, signature: Signature) -> Iterator[str]:
    """Yields the slugs of all problems with which an operation can answer: those that it declares, and those of its
    form.
    """
    slugs = (*_OF_ALL, *operation.problems)
    if operation.method not in {"GET", "DELETE"}:
        slugs += _OF_BODY
    if signature.path:
        slugs += ("not-found",)
    if operation.takes_key:
        slugs += _OF_POST
    if operation.scope:
        slugs += ("unauthenticated", "not-allowed", "rate-limited")
        if not operation.while_stopped:
            slugs += ("stop-active",)
    if signature.headers is not None and "If-Match" in names_of(signature.headers):
        slugs += ("version-changed", "precondition-failed")
    yield from slugs


def problem_responses() -> Schema:
    """Returns the named response of each problem of the catalogue, by the problem's slug."""
    return {slug: _response(kind.status, [slug]) for slug, kind in CATALOGUE.items()}


def problem_examples() -> Schema:
    """Returns an example of each problem of the catalogue, by the problem's slug."""
    return {slug: _example(kind.status, slug) for slug, kind in CATALOGUE.items()}


def _refusal(status: int, slugs: list[str]) -> Schema:
    """Returns a reference to the named response of one problem, or a response for several."""
    return {"$ref": _RESPONSES + slugs[0]} if len(slugs) == 1 else _response(status, slugs)


def _response(status: int, slugs: list[str]) -> Schema:
    """Returns a response that describes these problems, which have one status, with their examples."""
    titles = (f"{CATALOGUE[slug].title}." for slug in slugs)
    names = _HEADERS.get(status, ("Retry-After",) if "idempotency-in-progress" in slugs else ())
    examples = {slug: {"$ref": _EXAMPLES + slug} for slug in slugs}
    return {
        "description": " ".join(f"`{slug}`: {words}" for slug, words in zip(slugs, titles, strict=True)),
        "x-problems": slugs,
        "headers": headers(*names),
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }


def headers(*names: str) -> Schema:
    """Returns references to the headers of these names, and to X-Request-Id, which every answer has."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "X-Request-Id")}


def _example(status: int, slug: str) -> Schema:
    """Returns the example of one problem, as it answers a request."""
    kind = CATALOGUE[slug]
    value: Schema = {
        "type": f"/problems/{slug}",
        "title": kind.title,
        "status": status,
        "detail": f"{kind.title}.",
        "what_to_do": kind.remedy,
        "request_id": "0e1b7a3f5c9d4e2a8b6f1d7c3a5e9b20",
        **_MEMBERS.get(slug, {}),
    }
    return {"summary": kind.title, "value": value}


#: Members that the examples of some problems have besides those of all problems, by slug.
_MEMBERS: dict[str, Schema] = {
    "invalid-request": {
        "errors": [
            {"pointer": "/case/contact/0/dial", "detail": "No numbering plan has this number."},
            {"parameter": "limit", "detail": "Input should be less than or equal to 200"},
        ]
    },
    "invalid-geometry": {"errors": [{"pointer": "/target/polygons/0", "detail": "Its outline crosses itself."}]},
    "unknown-region": {
        "errors": [{"pointer": "/target/regions/0", "detail": "There is no region ES-SX; near: ES-SE."}]
    },
    "audience-changed": {"seen": 1200, "now": 1400},
    "over-budget": {"needed": 120_400, "left": 50_000},
    "duplicate-case": {"alert": "01M882R9G938BE2P8KXNZ55750"},
    "not-allowed": {"scope": "alerts:approve"},
    "wrong-content-type": {"expected": [JSON]},
}


def problem_schema() -> Schema:
    """Returns the schema that all problems share (RFC 9457), including the members that only some problems have."""
    text = {"type": "string"}
    estimate = {"anyOf": [{"type": "integer"}, {"type": "string", "enum": ["<100"]}]}
    fault = {
        "type": "object",
        "required": ["detail"],
        "properties": {
            "pointer": {**text, "description": "Where in the body: a JSON pointer (RFC 6901); to XML, too."},
            "parameter": {**text, "description": "The query parameter or header at fault, where it is not the body."},
            "line": {"type": "integer", "minimum": 1, "description": "Of the body, where it is XML."},
            "detail": {**text, "description": "The fault at that place."},
        },
    }
    return {
        "type": "object",
        "description": "What went wrong (RFC 9457). A type can have further members.",
        "required": ["type", "title", "status", "detail", "what_to_do", "request_id"],
        "properties": {
            "type": {
                "type": "string",
                "format": "uri-reference",
                "enum": [f"/problems/{slug}" for slug in CATALOGUE],
                "description": "Which problem it is. Programs decide by it.",
            },
            "title": {**text, "description": "The problem in a few words, the same each time."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": {**text, "description": "The fault of this request."},
            "what_to_do": {**text, "description": "What to do about it."},
            "request_id": {**text, "description": "The name of this call in the logs."},
            "errors": {"type": "array", "items": fault, "description": "All faults of the request at once."},
            "expected": {"type": "array", "items": text, "description": "Media types that are taken here."},
            "scope": {**text, "description": "The scope that the key lacks, or the scope of a stop."},
            "step_up": {
                "type": "boolean",
                "description": "The session's operator must show with a passkey that it is they.",
            },
            "has_passkey": {
                "type": "boolean",
                "description": "The sign-in provider did not show that it asked the operator again. True: the operator's passkey can show it; "
                "false: the operator has none yet. Another round at the provider gives the same answer.",
            },
            "alert": {**text, "description": "The alert that the case already has."},
            "nearest": {"type": "array", "items": text, "description": "Similar codes."},
            "seen": {**estimate, "description": "The estimate of people that the approver saw."},
            "now": {**estimate, "description": "The estimate of people now."},
        },
    }
