"""What tests of distribution do, and look at."""

from __future__ import annotations

import json
from typing import Any

from alertd.model.distributor import Distributor
from alertd.model.kinds import Notify
from alertd.service.container import Container
from alertd.service.sharing.distributors import Share
from alertd.store.alerts.records import AlertRecord
from tests.integration.acts import ANA, BEA, alert_of
from tests.integration.gateways import Gateway, answering

DAY_MS = 86_400_000
ACK, ERROR = answering("Ack"), answering("Error", "Lucía P. is not a word of ours")


async def made(parts: Container, gateway: Gateway, path: str, authorization: str = "", **changes: Any) -> str:
    """A distributor at that path: its id."""
    new = Distributor.model_validate_json(json.dumps({"name": path.strip("/"), "url": gateway.url(path), **changes}))
    found, _ = await parts.distributors.create(ANA, new, authorization)
    return found.hook.id


async def told(parts: Container, *, after_s: float = 0) -> None:
    """The distributors are sent what is due by then."""
    parts.clock.pass_by(after_s)  # type: ignore[attr-defined]
    assert await parts.events.leads()
    await parts.events.bring()
    await parts.webhook_delivery.round()
    await parts.webhook_delivery.settled()


async def share(parts: Container, record: AlertRecord, distributor: str) -> Share:
    now = await parts.alerts.get(record.id)
    [found] = [one for one in await parts.distributors.of_alert(now) if one.id == distributor]
    return found


async def states(parts: Container, record: AlertRecord, distributor: str) -> list[tuple[str, str]]:
    """Its messages, each with what became of it."""
    track = (await share(parts, record, distributor)).track
    return [(one.type.value, one.state.value) for one in track.entries] if track else []


async def events(parts: Container) -> list[str]:
    """What the organisation was told of distributors."""
    found = [json.loads(event)["type"] for _, event in (await parts.events.read_page("default", None, 1000)).events]
    return [one for one in found if one.startswith("distributor.")]


async def takedowns(parts: Container) -> int:
    """As the metric says."""
    [line] = [
        one
        for one in (await parts.fleet.metrics()).whole.decode().splitlines()
        if one.startswith("alertd_distributor_takedowns_open ")
    ]
    return int(float(line.split()[1]))


async def updated(parts: Container, record: AlertRecord, sample: dict[str, Any]) -> None:
    """An update by Ana, approved by Bea."""
    taken = await parts.update_proposals.submit(
        record.id, alert_of(sample, target={"regions": ["ES-SE"]}), Notify.NONE, ANA
    )
    await parts.approval.approve(taken.record.id, BEA)


async def receipts(parts: Container, distributor: str) -> str:
    """Where it posts its Acks and Errors."""
    return parts.distributors.receipts(await parts.distributors.get("default", distributor))
