"""An operator at the console."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from alertd.config.settings import Settings
from alertd.rendering import Renderer
from alertd.service.carriers.carriers import Carriers
from alertd.service.container import Container
from alertd.store.engine.connection import Connection
from tests.clocks import Later
from tests.integration.acts import api_of
from tests.integration.consoles import Page
from tests.passkeys import Authenticator

ORIGIN = "http://localhost:8080"
ROOT = "root@centre.example"


class Console(Page):
    """Somebody who comes in with passkeys."""

    async def enrolled(self, passkey: Authenticator, code: str) -> tuple[int, Any]:
        """Registers a passkey with a one-time code."""
        status, told = await self.ask("POST", "/v1/passkeys/options", {"code": code})
        assert status == 200, told
        body = {"code": code, "passkey": passkey.register(told["public_key"])}
        return await self.ask("POST", "/v1/passkeys", body)

    async def options(self) -> dict[str, Any]:
        status, told = await self.ask("POST", "/v1/sign-in/options")
        assert status == 200, told
        return told["public_key"]

    async def signed_in(self, passkey: Authenticator) -> tuple[int, Any]:
        return await self.ask("POST", "/v1/sign-in", passkey.sign(await self.options()))

    def leave(self) -> None:
        """Another browser."""
        self.client.session.cookie_jar.clear()


@pytest.fixture
async def console(
    store: Connection, renderer: Renderer, aiohttp_client: Any, request: pytest.FixtureRequest
) -> AsyncIterator[Console]:
    """A browser before an API without operators, whose clock can be put forward; with the settings that a test is parametrised by."""
    settings = getattr(request, "param", Settings())
    parts = Container(
        settings=settings, db=store, library=None, renderer=renderer, carriers=Carriers([]), clock=Later()
    )
    _, key = await parts.access.create(org="default", subject=ROOT, scopes=frozenset({"admin"}))
    yield Console(parts, await aiohttp_client(api_of(parts)), key)
    parts.audience.close()


@pytest.fixture
async def ana(console: Console) -> Authenticator:
    """Ana's passkey, registered; she is not signed in."""
    passkey = Authenticator(ORIGIN)
    assert (await console.enrolled(passkey, (await console.add())["code"]))[0] == 201
    console.leave()
    return passkey
