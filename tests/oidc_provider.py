"""npm's oidc-provider in a process of its own, and somebody at a browser who signs in on its pages."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl, urljoin, urlsplit

import aiohttp

from tests.ports import free_port, wait_for_port

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / ".cache" / "peers" / "node_modules" / "oidc-provider"
SCRIPT = Path(__file__).with_suffix(".mjs")
MOST_ASKED = 20  # a provider that asks more often in one test never stops


@contextmanager
def providing(
    client_id: str, secret: str | None, back: str, algorithm: str = "RS256", port: int = 0, *, age_s: int = 0
) -> Iterator[str]:
    """An issuer with one client, without a secret a public one, until the block ends: its URL. A sign-in is `age_s` old once it is made, and
    the issuer asks again whenever `max_age` finds it too old.
    """
    program = shutil.which("node")
    assert program, "node is missing: apt-get install nodejs npm"
    assert LIBRARY.exists(), "oidc-provider is missing: run ops/test"
    port = port or free_port()
    process = subprocess.Popen(
        [program, SCRIPT, LIBRARY, str(port), client_id, secret or "-", algorithm, back, str(age_s)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


class Somebody:
    """A browser on the provider's pages: it follows where it is sent and fills in what it is asked."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.asked: list[str] = []  # what the provider asked for: login, consent

    async def close(self) -> None:
        await self._session.close()

    async def sign_in(self, url: str, name: str, back: str) -> dict[str, str]:
        """The parameters with which they are sent back."""
        method, form = "GET", None
        while not url.startswith(back):
            async with self._session.request(method, url, data=form, allow_redirects=False) as response:
                page, location = await response.text(), response.headers.get("Location")
            if location:
                method, form, url = "GET", None, urljoin(url, location)
                continue
            action = re.search(r'<form[^>]* action="([^"]+)"', page)
            prompt = re.search(r'name="prompt" value="(\w+)"', page)
            assert action, page
            assert prompt, page
            self.asked.append(prompt[1])
            assert len(self.asked) < MOST_ASKED, "the provider asks for ever"
            method, form, url = (
                "POST",
                {"prompt": prompt[1], "login": name, "password": "x"},
                urljoin(url, unescape(action[1])),
            )
        return dict(parse_qsl(urlsplit(url).query))
