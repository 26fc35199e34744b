"""Photos of a case, a process whose clock can be put forward, and a web server that it takes for the public internet."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from channels.fetching import Fetcher
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.clocks import Later
from tests.integration.acts import BEA, submitted
from tests.integration.conftest import settings_for
from tests.pictures import drawn, written

FACTS = {
    "source": "the child's mother",
    "taken": "2026-08",
    "rights": "consent of both parents",
    "alt": {"es": "Lucía"},
}
RAW = written(drawn())
ELSEWHERE = replace(BEA, org="elsewhere")


@dataclass
class Pages:
    """A web server of photos at this machine."""

    port: int
    trust: ssl.SSLContext
    photos: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    """photos.example."""
    authority, trust, own = (
        trustme.CA(),
        ssl.create_default_context(),
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
    )
    authority.configure_trust(trust)
    authority.issue_cert("photos.example").configure_cert(own)

    async def serve(request: web.Request) -> web.Response:
        made.asked.append(request.path)
        return web.Response(body=made.photos[request.path])

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=own)
    made = Pages(int(server.port or 0), trust)
    yield made
    await server.close()


@pytest.fixture
async def parts(
    redis, codec, sandbox: Sandbox, library: Library, renderer: Renderer, pages: Pages
) -> AsyncIterator[Container]:
    """Everything a process has; for its fetcher this machine is the public internet, and its clock can be put forward."""

    async def this_machine(_host: str) -> list[str]:
        return ["127.0.0.1"]

    world = {"resolve": this_machine, "is_allowed": "127.0.0.1".__eq__, "ports": frozenset({pages.port})}
    fetcher = Fetcher(**world, trust=pages.trust)
    async with opened(settings_for(sandbox), redis, codec, library=library, renderer=renderer) as made:
        yield replace(made, library=library, fetcher=fetcher, clock=Later())


def showing(sample: dict[str, Any], *media: str, alt: dict[str, str] | None = None) -> dict[str, Any]:
    """The sample's case, its child with these photos."""
    photos = [{"media": one, "alt": alt or {}} for one in media]
    child = {**sample["case"]["children"][0], "photos": photos}
    return {**sample["case"], "children": [child]}


async def approved(parts: Container, sample: dict[str, Any], *media: str, **changes: Any) -> str:
    taken = await submitted(parts, sample, case=showing(sample, *media), **changes)
    return (await parts.approval.approve(taken.record.id, BEA)).id
