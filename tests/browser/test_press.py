"""A press on the console acts, or the screen says why not: whatever comes while the finger is down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import Desk, desk
from tests.sampling import sampled

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

SEVILLA = "41091"
#: Each push message is answered late: an alert to everybody is under way for several times as long.
SLOWLY = {"rules": [{"prefix": "", "do": "slow", "delay_s": 10}]}
NARROW: dict[str, Any] = {"viewport": {"width": 360, "height": 740}}
#: Nothing is scrolled, so a browser keeps nothing where it is.
TALL: dict[str, Any] = {"viewport": {"width": 900, "height": 1600}}
WAITED_FOR = "alertd has not answered yet."
LEFT = "Nothing was done. You did not confirm that it is you."
PREVIEW = "**/v1/messages/preview*"
#: Until all that a screen has by now is drawn.
DRAWN = "() => new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done))))"


def submitted(served: Served, alert: dict[str, Any], ana: str) -> str:
    """An alert to one town that waits for its second person."""
    status, taken = served.call("POST", "/v1/alerts", {**alert, "target": {"regions": [SEVILLA]}}, ana)
    assert status == 202, taken
    return str(taken["id"])


def state(served: Served, alert_id: str) -> str:
    return str(served.call("GET", f"/v1/alerts/{alert_id}")[1]["state"])


def changed(served: Served, alert_id: str, ana: str, bea: str) -> None:
    """Given back, mended and submitted again, while somebody has it before their eyes."""
    path = f"/v1/alerts/{alert_id}"
    assert served.call("POST", f"{path}/return", {"reason": "The level is another"}, bea)[0] == 200
    assert served.call("PATCH", path, {"level": "appeal"}, ana)[0] == 200
    assert served.call("POST", f"{path}/submit", {}, ana)[0] == 200


@asynccontextmanager
async def late(page: Page, url: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """What is answered late: called, the answer of this comes, and with it what the screen makes of it."""
    comes = asyncio.Event()

    async def wait(route: Route) -> None:
        await comes.wait()
        await route.continue_()

    async def come() -> None:
        async with page.expect_response(url) as answer:
            comes.set()
        await (await answer.value).finished()
        await page.evaluate(DRAWN)

    await page.route(url, wait)
    yield come
    comes.set()
    await page.unroute(url, wait)


async def pressed_late(window: Desk, name: str, url: str) -> None:
    """Presses a button whose answer does not come, until the screen says that it is waited for; then it comes."""
    async with late(window.page, url) as come:
        await window.press(name)
        await expect(window.page.get_by_text(WAITED_FOR)).to_be_visible()
        await come()


@asynccontextmanager
async def pressed(button: Locator) -> AsyncIterator[None]:
    """A hand's press of it: what is done meanwhile comes while the finger is down. Where it missed, because something else came just before,
    it slides off and presses again, as a hand does.
    """
    mouse = button.page.mouse
    for _ in range(10):
        await button.hover()
        await mouse.down()
        if await button.evaluate("one => one.matches(':active')"):
            break
        await mouse.move(1, 1)
        await mouse.up()
    yield
    await mouse.up()


async def test_a_press_is_not_lost_where_what_is_above_it_comes_meanwhile(
    served: Served, browser: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """The messages that people will read come between the beginning and the end of the press, and are several screens high: it is a press
    of what was there, and sends.
    """
    alert_id = submitted(served, alert, ana)
    async with desk(browser, served.url, **NARROW) as window:
        await window.sign_in(bea)
        async with late(window.page, PREVIEW) as come:
            await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
            async with pressed(window.page.get_by_role("button", name="Approve and send")):
                await come()
        await expect(window.page.locator(".told")).to_be_visible()
    assert state(served, alert_id) != "pending"


async def test_a_press_that_slides_off_does_nothing_and_the_screen_goes_on(
    served: Served, browser: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Whoever thinks better of it, and lets go beside the button, has pressed nothing; what came meanwhile is drawn then."""
    alert_id = submitted(served, alert, ana)
    async with desk(browser, served.url, **NARROW) as window:
        await window.sign_in(bea)
        async with late(window.page, PREVIEW) as come:
            await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
            async with pressed(window.page.get_by_role("button", name="Approve and send")):
                await come()
                await expect(window.page.locator(".phone")).to_have_count(0)
                await window.page.mouse.move(1, 1)
        await expect(window.page.locator(".phone").first).to_be_visible()
    assert state(served, alert_id) == "pending"


