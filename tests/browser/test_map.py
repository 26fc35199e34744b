"""What the map shows stays what was drawn, whatever happens around it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat
from playwright.async_api import Browser, Locator, Page, Route, expect

from tests.acceptance.conftest import Served
from tests.browser.alert_pages import submitted
from tests.browser.desks import Desk, desk

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]

#: Of 255, over a whole map: what the edges of letters may differ by. An area of another colour is 8 and more.
ALIKE = 1.5
#: At most, half a second apart, until it is at rest.
LOOKS = 120
#: Of the map: what neither its tools nor the foot of the page cover.
MIDDLE = (100, 100, 800, 420)


async def map_of(page: Page) -> Image.Image:
    """The map as it is seen, once it has come to rest: two looks in a row are the same."""
    await page.locator(".map[data-ready=true]").wait_for()
    return (await at_rest(page.locator(".map canvas").first)).crop(MIDDLE)


async def at_rest(canvas: Locator) -> Image.Image:
    last = b""
    for _ in range(LOOKS):
        seen = await canvas.screenshot()
        if seen == last:
            return Image.open(io.BytesIO(seen)).convert("RGB")
        last = seen
        await canvas.page.wait_for_timeout(500)
    raise AssertionError("the map never comes to rest")


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of their pixels, of 255."""
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


async def ground_of(page: Page) -> Image.Image:
    """The same of a map that is only looked at."""
    await page.locator(".ground canvas").wait_for()
    return await at_rest(page.locator(".ground canvas").first)


async def drawn(window: Desk, key: str) -> None:
    """A region and, over half of it, a circle taken away: all that a map can show of an area."""
    page = window.page
    await window.sign_in(key)
    await page.goto(f"{window.url}/console#/new")
    await window.press("Continue")
    await page.locator(".map[data-ready=true]").wait_for()
    await window.choose_region("Sevilla", "41091")
    await page.get_by_text("By coordinates or file").click()
    await window.fill("Longitude, latitude", "-5.9026, 37.4180")
    await window.fill("Radius, km", "4")
    await page.locator(".circle-form").get_by_role("button", name="Add").click()
    await window.press("Cut out: Circle")
    await page.get_by_text("By coordinates or file").click()
    await window.people()


async def test_the_area_stays_when_the_light_goes_out(served: Served, browser: Browser, ana: str):
    """Whoever turns dark in the middle of drawing sees the same map as whoever draws in the dark, and not that of the light."""
    async with desk(browser, served.url) as author:
        await drawn(author, ana)
        in_the_light = await map_of(author.page)
        await author.page.emulate_media(color_scheme="dark")
        turned_dark = await map_of(author.page)
        await author.page.reload()
        await author.people()
        begun_dark = await map_of(author.page)
    assert difference(turned_dark, begun_dark) < ALIKE
    assert difference(in_the_light, begun_dark) > 10 * ALIKE


async def test_a_tile_that_was_cut_off_is_fetched_again_and_a_broken_one_is_told(
    served: Served, browser: Browser, ana: str
):
    """A range that does not come, or comes as nothing, is asked for once more, and the map is whole; what the server cannot give is
    told in words.
    """
    broken, asked = False, list[str]()

    async def answer(route: Route) -> None:
        wanted = route.request.headers["range"]
        asked.append(wanted)
        if broken:
            await route.fulfill(status=503)
        elif asked.count(wanted) == 1:
            await route.abort("aborted")
        elif asked.count(wanted) == 2:
            await route.fulfill(status=206, body=b"")
        else:
            await route.continue_()

    async with desk(browser, served.url) as author:
        await author.page.route("**/base.pmtiles", answer)
        await author.sign_in(ana)
        await author.page.get_by_role("link", name="Regions").click()
        await author.page.locator(".map[data-ready=true]").wait_for()
        assert sum(asked.count(wanted) > 1 for wanted in set(asked)) > 1
        assert author.wrong == []
        broken = True
        async with author.page.expect_console_message(lambda said: said.text == "The map: Bad response code: 503"):
            await author.page.get_by_role("button", name="Zoom in").click()
        author.wrong.clear()


async def test_what_lies_beyond_180_degrees_is_chosen_as_what_it_is(served: Served, browser: Browser, ana: str):
    """Where the map goes on across the antimeridian a click means the region there, and a circle is one that the API counts."""
    async with desk(browser, served.url) as window:
        page = window.page
        await window.sign_in(ana)
        await page.goto(f"{window.url}/console#/new")
        await window.press("Continue")
        await page.get_by_text("By coordinates or file").click()
        await window.fill("Longitude, latitude", "179.9, 67")
        await page.locator(".circle-form").get_by_role("button", name="Add").click()
        await map_of(page)
        box = await page.locator(".map").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] * 3 / 4, box["y"] + box["height"] / 2
        await page.mouse.click(x, y)
        await expect(page.locator(".pieces")).to_contain_text("RU")
        await page.get_by_role("button", name="Remove: ").last.click()
        await window.press("Draw a circle")
        await page.mouse.click(x, y)
        await page.mouse.move(x + 60, y, steps=5)
        await page.mouse.click(x + 60, y)
        await expect(page.locator(".pieces li")).to_have_count(2)
        await page.locator(".reach-area").get_by_text("Chukotka").wait_for()
        await expect(page.locator(".reach + .refused, .area-side > .refused")).to_have_count(0)


