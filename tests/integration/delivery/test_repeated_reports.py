"""Reports that come a thousand times, are about nobody, or are none: over HTTP and of mail (SMPP's are in `test_smpp_wiring`)."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.common.ids import TokenPurpose, new_id
from alertd.model.states import CHANNELS
from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from channels.base import Reason, ReportState
from channels.bounces import MailReport
from channels.sandbox import Sandbox
from tests.integration.acts import counts, planned, register, send

TIMES = 1_000


async def told(parts: Container, sample: dict[str, Any], channel: str) -> AlertRecord:
    """An alert that all carriers took."""
    await register(parts, 21)
    record = await planned(parts, sample, channels=[channel])
    await send(parts, record, channel)
    return record


async def everything(parts: Container, record: AlertRecord) -> tuple[list[bytes], int]:
    """The ledger, and how many keys the store has."""
    return [rows.tobytes() async for _, rows, _ in parts.work.ledger(record.id)], await parts.db.execute("DBSIZE")


async def posted(client: Any, path: str, body: Any, headers: dict[str, str] | None = None) -> int:
    async with client.post(path, data=body, headers=headers) as answer:
        return int(answer.status)


async def test_the_same_report_of_an_sms_a_thousand_times_counts_once(
    parts: Container, client: Any, sandbox: Sandbox, sample: dict[str, Any]
):
    """Each is taken, so that it stops coming; the ledger is as it was, also after as many of the contrary and of another id."""
    record = await told(parts, sample, "sms")
    path = f"/v1/receipts/text/{parts.tags.make(record.id, 0, TokenPurpose.RECEIPT)}"
    delivered = {"MessageSid": "SM1", "MessageStatus": "delivered"}
    assert await posted(client, path, delivered) == 204
    before = await everything(parts, record)
    for form in (delivered, {"MessageStatus": "failed", "ErrorCode": "30005"}, {**delivered, "MessageSid": "SM2" * 99}):
        for _ in range(TIMES // 3 + 1):
            assert await posted(client, path, form) == 204
    assert await everything(parts, record) == before
    assert await counts(parts, record, "sms") == {"delivered": 1, "accepted": 20}


async def test_reports_of_sms_for_nobody_change_nothing(
    parts: Container, client: Any, sandbox: Sandbox, sample: dict[str, Any]
):
    """A row that there is not, an alert that there is not, tags for other doors, forged ones: refused, and nothing is kept."""
    record = await told(parts, sample, "sms")
    before = await everything(parts, record)
    good = parts.tags.make(record.id, 0, TokenPurpose.RECEIPT)
    for tag in (
        parts.tags.make(record.id, 21),
        parts.tags.make(record.id, 2**29 - 1),
        parts.tags.make(new_id(1_700_000_000_000), 0),
        parts.tags.make(record.id, 0, TokenPurpose.ACK),
        parts.tags.make(record.id, 0, TokenPurpose.LEAVE),
        good[:-1],
        good.swapcase(),
        "x" * 4_000,
    ):
        assert await posted(client, f"/v1/receipts/text/{tag}", {"MessageStatus": "delivered"}) == 404
    assert await everything(parts, record) == before


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>Please sign in</html>", "text/html"),
        (b"MessageStatus=perhaps", "application/x-www-form-urlencoded"),
        (b"MessageStatus", "application/x-www-form-urlencoded"),
        (b"\xff\xfe\x00", "application/x-www-form-urlencoded"),
        (b"%ff%fe=%00&MessageStatus=%zz", "application/x-www-form-urlencoded"),
        (b'{"MessageStatus": "delivered"}', "application/json"),
        (b"--x\r\nhalf a part", "multipart/form-data; boundary=x"),
        (b"a=b&" * 20_000, "application/x-www-form-urlencoded"),
    ],
)
async def test_garbage_instead_of_a_report_gets_a_clear_no(
    parts: Container, client: Any, sandbox: Sandbox, sample: dict[str, Any], body: bytes, kind: str
):
    """It says nothing of anybody, and the fault is the sender's."""
    record = await told(parts, sample, "sms")
    before = await everything(parts, record)
    path = f"/v1/receipts/text/{parts.tags.make(record.id, 0, TokenPurpose.RECEIPT)}"
    assert await posted(client, path, body, {"Content-Type": kind}) in {400, 413, 415}
    assert await everything(parts, record) == before


async def test_the_same_acknowledgement_a_thousand_times_counts_once(
    parts: Container, client: Any, sandbox: Sandbox, sample: dict[str, Any]
):
    """An app that cannot stop changes one row, once."""
    record = await told(parts, sample, "push")
    path = f"/r/{parts.tags.make(record.id, 3, TokenPurpose.ACK)}"
    assert await posted(client, path, b"") == 204
    before = await everything(parts, record)
    assert {await posted(client, path, b"") for _ in range(TIMES)} == {204}
    assert await everything(parts, record) == before


async def test_the_same_bounce_a_thousand_times_counts_once(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """In one call and in many, beside as many about nobody: one mail failed, and one mailbox, which was called dead long before, is gone."""
    record = await told(parts, sample, "mail")
    tags = {to: path.removeprefix("bounce+").partition("@")[0] for to, path in sandbox.mail.return_paths.items()}
    box = frozenset({"p0@people.example"})
    gone = MailReport(tags=(tags["p0@people.example"],), state=ReportState.FAILED, reason=Reason.GONE, mailboxes=box)
    nobody = MailReport(tags=("x" * 42,), state=ReportState.FAILED, reason=Reason.GONE, mailboxes=box)
    await parts.people.called_dead.note([parts.people.names.address_hash(CHANNELS.index("mail"), *box)], 0)
    await parts.mail_reports.take([gone], "relay")
    before = await everything(parts, record)
    await parts.mail_reports.take([gone, nobody] * TIMES, "relay")
    for _ in range(TIMES // 10):
        await parts.mail_reports.take([gone], "relay")
    assert await everything(parts, record) == before
    assert await counts(parts, record, "mail") == {"failed": 1, "accepted": 20}
    assert not [one for one in (await parts.registry.get("p0")).addresses if one.value in box]
