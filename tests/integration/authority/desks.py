"""A desk at the API, with the keys of whoever sits there."""

from __future__ import annotations

from typing import Any

from alertd.service.container import Container

POLICE = {"name": "Policía de Sevilla", "jurisdiction": {"regions": ["ES-SE"]}}
HOME, AWAY, BOTH = ({"regions": codes} for codes in (["41091"], ["ES-CA"], ["ES-SE", "ES-CA"]))
CAP = """<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>1</identifier><sender>police.example</sender>
<sent>2026-01-10T12:00:00-00:00</sent><status>Actual</status><msgType>Alert</msgType><scope>Public</scope><info><language>es</language>
<category>Safety</category><event>Agua contaminada</event><urgency>Immediate</urgency><severity>Severe</severity>
<certainty>Observed</certainty><expires>{expires}</expires><headline>No beba agua</headline><description>No beba agua del grifo.</description>
<area><areaDesc>Costa</areaDesc><circle>{lat},{lon} 5</circle></area></info></alert>"""
ALL = ("alerts:read", "alerts:write", "alerts:approve", "keys:write")
ALLOWED = {"levels": ["endangered"], "people": 400, "alerts_per_hour": 2}


class Desk:
    """Calls of the API, each with somebody's key."""

    def __init__(self, parts: Container, client: Any) -> None:
        self.parts = parts
        self.client = client
        self.tokens: dict[str, str] = {}

    async def key(
        self, subject: str, *, org: str = "police", scopes: tuple[str, ...] = ("admin",), **more: Any
    ) -> None:
        """A person's key, made by nobody of this file."""
        made = await self.parts.access.create(org=org, subject=subject, scopes=frozenset(scopes), **more)
        self.tokens[subject] = made[1]

    async def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.tokens[who]}", **headers}
        if path.endswith("/approve") and "If-Match" not in headers:  # whoever approves has looked at it just before
            async with self.client.get(path.removesuffix("/approve"), headers=headers) as seen:
                headers["If-Match"] = seen.headers.get("ETag", "*")
        given = {"data": body} if isinstance(body, str) else {"json": body} if body is not None else {}
        async with self.client.request(method, path, headers=headers, **given) as answer:
            return answer.status, await answer.json() if answer.content_length else None

    async def slug(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> str:
        """What it is refused with, or `ok`."""
        status, answer = await self.ask(who, method, path, body, **headers)
        return "ok" if status < 400 else str(answer["type"]).removeprefix("/problems/")


async def state(desk: Desk, who: str, alert: dict[str, Any]) -> str:
    """What an alert comes to that somebody submits."""
    status, taken = await desk.ask(who, "POST", "/v1/alerts", alert)
    assert status == 202, taken
    return str(taken["state"])
