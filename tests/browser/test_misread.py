"""What an operator at three in the morning could misread: an hour that is waited for, two alerts of one name, a code for a name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, Route, expect

from alertd.console.words import modules
from tests.acceptance.conftest import CHANNELS, Served
from tests.acceptance.photo_calls import hand_in
from tests.browser.alert_pages import submitted
from tests.browser.desks import STATIC, desk
from tests.browser.layout import SLOWLY, TOO_WIDE, check_in_both_lights
from tests.browser.sign_in import come
from tests.pictures import drawn, written
from tests.sampling import sampled
from tests.unit.alertd.samples import GENERAL
from tests.waiting import until

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

BOW_TIE = {"type": "Polygon", "coordinates": [[[-6.0, 37.3], [-5.9, 37.4], [-5.9, 37.3], [-6.0, 37.4], [-6.0, 37.3]]]}
NOBODY = [
    {
        "days": [("mon", "tue", "wed", "thu", "fri", "sat", "sun")[(datetime.now(UTC).weekday() + 3) % 7]],
        "from": "10:00",
        "to": "11:00",
    }
]


async def test_what_is_approved_and_waits_for_its_hour_says_so(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Now and the alert say that nobody is told before, and until when; it does not stand among what goes out."""
    starts = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    alert_id = submitted(served, alert, ana, starts=starts)
    async with desk(plain, served.url) as window:
        page = window.page
        await window.sign_in(bea)
        await expect(page.locator(".alert-card")).to_contain_text("After approval it waits until")
        assert served.call("POST", f"/v1/alerts/{alert_id}/approve", {}, bea)[0] == 200
        due = page.locator(".part", has_text="Scheduled")
        await expect(due).to_contain_text("Approved. No one is notified before")
        await expect(page.locator(".live-card")).to_have_count(0)
        await expect(page.get_by_text("No alert is going out.")).to_be_visible()
        await check_in_both_lights(window)
        await due.get_by_role("link", name="Open").click()
        await expect(page.locator(".is-due")).to_contain_text("Approved. No one is notified before")
        await expect(page.locator(".is-due")).to_contain_text("It then starts by itself")
        await check_in_both_lights(window)
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate(TOO_WIDE) == 0


