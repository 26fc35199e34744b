"""A process that signs, and a gateway that it sends to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from alertd.config.sections import CapSection
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.clocks import Later
from tests.integration.acts import register
from tests.integration.conftest import settings_for
from tests.integration.gateways import Gateway, a_gateway
from tests.unit.alertd.model.cap_parties import Party


@pytest.fixture
def party() -> Party:
    """What the service signs with."""
    return Party(now=datetime.now(UTC))


@pytest.fixture
async def gateway(party: Party) -> AsyncIterator[Gateway]:
    async with a_gateway(party.pem) as made:
        yield made


@pytest.fixture
async def parts(
    redis, codec, sandbox: Sandbox, library: Library, renderer: Renderer, gateway: Gateway, party: Party
) -> AsyncIterator[Container]:
    """Everything a process has; it signs, and its clock can be put forward."""
    cap = CapSection(
        sender="centre.example", key=SecretStr(party.key.decode()), certificate=SecretStr(party.pem.decode())
    )
    settings = settings_for(sandbox).model_copy(update={"cap": cap})
    async with opened(settings, redis, codec, library=library, renderer=renderer) as made:
        own = replace(made, library=library, poster=gateway.fetcher(), clock=Later())
        await register(own, 20)
        yield own
        await own.webhook_delivery.close()
