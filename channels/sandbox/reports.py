"""Status reports of the SMS sandbox: posted to the callback URL, some time after the message was accepted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp

POSTERS = 16  # reports under way at once

REPORT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Report:
    """One message and how it ends."""

    url: str
    sid: str
    to: str
    ends: str  # MessageStatus
    error_code: str = ""


class Reporter:
    """Tells `sent` and then the end. `failed` counts reports that nobody took; none is told twice."""

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
        self._later(self.delay_s, report, "sent")
        self._later(2 * self.delay_s, report, report.ends)

    def _later(self, delay_s: float, report: Report, state: str) -> None:
        def due() -> None:
            self._timers.discard(timer)
            self._due.put_nowait((report, state))

        timer = asyncio.get_running_loop().call_later(delay_s, due)
        self._timers.add(timer)

    async def _post_all(self, session: aiohttp.ClientSession) -> None:
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
