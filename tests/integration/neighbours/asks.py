"""What one organisation asks of its neighbour, and what the neighbour answers."""

from __future__ import annotations

import json
from typing import Any

from alertd.model.organisation import Organisation
from alertd.service.container import Container
from tests.integration.acts import ANA
from tests.integration.authority.desks import BOTH, HOME, Desk

GUARD = {"name": "Guardia de Cádiz", "jurisdiction": {"regions": ["ES-CA"]}}
ASK = {**BOTH, "beyond": "ask"}
ASK_HOME = {**HOME, "beyond": "ask"}
FURTHER = {"regions": ["ES-SE", "ES-CA", "ES-MA"], "beyond": "ask"}
NO = {"reason": "We have an alert of our own"}


async def submitted(desk: Desk, alert: dict[str, Any], **more: Any) -> dict[str, Any]:
    status, taken = await desk.ask("ana", "POST", "/v1/alerts", {**alert, **more})
    assert status == 202, taken
    return dict(taken)


async def approved(desk: Desk, alert: dict[str, Any], **more: Any) -> str:
    """Submitted by Ana, approved by Bea."""
    taken = await submitted(desk, alert, **more)
    assert await desk.slug("bea", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "ok"
    return str(taken["id"])


async def state(desk: Desk, alert_id: str) -> str:
    """Of the only permission of an alert, as its own organisation sees it."""
    (one,) = (await desk.ask("ana", "GET", f"/v1/alerts/{alert_id}"))[1]["permissions"]
    return str(one["state"])


async def seen(desk: Desk, alert_id: str, who: str = "eva") -> dict[str, Any]:
    """The request, as the neighbour sees it."""
    status, shown = await desk.ask(who, "GET", f"/v1/permissions/{alert_id}")
    assert status == 200, shown
    return dict(shown)


async def grant(desk: Desk, alert_id: str, who: str = "eva", **more: Any) -> str:
    ground = (await seen(desk, alert_id))["ground"]
    return await desk.slug(who, "POST", f"/v1/permissions/{alert_id}/grant", {"ground": ground, **more})


async def reaching_malaga(desk: Desk) -> None:
    """The neighbour's jurisdiction has another province from now on."""
    reach = {**GUARD, "jurisdiction": {"regions": ["ES-CA", "ES-MA"]}}
    await desk.parts.organisations.put("guard", Organisation.model_validate_json(json.dumps(reach)), ANA)


async def asked(desk: Desk) -> list[str]:
    """The alerts that Eva's organisation is asked for, the latest first."""
    return [one["id"] for one in (await desk.ask("eva", "GET", "/v1/permissions"))[1]["requests"]]


async def updated(desk: Desk, alert: dict[str, Any], alert_id: str, target: dict[str, Any]) -> str:
    """What becomes of the permission with an update of the target."""
    body = {**alert, "notify": "none", "target": target}
    status, update = await desk.ask("ana", "POST", f"/v1/alerts/{alert_id}/updates", body)
    assert status == 202, update
    assert await desk.slug("bea", "POST", f"/v1/alerts/{update['id']}/approve", {}) == "ok"
    return await state(desk, alert_id)


async def until(desk: Desk, version: str, **wanted: int) -> None:
    """Until so many references of a version are in a state."""
    async for progress in _progress(desk, version):
        push = progress["channels"].get("push", {})
        if all(push.get(name) == count for name, count in wanted.items()):
            return


async def _progress(desk: Desk, version: str) -> Any:
    headers = {"Authorization": f"Bearer {desk.tokens['ana']}", "Accept": "text/event-stream"}
    while True:
        async with desk.client.get(f"/v1/alerts/{version}/progress", headers=headers) as stream:
            async for line in stream.content:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))


async def people_told(parts: Container, version: str) -> list[int]:
    """The numbers of those who were told by a version."""
    return [
        number
        async for _, rows, refs in parts.work.ledger(version)
        for row, (number, _) in zip(rows, refs, strict=True)
        if row["state"] == 3
    ]
