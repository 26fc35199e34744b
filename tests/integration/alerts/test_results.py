"""What is told of an alert afterwards: a report that is counted from the ledgers, and evidence that whoever has it can check alone."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from alertd.common.ids import TokenPurpose
from alertd.model.kinds import PurgeReason
from alertd.model.states import LedgerReason, State
from alertd.service.container import Container
from alertd.service.delivery.receipts import SOURCES
from alertd.service.records.audit import Noted
from alertd.service.records.evidence import EvidenceError, Seal, verified
from alertd.store.alerts.archive import archive
from alertd.store.engine.codec import Codec, Keys
from tests.integration.acts import ANA, BEA, finish, sent, tell

EVIDENCE_PAGE = (Path(__file__).parents[3] / "ops" / "docs" / "run" / "report-and-evidence.md").read_text(
    encoding="utf-8"
)


@pytest.fixture
async def closed(parts: Container, sample: dict[str, Any]) -> str:
    """Told to twenty by push and mail, of whom two have opened it and one has left; closed, and told so."""
    record = await sent(parts, sample, channels=["push", "mail"])
    for row in (0, 1):
        await parts.work.receipt(
            record.id, row, "push", State.DELIVERED, LedgerReason.SEEN.value, SOURCES[State.DELIVERED]
        )
    row = next(first for first, channel in await parts.work.spans(record.id) if channel == "mail")
    reference = parts.receipts.reference(parts.tags.make(record.id, row, TokenPurpose.LEAVE), TokenPurpose.LEAVE)
    for _ in range(2):
        assert await parts.receipts.leave(reference)
    entry = await parts.audit.begin(ANA, "alert.close", record.id)
    done = await parts.follow_ups.close(record.id, ANA, "Found, well")
    await parts.audit.end(ANA, "alert.close", "done", Noted(record=done.record), of=entry)
    await tell(parts, done, ("push", "mail"))
    assert await finish(parts.work, done.told_by) == "done"
    return str(record.id)


@pytest.fixture
def call(parts: Container, client: Any) -> Callable[..., Awaitable[tuple[int, Any]]]:
    """A call with a key of these scopes, or without one: status and answer."""

    async def made(path: str, *scopes: str) -> tuple[int, Any]:
        _, token = await parts.access.create(org="default", subject="case.system", scopes=frozenset(scopes))
        headers = {"Authorization": f"Bearer {token}"} if scopes else {}
        answer = await client.get(path, headers=headers)
        return answer.status, await answer.json()

    return made


async def test_a_report_says_what_an_alert_came_to(closed: str, call: Any):
    """Whom it reached and where, how fast, who opened it and who left, once each; what followed; who decided it; the outcome."""
    status, report = await call(f"/v1/alerts/{closed}/report", "ledger:read")
    assert (status, report["state"], report["people"], report["outcome"]) == (200, "closed", 20, "Found, well")
    assert report["regions"] == {}  # fewer than 100
    alert, close = report["versions"]
    assert (alert["id"], alert["occasion"], close["occasion"], close["by"]) == (closed, "alert", "close", ANA.subject)
    assert (alert["channels"]["push"]["accepted"], alert["channels"]["push"]["delivered"]) == (18, 2)
    assert (alert["seen"], alert["left"], alert["opted_out"]) == ({"push": 2}, {"mail": 1}, {})
    assert close["channels"]["mail"] == {**dict.fromkeys(close["channels"]["mail"], 0), "targeted": 19, "accepted": 19}
    assert {channel: of["messages"] for channel, of in alert["handed_over"].items()} == {"push": 20, "mail": 20}
    assert {channel: of["messages"] for channel, of in alert["delivered"].items()} == {"push": 2, "mail": 1}
    for speed in (*alert["handed_over"].values(), *alert["delivered"].values()):
        assert 0 <= speed["p50_s"] <= speed["p95_s"] <= speed["last_s"] < 600
    assert [(one["act"], one["by"], one["outcome"]) for one in report["decisions"]] == [
        ("alert.close", ANA.subject, "done")
    ]


async def test_evidence_is_checked_by_whoever_has_it(closed: str, call: Any, client: Any, tmp_path: Path):
    """With the key that was kept, by our command and by openssl, as ops/docs/run/report-and-evidence.md says; it holds the document, the area, the audit's entries and the
    digest of the ledger that was answered. One bit more, another key, or none, and it is not what was signed.
    """
    status, signed = await call(f"/v1/alerts/{closed}/evidence", "evidence:read")
    _, key = await call("/v1/evidence/key")
    assert status == 200
    assert key["name"] == hashlib.sha256(key["pem"].encode()).hexdigest()
    found = verified(signed, key["pem"])
    assert found["alert"]["alert"]["case"]["children"][0]["name"]["public"] == "Lucía P."
    assert (found["alert"]["reason"], found["by"], found["area"]["type"]) == (
        "Found, well",
        "case.system",
        "MultiPolygon",
    )
    assert [one["act"] for one in found["entries"]] == ["alert.close"]
    assert (len(found["entries"][0]["link"]), found["audit"]["broken"]) == (40, None)
    assert [one["id"] for one in found["versions"]] == [f"{closed}-2"]
    (tmp_path / "evidence.json").write_text(json.dumps(signed))
    (tmp_path / "key.pem").write_text(key["pem"])
    command = re.search(r"```sh\n(python3 -c '[^']*evidence.*?)```", EVIDENCE_PAGE, re.DOTALL)[1]
    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-e"], input=command, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, "Verified Successfully" in done.stdout) == (0, True), done.stderr
    for name in signed:
        raw = bytearray(base64.urlsafe_b64decode(signed[name] + "=="))
        raw[-1] ^= 1
        with pytest.raises(EvidenceError):
            verified({**signed, name: base64.urlsafe_b64encode(raw).decode().rstrip("=")}, key["pem"])
    other = Seal(Codec(Keys(master=b"m" * 32, hashing=b"x" * 32))).public[0]
    for public in (other, "", "x"):
        with pytest.raises(EvidenceError):
            verified(signed, public)
    for nothing in ({}, [], None, {"payload": 1, "protected": 2, "signature": 3}):
        with pytest.raises(EvidenceError):
            verified(nothing, key["pem"])


async def test_the_digest_is_that_of_the_ledger_as_it_is_read(parts: Container, closed: str, call: Any, client: Any):
    """Byte by byte: whoever kept the ledger can show that it is the one."""
    _, signed = await call(f"/v1/alerts/{closed}/evidence", "evidence:read")
    found = verified(signed, (await call("/v1/evidence/key"))[1]["pem"])
    _, token = await parts.access.create(org="default", subject="x", scopes=frozenset({"ledger:read"}))
    for one in found["ledgers"]:
        path = f"/v1/alerts/{one['version']}/deliveries"
        ledger = await (await client.get(path, headers={"Authorization": f"Bearer {token}"})).read()
        assert hashlib.sha256(ledger).hexdigest() == one["sha256"]
    assert len(found["ledgers"]) == 2


async def test_nobody_is_told_what_a_deleted_ledger_had(parts: Container, closed: str, call: Any):
    """It is gone for good: nobody is said not to have been told, and nothing is signed as though there had been nothing."""
    paths = (f"/v1/alerts/{closed}/deliveries", f"/v1/subscribers/p7/explain?alert={closed}")
    assert await archive(parts.db, closed, 1)
    for path in paths:
        status, answer = await call(path, "ledger:read", "ledger:explain")
        assert (status, "retention.ledger_days" in answer["detail"]) == (410, True)
    _, signed = await call(f"/v1/alerts/{closed}/evidence", "evidence:read")
    alert, close = verified(signed, (await call("/v1/evidence/key"))[1]["pem"])["ledgers"]
    assert (alert["version"], alert["sha256"], len(close["sha256"])) == (closed, None, 64)
    assert (alert["channels"]["push"]["accepted"], alert["channels"]["push"]["delivered"]) == (18, 2)


async def test_a_version_that_is_not_there_has_no_evidence(closed: str, call: Any):
    """Of a version it is the whole alert's; of one that never was there is none, nor does anybody have it."""
    for version, status in ((f"{closed}-2", 200), (f"{closed}-3", 404), (f"{closed}-1", 404)):
        assert (await call(f"/v1/alerts/{version}/evidence", "evidence:read"))[0] == status
        assert (await call(f"/v1/alerts/{version}/distribution", "alerts:read"))[0] == status
    for name in (f"{closed}-0", f"{closed}-٢"):
        assert (await call(f"/v1/alerts/{name}", "alerts:read"))[0] in {400, 404}


async def test_both_need_their_scope_and_end_with_the_case(parts: Container, closed: str, call: Any):
    """Both are acts that the audit has; neither is there once the case is purged."""
    for what, scope in (("report", "ledger:read"), ("evidence", "evidence:read")):
        path = f"/v1/alerts/{closed}/{what}"
        assert (await call(path))[0] == 401
        assert (await call(path, "alerts:read", "alerts:approve", "audit:read", "keys:write"))[0] == 403
        assert (await call(path, scope))[0] == 200
        (entry,) = await parts.audit.page("default", before=None, limit=1)
        assert (entry.act, entry.outcome, entry.object) == (f"{what}.read", "done", closed)
        assert (await call(f"/v1/alerts/01M885E6PQYDF6FR2R1P9138GR/{what}", scope))[0] == 404
    await parts.purging.purge(closed, BEA, PurgeReason.RETENTION)
    for what, scope in (("report", "ledger:read"), ("evidence", "evidence:read")):
        status, problem = await call(f"/v1/alerts/{closed}/{what}", scope)
        assert (status, problem["type"]) == (410, "/problems/gone")
