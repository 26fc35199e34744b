"""From the table of operations to aiohttp routes whose handlers get checked, typed arguments.

All faults of a request are answered at once: those of the query, the headers and the body together. A path whose variables
are not of their form is not found.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from alertd.api.http.bodies import raw_json, validated, wrong_content_type
from alertd.api.http.operations import ANY, Operation, Reply, names_of, signature_of
from alertd.common.errors import Fault, Problem
from alertd.model.faults import faults_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes_of(operations: Iterable[Operation]) -> list[web.RouteDef]:
    """The routes, each named by its operation. Raises TypeError for a handler that does not fit its path."""
    return [web.RouteDef(each.method, each.path, _Endpoint(each).handle, {"name": each.id}) for each in operations]


class _Endpoint:
    """One operation: reads a request, calls the handler, writes its answer."""

    def __init__(self, operation: Operation) -> None:
        signature = signature_of(operation)
        self._operation = operation
        self._path = {name: TypeAdapter(kind) for name, kind in signature.path.items()}
        self._query: type[BaseModel] | None = signature.query
        self._headers: type[BaseModel] | None = signature.headers
        self._body = None if signature.body is None else TypeAdapter(signature.body)
        self._body_required = signature.body_required
        self._gives = None if signature.gives is None else TypeAdapter(signature.gives)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = await self._operation.handler(request, **await self._arguments(request))
        if isinstance(answer, web.StreamResponse):
            return answer
        reply = answer if isinstance(answer, Reply) else Reply(answer)
        if self._gives is None or reply.body is None:
            return web.Response(status=reply.status or 204, headers=reply.headers)
        return web.Response(
            body=_joined(self._gives.dump_json(reply.body, by_alias=True), reply.made),
            status=reply.status or self._operation.status,
            headers=reply.headers,
            content_type=self._operation.gives[0],
        )

    async def _arguments(self, request: web.Request) -> dict[str, Any]:
        """The handler's keyword arguments. Raises Problem with every fault there is."""
        arguments = self._variables(request.match_info)
        faults = _repeated(request.query) + _unknown(request.query, self._query)
        if self._query is not None:
            arguments["query"] = _model(self._query, dict(request.query), faults)
        if self._headers is not None:
            arguments["headers"] = _model(self._headers, _of_interest(request.headers, self._headers), faults)
        if self._operation.reads_json:
            arguments |= await self._body_of(request, faults)
        elif not {request.content_type, ANY} & set(self._operation.takes):
            raise wrong_content_type(*self._operation.takes)
        if faults:
            raise Problem("invalid-request", "The request has faults; `errors` has all of them.", faults=tuple(faults))
        return arguments

    async def _body_of(self, request: web.Request, faults: list[Fault]) -> dict[str, Any]:
        if not request.body_exists:
            if self._body is not None and self._body_required:
                faults.append(Fault("", "A body is required."))
            return {}
        raw = await raw_json(request)
        if self._body is not None:
            body, found = validated(self._body, raw)
            faults += found
            return {"body": body}
        if raw.strip() not in {b"", b"{}"}:
            faults.append(Fault("", "Nothing is expected here."))
        return {}

    def _variables(self, texts: Mapping[str, str]) -> dict[str, Any]:
        try:
            return {name: adapter.validate_strings(texts[name]) for name, adapter in self._path.items()}
        except ValidationError:
            raise Problem("not-found", "There is nothing at this address.") from None


def _joined(one: bytes, other: bytes) -> bytes:
    """A JSON object of the members of two, neither of them empty."""
    return one[:-1] + b"," + other[1:] if other else one


def _repeated(query: Any) -> list[Fault]:
    return [Fault("", "This may be given once.", name) for name in query if len(query.getall(name)) > 1][:1]


def _unknown(query: Mapping[str, str], model: type[BaseModel] | None) -> list[Fault]:
    known = [] if model is None else list(names_of(model))
    return [Fault("", _unknown_sentence(name, known), name) for name in query if name not in known]


def _unknown_sentence(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"There is no such parameter; the nearest is {near[0]}." if near else "There is no such parameter."


def _of_interest(headers: Mapping[str, str], model: type[BaseModel]) -> dict[str, str]:
    return {name: headers[name] for name in names_of(model) if name in headers}


def _model(model: type[BaseModel], texts: dict[str, str], faults: list[Fault]) -> BaseModel | None:
    """A model of parameters, or None, with its faults added."""
    known = {name: text for name, text in texts.items() if name in names_of(model)}
    try:
        return model.model_validate_strings(known)
    except ValidationError as error:
        faults += [Fault("", fault.detail, fault.pointer.removeprefix("/")) for fault in faults_of(error)]
        return None
