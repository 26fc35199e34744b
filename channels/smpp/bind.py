"""Keeps one bind at an SMS centre: connects, binds, checks the time-outs, and reconnects after a wait if the connection
is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import Callable, Hashable
from typing import Final, cast

from channels.base import NOT_CONNECTED, Answer, Outcome, Reason, Subject
from channels.login import Login, LoginState, fault_of
from channels.smpp.pdu import name_of
from channels.smpp.session import Answered, Bound, Delivered, Ended, Event, Phase, Role, Session, refusal
from channels.smpp.settings import SmppSettings

NOT_TRUSTED: Final = Outcome(Answer.RETRY, Reason.CREDENTIALS, of=Subject.CARRIER)

#: If a bind lasted longer than this many seconds, the next attempt starts with the shortest wait again.
STEADY_S: Final = 10.0

#: `tick` checks the time-outs of a session this many times within the shortest of them, and at least once a second.
_STEPS: Final = 5
_LONGEST_STEP_S: Final = 1.0

#: Seconds to wait for the socket to close. A clean unbind is not worth a longer wait.
_GOODBYE_S: Final = 1.0

_CHANCE: Final = secrets.SystemRandom()

Hear = Callable[["Bind", list[Answered | Delivered]], None]


class _Connection(asyncio.Protocol):
    """One socket and its session. Each connection has its own session, so a late event of an old socket cannot reach a
    new one.
    """

    def __init__(self, session: Session, tell: Callable[[list[Event]], None]) -> None:
        self.session = session
        self.blocked = False
        self._tell = tell
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()

    def take(self, events: list[Event]) -> None:
        """Passes the session's events to `tell`, which may queue acknowledgements. Then writes these and the session's
        own replies together. Closes the socket if the session has ended.
        """
        self._tell(events)
        self.flush()
        if self.session.phase is Phase.ENDED and self._transport is not None:
            self._transport.close()

    def flush(self) -> None:
        if self._transport is not None and (out := self.session.take()):
            self._transport.write(out)

    async def gone(self) -> None:
        """Waits up to 1 s until the last bytes are sent and the socket is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._lost.wait()

    def drop(self) -> None:
        """Aborts the connection if it is still open, and ends the session."""
        if self._transport is not None:
            self._transport.abort()
        self._tell(self.session.lost())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.flush()

    def data_received(self, data: bytes) -> None:
        self.take(self.session.receive(data, asyncio.get_running_loop().time()))

    def eof_received(self) -> None:
        """Ends the session, because the centre closed its side of the connection. It would drop everything written from
        now on without an answer.
        """
        self._tell(self.session.lost())

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._lost.set()
        self._tell(self.session.lost())

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        self._tell([])


