"""Areas that no hand draws: rings, and files of shapes; with the map and without."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from geofences.shapes import MAX_VERTICES
from tests.acceptance.conftest import Served
from tests.browser.desks import Desk, desk

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]

OUTLINE = [[-6.05, 37.3], [-5.9, 37.3], [-5.9, 37.45], [-6.05, 37.45], [-6.05, 37.3]]
POLYGON = {"type": "Polygon", "coordinates": [OUTLINE]}
CENTER = [-5.9756, 37.3919]
LAT_LON = " ".join(f"{lat},{lon}" for lon, lat in OUTLINE)
LON_LAT = " ".join(f"{lon},{lat},0" for lon, lat in OUTLINE)
FILES = {
    "area.geojson": json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": POLYGON}]}),
    "area.cap": f"""<?xml version="1.0"?><c:alert xmlns:c="urn:oasis:names:tc:emergency:cap:1.2"><c:info><c:area>
        <c:areaDesc>Sevilla</c:areaDesc><c:polygon>{LAT_LON}</c:polygon></c:area></c:info></c:alert>""",
    "area.kml": f"""<kml xmlns="http://www.opengis.net/kml/2.2"><Placemark><Polygon><outerBoundaryIs><LinearRing>
        <coordinates>{LON_LAT}</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark></kml>""",
}
MOST = MAX_VERTICES
#: Of a text, more than this takes long enough for a hand to notice; the outline has twenty times as many letters.
LONG = 100_000
#: Notes how long each text is that the page itself reads or writes as JSON, or keeps in the tab.
WATCH = """() => {
    window.read = []; window.written = []
    const [parse, stringify, keep] = [JSON.parse, JSON.stringify, Storage.prototype.setItem]
    JSON.parse = (text, ...rest) => { read.push(String(text).length); return parse(text, ...rest) }
    JSON.stringify = (...all) => { const text = stringify(...all); written.push((text || '').length); return text }
    Storage.prototype.setItem = function (name, text) { written.push(text.length); return keep.call(this, name, text) }
}"""


async def at_the_area(window: Desk, key: str) -> None:
    await window.sign_in(key)
    await window.page.goto(f"{window.url}/console#/new")
    await window.press("Continue")


async def upload(window: Desk, name: str, text: str) -> None:
    file: Any = {"name": name, "mimeType": "application/octet-stream", "buffer": text.encode()}
    await window.page.locator(".other-ways input[type=file]").set_input_files(file)


def told(served: Served, target: dict[str, Any]) -> Any:
    return served.call("POST", "/v1/targets/preview", {"target": target})[1]["audience"]


def round_shape(corners: int) -> str:
    """A GeoJSON polygon of so many corners around Sevilla."""
    at = [2 * math.pi * i / (corners - 1) for i in range(corners - 1)]
    outline = [[round(-5.98 + 0.3 * math.cos(a), 7), round(37.39 + 0.25 * math.sin(a), 7)] for a in at]
    return json.dumps({"type": "Polygon", "coordinates": [[*outline, outline[0]]]})


async def test_each_ring_has_its_loudness_and_delay_and_is_counted(served: Served, plain: Browser, ana: str, bea: str):
    """A circle becomes a ring, a wider one is around it; each is counted as the API counts it, and the approver reads in
    words how loud and how late each is told.
    """
    async with desk(plain, served.url) as author:
        await author.sign_in(ana)
        await author.page.get_by_role("link", name="New alert").click()
        await author.fill_case("SE-2026-201")
        await author.press("Continue")
        await author.choose_region("Sevilla", "41091")
        await author.fill("Longitude, latitude", "-5.9756, 37.3919")
        await author.fill("Radius, km", "2")
        await author.page.locator(".circle-form").get_by_role("button", name="Add").click()
        await author.press("Separate ring: Circle")
        await author.press("A wider ring around it")
        await author.page.get_by_label("Minutes later: Ring 2").fill("20")
        await author.page.get_by_label("Minutes later: Ring 2").press("Tab")
        await expect(author.page.locator("[data-ring='2']")).to_contain_text("20 minutes later")
        await author.page.get_by_label("Messages a minute: Ring 1").fill("60")
        await author.page.get_by_label("Messages a minute: Ring 1").fill("")
        await author.page.get_by_label("Messages a minute: Ring 2").fill("600")
        await author.page.get_by_label("Messages a minute: Ring 2").fill("1,000")  # which is not one
        await author.page.get_by_label("Messages a minute: Ring 2").press("Tab")
        await expect(author.page.locator("[data-ring='2']")).to_contain_text("at most 600 messages a minute")
        radius = author.page.get_by_label("Radius, km: Ring 1")
        await radius.fill("2,5")  # as most people write it
        await radius.press("Tab")
        await expect(radius).to_have_value("2.5")
        await author.people()
        rings = [
            {"center": CENTER, "radius_km": 2.5, "loudness": "loud", "delay_min": 0},
            {"center": CENTER, "radius_km": 6, "loudness": "normal", "delay_min": 20, "pace_per_min": 600},
        ]
        for one in told(served, {"regions": ["41091"], "rings": rings})["rings"]:
            shown = await author.page.locator(f"[data-ring='{one['ring']}'] b").inner_text()
            estimate = one["people"] if isinstance(one["people"], str) else f"about {one['people']:,}"
            assert shown == estimate
        await author.press("Continue")
        await expect(author.page.locator(".rings-say")).to_contain_text("Loud within 2.5 km")
        await author.press("Submit for approval")
        await author.page.get_by_text("another person must approve it").wait_for()
        alert_id = author.page.url.rpartition("/")[2]
    kept = served.call("GET", f"/v1/alerts/{alert_id}")[1]["alert"]["target"]["rings"]
    assert [{name: value for name, value in one.items() if value is not None} for one in kept] == rings
    async with desk(plain, served.url) as approver:
        await approver.sign_in(bea)
        await approver.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        says = approver.page.locator(".rings-say li")
        await expect(says).to_have_text(
            ["Loud within 2.5 km", "Normal within 6 km, 20 minutes later, at most 600 messages a minute"]
        )


async def test_beside_a_wide_area_regions_are_called_by_their_names(served: Served, plain: Browser, ana: str):
    """It has no few regions of its own that the API would name: where most people are is told in names all the same."""
    wide = {"circles": [{"center": CENTER, "radius_km": 700}]}
    found = served.call("POST", "/v1/targets/preview", {"target": wide})[1]
    assert set(found["audience"]["regions"]) - {one["code"] for one in found["area"]["regions"]}
    async with desk(plain, served.url) as author:
        await at_the_area(author, ana)
        await author.fill("Longitude, latitude", "-5.9756, 37.3919")
        await author.fill("Radius, km", "700")
        await author.page.locator(".circle-form").get_by_role("button", name="Add").click()
        await author.people()
        shown = author.page.locator(".reach-regions li span")
        await expect(shown.filter(has_text=re.compile(r"\d|^[A-Z]{2}(-|$)"))).to_have_count(0)
        names = await shown.all_inner_texts()
        assert names  # those with 100 people and more
        assert not set(names) & set(found["audience"]["regions"])


async def test_what_lies_outside_the_jurisdiction_is_said_while_it_is_drawn(served: Served, browser: Browser, ana: str):
    """How much and where, before anybody is refused."""
    own = {"name": "default", "jurisdiction": {"regions": ["ES-CA"]}}
    assert served.call("PUT", "/v1/organisations/default", own)[0] in {200, 201}
    try:
        async with desk(browser, served.url) as author:
            await at_the_area(author, ana)
            await upload(author, "area.geojson", FILES["area.geojson"])
            said = author.page.locator("[data-outside]")
            await expect(said).to_contain_text("100 % of this area lies outside your jurisdiction (Spain, Sevilla,")
            await author.check_readable()
    finally:
        assert served.call("PUT", "/v1/organisations/default", {"name": "default"})[0] == 200


async def test_an_area_comes_from_a_file_of_any_of_three_forms(served: Served, browser: Browser, ana: str):
    """GeoJSON, CAP and KML of one outline reach the same people as the outline does, and what is drawn from them can be moved."""
    people = told(served, {"polygons": [POLYGON]})["people"]
    async with desk(browser, served.url) as author:
        await at_the_area(author, ana)
        await author.page.locator(".map[data-ready=true]").wait_for()
        for name, text in FILES.items():
            await upload(author, name, text)
            await expect(author.page.locator(".pieces li")).to_have_text("Shape of 4 corners")
            assert await author.people() == people, name
            await author.press("Remove: Shape of 4 corners")
            await expect(author.page.locator(".pieces li")).to_have_count(0)


async def test_a_hundred_thousand_corners_hold_nobody_up(served: Served, plain: Browser, ana: str):
    """An outline of as many corners as are taken is read beside the page, which keeps it once and asks with it once; nothing that is
    typed then touches it; it is kept over a reload; and one corner more is refused in words, with nothing added.
    """
    async with desk(plain, served.url) as author:
        await at_the_area(author, ana)
        await author.page.evaluate(WATCH)
        await upload(author, "coast.geojson", round_shape(MOST))
        await expect(author.page.locator(".piece-title")).to_have_text("coast.geojson Shape of 100,000 corners")
        people = await author.people()
        assert max(await author.page.evaluate("[0, ...read.splice(0)]")) < LONG
        assert sum(one > LONG for one in await author.page.evaluate("written.splice(0)")) == 2, "the tab, the question"
        await author.page.get_by_label("Region, city or code").press_sequentially("Camas de la")
        await author.page.locator(".found").wait_for()
        assert max(await author.page.evaluate("[0, ...read, ...written]")) < LONG
        await author.page.reload()
        assert await author.people() == people
        await upload(author, "world.geojson", round_shape(MOST + 1))
        await expect(author.page.locator(".fault")).to_contain_text("It has 100,001 corners; the maximum is 100,000.")
        await expect(author.page.locator(".pieces li")).to_have_count(1)
        await author.check_readable()


UNREADABLE, EMPTY = (
    "alertd cannot read this file as GeoJSON, CAP or KML.",
    "The file contains no polygon and no circle.",
)
#: What each is told; no two in a row the same, so that each is seen to be told.
NO_AREA = {
    "{": UNREADABLE,
    "<alert><info/></alert>": EMPTY,
    "<kml><Polygon>": UNREADABLE,
    '{"type": "Point", "coordinates": [0, 0]}': EMPTY,
    '{"type": "Polygon", "coordinates": [[["a", "b"]]]}': UNREADABLE,
}


async def test_a_file_that_is_no_area_says_so(served: Served, plain: Browser, ana: str):
    """In words, beside where it was chosen, and nothing is added."""
    async with desk(plain, served.url) as author:
        await at_the_area(author, ana)
        for text, why in NO_AREA.items():
            await upload(author, "file", text)
            await expect(author.page.locator(".fault")).to_have_text(why)
            await expect(author.page.locator(".pieces li")).to_have_count(0)
