"""A stream that is watched ends with the key or the session that opened it, and goes on for all others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alertd.app import Parts
from alertd.service.access import Terms
from tests.integration.acts import ANA, register, submitted
from tests.integration.test_operators import OWN, Console
from tests.integration.test_operators import ana as ana  # noqa: PLC0414  a fixture
from tests.integration.test_operators import console as console  # noqa: PLC0414  a fixture
from tests.passkeys import Authenticator

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


async def key(parts: Parts, subject: str, **more: Any) -> tuple[str, str]:
    made, token = await parts.access.create(org="default", subject=subject, scopes=frozenset({"alerts:read"}), **more)
    return made.key_id, token


@pytest.mark.parametrize("path", ["/v1/events", "/v1/alerts/{id}/progress"])
async def test_the_streams_of_a_revoked_key_end(parts: Parts, client: Any, sample: dict[str, Any], path: str):
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
