"""The link to the public page, in the messages of an alert that has one."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.common.resources import templates_dir
from alertd.rendering import Renderer
from alertd.service.messages.message_builder import rendered
from alertd.store.delivery.work_records import BatchKey
from channels.base import PushMessage
from tests.unit.alertd.rendering.usual import CHANNELS, USUAL, alert_of

SITE, PUBLIC_ID = "https://alerts.example.org", "K3V9Q2M7XA"
LINK = f"{SITE}/a/{PUBLIC_ID}"


def message(channel: str, site: str = SITE, **changes: Any) -> Any:
    alert = alert_of({**USUAL, "publish": {"page": True}, **changes})
    return rendered(
        alert, "01M882R9G938BE2P8KXNZ55750", BatchKey(channel=channel, language="es"), Renderer(templates_dir(), site),
        sent_ms=1_790_000_000_000, public_id=PUBLIC_ID,
    )  # fmt: skip


def told(message: Any) -> str:
    """Everything in a message that a program or a person can open."""
    if isinstance(message, PushMessage):
        return str(message.url or "") + message.title + message.body
    return str(message.text) + str(getattr(message, "html", ""))


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_message_has_the_link(channel: str):
    """A push has it beside its text, an SMS on its last line, a mail in both its parts. The hotline stays."""
    made = message(channel)
    assert LINK in told(made)
    assert "116000" in told(made)
    if channel == "sms":
        assert made.text.endswith(f"\n{LINK}")
    if channel == "mail":
        assert (LINK in made.text, f'href="{LINK}"' in made.html) == (True, True)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    ("site", "changes"),
    [(SITE, {"publish": {"page": False}}), (SITE, {"status": "Test"}), ("", {})],
    ids=["not wanted", "a test", "no address"],
)
def test_without_a_page_no_message_has_a_link(channel: str, site: str, changes: dict[str, Any]):
    assert f"/a/{PUBLIC_ID}" not in told(message(channel, site, **changes))
