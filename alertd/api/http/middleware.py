"""What happens around every call: it gets a name, its caller is recognised, its failure becomes a problem, it is timed.

From the outside in: `guarded` (name, problem, time), `authorised` (key and scope), `with_room` (the disk), `idempotent`,
`audited`, `still_let_in` (the caller once more), the handler. What the disk refuses was never begun, so its Idempotency-Key is not claimed.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import structlog
from aiohttp import ClientConnectionResetError, hdrs, web
from aiohttp.typedefs import Handler, Middleware

from alertd.api.http.audit import Recorder, audited
from alertd.api.http.bodies import BODY_S, INFLATED_AT_ONCE, Keyless, in_time, inflate, is_gzip
from alertd.api.http.call import ASKED, CREDENTIAL, MAY, REQUEST_ID, STARTED, Question, check_caller
from alertd.api.http.idempotency import Idempotency, idempotent
from alertd.api.http.operations import EVENTS, Operation, routes_of
from alertd.api.http.problems import Explain, answer, log_failure, no_room, problem_of, route_of
from alertd.common.errors import Problem
from alertd.service.access import Credential

#: Told of each call: pattern of the route, method, status, seconds to the answer's first byte.
Observe = Callable[[str, str, int, float], None]

#: The credential of a token, or None.
Recognise = Callable[[str], Awaitable[Credential | None]]

#: The credential of a call's session, or None if it comes without one; raises Problem for one that is over.
SignedIn = Callable[[web.Request], Awaitable[Credential | None]]

#: Counts a call. Raises Problem for one too many.
Meter = Callable[[Credential], Awaitable[None]]

#: Raises Problem where a scope does not reach as far as the caller's organisation.
CheckScope = Callable[[Credential, str], None]

#: Raises Problem where the caller's key is stopped.
CheckStop = Callable[[Credential], Awaitable[None]]

#: Counted for a caller who left before the end of the answer; never sent. The number is nginx's.
CALLER_GONE = 499
REQUEST_ID_HEADER = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")  # goes into logs: nothing that could break a line

#: On every answer that does not set its own. Answers may hold what a case must forget, so nobody keeps them.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def nobody(_request: web.Request) -> Credential | None:
    """No sessions."""
    return None


async def nothing_stopped(_who: Credential) -> None:
    """No stops."""


def install(  # noqa: PLR0913  each is a seam of its own
    app: web.Application,
    operations: Iterable[Operation],
    *,
    recognise: Recognise,
    idempotency: Idempotency,
    recorder: Recorder,
    explain: Explain,
    observe: Observe,
    takes_writes: Callable[[], bool] = lambda: True,
    signed_in: SignedIn = nobody,
    meter: Meter | None = None,
    check_scope: CheckScope = lambda _who, _scope: None,
    check_stop: CheckStop = nothing_stopped,
    body_s: float = BODY_S,
) -> None:
    """Gives an application the operations and everything around them. Its other routes ask for no key.

    Raises ValueError if two operations have one id.
    """
    rows = tuple(operations)
    table = {each.id: each for each in rows}
    if len(table) < len(rows):
        raise ValueError("two operations have handlers of one name")
    permitted = authorised(table, recognise, signed_in, meter, check_scope, check_stop)
    app.middlewares.extend(
        [guarded(explain, observe), permitted, with_room(table, takes_writes), with_body(table, body_s)]
    )
    app.middlewares.extend([idempotent(table, idempotency, explain), audited(table, recorder, explain)])
    app.middlewares.append(still_let_in(table, check_stop))
    app.on_response_prepare.append(prepared(table))
    app.add_routes(routes_of(rows))


def guarded(explain: Explain, observe: Observe) -> Middleware:
    """The outermost: nothing that is raised within leaves it but as a problem."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        # A request that never waits is answered without a turn of the loop: one connection full of them would let nothing else run.
        await asyncio.sleep(0)
        given = request.headers.get(REQUEST_ID_HEADER, "")
        request[REQUEST_ID] = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        bound = structlog.contextvars.bind_contextvars(request_id=request[REQUEST_ID])
        began = asyncio.get_running_loop().time()
        status = 500
        try:
            response = await _guarded(request, handler, explain)
            status = response.status
        except web.HTTPException as redirection:
            status = redirection.status
            raise
        except ClientConnectionResetError:
            status = CALLER_GONE
            raise
        finally:
            structlog.contextvars.reset_contextvars(**bound)
            ended = request.get(STARTED) or asyncio.get_running_loop().time()
            method = (
                request.method if request.method in hdrs.METH_ALL else "other"
            )  # a closed set, unlike what can be sent
            observe(route_of(request), method, status, ended - began)
        return response

    return guard


