"""Operators at their browsers, and how one fills in a case."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from playwright.async_api import Browser, Page, async_playwright, expect

from alertd.console import STATIC
from alertd.console.tables import tables
from alertd.console.words import catalogue_of
from tests.acceptance.conftest import Served

#: Fetched by ops/test.
AXE = Path(__file__).parents[2] / ".cache/peers/node_modules/axe-core/axe.min.js"
#: What a screen reader calls the element that has the focus.
FOCUSED = """() => {
    const one = document.activeElement
    if (one.tabIndex < 0) return ''
    return [one.getAttribute('aria-label'), ...[...(one.labels || [])].map(each => each.textContent), one.textContent].join(' ')
}"""
#: What each word of the console is in Arabic, by the English one.
WORDS = catalogue_of(STATIC / "words.json").words
ARABIC = {row[0]: row[3] for row in reversed(WORDS.values())}
ARABIC |= {word: tables({}, ())["criterion"]["ar"][code] for code, word in tables({}, ())["criterion"]["en"].items()}
#: The last choice of language in this browser, before the console starts.
IN_ARABIC = "localStorage.setItem('alertd.language', 'ar')"
ZONE = "Europe/Madrid"
#: What would be refused is what a try is for.
DRY_RUN = "/v1/alerts?dry_run=true"
#: What WebGL needs, taken away, as on old desks.
WITHOUT_WEBGL = ("--disable-gpu", "--disable-software-rasterizer", "--disable-3d-apis")
#: By when a click is meant to be noticed, and what is expected to be there: this machine may have other things to do.
PATIENCE_MS = 60_000


def chromium(*, is_whole: bool = False) -> str:
    """The path of Chromium: the shell without windows, which starts in half the time, or the whole browser where a test needs what
    the shell lacks. Raises AssertionError, which says how to get it.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    if not is_whole:
        names = ("chromium-headless-shell", *names)
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, "These tests need Chromium: sudo apt-get install chromium (or leave them out: ./ops/test --fast)"
    return found


@asynccontextmanager
async def launched(*flags: str, is_whole: bool = False) -> AsyncIterator[Browser]:
    """A browser, with these flags; root may not use its sandbox."""
    expect.set_options(timeout=PATIENCE_MS)
    path = chromium(is_whole=is_whole)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *flags])
        try:
            yield browser
        finally:
            await browser.close()


