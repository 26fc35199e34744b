"""Fetches the OAuth access token of a Google service account in a thread, and renews the token before it ends.

google-auth blocks, so it never runs on the event loop. At most one fetch runs at a time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import requests
from firebase_admin import credentials
from google.auth import exceptions
from google.auth.transport.requests import Request

from channels.base import Answer, Outcome, Reason, Subject
from channels.login import Login, LoginState, clean, fault_of, server_of

# Google's tokens live for an hour. alertd renews a token in the background this many seconds before its end, or at half
# of its life if that is later. So ten minutes of failed renewals have no effect.
RENEW_AHEAD_S = 600.0

# Seconds without another fetch after a failed one, so that an outage does not cause a storm of fetches. Without a
# token, every message gets the same failure meanwhile.
FAILURE_PAUSE_S = 5.0

# If a carrier refuses even fresh tokens, the token is not the problem. So a token is replaced at most once in this many
# seconds.
REFUSAL_PAUSE_S = 30.0

# Google answers in well under a second. google-auth's own default is two minutes, longer than an alert can wait.
FETCH_TIMEOUT_S = 10.0

# `FETCH_TIMEOUT_S` applies to each piece of an answer. This is the limit in seconds for the whole answer, which may
# come in drops.
FETCH_WITHIN_S = 20.0

# Seconds. The longest life of an assertion that Google accepts.
ASSERTION_LIFE_S = 3600

# Assumed life in seconds of a token whose answer has no expires_in, which is only recommended (RFC 6749 5.1). It is
# short, so alertd fetches again soon; a 401 would also show the end.
UNSTATED_LIFE_S = 300.0

REFUSED = Outcome(Answer.RETRY, Reason.CREDENTIALS, of=Subject.CARRIER)
UNREACHABLE = Outcome(Answer.RETRY, Reason.CONNECTION)
NOT_A_TOKEN = Outcome(Answer.RETRY, Reason.GARBAGE)  # an intermediary answers instead of Google

_log = logging.getLogger(__name__)


class AccessToken:
    """The access token of one service account. `get` returns the bearer token, or the outcome for all messages if there
    is none.
    """

    def __init__(
        self,
        source: str | Mapping[str, str],
        ca_file: str | None,
        clock: Callable[[], float] = time.time,
        *,
        within_s: float = FETCH_WITHIN_S,
    ) -> None:
        """`source`: the path of the service account's JSON, or its content. `clock` returns UNIX seconds. `within_s`:
        maximum seconds to wait for a fetch. Raises `OSError` or `ValueError` if the account cannot be read.
        """
        certificate = credentials.Certificate(source if isinstance(source, str) else dict(source))
        self.project_id = str(certificate.project_id)
        self._credential = certificate.get_credential()
        self._ca_file = ca_file
        self._clock = clock
        self._within_s = within_s
        self._token: str | None = None
        self._ends_s = 0.0
        self._renew_s = 0.0
        self._failure: Outcome | None = None
        self.fault: Login | None = None  # why the last fetch failed; None when it succeeded
        self._server = _token_server(source)
        self._failed_until_s = 0.0
        self._refused_until_s = 0.0
        self._renewal: asyncio.Task[None] | None = None

    async def get(self) -> str | Outcome:
        """Returns the bearer token; waits at most `within_s` seconds for a fetch if there is no valid one. If the fetch
        fails or a failure was just before, returns the expired token, or the failure if there is no token or the
        carrier refused it. Starts a renewal in the background when it is due.
        """
        now_s = self._clock()
        failing = now_s < self._failed_until_s
        if self._token is not None and now_s < self._ends_s:
            if now_s >= self._renew_s and not failing:
                self._renewing()
            return self._token
        if not failing:
            await self._waited(self._renewing())
        return self._token or self._failure or REFUSED

    def refuse(self, token: str) -> None:
        """Drops a token that the carrier refused, so that the next `get` fetches another. Does nothing for an older
        token, or within `REFUSAL_PAUSE_S` after the last drop.
        """
        now_s = self._clock()
        if token == self._token and now_s >= self._refused_until_s:
            self._token = None
            self._refused_until_s = now_s + REFUSAL_PAUSE_S

    async def close(self) -> None:
        """Waits for a running renewal, at most `within_s` seconds."""
        if self._renewal is not None:
            await self._waited(self._renewal)

    def _renewing(self) -> asyncio.Task[None]:
        """Returns the running renewal, or starts one."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.get_running_loop().create_task(self._renew())
        return self._renewal

    async def _waited(self, renewal: asyncio.Task[None]) -> None:
        """Waits for a renewal, at most `within_s` seconds; then records a time-out as the failure. A thread cannot be
        stopped: it continues, and a later `get` uses its result.
        """
        try:
            async with asyncio.timeout(self._within_s):
                await asyncio.shield(renewal)
        except TimeoutError:
            self._fail(UNREACHABLE, Login(LoginState.TIMED_OUT, self._server, f"{self._within_s:g} s"))

    async def _renew(self) -> None:
        """Fetches a token and stores it. If the fetch fails, stores the failure instead and does not raise."""
        try:
            self._token, self._ends_s = await asyncio.to_thread(self._fetch)
            life_s = self._ends_s - self._clock()
            self._renew_s = self._ends_s - min(RENEW_AHEAD_S, life_s / 2)
            self.fault = None
        except exceptions.TransportError as error:
            self._fail(UNREACHABLE, fault_of(error, self._server, FETCH_TIMEOUT_S, tls=True))
        except exceptions.GoogleAuthError as error:
            # google-auth writes None where the server gives no description.
            said = clean(str(error.args[0] if error.args else error).removesuffix(": None"))
            self._fail(REFUSED, Login(LoginState.LOGIN_REFUSED, self._server, said))
        except Exception as fault:  # noqa: BLE001 google-auth raises other errors for a page or a number
            _log.error("access_token.read_failed", exc_info=fault)
            said = "its answer is not an access token"
            self._fail(NOT_A_TOKEN, Login(LoginState.WRONG_PROTOCOL, self._server, said))

    def _fail(self, failure: Outcome, fault: Login) -> None:
        """Stores a failure. No fetch starts for the next `FAILURE_PAUSE_S` seconds."""
        self._failure, self.fault = failure, fault
        self._failed_until_s = self._clock() + FAILURE_PAUSE_S

    def _fetch(self) -> tuple[str, float]:
        """Returns the token and the UNIX second at which it ends. Runs in a thread.

        Both use alertd's clock. google-auth would sign and count with the machine's, and Google only accepts assertions
        of the current hour.
        """
        made_s = int(self._clock())
        credential = self._credential.with_claims({"iat": made_s, "exp": made_s + ASSERTION_LIFE_S})
        with requests.Session() as session:
            session.trust_env = False
            session.verify = self._ca_file or True
            credential.refresh(functools.partial(Request(session), timeout=FETCH_TIMEOUT_S))
        life_s = UNSTATED_LIFE_S
        if (expiry := credential.expiry) is not None:  # naive, in UTC
            life_s = (expiry.replace(tzinfo=dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds()
        return str(credential.token), self._clock() + life_s


def _token_server(source: str | Mapping[str, str]) -> str:
    """Returns host and port of the server that issues tokens for a service account."""
    account = json.loads(Path(source).read_text(encoding="utf-8")) if isinstance(source, str) else source
    return server_of(str(account["token_uri"]))
