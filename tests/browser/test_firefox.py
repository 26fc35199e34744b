"""What people see, in Firefox: sign-up without JavaScript and by keyboard alone, the mails as Postfix took them, and the page of the alert."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from channels.sandbox import Sandbox
from tests.acceptance.configured import Configured, in_toml
from tests.browser.desks import AXE
from tests.browser.firefox import DOWN, ENTER, SPACE, TAB, Firefox, firefox
from tests.contract.postfix_server import bounces, directory, postfix
from tests.threads import in_a_thread
from tests.waiting import until

__all__ = ["bounces", "directory", "postfix"]

pytestmark = pytest.mark.peer

PERSON = "ana@people.example"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Its authority signed Postfix's certificate."""
    (tmp_path / "carriers").mkdir()
    with in_a_thread(Sandbox(tmp_path / "carriers")) as running:
        yield running


@pytest.fixture
def served(tmp_path: Path, sandbox: Sandbox, postfix: int) -> Iterator[Configured]:
    """An installation whose only carrier is Postfix, and to which anybody may sign up."""
    relay = {
        "kind": "smtp", "host": "127.0.0.1", "port": postfix, "ca_file": str(sandbox.authority.ca_file),
        "sender": "alerts@centre.example",
    }  # fmt: skip
    tables: dict[str, dict[str, Any]] = {
        "store": {"directory": str(tmp_path / "data"), "reserve_mb": 1},
        "api": {"port": 0},
        "worker": {"processes": 1},
        "audience": {"least_people": 0},
        "public": {"sign_up": True},
        "carriers.relay": relay,
    }
    (tmp_path / "alertd.toml").write_text("".join(f"[{name}]\n{in_toml(table)}" for name, table in tables.items()))
    made = Configured(tmp_path, 0)
    made.start()
    yield made
    assert made.stop() == 0


@pytest.fixture
def mail_with(directory: Path) -> Callable[[str], Any]:
    """Waits for a mail in the person's mailbox whose text has a link like this, and answers the link."""

    async def wait(pattern: str) -> str:
        found: list[str] = []

        def is_there() -> bool:
            for file in (directory / "boxes/ana/new").glob("*"):
                mail = email.message_from_bytes(file.read_bytes(), EmailMessage, policy=email.policy.default)
                part = mail.get_body(("plain",))
                found.extend(re.findall(pattern, part.get_content() if part else ""))
            return bool(found)

        await until(is_there)
        return found[0]

    return wait


def with_page(alert: dict[str, Any]) -> dict[str, Any]:
    """By mail, with a page for everybody."""
    return {**alert, "channels": ["mail"], "publish": {**alert.get("publish", {}), "page": True}}


async def go_to(browser: Firefox, css: str) -> None:
    """Press Tab until this has the focus. Raises AssertionError if the keyboard does not reach it."""
    for _ in range(40):
        if await browser.nodes(f"{css}:focus"):
            return
        await browser.press(TAB)
    raise AssertionError(f"the keyboard does not reach {css}")


async def test_a_stranger_signs_up_by_keyboard_and_the_next_alert_opens_its_page(
    served: Configured, mail_with: Callable[[str], Any], alert: dict[str, Any]
):
    """Without JavaScript: the form, the link of the mail that confirms, the alert in the mailbox, and the page behind its link."""
    async with firefox(scripts=False) as browser:
        await browser.open(f"{served.url}/subscribe")
        await go_to(browser, "[name=place]")
        await browser.press(*"Santiago")
        await go_to(browser, "[name=mailbox]")
        await browser.press(*PERSON)
        await go_to(browser, "[name=consent]")
        await browser.press(SPACE)
        await asyncio.sleep(2)  # who sends the form sooner is taken for a program
        await go_to(browser, "button")
        await browser.press(ENTER)
        await browser.shows("h1", "Which place do you mean?")
        await go_to(browser, "[name=region]")
        await browser.press(DOWN, ENTER)
        await browser.shows("h1", "Check your email")
        await browser.open(await mail_with(r"http\S+/subscribe/confirm/[\w-]+"))
        await go_to(browser, "main button")
        await browser.press(ENTER)
        await browser.shows("h1", "signed up")
        status, person = served.call("POST", "/v1/subscribers/lookup", {"channel": "mail", "value": PERSON})
        assert status == 200
        [place] = person["registration"]["places"].values()
        served.approved({**with_page(alert), "target": {"regions": [place["region"]]}})
        await browser.open(await mail_with(r"http\S+/a/\w+"))
        await browser.shows("h1, h2", "Lucía")


@pytest.mark.parametrize("language", ["en", "ar"])
async def test_axe_finds_nothing_on_the_public_pages(served: Configured, alert: dict[str, Any], language: str):
    """In Firefox too, at 320 px: sign-up, the alert's page, its poster, the list, the check of a text, and privacy."""
    alert_id = served.approved(with_page(alert))
    page = served.call("GET", f"/v1/alerts/{alert_id}")[1]["page"].removeprefix(served.url)
    async with firefox(scripts=True) as browser:
        await browser.size(320, 700)
        for path in ("/subscribe", page, "/alerts", "/verify", "/privacy"):
            await browser.open(f"{served.url}{path}?lang={language}")
            assert await browser.evaluate("document.documentElement.scrollWidth") <= 320, path
            found = await browser.evaluate(
                f"(() => {{ {AXE.read_text()}; return axe.run() }})().then(r => r.violations)"
            )
            assert not found, (path, found)
