"""One bind at an SMS centre, kept up: connect, bind, tick, and again after a wait when it is lost."""

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

#: A bind that lives this long was a good one: the next attempt after it begins with the short wait again.
STEADY_S: Final = 10.0

#: Time passes for a session in steps of this share of its shortest time-out, and no longer than a second.
_STEPS: Final = 5
_LONGEST_STEP_S: Final = 1.0

#: A polite goodbye is not worth more.
_GOODBYE_S: Final = 1.0

_CHANCE: Final = secrets.SystemRandom()

Hear = Callable[["Bind", list[Answered | Delivered]], None]


class _Connection(asyncio.Protocol):
    """One socket and the conversation over it. A late word of an old one never reaches a new one."""

    def __init__(self, session: Session, tell: Callable[[list[Event]], None]) -> None:
        self.session = session
        self.blocked = False
        self._tell = tell
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()

    def take(self, events: list[Event]) -> None:
        """Tell, then write the session's own answers and those of who was told, in one piece."""
        self._tell(events)
        self.flush()
        if self.session.phase is Phase.ENDED and self._transport is not None:
            self._transport.close()

    def flush(self) -> None:
        if self._transport is not None and (out := self.session.take()):
            self._transport.write(out)

    async def gone(self) -> None:
        """Wait a moment until last words have left and the socket is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._lost.wait()

    def drop(self) -> None:
        """Cut the connection, if it still is one."""
        if self._transport is not None:
            self._transport.abort()
        self._tell(self.session.lost())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.flush()

    def data_received(self, data: bytes) -> None:
        self.take(self.session.receive(data, asyncio.get_running_loop().time()))

    def eof_received(self) -> None:
        """The centre hung up: what is written from now on would be dropped, unheard."""
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
    """`hear` is called with what came, and with nothing when there may be room again."""

    def __init__(self, settings: SmppSettings, role: Role, hear: Hear) -> None:
        self.down: Outcome | None = None  # why the last attempt failed; None while bound or still hoping
        self.login: Login | None = None  # what the last attempt found; None before the first one
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
        """How many PDUs may be written now."""
        connection = self._connection
        return 0 if connection is None or connection.blocked else connection.session.room(now_s)

    @property
    def is_bound(self) -> bool:
        return self._connection is not None and self._connection.session.phase is Phase.BOUND

    @property
    def session(self) -> Session | None:
        return None if self._connection is None else self._connection.session

    def request(self, body: bytes, key: Hashable, now_s: float, *, is_new: bool = True) -> None:
        """Written with the next `flush`. There must be room."""
        if self._connection is None:
            raise RuntimeError("a bind without a session has no room")
        self._connection.session.request(body, key, now_s, is_new=is_new)

    def flush(self) -> None:
        """Write all that waits, in one piece."""
        if self._connection is not None:
            self._connection.flush()

    async def keep(self, context: ssl.SSLContext | None) -> None:
        """Until cancelled."""
        while True:
            await self._live(context)
            wait_s = min(self._settings.back_off_max_s, self._settings.back_off_s * 2 ** min(self._failures, 16))
            self._failures += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHANCE.uniform(wait_s / 2, wait_s)):
                    await self._soon.wait()
            self._soon.clear()

    def soon(self) -> None:
        """Hope anew, unless bound: the next attempt is made now, and the waits begin with the short one again."""
        if not self.is_bound:
            self.down, self._failures = None, 0
            self._soon.set()

    async def leave(self) -> None:
        """Unbind if bound, and wait a moment for the answer."""
        connection = self._connection
        if connection is None or connection.session.phase is not Phase.BOUND:
            return
        connection.session.unbind(asyncio.get_running_loop().time())
        connection.flush()
        await connection.gone()

    async def _live(self, context: ssl.SSLContext | None) -> None:
        """One connection from its beginning to its end."""
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
        except OSError as error:  # TimeoutError is one
            self.down = NOT_TRUSTED if isinstance(error, ssl.SSLCertVerificationError) else NOT_CONNECTED
            self.login = fault_of(error, settings.server, settings.connect_timeout_s, tls=settings.tls)
        finally:
            self._connection = None
            connection.drop()

    async def _let_time_pass(self, connection: _Connection) -> None:
        session = connection.session
        while session.phase is not Phase.ENDED:
            try:
                async with asyncio.timeout(self._step_s):
                    await self._until(session, Phase.ENDED)
            except TimeoutError:
                connection.take(session.tick(asyncio.get_running_loop().time()))

    async def _until(self, session: Session, *phases: Phase) -> None:
        while session.phase not in phases:
            self._changed.clear()
            await self._changed.wait()

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Bound):
                self.down, self._bound_s = None, asyncio.get_running_loop().time()
                self.login = Login(LoginState.WORKS, self._settings.server)
                self._changed.set()
            elif isinstance(event, Ended):
                self._ended(event.reason)
        self._hear(self, [event for event in events if isinstance(event, Answered | Delivered)])

    def _ended(self, reason: Reason) -> None:
        """One that was refused, or lost again soon, is down; one that is lost for the first time is hoped for."""
        bound_s, self._bound_s = self._bound_s, None
        if bound_s is not None and asyncio.get_running_loop().time() - bound_s > STEADY_S:
            self._failures = 0
        if reason is Reason.CREDENTIALS:
            self.down = NOT_TRUSTED
        elif self._failures:
            self.down = NOT_CONNECTED
        if self._connection is not None:  # else the connection failed, and why is known
            self.login = self._fault(reason, was_bound=bound_s is not None)
        self._changed.set()

    def _fault(self, reason: Reason, *, was_bound: bool) -> Login:
        """Why a conversation ended."""
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
