"""A stream that is watched ends with the key or the session that opened it, and goes on for all others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from alertd.config.sections import ApiSection
from alertd.service.access import Terms
from alertd.service.container import Container
from alertd.store.organisations.organisations import of_key
from tests.integration.acts import ANA, api_of, register, submitted
from tests.integration.consoles import OWN
from tests.integration.organisations.operators import Console
from tests.passkeys import Authenticator
from tests.waiting import until

EVENTS = {"Accept": "text/event-stream"}
#: Nobody waits for so long; a machine that does much else might.
PATIENCE_S = 30


async def ended(stream: Any) -> bool:
    """Whether it came to its end, in order, by then."""
    async with asyncio.timeout(PATIENCE_S):
        await stream.read()
    return bool(stream.content.at_eof())


async def goes_on(stream: Any, s: float = 3.0) -> bool:
    """Whether it is open for so long, whatever comes by it."""
    try:
        async with asyncio.timeout(s):
            await stream.content.read()
    except TimeoutError:
        return True
    return False


async def watched(client: Any, path: str, token: str) -> Any:
    stream = await client.get(path, headers={"Authorization": f"Bearer {token}", **EVENTS})
    assert stream.status == 200
    return stream


async def key(parts: Container, subject: str, **more: Any) -> tuple[str, str]:
    made, token = await parts.access.create(org="default", subject=subject, scopes=frozenset({"alerts:read"}), **more)
    return made.key_id, token


@pytest.mark.parametrize("path", ["/v1/events", "/v1/alerts/{id}/progress"])
async def test_the_streams_of_a_revoked_key_end(parts: Container, client: Any, sample: dict[str, Any], path: str):
    """Within seconds, though something is still to come of what they watch; another key's is left open."""
    await register(parts, 20)
    path = path.replace("{id}", (await submitted(parts, sample)).record.id)
    (lost, token), (_, other) = await key(parts, "eva@centre.example"), await key(parts, "dora@centre.example")
    stream, beside = await watched(client, path, token), await watched(client, path, other)
    await parts.access.revoke(lost, ANA)
    assert await ended(stream)
    assert await goes_on(beside)
    beside.close()


async def test_the_streams_of_a_key_end_when_it_does(console: Console):
    """Its time passes while it is watched."""
    ends = console.parts.clock.now_ms() + 3_600_000
    _, token = await key(console.parts, "eva@centre.example", terms=Terms(expires=ends))
    stream = await watched(console.client, "/v1/events", token)
    assert await goes_on(stream)
    stream = await watched(console.client, "/v1/events", token)
    console.parts.clock.pass_by(3_601)
    assert await ended(stream)


async def test_the_streams_of_a_session_end_when_it_does(console: Console, ana: Authenticator):
    """When its operator is disabled, and when they have done nothing for half an hour: that a page watches is nothing done."""
    await console.signed_in(ana)
    stream = await console.client.get("/v1/events", headers=OWN | EVENTS)
    console.parts.clock.pass_by(20 * 60)
    assert await goes_on(stream)
    console.parts.clock.pass_by(11 * 60)
    assert await ended(stream)
    await console.signed_in(ana)
    stream = await console.client.get("/v1/events", headers=OWN | EVENTS)
    [one] = (await console.administrate("GET", "/v1/operators"))[1]["operators"]
    assert (await console.administrate("PATCH", f"/v1/operators/{one['id']}", {"disabled": True}))[0] == 200
    assert await ended(stream)


async def test_the_streams_of_a_stopped_key_end(console: Console):
    """A key in the wrong hands watches nothing from its stop on; another key's stream is left open."""
    (lost, token), (_, other) = (
        await key(console.parts, "eva@centre.example"),
        await key(console.parts, "dora@centre.example"),
    )
    stream, beside = (
        await watched(console.client, "/v1/events", token),
        await watched(console.client, "/v1/events", other),
    )
    await console.parts.stop_control.stop(of_key("default", lost), ANA, "stolen")
    assert await ended(stream)
    assert await goes_on(beside)
    beside.close()


async def test_a_key_has_a_limited_number_of_streams(parts: Container, aiohttp_client: Any, sample: dict[str, Any]):
    """One key cannot take all connections by streams. A stream that its reader closed counts no more."""
    settings = parts.settings.model_copy(update={"api": ApiSection(streams_per_key=2)})
    client = await aiohttp_client(api_of(replace(parts, library=parts.regions.library, settings=settings)))
    await register(parts, 20)
    alert = (await submitted(parts, sample)).record.id
    (_, token), (_, other) = await key(parts, "eva@centre.example"), await key(parts, "dora@centre.example")
    first = await watched(client, "/v1/events", token)
    second = await watched(client, f"/v1/alerts/{alert}/progress", token)

    async def asked(**headers: str) -> Any:
        async with client.get("/v1/events", headers={"Authorization": f"Bearer {token}", **headers}) as answer:
            return answer if answer.status == 200 else (answer.headers["Retry-After"], await answer.json())

    retry_after, refusal = await asked(**EVENTS)
    assert (refusal["status"], refusal["type"]) == (429, "/problems/rate-limited")
    assert retry_after.isdecimal()
    assert (await asked()).status == 200  # a page is no stream
    beside = await watched(client, "/v1/events", other)
    first.close()

    async def has_room() -> bool:
        return not isinstance(await asked(**EVENTS), tuple)

    await until(has_room)
    second.close()
    beside.close()
