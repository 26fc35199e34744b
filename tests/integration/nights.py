"""A service at night: what waits for a second person, and what the phones of those on call got."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from alertd.model.oncall import OnCall
from alertd.service.access import Credential
from alertd.service.alerts.approval import submit
from alertd.service.container import Container
from channels.sandbox import Sandbox
from tests.clocks import Later
from tests.integration.acts import ANA, alert_of

MIN = 60_000
ROOT = Credential(key_id="r", org="default", subject="root@centre.example", scopes=frozenset({"admin"}))
DESK, DEPUTY, CHIEF = "+34600000001", "+34600000002", "+34600000003"


def sms(number: str) -> dict[str, Any]:
    return {"channel": "sms", "number": number}


def person(name: str, *addresses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "addresses": addresses, **more}


def rota_of(*steps: list[dict[str, Any]], **more: Any) -> OnCall:
    document = {"time_zone": "Europe/Madrid", "steps": [{"people": people} for people in steps], **more}
    return OnCall.model_validate_json(json.dumps(document))


THREE = ([person("Desk", sms(DESK))], [person("Deputy", sms(DEPUTY))], [person("Chief", sms(CHIEF))])


@dataclass
class Night:
    """A service at night: what waits, and what the phones of those on call got."""

    parts: Container
    sandbox: Sandbox
    clock: Later
    sample: dict[str, Any]

    async def rota(self, *steps: list[dict[str, Any]], **more: Any) -> None:
        await self.parts.rota.put(rota_of(*(steps or THREE), **more), ROOT)

    async def waits(self, **changes: Any) -> str:
        """Ana's alert, which waits for its second person."""
        taken = await submit(self.parts.intake, self.parts.approval, alert_of(self.sample, **changes), ANA)
        return taken.record.id

    async def round(self, minutes: float = 0) -> None:
        """What happens so much later."""
        self.clock.ahead_ms += int(minutes * MIN) + 1_000
        await self.parts.events.bring()
        await self.parts.paging.round()
        await self.parts.paging.settled()

    def got(self) -> list[str]:
        """The numbers that were told, each as often as it was."""
        texts = self.sandbox.sms.recorded
        return sorted(number for _, _, number, count, _, _ in texts for _ in range(count))

    def texts(self) -> list[str]:
        return list(self.sandbox.sms.bodies.values())

    async def events(self) -> list[str]:
        """What happened, without its state."""
        await self.parts.events.bring()
        found = await self.parts.events.read_page("default", None, 100)
        words = [json.loads(event)["type"].removeprefix("alert.") for _, event in found.events]
        return [word for word in words if word in {"paged", "taken", "unanswered"}]

    async def call(self, alert_id: str) -> Any:
        return (await self.parts.rota.call(alert_id, ROOT)).paged
