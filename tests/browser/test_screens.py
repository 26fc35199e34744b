"""Every screen of the console, in light and in dark: readable by all, and on one sheet for the eye.

The sheets of the README: .venv/bin/python -m pytest tests/browser/test_screens.py --pictures ops/screenshots
(with fonts for all scripts, and in few colours: apt-get install fonts-noto-core fonts-noto-cjk pngquant).
"""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from playwright.async_api import Browser

from tests.acceptance.conftest import Served
from tests.browser.desks import Desk, desk
from tests.browser.layout import SCHEMES, Scheme
from tests.pictures import written

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

SIZE = (1360, 860)
#: Of each picture on its sheet, so many in a row.
SHOWN, IN_A_ROW, GAP = (680, 430), 2, 10
#: Once what fades or moves has come to its end; what turns for ever has none.
STILL = """() => Promise.all(document.getAnimations().filter(one => one.effect.getComputedTiming().endTime < Infinity)
    .map(one => one.finished.catch(() => {})))"""
LOOKS = 12  # until a screen is at rest; one that never is, is taken as it moves
SCREENS = 31
MARIA = {
    "languages": ["es", "en"], "kinds": ["missing-child"], "places": {"home": {"point": [-5.9845, 37.3891]}, "school": {"region": "41091"}},
    "addresses": [{"channel": "sms", "number": "+34612345678"}, {"channel": "mail", "mailbox": "maria@mail.example"}],
    "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "web form"},
}  # fmt: skip
CENTRE = {
    "name": "Centro de Sevilla", "cap_sender": "alerts@centre.example", "languages": ["es"], "jurisdiction": {"regions": ["ES-SE"]},
    "unattended": {"levels": ["information"], "people": 2000, "alerts_per_hour": 4},
}  # fmt: skip

ON_CALL = {
    "time_zone": "Europe/Madrid",
    "steps": [
        {"people": [
            {"name": "Sala de guardia", "addresses": [{"channel": "sms", "number": "+34600000001"}, {"channel": "mail", "mailbox": "guardia@centre.example"}]},
            {"name": "Bea Ruiz", "subject": "bea@centre.example", "addresses": [{"channel": "push", "token": "phone-of-bea"}],
             "hours": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "20:00", "to": "08:00"}]},
        ]},
        {"people": [{"name": "Rosa Otero", "addresses": [{"channel": "sms", "number": "+34600000003"}]}]},
    ],
}  # fmt: skip


