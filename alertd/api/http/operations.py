"""The API's operations, each declared at its handler. alertd makes routes, checks and the OpenAPI document from them.

A route validates the handler's arguments and reports all faults of a request at once: those of the query, the headers
and the body. If a path variable does not have its form, the answer is 404.
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
    """An answer of a handler that sets the status, headers or further members in addition to the body."""

    body: Body
    status: int | None = None  # None: the operation's status
    headers: Mapping[str, str] = field(default_factory=dict)
    made: bytes = b""  # JSON text of an object: members to add to the body, already serialised


@dataclass(frozen=True, slots=True)
class Act:
    """The name of an operation in the audit, and the properties that decide how the audit treats it."""

    name: str
    of_person: bool = False  # the path may identify a person: the audit stores a hash
    stops_harm: bool = False  # done even if the audit cannot be written; the answer is then a failure
    once: bool = False  # the audit leaves out a repeat with the same Idempotency-Key, because it only reads


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
    scope: str | None  # None: the operation needs no key
    _: KW_ONLY
    or_scope: str | None = None  # a caller with this scope, but without `scope`, is admitted, too
    status: int = 200
    also: tuple[int, ...] = ()  # further statuses with the same body, or with none
    tells: tuple[str, ...] = ()  # headers of its answers: names in `openapi.HEADERS`
    problems: tuple[str, ...] = ()  # slugs, besides those that `docs.refusals` adds to every operation of its form
    takes: tuple[str, ...] = (JSON,)  # the body's media types; a body other than JSON reaches the handler unread
    gives: tuple[str, ...] = (JSON,)  # the answer's media types: a model's first, then what the handler writes itself
    #: The schema of each media type that the handler reads itself.
    reads: Mapping[str, Any] = field(default_factory=dict)
    #: The schema of each media type that the handler writes itself; for a stream, of a line or event.
    writes_out: Mapping[str, Any] = field(default_factory=dict)
    act: Act | None = None  # None: not audited
    streams: bool = False  # the handler reads the body in pieces, without a limit; alertd ignores an Idempotency-Key
    any_origin: bool = False  # web pages of any origin may read its answers and refusals: the secret is in the path
    step_up: bool = False  # in a session, needs a proof of the operator's identity within the last minutes
    essential: bool = False  # runs although the disk or memory is nearly full, because it only reads or reports facts
    of_caller: bool = False  # returns facts about the caller only; a stopped key may read them
    #: Replaces the default check for stops: raises Problem for a stopped key, and stores in the request what it read
    #: together with the stops, for the handler.
    stop_check: Callable[[web.Request], Awaitable[None]] | None = None

    @property
    def id(self) -> str:
        """Returns the name of the handler, which is also the operationId in OpenAPI and the name of the route."""
        return self.handler.__name__

    @property
    def writes(self) -> bool:
        """Returns whether alertd refuses the operation when the disk or memory is nearly full: each one but a GET, an
        `essential` operation, and one that stops harm.
        """
        stops_harm = self.act is not None and self.act.stops_harm
        return self.method != "GET" and not (self.essential or stops_harm)

    @property
    def while_stopped(self) -> bool:
        """Returns whether a stopped key may call the operation: if it stops harm, or returns facts about the caller
        only. A stopped key may read nothing else, because it may be stolen. It also cannot remove keys and operators
        (sessions need a step-up for that), because it could remove everyone who can keep it stopped.
        """
        return self.of_caller or (self.act is not None and self.act.stops_harm and not self.step_up)

    @property
    def takes_key(self) -> bool:
        """Returns whether the operation uses an Idempotency-Key: each POST that needs a scope, except streamed bodies.
        A streamed body is unknown until its end, and each of its lines has the same effect when repeated.
        """
        return self.method == "POST" and self.scope is not None and not self.streams

    @property
    def reads_json(self) -> bool:
        """Returns whether alertd validates the body as JSON and gives the handler a model of it as `body`."""
        return self.takes == (JSON,) and not self.streams


#: The operation of a call. Missing if no route matched.
OPERATION = web.RequestKey("operation", Operation)


def _adds(
    make: Callable[Concatenate[Callable[..., Awaitable[Any]], Facts], Operation],
) -> Callable[Concatenate[Operations, Facts], Callable[[Coroutine], Coroutine]]:
    """Returns the method `Operations.add`: a decorator that makes an operation of the handler by `make`, appends it to
    the list, and returns the handler unchanged. Its parameters are those of `make` after the handler, so that mypy
    checks them.
    """

    def add(table: Operations, /, *args: Facts.args, **facts: Facts.kwargs) -> Callable[[Coroutine], Coroutine]:
        def added(handler: Coroutine) -> Coroutine:
            table.append(make(handler, *args, **facts))
            return handler

        return added

    return add


class Operations(list[Operation]):
    """The operations of one module, in the order of their handlers.

    A decorator above the handler adds its operation: `@OPERATIONS.add("GET", "/v1/reviews", "List reviews",
    "alerts:read")`.
    """

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
    writes: bool = False  # whether the handler may return a response of its own


def signature_of(operation: Operation) -> Signature:
    """Returns a handler's parameters and result, read from its annotations. Raises TypeError if its parameters are not
    the variables of the path, or if its result has more than one model.
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
    """Returns a model's field names by the names that the fields have in requests (their aliases)."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def _gives(annotation: Any) -> Any:
    """Returns the model of the answer's body; None without a body, or if the handler makes its own response. Raises
    TypeError for a union of several models.
    """
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
    """Returns the routes, each with its operation's name. Raises TypeError for a handler that does not match its
    path.
    """
    return [web.RouteDef(each.method, each.path, _endpoint_of(each).handle, {"name": each.id}) for each in operations]


@cache
def _endpoint_of(operation: Operation) -> _Endpoint:
    return _Endpoint(operation)


class _Endpoint:
    """Handles one operation: validates a request, calls the handler, and writes its result as the response."""

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
        """Calls the handler with the validated arguments, and returns its result as a response. Raises Problem for a
        faulty request.
        """
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
        """Returns the handler's keyword arguments, validated. Raises Problem: `not-found` for a malformed path
        variable, `wrong-content-type`, and `invalid-request` with all faults of query, headers and body.
        """
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
        """Returns the body's model as {"body": model}. Returns {} without a body, or with faults, which it adds to
        `faults`. Raises Problem if the body cannot be read as JSON.
        """
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
    """Returns a fault for each query parameter that occurs twice, and for each that is not in `known`, with the nearest
    name.
    """
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
    """Returns the query or headers as a model, from their values in `texts`; `known` are the names that the model has.
    Returns None if there are faults, which it adds to `faults`.
    """
    try:
        return model.model_validate_strings({name: texts[name] for name in known if name in texts})
    except ValidationError as error:
        faults += [Fault("", fault.detail, fault.pointer.removeprefix("/")) for fault in faults_of(error)]
        return None
