"""What is kept of an alert, on its screen: the report, signed evidence, and a legal hold that another person releases."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from alertd.service.records.evidence import verified
from tests.acceptance.conftest import Served
from tests.browser.alert_pages import SEVILLA, opened
from tests.browser.desks import Desk, desk, number
from tests.browser.layout import TOO_WIDE, check_in_both_lights

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]


async def saved(window: Desk, name: str) -> Any:
    """What a press gives to keep, as a file."""
    async with window.page.expect_download() as download:
        await window.press(name)
    path = await (await download.value).path()
    return json.loads(await asyncio.to_thread(path.read_text, "utf-8"))


async def test_the_report_is_read_and_kept(served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]):
    """Its numbers are the API's, the notice that it ended has its own, and the outcome is told; the file is the API's answer. On a narrow
    screen nothing is cut off, and whoever may not read ledgers is offered none.
    """
    alert_id = served.approved({**alert, "target": {"regions": [SEVILLA]}})
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    status, closed = served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "She was found, well."}, bea)
    assert status == 200, closed
    served.wait_for(lambda: served.progress(closed["told_by"])["state"] == "sent")
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await opened(window, alert_id)
        await window.press("Show the report")
        shown = window.page.locator(".report")
        await expect(shown).to_contain_text("She was found, well.")
        report = served.call("GET", f"/v1/alerts/{alert_id}/report")[1]
        figures = await shown.locator(".report-figures b").all_inner_texts()
        assert number(figures[0]) == report["people"] > 0
        handed = [one["accepted"] + one["delivered"] for of in report["versions"] for one in of["channels"].values()]
        assert number(figures[1]) == sum(handed)
        await expect(shown.locator("h4")).to_have_text(["The alert", "Notice of its closing", "Where the people are"])
        told = await saved(window, "Download the figures")
        assert told["versions"][0]["channels"] == report["versions"][0]["channels"]
        await check_in_both_lights(window)
        await window.page.set_viewport_size({"width": 360, "height": 740})
        assert await window.page.evaluate(TOO_WIDE) == 0
        await window.check_readable()
    watcher = served.call("POST", "/v1/keys", {"subject": "carla@centre.example", "scopes": ["alerts:read"]})[1]
    async with desk(plain, served.url) as other:
        await other.sign_in(watcher["token"])
        await opened(other, alert_id)
        await expect(other.page.locator(".keep")).to_have_count(0)


async def test_evidence_comes_with_one_press(served: Served, plain: Browser, ana: str, alert: dict[str, Any]):
    """The file is what was signed, checked with the key that was known before; how to check it is told beside it."""
    alert_id = served.approved({**alert, "target": {"regions": [SEVILLA]}})
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    public = served.call("GET", "/v1/evidence/key")[1]["pem"]
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await opened(window, alert_id)
        evidence = verified(await saved(window, "Download the evidence"), public)
        assert (evidence["alert"]["id"], evidence["by"]) == (alert_id, "ana@centre.example")
        await expect(window.page.locator(".keep")).to_contain_text(f"Saved as evidence-{alert_id}.json.")
        await check_in_both_lights(window)


async def test_a_legal_hold_is_seen_by_all_and_released_by_another(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """One person puts it there and says why; whoever looks sees it above all else. Who put it there is offered no release, and is refused
    one under another spelling of their name; who is no administrator is told who releases; another administrator does, in two presses.
    """
    status, taken = served.call("POST", "/v1/alerts", {**alert, "target": {"regions": [SEVILLA]}}, ana)
    assert status == 202, taken
    viewer = served.call("POST", "/v1/keys", {"subject": "carla@centre.example", "scopes": ["alerts:read"]})[1]
    async with desk(plain, served.url) as holder, desk(plain, served.url) as watcher:
        await holder.sign_in(ana)
        await opened(holder, taken["id"])
        await expect(holder.page.locator(".hold-note")).to_have_count(0)
        await holder.press("Put a hold on the case")
        await holder.fill("Reason (stays with the case)", "Court no. 3, 2026/117")
        await check_in_both_lights(holder)
        await holder.press("Set the hold")
        note = holder.page.locator(".hold-note")
        await expect(note).to_contain_text("Court no. 3, 2026/117")
        await expect(note).to_contain_text("You set the hold, so another person must release it.")
        await expect(holder.page.locator(".times strong").last).to_have_text("Legal hold set")
        await expect(holder.page.get_by_role("button", name="Put a hold on the case")).to_have_count(0)
        await watcher.sign_in(viewer["token"])
        await opened(watcher, taken["id"])
        await expect(watcher.page.locator(".hold-note")).to_contain_text("An administrator must release it.")
        await expect(watcher.page.locator(".hold-note button")).to_have_count(0)
    async with desk(plain, served.url, 403) as same:
        await same.sign_in(served.person("Ana@centre.example"))
        await opened(same, taken["id"])
        await same.press("Release it…")
        await same.press("Release the legal hold")
        await expect(same.page.get_by_role("alert")).to_contain_text(
            "The person who placed a legal hold cannot release it"
        )
        await check_in_both_lights(same)
    async with desk(plain, served.url, viewport={"width": 360, "height": 740}) as other:
        await other.sign_in(bea)
        await opened(other, taken["id"])
        assert await other.page.evaluate(TOO_WIDE) == 0
        await other.press("Release it…")
        await other.press("Release the legal hold")
        await expect(other.page.locator(".hold-note")).to_have_count(0)
        await expect(other.page.get_by_role("button", name="Put a hold on the case")).to_be_visible()
    assert served.call("GET", f"/v1/alerts/{taken['id']}/hold")[1]["held"] is False
