"""The `Idempotency-Key` header: alertd carries out a POST that is sent twice only once.

The store keeps no answer, because an answer can hold personal data that must be deleted. It keeps the id of the object,
chosen before the first try, and the status. A repeated request runs its handler as a replay, which answers from the
present state of that object.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from alertd.api.http.call import CREDENTIAL, PREPARED_ID, REPLAY, REQUEST_ID
from alertd.api.http.operations import OPERATION
from alertd.api.http.problems import Explain, problem_of
from alertd.common.clock import Clock
from alertd.common.errors import Fault, Problem
from alertd.common.ids import new_id
from alertd.store.records.idempotency import CLAIM_MS, Requests

HEADER = "Idempotency-Key"
#: Header of an answer to a request that was already done.
REPLAYED = "Idempotent-Replayed"
Note = Callable[[], Awaitable[None]]
#: Seconds for which this process keeps a result that the store failed to record. A claim lasts longer, so no other
#: request can have claimed the key by then.
OWED_S = CLAIM_MS / 1000 / 3
_KEY = re.compile(r"[\x21-\x7e]{1,255}")  # visible ASCII; other services accept this length, too


@dataclass(frozen=True, slots=True)
class Fresh:
    """The request was not carried out yet, or its attempt failed. The caller must carry it out, and give its object
    this id.
    """

    id: str


@dataclass(frozen=True, slots=True)
class Done:
    """The request was carried out before. Has the id of its object, and the status of its answer."""

    id: str
    status: int


@dataclass(frozen=True, slots=True)
class Running:
    """The first request with this key is not answered yet; its claim ends in at most `retry_after_s` seconds."""

    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key was used for a different request."""


