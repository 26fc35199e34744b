"""Opens connections to one mail relay, lends them to messages, and keeps them open between messages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
import time
from collections.abc import Coroutine
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple, cast

import aiosmtplib

from channels.base import NOT_CONNECTED, WITHHELD, Answer, Outcome, Reason, Subject
from channels.connection_limit import ConnectionLimit
from channels.login import Login, LoginState
from channels.mail_session import MailSession, SlowRecipients, session_over
from channels.smtp_relay import RelaySettings, fault

_log = logging.getLogger(__name__)

NOT_TRUSTED = Outcome(Answer.RETRY, Reason.CREDENTIALS, of=Subject.CARRIER)

_NOT_TRUSTED = (aiosmtplib.SMTPAuthenticationError, aiosmtplib.SMTPNotSupported, ssl.SSLCertVerificationError)
_CUTS = (aiosmtplib.SMTPServerDisconnected, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)

QUIT_TIMEOUT_S = 1.0  # a clean QUIT is not worth a longer wait


class _Idle(NamedTuple):
    session: MailSession
    since_s: float


class _Waiting(NamedTuple):
    """A message that waits for a connection. Entries sort by turn."""

    is_repeated: bool  # it was tried before
    turn: int
    future: asyncio.Future[MailSession | Outcome]


class _Failed(NamedTuple):
    """A connection that failed. `outcome` is for the waiting messages, `cause` for the log."""

    outcome: Outcome
    is_refusal: bool  # the relay or its machine is up, but refused it
    cause: str


class SmtpPool:
    """The connections of this process to one relay: at most the number that `allow` sets, and no more than the relay
    accepts.

    Messages wait for a connection, new ones before retried ones. If the relay refuses another connection while some
    work, the messages wait for the working ones (`ConnectionLimit`). If a connection fails for any other reason, the
    waiting messages fail. If the relay falls silent while its connections stay open, the pool opens one more to check
    whether the relay is up.
    """

    def __init__(self, relay: RelaySettings) -> None:
        self._relay = relay
        self._context: ssl.SSLContext | None = None
        self._allowed = relay.connections
        self._limit = ConnectionLimit(relay.ask_again_s)
        self._heard_s = -math.inf  # when the relay last answered, or got a message
        self._failed: Outcome | None = None  # outcome of the last connection, if it failed and none worked since
        self._failed_until_s = 0.0
        self._idle: list[_Idle] = []  # the longest idle first
        self._sweeper: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None  # checks for a silent relay while messages wait
        self._lent = 0
        self._logins = 0  # connections only for login checks
        self._waiting: list[_Waiting] = []  # a heap
        self._turns = count()
        self.slow = SlowRecipients()
        self._opening: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Loads the certificates. Raises OSError and ssl.SSLError."""
        self._context = ssl.create_default_context(cafile=self._relay.ca_file)

    async def close(self) -> None:
        """Ends the idle connections with QUIT, and cancels those that are opening."""
        while self._idle:
            self._end(self._idle.pop())
        for timer in (self._sweeper, self._watch):
            if timer is not None:
                timer.cancel()
        self._sweeper = self._watch = None
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, *self._ending, return_exceptions=True)

    @property
    def is_working(self) -> bool:
        """Returns whether a connection is open and, within the last `silent_s`, the relay answered or a message got a
        connection.
        """
        return time.monotonic() < self._heard_s + self._relay.silent_s and self._open > 0

    @property
    def held(self) -> int:
        """Returns the number of connections of this process, including those that open or close."""
        return self._open + len(self._opening) + len(self._ending) + self._logins

    @property
    def _open(self) -> int:
        return self._lent + len([one for one in self._idle if one.session.is_open])

    @property
    def lanes(self) -> int:
        """Returns how many messages to send at a time: one for each connection that this process may get, and at least
        one.
        """
        return max(1, self._limit.lanes(self._allowed))

    def allow(self, connections: int) -> None:
        """Limits the connections from now on. Ends idle ones above the limit; those with a mail end after it."""
        self._allowed = connections
        while self._idle and self._open > connections:
            self._end(self._idle.pop(0))
        self._serve()

    async def take(self, *, is_new: bool) -> MailSession | Outcome:
        """Waits for a connection and returns it after EHLO, or returns the outcome for a message that cannot get one.
        New messages go first. The caller must give the connection back, or replace or lose it.
        """
        if not self._somebody_waits() and (session := self._kept()):
            self._lent_one()
            return session
        if self._failed and not (self.is_working or self._opening) and time.monotonic() < self._failed_until_s:
            return self._failed
        waiter: asyncio.Future[MailSession | Outcome] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, _Waiting(not is_new, next(self._turns), waiter))
        self._serve()
        if is_new and not waiter.done():
            self.slow.make_room()
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.exception() is None:
                found = waiter.result()
                if isinstance(found, MailSession):
                    self.give_back(found, kept=True)
            raise

    async def replace(self, *, is_new: bool) -> MailSession | Outcome:
        """Returns a new connection in place of a lent one that the relay ended. If the relay refuses it while others
        work, waits as `take` does. Otherwise all waiting messages, and this one, get the failure.
        """
        try:
            found = await self._connect()
        except BaseException:
            self.lose()
            raise
        if isinstance(found, MailSession):
            return found
        self._lent -= 1
        if found.is_refusal and self.is_working:
            self._learn(found)
            return await self.take(is_new=is_new)
        self._fail(found)
        return found.outcome

    def lose(self) -> Outcome:
        """Counts a lent connection that the relay ended as given back. Returns `WITHHELD`, for a message that may no
        longer be written.
        """
        self._lent -= 1
        self._serve()
        return WITHHELD

    def give_back(self, session: MailSession, *, kept: bool) -> None:
        """Gives back a lent connection. `kept`: the server is ready for the next transaction. Otherwise closes it."""
        self._lent -= 1
        if kept and session.is_open:
            self._keep(session)
        else:
            session.close()
        self._serve()

    def _keep(self, session: MailSession) -> None:
        """Adds a connection to the idle ones, or ends it if there are more than allowed."""
        session.was_kept = True
        self._idle.append(_Idle(session, time.monotonic()))
        if self._lent + len(self._idle) > self._allowed:
            self._end(self._idle.pop())
        elif self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._relay.keep_idle_s, self._sweep)

    def _kept(self) -> MailSession | None:
        """Returns the idle connection that was used last and is still open, or None."""
        while self._idle:
            session = self._idle.pop().session
            if session.is_open:
                return session
        return None

    def _sweep(self) -> None:
        """Ends the connections that carried no mail for `keep_idle_s`."""
        now_s, self._sweeper = time.monotonic(), None
        while self._idle and (left_s := self._idle[0].since_s + self._relay.keep_idle_s - now_s) <= 0:
            self._end(self._idle.pop(0))
        if self._idle:
            self._sweeper = asyncio.get_running_loop().call_later(left_s, self._sweep)

    def _end(self, idle: _Idle) -> None:
        """Ends a connection with QUIT, in the background."""
        self._start(idle.session.quit(QUIT_TIMEOUT_S), self._ending)

    def _start(self, what: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(what)
        tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._ending.discard(task)
        self._serve()

    def _serve(self) -> None:
        """Lends idle connections to the waiting messages in their order, and opens more for the rest."""
        while self._somebody_waits() and (session := self._kept()):
            self._lend(session)
        while self._waiting and len(self._opening) < self._may_open():
            self._start(self._open_one(), self._opening)
        if self._waiting and not (self._allowed or self.is_working or self._opening):
            self._answer(WITHHELD)  # another process has the connections, and sends the returned messages
        if self._somebody_waits() and not self._opening and self._watch is None:
            left_s = self._heard_s + self._relay.silent_s - time.monotonic()
            self._watch = asyncio.get_running_loop().call_later(max(0.0, left_s), self._look)

    def _look(self) -> None:
        self._watch = None
        self._serve()

    def _somebody_waits(self) -> bool:
        """Returns whether a message waits for a connection. Removes cancelled ones from the front."""
        while self._waiting and self._waiting[0].future.done():  # cancelled
            heappop(self._waiting)
        return bool(self._waiting)

    def _lend(self, session: MailSession) -> None:
        """Lends a connection to the first waiting message."""
        self._lent_one()
        heappop(self._waiting).future.set_result(session)

    def _lent_one(self) -> None:
        self._lent += 1
        self._hear()  # restarts the time after which the relay counts as silent

    def _hear(self) -> None:
        """Records that the relay works now. Earlier failures no longer count."""
        self._heard_s, self._failed = time.monotonic(), None

    def _may_open(self) -> int:
        """Returns how many connections may open at the same time: at most as many as are open, so that a relay refuses
        few. If the relay is silent, one may open above the limit.
        """
        room = self._limit.most(self._allowed) - self._open - len(self._ending) - self._logins
        if self._allowed and not self.is_working:
            room = max(1, room)
        return min(room, len(self._waiting), max(1, self._open))

    async def _open_one(self) -> None:
        """Opens a connection for the first waiting message. A failure limits the connections or fails all messages."""
        found: MailSession | _Failed | Exception
        try:
            found = await self._connect()
        except Exception as fault:  # noqa: BLE001 the waiting messages get the exception
            found = fault
        self._opening.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        if isinstance(found, MailSession):
            if self._somebody_waits() and self._open < self._allowed:
                self._lend(found)
            else:
                self._keep(found)
            self._limit.opened(self._open)
        elif isinstance(found, Exception):
            self._answer(found)
        elif found.is_refusal and self.is_working:
            self._learn(found)
        elif not self._opening:
            self._fail(found)
        self._serve()

    def _learn(self, found: _Failed) -> None:
        """Limits the connections to those open now, and logs it once per wait."""
        wait_s = self._limit.refused(self._open)
        if wait_s is not None:
            _log.warning(
                "relay.connection_refused",
                extra={"server": self._relay.host, "open": self._open, "cause": found.cause, "again_in_s": wait_s},
            )

    def _fail(self, found: _Failed) -> None:
        """Gives the waiting messages the outcome of a failed connection, which `take` returns for `fails_for_s`
        seconds.
        """
        self._failed, self._failed_until_s = found.outcome, time.monotonic() + self._relay.fails_for_s
        self._answer(found.outcome)

    def _answer(self, found: Outcome | Exception) -> None:
        """Gives all waiting messages this outcome, or raises this exception in their `take`."""
        while self._waiting:
            waiter = heappop(self._waiting).future
            if waiter.done():
                continue
            if isinstance(found, Exception):
                waiter.set_exception(found)
            else:
                waiter.set_result(found)

    async def log_in(self) -> Login:
        """Opens a separate connection to check the login, ends it and returns the result. Opens none if a connection of
        the pool works.
        """
        if self.is_working:
            return Login(LoginState.WORKS, self._server)
        self._logins += 1
        try:
            if self._idle and self.held > self._allowed:
                self._end(self._idle.pop(0))
            await asyncio.gather(*self._ending)
            return await self._log_in()
        finally:
            self._logins -= 1
            self._serve()

    async def _log_in(self) -> Login:
        """Connects, logs in and quits."""
        smtp = self._client()
        try:
            await smtp.connect()
            self._hear()
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await smtp.quit(timeout=QUIT_TIMEOUT_S)
        except (aiosmtplib.SMTPException, OSError) as error:
            return fault(error, self._server, self._relay)
        finally:
            smtp.close()
        return Login(LoginState.WORKS, self._server)

    @property
    def _server(self) -> str:
        return f"{self._relay.host}:{self._relay.port}"

    def _client(self) -> aiosmtplib.SMTP:
        relay = self._relay
        return aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            local_hostname="localhost",  # the client's name in EHLO
            timeout=relay.connect_timeout_s,
            use_tls=relay.security == "tls",
            start_tls=relay.security == "starttls",
            tls_context=self._context,
            username=relay.username,
            password=relay.password,
        )

    async def _connect(self) -> MailSession | _Failed:
        """Connects, with TLS and login as the settings say, and returns the session or why it failed."""
        smtp = self._client()
        session = None
        try:
            await smtp.connect()
            if not smtp.last_ehlo_response:
                await smtp.ehlo()
            if smtp.transport is not None:
                session = session_over(smtp.transport, frozenset(smtp.esmtp_extensions), self._hear)
        except (aiosmtplib.SMTPException, OSError) as error:
            return self._failure(error)
        finally:
            if session is None:
                smtp.close()
        self._hear()
        return session or _Failed(NOT_CONNECTED, is_refusal=True, cause="it ended the connection")

    def _failure(self, error: Exception) -> _Failed:
        """Returns what a connection error means: whether the relay refused a further connection, and the outcome."""
        login = fault(error, self._server, self._relay)
        cause = " ".join(filter(None, (login.state, login.said)))
        if isinstance(error, _NOT_TRUSTED) or not isinstance(error, (aiosmtplib.SMTPResponseException, OSError)):
            # Not trusted, or an error of the library: the relay offers no STARTTLS, or no login method.
            return _Failed(NOT_TRUSTED, is_refusal=False, cause=cause)
        if isinstance(error, aiosmtplib.SMTPResponseException):
            is_refusal = 400 <= error.code < 500
            if is_refusal:
                self._hear()
            return _Failed(NOT_CONNECTED, is_refusal, cause)
        is_cut = any(isinstance(one, _CUTS) for one in (error, error.__cause__))
        return _Failed(NOT_CONNECTED, is_cut or login.state is LoginState.CONNECTION_REFUSED, cause)
