"""The API's operations, each declared at its handler. Routes, checks and the OpenAPI document are generated from them.

A route validates the handler's arguments and reports all faults of a request at once: those of the query, the headers and the
body. If a path variable does not have its form, the answer is 404.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from types import UnionType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from alertd.api.http.bodies import JSON, raw_json, wrong_content_type
from alertd.common.errors import Fault, Problem
from alertd.model.faults import faults_of

Body = TypeVar("Body")
Coroutine = TypeVar("Coroutine", bound=Callable[..., Awaitable[Any]])
Facts = ParamSpec("Facts")

NDJSON = "application/x-ndjson"
ANY = "*/*"  # a body that the handler ignores


@dataclass(frozen=True, slots=True)
class Reply(Generic[Body]):
    """An answer with a status, headers or more members in addition to its body."""

    body: Body
    status: int | None = None  # None: the operation's status
    headers: Mapping[str, str] = field(default_factory=dict)
    made: bytes = b""  # a JSON object with further members, if another call has serialised them already


@dataclass(frozen=True, slots=True)
class Act:
    """An operation's name and properties for the audit."""

    name: str
    of_person: bool = False  # the path may identify a person: the audit stores a hash
    stops_harm: bool = False  # done even if the audit cannot be written; the answer is then a failure
    once: bool = False  # a repeat under its Idempotency-Key only reads, so it is not audited again


@dataclass(frozen=True, slots=True, eq=False)  # compares by identity, so that it can be a dictionary key
class Operation:
    """A method on a path, and the coroutine that handles it.

    The handler's signature is the contract: `request` first; then, as keywords, the path's variables by their names,
    `query` and `headers` (models; their aliases are the names on the wire) and `body` (anything pydantic knows). It
    returns a model, a `Reply` of one, None (204), a `web.StreamResponse` it made itself, or a union of a model and
    that. Its docstring describes the operation to the API's users.
    """

    handler: Callable[..., Awaitable[Any]]
    method: str
    path: str  # with {variables} in aiohttp's syntax
    summary: str
    scope: str | None  # None: needs no key
    _: KW_ONLY
    or_scope: str | None = None  # an alternative scope
    status: int = 200
    also: tuple[int, ...] = ()  # further statuses with the same body, or with none
    tells: tuple[str, ...] = ()  # headers of its answers: names in `openapi.HEADERS`
    problems: tuple[str, ...] = ()  # slugs, besides those that `docs.refusals` adds to every operation of its form
    takes: tuple[str, ...] = (JSON,)  # the body's media types; a body other than JSON reaches the handler unread
    gives: tuple[str, ...] = (JSON,)  # the answer's media types: a model's first, then what the handler writes itself
    reads: Mapping[str, Any] = field(
        default_factory=dict
    )  # the schema of each media type that the handler reads itself
    writes_out: Mapping[str, Any] = field(
        default_factory=dict
    )  # and of what it answers: for a stream, the schema of a line or event
    act: Act | None = None  # written into the audit, before and after
    streams: bool = (
        False  # the handler reads the body in pieces, unbounded; a repeat is done again, regardless of Idempotency-Key
    )
    any_origin: bool = False  # pages of any origin may read its answers, refusals too: the path is the secret
    step_up: bool = False  # in a session, needs a proof of the operator's identity within the last minutes
    essential: bool = (
        False  # runs when the disk or memory is nearly full, as acts that stop harm do: it only reads or reports facts
    )

    of_caller: bool = False  # returns facts about the caller only; a stopped key may read them

    stop_check: Callable[[web.Request], Awaitable[None]] | None = (
        None  # replaces the default check: refuses a stopped key, and keeps what it read for the handler
    )

    @property
    def id(self) -> str:
        """Returns the name of the handler, which is also the operationId and the name of the route."""
        return self.handler.__name__

    @property
    def writes(self) -> bool:
        """Returns whether the operation is refused when the disk or memory is nearly full: it is no GET, and neither
        essential nor one that stops harm.
        """
        stops_harm = self.act is not None and self.act.stops_harm
        return self.method != "GET" and not (self.essential or stops_harm)

    @property
    def while_stopped(self) -> bool:
        """Returns whether a stopped key may call it: operations that stop harm, or that return facts about the caller.
        A stopped key reads nothing else, because it may be stolen. It also cannot remove keys and operators (sessions
        need a step-up for that), because it could remove everyone who can keep it stopped.
        """
        return self.of_caller or (self.act is not None and self.act.stops_harm and not self.step_up)

    @property
    def takes_key(self) -> bool:
        """Returns whether the operation uses an Idempotency-Key: each POST that needs a scope, except streams. The
        content of a stream is unknown until its end, and each of its lines has the same effect when repeated.
        """
        return self.method == "POST" and self.scope is not None and not self.streams

    @property
    def reads_json(self) -> bool:
        return self.takes == (JSON,) and not self.streams


#: The operation of a call. Missing if no route matched.
OPERATION = web.RequestKey("operation", Operation)


def _adds(
    make: Callable[Concatenate[Callable[..., Awaitable[Any]], Facts], Operation],
) -> Callable[Concatenate[Operations, Facts], Callable[[Coroutine], Coroutine]]:
    """Returns the method `Operations.add`. It takes the parameters of `make` after the handler, with their types."""

    def add(table: Operations, /, *args: Facts.args, **facts: Facts.kwargs) -> Callable[[Coroutine], Coroutine]:
        def added(handler: Coroutine) -> Coroutine:
            table.append(make(handler, *args, **facts))
            return handler

        return added

    return add