class Bind:
    """One bind of an account, over one connection after another. Calls `hear` with the answers and deliveries that
    arrive, and with an empty list when there may be room again.
    """

    def __init__(self, settings: SmppSettings, role: Role, hear: Hear) -> None:
        self.down: Outcome | None = None  # why the last attempt failed; None while bound, and before a second failure
        self.login: Login | None = None  # result of the last attempt; None before the first one ends
        self._settings = settings
        self._role = role
        self._hear = hear
        self._connection: _Connection | None = None
        self._changed = asyncio.Event()
        self._soon = asyncio.Event()
        self._failures = 0
        self._bound_s: float | None = None
        self._step_s = min(_LONGEST_STEP_S, min(settings.session.timeout_s, settings.session.enquire_s) / _STEPS)

    def room(self, now_s: float) -> int:
        """Returns how many messages may be written now, 0 or less if none. `now_s`: the event loop's clock."""
        connection = self._connection
        return 0 if connection is None or connection.blocked else connection.session.room(now_s)

    @property
    def is_bound(self) -> bool:
        return self._connection is not None and self._connection.session.phase is Phase.BOUND

    @property
    def session(self) -> Session | None:
        return None if self._connection is None else self._connection.session

    def request(self, body: bytes, key: Hashable, now_s: float, *, is_new: bool = True) -> None:
        """Queues one `submit_sm` for the next `flush`. The caller must check `room` first. Raises RuntimeError without
        a session.
        """
        if self._connection is None:
            raise RuntimeError("a bind without a session has no room")
        self._connection.session.request(body, key, now_s, is_new=is_new)

    def flush(self) -> None:
        """Writes all queued PDUs in one piece."""
        if self._connection is not None:
            self._connection.flush()

    async def keep(self, context: ssl.SSLContext | None) -> None:
        """Keeps the bind up until the task is cancelled. `context`: TLS, or None without TLS. The wait between attempts
        doubles, with jitter, up to `back_off_max_s` seconds.
        """
        while True:
            await self._live(context)
            wait_s = min(self._settings.back_off_max_s, self._settings.back_off_s * 2 ** min(self._failures, 16))
            self._failures += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHANCE.uniform(wait_s / 2, wait_s)):
                    await self._soon.wait()
            self._soon.clear()

    def soon(self) -> None:
        """Ends the wait, so that the next attempt to bind begins now, or right after the present one. Resets the wait
        to the shortest and clears `down`. Does nothing while the bind is up.
        """
        if not self.is_bound:
            self.down, self._failures = None, 0
            self._soon.set()

    async def leave(self) -> None:
        """Sends `unbind` if bound, and waits up to 1 s for the socket to close."""
        connection = self._connection
        if connection is None or connection.session.phase is not Phase.BOUND:
            return
        connection.session.unbind(asyncio.get_running_loop().time())
        connection.flush()
        await connection.gone()

    async def _live(self, context: ssl.SSLContext | None) -> None:
        """Opens one connection, binds, and returns when it has ended. `down` and `login` say why it failed."""
        settings, loop = self._settings, asyncio.get_running_loop()
        connection = _Connection(Session(settings.session, loop.time(), self._role), self._take)
        name = settings.host if context else None
        self._connection = connection
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                await loop.create_connection(
                    lambda: connection, settings.host, settings.port, ssl=context, server_hostname=name
                )
                await self._until(connection.session, Phase.BOUND, Phase.ENDED)
            await self._let_time_pass(connection)
            await connection.gone()
        except OSError as error:  # TimeoutError is a subclass
            self.down = NOT_TRUSTED if isinstance(error, ssl.SSLCertVerificationError) else NOT_CONNECTED
            self.login = fault_of(error, settings.server, settings.connect_timeout_s, tls=settings.tls)
        finally:
            self._connection = None
            connection.drop()

    async def _let_time_pass(self, connection: _Connection) -> None:
        """Checks the time-outs of the session again and again until the session ends."""
        session = connection.session
        while session.phase is not Phase.ENDED:
            try:
                async with asyncio.timeout(self._step_s):
                    await self._until(session, Phase.ENDED)
            except TimeoutError:
                connection.take(session.tick(asyncio.get_running_loop().time()))

    async def _until(self, session: Session, *phases: Phase) -> None:
        """Waits until the session is in one of these phases."""
        while session.phase not in phases:
            self._changed.clear()
            await self._changed.wait()

    def _take(self, events: list[Event]) -> None:
        """Records that the bind is up or has ended, and passes answers and deliveries to `hear`."""
        for event in events:
            if isinstance(event, Bound):
                self.down, self._bound_s = None, asyncio.get_running_loop().time()
                self.login = Login(LoginState.WORKS, self._settings.server)
                self._changed.set()
            elif isinstance(event, Ended):
                self._ended(event.reason)
        self._hear(self, [event for event in events if isinstance(event, Answered | Delivered)])

    def _ended(self, reason: Reason) -> None:
        """Sets `login` to why the session ended, unless connecting failed (then `_live` sets it). Sets `down` to the
        cause if the centre refused the credentials, or at the second failure in a row. A bind lost within `STEADY_S` of
        its start is a failure. A first failure leaves `down`, because the next attempt may succeed.
        """
        bound_s, self._bound_s = self._bound_s, None
        if bound_s is not None and asyncio.get_running_loop().time() - bound_s > STEADY_S:
            self._failures = 0
        if reason is Reason.CREDENTIALS:
            self.down = NOT_TRUSTED
        elif self._failures:
            self.down = NOT_CONNECTED
        if self._connection is not None:  # otherwise connecting failed, and `_live` has set the cause
            self.login = self._fault(reason, was_bound=bound_s is not None)
        self._changed.set()

    def _fault(self, reason: Reason, *, was_bound: bool) -> Login:
        """Returns why the session ended, as the result of a login. `was_bound`: the centre had accepted the bind."""
        server, status = self._settings.server, self.session.bind_status if self.session else 0
        if status:
            is_ours = refusal(status, self._settings.session.statuses).reason is Reason.CREDENTIALS
            return Login(LoginState.LOGIN_REFUSED if is_ours else LoginState.BUSY, server, name_of(status))
        if reason is Reason.GARBAGE:
            return Login(LoginState.WRONG_PROTOCOL, server, "it does not answer as an SMS centre")
        if reason is Reason.TIMEOUT:
            return Login(LoginState.TIMED_OUT, server, f"{self._settings.session.timeout_s:g} s")
        said = "the connection was lost" if was_bound else "it closed the connection before it answered the bind"
        return Login(LoginState.UNREACHABLE, server, said)