class Desk:
    """One operator's window, and everything that went wrong in it."""

    def __init__(self, page: Page, url: str, refusals: tuple[int, ...] = ()) -> None:
        """Browsers say of every refused request that it was; those of `refusals` are what a test is about."""
        self.page, self.url = page, url
        self.wrong: list[str] = []
        self._words: dict[str, str] = {}
        self._expected = (DRY_RUN, *(f"status of {status}" for status in refusals))
        page.on(
            "console",
            lambda said: self._said(said.type, f"{said.text} ({said.location['url']}:{said.location['lineNumber']})"),
        )
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request.url))

    async def speak_arabic(self) -> None:
        """From now on it is read and written from right to left, and what tests call by its English name is found."""
        await self.page.add_init_script(IN_ARABIC)
        self._words = ARABIC

    def say(self, english: str) -> str:
        """A word of the console as it stands in this window."""
        return self._words[english] if self._words else english

    def expect(self, *complaints: str) -> None:
        """What browsers say of what a test does on purpose."""
        self._expected += complaints

    def _said(self, kind: str, text: str) -> None:
        if kind == "error" and not any(one in text for one in self._expected):
            self.wrong.append(f"console: {text}")

    def _asked(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.wrong.append(f"asked another host: {url}")

    async def sign_in(self, key: str) -> None:
        await self.page.goto(f"{self.url}/console")
        await self.page.get_by_label(self.say("Your API key")).fill(key)
        await self.page.get_by_role("button", name=self.say("Sign in")).click()
        await self.page.get_by_role("button", name=self.say("Sign out")).wait_for()

    async def check_readable(self, direction: str = "ltr") -> None:
        """Nothing that axe-core calls serious or critical stands in anybody's way on what is shown now."""
        turn = "direction => { const was = document.documentElement.dir; document.documentElement.dir = direction; return was }"
        was = await self.page.evaluate(turn, direction)
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = await self.page.evaluate(
            "axe.run({resultTypes: ['violations'], preload: false}).then(told => told.violations)"
        )
        found = [one for one in found if one["impact"] in {"serious", "critical"}]
        grave = [(one["id"], [node["target"] for node in one["nodes"]]) for one in found]
        assert not grave, grave
        await self.page.evaluate(turn, was)

    async def tab_to(self, name: str) -> None:
        """Presses Tab until what has this name has the focus, as somebody without a mouse does."""
        for _ in range(120):
            await self.page.keyboard.press("Tab")
            if name in await self.page.evaluate(FOCUSED):
                return
        raise AssertionError(f"Tab never comes to {name}")

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=self.say(name), exact=True).click()

    async def fill(self, label: str, text: str) -> None:
        await self.page.get_by_label(self.say(label), exact=True).fill(text)

    async def people(self) -> int | str:
        """The estimate of people on the panel, once it is of what is chosen now, as the API has it."""
        await self.page.locator(".reach:not(.is-counting) #people").wait_for()
        text = (await self.page.locator("#people").inner_text()).strip("\u2066\u2069")
        return text if text.startswith("<") else number(text)

    async def choose_region(self, name: str, code: str) -> None:
        await self.fill("Region, city or code", name)
        await self.page.locator(".found button", has_text=code).click()

    async def fill_case(self, case: str) -> None:
        """A case as an author knows it: verified, a child, a place in two languages, a number."""
        page = self.page
        await self.fill("Authority that verified it", "Policía Nacional")
        await self.fill("Its reference", "2026/4711")
        await page.get_by_label(self.say("A minor")).check()
        await page.get_by_label(self.say("At high risk")).check()
        await page.get_by_label(self.say("There is something people can look for")).check()
        await page.get_by_label(
            self.say("Custody was checked (the person who seeks the child may be the danger)")
        ).check()
        await page.get_by_label(self.say("No identity protection forbids publishing")).check()
        await self.fill("The risk of publishing was weighed by", "m.ruiz@centre.example")
        await self.fill("In the child’s best interests, decided by", "m.ruiz@centre.example")
        await self.fill("Name to publish", "Lucía P.")
        await self.fill("Age", "7")
        for fact, code in (("Sex", "female"), ("Hair", "brown"), ("Eyes", "green")):
            await page.get_by_label(self.say(fact), exact=True).select_option(code)
        await self.fill("Height, cm", "118")
        await self.fill("to", "125")
        await self.fill("Case number", case)
        seen = datetime.now(ZoneInfo(ZONE)) - timedelta(hours=3)
        await self.fill("When", seen.strftime("%Y-%m-%dT%H:%M"))
        await page.get_by_label(self.say("Add a language")).select_option("es")
        for language, place, clothing in (
            ("en", "Santa Justa station", "red coat"), ("es", "estación de Santa Justa", "abrigo rojo"),
        ):  # fmt: skip
            column = page.locator(".column", has=page.locator(f"[lang={language}]"))
            await column.get_by_label(self.say("Place")).fill(place)
            await column.get_by_label(self.say("Clothing")).fill(clothing)
        # Where a number works comes first, as does a page: a preview that is asked for in between refuses a number that works nowhere, or alone.
        await page.get_by_label("https://", exact=True).fill("https://centre.example/tell")
        await self.fill("Works in (ES, FR)", "ES")
        await self.fill("Number", "116000")


@asynccontextmanager
async def desk(browser: Browser, url: str, *refusals: int, **context: Any) -> AsyncIterator[Desk]:
    """A window that shares nothing with others. Fails at the end if anything went wrong in it."""
    opened = await browser.new_context(locale="en-GB", timezone_id=ZONE, **context)
    opened.set_default_timeout(PATIENCE_MS)
    window = Desk(await opened.new_page(), url, refusals)
    try:
        yield window
        assert window.wrong == [], window.wrong
    finally:
        await opened.close()


def number(text: str) -> int:
    """A count as it is shown."""
    return int(re.sub(r"\D", "", text))


def invited(served: Served, subject: str, name: str, *roles: str) -> dict[str, Any]:
    """Somebody who may sign in, with the one-time address."""
    status, made = served.call("POST", "/v1/operators", {"subject": subject, "name": name, "roles": roles})
    assert status == 201, made
    return made
