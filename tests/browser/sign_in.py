"""Sign-in at the console, with a key, an invitation or a passkey."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, CDPSession

from tests.acceptance.conftest import Served
from tests.browser.desks import Desk, desk


def own(served: Served, key: str | None = None, name: str = "default") -> Any:
    status, told = served.call("GET", f"/v1/organisations/{name}", None, key)
    assert status == 200, told
    return told["organisation"]


async def come(window: Desk, key: str) -> None:
    await window.sign_in(key)
    await window.page.get_by_role("link", name="Organisation").click()
    await window.page.get_by_role("heading", level=1).wait_for()


KEY: dict[str, Any] = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


@asynccontextmanager
async def with_authenticator(
    browser: Browser, served: Served, *refusals: int
) -> AsyncIterator[tuple[Desk, CDPSession, str]]:
    """A window on a machine that keeps passkeys, under its name, for a bare address has none."""
    async with desk(browser, served.url.replace("127.0.0.1", "localhost"), *refusals) as window:
        device = await window.page.context.new_cdp_session(window.page)
        await device.send("WebAuthn.enable")
        made = await device.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
        yield window, device, made["authenticatorId"]


async def come_in(window: Desk, url: str) -> None:
    """With the one-time address, which makes a passkey."""
    await window.page.goto(url)
    await window.press("Make my passkey")
    await window.page.get_by_role("link", name="Now", exact=True).wait_for()