@pytest.mark.parametrize("name", sampled([("Return to the author",), ("Reject",)], lambda name: name == "Reject"))
async def test_a_press_against_an_alert_is_not_lost_where_what_is_above_it_comes_meanwhile(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any], name: str
):
    """It asks why, as it does at any other time."""
    alert_id = submitted(served, alert, ana)
    async with desk(plain, served.url, **NARROW) as window:
        await window.sign_in(bea)
        async with late(window.page, PREVIEW) as come:
            await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
            async with pressed(window.page.get_by_role("button", name=name)):
                await come()
        await window.fill("Reason", "The place is wrong")
        await window.press(name)
        await expect(window.page.locator(".decide")).to_have_count(0)
    assert state(served, alert_id) in {"returned", "rejected"}


@pytest.mark.parametrize(
    ("name", "shows"),
    sampled(
        [("Stand down", ".order"), ("Cancel the alert", ".order"), ("Pause", ".note")],
        lambda name, _shows: name != "Cancel the alert",
    ),
)
async def test_a_press_that_ends_an_alert_is_not_lost_where_a_note_comes_above_it(
    served: Served, plain: Browser, bea: str, alert: dict[str, Any], name: str, shows: str
):
    """Somebody puts a legal hold on its case, which everybody is told above all else: the button was pressed before."""
    served.control("push", SLOWLY)
    alert_id = served.approved(alert)
    assert served.call("POST", f"/v1/alerts/{alert_id}/hold", {"reason": "Court no. 3"}, bea)[0] == 200
    async with desk(plain, served.url, **TALL) as window:
        await window.sign_in(bea)
        async with late(window.page, f"**/v1/alerts/{alert_id}/hold") as come:
            await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
            async with pressed(window.page.get_by_role("button", name=name)):
                await come()
        await expect(window.page.locator(shows).first).to_be_visible()
        await expect(window.page.locator(".hold-note")).to_be_visible()
    served.control("push", {"rules": []})
    assert served.call("POST", f"/v1/alerts/{alert_id}/cancel", {"reason": "a drill"}, bea)[0] == 200


