"""The organisation on its screen: read by all, changed by whoever may, and by two at once."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import Desk, desk
from tests.browser.layout import TOO_WIDE, check_in_both_lights
from tests.browser.sign_in import come, own

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

SQUARE = {"type": "Polygon", "coordinates": [[[-6.4, 36.5], [-6.2, 36.5], [-6.2, 36.7], [-6.4, 36.7], [-6.4, 36.5]]]}


async def draw(window: Desk, *corners: tuple[int, int]) -> None:
    """A shape on the map: so many px from its middle; the last corner twice closes it."""
    await window.press("Draw a shape")
    await window.page.locator(".map").scroll_into_view_if_needed()
    box = await window.page.locator(".map").bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for right, down in (*corners, corners[-1]):
        await window.page.mouse.move(middle[0] + right, middle[1] + down, steps=4)
        await window.page.mouse.click(middle[0] + right, middle[1] + down)


async def test_whoever_runs_the_service_makes_another(served: Served, plain: Browser, ana: str):
    """With where it may alert and what needs a second person, and, at once or later, a key for the first of its administrators, who then
    changes it; an id that is another's is not taken from it.
    """
    async with desk(plain, served.url, 412) as window:
        page = window.page
        await come(window, ana)
        await window.press("Make an organisation")
        await window.fill("Name of the organisation", "Policía de Cádiz")
        await expect(page.get_by_label("Id", exact=True)).to_have_value("policia-de-cadiz")
        await expect(page.get_by_role("button", name="Make it", exact=True)).to_be_disabled()
        await window.choose_region("Seville", "ES-SE")
        await page.get_by_label("Some alerts go out without a second person").check()
        await window.fill("Id", "default")
        await window.press("Make it")
        await expect(page.get_by_text("An organisation already has this id.")).to_be_visible()
        await window.check_readable()
        await window.fill("Id", "cadiz")
        await window.press("Make it")
        await window.press("Later")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Policía de Cádiz")
        await window.press("Key for an administrator")
        await window.fill("Its administrator", "eva@cadiz.example")
        await window.check_readable("rtl")
        await window.press("Make the key")
        key = await page.locator(".secret").inner_text()
        await window.press("I have noted it")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Policía de Cádiz")
    made = own(served, key, "cadiz")
    assert (made["jurisdiction"]["regions"], made["unattended"]["levels"]) == (["ES-SE"], ["information"])
    async with desk(plain, served.url) as window:
        await come(window, key)
        await window.page.get_by_role("button", name="Change", exact=True).wait_for()
        await expect(window.page.get_by_role("button", name="Make an organisation")).to_have_count(0)
        await expect(window.page.get_by_role("button", name="Key for an administrator")).to_have_count(0)


async def test_an_administrator_says_what_it_is_and_where_it_may_alert(served: Served, browser: Browser, ana: str):
    """Everything of it on one form: its name, languages, what needs no second person, and a jurisdiction of a region and a drawn area,
    seen on the map; it stands on the screen, and in the API, as it was chosen. On a narrow screen nothing is cut off.
    """
    async with desk(browser, served.url) as window:
        page = window.page
        await come(window, ana)
        await expect(page.locator(".page")).to_contain_text("Every actual alert needs a second person.")
        await expect(page.locator(".page")).to_contain_text("Everywhere")
        await window.press("Change")
        await window.fill("Name of the organisation", "Centro de Sevilla")
        await window.fill("CAP sender", "alerts@centre.example")
        await page.get_by_label("Add a language").select_option("es")
        await page.get_by_label("Some alerts go out without a second person").check()
        await window.fill("Maximum number of people", "2000")
        await page.get_by_label("In an emergency an author may approve alone").check()
        await window.fill("After this many minutes", "15")
        await page.get_by_label("Everywhere").uncheck()
        await expect(page.get_by_role("button", name="Save")).to_be_disabled()
        await page.locator(".map[data-ready=true]").wait_for()
        await window.choose_region("Seville", "ES-SE")
        await expect(page.locator(".pieces")).to_contain_text("ES-SE")
        await page.get_by_text("By coordinates or file").click()
        await window.fill("Or paste its text", json.dumps(SQUARE))
        await page.locator(".paste-form").get_by_role("button", name="Add").click()
        await expect(page.locator(".pieces li")).to_have_count(2)
        await draw(window, (40, 40), (80, 40), (80, 80))
        await expect(page.locator(".pieces li")).to_have_count(3)
        await page.get_by_role("button", name="Remove: One drawn area 2").click()
        await expect(page.locator(".pieces li")).to_have_count(2)  # the last click of the shape picked no region
        await check_in_both_lights(window)
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate(TOO_WIDE) == 0
        await window.press("Save")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Centro de Sevilla")
        await expect(page.locator(".grounds li")).to_have_count(2)
        await expect(page.locator(".page")).to_contain_text("Information, to at most 2,000 people, at most 1 an hour.")
        await expect(page.locator(".page")).to_contain_text("Allowed by ana@centre.example")
        await expect(page.locator(".page")).to_contain_text("may approve alone after 15 minutes: Child alert.")
        assert await page.evaluate(TOO_WIDE) == 0
        await page.set_viewport_size({"width": 1360, "height": 860})
        await page.locator(".ground canvas").wait_for()
        await check_in_both_lights(window)
    assert own(served) == {
        "name": "Centro de Sevilla",
        "cap_sender": "alerts@centre.example",
        "languages": ["es"],
        "jurisdiction": {"regions": ["ES-SE"], "polygons": [SQUARE]},
        "unattended": {"levels": ["information"], "people": 2000, "alerts_per_hour": 1},
        "break_glass": {"levels": ["child-alert"], "after_min": 15},
        "verification": {},
        "contact": [],
    }


async def test_whoever_may_not_change_it_reads_it(served: Served, plain: Browser):
    """A key that reads alerts sees it, what a case must meet and how people without a voice answer, and is offered no change; without a
    map its jurisdiction is an outline.
    """
    rule = {"all_of": ["minor"], "any_of": ["high-risk", "abduction"], "authorities": ["Policía Nacional"]}
    deaf = {"text": "sms:+34600000000", "role": "deaf"}
    somewhere = {
        **own(served), "jurisdiction": {"regions": ["ES-SE"]}, "verification": {"endangered": rule}, "contact": [deaf],
    }  # fmt: skip
    assert served.call("PUT", "/v1/organisations/default", somewhere)[0] == 200
    scopes = {"subject": "carla@centre.example", "scopes": ["alerts:read", "regions:read"]}
    reader = served.call("POST", "/v1/keys", scopes)[1]
    async with desk(plain, served.url) as window:
        await come(window, reader["token"])
        await expect(window.page.locator(".grounds")).to_contain_text("Seville")
        await expect(window.page.get_by_role("img", name="Where it may alert")).to_be_visible()
        await expect(window.page.locator(".org-facts")).to_contain_text("default")
        await expect(window.page.locator("[data-level=endangered]")).to_contain_text("one of:")
        await expect(window.page.locator("[data-level=endangered]")).to_contain_text("Policía Nacional")
        await expect(window.page.locator(".org-facts")).to_contain_text("for people who cannot hear or speak")
        await expect(window.page.get_by_role("button", name="Change", exact=True)).to_have_count(0)
        await window.check_readable("rtl")


async def test_two_change_it_and_nothing_is_lost(served: Served, plain: Browser, ana: str, bea: str):
    """What both changed is shown side by side and chosen, what the other changed alone is taken over, and only then is anything saved.
    What the API refuses is told in the words of the form.
    """
    async with desk(plain, served.url, 400, 412, 422) as window:
        page = window.page
        await come(window, ana)
        await window.press("Change")
        await window.fill("Name of the organisation", "Centro A")
        await window.fill("CAP sender", "two words")
        await window.press("Save")
        await expect(page.get_by_role("alert")).to_contain_text("CAP sender")
        await window.fill("CAP sender", "a@centre.example")
        theirs = {**own(served), "name": "Centro B", "languages": ["es", "fr"]}
        assert served.call("PUT", "/v1/organisations/default", theirs, bea)[0] == 200
        await window.press("Save")
        conflict = page.locator(".conflict")
        await expect(conflict.locator("fieldset")).to_have_count(1)
        await expect(conflict).to_contain_text("Centro B")
        await expect(conflict.locator(".taken")).to_contain_text("Spanish and French")
        await check_in_both_lights(window)
        await conflict.get_by_role("radio", name="Yours").check()
        await window.press("Combine and review")
        await expect(conflict).to_have_count(0)
        await window.press("Save")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Centro A")
    assert {name: own(served)[name] for name in ("name", "cap_sender", "languages")} == {
        "name": "Centro A",
        "cap_sender": "a@centre.example",
        "languages": ["es", "fr"],
    }


async def test_another_organisation_grants_itself_nothing(served: Served, plain: Browser, ana: str):
    """Its administrator changes its name and reads where it may alert; whoever runs the service changes that, and nothing else of it. Of
    others it sees the name alone.
    """
    made = {"name": "Policía", "jurisdiction": {"regions": ["41091"]}}
    status, told = served.call("PUT", "/v1/organisations/police", made, ana)
    assert status in {200, 201}, told
    order = {"subject": "pol@police.example", "scopes": ["admin"], "organisation": "police"}
    police = served.call("POST", "/v1/keys", order, ana)[1]["token"]
    async with desk(plain, served.url) as window:
        await come(window, police)
        await expect(window.page.locator(".grounds")).to_contain_text("41091")
        await expect(window.page.locator(".org-line a")).to_have_count(0)
        await window.press("Change")
        await expect(window.page.locator(".org-jurisdiction")).to_have_count(0)
        await expect(window.page.locator(".org-form")).to_contain_text("The people who run the service set")
        await window.fill("Name of the organisation", "Policía de Sevilla")
        await window.press("Save")
        await expect(window.page.get_by_role("heading", level=1)).to_have_text("Policía de Sevilla")
    async with desk(plain, served.url) as host:
        await come(host, ana)
        await host.page.get_by_role("link", name="Policía de Sevilla").click()
        await expect(host.page.get_by_role("heading", level=1)).to_have_text("Policía de Sevilla")
        await host.press("Change")
        await expect(host.page.get_by_label("Name of the organisation")).to_have_count(0)
        await host.choose_region("Seville", "ES-SE")
        await host.page.get_by_role("button", name="Remove: Sevilla", exact=True).click()
        await host.press("Save")
        await expect(host.page.locator(".grounds")).to_contain_text("ES-SE")
    assert own(served, ana, "police")["jurisdiction"] == {"regions": ["ES-SE"], "polygons": []}


async def test_the_form_has_what_the_organisation_asks_for(served: Served, plain: Browser, ana: str):
    """At the level that it is asked at: its criteria are there to be ticked, and until enough of them are a check is left."""
    before = own(served)
    rule = {"all_of": ["registered"], "any_of": ["abduction", "consent"], "authorities": ["Policía Nacional"]}
    assert served.call("PUT", "/v1/organisations/default", {**before, "verification": {"appeal": rule}})[0] in {
        200,
        201,
    }
    async with desk(plain, served.url) as window:
        page = window.page
        await window.sign_in(ana)
        await page.goto(f"{served.url}/console#/new")
        checks = page.locator("section.sheet", has=page.get_by_role("heading", name="Before a child is named"))
        await page.get_by_role("radio", name="Endangered").check()
        await expect(checks.get_by_label("Abducted")).to_have_count(0)
        await page.get_by_role("radio", name="Appeal").check()
        await expect(checks).to_contain_text("Needed: Registered as missing with the police")
        await expect(checks).to_contain_text("Policía Nacional")
        left = checks.locator(".tally")
        await expect(left).to_have_text("7 checks are left")
        await checks.get_by_label("A minor").check()
        await checks.get_by_label("Registered as missing").check()
        await expect(left).to_have_text("7 checks are left")
        await checks.get_by_label("Abducted").check()
        await expect(left).to_have_text("6 checks are left")
        await check_in_both_lights(window)
    assert served.call("PUT", "/v1/organisations/default", before)[0] == 200
