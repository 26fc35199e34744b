"""A desk, and an alert to send from it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.model.organisation import Organisation
from alertd.service.container import Container
from tests.integration.acts import ANA, CADIZ, register
from tests.integration.authority.desks import HOME, POLICE, Desk
from tests.unit.alertd.samples import changed


@pytest.fixture
async def desk(parts: Container, client: Any) -> Desk:
    """Of the police of one province: Ana and Bea, and 200 people in each of two cities."""
    await register(parts, 200)
    await register(parts, 200, first=200, places={"home": {"point": CADIZ}})
    await parts.organisations.put("police", Organisation.model_validate_json(json.dumps(POLICE)), ANA)
    found = Desk(parts, client)
    for subject in ("ana", "bea"):
        await found.key(subject)
    await found.key("host", org="default")
    return found


@pytest.fixture
def alert(sample: dict[str, Any]) -> dict[str, Any]:
    """By whoever sends it, by push alone, to the city of Sevilla."""
    document = changed(changed(sample, "author/subject", None), "external_id", None)
    return {**document, "channels": ["push"], "target": HOME}