async def test_a_press_on_an_alert_that_waits_opens_that_one_where_another_comes_above_it(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """The newest comes first on Now, and pushes the others down."""
    alert_id = submitted(served, alert, ana)
    async with desk(plain, served.url, **NARROW) as window:
        await window.sign_in(bea)
        review = window.page.locator(f"a[href='#/alerts/{alert_id}']", has_text="Review")
        async with pressed(review):
            another = submitted(served, {**alert, "external_id": f"{alert['external_id']}-2"}, ana)
            async with window.page.expect_response(f"**/v1/alerts/{another}"):
                pass
            async with window.page.expect_request("**/v1/alerts?state=pending*"):  # that they were drawn, or are to be
                pass
            await window.page.evaluate(DRAWN)
        await expect(window.page).to_have_url(f"{window.url}/console#/alerts/{alert_id}")
        for one in (alert_id, another):
            assert served.call("POST", f"/v1/alerts/{one}/reject", {"reason": "a drill"}, bea)[0] == 200


async def test_a_press_that_is_refused_says_so_until_another(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Somebody changed the alert before the press: the refusal stays beside the button although the new version comes at once, and what
    holds the button back is said beside it, too.
    """
    alert_id = submitted(served, alert, ana)
    async with desk(plain, served.url, 412) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
        await window.page.locator(".phone").first.wait_for()
        async with late(window.page, f"**/v1/alerts/{alert_id}") as come:
            changed(served, alert_id, ana, bea)
            await window.press("Approve and send")
            refused = window.page.locator(".decide .refused")
            await expect(refused).to_be_visible()
            async with window.page.expect_response("**/v1/targets/preview"):
                await come()
        await window.page.evaluate(DRAWN)
        await expect(window.page.locator(".since")).to_be_visible()
        await expect(refused).to_be_visible()
        send = window.page.get_by_role("button", name="Approve and send")
        await expect(send).to_be_disabled()
        await expect(window.page.locator(".decide .hint")).to_contain_text("Confirm above that you have seen it")
        await window.press("I have seen it")
        await send.click()
        await expect(window.page.locator(".told")).to_be_visible()


async def test_a_press_that_shows_a_child_again_is_of_the_stand_down_that_was_read(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Somebody stood it down anew, for a graver reason, while the form was open: it stays hidden until that was seen, too. An end is
    never refused for such a race.
    """
    alert_id, carl = submitted(served, alert, ana), served.person("carl@centre.example")
    path = f"/v1/alerts/{alert_id}"
    assert served.call("POST", f"{path}/approve", {}, bea)[0] == 200
    assert served.call("POST", f"{path}/stand-down", {"reason": "We think that she was found"}, ana)[0] == 200
    async with desk(plain, served.url, 412) as window:
        page = window.page
        await window.sign_in(bea)
        await page.goto(f"{window.url}/console#/alerts/{alert_id}")
        await window.press("Reopen")
        await window.fill("Reason (internal)", "It was not her")
        assert served.call("POST", f"{path}/reopen", {"reason": "It was not her"}, carl)[0] == 200
        assert served.call("POST", f"{path}/stand-down", {"reason": "Who seeks her is the danger"}, carl)[0] == 200
        await page.get_by_text("Who seeks her is the danger").first.wait_for()
        await window.press("Reopen")
        await expect(page.locator(".order .refused")).to_contain_text("Read it again, then decide.")
        assert state(served, alert_id) == "stood_down"
        await expect(page.locator(".order .since")).to_contain_text("It changed while you had it open")
        await window.check_readable()
        await window.press("I have seen it")
        await window.press("Reopen")
        await window.press("Stand down")
        await window.fill("Reason (internal)", "She is at home")
        assert served.call("POST", f"{path}/stand-down", {"reason": "Seen with her mother"}, carl)[0] == 200
        assert served.call("POST", f"{path}/reopen", {"reason": "It was not her"}, carl)[0] == 200
        await page.locator(".order button.danger").click()
        await expect(page.locator(".order")).to_have_count(0)
        await expect(page.locator(".page")).to_contain_text("She is at home")
    assert state(served, alert_id) == "stood_down"
    assert served.call("POST", f"{path}/close", {"outcome": "Found, well"}, ana)[0] == 200


async def test_a_press_that_nobody_answers_says_that_it_is_waited_for(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """A line may carry a press and no answer for minutes: whoever pressed is told that it was taken. So it is of each that decides."""
    served.control("push", SLOWLY)
    alert_id = submitted(served, alert, ana)
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
        waited_for = window.page.get_by_text(WAITED_FOR)
        await pressed_late(window, "Approve and send", "**/approve")
        await expect(window.page.locator(".told")).to_be_visible()
        await pressed_late(window, "Pause", "**/pause")
        served.control("push", {"rules": []})
        await expect(window.page.get_by_role("button", name="Resume")).to_be_visible()
        async with late(window.page, "**/stand-down") as come:
            await window.press("Stand down")
            await window.fill("Reason (internal)", "Found, well")
            await window.page.locator(".order").get_by_role("button", name="Stand down").click()
            await expect(waited_for).to_be_visible()
            await come()
        await expect(window.page.locator(".alert-head .state")).to_have_text("Stood down")
        await expect(waited_for).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "says"),
    [(504, "it may have arrived. Check before"), (413, "It is too large for the server in front of alertd.")],
)
async def test_what_a_proxy_says_is_told_in_words(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any], status: int, says: str
):
    """One that gives up a line may have carried the press: nobody reads a number and goes away believing that nothing was sent."""
    alert_id = submitted(served, alert, ana)
    async with desk(plain, served.url, status) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
        page = f"<html><h1>{status}</h1></html>"
        await window.page.route(
            "**/approve", lambda route: route.fulfill(status=status, content_type="text/html", body=page)
        )
        await window.press("Approve and send")
        await expect(window.page.locator(".decide .refused")).to_contain_text(says)
    assert served.call("POST", f"/v1/alerts/{alert_id}/reject", {"reason": "a drill"}, bea)[0] == 200


async def test_whoever_submits_sees_what_came_of_it_where_they_pressed(served: Served, plain: Browser, ana: str):
    """However small the window is, a refusal is in sight, or that there is no answer yet; so it is of a legal hold. Nobody goes away
    believing that it is done.
    """
    async with desk(plain, served.url, 409) as window:
        await window.sign_in(ana)
        await window.page.get_by_role("link", name="New alert").click()
        await window.fill_case("SE-2026-911")
        await window.press("Continue")
        await window.choose_region("Sevilla", SEVILLA)
        await window.people()
        await window.press("Continue")
        await window.page.locator(".in-language").first.wait_for()
        twin = {"title": "The case has an alert already", "detail": "Look at that one.", "status": 409}
        await window.page.route("**/v1/alerts", lambda route: route.fulfill(status=409, json=twin), times=1)
        await window.press("Submit for approval")
        await expect(window.page.locator(".refused")).to_be_in_viewport(ratio=1)
        await pressed_late(window, "Submit for approval", "**/v1/alerts")
        await expect(window.page.get_by_text("another person must approve it")).to_be_visible()
        await window.press("Put a hold on the case")
        await window.fill("Reason (stays with the case)", "Court no. 3, 2026/911")
        await pressed_late(window, "Set the hold", "**/hold")
        await expect(window.page.locator(".hold-note")).to_be_visible()
        await expect(window.page.get_by_text(WAITED_FOR)).to_have_count(0)