class Sheets:
    """The pictures of each theme, and a few large enough to be read, in the first; where nobody keeps any, none is taken."""

    def __init__(self, folder: Path | None, *, is_thorough: bool = True) -> None:
        self.folder, self.is_thorough = folder, is_thorough
        self.taken = 0
        self.pictures: dict[Scheme, list[Image.Image]] = {scheme: [] for scheme in SCHEMES}
        self.large: dict[str, Image.Image] = {}

    async def take(self, window: Desk, large: str = "") -> None:
        """In each light, once it is at rest, and sure that everybody can read it; in one of them from right to left as well. `large`:
        the name under which it is kept as it is, too. What is not thorough takes turns with the three.
        """
        self.taken += 1
        turn = self.taken % (len(SCHEMES) + 1)
        for scheme in SCHEMES if self.is_thorough else SCHEMES[turn : turn + 1]:
            await window.page.emulate_media(color_scheme=scheme)
            await window.page.evaluate(STILL)
            if self.folder:
                self._keep(await _at_rest(window), scheme, large)
            await window.check_readable()
        await window.page.emulate_media(color_scheme=SCHEMES[0])
        if self.is_thorough or turn == len(SCHEMES):
            await window.check_readable("rtl")

    def _keep(self, picture: Image.Image, scheme: Scheme, large: str) -> None:
        if large and scheme == SCHEMES[0]:
            self.large[large] = picture
        self.pictures[scheme].append(picture.resize(SHOWN, Image.Resampling.LANCZOS))

    def write(self) -> None:
        if not self.folder:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for scheme, pictures in self.pictures.items():
            self._write(pictures, self.folder / f"console-{scheme}.png")
        for name, picture in self.large.items():
            picture.save(to := self.folder / f"console-{name}.png")
            _small(to)

    def _write(self, pictures: list[Image.Image], to: Path) -> None:
        rows = -(-len(pictures) // IN_A_ROW)
        sheet = Image.new("RGB", (IN_A_ROW * (SHOWN[0] + GAP) + GAP, rows * (SHOWN[1] + GAP) + GAP), (128, 128, 128))
        for i, picture in enumerate(pictures):
            sheet.paste(picture, (GAP + i % IN_A_ROW * (SHOWN[0] + GAP), GAP + i // IN_A_ROW * (SHOWN[1] + GAP)))
        sheet.save(to)
        _small(to)


#: The curve is asked for less often than the numbers.
CURVE_IS_AS_FAR = """() => {
  const counted = (selector) => [...document.querySelectorAll(selector)].reduce((n, one) => n + Number(one.textContent.replace(/\\D/g, '')), 0)
  return counted('.channel b') === counted('.legend li:first-child b')
}"""


def check_fonts() -> None:
    """Raises AssertionError where a picture would show boxes for letters: each language is called by its own name."""
    for tag in ("hi", "zh-cn", "ar", "uk"):
        found = subprocess.run(["fc-list", f":lang={tag}"], capture_output=True, check=True).stdout
        assert found, f"no font has {tag}: apt-get install fonts-noto-core fonts-noto-cjk"


def _small(picture: Path) -> None:
    """In few colours, where there is a program for it."""
    if shutil.which("pngquant"):
        subprocess.run(
            ["pngquant", "--force", "--strip", "--ext", ".png", "--quality", "60-90", "128", picture], check=True
        )


async def _at_rest(window: Desk) -> Image.Image:
    last = b""
    for _ in range(LOOKS):
        seen = await window.page.screenshot()
        if seen == last:
            break
        last = seen
        await window.page.wait_for_timeout(250)
    return Image.open(io.BytesIO(last)).convert("RGB")


def portrait() -> Image.Image:
    """Nobody's face."""
    picture = Image.new("RGB", (900, 1200), (206, 217, 222))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((120, 780, 780, 1700), fill=(170, 64, 56))
    draw.ellipse((255, 210, 645, 760), fill=(92, 62, 44))
    draw.ellipse((300, 320, 600, 730), fill=(226, 189, 160))
    return picture


async def author(window: Desk, way_in: str, key: str, case: str, sheet: Sheets) -> None:
    page = window.page
    await page.goto(way_in)
    await page.get_by_role("button", name="Make my passkey").wait_for()
    await sheet.take(window)
    await page.goto(f"{window.url}/console")
    await page.get_by_label("Your API key").wait_for()
    await sheet.take(window)
    await window.sign_in(key)
    await page.get_by_role("link", name="New alert").click()
    await page.locator(".option.of-Exercise").click()
    await sheet.take(window)
    await page.locator(".option.of-Actual").click()
    await window.fill_case(case)
    await page.locator(".phone-title").wait_for()
    await page.get_by_role("heading", name="The child", exact=True).scroll_into_view_if_needed()
    await sheet.take(window)
    photo: Any = {"name": "lucia.jpg", "mimeType": "image/jpeg", "buffer": written(portrait())}
    await page.locator("input[type=file]").set_input_files(photo)
    await page.locator(".photo-facts").scroll_into_view_if_needed()
    await sheet.take(window, "case")
    await page.locator(".photo-facts").get_by_role("button", name="Remove").click()
    await window.press("Continue")
    await page.locator(".map[data-ready=true]").wait_for()
    await window.choose_region("Sevilla", "41091")
    await page.get_by_text("By coordinates or file").click()
    for place, radius, pressed in (
        ("-5.8676, 37.4180", "2", "Cut out: Circle"),
        ("-5.9756, 37.3919", "3", "Separate ring: Circle"),
    ):
        await window.fill("Longitude, latitude", place)
        await window.fill("Radius, km", radius)
        await page.locator(".circle-form").get_by_role("button", name="Add").click()
        await page.get_by_role("button", name=pressed).last.click()
    await page.get_by_text("By coordinates or file").click()
    await window.press("A wider ring around it")
    await window.people()
    await sheet.take(window, "rings")
    await window.press("Continue")
    await page.locator(".in-language").first.wait_for()
    await sheet.take(window)
    await window.press("Submit for approval")
    await page.get_by_text("another person must approve it").wait_for()


async def approver(window: Desk, key: str, sheet: Sheets) -> None:
    await window.sign_in(key)
    await window.page.get_by_role("link", name="Review").wait_for()
    await sheet.take(window)
    await window.page.get_by_role("link", name="Review").click()
    await window.page.locator(".button.send").wait_for()
    await sheet.take(window, "approve")
    await window.press("Approve and send")
    await window.page.locator(".channel").first.wait_for()
    await window.page.locator(".shares li").first.wait_for()
    await window.page.locator(".plot .handed").wait_for()  # it is counted
    await window.page.wait_for_function(CURVE_IS_AS_FAR)
    await sheet.take(window, "alert")
    await window.page.locator(".course").evaluate("one => one.scrollIntoView()")
    await sheet.take(window)
    await window.press("Show the report")
    await window.page.locator(".report .shares li").first.wait_for()
    await window.page.locator(".keep").evaluate("one => one.scrollIntoView()")
    await sheet.take(window, "report")
    await window.press("Put a hold on the case")
    await window.fill("Reason (stays with the case)", "Juzgado de Instrucción n.º 3, 117/2026")
    await window.press("Set the hold")
    await window.page.locator(".hold-note").wait_for()
    await window.page.evaluate("scrollTo(0, 0)")
    await sheet.take(window)
    await window.press("Stand down")
    await window.page.locator(".order-texts .phone-title").wait_for()
    await window.page.locator(".order").evaluate("one => one.scrollIntoView({ block: 'center' })")
    await sheet.take(window)
    await window.page.get_by_role("link", name="Now", exact=True).click()
    await window.page.locator(".live-card").first.wait_for()
    going = Sheets(sheet.folder, is_thorough=sheet.is_thorough)  # what goes out is on no sheet
    await going.take(window, "now")
    sheet.large |= going.large
    await window.page.get_by_role("link", name="All alerts").click()
    await window.page.locator(".line").first.wait_for()
    await sheet.take(window)


async def keeper(window: Desk, key: str, sheet: Sheets) -> None:
    page = window.page
    await window.sign_in(key)
    await page.get_by_role("link", name="Regions").click()
    await page.locator(".map[data-ready=true]").wait_for()
    await page.get_by_label("Region, city or code").fill("Seville")
    await page.locator(".found button", has_text="province").click()
    await page.locator(".facts").wait_for()
    await sheet.take(window)
    await window.press("Import a region library")
    await page.locator(".import").wait_for()
    await sheet.take(window, "import")
    await page.get_by_role("link", name="Subscribers").click()
    await window.fill("Id", "maria")
    await window.press("Find")
    await page.locator(".person").wait_for()
    await window.choose_region("Sevilla", "41091")
    await window.people()
    await sheet.take(window)
    for name, there in (
        ("Carriers", ".carrier"),
        ("Organisation", ".grounds li"),
        ("People", ".person-line"),
        ("Keys", ".key-line"),
        ("Audit", ".audit tbody tr"),
    ):
        await page.get_by_role("link", name=name).click()
        await page.locator(there).first.wait_for()
        if name == "Organisation":
            await page.locator(".ground canvas").wait_for()
            await sheet.take(window, "organisation")
            await window.press("Change")
            await page.locator(".map[data-ready=true]").wait_for()
            await page.locator(".org-jurisdiction").evaluate("one => one.scrollIntoView({ block: 'end' })")
            await sheet.take(window)
            await page.get_by_role("link", name="Organisation", exact=True).click()
            await window.press("Back")
            await page.locator(".distribution").evaluate("one => one.scrollIntoView({ block: 'end' })")
            await sheet.take(window, "distributors")
            await window.press("Make an organisation")
            await window.fill("Name of the organisation", "Policía de Cádiz")
            await page.locator(".map[data-ready=true]").wait_for()
            await sheet.take(window, "new-organisation")
            await window.press("Back")
            await page.get_by_role("link", name="Who is on call").click()
            await page.locator(".rota-step").first.wait_for()
            await sheet.take(window)
            await window.press("Change")
        if name == "People":
            await page.get_by_role("button", name="Change: Ana García").click()
        if name == "Keys":
            await window.press("Make a key")
        if name == "Audit":
            await window.press("Verify")
            await page.get_by_text("entries are unchanged").wait_for()
        await sheet.take(window)
        if name == "Carriers":
            await page.get_by_role("button", name="Test it").first.click()
            await page.locator(".test-send").wait_for()
            await sheet.take(window, "carrier-test")


async def neighbour(window: Desk, key: str, asked: str, sheet: Sheets) -> None:
    await window.sign_in(key)
    await window.page.goto(f"{window.url}/console#/permissions/{asked}")
    await window.page.locator(".phone-title").first.wait_for()
    await window.page.locator(".ground canvas").wait_for()
    await sheet.take(window, "permission")


def asking(served: Served, alert: dict[str, Any], ana: str, bea: str) -> tuple[str, str]:
    """An alert that reaches into a neighbour's jurisdiction, and a key of the neighbour's."""
    cadiz = {"name": "Policía de Cádiz", "jurisdiction": {"regions": ["ES-CA"]}}
    assert served.call("PUT", "/v1/organisations/cadiz", cadiz)[0] in {200, 201}
    order = {"subject": "eva@cadiz.example", "organisation": "cadiz", "scopes": ["admin"]}
    key = served.call("POST", "/v1/keys", order)[1]["token"]
    target = {"regions": ["ES-SE", "ES-CA"], "beyond": "ask"}
    status, taken = served.call("POST", "/v1/alerts", {**alert, "target": target, "channels": ["push"]}, ana)
    assert status == 202, taken
    assert served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, bea)[0] == 200
    return str(taken["id"]), str(key)


async def reader(window: Desk, key: str, sheet: Sheets) -> None:
    await window.speak_arabic()
    await window.sign_in(key)
    await window.page.locator(".lines a, .live-card h3 a").first.click()
    await window.page.locator(".times li").first.wait_for()
    await sheet.take(window, "arabic")


@pytest.mark.timeout(600)  # 50 looks at a screen, each from both sides
async def test_every_screen_can_be_read_by_all(
    served: Served,
    browser: Browser,
    ana: str,
    bea: str,
    alert: dict[str, Any],
    pictures: Path | None,
    is_long: bool,
):
    """No screen has anything that axe-core calls serious or critical, in either light or from either side; the sheets show them all. The short
    run looks at each screen in one of the three ways.
    """
    assert served.call("PUT", "/v1/subscribers/maria", MARIA)[0] in {200, 201}
    assert served.call("PUT", "/v1/organisations/default", CENTRE)[0] in {200, 201}
    assert served.call("PUT", "/v1/oncall", ON_CALL)[0] == 200
    if pictures:
        check_fonts()
    sheet = Sheets(pictures, is_thorough=is_long or pictures is not None)
    window: dict[str, Any] = {"color_scheme": SCHEMES[0], "viewport": {"width": SIZE[0], "height": SIZE[1]}}
    people = (("ana", "Ana García", "author"), ("bea", "Bea Ruiz", "approver"), ("rosa", "Rosa Otero", "administrator"))
    for one in served.call("GET", "/v1/operators")[1]["operators"][1:]:  # of an earlier run
        served.call("DELETE", f"/v1/operators/{one['id']}")
    for one, name, role in people:
        order = {"subject": f"{one}@centre.example", "name": name, "roles": [role]}
        status, invited = served.call("POST", "/v1/operators", order)
        assert status == 201, invited
    async with desk(browser, served.url.replace("127.0.0.1", "localhost"), **window) as first:
        await author(first, invited["url"], ana, "SE-2026-1", sheet)
    async with desk(browser, served.url, **window) as second:
        await approver(second, bea, sheet)
    radio = {
        "name": "Radio Sevilla",
        "url": "https://cap.radio.example/alerts",
        "languages": ["es"],
        "levels": ["child-alert"],
    }
    assert served.call("POST", "/v1/distributors", radio)[0] == 201
    async with desk(browser, served.url, **window) as third:
        await keeper(third, ana, sheet)
    asked, eva = asking(served, alert, ana, bea)
    async with desk(browser, served.url, **window) as other:
        await neighbour(other, eva, asked, sheet)
    async with desk(browser, served.url, **window) as fourth:
        await reader(fourth, bea, sheet)
    assert sheet.taken == SCREENS
    await asyncio.to_thread(sheet.write)
