"""A call lasts, and whoever makes it may do so no more: what is done is decided by what they may when it is done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientPayloadError

from alertd.api.http.call import CHECK_VALID_S
from alertd.store.delivery.work_records import BatchKey, pack_ref
from tests.integration.acts import ANA, BEA, alert_of, registration
from tests.integration.authority.desks import ALL, Desk
from tests.waiting import until

#: More than lies between a ledger and somebody who does not read on: each chunk of a plan, and how many.
CHUNK, CHUNKS = 5_000, 15


async def is_used(desk: Desk, org: str, key: str) -> bool:
    """Whether somebody was let in by a key."""
    return any(one.used for one in await desk.parts.access.held(org) if one.credential.key_id == key)


def key_of(desk: Desk, who: str) -> str:
    return desk.tokens[who].split("_")[1]


async def taken_away(desk: Desk, who: str, how: str) -> None:
    """Revokes or stops a key of the service's own organisation."""
    key = key_of(desk, who)
    if how == "revoked":
        assert await desk.slug("host", "DELETE", f"/v1/keys/{key}") == "ok"
    else:
        stop = {"what": "key", "key": key, "reason": "in the wrong hands"}
        assert await desk.slug("host", "POST", "/v1/stop", stop) == "ok"


async def halved(desk: Desk, who: str, path: str, body: bytes) -> str:
    """What a call is refused with, or `ok`: its key is revoked when the half of its body is there."""
    key = key_of(desk, who)

    async def halves() -> AsyncIterator[bytes]:
        yield body[:5]
        await until(lambda: is_used(desk, "police", key))
        assert await desk.slug("ana", "DELETE", f"/v1/keys/{key}") == "ok"
        await asyncio.sleep(CHECK_VALID_S)
        yield body[5:]

    headers = {"Authorization": f"Bearer {desk.tokens[who]}", "Content-Type": "application/json"}
    async with desk.client.post(path, data=halves(), headers=headers) as answer:
        return "ok" if answer.status < 400 else f"{answer.status} {(await answer.json())['type'].rpartition('/')[2]}"


async def test_a_key_that_is_revoked_while_its_call_comes_decides_nothing(desk: Desk, alert: dict[str, Any]):
    """Whoever has it in the wrong hands could begin a hundred calls, and end them when they are found out. The audit has it."""
    _, mine = await desk.ask("ana", "POST", "/v1/alerts", alert)
    path = f"/v1/alerts/{mine['id']}"
    await desk.key("mallory", scopes=ALL)
    assert await halved(desk, "mallory", f"{path}/approve", b'{"rev": 1}') == "401 unauthenticated"
    assert (await desk.ask("ana", "GET", path))[1]["state"] == "pending"
    await desk.key("eve")
    assert await halved(desk, "eve", "/v1/keys", b'{"subject": "eve", "scopes": ["admin"]}') == "401 unauthenticated"
    found = {
        (one["by"], one["act"], one["outcome"]) for one in (await desk.ask("ana", "GET", "/v1/audit"))[1]["entries"]
    }
    assert {("mallory", "alert.approve", "refused"), ("eve", "key.make", "refused")} <= found


@pytest.mark.parametrize("how", ["revoked", "stopped"])
async def test_an_import_ends_with_its_key(desk: Desk, how: str):
    """However long its lines go on: what came before is written, what comes after is not, and the audit has both."""
    await desk.key("mallory", org="default", scopes=("subscribers:write",))
    told = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        for i in range(1_000):
            yield _line(i)
        await told.wait()
        yield _line(5, kinds=[])

    headers = {"Authorization": f"Bearer {desk.tokens['mallory']}", "Content-Type": "application/x-ndjson"}
    answer = await desk.client.post("/v1/subscribers/import", data=lines(), headers=headers)
    assert json.loads(await answer.content.readline())["written"] == 1_000
    await taken_away(desk, "mallory", how)
    await asyncio.sleep(CHECK_VALID_S)
    told.set()
    with pytest.raises(ClientPayloadError):
        await answer.read()
    assert (await desk.parts.registry.get("p5")).kinds
    _, audit = await desk.ask("host", "GET", "/v1/audit")
    (entry,) = [one for one in audit["entries"] if one["act"] == "subscriber.import" and one["outcome"] == "refused"]
    problem = {"revoked": "unauthenticated", "stopped": "stop-active"}[how]
    assert (entry["by"], entry["facts"]) == (
        "mallory", {"line": 1_000, "written": 1_000, "refused": 0, "problem": problem},
    )  # fmt: skip


def _line(i: int, **changes: Any) -> bytes:
    document = registration(i, **changes).model_dump_json(by_alias=True, exclude_none=True, exclude_defaults=True)
    return json.dumps({"id": f"p{i}", **json.loads(document)}).encode() + b"\n"


@pytest.mark.parametrize("how", ["revoked", "stopped"])
async def test_a_ledger_is_read_no_further_than_its_key_may(desk: Desk, sample: dict[str, Any], how: str):
    """And what was read of it does not look like the whole of it."""
    parts = desk.parts
    record = await parts.approval.approve((await parts.intake.submit(alert_of(sample), ANA)).record.id, BEA)
    refs = b"".join(pack_ref(number, 0) for number in range(1, CHUNK + 1))
    rows = [(BatchKey(channel="push", language="es"), refs)]
    for i in range(CHUNKS):
        planned = await parts.work.plan(record.id, i * CHUNK, (i + 1) * CHUNK, rows, last=i + 1 == CHUNKS)
        assert planned == "ok"
    await desk.key("mallory", org="default", scopes=("ledger:read",))
    headers = {"Authorization": f"Bearer {desk.tokens['mallory']}"}
    answer = await desk.client.get(f"/v1/alerts/{record.id}/deliveries", headers=headers)
    assert json.loads(await answer.content.readline())["row"] == 0
    await taken_away(desk, "mallory", how)
    await asyncio.sleep(CHECK_VALID_S)
    with pytest.raises(ClientPayloadError):
        await answer.read()