async def _guarded(request: web.Request, handler: Handler, explain: Explain) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:
        if isinstance(error, web.HTTPException) and error.status < 400:
            raise
        if _has_left(request, error):
            error.__traceback__ = None  # as in `_refused`
            raise ClientConnectionResetError from None  # nothing failed
        return _refused(request, error, explain)


def _refused(request: web.Request, error: Exception, explain: Explain) -> web.StreamResponse:
    """The answer to a call that failed. A function of its own: in the frame that caught the error the problem would be part of a cycle, which
    keeps the request and its body until the next full collection.
    """
    problem = problem_of(error, explain)
    log_failure(error, problem, request)
    # aiohttp keeps the error of a wrong path, and of a body that broke off, with the request. Its traceback would keep the request in turn,
    # with its body, until the next full collection.
    error.__traceback__ = None
    if STARTED in request:  # half an answer is out: all that is left is to break the connection
        raise ConnectionResetError("a streamed answer failed") from None
    refusal = answer(problem, request[REQUEST_ID])
    if isinstance(error, web.RequestPayloadError):  # nobody knows where the next request would begin
        refusal.force_close()
    return refusal


def _has_left(request: web.Request, error: Exception) -> bool:
    """Whether whoever asked has gone: while the answer was written, or before their own body was whole."""
    return isinstance(error, ClientConnectionResetError) or (
        isinstance(error, ConnectionResetError) and request.transport is None
    )


