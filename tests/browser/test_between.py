"""Two organisations at their consoles: one knows that the child was found, and the people of the other decide."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import desk
from tests.unit.alertd.samples import changed

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def keys(served: Served) -> dict[str, str]:
    """Of the police of Sevilla, Ana and Bea; of the fire brigade there, another Bea."""
    for org, name in (("police", "Policía de Sevilla"), ("fire", "Bomberos")):
        body = {"name": name, "jurisdiction": {"regions": ["ES-SE"]}}
        assert served.call("PUT", f"/v1/organisations/{org}", body)[0] == 201
    people = {"ana": ("ana", "police"), "bea": ("bea", "police"), "their bea": ("bea", "fire")}
    return {
        who: served.call("POST", "/v1/keys", {"subject": subject, "organisation": org, "scopes": ["admin"]})[1]["token"]
        for who, (subject, org) in people.items()
    }


async def test_who_asks_to_stand_an_alert_down_is_named_with_their_organisation(
    served: Served, plain: Browser, alert: dict[str, Any], keys: dict[str, str]
):
    """On the first screen, at the alert and in its course, until somebody stands the alert down."""
    document = {**changed(alert, "author/subject", None), "channels": ["push"], "target": {"regions": ["ES-SE"]}}
    status, taken = served.call("POST", "/v1/alerts", document, keys["ana"])
    assert status == 202, taken
    assert served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, keys["bea"])[0] == 200
    asked = served.call(
        "POST", f"/v1/cases/{document['case']['number']}/stand-down", {"reason": "At her aunt's"}, keys["their bea"]
    )
    assert asked[0] == 202, asked
    async with desk(plain, served.url, 412) as police:
        await police.sign_in(keys["ana"])
        part = police.page.locator(".part", has_text="Asked to stand down")
        await expect(part).to_contain_text("Bomberos asks to stand this alert down")
        await part.locator(f"a[href='#/alerts/{taken['id']}']").click()
        note = police.page.get_by_role("status", name="Asked to stand down")
        await expect(note).to_contain_text("by bea (fire)")
        await expect(note).to_contain_text("At her aunt's")
        times = police.page.locator(".times li", has_text="Another organisation asks to stand it down")
        await expect(times).to_contain_text("bea (fire)")
        await expect(police.page.locator(".times li", has_text="Approved")).to_contain_text("bea")
        await expect(police.page.locator(".times li", has_text="Approved")).not_to_contain_text("(")
        await police.check_readable()
        await police.check_readable("rtl")
        assert (
            served.call("POST", f"/v1/alerts/{taken['id']}/stand-down", {"reason": "So it is"}, keys["bea"])[0] == 200
        )
        await expect(note).to_have_count(0, timeout=30_000)
