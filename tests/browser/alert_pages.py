"""Pages of one alert, as tests reach them."""

from __future__ import annotations

from typing import Any

from tests.acceptance.conftest import Served
from tests.browser.desks import Desk

SEVILLA = "41091"


async def opened(window: Desk, alert_id: str) -> None:
    await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
    await window.page.locator(".times li").first.wait_for()


MARIA: dict[str, Any] = {
    "languages": ["es"], "kinds": ["missing-child"], "places": {"home": {"point": [-5.9845, 37.3891]}},
    "addresses": [{"channel": "sms", "number": "+34612345678"}],
    "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "web form"},
}  # fmt: skip


def submitted(served: Served, alert: dict[str, Any], key: str, **more: Any) -> str:
    status, taken = served.call("POST", "/v1/alerts", {**alert, "target": {"regions": ["41091"]}, **more}, key)
    assert status == 202, taken
    return str(taken["id"])
