"""What tests of people share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.config.sections import PublicSection
from alertd.public.sign_up import sign_up_routes
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.store.engine.codec import Codec
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.clocks import Later
from tests.integration.acts import api_of
from tests.integration.conftest import settings_for
from tests.integration.people.sign_ups import Public


@pytest.fixture
async def public(
    redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, renderer: Renderer, aiohttp_client: Any
) -> AsyncIterator[Public]:
    settings = settings_for(sandbox).model_copy(update={"public": PublicSection(sign_up=True)})
    sandbox.mail.mails = {}
    clock = Later()
    async with opened(settings, redis, codec, library=library, renderer=renderer) as made:
        parts = replace(made, library=library, clock=clock)
        app = api_of(parts)
        app.add_routes(sign_up_routes(parts.sign_up, parts.renderer, ""))
        yield Public(parts, await aiohttp_client(app), sandbox, clock)
        await parts.sign_up_mails.close()
