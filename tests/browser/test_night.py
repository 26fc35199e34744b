"""What an operator under stress sees on a small screen and in a hurry: whole words, every way, and what a press does or lacks."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.alert_pages import SEVILLA, opened, submitted
from tests.browser.desks import Desk, desk
from tests.browser.layout import SLOWLY, TOO_WIDE
from tests.sampling import sampled

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

PHONE = {"width": 360, "height": 740}
#: Words of an element that stand on more than one line.
BROKEN = """all => all.flatMap(one => {
    const found = [], walk = document.createTreeWalker(one, NodeFilter.SHOW_TEXT), range = document.createRange()
    while (walk.nextNode()) for (const word of walk.currentNode.data.matchAll(/\\S+/g)) {
        range.setStart(walk.currentNode, word.index)
        range.setEnd(walk.currentNode, word.index + word[0].length)
        if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) found.push(word[0])
    }
    return found
})"""
CUT = "all => all.filter(one => one.getBoundingClientRect().right > innerWidth).map(one => one.textContent)"


async def check_whole(window: Desk, what: str) -> None:
    shown = window.page.locator(what)
    await shown.first.wait_for()
    assert await shown.evaluate_all(BROKEN) == []
    assert await window.page.evaluate(TOO_WIDE) == 0


async def test_no_word_is_broken_and_no_way_is_hidden_on_a_phone(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """What goes out, the carriers and the audit are read without guessing where a word ends, and every screen has its way in sight."""
    served.control("push", SLOWLY)
    alert_id = served.approved({**alert, "target": {"regions": [SEVILLA]}})
    async with desk(plain, served.url, viewport=PHONE) as window:
        page = window.page
        await window.sign_in(ana)
        await check_whole(window, ".live-card")
        served.control("push", {"rules": []})
        assert await page.locator(".head nav a").evaluate_all(CUT) == []
        await page.get_by_role("link", name="Carriers").click()
        await check_whole(window, ".carrier")
        await page.get_by_role("link", name="Audit").click()
        await check_whole(window, ".audit time, .audit td:nth-child(3)")
    assert served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found, well"}, ana)[0] == 200


async def test_a_name_of_one_long_word_pushes_nothing_behind_the_edge_of_a_phone(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """When an alert ends is read beside every name."""
    [child] = alert["case"]["children"]
    named = {**child, "name": {"public": "Donaudampfschifffahrtsgesellschaftskapitänstochter"}}
    alert_id = submitted(served, alert, ana, case={**alert["case"], "children": [named]})
    async with desk(plain, served.url, viewport=PHONE) as window:
        await window.sign_in(bea)
        await window.page.locator(".alert-card h3", has_text="Donau").wait_for()
        assert await window.page.locator(".alert-card .about").evaluate_all(CUT) == []
        await opened(window, alert_id)
        await window.page.locator(".phone-title").first.wait_for()
        assert await window.page.evaluate(TOO_WIDE) == 0
    assert served.call("POST", f"/v1/alerts/{alert_id}/reject", {"reason": "It was a test"}, bea)[0] == 200


@pytest.mark.parametrize(
    "language", sampled([("fr",), ("ar",), ("en",), ("es",)], lambda language: language in {"fr", "ar"})
)
async def test_an_address_of_usual_length_pushes_nothing_behind_the_edge_of_a_phone(
    served: Served, plain: Browser, language: str
):
    """In the head of every screen it stands beside the way out, whose words are long in some languages: it is the address that is cut short."""
    async with desk(plain, served.url, viewport=PHONE) as window:
        await window.sign_in(served.person("ana.garcia@centre.example"))
        await window.page.evaluate("language => localStorage.setItem('alertd.language', language)", language)
        await window.page.reload()
        await expect(window.page.locator(".who > span")).to_have_text("ana.garcia@centre.example")
        assert await window.page.evaluate(TOO_WIDE) == 0


async def test_two_languages_stand_below_each_other_on_a_phone(served: Served, plain: Browser, ana: str):
    """A place that is written in one language only would be told so: the other is not behind the edge."""
    async with desk(plain, served.url, viewport=PHONE) as window:
        await window.sign_in(ana)
        await window.page.get_by_role("link", name="New alert").click()
        await window.page.get_by_label("Add a language").select_option("es")
        await expect(window.page.locator(".column")).to_have_count(2)
        assert await window.page.locator(".column").evaluate_all(CUT) == []


async def test_a_decision_says_what_it_still_lacks(served: Served, plain: Browser, ana: str, alert: dict[str, Any]):
    """Beside the press that cannot be pressed yet; once it can, nothing is said. A curve says of what it counts."""
    alert_id = served.approved({**alert, "target": {"regions": [SEVILLA]}})
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await opened(window, alert_id)
        await expect(window.page.locator(".plot .all-of")).to_contain_text("addresses")
        await window.press("Stand down")
        lacks = window.page.get_by_text("Fill in all required fields above.")
        await expect(lacks).to_be_visible()
        await window.fill("Reason (internal)", "Seen with her mother")
        await expect(lacks).to_have_count(0)
        await window.press("Back")
    assert served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found, well"}, ana)[0] == 200


async def test_an_approver_reads_the_estimate_of_each_ring(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Each ring says about how many people it holds; what is not translated is called as on the form."""
    seen = [-5.9756, 37.3919]
    rings = [
        {"center": seen, "radius_km": 3, "loudness": "loud", "delay_min": 0},
        {"center": seen, "radius_km": 9, "loudness": "normal", "delay_min": 15},
    ]
    away = {"circles": [{"center": [-5.8676, 37.4180], "radius_km": 2}]}
    target = {"regions": [SEVILLA], "rings": rings, "exclude": away}
    found = served.call("POST", "/v1/targets/preview", {"target": target})[1]["audience"]["rings"]
    alert_id = submitted(served, alert, ana, target=target)
    async with desk(plain, served.url) as window:
        page = window.page
        await window.sign_in(bea)
        await page.goto(f"{served.url}/console#/alerts/{alert_id}")
        told = page.locator(".reach-rings")
        for one in found:
            estimate = one["people"] if isinstance(one["people"], str) else f"about {one['people']:,}"
            await expect(told.locator(f"[data-ring='{one['ring']}'] td")).to_have_text(f"{estimate} people")
        await page.get_by_role("button", name="العربية").click()
        notes = page.locator(".in-language[lang=ar] .notes")
        await expect(notes).to_contain_text("Not translated: ")
        await expect(notes).not_to_contain_text("/info/")
    assert served.call("POST", f"/v1/alerts/{alert_id}/reject", {"reason": "It was a test"}, bea)[0] == 200


async def test_a_few_streets_have_fewer_than_a_hundred_people(served: Served, plain: Browser, ana: str):
    """The author of an alert and an operator who counts subscribers read that an area of a few streets holds fewer than 100 people."""
    streets = [[-5.976, 37.391], [-5.974, 37.391], [-5.974, 37.393], [-5.976, 37.393], [-5.976, 37.391]]
    region = {"name": "Calle Larga", "geometry": {"type": "Polygon", "coordinates": [streets]}}
    assert served.call("PUT", "/v1/regions/CALLE-LARGA", region)[0] in {200, 201}
    async with desk(plain, served.url) as window:
        page = window.page
        await window.sign_in(ana)
        await page.goto(f"{served.url}/console#/new")
        await window.press("Continue")
        await window.choose_region("Calle Larga", "CALLE-LARGA")
        await window.press("Continue")
        await expect(page.get_by_text("fewer than 100 people").first).to_be_visible()
        await expect(page.locator(".sentence")).to_contain_text("parts of Sevilla")
        await page.goto(f"{served.url}/console#/subscribers")
        await window.choose_region("Calle Larga", "CALLE-LARGA")
        await expect(page.locator(".reach-people")).to_have_text("<100 people")