async def test_what_goes_by_one_channel_is_not_said_to_go_to_everybody(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Of people who have other addresses alone, whoever approves reads that they are not told; by all channels it goes to all."""
    by_sms = submitted(served, alert, ana, external_id="by-sms", channels=["sms"])
    by_all = submitted(served, alert, ana, external_id="by-all", channels=list(CHANNELS))
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        sentence = window.page.locator(".sentence")
        await window.page.goto(f"{served.url}/console#/alerts/{by_sms}")
        await expect(sentence).to_contain_text("go only to those of")
        await window.page.goto(f"{served.url}/console#/alerts/{by_all}")
        await expect(sentence).not_to_contain_text("only to those")
        await expect(sentence).to_contain_text("e-mails go to")
    for one in (by_sms, by_all):
        assert served.call("POST", f"/v1/alerts/{one}/reject", {"reason": "It was a test"}, bea)[0] == 200


async def test_an_approver_sees_that_the_case_has_another_alert(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Before the button, also where the other one came while they read. Once that is rejected nothing is said of it."""
    case = {**alert["case"], "number": "SE-TWICE"}
    first = submitted(served, alert, ana, external_id=None, case=case)
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{served.url}/console#/alerts/{first}")
        await expect(window.page.locator(".decide").get_by_role("button", name="Approve")).to_be_visible()
        await expect(window.page.locator(".similar")).to_have_count(0)
        second = submitted(served, alert, ana, external_id=None, case=case)
        note = window.page.locator(".decide .similar")
        await expect(note).to_contain_text("The case has another alert.")
        await expect(note.get_by_role("link")).to_have_attribute("href", f"#/alerts/{second}")
        await window.check_readable()
        assert served.call("POST", f"/v1/alerts/{second}/reject", {"reason": "Twice"}, bea)[0] == 200
        await expect(note).to_have_count(0)
    assert served.call("POST", f"/v1/alerts/{first}/reject", {"reason": "It was a test"}, bea)[0] == 200


async def test_a_test_that_had_nobody_to_notify_is_not_said_to_be_sent(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """Whoever sent it reads that no tester was there, and what to do."""
    at_sea = {"circles": [{"center": [-9.5, 43.5], "radius_km": 5}]}
    alert_id = submitted(served, alert, ana, external_id="nobody", status="Test", target=at_sea)
    served.wait_for(lambda: served.progress(alert_id)["nobody"])
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await window.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        await expect(window.page.locator(".verdict")).to_contain_text("No one to notify:")
        await expect(window.page.locator(".verdict")).to_contain_text("Register a subscriber there as a tester.")


async def test_a_photo_that_does_not_come_is_not_an_alert_without_one(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Over a bad line whoever approves reads that there is a photo that they have not seen; it is asked for again until it is there."""
    status, photo = hand_in(served, written(drawn(900, 1200)))
    assert status == 201, photo
    [child] = alert["case"]["children"]
    case = {**alert["case"], "children": [{**child, "photos": [{"media": photo["id"]}]}]}
    alert_id = submitted(served, alert, ana, external_id="photo", case=case)
    async with desk(plain, served.url, 503, 410) as window:
        await window.sign_in(bea)
        await window.page.route("**/m/*", lambda route: route.fulfill(status=503, json={"status": 503}))
        await window.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        face = window.page.locator(".alert-head .face")
        await expect(face).to_have_text("The photo did not load.")
        await window.check_readable()
        await window.page.unroute("**/m/*")
        await expect(face).to_have_text("Show photo")
        await window.page.route("**/m/*", lambda route: route.fulfill(status=410, json={"status": 410}))
        await window.page.reload()
        await expect(face).to_have_text("The photo was withdrawn.")
    assert served.call("POST", f"/v1/alerts/{alert_id}/reject", {"reason": "It was a test"}, bea)[0] == 200


async def test_an_end_says_by_which_clock_it_is_typed(served: Served, plain: Browser, ana: str):
    """For a child on the Canary Islands whoever writes in Madrid types an hour of Madrid; where both clocks say the same nothing is said."""
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await window.page.goto(f"{served.url}/console#/new")
        ends = window.page.locator(".field", has=window.page.get_by_label("It ends", exact=True))
        for zone, hints in (("Europe/Paris", 0), ("Atlantic/Canary", 1)):
            await window.press("1 The case")
            await window.fill("Time zone", zone)
            await window.press("3 Check and submit")
            await expect(ends.locator(".hint")).to_have_count(hints)
        await expect(ends).to_contain_text("This time is in the time zone Europe/Madrid")
        await expect(window.page.locator(".send-step")).to_contain_text("Leave it empty to send on approval.")
        await expect(window.page.locator(".send-step")).not_to_contain_text("It then starts by itself")


@pytest.mark.parametrize(("zone", "hints"), [("Europe/Paris", 0), ("Atlantic/Canary", 1)])
async def test_whoever_approves_is_told_by_which_clock_it_ends(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any], zone: str, hints: int
):
    """As its author was: the second person in Madrid reads an hour of Madrid, whatever the clocks say where the child was seen."""
    case = {**alert["case"], "last_seen": {**alert["case"]["last_seen"], "time_zone": zone}}
    alert_id = submitted(served, alert, ana, external_id=f"clock-{hints}", case=case)
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        await expect(window.page.locator(".sentence")).to_contain_text("until")
        hint = window.page.locator(".alert-head .hint")
        await expect(hint).to_have_count(hints)
        if hints:
            await expect(hint).to_contain_text("This time is in the time zone Europe/Madrid")
            await check_in_both_lights(window)
    assert served.call("POST", f"/v1/alerts/{alert_id}/reject", {"reason": "It was a test"}, bea)[0] == 200


async def test_why_some_were_not_reached_is_not_said_of_fewer_than_there_are(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Counted while more fail, the reasons are of fewer than stand above them: whoever looks is offered to have them counted anew."""
    served.control("push", {"rules": [{"prefix": "", "do": "bad-request"}]})
    policy = {**alert.get("policy", {}), "pace_per_min": 60}
    alert_id = submitted(served, alert, ana, external_id="failing", channels=["push"], policy=policy)
    assert served.call("POST", f"/v1/alerts/{alert_id}/approve", {}, bea)[0] == 200
    async with desk(plain, served.url) as window:
        await window.sign_in(served.key)
        await window.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        await window.press("Why?")
        await window.page.locator(".reasons li").first.wait_for()
        await expect(window.page.get_by_role("button", name="Why?")).to_be_visible()
    served.control("push", {"rules": []})
    assert served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found, well"}, ana)[0] == 200


async def test_a_water_cut_has_nothing_of_a_child_to_be_verified(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Whoever approves a general alert sees no empty answers to questions that nobody asked."""
    general = {**GENERAL, "status": "Actual", "expires": alert["expires"], "target": {"regions": ["41091"]}}
    status, taken = served.call("POST", "/v1/alerts", general, ana)
    assert status == 202, taken
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{served.url}/console#/alerts/{taken['id']}")
        await window.page.get_by_text("What exactly will happen").wait_for()
        await expect(window.page.locator(".verified")).to_have_count(0)
        assert "empty" not in await window.page.locator("main").inner_text()


async def test_two_alerts_of_one_name_can_be_told_apart(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Each says of which case it is, when it was made and how its id ends; one that has no twin does not."""
    ids = [submitted(served, alert, ana, external_id=f"twin-{i}", status="Exercise") for i in (1, 2)]
    child = {**alert["case"]["children"][0], "name": {"public": "Otra"}}
    alone = submitted(
        served, alert, ana, external_id="alone", status="Exercise", case={**alert["case"], "children": [child]}
    )
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        for one in ids:
            card = window.page.locator(".card, .line", has=window.page.locator(f"a[href='#/alerts/{one}']"))
            await expect(card.locator(".apart code")).to_have_text(f"…{one[21:]}")
        other = window.page.locator(".card, .line", has=window.page.locator(f"a[href='#/alerts/{alone}']"))
        await expect(other).to_have_count(1)
        await expect(other.locator(".apart")).to_have_count(0)
        await check_in_both_lights(window)


async def test_what_an_updated_alert_did_not_send_was_left_to_the_next_version(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """It is not lost: how many there are is said, with the way to the version that tells them."""
    alert_id = submitted(served, alert, ana, policy={**alert.get("policy", {}), "pace_per_min": 1})
    assert served.call("POST", f"/v1/alerts/{alert_id}/approve", {}, bea)[0] == 200
    served.wait_for(
        lambda: sum(one["accepted"] + one["delivered"] for one in served.progress(alert_id)["channels"].values()) > 0
    )
    said = served.call("GET", f"/v1/alerts/{alert_id}")[1]["alert"]
    later = {**said, "author": {**said["author"], "subject": None}, "notify": "full"}
    status, update = served.call("POST", f"/v1/alerts/{alert_id}/updates", later, ana)
    assert status == 202, update
    assert served.call("POST", f"/v1/alerts/{update['id']}/approve", {}, bea)[0] == 200
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        left = window.page.locator(".left-to")
        await expect(left).to_contain_text("in place of this one")
        await expect(window.page.locator(".verdict")).to_have_text("The next version notifies the rest.")
        await window.check_readable()
        await left.get_by_role("link").click()
        await expect(window.page.locator(".page")).to_contain_text("This version belongs to an alert")
        assert served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found, well"}, ana)[0] == 200
        await window.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        await expect(window.page.locator(".alert-head .state")).to_have_text("Closed")
        await expect(window.page.locator(".verdict")).to_have_text("The next version notifies the rest.")


async def test_an_alert_that_ended_or_waits_is_not_said_to_be_told_or_sending(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Closed with most of it unsent, it did not hand over all; told to wait, it says so wherever it stands, and nowhere that it is sending."""
    policy = {**alert.get("policy", {}), "pace_per_min": 1}
    closed, paused = (submitted(served, alert, ana, external_id=name, policy=policy) for name in ("closed", "paused"))
    for one in (closed, paused):
        assert served.call("POST", f"/v1/alerts/{one}/approve", {}, bea)[0] == 200
        served.wait_for(lambda one=one: sum(each["accepted"] for each in served.progress(one)["channels"].values()) > 0)
    assert served.call("POST", f"/v1/alerts/{closed}/close", {"outcome": "Found, well"}, ana)[0] == 200
    assert served.call("POST", f"/v1/alerts/{paused}/pause", None, ana)[0] == 200
    async with desk(plain, served.url) as window:
        page = window.page
        await window.sign_in(bea)
        card = page.locator(".live-card", has=page.locator(f"a[href='#/alerts/{paused}']"))
        await expect(card).to_contain_text("Paused: alertd sends nothing more of it")
        await page.goto(f"{served.url}/console#/alerts")
        line = page.locator(".line", has=page.locator(f"a[href='#/alerts/{paused}']"))
        await expect(line.locator(".state")).to_have_text("Paused")
        await page.goto(f"{served.url}/console#/alerts/{paused}")
        await expect(page.locator(".verdict")).to_have_text("Paused")
        await expect(page.locator(".alert-head .state")).to_have_text("Paused")
        await page.goto(f"{served.url}/console#/alerts/{closed}")
        await expect(page.locator(".verdict")).to_contain_text("It ended before everyone was notified. Not sent: ")
        await window.check_readable()
    assert served.call("POST", f"/v1/alerts/{paused}/close", {"outcome": "Found, well"}, ana)[0] == 200


async def test_the_list_says_how_older_alerts_stand_now(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Whoever went back in a long list, and has it open, does not see an alert wait there that was decided meanwhile."""
    ids = [submitted(served, alert, ana, external_id=f"long-{i}") for i in range(51)]
    async with desk(plain, served.url) as window:
        await window.sign_in(bea)
        await window.page.goto(f"{served.url}/console#/alerts")
        await window.press("Older")
        line = window.page.locator(".line", has=window.page.locator(f"a[href='#/alerts/{ids[0]}']"))
        await expect(line.locator(".state")).to_have_text("Waiting for approval")
        assert served.call("POST", f"/v1/alerts/{ids[0]}/reject", {"reason": "It was a test"}, bea)[0] == 200
        await expect(line.locator(".state")).to_have_text("Rejected")
    for one in ids[1:]:
        assert served.call("POST", f"/v1/alerts/{one}/reject", {"reason": "It was a test"}, bea)[0] == 200


async def test_the_last_step_on_call_promises_no_next_one(served: Served, plain: Browser, ana: str):
    """Of a step without anybody at this hour the next is called at once; after the last there is none, and nothing says so."""
    desks = [
        {
            "people": [
                {"name": f"Desk {i}", "addresses": [{"channel": "sms", "number": "+34600000001"}], "hours": NOBODY}
            ]
        }
        for i in (1, 2)
    ]
    assert served.call("PUT", "/v1/oncall", {"time_zone": "UTC", "steps": desks})[0] == 200
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await window.page.goto(f"{served.url}/console#/oncall")
        steps = window.page.locator(".rota-step")
        await expect(steps.nth(0)).to_contain_text("alertd calls the next step at once")
        await expect(steps.nth(1)).to_contain_text("no step comes after this one")
        await expect(steps.nth(1)).not_to_contain_text("at once")
    assert served.call("PUT", "/v1/oncall", {"time_zone": "UTC", "steps": []})[0] == 200


async def test_who_may_not_read_regions_is_told_why_there_are_codes(served: Served, plain: Browser):
    """Codes stand in place of names, with the reason and whom to ask."""
    before = served.call("GET", "/v1/organisations/default")[1]["organisation"]
    ground = {**before, "jurisdiction": {"regions": ["ES-SE"], "polygons": []}}
    assert served.call("PUT", "/v1/organisations/default", ground)[0] in {200, 201}
    key = served.call("POST", "/v1/keys", {"subject": "carla@centre.example", "scopes": ["alerts:read"]})[1]["token"]
    async with desk(plain, served.url, 403) as window:
        await come(window, key)
        await expect(window.page.locator(".grounds")).to_contain_text("You may not see regions")
        await window.check_readable()
    assert served.call("PUT", "/v1/organisations/default", before)[0] == 200


async def test_what_is_mended_is_told_with_its_figures_in_the_reader_s_language(
    served: Served, plain: Browser, ana: str
):
    """Before and after, not as a program's sentence in English."""
    async with desk(plain, served.url) as window:
        page = window.page
        await page.add_init_script("localStorage.setItem('alertd.language', 'es')")
        words = json.loads(modules(STATIC / "words.json")["words.es.js"].partition("default ")[2].rpartition(";")[0])
        await page.goto(f"{served.url}/console")
        await page.get_by_label(words["your-key"]).fill(ana)
        await page.get_by_role("button", name=words["sign-in"]).click()
        await page.get_by_role("button", name=words["sign-out"]).wait_for()
        await page.goto(f"{served.url}/console#/new")
        await page.get_by_role("button", name="Continuar").click()
        paste = page.locator(".paste-form textarea")
        if not await paste.is_visible():
            await page.locator(".other-ways summary").click()
        await paste.fill(json.dumps(BOW_TIE))
        await page.locator(".paste-form button").click()
        note = page.locator("[data-mended=crossed]")
        await expect(note).to_contain_text("El contorno se cruzaba")
        await expect(note).to_contain_text("km²")
        await expect(note).not_to_contain_text("The outline")
        await window.check_readable()


async def test_a_refusal_says_what_one_does_about_it(served: Served, plain: Browser, ana: str, alert: dict[str, Any]):
    """In the words of the screen, not of a program: an alert that is another's to read, too, has a next step."""
    async with desk(plain, served.url, 404) as window:
        await window.sign_in(ana)
        await window.page.goto(f"{served.url}/console#/organisation/nobody")
        refused = window.page.locator(".refused")
        await expect(refused).to_contain_text("It may have been removed. Go back to the list.")
        await expect(refused).not_to_contain_text("Look at the id.")
        await window.check_readable()


@pytest.mark.parametrize(
    "language", sampled([("fr",), ("ar",), ("en",), ("es",)], lambda language: language in {"fr", "ar"})
)
async def test_the_head_takes_one_row(served: Served, plain: Browser, ana: str, language: str):
    """At the width of a common desk, with all the screens that an administrator has."""
    async with desk(plain, served.url, viewport={"width": 1360, "height": 860}) as window:
        page = window.page
        await window.sign_in(ana)
        await page.evaluate("language => localStorage.setItem('alertd.language', language)", language)
        await page.reload()
        await page.locator(".stop-all").wait_for()
        boxes = [await one.bounding_box() for one in await page.locator(".head > :not(.skip)").all()]
        middles = [box["y"] + box["height"] / 2 for box in boxes if box]
        assert len(middles) == 5
        assert max(middles) - min(middles) < 10, middles
        assert await page.evaluate(TOO_WIDE) == 0


async def test_a_count_that_may_grow_is_not_told_as_all(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """While an alert goes out more addresses may come: when all that are known have it, there is no percentage yet and the bar is not full; once
    nobody more comes, it is 100 %.
    """
    served.control("push", SLOWLY)
    alert_id = served.approved({**alert, "target": {"regions": ["41091"]}})
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await expect(window.page.locator(".live-card .figure")).to_contain_text("of at least")
        await window.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        row = window.page.locator(".told [data-channel=sms]")
        await expect(row.locator(".channel-share")).to_have_text("")
        await expect(row).to_contain_text("of at least")
        await expect(window.page.locator(".told-words")).to_contain_text("of at least")
        filled = "row => row.querySelector('.bar').clientWidth - [...row.querySelectorAll('.bar i')].reduce((n, one) => n + one.getBoundingClientRect().width, 0)"
        assert await row.evaluate(filled) > 0.5
        await window.check_readable("rtl")
        served.control("push", {"rules": []})
        await expect(row.locator(".channel-share")).to_have_text("100 %")
        await expect(window.page.locator(".told")).not_to_contain_text("at least")
        await until(lambda: row.evaluate(f"row => ({filled})(row) < 0.5"))  # it grows as one looks


async def test_a_channel_that_takes_no_time_says_so(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Nought seconds are known: beside a channel that says nothing nobody could say how long it takes, and of nobody nothing is said."""
    alert_id = submitted(served, alert, ana)

    async def known(route: Route) -> None:
        answer = await route.fetch()
        told = await answer.json()
        told["audience"]["addresses"] |= {"push": 800, "webpush": 300, "sms": 0, "mail": 100}
        told["eta"] = {"push": 3.0, "webpush": 0.0, "sms": 0.0}
        await route.fulfill(response=answer, json=told)

    async with desk(plain, served.url) as window:
        page = window.page
        await window.sign_in(bea)
        await page.route("**/v1/targets/preview", known)
        await page.goto(f"{served.url}/console#/alerts/{alert_id}")
        says = page.locator(".reach-channels li .muted")
        await expect(says).to_have_text(["in about 3 seconds", "at once", "", ""])
    assert served.call("POST", f"/v1/alerts/{alert_id}/reject", {"reason": "It was a test"}, bea)[0] == 200
