"""What an alert said in public before it was changed: in the evidence alone, and gone with what is to be forgotten, unless a court asks."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from alertd.model.kinds import PurgeReason
from alertd.service.container import Container
from alertd.service.retention.legal_holds import LegalHolds
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, alert_of, planned, register
from tests.integration.authority.desks import Desk
from tests.integration.retention.closings import DAY_MS, closing
from tests.integration.retention.closings import told as told_of_sought

NAME, COAT = "Lucía P.", "abrigo rojo"


@pytest.fixture
async def desk(parts: Container, client: Any) -> Desk:
    found = Desk(parts, client)
    await found.key("ana", org="default")
    return found


@pytest.fixture
def holds(parts: Container) -> LegalHolds:
    return parts.legal_holds


async def published(desk: Desk, record: AlertRecord) -> list[dict[str, Any]]:
    """What the evidence says was told, in order."""
    status, answer = await desk.ask("ana", "GET", f"/v1/alerts/{record.id}/evidence")
    assert status == 200, answer
    evidence = json.loads(base64.urlsafe_b64decode(answer["payload"] + "=="))
    assert evidence["alert"]["alert"] == evidence["published"][-1]["alert"]
    return list(evidence["published"])


def words(said: dict[str, Any]) -> str:
    return json.dumps(said["alert"], ensure_ascii=False)


async def updated(parts: Container, sample: dict[str, Any]) -> AlertRecord:
    """Told with a red coat, and then with another level and no coat."""
    await register(parts, 20)
    record = await planned(parts, sample)
    child = {**sample["case"]["children"][0], "clothing": {}}
    other = alert_of(sample, level="appeal", case={**sample["case"], "children": [child]})
    update = await parts.update_proposals.submit(record.id, other, "none", ANA)
    await parts.approval.approve(update.record.id, BEA)
    return await parts.alerts.get(record.id)


async def test_the_evidence_has_what_was_said_at_each_time(parts: Container, desk: Desk, sample: dict[str, Any]):
    """Before and after an update, each from its time on, and each as the audit compared it when it was decided."""
    record = await updated(parts, sample)
    first, second = await published(desk, record)
    assert (COAT in words(first), COAT in words(second), NAME in words(first)) == (True, False, True)
    assert (first["alert"]["level"], second["alert"]["level"]) == ("endangered", "appeal")
    assert first["since"] < second["since"]
    assert first["whole"]
    assert second["whole"]
    of_case = await parts.alerts.of_case(record.case, {"document": record.document})
    assert (second["digest"], first["digest"] != second["digest"]) == (of_case["document"], True)


async def test_what_was_said_before_a_restriction_is_gone(parts: Container, desk: Desk, sample: dict[str, Any]):
    """Also from the evidence: when something was said is left, and a digest of it. Nothing of it is in the store."""
    record = await updated(parts, sample)
    digests = [one["digest"] for one in await published(desk, record)]
    await parts.amendment.restrict(record.id, ANA, "Her name is protected")
    said = await published(desk, record)
    assert [one["digest"] for one in said][:2] == digests
    assert [one["whole"] for one in said] == [False] * 3
    assert not [one for one in said if NAME in words(one) or COAT in words(one)]
    assert all("Santa Justa" in words(one) for one in said)


async def test_a_legal_hold_keeps_it_for_the_evidence_alone(
    parts: Container, desk: Desk, holds: LegalHolds, sample: dict[str, Any]
):
    """The alert itself names nobody from the restriction on; the evidence does until the hold is released, and then no more."""
    record = await updated(parts, sample)
    await holds.hold(record.id, ANA, "a court asks")
    await parts.amendment.restrict(record.id, ANA, "Her name is protected")
    first, second, now = await published(desk, record)
    assert (COAT in words(first), NAME in words(second), NAME in words(now)) == (True, True, False)
    shown = (await desk.ask("ana", "GET", f"/v1/alerts/{record.id}"))[1]
    assert NAME not in json.dumps(shown, ensure_ascii=False)
    await parts.amendment.restrict(record.id, ANA, "Her name is protected")  # said again
    await closing(parts, Later()).round()
    assert NAME in words((await published(desk, record))[0])
    await holds.release(record.id, BEA)
    await closing(parts, Later()).round()
    assert not [one for one in await published(desk, record) if NAME in words(one) or COAT in words(one)]


async def test_whom_it_sought_is_forgotten_there_too(parts: Container, desk: Desk, sample: dict[str, Any]):
    """In all it ever said; the rest of its words stays."""
    record = await told_of_sought(parts, sample)
    await parts.follow_ups.close(record.id, ANA, "found", notify=False)
    before = await published(desk, record)
    assert all("Jan K." in words(one) for one in before)
    await closing(parts, Later(8 * DAY_MS), sought_days=7).round()
    after = await published(desk, record)
    assert [one["digest"] for one in after] == [one["digest"] for one in before]
    assert not [one for one in after if "Jan K." in words(one) or "BCD" in words(one) or one["whole"]]
    assert all(NAME in words(one) for one in after)


async def test_it_goes_with_the_case(parts: Container, sample: dict[str, Any]):
    """A purge leaves none of it, and what is kept is sealed until then."""
    record = await updated(parts, sample)
    name = keys.of_chain(record.id, "published")
    assert b"Luc" not in b"".join((await parts.db.hash_of(name)).values())
    assert await parts.db.execute("HLEN", name) == 1
    await parts.follow_ups.close(record.id, ANA, "found", notify=False)
    await parts.purging.purge(record.id, BEA, PurgeReason.RETENTION)
    assert not await parts.db.execute("EXISTS", name)
