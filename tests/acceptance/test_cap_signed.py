"""Signed CAP between services: only whose certificate is known is heard, and what goes out can be verified."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from alertd.model.cap.reader import parse_message
from alertd.model.cap.signatures import Issuer, check_signature
from tests.acceptance.cap_calls import post
from tests.acceptance.conftest import Served
from tests.unit.alertd.model.cap_documents import CANCEL, named
from tests.unit.alertd.model.cap_parties import SENDER, Party


def test_a_document_is_heard_by_its_signature_and_answered_signed(installation: Callable[..., Served], tmp_path: Path):
    """Unsigned and forged documents are refused with their line, a Cancel too; a signed one is taken, and shown signed by us."""
    now = datetime.now(UTC)
    police, forger, ours = (Party(now=now) for _ in range(3))
    for name, content in (("police.pem", police.pem), ("our.key", ours.key), ("our.pem", ours.pem)):
        (tmp_path / name).write_bytes(content)
    served = installation(
        0,
        ALERTD_CAP__SENDER="centre.example",
        ALERTD_CAP__KEY_FILE=str(tmp_path / "our.key"),
        ALERTD_CAP__CERTIFICATE_FILE=str(tmp_path / "our.pem"),
        ALERTD_CAP__ISSUERS=json.dumps([{"certificate_file": str(tmp_path / "police.pem"), "senders": [SENDER]}]),
    )
    document, cancel = (named("signed-1", text, status="Test").encode() for text in (named("signed-1"), CANCEL))
    for refused in (document, forger.signer.signed(document), cancel, forger.signer.signed(cancel)):
        status, answer = post(served, refused, served.key)
        assert (status, answer["errors"][0]["pointer"]) == (400, "/Signature")
        assert answer["errors"][0]["line"] >= 1
    status, taken = post(served, police.signer.signed(document), served.key)
    assert status == 202
    request = urllib.request.Request(
        f"{served.url}/v1/alerts/{taken['id']}.cap", headers={"Authorization": f"Bearer {served.key}"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        raw = response.read()
    check_signature(raw, parse_message(raw), [Issuer(certificate=ours.certificate, senders=("centre.example",))], now)
    status, over = post(served, police.signer.signed(cancel), served.key)
    assert (status, over["id"], over["state"]) == (202, taken["id"], "cancelled")
