"""Takes the pictures of the console: two people, one alert, in light and in dark, one sheet each in `ops/screenshots`.

Needs Chromium, pngquant and the test extra: .venv/bin/python ops/console_pictures.py
"""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.acceptance.conftest import Served  # noqa: E402  beside this script
from tests.browser.desks import Desk, desk, launched  # noqa: E402

SIZE = (1360, 860)
#: Of each picture on its sheet.
SHOWN = (816, 516)
GAP = 12
PEOPLE = 20_000


class Sheet:
    """The pictures of one theme, two in a row."""

    def __init__(self) -> None:
        self.pictures: list[Image.Image] = []

    async def take(self, window: Desk) -> None:
        await window.page.wait_for_timeout(1_500)  # tiles and bars come to rest: for the eye alone
        picture = Image.open(io.BytesIO(await window.page.screenshot()))
        self.pictures.append(picture.convert("RGB").resize(SHOWN, Image.Resampling.LANCZOS))

    def write(self, to: Path) -> None:
        rows = (len(self.pictures) + 1) // 2
        size = (2 * SHOWN[0] + 3 * GAP, rows * (SHOWN[1] + GAP) + GAP)
        sheet = Image.new("RGB", size, (128, 128, 128))
        for i, picture in enumerate(self.pictures):
            sheet.paste(picture, (GAP + i % 2 * (SHOWN[0] + GAP), GAP + i // 2 * (SHOWN[1] + GAP)))
        sheet.save(to)
        subprocess.run(
            ["pngquant", "--force", "--strip", "--ext", ".png", "--quality", "60-90", "96", str(to)], check=True
        )


async def author(browser: Browser, served: Served, key: str, scheme: str, sheet: Sheet) -> None:
    async with desk(browser, served.url, color_scheme=scheme, viewport={"width": SIZE[0], "height": SIZE[1]}) as window:
        page = window.page
        await window.sign_in(key)
        await page.get_by_role("link", name="New alert").click()
        await window.fill_case("SE-2026-117")
        await page.locator(".phone-title").wait_for()
        await page.get_by_role("heading", name="The child").scroll_into_view_if_needed()
        await sheet.take(window)
        await window.press("Continue")
        await page.locator(".map[data-ready=true]").wait_for()
        await window.choose_region("Sevilla", "41091")
        await window.people()
        await page.wait_for_timeout(1_500)
        await page.get_by_role("toolbar").get_by_role("button", name="Take away").click()
        await window.press("Draw a circle")
        box = await page.locator(".map").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        await page.mouse.click(x - 70, y)
        await page.mouse.move(x + 10, y, steps=5)
        await page.mouse.click(x + 10, y)
        await window.people()
        await sheet.take(window)
        await window.press("Continue")
        await page.locator(".in-language").first.wait_for()
        await window.press("Submit for approval")
        await page.locator(".sentence").wait_for()


async def approver(browser: Browser, served: Served, key: str, scheme: str, sheet: Sheet) -> None:
    async with desk(browser, served.url, color_scheme=scheme, viewport={"width": SIZE[0], "height": SIZE[1]}) as window:
        await window.sign_in(key)
        await window.page.get_by_role("link", name="Review").wait_for()
        await sheet.take(window)
        await window.page.get_by_role("link", name="Review").click()
        await window.page.locator(".button.send").wait_for()
        await sheet.take(window)
        await window.press("Approve and send")
        await window.page.locator(".channel").first.wait_for()
        await sheet.take(window)


async def exercise(browser: Browser, served: Served, key: str, scheme: str, sheet: Sheet) -> None:
    async with desk(browser, served.url, color_scheme=scheme, viewport={"width": SIZE[0], "height": SIZE[1]}) as window:
        await window.sign_in(key)
        await window.page.get_by_role("link", name="New alert").click()
        await window.page.locator(".option.of-Exercise").click()
        await sheet.take(window)


async def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder, "data"), PEOPLE)
        await asyncio.to_thread(served.start)
        try:
            ana, bea = served.person("ana@centre.example"), served.person("bea@centre.example")
            async with launched() as browser:
                for scheme in ("light", "dark"):
                    sheet = Sheet()
                    await author(browser, served, ana, scheme, sheet)
                    await approver(browser, served, bea, scheme, sheet)
                    await exercise(browser, served, ana, scheme, sheet)
                    sheet.write(HERE / "screenshots" / f"console-{scheme}.png")
        finally:
            served.stop()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