@pytest.mark.parametrize(("screen", "path", "rows"), [("alerts", "alerts", "alerts"), ("audit", "audit", "entries")])
async def test_what_a_list_does_not_give_is_said_below_it(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any], screen: str, path: str, rows: str
):
    """Whoever asks for older ones at the end of a long list, and is refused, sees it there."""
    submitted(served, alert, ana)
    page = served.call("GET", f"/v1/{path}?limit=1")[1]
    one = page[rows][0]
    name = "id" if "id" in one else "entry"
    many = [{**one, name: f"{one[name]}-{i}"} for i in range(40)]

    async def answer(route: Route) -> None:
        if "cursor" in route.request.url:
            await route.fulfill(status=503, json={"title": "The store does not answer", "status": 503})
        else:
            await route.fulfill(json={**page, rows: many, "next": "40"})

    async with desk(plain, served.url, 503) as window:
        await window.page.route(f"**/v1/{path}?limit=50*", answer)
        await window.page.route(f"**/v1/{path}/*-*", lambda route: route.fulfill(json=one))
        await window.sign_in(served.key)
        await window.page.goto(f"{window.url}/console#/{screen}")
        await window.press("Older")
        await expect(window.page.locator(".refused")).to_be_in_viewport()


async def test_a_press_that_asks_who_it_is_has_its_answer_beside_another_that_does(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Two presses may be asked at once who gives them. Whoever goes back from that has refused both, and both say so."""
    alert_id = submitted(served, alert, ana)
    comes = asyncio.Event()

    async def ask(route: Route) -> None:
        await comes.wait()
        await route.fulfill(status=403, json={"title": "Show again that it is you", "step_up": True})

    async with desk(plain, served.url, 403) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
        await window.page.get_by_role("button", name="Approve and send").wait_for()
        for path in ("**/v1/stop", "**/approve"):
            await window.page.route(
                path, lambda route: ask(route) if route.request.method == "POST" else route.continue_()
            )
        await window.press("Stop everything")
        await window.fill("Reason (internal)", "a drill")
        await window.page.locator(".head .stop").get_by_role("button", name="Stop everything").click()
        await window.press("Approve and send")
        comes.set()
        await window.page.locator(".prove").get_by_role("button", name="Back").click()
        await expect(window.page.locator(".head .stop .refused")).to_have_text(LEFT)
        await expect(window.page.locator(".decide .refused")).to_have_text(LEFT)
    assert state(served, alert_id) == "pending"


async def test_a_press_of_a_finger_is_not_lost_where_what_is_above_it_comes_meanwhile(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """On a phone the click comes after the finger is off."""
    alert_id = submitted(served, alert, ana)
    async with desk(plain, served.url, **NARROW, has_touch=True) as window:
        await window.sign_in(bea)
        finger = await window.page.context.new_cdp_session(window.page)
        async with late(window.page, PREVIEW) as come:
            await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
            button = window.page.get_by_role("button", name="Approve and send")
            await button.scroll_into_view_if_needed()
            box = await button.bounding_box()
            assert box is not None
            at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
            await finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
            await come()
            await finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        await expect(window.page.locator(".told")).to_be_visible()
    assert state(served, alert_id) != "pending"


async def test_a_press_that_needs_a_number_says_what_it_lacks(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Whoever tells very many people types how many: nothing yet, or another number, is told at the button."""
    alert_id = submitted(served, alert, ana)

    async def many(route: Route) -> None:
        answer = await route.fetch()
        found = await answer.json()
        await route.fulfill(response=answer, json={**found, "audience": {**found["audience"], "people": 12_345}})

    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        await window.page.route("**/v1/targets/preview*", many)
        await window.page.goto(f"{window.url}/console#/alerts/{alert_id}")
        send, hint = window.page.get_by_role("button", name="Approve and send"), window.page.locator(".decide .hint")
        await expect(hint).to_contain_text("Fill in all required fields")
        await expect(send).to_be_disabled()
        number = window.page.locator(".decide input")
        await number.fill("1234")
        await expect(hint).to_contain_text("does not match")
        await expect(send).to_be_disabled()
        await number.fill("12,345")
        await expect(hint).to_have_count(0)
        await expect(send).to_be_enabled()
