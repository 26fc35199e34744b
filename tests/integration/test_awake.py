"""What keeps the processors awake is what comes in: nobody does it who only looks, or is refused."""

from __future__ import annotations

from typing import Any

from alertd.app import Parts
from tests.integration.acts import api_of, register


async def test_only_posts_that_were_taken_count(parts: Parts, sample: dict[str, Any], aiohttp_client: Any):
    taken = []
    client = await aiohttp_client(api_of(parts, lambda: taken.append(1)))
    await register(parts, 30)
    subject = sample["author"]["subject"]
    _, key = await parts.access.create(
        org="default", subject=subject, scopes=frozenset({"alerts:write", "alerts:read"})
    )
    headers = {"Authorization": f"Bearer {key}"}

    async def status(method: str, path: str, document: Any = None, **given: Any) -> int:
        return int((await client.request(method, path, json=document, **given)).status)

    assert await status("GET", "/healthz") == 200
    assert await status("GET", "/v1/alerts", headers=headers) == 200
    assert await status("POST", "/v1/alerts", sample) == 401
    assert await status("POST", "/v1/alerts", {}, headers=headers) == 400
    assert await status("POST", "/v1/nothing", headers=headers) == 404
    assert taken == []
    assert await status("POST", "/v1/alerts", sample, headers=headers) == 202
    assert taken == [1]
