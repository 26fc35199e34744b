"""What happens around every call: it gets a name, its caller is recognised, its failure becomes a problem, it is timed.

From the outside in: `guarded` (name, problem, time), `admitted` (key, scope, the room on the disk), `with_body`, `idempotent`,
`audited`, `still_let_in` (the caller once more), the handler. What the disk refuses was never begun, so its Idempotency-Key is not claimed.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import ClientConnectionResetError, hdrs, web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Histogram

from alertd.api.http.bodies import BODY_S, INFLATED_AT_ONCE, Keyless, in_time, inflate, is_gzip
from alertd.api.http.call import (
    ASKED,
    CREDENTIAL,
    EVENTS,
    MAY,
    NOTED,
    REQUEST_ID,
    STARTED,
    Question,
    check_caller,
    is_replay,
    route_of,
)  # fmt: skip
from alertd.api.http.idempotency import KeptKeys, idempotent
from alertd.api.http.operations import OPERATION, Act, Operation, routes_of
from alertd.api.http.problems import Explain, answer, log_failure, no_room, problem_of
from alertd.common.errors import Problem
from alertd.service.access import Credential
from alertd.service.records.audit import DONE, FAILED, REFUSED, Audit, Noted

#: The histogram of the seconds to an answer's first byte, for the pattern of the route, the method and the status.
Timer = Callable[[str, str, str], Histogram]

#: The credential of a token, or None.
Recognise = Callable[[str], Awaitable[Credential | None]]

#: Counted for a caller who left before the end of the answer; never sent. The number is nginx's.
CALLER_GONE = 499
LONGEST = 200  # characters of what an address names: more is no id
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who may call, and whether anybody may write."""

    recognise: Recognise
    #: The credential of a call's session, or None if it comes without one. Raises Problem for a session that is over.
    signed_in: Callable[[web.Request], Awaitable[Credential | None]] = nobody
    #: Counts a call. Raises Problem for one too many.
    meter: Callable[[Credential], Awaitable[None]] | None = None
    #: Raises Problem if a scope does not reach as far as the caller's organisation.
    check_scope: Callable[[Credential, str], None] = lambda _who, _scope: None
    #: Raises Problem if the caller's key is stopped.
    check_stop: Callable[[Credential], Awaitable[None]] = nothing_stopped
    #: Whether the disk and the memory have room for a write.
    takes_writes: Callable[[], bool] = lambda: True

    async def let_in(self, request: web.Request, operation: Operation, scope: str) -> Credential:
        """Returns who calls. Raises Problem if they may not."""
        credential = None if hdrs.AUTHORIZATION in request.headers else await self.signed_in(request)
        credential = credential or await by_key(request, self.recognise)
        if not any(credential.may(one) for one in (scope, operation.or_scope) if one):
            challenge = {"WWW-Authenticate": f'Bearer realm="alertd", error="insufficient_scope", scope="{scope}"'}
            raise Problem("not-allowed", f"This key lacks the scope {scope}.", scope=scope, headers=challenge)
        self.check_scope(credential, scope)
        return credential

    async def let_in_again(self, request: web.Request) -> Credential:
        """Returns who calls, as they are now. Raises Problem if they would not be let in any more."""
        operation = request[OPERATION]
        now = await self.let_in(request, operation, operation.scope or "")
        if not operation.while_stopped:
            await self.check_stop(now)
        return now


def install(
    app: web.Application,
    operations: Iterable[Operation],
    admission: Admission,
    *,
    idempotency: KeptKeys,
    recorder: Audit,
    explain: Explain,
    timer: Timer | None = None,
    body_s: float = BODY_S,
) -> None:
    """Gives an application the operations and everything around them. Its other routes ask for no key.

    Raises ValueError if two operations have one id.
    """
    rows = tuple(operations)
    table = {each.id: each for each in rows}
    if len(table) < len(rows):
        raise ValueError("two operations have handlers of one name")
    app.middlewares.extend(
        [
            guarded(explain, timer), admitted(table, admission), with_body(body_s),
            idempotent(idempotency, explain), audited(recorder, explain), still_let_in(admission),
        ]
    )  # fmt: skip
    app.on_response_prepare.append(prepare)
    app.add_routes(routes_of(rows))


def guarded(explain: Explain, timer: Timer | None = None) -> Middleware:
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
            response = await handler(request)
            status = response.status
        except Exception as error:
            if isinstance(error, web.HTTPException) and error.status < 400:  # a redirection
                status = error.status
                raise
            if _has_left(request, error):
                status = CALLER_GONE
                error.__traceback__ = None  # as in `_refused`
                raise ClientConnectionResetError from None  # nothing failed
            response = _refused(request, error, explain)
            status = response.status
        finally:
            structlog.contextvars.reset_contextvars(**bound)
            ended = request.get(STARTED) or asyncio.get_running_loop().time()
            if timer is not None:
                method = request.method if request.method in hdrs.METH_ALL else "other"  # a closed set
                timer(route_of(request), method, str(status)).observe(ended - began)
        return response

    return guard


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


