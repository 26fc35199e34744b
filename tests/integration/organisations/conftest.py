"""Processes that share a store and a directory of keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from alertd.store.engine.codec import Codec, Keys, write_key
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.integration.conftest import settings_for
from tests.integration.organisations.rotations import Process


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory with its keys."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_key(folder / "master.key", b"m" * 32)
    write_key(folder / "hash.key", b"h" * 32)
    return folder


@pytest.fixture
def process(redis: Redis, sandbox: Sandbox, library: Library, renderer: Renderer, directory: Path) -> Process:
    """Opens the store as a process does that starts now: with the keys of the data directory."""

    @asynccontextmanager
    async def starting(client: Redis = redis, **store: Any) -> AsyncIterator[Container]:
        settings = settings_for(sandbox)
        section = settings.store.model_copy(update={"directory": directory, **store})
        settings = settings.model_copy(update={"store": section})
        codec = Codec(Keys.load(directory))
        async with opened(settings, client, codec, library=library, renderer=renderer) as parts:
            yield parts

    return starting