class KeptKeys:
    """Keeps idempotency keys in the store for 24 hours: the digest of the request, the id of its object and, after the
    answer, the status.

    If the store fails to record a result, the next request with the key records it first. Otherwise that request, for
    instance an approval, would have to wait until the claim of the first one expires.
    """

    def __init__(self, requests: Requests, clock: Clock) -> None:
        self._requests = requests
        self._clock = clock
        self._owed: dict[tuple[str, str], tuple[Note, float]] = {}

    async def begin(self, caller: str, key: str, digest: bytes) -> Fresh | Done | Running | Mismatch:
        """Claims a key of a caller for the request with this digest. Returns whether the request is new, done, running,
        or differs from the first one with this key. An unfinished claim expires by itself; its id stays for the retry.
        """
        await self._make_up(caller, key)
        word, name, number = await self._requests.claim(caller, key, digest.hex(), new_id(self._clock.now_ms()))
        match word:
            case "fresh":
                return Fresh(name)
            case "done":
                return Done(name, number)
            case "running":
                return Running(max(1, number // 1000))
            case _:
                return Mismatch()

    async def finish(self, caller: str, key: str, made_id: str, status: int) -> None:
        """Stores that the request was carried out: the answer's status and the object's id. The id is the prepared one,
        or that of an earlier alert that this request repeats. Raises if the store fails.
        """
        await self._noted(caller, key, lambda: self._requests.finish(caller, key, made_id, status))

    async def release(self, caller: str, key: str, *, forget: bool) -> None:
        """Releases a key after a request that was refused or failed. `forget` deletes the key; otherwise its digest and
        id stay for the retry. Raises if the store fails.
        """
        await self._noted(caller, key, lambda: self._requests.release(caller, key, forget=forget))

    async def _noted(self, caller: str, key: str, note: Note) -> None:
        """Awaits `note`, which records a result. If the store fails, keeps `note` for `OWED_S` seconds and raises the
        error.
        """
        try:
            await note()
        except Exception:
            now = self._clock.monotonic()
            self._owed = {which: owed for which, owed in self._owed.items() if owed[1] > now}
            self._owed[caller, key] = note, now + OWED_S
            raise

    async def _make_up(self, caller: str, key: str) -> None:
        """Records a result that the store failed to record for this key, if it is still kept. Raises if the store fails
        again.
        """
        note, until = self._owed.get((caller, key), (None, 0.0))
        if note is not None and self._clock.monotonic() < until:
            await note()
        self._owed.pop((caller, key), None)


def idempotent(store: KeptKeys, explain: Explain) -> Middleware:
    """Returns the middleware for POSTs with an Idempotency-Key. It runs the handler once for a key, and for a repeat
    runs the handler as a replay. Raises Problem for an invalid key, for a key of another request, and while the first
    request is not answered.
    """

    @web.middleware
    async def once(request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = request.get(OPERATION)
        key = request.headers.get(HEADER)
        if key is None or operation is None or not operation.takes_key:
            return await handler(request)
        if _KEY.fullmatch(key) is None:
            fault = Fault("", "This must be 1 to 255 visible ASCII characters.", HEADER)
            raise Problem("invalid-request", f"The {HEADER} cannot be used.", faults=(fault,))
        caller = request[CREDENTIAL].key_id
        match await store.begin(caller, key, await _digest(request)):
            case Mismatch():
                raise Problem("idempotency-mismatch", f"Another request was sent with this {HEADER}.")
            case Running(retry_after_s):
                wait = {"Retry-After": str(retry_after_s)}
                raise Problem("idempotency-in-progress", "The first request is not answered yet.", headers=wait)
            case Done(prepared_id, status):
                return await _again(request, handler, prepared_id, status)
            case Fresh(prepared_id):
                request[PREPARED_ID] = prepared_id
                return await _first(request, handler, _Claim(store, caller, key), explain)

    return once


@dataclass(frozen=True, slots=True)
class _Claim:
    """The claim of a request on its caller's key."""

    store: KeptKeys
    caller: str
    key: str

    async def settle(self, made_id: str, status: int) -> None:
        """Ends the claim by the status of the answer. Below 400 the request is done, with `made_id` as its object. A
        refusal (4xx) frees the key. After a failure (5xx) the id stays for a retry. Raises if the store fails.
        """
        if status < 400:
            await self.store.finish(self.caller, self.key, made_id, status)
        else:
            await self.store.release(self.caller, self.key, forget=status < 500)


async def _first(request: web.Request, handler: Handler, claim: _Claim, explain: Explain) -> web.StreamResponse:
    """Runs the handler for the first time, ends the claim by the status of its answer or error, and returns the
    answer.
    """
    try:
        response = await handler(request)
    except Exception as error:
        await _settled(request, claim, problem_of(error, explain).status)
        raise
    await _settled(request, claim, response.status)
    return response


async def _settled(request: web.Request, claim: _Claim, status: int) -> None:
    """Ends the claim by the status of the answer. If the store fails, logs a warning and does not raise: the client
    gets the answer, and the claim expires by itself.
    """
    try:
        await claim.settle(request[PREPARED_ID], status)
    except Exception as error:  # noqa: BLE001  whatever the store raises
        log = structlog.get_logger()
        log.warning("idempotency_key.settle_failed", request_id=request.get(REQUEST_ID), error=type(error).__qualname__)


async def _again(request: web.Request, handler: Handler, prepared_id: str, status: int) -> web.StreamResponse:
    """Runs the handler as a replay of a request that was done, and returns its answer with the header
    Idempotent-Replayed. A success gets the first answer's `status`.
    """
    request[PREPARED_ID] = prepared_id
    request[REPLAY] = True
    response = await handler(request)
    if not response.prepared:
        response.headers[REPLAYED] = "true"
        if response.status < 400:
            response.set_status(status)
    return response


async def _digest(request: web.Request) -> bytes:
    """Returns the digest that identifies a request: method, address with query, and body."""
    digest = hashlib.sha256(f"{request.method} {request.path_qs}\n".encode())
    digest.update(await request.read())
    return digest.digest()