def admitted(operations: Mapping[str, Operation], admission: Admission) -> Middleware:
    """Lets a call through if its operation needs no scope, or if its key or session has the scope and the right organisation and calls no more
    often than it may. What stops harm is never too often. Refuses writes while the disk or the memory has no room for them, rather than
    losing one. `operations` are by their routes' names.
    """
    question = Question(admission.let_in_again)

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = operations.get(request.match_info.route.name or "")
        if operation is None:
            return await handler(request)
        request[OPERATION] = operation
        if operation.scope:
            request[ASKED] = asyncio.get_running_loop().time()
            request[CREDENTIAL] = credential = await admission.let_in(request, operation, operation.scope)
            if hasattr(request.protocol, "had_key"):  # at the limit of connections, those of strangers go first
                request.protocol.had_key = True
            request[MAY] = question
            # Asked once: a file may take longer to come than it is known for that it is they.
            if operation.step_up and not credential.fresh:
                sentence = "Show once more that it is you: what decides asks for it, once in five minutes."
                raise Problem("not-allowed", sentence, step_up=True)
            if admission.meter and not (operation.act and operation.act.stops_harm):
                await admission.meter(credential)
        if operation.writes and not admission.takes_writes():
            raise no_room()
        return await handler(request)

    return admit


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


def with_body(within_s: float) -> Middleware:
    """Reads and inflates the whole body before the handler runs, unless the operation reads it in pieces. Refuses a body that does not
    come in time. Keyless bodies have tighter bounds: many strangers may send them at once, and each is kept until it is whole.
    """
    keyless, inflated = Keyless(), asyncio.Semaphore(INFLATED_AT_ONCE)

    @web.middleware
    async def read_body(request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = request.get(OPERATION)
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


def audited(recorder: Audit, explain: Explain) -> Middleware:
    """An act is written down before it is done, and what came of it before anybody is told. Where the first cannot be written nothing is
    done, but for what stops harm: that is done, and told as done only once it is written.
    """

    @web.middleware
    async def write_down(request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = request.get(OPERATION)
        if operation is None or operation.act is None or (operation.act.once and is_replay(request)):
            return await handler(request)
        act, who = operation.act, request[CREDENTIAL]
        named = "/".join(request.match_info.values())[:LONGEST]
        request[NOTED] = noted = Noted(object=recorder.hidden(named) if named and act.of_person else named)
        number = 0
        try:
            number = await recorder.begin(who, act.name, noted.object)
        except Exception:
            if not act.stops_harm:
                raise
        try:
            response = await handler(request)
        except Exception as error:
            noted.facts = {**noted.facts, "problem": problem_of(error, explain).slug}
            outcome = REFUSED if problem_of(error, explain).status < 500 else FAILED
            await _ended(request, recorder, act, outcome, noted, number)
            raise
        outcome = DONE if response.status < 400 else REFUSED
        await recorder.end(who, act.name, outcome, noted, of=number)
        return response

    return write_down


async def _ended(request: web.Request, recorder: Audit, act: Act, outcome: str, noted: Noted, number: int) -> None:
    """What was not done is answered as it would be, even if that cannot be written: the act's own entry stands."""
    try:
        await recorder.end(request[CREDENTIAL], act.name, outcome, noted, of=number)
    except Exception as error:  # noqa: BLE001  whatever the store raises
        log = structlog.get_logger()
        log.warning("refusal not in the audit", request_id=request.get(REQUEST_ID), error=type(error).__qualname__)


def still_let_in(admission: Admission) -> Middleware:
    """Refuses what a stopped key does not do any more, and whoever was let in when their call began and would not be now: a body may take two
    minutes. Within the audit: what is tried with a key in the wrong hands is written down.
    Some operations ask for what is stopped by a way of their own.
    """

    @web.middleware
    async def halt(request: web.Request, handler: Handler) -> web.StreamResponse:
        if CREDENTIAL in request:
            await check_caller(request)
            operation = request[OPERATION]
            if operation.stop_check:
                await operation.stop_check(request)
            elif not operation.while_stopped:
                await admission.check_stop(request[CREDENTIAL])
        return await handler(request)

    return halt


async def prepare(request: web.Request, response: web.StreamResponse) -> None:
    """What is done right before the first byte of any answer, streamed ones and refusals too."""
    request[STARTED] = asyncio.get_running_loop().time()
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if response.content_type == EVENTS:
        response.headers["X-Accel-Buffering"] = "no"  # nginx would wait until there are some kilobytes of it
    operation = request.get(OPERATION)
    if operation is not None and operation.any_origin:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
    response.headers[hdrs.SERVER] = "alertd"  # without versions
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
