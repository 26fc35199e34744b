"""The screen of one alert once it goes out: what happened, how fast, where, and why one person was told."""

from __future__ import annotations

import asyncio
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.alert_pages import MARIA, SEVILLA, opened
from tests.browser.desks import desk
from tests.browser.layout import SLOWLY
from tests.pictures import drawn, read, written

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]


def photo_of(served: Served, media: str, key: str) -> Image.Image:
    """A photo, as a key may see it before the public does."""
    request = urllib.request.Request(f"{served.url}/m/{media}?size=page", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request) as answer:
        return read(answer.read())


async def test_what_happened_is_told_in_order_with_who_did_it(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """Submission, approval, hand-overs and stand-down, oldest first, each act with its person; what was refused is not in it. The
    curve ends where the API's does, by channel as well, and regions are named as where people are, never as where they were told.
    """
    alert_id = served.approved(alert)
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    assert served.call("POST", f"/v1/alerts/{alert_id}/submit", {}, ana)[0] >= 400
    assert served.call("POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "Found, well"}, ana)[0] == 200
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await opened(window, alert_id)
        await expect(window.page.locator(".times strong")).to_have_text([
            "Submitted", "Approved", "First message sent", "Latest message sent", "Stood down", "Ends",
        ])  # fmt: skip
        await expect(window.page.locator(".times .who")).to_have_text(
            ["ana@centre.example", "bea@centre.example", "ana@centre.example"]
        )
        curve = served.call("GET", f"/v1/alerts/{alert_id}/curve")[1]
        shown = window.page.locator(".legend b").first
        await expect(shown).to_have_text(f"{sum(counts[-1] for counts in curve['handed_over'].values()):,}")
        await window.press("Text messages (SMS)")
        await expect(shown).to_have_text(f"{curve['handed_over']['sms'][-1]:,}")
        await expect(window.page.locator(".where")).to_contain_text("Carriers do not report where a message was read.")


async def test_an_end_that_is_going_out_is_seen_as_it_goes(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """On the alert, whose own numbers are of before, and among what is going out: nobody takes an end for told that is not."""
    alert_id = served.approved(alert)
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    served.control("push", SLOWLY)
    end = served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found, well"}, ana)[1]["told_by"]
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        card = window.page.locator(".live-card", has=window.page.locator(f'a[href="#/alerts/{end}"]'))
        await expect(card.locator(".mark-update")).to_have_text("Closed")
        await opened(window, alert_id)
        await expect(window.page.locator(".told-by .mark-update")).to_have_text("Closed")
        await expect(window.page.locator(".told-by .state")).to_have_text("Sending")
        served.control("push", {"rules": []})
        await expect(window.page.locator(".told-by .state")).to_have_text("Sent", timeout=60_000)
        await window.page.locator(".told-by a").click()
        await expect(window.page.locator(".alert-head .mark-update")).to_have_text("Closed")


async def test_it_is_asked_why_one_was_told(served: Served, plain: Browser, ana: str, alert: dict[str, Any]):
    """By id with the keys alone, and by number; whoever was not told is answered why. On a narrow dark screen from right to left no
    less. A key that may not ask is not offered to, nor anything else that it may not do.
    """
    far = {
        **MARIA,
        "places": {"home": {"point": [2.17, 41.38]}},
        "addresses": [{"channel": "sms", "number": "+34612345679"}],
    }
    for name, person in (("maria", MARIA), ("far", far)):
        assert served.call("PUT", f"/v1/subscribers/{name}", person)[0] == 201
    alert_id = served.approved({**alert, "target": {"regions": [SEVILLA]}})
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    scopes = {"subject": "ana@centre.example", "scopes": ["alerts:read"]}
    watcher = served.call("POST", "/v1/keys", scopes)[1]["token"]
    async with desk(plain, served.url, 404, viewport={"width": 360, "height": 740}, color_scheme="dark") as window:
        await window.sign_in(ana)
        await opened(window, alert_id)
        answer = window.page.locator(".answer")
        await window.tab_to("Id")
        await window.tab_to("Id")
        await window.page.keyboard.type("far")
        await window.page.keyboard.press("Enter")
        await expect(answer).to_contain_text("far: Not notified. None of this person’s places lies in the area.")
        await window.page.get_by_label("By", exact=True).select_option("sms")
        await window.fill("Number", "+34612345678")
        await window.press("Find")
        await expect(answer).to_contain_text("Notified.")
        await expect(answer).to_contain_text("sandbox-sms")
        await expect(answer).not_to_contain_text("+346")
        await window.check_readable("rtl")
        wide = await window.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0
        await window.fill("Number", "+34600000001")
        await window.press("Find")
        await expect(window.page.get_by_text("No subscriber found.")).to_be_visible()
    async with desk(plain, served.url) as other:
        await other.sign_in(watcher)
        await opened(other, alert_id)
        await expect(other.page.get_by_text("Why was a person notified")).to_have_count(0)
        await expect(other.page.locator(".follow")).to_have_count(0)
        await expect(other.page.get_by_role("link", name="New alert")).to_have_count(0)


async def test_a_photo_is_cropped_told_in_words_and_blurred(served: Served, plain: Browser, ana: str, bea: str):
    """With the keys alone a part of it is chosen, and nothing else is handed in; it takes its rights and its words first, and
    nobody goes on without it unawares. Whoever approves sees it blurred until they ask. What is no picture is told so.
    """
    files: Any = [
        {"name": "lucia.jpg", "mimeType": "image/jpeg", "buffer": data} for data in (b"none", written(drawn(900, 1200)))
    ]
    async with desk(plain, served.url) as author:
        page = author.page
        await author.sign_in(ana)
        await page.get_by_role("link", name="New alert").click()
        await author.fill_case("SE-2026-401")
        await page.locator("input[type=file]").set_input_files(files[0])
        await expect(page.get_by_text("alertd cannot read this file as a picture.")).to_be_visible()
        await page.locator("input[type=file]").set_input_files(files[1])
        await author.press("Square")
        await page.locator(".crop canvas").focus()
        for key, presses in (("ArrowLeft", 13), ("ArrowUp", 10), ("+", 30)):
            for _ in range(presses):
                await page.keyboard.press(key)
        hand_in = page.get_by_role("button", name="Upload")
        await expect(hand_in).to_be_disabled()
        await expect(page.get_by_role("button", name="Continue")).to_be_disabled()
        await expect(page.locator(".foot")).to_contain_text("The photo is not uploaded yet")
        for label, words in (
            ("Who gave it", "her mother"), ("Taken (2026-08)", "2026-08"), ("Right to publish it", "consent of both parents"),
            ("Photo description (English)", "Girl with short brown hair"),
        ):  # fmt: skip
            await author.fill(label, words)
        await author.check_readable()
        await author.check_readable("rtl")
        await hand_in.click()
        await expect(page.get_by_text("The photo is uploaded.")).to_be_visible()
        await author.press("Continue")
        await author.choose_region("Sevilla", SEVILLA)
        await author.people()
        await author.press("Continue")
        await author.press("Submit for approval")
        await page.get_by_text("another person must approve it").wait_for()
        alert_id = page.url.rpartition("/")[2]
    [photo] = served.call("GET", f"/v1/alerts/{alert_id}")[1]["alert"]["case"]["children"][0]["photos"]
    shown = await asyncio.to_thread(photo_of, served, photo["media"], bea)
    assert shown.width == shown.height
    red, green, _ = shown.resize((1, 1)).convert("RGB").getpixel((0, 0))  # type: ignore[misc]
    assert red > 150 > green, "the red corner alone was handed in"
    async with desk(plain, served.url) as approver:
        await approver.sign_in(bea)
        card = approver.page.locator(".alert-card", has=approver.page.locator(f"a[href='#/alerts/{alert_id}']"))
        await card.locator("img").wait_for()
        blur = "one => getComputedStyle(one).filter"
        assert "blur" in await card.locator("img").evaluate(blur)
        await approver.check_readable()
        await card.get_by_role("button", name="Show photo").press("Enter")
        await expect(card.get_by_role("button", name="Blur again")).to_be_visible()
        assert await card.locator("img").evaluate(blur) == "none"


async def test_a_ring_that_waits_is_no_second_left(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Where a wider ring goes out later, the time until it is in what is promised before, and told as its hour while it waits."""
    center = [-5.9756, 37.3919]
    rings = [
        {"center": center, "radius_km": 5, "loudness": "loud"},
        {"center": center, "radius_km": 300, "loudness": "normal", "delay_min": 20},
    ]
    status, taken = served.call("POST", "/v1/alerts", {**alert, "target": {"rings": rings}}, ana)
    assert status == 202
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        await opened(window, taken["id"])
        await expect(window.page.locator(".reach-channels li").first).to_contain_text("the last in about 20 minutes")
        await window.press("Approve and send")
        await expect(window.page.locator("[data-channel=push]")).to_contain_text("the wider ring starts at")
        await expect(window.page.locator(".told")).not_to_contain_text(" left")
    assert served.call("POST", f"/v1/alerts/{taken['id']}/cancel", {"reason": "a drill"}, ana)[0] == 200


@pytest.mark.parametrize(("pace", "said"), [(1, 1), (60_000, 0)])
async def test_an_alert_that_ends_before_everyone_is_told_says_so(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any], pace: int, said: int
):
    """Whoever approves it sees that, and not from two times that they would have to compare."""
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    wanted = {**alert, "target": {"regions": [SEVILLA]}, "expires": until, "policy": {"pace_per_min": pace}}
    status, taken = served.call("POST", "/v1/alerts", wanted, ana)
    assert status == 202, taken
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{window.url}/console#/alerts/{taken['id']}")
        await expect(window.page.locator(".reach-channels li").first).to_be_visible()
        await expect(window.page.locator("[data-ends-first]")).to_have_count(said)
    assert served.call("POST", f"/v1/alerts/{taken['id']}/reject", {"reason": "a drill"}, bea)[0] == 200
