"""Turns exceptions into answers: application/problem+json (RFC 9457), with all faults and never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import web

from alertd.api.http.call import REQUEST_ID, route_of
from alertd.common.errors import Fault, Problem
from alertd.common.logs import places_of

CONTENT_TYPE = "application/problem+json"

#: Returns the problem for a library's exception, or None. The application provides it, because it knows the libraries,
#: such as the store's.
Explain = Callable[[Exception], Problem | None]

#: Slug and sentence of the problem for a status of aiohttp's own errors. Its other errors become an invalid request.
_OF_AIOHTTP = {
    404: ("not-found", "There is nothing at this address."),
    405: ("wrong-method", "This address does not know the method."),
    410: ("gone", "The resource at this address is gone."),
    413: ("too-large", "The body is larger than is taken here."),
    415: ("wrong-content-type", "The body is of a type that is not taken here."),
}


def no_room() -> Problem:
    """Returns the problem for a write that is refused because the disk or memory is nearly full."""
    return Problem("store-unavailable", "The store's disk or memory is nearly full.", headers={"Retry-After": "30"})


def problem_of(error: Exception, explain: Explain) -> Problem:
    """Returns the problem that answers an exception. An unexpected exception becomes `internal-error` without
    details.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, web.HTTPException):
        return _of_aiohttp(error)
    if isinstance(error, web.RequestPayloadError):
        fault = Fault("", "The body is not what Content-Encoding, Content-Length or Transfer-Encoding say.")
        return Problem("invalid-request", "The body cannot be read.", faults=(fault,))
    return explain(error) or Problem("internal-error", "The service failed unexpectedly.")


def answer(problem: Problem, request_id: str) -> web.Response:
    """Returns the response (application/problem+json) for a problem, with its headers and status."""
    members: dict[str, Any] = {
        "type": f"/problems/{problem.slug}",
        "title": problem.type.title,
        "status": problem.status,
        "detail": problem.detail,
        "what_to_do": problem.type.remedy,
        "request_id": request_id,
    }
    if problem.faults:
        members["errors"] = [_member(fault) for fault in problem.faults]
    body = json.dumps({**problem.extra, **members}, ensure_ascii=False).encode()
    return web.Response(body=body, status=problem.status, headers=problem.headers, content_type=CONTENT_TYPE)


def log_failure(error: Exception, problem: Problem, request: web.Request) -> None:
    """Logs a failure of the server (status 5xx) with the request's id and route, never its body or exact address. Logs
    nothing for other problems.

    Logs only the exception's class and code locations, because its text may contain data of the request.
    """
    if problem.status >= 500:
        structlog.get_logger().error(
            "request.failed",
            request_id=request.get(REQUEST_ID),
            method=request.method,
            route=route_of(request),
            problem=problem.slug,
            error=type(error).__qualname__,
            places=places_of(error),
        )


def _of_aiohttp(error: web.HTTPException) -> Problem:
    """Returns the problem for one of aiohttp's own errors, with the status of that error."""
    slug, sentence = _OF_AIOHTTP.get(error.status, ("invalid-request", "The request cannot be understood."))
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Problem(slug, sentence, status=error.status, headers=headers)


def _member(fault: Fault) -> dict[str, Any]:
    """Returns a fault as an entry of the problem's `errors`: a JSON pointer into the body, or the name of a
    parameter.
    """
    place: dict[str, Any] = {"parameter": fault.parameter} if fault.parameter else {"pointer": fault.pointer}
    if fault.line:
        place["line"] = fault.line
    return {**place, "detail": fault.detail}
