"""What an organisation that does not run the service may know of the people whom its alerts tell: they are the host's."""

from __future__ import annotations

from typing import Any

from alertd.model.states import CHANNELS
from alertd.runtime.worker import worker_of
from tests.integration.acts import CADIZ, SEVILLA, register, send
from tests.integration.authority.desks import Desk


async def test_a_guest_explains_its_own_messages_and_nothing_of_people(desk: Desk, alert: dict[str, Any]):
    """Neither their places, their consent nor that they exist: before a message left there is nobody, wherever they live."""
    parts = desk.parts
    places = {"home": {"point": SEVILLA}, "clinic": {"point": CADIZ}}
    await register(parts, 2, first=100, places=places)
    _, mine = await desk.ask("ana", "POST", "/v1/alerts", alert)

    async def asked(name: str) -> tuple[int, Any]:
        status, told = await desk.ask("ana", "GET", f"/v1/subscribers/{name}/explain?alert={mine['id']}")
        told.pop("request_id", None)
        return status, told

    nobody = await asked("nobody")
    assert nobody[0] == 404
    assert await asked("p100") == nobody
    assert await desk.slug("bea", "POST", f"/v1/alerts/{mine['id']}/approve", {}) == "ok"
    record = await parts.alerts.get(mine["id"])
    assert await worker_of(parts).plans.planner.plan(record)
    assert [await asked(name) for name in ("p100", "p250", "nobody")] == [nobody] * 3
    await parts.suppression.stop([(CHANNELS.index("push"), "token-101")])
    await send(parts, record)
    assert await asked("p101") == nobody  # her row was looked at, and nothing left
    status, told = await asked("p100")
    assert (status, told["told"], told["why"], [one["state"] for one in told["messages"]]) == (
        200, "yes", "has-messages", ["accepted"],
    )  # fmt: skip
    assert (told["consents"], told["tester"], told["places"], told["addresses"]) == (None, None, [], [])
    assert [await asked(name) for name in ("p250", "nobody")] == [nobody] * 2
