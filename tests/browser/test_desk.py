"""The screens that keep the service running: regions, subscribers, carriers, keys, the audit."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest
from playwright.async_api import Browser, Route, expect

from alertd.runtime.sample_people import BROWSER, BROWSER_KEYS
from tests.acceptance.conftest import Served
from tests.browser.alert_pages import MARIA
from tests.browser.desks import desk

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

PATROL = {"type": "Polygon", "coordinates": [[[-6, 37.3], [-5.9, 37.3], [-5.9, 37.4], [-6, 37.4], [-6, 37.3]]]}


async def test_a_region_is_found_drawn_by_hand_and_named(served: Served, browser: Browser, ana: str):
    """Search tells what a region is and what it lies in; an outline drawn on the map and a name make one that alerts can name, and
    a code that is another's is not taken from it, not even where the other came a moment before.
    """
    async with desk(browser, served.url, 412) as window:
        page = window.page
        await window.sign_in(ana)
        await page.get_by_role("link", name="Regions").click()
        await page.locator(".map[data-ready=true]").wait_for()
        await window.choose_region("Sevilla", "41091")
        await expect(page.locator(".facts")).to_contain_text("140.2 km²")
        await page.get_by_role("button", name="Spain").click()
        await expect(page.locator(".facts h2")).to_have_text("Spain")
        await window.press("Draw a region")
        box = await page.locator(".map").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for right, down in ((0, 0), (120, 0), (120, 100), (120, 100)):
            await page.mouse.move(x + right, y + down, steps=4)
            await page.mouse.click(x + right, y + down)
        await page.keyboard.press("Enter")
        await page.get_by_text("The outline is set.").wait_for()
        await window.fill("Name of the region", "Our patrol")
        await window.fill("Code", "41091")
        await window.press("Save the region")
        await expect(page.get_by_text("Sevilla already has this code.")).to_be_visible()
        await window.fill("Code", "PATROL-1")
        await window.check_readable()

        async def another_is_first(route: Route) -> None:
            body = {"name": "Their patrol", "geometry": PATROL}
            assert (await asyncio.to_thread(served.call, "PUT", "/v1/regions/PATROL-1", body))[0] == 201
            await route.continue_()

        await page.route("**/v1/regions/PATROL-1", another_is_first, times=1)
        await window.press("Save the region")
        await expect(page.get_by_text("Someone else has just drawn a region with this code.")).to_be_visible()
        await window.fill("Code", "PATROL-2")
        await window.press("Save the region")
        await expect(page.locator(".facts")).to_contain_text("Drawn here")
    assert served.call("GET", "/v1/regions/PATROL-1")[1]["name"] == "Their patrol"
    assert served.call("GET", "/v1/regions/PATROL-2")[1]["name"] == "Our patrol"


def quays(*codes: str) -> Any:
    """A file of municipalities beside each other in the harbour of Sevilla, and one of a column that is not asked for."""
    rows = [
        {
            "type": "Feature",
            "properties": {"id": code, "title": f"Muelle {code}"},
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[x, 37.33], [x + 0.01, 37.33], [x + 0.01, 37.36], [x, 37.36], [x, 37.33]]],
            },
        }
        for code, x in zip(codes, (-6.02, -6.01, -6.00), strict=False)
    ]
    whole = json.dumps({"type": "FeatureCollection", "features": rows}).encode()
    return {"name": "Muelles 2026.geojson", "mimeType": "application/geo+json", "buffer": whole}


async def test_a_library_is_tried_then_imported_and_its_regions_are_found(served: Served, plain: Browser, ana: str):
    """A wrong column is told with those that there are; the dry run shows what would be done; then they are there, also for somebody who
    loaded the page again in the middle. Whoever is of no administrator's rank is not offered it.
    """
    async with desk(plain, served.url) as window:
        page = window.page
        await window.sign_in(ana)
        await page.goto(f"{served.url}/console#/regions")
        await window.press("Import a region library")
        await page.locator("input[type=file]").set_input_files(quays("Q1", "Q2"))
        await expect(page.get_by_label("Name of this import")).to_have_value("muelles-2026")
        await window.fill("Column with the codes", "ids")
        await window.fill("Column with the names", "title")
        await window.fill("Country of all of them (ES, FR)", "es")
        await window.press("Test the import, store nothing")
        await expect(page.get_by_text("Did you mean 'id'")).to_be_visible()
        await window.check_readable()
        await window.fill("Column with the codes", "id")
        await window.press("Test the import, store nothing")
        await expect(page.get_by_text("Tested. Nothing is stored yet")).to_be_visible()
        await expect(page.locator(".import-report")).to_contain_text("Q1 … Q2")
        await window.check_readable("rtl")
        assert served.call("GET", "/v1/regions/Q1")[0] == 404
        await window.press("Import 2 regions")
        await page.locator(".importing .is-now", has_text="Reading it").wait_for()  # it takes seconds
        await page.reload()
        await expect(page.get_by_text("2 regions imported.")).to_be_visible()
        await window.press("Back")
        await window.choose_region("Muelle", "Q2")
        await expect(page.locator(".facts h2")).to_have_text("Muelle Q2")
    assert served.call("GET", "/v1/regions/Q1")[1]["parent"] == "ES-SE"
    key = served.call(
        "POST",
        "/v1/keys",
        {"subject": "eva@centre.example", "scopes": ["alerts:read", "regions:read", "regions:write"]},
    )[1]["token"]
    async with desk(plain, served.url) as window:
        await window.sign_in(key)
        await window.page.goto(f"{served.url}/console#/regions")
        await window.page.get_by_role("button", name="Draw a region").wait_for()
        await expect(window.page.get_by_role("button", name="Import a region library")).to_have_count(0)


async def test_without_webgl_a_region_comes_from_a_file(served: Served, plain: Browser, ana: str):
    """What cannot be drawn is uploaded, and shown as its outline; from right to left and in the dark as well."""
    async with desk(plain, served.url, color_scheme="dark") as window:
        await window.sign_in(ana)
        await window.page.goto(f"{served.url}/console#/regions")
        await window.press("Draw a region")
        file: Any = {"name": "patrol.json", "mimeType": "application/json", "buffer": json.dumps(PATROL).encode()}
        await window.page.locator("input[type=file]").set_input_files(file)
        await window.fill("Name of the region", "Patrulla del río")
        await window.check_readable("rtl")
        await window.press("Save the region")
        await expect(window.page.locator(".facts h2")).to_have_text("Patrulla del río")
    assert served.call("GET", "/v1/regions/PATRULLA-DEL-RIO")[1]["kind"] == "drawn"


async def test_a_subscriber_is_found_and_forgotten_by_name(served: Served, plain: Browser, ana: str):
    """By id, by a browser's endpoint and by number; the point of a home is not shown; forgetting takes the id, typed; then nobody is there."""
    endpoint = f"{BROWSER}maria"
    reached = {"channel": "webpush", "subscription": {"endpoint": endpoint, "keys": BROWSER_KEYS}}
    maria = {**MARIA, "addresses": [*MARIA["addresses"], reached]}
    assert served.call("PUT", "/v1/subscribers/maria", maria)[0] == 201
    async with desk(plain, served.url, 404) as window:
        page = window.page
        await window.sign_in(ana)
        await page.get_by_role("link", name="Subscribers").click()
        await window.choose_region("Sevilla", "41091")
        people = served.call("POST", "/v1/targets/preview", {"target": {"regions": ["41091"]}})[1]["audience"]["people"]
        assert await window.people() == people
        await window.fill("Id", "maria")
        await window.press("Find")
        await expect(page.locator(".person")).to_contain_text("+34612345678")
        await expect(page.locator(".person")).not_to_contain_text("37.38")
        await expect(page.locator(".person")).not_to_contain_text(endpoint)
        await page.get_by_label("By", exact=True).select_option("webpush")
        await window.fill("Browser’s endpoint", endpoint)
        await window.press("Find")
        await expect(page.locator(".person")).to_contain_text("push.example")
        await page.get_by_label("By", exact=True).select_option("sms")
        await window.fill("Number", "+34612345678")
        await window.press("Find")
        await window.press("Delete this person…")
        forget = page.get_by_role("button", name="Delete for good")
        await expect(forget).to_be_disabled()
        await window.fill("Type “maria” to confirm", "maria")
        await window.check_readable()
        await forget.click()
        await expect(page.get_by_text("maria is deleted.")).to_be_visible()
        await window.press("Find")
        await expect(page.get_by_text("No subscriber found.")).to_be_visible()
    assert served.call("GET", "/v1/subscribers/maria")[0] == 404