class Operations(list[Operation]):
    """The operations of one module in the order of their handlers: `@OPERATIONS.add("GET", "/v1/reviews", "List reviews", "alerts:read")`."""

    add = _adds(Operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A handler's parameters and result, read once from its annotations."""

    path: Mapping[str, Any]
    query: Any = None
    headers: Any = None
    body: Any = None
    body_required: bool = True
    gives: Any = None
    writes: bool = False  # it may return its own response


def signature_of(operation: Operation) -> Signature:
    """Returns a handler's parameters and result, read from its annotations. Raises TypeError if they do not match the
    path.
    """
    hints = get_type_hints(operation.handler, include_extras=True)
    parameters = inspect.signature(operation.handler).parameters
    variables = re.findall(r"\{(\w+)", operation.path)
    taken = [name for name in list(parameters)[1:] if name not in {"query", "headers", "body"}]
    if sorted(variables) != sorted(taken):
        raise TypeError(f"{operation.id} takes {taken}, and its path has {variables}")
    body = parameters.get("body")
    return Signature(
        path={name: hints[name] for name in variables},
        query=hints.get("query"),
        headers=hints.get("headers"),
        body=hints.get("body"),
        body_required=body is not None and body.default is inspect.Parameter.empty,
        gives=_gives(hints.get("return")),
        writes=any(_is_response(each) for each in (hints.get("return"), *get_args(hints.get("return")))),
    )


def names_of(model: type[BaseModel]) -> dict[str, str]:
    """Returns the names of a model's fields, by the names that these fields have in requests (their aliases)."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def _gives(annotation: Any) -> Any:
    """Returns the model of the answer's body; None without a body, or if the handler makes its own response."""
    choices = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    models = [each for each in choices if each is not type(None) and not _is_response(each)]
    if len(models) > 1:
        raise TypeError(f"{annotation} has more than one model")
    if models and get_origin(models[0]) is Reply:
        return _gives(get_args(models[0])[0])
    return models[0] if models else None


def _is_response(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, web.StreamResponse)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes_of(operations: Iterable[Operation]) -> list[web.RouteDef]:
    """Returns the routes, each with its operation's name. Raises TypeError for a handler that does not match its path."""
    return [web.RouteDef(each.method, each.path, _endpoint_of(each).handle, {"name": each.id}) for each in operations]


@cache
def _endpoint_of(operation: Operation) -> _Endpoint:
    return _Endpoint(operation)


class _Endpoint:
    """Handles one operation: reads a request, calls the handler, writes its answer."""

    def __init__(self, operation: Operation) -> None:
        signature = signature_of(operation)
        self._operation = operation
        self._path = {name: TypeAdapter(kind) for name, kind in signature.path.items()}
        self._query: type[BaseModel] | None = signature.query
        self._headers: type[BaseModel] | None = signature.headers
        self._body = None if signature.body is None else TypeAdapter(signature.body)
        self._body_required = signature.body_required
        self._gives = None if signature.gives is None else TypeAdapter(signature.gives)
        self._reads_json = operation.reads_json
        self._known_query = () if self._query is None else tuple(names_of(self._query))
        self._known_headers = () if self._headers is None else tuple(names_of(self._headers))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = await self._operation.handler(request, **await self._arguments(request))
        if isinstance(answer, web.StreamResponse):
            return answer
        reply = answer if isinstance(answer, Reply) else Reply(answer)
        if self._gives is None or reply.body is None:
            return web.Response(status=reply.status or 204, headers=reply.headers)
        body = self._gives.dump_json(reply.body, by_alias=True)
        if reply.made:  # joins two JSON objects, neither of them empty
            body = body[:-1] + b"," + reply.made[1:]
        return web.Response(
            body=body,
            status=reply.status or self._operation.status,
            headers=reply.headers,
            content_type=self._operation.gives[0],
        )

    async def _arguments(self, request: web.Request) -> dict[str, Any]:
        """Returns the handler's keyword arguments. Raises Problem with all faults."""
        try:
            arguments = {name: kind.validate_strings(request.match_info[name]) for name, kind in self._path.items()}
        except ValidationError:
            raise Problem("not-found", "There is nothing at this address.") from None
        faults = _misnamed(request.query, self._known_query) if request.query else []
        if self._query is not None:
            arguments["query"] = _parameters(self._query, self._known_query, request.query, faults)
        if self._headers is not None:
            arguments["headers"] = _parameters(self._headers, self._known_headers, request.headers, faults)
        if self._reads_json:
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
        if self._body is None:
            if raw.strip() not in {b"", b"{}"}:
                faults.append(Fault("", "Nothing is expected here."))
            return {}
        try:
            return {"body": self._body.validate_json(raw)}
        except ValidationError as error:
            faults += faults_of(error)
            return {}


def _misnamed(query: Any, known: Sequence[str]) -> list[Fault]:
    """Returns a fault for each query parameter that occurs twice, and for each that the model does not have."""
    faults = [
        Fault("", "This may be given once.", name) for name in dict.fromkeys(query) if len(query.getall(name)) > 1
    ]
    for name in query:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; the nearest is {near[0]}" if near else ""
            faults.append(Fault("", f"There is no such parameter{hint}.", name))
    return faults


def _parameters(
    model: type[BaseModel], known: Sequence[str], texts: Mapping[str, str], faults: list[Fault]
) -> BaseModel | None:
    """Returns a model of parameters; None if it has faults, which are added to `faults`."""
    try:
        return model.model_validate_strings({name: texts[name] for name in known if name in texts})
    except ValidationError as error:
        faults += [Fault("", fault.detail, fault.pointer.removeprefix("/")) for fault in faults_of(error)]
        return None
