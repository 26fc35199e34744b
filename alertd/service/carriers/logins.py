"""Logs in at each carrier when a worker starts and at intervals, and stores what it found for the other processes. If
the login works but the carrier refuses every recipient, stores that.

Workers of one installation do not log in at the same moment. A worker without a share of a carrier's connections does not log in.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from alertd.common.clock import Clock
from alertd.common.repetition import ended
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.carriers.states import cause_of_login
from alertd.store.carriers.limits import Limits
from alertd.store.carriers.logins import LIFE_MS, Logins
from alertd.store.engine.connection import StoreUnavailableError
from channels.base import Binding, MultiServer
from channels.login import Login, LoginState

#: Seconds between attempts while the login fails or the breaker is open. The wait doubles from the first value to the
#: last.
FIRST_LOGIN_WAIT_S, LAST_LOGIN_WAIT_S = 2.0, 30.0
#: Seconds between attempts while the carrier works, less up to a fifth at random. The first attempt waits up to
#: `FIRST_LOGIN_WAIT_S`, at random.
WORKS_WAIT_S = 300.0
#: Maximum seconds of one attempt.
LONGEST_S = 15.0
#: Seconds after which an unchanged finding is stored again: a third of its life in the store.
REPEAT_S = LIFE_MS / 3000
_CHANCE = secrets.SystemRandom()


@dataclass(slots=True)
class _Carrier:
    """What this process knows of the login at one carrier. Times are monotonic s."""

    due_s: float = 0.0
    wait_s: float = 0.0
    login: Login | None = None
    stored: Login | None = None  # the finding that the store has: the login, or that it refuses every recipient
    logged: Login | None = None  # the finding that the log has last
    stored_s: float = 0.0
    # Failed logins of other workers: the worker, and when it began (UNIX ms).
    failures: set[tuple[str, int]] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


async def _no_addresses(_: str) -> Sequence[str]:
    return ()


@dataclass(kw_only=True)
class LoginWatch:
    """Logs in at the carriers, for one process, and stores the findings."""

    carriers: Carriers
    logins: Logins
    limits: Limits
    clock: Clock
    may_log_in: Callable[[Carrier], bool] = lambda _: True
    addresses: Callable[[str], Awaitable[Sequence[str]]] = _no_addresses  # returns addresses of a channel
    refusal: Callable[[Carrier], str | None] = lambda _: None  # as `CarrierHealth.refusal`
    chance: Callable[[], float] = _CHANCE.random  # returns a random number from 0 to 1
    longest_s: float = LONGEST_S
    worker: str = field(default_factory=lambda: secrets.token_hex(8))
    _known: dict[str, _Carrier] = field(default_factory=dict)

    async def round(self) -> None:
        """Starts the login attempts that are due, and stores findings again before they expire. Does not wait for a
        carrier.
        """
        now_s = self.clock.monotonic()
        resting = await self.limits.open_breakers(carrier.name for carrier in self.carriers.all())
        for carrier in self.carriers.all():
            known = self._known.setdefault(carrier.name, _Carrier(due_s=now_s + FIRST_LOGIN_WAIT_S * self.chance()))
            if not self.may_log_in(carrier):  # an old finding may hide a newer one of another worker
                known.login, known.stored, known.due_s = None, None, now_s
                continue
            rests = resting[carrier.name]
            if rests and not known.wait_s and known.login is not None:  # its breaker has just opened
                known.due_s = min(known.due_s, now_s + FIRST_LOGIN_WAIT_S)
            if now_s >= known.due_s:
                known.due_s = now_s + self.longest_s
                self._begin(carrier, known, rests=rests)
            if known.login is None:
                continue
            if now_s - known.stored_s >= REPEAT_S or self._finding(carrier, known.login) != known.stored:
                await self._store(carrier, known, known.login)

    async def log_in(self, carrier: Carrier) -> Login:
        """Logs in at a carrier now, stores the result as this worker's finding, and returns it. Waits for an attempt
        that is under way instead, if there is one.
        """
        known = self._known.setdefault(carrier.name, _Carrier())
        await asyncio.wait([self._begin(carrier, known, rests=False)])
        return known.login or Login(LoginState.NOT_KNOWN)

    async def close(self) -> None:
        """Ends the running attempts, and deletes this worker's findings: the next worker may have other settings."""
        for known in self._known.values():
            if known.task is not None:
                await ended(known.task)
        with suppress(StoreUnavailableError):  # then the findings expire
            await self.logins.drop(self._known, self.worker)

    def _begin(self, carrier: Carrier, known: _Carrier, *, rests: bool) -> asyncio.Task[None]:
        """Starts an attempt, unless one is running. Returns the task of the attempt."""
        if known.task is None or known.task.done():
            known.task = asyncio.create_task(self._guarded(carrier, known, rests=rests), name=f"log in {carrier.name}")
        return known.task

    async def _guarded(self, carrier: Carrier, known: _Carrier, *, rests: bool) -> None:
        log = structlog.get_logger()
        try:
            await self._attempt(carrier, known, rests=rests)
        except StoreUnavailableError:
            log.warning("store.found_unavailable", step="log in", carrier=carrier.name)
        except Exception as error:  # noqa: BLE001  the next attempt comes; its text may hold a secret
            log.error("step.failed", step="log in", carrier=carrier.name, error=type(error).__name__)  # noqa: TRY400

    async def _attempt(self, carrier: Carrier, known: _Carrier, *, rests: bool) -> None:
        login = await self._log_in(carrier, known)
        now_s = self.clock.monotonic()
        in_trouble = login.fails or rests
        known.wait_s = min(max(2 * known.wait_s, FIRST_LOGIN_WAIT_S), LAST_LOGIN_WAIT_S) if in_trouble else 0.0
        is_free = isinstance(carrier.channel, Binding)  # it binds by itself, and log_in only reports the state
        is_unused = isinstance(carrier.channel, MultiServer) and login.state is LoginState.NOT_KNOWN
        while_well_s = LAST_LOGIN_WAIT_S if is_unused else WORKS_WAIT_S * (1 - self.chance() / 5)
        known.due_s = now_s + (FIRST_LOGIN_WAIT_S if is_free else known.wait_s or while_well_s)
        known.login = login
        if self._finding(carrier, login) != known.stored:
            await self._store(carrier, known, login)

    async def _log_in(self, carrier: Carrier, known: _Carrier) -> Login:
        try:
            async with asyncio.timeout(self.longest_s):
                if isinstance(carrier.channel, MultiServer):
                    carrier.channel.use(await self.addresses(carrier.channel.name))
                return await carrier.channel.log_in()
        except TimeoutError:
            server = "" if known.login is None else known.login.server
            return Login(LoginState.TIMED_OUT, server, f"{self.longest_s:g} s")

    def _finding(self, carrier: Carrier, login: Login) -> Login:
        """Returns the login, or that the carrier refuses every recipient if the login works."""
        said = None if login.fails else self.refusal(carrier)
        return login if said is None else Login(LoginState.REFUSES_RECIPIENTS, login.server, said)

    async def _store(self, carrier: Carrier, known: _Carrier, login: Login) -> None:
        """Stores the result of a login. Logs a change, but no failure while another worker can log in.

        Logs in again soon if another worker's login began to fail: if the password changed, this worker will fail too.
        """
        finding = self._finding(carrier, login)
        records = await self.logins.put(carrier.name, self.worker, finding, carrier.login)
        known.stored, known.stored_s = finding, self.clock.monotonic()
        others = [one for one in records if one.worker != self.worker]
        failures = {(one.worker, one.since_ms) for one in others if one.login.is_shut_out}
        if not login.fails and failures - known.failures:
            known.due_s = min(known.due_s, known.stored_s + FIRST_LOGIN_WAIT_S)
        known.failures = failures
        if login != known.logged and (not login.fails or all(one.login.is_shut_out for one in others)):
            _log_change(carrier, known.logged, login)
            known.logged = login


def _log_change(carrier: Carrier, before: Login | None, login: Login) -> None:
    log = structlog.get_logger()
    if cause := cause_of_login(carrier, login):
        log.warning("carrier.login_failed", carrier=carrier.name, state=cause.code, cause=cause.sentence)
    elif before is not None and before.fails:
        log.info("carrier.login_restored", carrier=carrier.name)