async def test_each_carrier_says_that_it_takes_messages(served: Served, plain: Browser, ana: str):
    """All that the API knows are there, each with its limit and how it is; from there a test is one press away, beside what is being
    written.
    """
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await window.page.get_by_role("link", name="New alert").click()
        await window.fill("Case number", "SE-2026-300")
        await window.page.get_by_role("link", name="Carriers").click()
        await expect(window.page.get_by_text("All carriers accept messages")).to_be_visible()
        assert await window.page.locator(".carrier").count() == len(served.call("GET", "/v1/carriers")[1]["carriers"])
        await window.page.get_by_role("link", name="Write a test").click()
        await expect(window.page.locator(".ribbon")).to_contain_text("Test reaches testers only")
        await expect(window.page.get_by_label("Case number", exact=True)).to_have_value("")
        await window.page.get_by_role("link", name="New alert").click()
        await expect(window.page.locator(".ribbon")).to_have_count(0)
        await expect(window.page.get_by_label("Case number", exact=True)).to_have_value("SE-2026-300")


async def test_a_carrier_is_tested_with_one_message(served: Served, plain: Browser, ana: str):
    """To an address that is typed there; what the carrier says of it is told in words, and what is no address by its field."""
    async with desk(plain, served.url, 400) as window:
        page = window.page
        await window.sign_in(ana)
        await page.goto(f"{served.url}/console#/carriers")
        await page.get_by_role("button", name="Test it: sandbox-sms").click()
        await window.fill("A number of your own", "somewhere")
        await window.press("Send the test")
        await expect(page.get_by_text("A number starts with + and its country code")).to_be_visible()
        before = served.total("sms")
        await window.fill("A number of your own", "+34600000009")
        await window.press("Send the test")
        await expect(page.get_by_text("The carrier accepted it.")).to_be_visible()
        await window.check_readable()
        await window.check_readable("rtl")
    assert served.recorded("sms")["+34600000009"] == 1
    assert served.total("sms") == before + 1