def authorised(
    operations: Mapping[str, Operation],
    recognise: Recognise,
    signed_in: SignedIn = nobody,
    meter: Meter | None = None,
    check_scope: CheckScope = lambda _who, _scope: None,
    check_stop: CheckStop = nothing_stopped,
) -> Middleware:
    """Lets a call through if its operation needs no scope or its key or session has it, of the right organisation, and asked no more often than it may: but for
    what stops harm, which is never too often. `operations` are by their routes' names.
    """
    doors = {
        name: partial(_let_in, one, one.scope, recognise, signed_in, check_scope)
        for name, one in operations.items()
        if one.scope
    }
    questions = {name: Question(partial(_anew, door, operations[name], check_stop)) for name, door in doors.items()}

    @web.middleware
    async def authorise(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.match_info.route.name or ""
        if name in doors:
            request[ASKED] = asyncio.get_running_loop().time()
            request[CREDENTIAL] = credential = await doors[name](request)
            if hasattr(request.protocol, "had_key"):  # at the limit of connections, those of strangers go first
                request.protocol.had_key = True
            request[MAY] = questions[name]
            operation = operations[name]
            # Asked once: a file may take longer to come than it is known for that it is they.
            if operation.step_up and not credential.fresh:
                sentence = "Show once more that it is you: what decides asks for it, once in five minutes."
                raise Problem("not-allowed", sentence, step_up=True)
            if meter and not (operation.act and operation.act.stops_harm):
                await meter(credential)
        return await handler(request)

    return authorise


async def _let_in(
    operation: Operation, scope: str, recognise: Recognise, signed_in: SignedIn, check_scope: CheckScope, request: web.Request
) -> Credential:  # fmt: skip
    """Who calls. Raises Problem where they may not."""
    credential = None if hdrs.AUTHORIZATION in request.headers else await signed_in(request)
    credential = credential or await by_key(request, recognise)
    if not any(credential.may(one) for one in (scope, operation.or_scope) if one):
        challenge = f'Bearer realm="alertd", error="insufficient_scope", scope="{scope}"'
        raise Problem(
            "not-allowed", f"This key lacks the scope {scope}.", scope=scope, headers={"WWW-Authenticate": challenge}
        )
    check_scope(credential, scope)
    return credential


async def _anew(
    let_in: Callable[[web.Request], Awaitable[Credential]],
    operation: Operation,
    check_stop: CheckStop,
    request: web.Request,
) -> Credential:
    """Who calls, as they are now. Raises Problem where they would not be let in any more."""
    now = await let_in(request)
    if not operation.while_stopped:
        await check_stop(now)
    return now


async def by_key(request: web.Request, recognise: Recognise) -> Credential:
    """The credential of the request's key. Raises Problem (401) if it has none, or one that is not known."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        challenge = {"WWW-Authenticate": 'Bearer realm="alertd"'}
        raise Problem("unauthenticated", "A key is needed: Authorization: Bearer <key>.", headers=challenge)
    credential = await recognise(token.strip())
    if credential is None:
        challenge = {"WWW-Authenticate": 'Bearer realm="alertd", error="invalid_token"'}
        raise Problem("unauthenticated", "This key is not known, was revoked, or has expired.", headers=challenge)
    return credential


def with_room(operations: Mapping[str, Operation], takes_writes: Callable[[], bool]) -> Middleware:
    """Refuses writes while the disk or the memory has no room for them, rather than losing one."""

    @web.middleware
    async def room(request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = operations.get(request.match_info.route.name or "")
        if operation is not None and operation.writes and not takes_writes():
            raise no_room()
        return await handler(request)

    return room


def with_body(operations: Mapping[str, Operation], within_s: float) -> Middleware:
    """Reads and inflates the whole body before the handler runs, unless the operation reads it in pieces. Refuses a body that does not
    come in time. Keyless bodies have tighter bounds: many strangers may send them at once, and each is kept until it is whole.
    """
    keyless, inflated = Keyless(), asyncio.Semaphore(INFLATED_AT_ONCE)

    @web.middleware
    async def read_body(request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = operations.get(request.match_info.route.name or "")
        if operation is None or not request.body_exists:
            return await handler(request)
        packed = is_gzip(request)
        if operation.streams:
            return await handler(request)
        if operation.scope is None:
            request = await keyless.read_body(request, within_s)
        elif not request.content.is_eof():
            await in_time(request.read(), within_s)
        if not packed:
            return await handler(request)
        if request.method == hdrs.METH_GET:  # a stream would hold its place for hours
            raise Problem("wrong-encoding", "A GET takes no packed body.", headers={"Accept-Encoding": "identity"})
        async with inflated:  # until it is handled: small bodies could fill the memory
            await inflate(request)
            return await handler(request)

    return read_body


def still_let_in(operations: Mapping[str, Operation], check_stop: CheckStop) -> Middleware:
    """Refuses what a stopped key does not do any more, and whoever was let in when their call began and would not be now: a body may take two
    minutes. Within the audit: what is tried with a key in the wrong hands is written down.
    Some operations ask for what is stopped by a way of their own.
    """

    @web.middleware
    async def halt(request: web.Request, handler: Handler) -> web.StreamResponse:
        if CREDENTIAL in request:
            await check_caller(request)
            operation = operations[request.match_info.route.name or ""]
            if operation.stop_check:
                await operation.stop_check(request)
            elif not operation.while_stopped:
                await check_stop(request[CREDENTIAL])
        return await handler(request)

    return halt


def prepared(operations: Mapping[str, Operation]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """What is done right before the first byte of any answer, streamed ones and refusals too."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        request[STARTED] = asyncio.get_running_loop().time()
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if response.content_type == EVENTS:
            response.headers["X-Accel-Buffering"] = "no"  # nginx would wait until there are some kilobytes of it
        operation = operations.get(request.match_info.route.name or "")
        if operation is not None and operation.any_origin:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
        response.headers[hdrs.SERVER] = "alertd"  # without versions
        if REQUEST_ID in request:
            response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]

    return prepare
