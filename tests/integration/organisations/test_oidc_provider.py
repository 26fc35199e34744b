"""Signing in by a provider that nobody here wrote: npm's oidc-provider, certified by the OpenID Foundation."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from alertd.config.sections import OidcSection
from alertd.config.settings import Settings
from alertd.rendering import Renderer
from alertd.service.carriers.carriers import Carriers
from alertd.service.container import Container
from alertd.store.engine.connection import Connection
from tests.integration.acts import api_of
from tests.oidc_provider import Somebody, providing

pytestmark = pytest.mark.peer

OWN = {"Sec-Fetch-Site": "same-origin"}
BACK = "http://localhost:8080/console"
NOWHERE = "/v1/alerts/01M882R9G938BE2P8KXNZ55750"
CLIENT, SECRET = "alertd at the centre", "s3cret/with:signs"


class Console:
    """The console's page in a browser, which somebody signs in with."""

    def __init__(self, client: Any, key: str, somebody: Somebody) -> None:
        self.client, self.key, self.somebody = client, key, somebody

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self.client.request(method, path, json=body or {}, headers=OWN | headers) as response:
            return response.status, await response.json() if response.content_length else None

    async def sign_in(self, name: str, **what: Any) -> tuple[int, Any]:
        status, told = await self.ask("POST", "/v1/sign-in/provider", what)
        assert status == 200, told
        given = await self.somebody.sign_in(told["url"], name, BACK)
        assert set(given) >= {"state", "code", "iss"}
        return await self.ask("POST", "/v1/sign-in/provider/answer", given)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """How the provider signs, whether it knows alertd by a secret or by PKCE alone, and how old a sign-in is once it is made."""

    algorithm: str = "RS256"
    secret: str | None = SECRET
    age_s: int = 0


@asynccontextmanager
async def opened(way: Way, store: Connection, renderer: Renderer, aiohttp_client: Any) -> AsyncIterator[Console]:
    with providing(CLIENT, way.secret, BACK, way.algorithm, age_s=way.age_s) as url:
        oidc = OidcSection(issuer=url, client_id=CLIENT, client_secret=way.secret)
        parts = Container(
            settings=Settings(oidc=oidc), db=store, library=None, renderer=renderer, carriers=Carriers([])
        )
        _, key = await parts.access.create(org="default", subject="root", scopes=frozenset({"admin"}))
        somebody = Somebody()
        yield Console(await aiohttp_client(api_of(parts)), key, somebody)
        await somebody.close()
        parts.audience.close()


@pytest.fixture(
    params=[Way(), Way(algorithm="ES256"), Way(algorithm="EdDSA", secret=None)], ids=["RS256", "ES256", "EdDSA, public"]
)
async def console(
    request: pytest.FixtureRequest, store: Connection, renderer: Renderer, aiohttp_client: Any
) -> AsyncIterator[Console]:
    async with opened(request.param, store, renderer, aiohttp_client) as console:
        yield console


@pytest.mark.parametrize("age_s", [2, 45])
async def test_a_sign_in_that_is_a_little_old_when_it_is_made_proves_who_decides(
    store: Connection, renderer: Renderer, aiohttp_client: Any, age_s: int
):
    """A provider's auth_time is in whole seconds, and its hops and clock take some: it must not ask for ever, nor be refused for ever."""
    async with opened(Way(age_s=age_s), store, renderer, aiohttp_client) as console:
        order = {"subject": "ana@centre.example", "name": "Ana García", "roles": ["author", "approver"]}
        made = (await console.ask("POST", "/v1/operators", order, Authorization=f"Bearer {console.key}"))[1]
        assert (await console.sign_in("ana", code=made["code"]))[0] == 200
        approve = ("POST", f"{NOWHERE}/approve", {"people": 1})
        assert (await console.ask(*approve))[1]["step_up"] is True
        asked = len(console.somebody.asked)
        status, told = await console.sign_in("ana", prove=True)
        assert (status, console.somebody.asked[asked:]) == (200, ["login"]), told
        assert (await console.ask(*approve))[0] == 404


async def test_somebody_comes_in_signs_in_and_decides(console: Console):
    """A code lets them in once; then the provider does, which knows them by now; what decides makes it ask them anew."""
    order = {"subject": "ana@centre.example", "name": "Ana García", "roles": ["author", "approver"]}
    made = (await console.ask("POST", "/v1/operators", order, Authorization=f"Bearer {console.key}"))[1]
    status, told = await console.sign_in("ana", code=made["code"])
    assert (status, told["subject"]) == (200, "ana@centre.example")
    assert console.somebody.asked == ["login", "consent"]
    console.client.session.cookie_jar.clear()
    assert (await console.sign_in("ana"))[0] == 200
    assert console.somebody.asked[2:] == []
    approve = ("POST", f"{NOWHERE}/approve", {"people": 1})
    assert (await console.ask(*approve))[1]["step_up"] is True
    assert (await console.sign_in("ana", prove=True))[0] == 200
    assert console.somebody.asked[2:] == ["login"]
    assert (await console.ask(*approve))[0] == 404
    assert (await console.ask("POST", "/v1/sign-out"))[0] == 204
    assert (await console.ask("GET", "/v1/me"))[0] == 401


async def test_whoever_only_the_provider_knows_is_nobody_here(console: Console):
    """They are refused in words, and nobody is made of them."""
    status, refusal = await console.sign_in("eva")
    assert (status, refusal["type"]) == (403, "/problems/not-allowed")
    assert "one-time code" in refusal["detail"]
    assert (await console.ask("GET", "/v1/me"))[0] == 401
