"""Middleware around every call: assigns a request id, recognises the caller, reads the body, writes the audit, turns
errors into problems, and measures time.

From the outside in: `guarded` (id, problem, time), `admitted` (key, scope, room on the disk), `with_body`,
`idempotent`, `audited`, `still_admitted` (checks the caller again), the handler. `admitted` comes before `idempotent`,
so that a write that it refuses for lack of room does not claim its Idempotency-Key.
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
    CALLER_CHECK,
    CHECKED_AT,
    CREDENTIAL,
    EVENTS,
    NOTED,
    REQUEST_ID,
    STARTED,
    CallerCheck,
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

#: Returns the histogram of one route pattern, method and status. It observes the seconds to an answer's first byte.
Timer = Callable[[str, str, str], Histogram]

#: Looks up the credential of a token; None if unknown.
Recognise = Callable[[str], Awaitable[Credential | None]]

#: Status in the metrics if the caller disconnected before the end of the answer; never sent. nginx uses the same
#: number.
CALLER_GONE = 499
LONGEST = 200  # characters of a path variable; a longer one cannot be an id
REQUEST_ID_HEADER = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")  # safe in logs: no character that could break a line

#: Headers of every answer that does not set its own. Caches must not keep answers: they may hold data of a case that is
#: purged later.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def nobody(_request: web.Request) -> Credential | None:
    """Returns None. The default of `Admission.signed_in`: no call has a session."""
    return None


async def nothing_stopped(_who: Credential) -> None:
    """Does nothing. The default of `Admission.check_stop`: no key is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The functions that decide which callers may call, and whether the store has room for writes."""

    recognise: Recognise
    #: Returns the credential of a call's session, or None without one. Raises Problem for a session that is over.
    signed_in: Callable[[web.Request], Awaitable[Credential | None]] = nobody
    #: Counts a call. Raises Problem if the caller exceeds the rate.
    meter: Callable[[Credential], Awaitable[None]] | None = None
    #: Raises Problem for a scope that only the organisation running the service has, if the caller is of another one.
    check_scope: Callable[[Credential, str], None] = lambda _who, _scope: None
    #: Raises Problem if the caller's key is stopped.
    check_stop: Callable[[Credential], Awaitable[None]] = nothing_stopped
    #: Returns whether the disk and the memory have room for a write.
    takes_writes: Callable[[], bool] = lambda: True

    async def let_in(self, request: web.Request, operation: Operation, scope: str) -> Credential:
        """Returns the credential of the request's key if it has an Authorization header, else of its session. Raises
        Problem: `unauthenticated` without a valid key or session; `not-allowed` if the caller has neither `scope` nor
        the operation's alternative scope, or if another site sends the session's cookie, or if only the organisation
        that runs the service may have `scope`.
        """
        credential = None if hdrs.AUTHORIZATION in request.headers else await self.signed_in(request)
        credential = credential or await by_key(request, self.recognise)
        if not any(credential.may(one) for one in (scope, operation.or_scope) if one):
            challenge = {"WWW-Authenticate": f'Bearer realm="alertd", error="insufficient_scope", scope="{scope}"'}
            raise Problem("not-allowed", f"This key lacks the scope {scope}.", scope=scope, headers=challenge)
        self.check_scope(credential, scope)
        return credential

    async def readmit(self, request: web.Request) -> Credential:
        """Looks the caller up again and returns the credential with their current rights. Raises Problem if they would
        no longer be admitted, or if their key is stopped and the operation is not for stopped keys.
        """
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
    """Adds the operations, with their routes and the middleware, to an application. Its other routes need no key.
    `timer` gives the histogram for the times of calls; `body_s` is the maximum of seconds for a body.

    Raises ValueError if two operations have one id, and TypeError if a handler does not match its path.
    """
    rows = tuple(operations)
    table = {each.id: each for each in rows}
    if len(table) < len(rows):
        raise ValueError("two operations have handlers of one name")
    app.middlewares.extend(
        [
            guarded(explain, timer), admitted(table, admission), with_body(body_s),
            idempotent(idempotency, explain), audited(recorder, explain), still_admitted(admission),
        ]
    )  # fmt: skip
    app.on_response_prepare.append(prepare)
    app.add_routes(routes_of(rows))


def guarded(explain: Explain, timer: Timer | None = None) -> Middleware:
    """Returns the outermost middleware. It assigns the request id, answers every exception but a redirect with a
    problem, and measures the seconds to the first byte of the answer. If the client disconnected, it raises
    ClientConnectionResetError instead.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        # Lets the event loop serve other connections: otherwise one connection could block them all, with many requests
        # in a row that need no await.
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
                raise ClientConnectionResetError from None  # no failure of the server
            response = _refused(request, error, explain)
            status = response.status
        finally:
            structlog.contextvars.reset_contextvars(**bound)
            ended = request.get(STARTED) or asyncio.get_running_loop().time()
            if timer is not None:
                # Only known methods, so that clients cannot add series.
                method = request.method if request.method in hdrs.METH_ALL else "other"
                timer(route_of(request), method, str(status)).observe(ended - began)
        return response

    return guard


