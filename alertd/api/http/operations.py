"""The API's operations, each written at its handler. Routes, checks and the OpenAPI document are all made from them.

A route checks and types the handler's arguments. It answers all faults of a request at once: those of the query, the headers and the body
together. A path whose variables are not of their form is not found.
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
ANY = "*/*"  # a body that nobody reads


@dataclass(frozen=True, slots=True)
class Reply(Generic[Body]):
    """An answer with more to it than its body."""

    body: Body
    status: int | None = None  # the operation's own, if None
    headers: Mapping[str, str] = field(default_factory=dict)
    made: bytes = b""  # a JSON object of the rest of its members, where they were written before, for others


@dataclass(frozen=True, slots=True)
class Act:
    """What the audit calls an operation."""

    name: str
    of_person: bool = False  # what the path names may be a person: it is hashed
    stops_harm: bool = False  # done even while it cannot be written down, and then answered with a failure
    once: bool = (
        False  # sent again under its Idempotency-Key it only tells what there is, so that it is not written down again
    )


@dataclass(frozen=True, slots=True, eq=False)  # each equals itself alone, so that it can be a key
class Operation:
    """A method on a path, and the coroutine that does it.

    The handler's signature is the contract: `request` first; then, as keywords, the path's variables by their names,
    `query` and `headers` (models; their aliases are the names on the wire) and `body` (anything pydantic knows). It
    returns a model, a `Reply` of one, None (204), a `web.StreamResponse` it made itself, or a union of a model and
    that. Its docstring describes the operation to the API's users.
    """

    handler: Callable[..., Awaitable[Any]]
    group: str  # the heading in the documentation
    method: str
    path: str  # with {variables}, as aiohttp has them
    summary: str
    scope: str | None  # None: no key is asked for
    _: KW_ONLY
    or_scope: str | None = None  # another that serves as well
    status: int = 200
    also: tuple[int, ...] = ()  # other statuses with the same answer, or with none
    tells: tuple[str, ...] = ()  # headers of its answers: names in `openapi.HEADERS`
    problems: tuple[str, ...] = ()  # slugs, besides those that `docs.refusals` adds to every operation of its form
    takes: tuple[str, ...] = (JSON,)  # the body's media types; what is not JSON reaches the handler unread
    gives: tuple[str, ...] = (JSON,)  # the answer's media types: a model's first, then what the handler writes itself
    reads: Mapping[str, Any] = field(default_factory=dict)  # bodies that the handler reads itself: what each type holds
    writes_out: Mapping[str, Any] = field(
        default_factory=dict
    )  # and answers: of a stream, what each line or event holds
    act: Act | None = None  # written into the audit, before and after
    streams: bool = (
        False  # the handler reads the body in pieces, unbounded: sent again it is done again, whatever its key
    )
    any_origin: bool = False  # programs on anybody's pages may read its answers, refusals too: the path is the secret
    step_up: bool = False  # in a session, asked for only minutes after its operator showed that it is they
    essential: bool = False  # goes on when the disk or the memory is nearly full, as each act that stops harm does: it only reads, or says what is true

    of_caller: bool = False  # says who calls, and nothing else: a stopped key may read it

    stop_check: Callable[[web.Request], Awaitable[None]] | None = (
        None  # in place of the one of all: refuses a key that is stopped, and keeps what it read with that for the handler
    )

    @property
    def id(self) -> str:
        """The operationId, and the name of the route: the handler's name."""
        return self.handler.__name__

    @property
    def writes(self) -> bool:
        """Whether it needs room on the disk."""
        stops_harm = self.act is not None and self.act.stops_harm
        return self.method != "GET" and not (self.essential or stops_harm)

    @property
    def while_stopped(self) -> bool:
        """Whether a stopped key may call it: what stops harm, and who it is. A stopped key reads nothing else, because it may be in the wrong
        hands. Nor does it remove keys and operators, for which a session steps up: it could remove everyone who keeps it stopped.
        """
        return self.of_caller or (self.act is not None and self.act.stops_harm and not self.step_up)

    @property
    def takes_key(self) -> bool:
        """Whether an Idempotency-Key is honoured. A stream is not known before it is over, so it needs none: every line
        of it is such that the second time changes nothing.
        """
        return self.method == "POST" and self.scope is not None and not self.streams

    @property
    def reads_json(self) -> bool:
        return self.takes == (JSON,) and not self.streams


#: The operation of a call. Missing where its address is of none.
OPERATION = web.RequestKey("operation", Operation)


def _adds(
    make: Callable[Concatenate[Callable[..., Awaitable[Any]], str, Facts], Operation],
) -> Callable[Concatenate[Operations, Facts], Callable[[Coroutine], Coroutine]]:
    """Returns the method `Operations.add`. It takes the facts that `make` takes after the handler and the group, and has their types."""

    def add(table: Operations, /, *args: Facts.args, **facts: Facts.kwargs) -> Callable[[Coroutine], Coroutine]:
        def added(handler: Coroutine) -> Coroutine:
            table.append(make(handler, table.group, *args, **facts))
            return handler

        return added

    return add


class Operations(list[Operation]):
    """The operations of one module in the order of their handlers: `@OPERATIONS.add("GET", "/v1/reviews", "List reviews", "alerts:read")`."""

    def __init__(self, group: str) -> None:
        """`group` is the heading in the documentation."""
        super().__init__()
        self.group = group

    add = _adds(Operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a handler takes and gives, read from its annotations once."""

    path: Mapping[str, Any]
    query: Any = None
    headers: Any = None
    body: Any = None
    body_required: bool = True
    gives: Any = None
    writes: bool = False  # it makes responses itself


def signature_of(operation: Operation) -> Signature:
    """Reads the annotations. Raises TypeError if they and the path do not fit together."""
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
    """The fields of a model by their names on the wire."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def _gives(annotation: Any) -> Any:
    """The model of the answer's body; None for no body, and for an answer the handler makes itself."""
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
    """The routes, each named by its operation. Raises TypeError for a handler that does not fit its path."""
    return [web.RouteDef(each.method, each.path, _endpoint_of(each).handle, {"name": each.id}) for each in operations]


@cache
def _endpoint_of(operation: Operation) -> _Endpoint:
    return _Endpoint(operation)


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
        if reply.made:  # one JSON object has the members of both, neither of them empty
            body = body[:-1] + b"," + reply.made[1:]
        return web.Response(
            body=body,
            status=reply.status or self._operation.status,
            headers=reply.headers,
            content_type=self._operation.gives[0],
        )

    async def _arguments(self, request: web.Request) -> dict[str, Any]:
        """The handler's keyword arguments. Raises Problem with every fault there is."""
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
    """The parameters of a query that are given twice, or that the model does not have."""
    faults = [Fault("", "This may be given once.", name) for name in query if len(query.getall(name)) > 1][:1]
    for name in query:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; the nearest is {near[0]}" if near else ""
            faults.append(Fault("", f"There is no such parameter{hint}.", name))
    return faults


def _parameters(
    model: type[BaseModel], known: Sequence[str], texts: Mapping[str, str], faults: list[Fault]
) -> BaseModel | None:
    """A model of parameters, or None, with its faults added."""
    try:
        return model.model_validate_strings({name: texts[name] for name in known if name in texts})
    except ValidationError as error:
        faults += [Fault("", fault.detail, fault.pointer.removeprefix("/")) for fault in faults_of(error)]
        return None