async def test_a_carrier_that_fails_is_told_where_everybody_looks(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """The first screen never says that everything works while a carrier takes nothing; it says so again once it takes messages."""
    served.control("push", {"rules": [{"prefix": "", "do": "reset"}]})
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        health = window.page.locator(".health")
        await expect(health).to_contain_text("Everything works")
        served.approved({**alert, "channels": ["push"]})
        await expect(health).to_contain_text("Cannot send: sandbox-push")
        await window.page.get_by_role("link", name="Carriers").click()
        await expect(window.page.locator(".carrier.is-resting")).to_contain_text("sandbox-push")
        served.control("push", {"rules": []})  # it is tried ever more seldom: soon, before looks are taken
        await window.check_readable()
        await window.page.get_by_role("link", name="Now", exact=True).click()
        await expect(health).to_contain_text("Everything works", timeout=120_000)


async def test_where_no_worker_sends_every_screen_says_so(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """Whoever approves at night must not take it for told: what hangs is seen within seconds, on the alert as well, and is over when it works again."""
    hangs = served.workers()
    async with desk(plain, served.url) as window:
        page = window.page
        await window.sign_in(ana)
        await expect(page.locator(".health")).to_contain_text("Everything works")
        try:
            for pid in hangs:
                os.kill(pid, signal.SIGSTOP)
            alert_id = served.approved({**alert, "channels": ["push"]})
            told = page.get_by_role("alert").filter(has_text="No messages go out by")
            await expect(told).to_contain_text("No worker for this is running")
            await expect(page.locator(".health")).not_to_contain_text("Everything works")
            await window.check_readable()
            await page.goto(f"{served.url}/console#/alerts/{alert_id}")
            await expect(told).to_be_visible()
            await page.goto(f"{served.url}/console#/carriers")
            await expect(page.locator(".carrier.is-resting").first).to_contain_text("no worker")
            await window.check_readable("rtl")
        finally:
            for pid in hangs:
                os.kill(pid, signal.SIGCONT)
        await expect(told).to_have_count(0)
        await page.get_by_role("link", name="Now", exact=True).click()
        await expect(page.locator(".health")).to_contain_text("Everything works")
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")


async def test_a_key_is_made_told_once_and_revoked(served: Served, plain: Browser, ana: str):
    """Its secret is shown until it is noted and never again; what it may not see it is not offered; revoking takes two presses."""
    async with desk(plain, served.url, 401) as window, desk(plain, served.url, 401) as other:
        page = window.page
        await window.sign_in(ana)
        await page.get_by_role("link", name="Keys").click()
        await window.press("Make a key")
        await window.fill("Key for", "carla@centre.example")
        await window.press("Make the key")
        secret = await page.locator(".secret").inner_text()
        await window.check_readable("rtl")
        await other.sign_in(secret)
        await expect(other.page.get_by_role("link", name="Keys")).to_have_count(0)
        await window.press("I have noted it")
        await expect(page.locator(".secret")).to_have_count(0)
        await page.get_by_role("button", name="Revoke: carla@centre.example").click()
        await window.press("Revoke for good")
        await expect(page.locator(".lines")).not_to_contain_text("carla@centre.example")
        await expect(other.page.get_by_text("You were signed out.")).to_be_visible()


async def test_the_audit_is_read_and_verified(served: Served, plain: Browser, ana: str):
    """Each act is one line, newest first, with who did it and what came of it, looks at a target only if asked for; verifying says in words that nothing was changed."""
    served.call("POST", "/v1/targets/preview", {"target": {"regions": ["11012"]}})
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await window.page.get_by_role("link", name="Audit").click()
        looked = window.page.locator(".audit tbody tr", has_text="Reach previewed").first
        await expect(window.page.locator(".audit")).not_to_contain_text("Reach previewed")
        await window.page.get_by_label("Show reach previews").check()
        await expect(looked).to_contain_text("done")
        await window.press("Verify")
        await expect(window.page.get_by_text("entries are unchanged")).to_be_visible()
