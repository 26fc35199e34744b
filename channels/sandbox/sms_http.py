"""A simulated SMS provider with Twilio's HTTP API and status reports. It misbehaves for numbers with a prefix that a
rule names.

It serves Twilio's calls for a message and for the account, and its own: `POST /control` with `{"rules": [...], "clear":
true}`, `GET /counts`, and `GET /recorded` as NDJSON.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import aiohttp

from channels.sandbox.authority import Authority
from channels.sandbox.http_wire import Answer, Reply, Request
from channels.sandbox.listener import Control, Listener
from channels.sandbox.script import FAULTS, Recorded, Script, misbehaved

POSTERS = 16  # maximum of concurrent reports

REPORT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Report:
    """One message whose status is to be posted to `url`."""

    url: str
    sid: str
    to: str
    ends: str  # final MessageStatus
    error_code: str = ""


class Reporter:
    """Posts status reports to the client: `sent` after `delay_s` seconds, and the final status after the same time
    again. `failed` counts posts that failed; they are not repeated.
    """

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.failed = 0
        self._due: asyncio.Queue[tuple[Report, str]] = asyncio.Queue()
        self._timers: set[asyncio.TimerHandle] = set()
        self._posters: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REPORT_TIMEOUT_S))
        self._posters = [asyncio.create_task(self._post_all(self._session)) for _ in range(POSTERS)]

    async def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for poster in self._posters:
            poster.cancel()
        await asyncio.gather(*self._posters, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def report(self, report: Report) -> None:
        """Schedules the two posts for a message."""
        self._later(self.delay_s, report, "sent")
        self._later(2 * self.delay_s, report, report.ends)

    def _later(self, delay_s: float, report: Report, state: str) -> None:
        def due() -> None:
            self._timers.discard(timer)
            self._due.put_nowait((report, state))

        timer = asyncio.get_running_loop().call_later(delay_s, due)
        self._timers.add(timer)

    async def _post_all(self, session: aiohttp.ClientSession) -> None:
        """Posts the reports that are due, one after the other, until cancelled."""
        while True:
            report, state = await self._due.get()
            form = {"MessageSid": report.sid, "MessageStatus": state, "To": report.to}
            if state == report.ends and report.error_code:
                form["ErrorCode"] = report.error_code
            try:
                async with session.post(report.url, data=form) as response:
                    self.failed += response.status >= 300
            except (aiohttp.ClientError, OSError):
                self.failed += 1


ACCOUNT = "ACsandbox"
SECRET = "sandbox"  # noqa: S105 it guards nothing: the sandbox listens on 127.0.0.1
SENDER = "+15005550006"  # Twilio's number for tests


def _error(status: int, code: int) -> tuple[int, bytes]:
    return status, json.dumps({"code": code, "message": "refused by the sandbox", "status": status}).encode()


# The values of a rule's `do`, with the answer: (status, body).
REFUSALS = {
    "throttle": _error(429, 20429),
    "unavailable": _error(503, 20500),
    "opted-out": _error(400, 21610),
    "invalid-number": _error(400, 21211),
    "not-mobile": _error(400, 21614),
    "bad-message": _error(400, 21617),
    "unauthorized": _error(401, 20003),
    "unexplained": _error(400, 99999),
}

# Behaviours that accept the message and report this failure: (MessageStatus, ErrorCode).
FAILURES = {
    "undelivered": ("undelivered", "30003"),
    "failed": ("failed", "30005"),
    "filtered": ("undelivered", "30007"),
}

_UNKNOWN = Reply(*REFUSALS["unauthorized"])

BEHAVIOURS = FAULTS.union(REFUSALS, FAILURES)

#: Seconds after which an accepted message is reported as sent. Its final status follows after the same time again.
REPORT_DELAY_S = 0.2


class HttpSmsSandbox:
    """A simulated SMS provider. Tests in the same process use `script`, `recorded` and `bodies`; other processes use
    the control calls.
    """

    def __init__(self, authority: Authority) -> None:
        self.script = Script(BEHAVIOURS)
        self.recorded = Recorded()
        self.bodies: dict[str, str] = {}  # texts by recorded version
        self.reporter = Reporter(REPORT_DELAY_S)
        self._listener = Listener(self._serve, authority.server_context(), 0.0)
        self._control = Control(self.script, self.recorded)
        self._basic = b"Basic " + base64.b64encode(f"{ACCOUNT}:{SECRET}".encode())
        self._serial = 0
        account = b"/2010-04-01/Accounts/" + ACCOUNT.encode()
        self._calls: dict[bytes, Callable[[Request], Answer]] = {
            b"GET %b.json" % account: lambda _: Reply(200, json.dumps({"sid": ACCOUNT, "status": "active"}).encode()),
            b"POST %b/Messages.json" % account: self._take,
        }

    async def start(self, port: int = 0) -> None:
        await self._listener.start(port)
        await self.reporter.start()
        self.endpoint = f"https://127.0.0.1:{self._listener.port}"

    async def stop(self) -> None:
        await self.reporter.stop()
        await self._listener.stop()

    @property
    def open_connections(self) -> int:
        return self._listener.open_connections

    def _serve(self, request: Request) -> Answer:
        call = next((call for line, call in self._calls.items() if request.line.startswith(line)), None)
        if call is None:
            return self._control.serve(request)
        return call(request) if request.header(b"authorization") == self._basic else _UNKNOWN

    def _take(self, request: Request) -> Answer:
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        if "Body" not in form or "To" not in form:
            return Reply(*REFUSALS["bad-message"])
        rule = self.script.match(form["To"])
        if rule is None:
            return self._accept(form)
        if rule.do in FAILURES:
            return self._accept(form, FAILURES[rule.do])
        return misbehaved(rule, REFUSALS, partial(self._accept, form))

    def _accept(self, form: dict[str, str], ends: tuple[str, str] = ("delivered", "")) -> Reply:
        """Records a message, starts its reports and returns the answer. The API has no version, so a hash of the text
        is recorded instead. `ends`: final MessageStatus and ErrorCode.
        """
        version = hashlib.sha256(form["Body"].encode()).hexdigest()[:16]
        self.bodies[version] = form["Body"]
        self.recorded.add("", version, form["To"])
        self._serial += 1
        sid = f"SM{self._serial:032x}"
        if "StatusCallback" in form:
            self.reporter.report(Report(form["StatusCallback"], sid, form["To"], *ends))
        return Reply(201, json.dumps({"sid": sid, "status": "queued", "error_code": None}).encode())
