"""The memory of a request is free at once when the request is over, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from alertd.api.http.middleware import guarded
from alertd.common.errors import Problem


@pytest.fixture
def no_collection() -> Iterator[None]:
    """The garbage collector is off."""
    gc.disable()
    yield
    gc.enable()


async def refuse(_request: web.Request) -> web.Response:
    raise Problem("not-found", "There is none.")


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("POST", "/refused", 405), ("GET", "/refused", 404)]
)
async def test_a_refused_request_is_freed_at_once(aiohttp_client: Any, method: str, path: str, status: int):
    """aiohttp keeps the error of a wrong path with the request: its traceback would keep the request in turn."""
    requests: list[weakref.ref[web.Request]] = []

    @web.middleware
    async def seen(request: web.Request, handler: Handler) -> web.StreamResponse:
        requests.append(weakref.ref(request))
        return await handler(request)

    app = web.Application(middlewares=[seen, guarded(lambda _: None)])
    app.add_routes([web.get("/refused", refuse)])
    client = await aiohttp_client(app)
    async with client.request(method, path, headers={"Connection": "close"}) as answer:
        assert answer.status == status
    for _ in range(500):  # until the server is done with the connection
        if not any(one() for one in requests):
            break
        await asyncio.sleep(0.01)
    assert [one() for one in requests] == [None]
