"""What an approver sees of an SMS: how each carrier sends it, how else it could, and at what price."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import desk
from tests.unit.alertd.samples import changed

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An installation that knows the price of an SMS part."""
    running = Served(tmp_path_factory.mktemp("data"), 2000, {"ALERTD_BUDGET__SEGMENT_PRICE": "0.05"})
    running.start()
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize(
    ("name", "codings", "name_decides"),
    [
        (
            "Inés P.",
            [
                "sandbox-sms · GSM-7 without accents · 3 SMS parts · 0.15 · sent this way",
                "sandbox-sms · UCS-2 · 5 SMS parts · 0.25",
            ],
            0,
        ),
        ("Lucía P.", ["sandbox-sms · UCS-2 · 5 SMS parts · 0.25 · sent this way"], 1),
    ],
)
async def test_an_approver_sees_the_price_of_each_coding_of_an_sms(
    served: Served, plain: Browser, alert: dict[str, Any], name: str, codings: list[str], name_decides: int
):
    """Without accents an SMS is cheaper. A name keeps its letters, and if it leaves no choice of a coding, the page says so and what that costs."""
    document = {**changed(alert, "case/children/0/name", {"public": name}), "channels": ["sms"]}
    ana, bea = (served.person(f"{who}@centre.example") for who in ("ana", "bea"))
    status, taken = served.call("POST", "/v1/alerts", document, ana)
    assert status == 202, taken
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{served.url}/console#/alerts/{taken['id']}")
        sms = window.page.locator("[lang=es] .message")
        await expect(sms.locator(".bubble")).to_contain_text(name)
        await expect(sms.locator("li")).to_have_text(codings)
        await expect(sms.get_by_text("A name needs this coding")).to_have_count(name_decides)
        await window.check_readable()