#: Two frames, so that what came of a tap is drawn.
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


async def tap(page: Page, x: float, y: float) -> None:
    """As a finger does, which is slower than the screen: on a machine with much to do, taps that follow one another at once are no taps any more."""
    await page.touchscreen.tap(x, y)
    await page.evaluate(DRAWN)


async def test_a_finger_draws_a_circle_and_a_shape(served: Served, browser: Browser, ana: str):
    """It moves nowhere before it taps: the circle ends where the second tap is, as it does under a mouse, and people are counted in it.
    A phone has no Escape: another tool drops what is begun, and the foot says so.
    """
    async with desk(browser, served.url, viewport={"width": 390, "height": 844}, has_touch=True) as window:
        page = window.page
        await window.sign_in(ana)
        await page.goto(f"{window.url}/console#/new")
        await window.press("Continue")
        await page.locator(".map[data-ready=true]").wait_for()
        await page.locator(".map").scroll_into_view_if_needed()
        await window.press("Draw a circle")
        box = await page.locator(".map").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        await tap(page, x, y)
        await tap(page, x + 80, y)
        circle = page.get_by_label("Radius, km: Circle")
        assert 100 < float(await circle.input_value()) < 2000
        assert await window.people()
        await window.press("Draw a shape")
        await tap(page, x, y + 60)
        await expect(page.locator(".foot")).to_contain_text("discard it with another tool")
        await window.press("Move and edit")
        await expect(page.locator(".foot")).not_to_contain_text("still open")
        await window.press("Draw a shape")
        await tap(page, x - 60, y - 60)
        await expect(page.locator(".foot")).to_contain_text("still open")
        for dx, dy in ((60, -60), (0, 70), (-60, -60)):
            await tap(page, x + dx, y + dy)
        await expect(page.locator(".pieces li")).to_have_count(2)
        await expect(page.locator(".pieces")).to_contain_text("Shape of 3 corners")


#: Where the map of the alert that is changed in this tab was looking when it last came to rest.
VIEW = "() => Object.values(sessionStorage).map((one) => { try { return JSON.parse(one).draft.view } catch { return null } }).find(Boolean)"


@pytest.mark.parametrize("target", [{"circles": [{"center": [-5.93, 37.40], "radius_km": 4}]}, {"regions": ["41091"]}])
async def test_an_area_that_there_is_already_is_looked_at(
    served: Served, browser: Browser, ana: str, bea: str, alert: dict[str, Any], target: dict[str, Any]
):
    """Whoever changes an alert sees where it is told, and no dot in Europe; where they moved the map to, it stays."""
    alert_id = submitted(served, alert, ana, target=target)
    path = f"/v1/alerts/{alert_id}"
    assert served.call("POST", f"{path}/return", {"reason": "Another area"}, bea)[0] == 200
    async with desk(browser, served.url) as window:
        page = window.page
        await window.sign_in(ana)
        await page.goto(f"{window.url}/console#/edit/{alert_id}")
        await window.press("2 Where")
        await page.locator(".map[data-ready=true]").wait_for()
        await page.wait_for_function(f"() => (({VIEW})() || {{}}).zoom > 8")
        await map_of(page)
        begun = await page.evaluate(VIEW)
        assert abs(begun["center"][0] + 5.93) < 0.1 > abs(begun["center"][1] - 37.4)
        await page.get_by_role("button", name="Zoom out").click()
        await page.wait_for_function(f"zoom => ({VIEW})().zoom < zoom - 0.5", arg=begun["zoom"])
        moved = (await page.evaluate(VIEW))["zoom"]
        await window.press("3 Check and submit")
        await window.press("2 Where")
        await map_of(page)
        assert (await page.evaluate(VIEW))["zoom"] == pytest.approx(moved, abs=0.01)
    assert served.call("POST", f"{path}/reject", {"reason": "It was a test"}, ana)[0] == 200


async def test_the_map_of_an_approval_is_of_what_would_be_approved(
    served: Served, browser: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Where an area was left out and is in again while whoever approves looks on, the map shows it, though its frame is the same."""
    away = {"circles": [{"center": [-5.93, 37.40], "radius_km": 4}]}
    alert_id = submitted(served, alert, ana, target={"regions": ["41091"], "exclude": away})
    path = f"/v1/alerts/{alert_id}"
    async with desk(browser, served.url) as window:
        page = window.page
        await window.sign_in(bea)
        await page.goto(f"{served.url}/console#/alerts/{alert_id}")
        left_out = await ground_of(page)
        fewer = await page.locator("figcaption").inner_text()
        assert served.call("POST", f"{path}/return", {"reason": "Nobody is told there?"}, bea)[0] == 200
        assert served.call("PATCH", path, {"target": {"regions": ["41091"], "exclude": None}}, ana)[0] == 200
        assert served.call("POST", f"{path}/submit", None, ana)[0] == 200
        await window.press("I have seen it")
        await expect(page.locator("figcaption")).not_to_have_text(fewer)
        stays = await ground_of(page)
        await page.reload()
        opened = await ground_of(page)
    assert served.call("POST", f"{path}/reject", {"reason": "It was a test"}, bea)[0] == 200
    assert difference(left_out, opened) > 3 * ALIKE
    assert difference(stays, opened) < ALIKE
