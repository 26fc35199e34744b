"""A real Firefox, driven over WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/), which it speaks itself."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse

from tests.waiting import until

#: Keys without a character, by their code in WebDriver.
TAB, ENTER, DOWN, SPACE = "\ue004", "\ue007", "\ue015", " "
#: Preferences of a browser that nobody uses yet: no first pages, nothing fetched by itself.
QUIET = {
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.safebrowsing.update.enabled": False,
    "services.settings.server": "http://127.0.0.1:1",
    "dom.push.connection.enabled": False,
    "intl.accept_languages": "en-GB",
}


class Firefox:
    """The one tab of a browser."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.tab = ""
        self._numbers = itertools.count(1)

    async def order(self, method: str, **params: Any) -> Any:
        """The result of a command. Raises AssertionError with what the browser answered to a wrong one."""
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(60):
            while (answer := await self.socket.receive_json()).get("id") != number:
                pass  # an event, which nothing here waits for
        assert answer["type"] == "success", answer
        return answer["result"]

    async def open(self, url: str) -> None:
        await self.order("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    async def size(self, width: int, height: int) -> None:
        """In CSS pixels."""
        await self.order("browsingContext.setViewport", context=self.tab, viewport={"width": width, "height": height})

    async def press(self, *keys: str) -> None:
        """One key after the other; a text is its characters."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        await self.order(
            "input.performActions", context=self.tab, actions=[{"type": "key", "id": "keys", "actions": actions}]
        )

    async def nodes(self, css: str) -> list[dict[str, Any]]:
        """The elements with attributes and content; works without JavaScript."""
        found = await self.order(
            "browsingContext.locateNodes", context=self.tab, locator={"type": "css", "value": css},
            serializationOptions={"maxDomDepth": 8},
        )  # fmt: skip
        return [one["value"] for one in found["nodes"]]

    async def text(self, css: str) -> str:
        """The text of all elements that fit."""
        return " ".join(" ".join(_texts(node)).strip() for node in await self.nodes(css))

    async def shows(self, css: str, text: str) -> None:
        """Wait until an element has this text. Raises AssertionError with what the page shows instead."""

        async def is_there() -> bool:
            return text in await self.text(css)

        try:
            await until(is_there)
        except TimeoutError:
            raise AssertionError(f"{text} is not in {await self.text('body')}") from None

    async def evaluate(self, script: str) -> Any:
        """The value of a promise or an expression; needs JavaScript. It comes as JSON."""
        done = await self.order(
            "script.evaluate", expression=f"(async () => JSON.stringify(await ({script})))()",
            target={"context": self.tab}, awaitPromise=True,
        )  # fmt: skip
        assert done["type"] == "success", done["exceptionDetails"]["text"]
        return json.loads(done["result"]["value"])


def _texts(node: dict[str, Any]) -> list[str]:
    if "nodeValue" in node:
        return [node["nodeValue"]]
    return [text for child in node.get("children", []) for text in _texts(child["value"])]


@asynccontextmanager
async def firefox(*, scripts: bool, **preferences: Any) -> AsyncIterator[Firefox]:
    """A browser of its own, with or without JavaScript. Raises AssertionError, which says how to get it."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    assert path, "These tests need Firefox: sudo apt-get install firefox-esr (or leave them out: ./ops/test --fast)"
    with TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as profile:
        wanted = {**QUIET, "javascript.enabled": scripts, **preferences}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in wanted.items()]
        await asyncio.to_thread(Path(profile, "user.js").write_text, "".join(lines), encoding="utf-8")
        words = ("--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0")
        process = await asyncio.create_subprocess_exec(
            path, *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(120):
                address = await _address(process)
            async with ClientSession() as session, session.ws_connect(f"{address}/session", max_msg_size=0) as socket:
                browser = Firefox(socket)
                await browser.order("session.new", capabilities={})
                made = await browser.order(
                    "browsingContext.create", type="tab"
                )  # the first has no focus without a screen
                browser.tab = made["context"]
                yield browser
        finally:
            process.kill()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    """Where it listens, as it says on stderr."""
    assert process.stderr is not None
    async for line in process.stderr:
        if found := re.search(rb"WebDriver BiDi listening on (ws://\S+)", line):
            return found[1].decode()
    raise AssertionError(f"Firefox ended with {await process.wait()} before it listened")
