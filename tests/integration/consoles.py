"""The console's page in a browser, as the API knows it, and whoever administrates."""

from __future__ import annotations

from typing import Any

from aiohttp.test_utils import TestClient

from alertd.service.container import Container

#: What browsers say of a call by the page's own scripts.
OWN = {"Sec-Fetch-Site": "same-origin"}
ANA = {"subject": "ana@centre.example", "name": "Ana García", "roles": ["author", "approver"]}


class Page:
    """A browser with the console's pages, and the key of whoever administrates."""

    def __init__(self, parts: Container, client: TestClient[Any, Any], key: str) -> None:
        self.parts, self.client, self.key = parts, client, key

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """A call of the console's page: with the session's cookie, if there is one."""
        sent = {"json": body} if body is not None else {}
        async with self.client.request(method, path, headers=OWN | headers, **sent) as response:
            return response.status, await response.json() if response.content_length else None

    async def administrate(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return await self.ask(method, path, body, Authorization=f"Bearer {self.key}")

    async def add(self, **changes: Any) -> dict[str, Any]:
        """Ana, or somebody else, is let in; the answer has their code."""
        status, made = await self.administrate("POST", "/v1/operators", ANA | changes)
        assert status == 201, made
        return made
