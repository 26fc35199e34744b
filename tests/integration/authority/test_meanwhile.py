"""A call lasts, and whoever makes it may do so no more: what is done is decided by what they may when it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from alertd.api.call import HOLDS_S
from tests.integration.authority.desks import ALL, Desk
from tests.waiting import until


async def is_used(desk: Desk, org: str, key: str) -> bool:
    """Whether somebody was let in by a key."""
    return any(one.used for one in await desk.parts.access.held(org) if one.credential.key_id == key)


def key_of(desk: Desk, who: str) -> str:
    return desk.tokens[who].split("_")[1]


async def halved(desk: Desk, who: str, path: str, body: bytes) -> str:
    """What a call is refused with, or `ok`: its key is revoked when the half of its body is there."""
    key = key_of(desk, who)

    async def halves() -> AsyncIterator[bytes]:
        yield body[:5]
        await until(lambda: is_used(desk, "police", key))
        assert await desk.slug("ana", "DELETE", f"/v1/keys/{key}") == "ok"
        await asyncio.sleep(HOLDS_S)
        yield body[5:]

    headers = {"Authorization": f"Bearer {desk.tokens[who]}", "Content-Type": "application/json"}
    async with desk.client.post(path, data=halves(), headers=headers) as answer:
        return "ok" if answer.status < 400 else f"{answer.status} {(await answer.json())['type'].rpartition('/')[2]}"


async def test_a_key_that_is_revoked_while_its_call_comes_decides_nothing(desk: Desk, alert: dict[str, Any]):
    """Whoever has it in the wrong hands could begin a hundred calls, and end them when they are found out. The audit has it."""
    _, mine = await desk.ask("ana", "POST", "/v1/alerts", alert)
    path = f"/v1/alerts/{mine['id']}"
    await desk.key("mallory", scopes=ALL)
    assert await halved(desk, "mallory", f"{path}/approve", b'{"rev": 1}') == "401 not-allowed"
    assert (await desk.ask("ana", "GET", path))[1]["state"] == "pending"
    await desk.key("eve")
    assert await halved(desk, "eve", "/v1/keys", b'{"subject": "eve", "scopes": ["admin"]}') == "401 not-allowed"
    found = {
        (one["by"], one["act"], one["outcome"]) for one in (await desk.ask("ana", "GET", "/v1/audit"))[1]["entries"]
    }
    assert {("mallory", "alert.approve", "refused"), ("eve", "key.make", "refused")} <= found
