"""A centre's own site, whose visitors have alerts in their browsers: its two files as they are in ops/webpush, the alertd that they ask,
and the push service that brings them messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import Browser, CDPSession, Page, Worker

from channels.base import PushMessage, Recipient
from channels.sandbox.authority import make_authority
from channels.sandbox.webpush import HOST, WebPushSandbox
from channels.webpush import WebPushChannel, WebPushSettings
from tests.waiting import until

FILES = Path(__file__).parents[2] / "ops" / "webpush"
#: What each of these is set to in the file.
ALERTD = 'ALERTD = "https://alerts.centre.example"'
PAGE = "<!doctype html><html lang=en><title>The centre</title><link rel=icon href=data:,>"
SHOWN = """async () => (await registration.getNotifications()).map(
    ({title, body, tag, lang, silent, renotify, requireInteraction}) => ({title, body, tag, lang, silent, renotify, requireInteraction}))"""
#: A click that a script makes: no browser lets it open a window, or wait for what follows.
CLICK = """async (tag) => {
    const opened = []
    self.clients.openWindow = async (url) => { opened.push(url) }
    const [notification] = await registration.getNotifications({ tag })
    const event = new NotificationEvent('notificationclick', { notification })
    let followed
    event.waitUntil = (what) => { followed = what }
    self.dispatchEvent(event)
    await followed
    return opened
}"""
#: The worker says when it is done with a message; the browser tells nobody.
COUNTING = """() => {
    self.done = 0
    take = ((own) => (message) => own(message).finally(() => { self.done += 1 }))(take)
}"""


class PushServices:
    """Seals messages as they are sent to browsers, and opens them as browsers do."""

    def __init__(self, directory: Path) -> None:
        authority = make_authority(directory)
        self._sandbox = WebPushSandbox(authority, keep=True)
        self._ca_file = str(authority.ca_file)

    async def start(self) -> None:
        await self._sandbox.start()
        key, contact = self._sandbox.private_key, "mailto:ops@centre.example"
        self._channel = WebPushChannel(
            WebPushSettings(
                private_key=key,
                contact=contact,
                hosts=(HOST,),
                endpoint=self._sandbox.endpoint,
                ca_file=self._ca_file,
            )
        )
        await self._channel.open()

    async def stop(self) -> None:
        await self._channel.close()
        await self._sandbox.stop()

    async def carried(self, message: PushMessage, tag: str) -> str:
        """What comes out at the browser."""
        endpoint, keys = f"https://{HOST}/push/{tag}", self._sandbox.keys
        to = Recipient(f"{endpoint} {keys['p256dh']} {keys['auth']}", tag, is_new=True)
        await self._channel.send(self._channel.prepare(message), [to], lambda: True)
        assert self._sandbox.kept is not None
        return self._sandbox.kept[endpoint].decode()


@dataclass
class Stands:
    """An alertd that answers as it is told, by tags: with `show`, a status, or when an event comes. `heard` is what it was asked and told."""

    answers: dict[str, bool | int | str | asyncio.Event] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/r/{tag}", self._answer)]

    async def _answer(self, request: web.Request) -> web.Response:
        tag, state = request.match_info["tag"], request.query.get("state", "")
        self.heard.append(" ".join(filter(None, (request.method, tag, state))))
        headers = {"Access-Control-Allow-Origin": "*"}
        if request.method == "POST":
            return web.Response(status=204, headers=headers)
        told = self.answers.get(tag, True)
        if isinstance(told, asyncio.Event):
            await told.wait()
            told = True
        if isinstance(told, str):
            return web.Response(text=told, headers=headers)
        status = 200 if isinstance(told, bool) else told
        return web.json_response({"show": told is True, "state": "sent"}, status=status, headers=headers)


@dataclass
class Site:
    """Of the centre. `taken` is what its backend was told of subscriptions."""

    alertd: str
    url: str = ""
    taken: list[Any] = field(default_factory=list)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._page),
            web.get("/{name}.js", self._script),
            web.post("/webpush/changed", self._changed),
        ]

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def _script(self, request: web.Request) -> web.Response:
        text = (FILES / f"{request.match_info['name']}.js").read_text(encoding="utf-8")
        return web.Response(text=text.replace(ALERTD, f'ALERTD = "{self.alertd}"'), content_type="text/javascript")

    async def _changed(self, request: web.Request) -> web.Response:
        self.taken.append(await request.json())
        return web.Response(status=204)


@asynccontextmanager
async def serving(routes: list[web.RouteDef]) -> AsyncIterator[str]:
    """A server; gives where it is."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class Visitor:
    """Somebody's browser, which has the site's worker and may show notifications."""

    page: Page
    worker: Worker
    wire: CDPSession
    registration: str
    origin: str
    said: list[str] = field(default_factory=list)

    async def deliver(self, payload: str) -> None:
        """Its push service brings a message."""
        await self.wire.send(
            "ServiceWorker.deliverPushMessage",
            {"origin": self.origin, "registrationId": self.registration, "data": payload},
        )

    async def has_done(self, messages: int) -> None:
        """Waits until the worker is done with so many."""
        await until(lambda: self.worker.evaluate(f"self.done >= {messages}"))

    async def take(self, payload: str) -> None:
        """A message comes, and the worker does what it does."""
        done = await self.worker.evaluate("self.done")
        await self.deliver(payload)
        await self.has_done(done + 1)

    async def shown(self) -> list[dict[str, Any]]:
        """What is on the screen."""
        return list(await self.worker.evaluate(SHOWN))

    async def click(self, tag: str) -> list[str]:
        """Answers what the worker opens."""
        return list(await self.worker.evaluate(CLICK, tag))

    async def dismiss(self) -> None:
        await self.worker.evaluate("async () => (await registration.getNotifications()).forEach((one) => one.close())")

    async def wait_hours(self, hours: int) -> None:
        """Its clock goes on."""
        await self.worker.evaluate(f"() => {{ const then = Date.now; Date.now = () => then() + {hours * 3_600_000} }}")


@asynccontextmanager
async def visiting(browser: Browser, site: Site) -> AsyncIterator[Visitor]:
    """A browser that shares nothing with others."""
    context = await browser.new_context()
    try:
        await context.grant_permissions(["notifications"], origin=site.url)
        page = await context.new_page()
        said: list[str] = []
        context.on("console", lambda line: said.append(line.text))
        await page.goto(site.url)
        wire = await context.new_cdp_session(page)
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def registered(event: dict[str, Any]) -> None:
            for one in event["registrations"]:
                if not found.done():
                    found.set_result(one["registrationId"])

        wire.on("ServiceWorker.workerRegistrationUpdated", registered)
        await wire.send("ServiceWorker.enable")
        await page.evaluate(
            "async () => { await navigator.serviceWorker.register('/sw.js'); await navigator.serviceWorker.ready }"
        )
        [worker] = context.service_workers
        await worker.evaluate(COUNTING)
        yield Visitor(page, worker, wire, await found, site.url, said)
    finally:
        await context.close()
