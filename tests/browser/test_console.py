"""The console's promises, kept in a real browser: two people, one alert, everyone told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Browser, Route, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import Desk, desk

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

SEVILLA = "41091"


def people_of(served: Served, target: dict[str, Any]) -> Any:
    """How many people the API says a target reaches."""
    status, told = served.call("POST", "/v1/targets/preview", {"target": target})
    assert status == 200, told
    return told["audience"]["people"]


async def begun(window: Desk, key: str, case: str) -> None:
    await window.sign_in(key)
    await window.page.get_by_role("link", name="New alert").click()
    await window.fill_case(case)


async def draw_circle(window: Desk) -> None:
    """With the mouse, from a point right of the map's middle outwards."""
    await window.page.locator(".map[data-ready=true]").wait_for()
    await window.press("Draw a circle")
    box = await window.page.locator(".map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await window.page.mouse.click(x + 50, y)
    goes_on = window.page.get_by_role("button", name="Continue")
    await expect(goes_on).to_be_disabled()  # it would be lost with the map
    await window.page.mouse.move(x + 200, y, steps=5)
    await window.page.mouse.click(x + 200, y)
    await window.page.locator(".pieces li", has_text="Circle").wait_for()
    await expect(goes_on).to_be_enabled()


async def submitted(window: Desk) -> str:
    """Goes on to the last step and submits; answers the alert's id."""
    await window.press("Continue")
    await window.page.locator(".in-language").first.wait_for()
    await window.press("Submit for approval")
    await window.page.locator(".sentence").wait_for()
    await expect(window.page.get_by_text("another person must approve it")).to_be_visible()
    return window.page.url.rpartition("/")[2]


async def ten_more(route: Route) -> None:
    """Whom it reaches, and ten who came since."""
    told = await (await route.fetch()).json()
    told["audience"]["people"] += 10
    await route.fulfill(json=told)


async def test_two_people_tell_everyone_in_an_area(served: Served, browser: Browser, ana: str, bea: str):
    """One draws and submits, another sees what will happen and approves, and both numbers are the API's; then all are
    told, and when the child is found, it is stood down. What waits for approval is in sight however many alerts are newer; where
    a count was cut off, or the audience is no longer the one that was seen, it is counted again and told.
    """
    async with desk(browser, served.url) as author:
        await begun(author, ana, "SE-2026-117")
        await expect(author.page.locator(".phone-title").first).to_contain_text("Lucía P., 7")
        await author.press("Continue")
        await author.choose_region("Sevilla", SEVILLA)
        assert await author.people() == people_of(served, {"regions": [SEVILLA]})
        await draw_circle(author)
        shown = await author.people()
        assert isinstance(shown, int)
        alert_id = await submitted(author)
    target = served.call("GET", f"/v1/alerts/{alert_id}")[1]["alert"]["target"]
    assert len(target["circles"]) == 1
    assert shown == people_of(served, target)
    async with desk(browser, served.url, 409) as approver:
        newer = {"alerts": [], "next": None}  # none of the newest waits
        await approver.page.route("**/v1/alerts?limit=50", lambda route: route.fulfill(json=newer))
        await approver.sign_in(bea)
        approver.expect("net::ERR_FAILED")
        await approver.page.route("**/v1/targets/preview", lambda route: route.abort(), times=1)
        await approver.page.get_by_role("link", name="Review").click()
        await expect(approver.page.locator(".sentence")).to_contain_text(f"go to about {shown:,} people")
        await expect(approver.page.locator(".changed")).to_contain_text("The estimate is the same as at submission")
        moved = {"type": "/problems/audience-changed", "title": "The audience has changed"}
        await approver.page.route("**/approve", lambda route: route.fulfill(status=409, json=moved), times=1)
        await approver.page.route("**/v1/targets/preview", ten_more, times=1)
        await approver.press("Approve and send")
        await expect(approver.page.locator(".changed")).to_contain_text(f"Now it reaches about {shown + 10:,} people")
        await expect(approver.page.locator(".decide .refused")).to_contain_text("The audience has changed")
        await approver.press("Approve and send")
        await expect(approver.page.locator("#share")).to_have_text("100 %")
        await expect(approver.page.locator(".verdict")).to_contain_text("All messages are sent; ")
        assert served.progress(alert_id)["state"] == "sent"
        await approver.press("Stand down")
        await expect(approver.page.locator(".order-texts .phone-title")).to_be_visible()
        await approver.fill("Reason (internal)", "Found, well")
        await approver.page.locator(".order").get_by_role("button", name="Stand down").click()
        await expect(approver.page.locator(".alert-head .state")).to_have_text("Stood down")
    assert served.call("GET", f"/v1/alerts/{alert_id}")[1]["state"] == "stood_down"


async def test_without_webgl_the_same_is_done_by_words_and_numbers(served: Served, plain: Browser, ana: str):
    """A browser that cannot draw a map loses no area: search, coordinates and files are there, with the API's count; in the
    dark and from right to left as well.
    """
    async with desk(plain, served.url, color_scheme="dark") as author:
        await begun(author, ana, "SE-2026-118")
        await author.press("Continue")
        await expect(author.page.get_by_text("This browser cannot draw the map.")).to_be_visible()
        await author.choose_region("Sevilla", SEVILLA)
        await author.fill("Longitude, latitude", "-5.9026, 37.4180")
        await author.fill("Radius, km", "1.5")
        await author.page.locator(".circle-form").get_by_role("button", name="Add").click()
        await author.press("Cut out: Circle")
        circle = {"center": [-5.9026, 37.418], "radius_km": 1.5}
        assert await author.people() == people_of(served, {"regions": [SEVILLA], "exclude": {"circles": [circle]}})
        await author.check_readable("rtl")
        await submitted(author)


async def test_no_sentence_is_of_another_area(served: Served, browser: Browser, ana: str):
    """Until it is known whom an area reaches, and where that cannot be known, no earlier area's sentence stands there."""
    async with desk(browser, served.url, 503) as author:
        await author.sign_in(ana)
        await author.page.goto(f"{served.url}/console#/new")
        await author.press("2 Where")
        await author.choose_region("Sevilla", SEVILLA)
        await author.people()
        held = asyncio.Event()

        async def unavailable(route: Route) -> None:
            await held.wait()
            await route.fulfill(status=503, json={"title": "The store does not answer."})

        await author.page.route("**/v1/targets/preview", unavailable)
        await author.choose_region("Camas", "41021")
        await author.press("3 Check and submit")
        await expect(author.page.locator(".approval-words")).to_contain_text("Counting…")
        await expect(author.page.locator(".foot-words")).to_have_text("Counting…")
        held.set()
        await expect(author.page.locator(".approval-words .refused")).to_contain_text("The store does not answer.")
        await expect(author.page.locator(".sentence")).to_have_count(0)


async def test_what_is_no_shape_is_told_beside_its_field(served: Served, browser: Browser, ana: str):
    """Coordinates, a radius and GeoJSON that are none are told where they stand, and what was typed is kept; a radius has a comma where that is usual. Enter takes no
    region that was found for what was typed before.
    """
    async with desk(browser, served.url) as author:
        await author.sign_in(ana)
        await author.page.goto(f"{served.url}/console#/new")
        await author.press("Continue")
        await author.page.get_by_text("By coordinates or file").click()
        await author.fill("Longitude, latitude", "37.4 north")
        await author.page.locator(".circle-form").get_by_role("button", name="Add").click()
        await expect(author.page.get_by_text("Two numbers, longitude first")).to_be_visible()
        places = author.page.locator(".circle-form .field")
        await author.fill("Longitude, latitude", "-5.98, 37.39")
        await author.fill("Radius, km", "near")
        await author.page.locator(".circle-form").get_by_role("button", name="Add").click()
        await expect(places.nth(1)).to_contain_text("A number of kilometres")
        await expect(places.nth(0).locator(".fault")).to_have_count(0)
        await author.fill("Radius, km", "2,5")
        await author.page.locator(".circle-form").get_by_role("button", name="Add").click()
        await expect(author.page.get_by_label("Radius, km: Circle")).to_have_value("2.5")
        await author.press("Remove: Circle")
        await author.fill("Longitude, latitude", "37.4 north")
        await author.fill("Or paste its text", '{"type": "Point", "coordinates": [0, 0]}')
        await author.page.locator(".paste-form").get_by_role("button", name="Add").click()
        await expect(author.page.get_by_text("The file contains no polygon and no circle.")).to_be_visible()
        await expect(author.page.get_by_label("Longitude, latitude", exact=True)).to_have_value("37.4 north")
        search = author.page.get_by_label("Region, city or code", exact=True)
        await search.fill("Sevilla")
        await author.page.locator(".found button", has_text="41091").wait_for()
        held = asyncio.Event()

        async def late(route: Route) -> None:
            await held.wait()
            await route.continue_()

        await author.page.route("**/v1/regions?**", late)
        await search.fill("Camas")
        await search.press("Enter")
        held.set()
        await author.page.locator(".found button", has_text="41021").click()
        await expect(author.page.locator(".piece-title")).to_contain_text(["Camas"])


async def test_a_refusal_is_told_with_each_fault_and_the_draft_stays(served: Served, plain: Browser, ana: str):
    """What the API refuses is said in its words beside the button, with the way to the field, and nothing that was filled in is
    lost: not by an end that is being typed either, and words of before are not taken for those of now. A draft that no screen can show can be discarded.
    """
    async with desk(plain, served.url, 400, 422) as author:
        await begun(author, ana, "SE-2026-119")
        await expect(author.page.locator(".phone-title").first).to_contain_text("Lucía P., 7")
        await author.page.get_by_label(
            "Custody was checked (the person who seeks the child may be the danger)"
        ).uncheck()
        await expect(author.page.locator(".old-says")).to_contain_text("earlier text")
        await author.press("Continue")
        await author.choose_region("Sevilla", SEVILLA)
        await author.people()
        await author.press("Continue")
        ends = author.page.get_by_label("It ends", exact=True)
        was = await ends.input_value()
        await ends.fill("")
        await expect(author.page.locator(".sentence")).to_contain_text("until –")
        await author.press("Submit for approval")
        await expect(author.page.locator(".refused").first).to_contain_text("It ends")
        await ends.fill(was)
        await author.press("Submit for approval")
        await expect(author.page.locator(".refused").first).to_contain_text("custody to be checked")
        await author.page.locator(".refused").get_by_role("button", name="Custody was checked").click()
        await expect(author.page.get_by_role("button", name="1 The case")).to_have_attribute("aria-current", "step")
        await author.page.reload()
        await author.press("1 The case")
        number = author.page.get_by_label("Case number", exact=True)
        await expect(number).to_have_value("SE-2026-119")
        await author.page.evaluate("sessionStorage.setItem('alertd.draft', JSON.stringify({contacts: null}))")
        await author.page.reload()
        await expect(author.page.get_by_text("Error in this page")).to_be_visible()
        await author.check_readable()
        await author.press("Discard draft")
        await expect(number).to_have_value("")


async def test_the_live_button_is_never_where_the_test_button_was(served: Served, plain: Browser, ana: str):
    """A hand that has learned where the one is does not hit the other; tests and exercises say in a ribbon what they are."""
    async with desk(plain, served.url) as author:
        await author.sign_in(ana)
        await author.page.goto(f"{served.url}/console#/new")
        for status, is_right in (("Actual", True), ("Exercise", False), ("Test", False)):
            await author.press("1 The case")
            await author.page.locator(f".option.of-{status}").click()
            await author.press("3 Check and submit")
            box = await author.page.locator(".button.send").bounding_box()
            assert box is not None
            assert (box["x"] > 640) == is_right
            assert await author.page.locator(".ribbon").count() == (0 if is_right else 1)


async def test_one_person_stops_everything_and_two_resume(served: Served, plain: Browser, ana: str, bea: str):
    """The big stop is two presses and a reason away, on every screen. Everyone sees it, wherever they are; who asked to resume cannot lift it alone."""
    async with desk(plain, served.url) as first, desk(plain, served.url) as second:
        await first.sign_in(ana)
        await second.sign_in(bea)
        await first.page.get_by_role("link", name="New alert").click()
        await first.press("Stop everything")
        await expect(first.page.get_by_label("Reason")).to_be_focused()  # whatever is typed blind is the reason
        await first.fill("Reason (internal)", "A key is in the wrong hands")
        await first.press("Stop everything")
        await second.page.get_by_role("link", name="Regions").click()
        await expect(second.page.get_by_role("heading", name="All sending is stopped")).to_be_visible()
        await second.check_readable()
        assert len(served.call("GET", "/v1/stop")[1]["stops"]) == 1
        await second.press("Ask to resume")
        await expect(second.page.get_by_text("A second person must now press “Resume sending”.")).to_be_visible()
        await expect(second.page.get_by_role("button", name="Resume sending")).to_have_count(0)
        await first.press("Resume sending")
        await expect(first.page.get_by_role("heading", name="All sending is stopped")).to_have_count(0)
        assert served.call("GET", "/v1/stop")[1]["stops"] == []


async def test_an_unknown_key_is_refused_and_a_lost_one_keeps_the_draft(served: Served, plain: Browser, bea: str):
    """A wrong key is told beside its field. A key that is revoked in the middle of a draft asks for another, and the draft is there
    for whoever began it, and for nobody else. An API that does not answer yet is asked again.
    It is thrown away in two presses, never by one.
    """
    status, made = served.call("POST", "/v1/keys", {"subject": "ana@centre.example", "scopes": ["admin"]})
    assert status == 201
    async with desk(plain, served.url, 401, 503) as author:
        await author.page.goto(f"{served.url}/console")
        for key in ("live_5a43…", "live_000000000000_nobody"):  # the first is one that no header can hold
            await author.page.reload()
            await author.fill("Your API key", key)
            await author.press("Sign in")
            await expect(author.page.get_by_text("This key is unknown or was revoked.")).to_be_visible()
        await author.sign_in(made["token"])
        await author.page.get_by_role("link", name="New alert").click()
        await author.fill("Case number", "SE-2026-120")
        assert served.call("DELETE", f"/v1/keys/{made['key']}")[0] == 204
        await author.page.get_by_role("link", name="Now", exact=True).click()
        await expect(author.page.get_by_text("Your draft is kept")).to_be_visible()
        await author.sign_in(served.person("ana@centre.example"))
        await author.page.get_by_role("link", name="New alert").click()
        await author.press("Sign out")
        await expect(author.page.get_by_role("button", name="Sign out: the draft is lost")).to_be_visible()
        await author.press("Back")
        await author.press("Discard draft")
        await expect(author.page.get_by_label("Case number", exact=True)).to_have_value("SE-2026-120")
        await author.press("Discard for good")
        await expect(author.page.get_by_label("Case number", exact=True)).to_have_value("")
        await author.fill("Case number", "SE-2026-121")
        await author.page.evaluate("key => sessionStorage.setItem('alertd.key', key)", bea)
        await author.page.route("**/v1/me", lambda route: route.fulfill(status=503, json={"title": "Not yet"}), times=1)
        await author.page.reload()
        await expect(author.page.locator(".who")).to_contain_text("bea@centre.example")
        await expect(author.page.get_by_label("Case number", exact=True)).to_have_value("")