def _refused(request: web.Request, error: Exception, explain: Explain) -> web.StreamResponse:
    """Returns the problem as the answer to a failed call, and logs a failure of the server. Raises ConnectionResetError
    if part of the answer was sent before.

    It is a separate function: in the frame that caught the error, the problem would form a reference cycle, which keeps
    the request and its body until the next full collection.
    """
    problem = problem_of(error, explain)
    log_failure(error, problem, request)
    # aiohttp stores the error of a wrong path, or of an incomplete body, in the request. The traceback refers to the
    # request in turn, so both and the body would stay in memory until the next full collection.
    error.__traceback__ = None
    if STARTED in request:  # part of the answer is sent: the only signal left is to break the connection
        raise ConnectionResetError("a streamed answer failed") from None
    refusal = answer(problem, request[REQUEST_ID])
    if isinstance(error, web.RequestPayloadError):  # alertd cannot tell where the next request starts
        refusal.force_close()
    return refusal


def _has_left(request: web.Request, error: Exception) -> bool:
    """Returns whether the error means that the client disconnected: during the answer, or before the request's body was
    complete.
    """
    return isinstance(error, ClientConnectionResetError) or (
        isinstance(error, ConnectionResetError) and request.transport is None
    )


def admitted(operations: Mapping[str, Operation], admission: Admission) -> Middleware:
    """Returns the middleware that admits a call if its operation needs no scope, or if its key or session has the
    scope, the right organisation and enough rate left; a session may also need a recent step-up. Raises Problem for all
    other calls. The rate never limits operations that stop harm. Refuses writes while the disk or memory is nearly
    full, because a write could be lost. `operations` maps route names to operations.
    """
    question = CallerCheck(admission.readmit)

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = operations.get(request.match_info.route.name or "")
        if operation is None:
            return await handler(request)
        request[OPERATION] = operation
        if operation.scope:
            request[CHECKED_AT] = asyncio.get_running_loop().time()
            request[CREDENTIAL] = credential = await admission.let_in(request, operation, operation.scope)
            # At the limit of connections, the server first closes those without a key.
            if hasattr(request.protocol, "had_key"):
                request.protocol.had_key = True
            request[CALLER_CHECK] = question
            # Checked only here, before the body: a large body may take longer than the step-up stays valid.
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
    """Returns the credential of the request's API key. Raises Problem (401) if it has none, or one that `recognise`
    does not accept.
    """
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
    """Returns the middleware that reads and inflates the whole body before the handler runs, unless the operation reads
    it in pieces. Raises Problem for a body that does not arrive within `within_s` seconds, and for gzip in a GET. It
    limits how many inflated bodies are in memory at the same time.

    Bodies without a key have tighter limits: many strangers may send them at once, and each stays in memory until it is
    complete.
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
        if request.method == hdrs.METH_GET:  # an event stream would hold its place among the gzip bodies for hours
            raise Problem("wrong-encoding", "A GET takes no packed body.", headers={"Accept-Encoding": "identity"})
        async with inflated:  # until the end of the call: many small bodies could inflate and fill the memory
            await inflate(request)
            return await handler(request)

    return read_body


def audited(recorder: Audit, explain: Explain) -> Middleware:
    """Returns the middleware that writes an act to the audit before the handler runs, and its outcome before the answer
    is sent. It raises an error and skips the handler if it cannot write the first entry. Exception: an act that stops
    harm is done, and answered with success only if the audit has its outcome. Operations without an `Act` are not
    audited.
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
    """Writes the outcome of a refused or failed act to the audit. If that fails, logs a warning and does not raise,
    because the caller needs the refusal as the answer, and the audit has the act's first entry.
    """
    try:
        await recorder.end(request[CREDENTIAL], act.name, outcome, noted, of=number)
    except Exception as error:  # noqa: BLE001  whatever the store raises
        log = structlog.get_logger()
        log.warning("audit.write_failed", request_id=request.get(REQUEST_ID), error=type(error).__qualname__)


def still_admitted(admission: Admission) -> Middleware:
    """Returns the middleware that refuses stopped keys, and callers who have lost access since the call began: a body
    may take two minutes. It runs within the audit, so that the audit records attempts with a stolen key. For an
    operation with a `stop_check`, calls that instead of the default check for stops.
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
    """Notes the time of the answer's first byte, and sets the headers that all answers have. aiohttp calls it before
    every answer, including streams and refusals.
    """
    request[STARTED] = asyncio.get_running_loop().time()
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if response.content_type == EVENTS:
        response.headers["X-Accel-Buffering"] = "no"  # nginx would buffer some kilobytes before it forwards them
    operation = request.get(OPERATION)
    if operation is not None and operation.any_origin:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
    response.headers[hdrs.SERVER] = "alertd"  # without version numbers
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
