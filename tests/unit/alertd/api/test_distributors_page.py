"""What the page for distributors says is true of what alertd takes and sends."""

from __future__ import annotations

import re
from pathlib import Path

from alertd.config.sections import WebhookSection
from alertd.model.cap.messages import MsgType
from alertd.model.cap.reader import parse_message
from alertd.model.cap.writer import MEDIA_TYPE
from alertd.service.sharing.distributor_acknowledgements import RECEIPTS_HEADER, word_on
from alertd.service.sharing.distributor_delivery import CANCEL_MS, LONGEST_WAIT_S, NEVER

PAGE = (Path(__file__).parents[4] / "ops" / "docs" / "integrate" / "receive-cap.md").read_text(encoding="utf-8")


def test_the_ack_of_the_page_is_one():
    """As it stands, for the message that it names, and for no other."""
    [document] = re.findall(r"```xml\n(.*?)```", PAGE, re.DOTALL)
    message = parse_message(document.encode())
    assert message.msg_type is MsgType.ACK
    [about] = message.references
    assert word_on(document.encode(), about.identifier) == message
    assert word_on(document.encode(), "another") is None
    for other in (b"", b"thank you", document.replace(">Ack<", ">Alert<").encode()):
        assert word_on(other, about.identifier) is None


def test_the_page_has_the_numbers_of_the_code():
    """What refuses for good, how long is waited and for how long it is tried."""
    assert " ".join(map(str, sorted(NEVER))) in PAGE
    assert f"within {WebhookSection().timeout_s:.0f} seconds" in PAGE
    assert f"up to {LONGEST_WAIT_S // 60} minutes" in PAGE
    assert CANCEL_MS == 3 * 86_400_000
    assert "for three days" in PAGE
    assert f"`{RECEIPTS_HEADER}`" in PAGE
    assert f"`{MEDIA_TYPE}`" in PAGE
