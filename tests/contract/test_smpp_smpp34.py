"""SMPP against the SMS centre of smpp34, which nobody here wrote either: another reading of the same standard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from channels.base import Answer, Loudness, Reason, Recipient, SmsMessage, Stamp
from channels.smpp.channel import SmppChannel
from channels.smpp.message import decode_text
from channels.sms_answers import SmsState
from channels.text import SmsSettings
from tests.contract.smpp_parties import centre_settings
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / ".cache" / "peers" / "tools"


class Heard:
    def __init__(self):
        self.told = []

    async def take_answers(self, answers): ...

    async def reports(self, reports):
        self.told += reports


@pytest.fixture
def smpp34(tmp_path):
    """The centre in a process of its own: (port, a function that reads what it printed)."""
    assert (PACKAGES / "smpp34").exists(), "smpp34 is missing: run ops/test"
    port, output = free_port(), tmp_path / "smpp34.ndjson"
    command = [sys.executable, ROOT / "ops/bench/smsc_smpp34.py", str(port)]
    with output.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, env={**os.environ, "PYTHONPATH": str(PACKAGES)})
    try:
        deadline = time.monotonic() + 60
        while b"\n" not in output.read_bytes():
            assert time.monotonic() < deadline, "smpp34 did not start"
            time.sleep(0.02)
        yield port, lambda: [json.loads(line) for line in output.read_text().splitlines()[1:]]
    finally:
        process.kill()  # it may crash when it is asked to leave
        process.wait(10)


@pytest.mark.parametrize("text", ["Ñandú [7] ~ € " * 15, "Lucía 👧"])
async def test_smpp34_reads_what_we_send_and_its_receipts_find_home(smpp34, text):
    """500 messages, in one part or two: each arrives whole, its receipts are answered, and closing unbinds."""
    port, rows = smpp34
    heard = Heard()
    settings = centre_settings(
        host="127.0.0.1", port=port, tls=False, system_id="me", password="a longer one", sender="ALERTS",
        text=SmsSettings(transliterate=False),
    )  # fmt: skip
    channel = SmppChannel(settings, listener=heard)
    await channel.open()
    now = int(time.time())
    stamp = Stamp(chain="c", version="v", sent_s=now, expires_s=now + 600, loudness=Loudness.LOUD, language="es")
    prepared = channel.prepare(SmsMessage(stamp=stamp, text=text))
    recipients = [Recipient(f"+3460{n:07}", f"tag{n}", is_new=True) for n in range(500)]
    outcomes = await channel.send(prepared, recipients, lambda: True)
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}
    await until(lambda: sum(report.tag is not None for report in heard.told) == 500)
    assert Counter((report.tag, report.state) for report in heard.told if report.tag) == {
        (one.tag, SmsState.DELIVERED): 1 for one in recipients
    }
    (refused,) = await channel.send(prepared, [Recipient("+34610000000", "t", is_new=True)], lambda: True)
    assert (refused.answer, refused.reason) == (Answer.RETRY, Reason.THROTTLED)
    await until(lambda: sum("receipt" in row for row in rows()) == 500 * prepared.cost)
    assert {row["status"] for row in rows() if "receipt" in row} == {0}
    await channel.close()
    await until(lambda: {"unbound": True} in rows())
    texts: dict[str, str] = {}
    for row in sorted(rows(), key=lambda row: row.get("text", "")[10:12]):  # by the number of the part
        if "text" in row:
            texts.setdefault(row["to"], "")
            texts[row["to"]] += decode_text(bytes.fromhex(row["text"]), row["coding"], row["esm_class"])
    assert texts == {one.address[1:]: text for one in recipients}
