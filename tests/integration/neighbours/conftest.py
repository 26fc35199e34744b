"""The police of one province, the guard of the next, and an alert to both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.model.organisation import Organisation
from alertd.service.container import Container
from tests.integration.acts import ANA, CADIZ, SEVILLA, register
from tests.integration.authority.desks import POLICE, Desk
from tests.integration.neighbours.asks import (
    ASK,
    GUARD,
)
from tests.unit.alertd.samples import changed


@pytest.fixture
async def desk(parts: Container, client: Any) -> Desk:
    """Ana and Bea of the police of Sevilla, Eva and Gil of the guard of Cádiz; 40 people in each, and one with a place in both."""
    await register(parts, 40)
    await register(parts, 40, first=40, places={"home": {"point": CADIZ}})
    both = {"home": {"point": SEVILLA}, "school": {"point": CADIZ}}
    await register(parts, 1, first=80, places=both)
    for org, written in (("police", POLICE), ("guard", GUARD)):
        await parts.organisations.put(org, Organisation.model_validate_json(json.dumps(written)), ANA)
    found = Desk(parts, client)
    for subject, org in (("ana", "police"), ("bea", "police"), ("eva", "guard"), ("gil", "guard"), ("host", "default")):
        await found.key(subject, org=org)
    return found


@pytest.fixture
def alert(sample: dict[str, Any]) -> dict[str, Any]:
    """By whoever sends it, by push alone, to both provinces."""
    document = changed(changed(sample, "author/subject", None), "external_id", None)
    return {**document, "channels": ["push"], "target": ASK}
