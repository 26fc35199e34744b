"""A legal hold: the case is kept whole, photos and all, until another person lets it go."""

from __future__ import annotations

import dataclasses
from typing import Any

from alertd.config.sections import RetentionSection
from alertd.model.states import AlertState
from alertd.service.container import Container
from alertd.service.retention.archiving import Archiving
from alertd.store.alerts.archive import archive
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.organisations.organisations import OrganisationStore
from alertd.store.records.case_keys import PURGING_MS, Cases
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, CARL, alert_of, photo, slug, submitted
from tests.integration.media.conftest import showing
from tests.integration.retention.purges import WHY, closed


async def test_a_held_case_is_not_purged_until_another_lets_it_go(parts: Container, sample: dict[str, Any]):
    """By none of its alerts, and nothing of them is taken out; its photos stay beyond their age. Released, it goes as any other."""
    media, holds = await photo(parts), parts.legal_holds
    record = await closed(parts, sample, case=showing(sample, media))
    other = (await submitted(parts, sample)).record
    await parts.approval.reject(other.id, BEA, "x")
    await holds.hold(other.id, ANA, "court order 12/2026")
    assert await parts.db.execute("PTTL", keys.media(media)) == -1
    found = await holds.of(record)
    assert (found.by, found.reason) == (ANA.subject, "court order 12/2026")
    for one in (record, other):
        assert await slug(parts.purging.purge(one.id, BEA, WHY)) == "precondition-failed"
        assert (await parts.alerts.get(one.id)).document == one.document
    await holds.hold(record.id, BEA, "another")
    assert await holds.of(record) == found
    await holds.release(record.id, BEA)
    assert await holds.of(other) is None
    assert await parts.db.execute("PTTL", keys.media(media)) > 0
    await holds.release(record.id, BEA)
    assert (await parts.purging.purge(record.id, BEA, WHY)).state is AlertState.PURGED
    assert not await parts.db.execute("EXISTS", keys.case_kept(record.case))
    assert await slug(holds.hold(record.id, ANA, "x")) == "precondition-failed"


async def test_who_releases_one_hold_releases_no_later_one(parts: Container, sample: dict[str, Any]):
    """What is let go is the hold that was looked at: another that was put there meanwhile stays."""
    record, holds, cases = await closed(parts, sample), parts.legal_holds, Cases(parts.db)
    await holds.hold(record.id, ANA, "court 1")
    _, seen = await cases.hold(record.case)
    await holds.release(record.id, CARL)
    await holds.hold(record.id, BEA, "court 2")
    assert not await cases.let_go(record.case, seen, until_ms=0)
    assert (await holds.of(record)).by == BEA.subject


async def test_a_purge_that_stood_still_destroys_nothing(parts: Container, sample: dict[str, Any]):
    """A minute after it began its steps do nothing more, and the key stays where somebody holds the case by then."""
    record, holds, cases = await closed(parts, sample), parts.legal_holds, Cases(parts.db)
    until_ms = await cases.begin_purge(record.case)
    parts.db.skew_ms += PURGING_MS
    await holds.hold(record.id, ANA, "court")
    done = await parts.alerts.purge(record.id, {AlertState.CLOSED}, WHY, BEA.subject, until_ms=until_ms)
    assert done == (False, "late")
    assert not await cases.drop(record.case, await cases.held(record.case))
    assert (await parts.alerts.get(record.id)).document == record.document


async def test_its_ledgers_do_not_go_by_their_age(parts: Container, sample: dict[str, Any]):
    """One that was compressed and dated for deletion stays; released it has its date again, or 90 days; one that is kept for ever stays so. While it is held none
    is dated.
    """
    record, other, holds = await closed(parts, sample), await closed(parts, sample), parts.legal_holds
    dated = keys.of_chain(record.id, "closed", record.id)
    assert await archive(parts.db, record.id, parts.clock.now_ms() + 86_400_000)
    parts.db.skew_ms += 8 * 86_400_000  # the end of what told of the close
    assert await archive(parts.db, f"{record.id}-2", 0)
    await holds.hold(record.id, ANA, "x")
    assert await parts.db.execute("PTTL", dated) == -1
    settings = RetentionSection(ledger_days=365)
    later, organisations = Later(550 * 86_400_000), OrganisationStore(parts.db)
    closing = Archiving(parts.db, parts.alerts, organisations, settings, later, "default", parts.forgetting)
    assert await closing.round() == 0
    await holds.release(record.id, BEA)
    assert await parts.db.execute("PTTL", dated) > 80 * 86_400_000
    assert await parts.db.execute("PTTL", keys.of_chain(record.id, "closed", f"{record.id}-2")) == -1
    assert await closing.round() >= 1
    assert await parts.db.execute("EXISTS", keys.of_chain(other.id, "closed", other.id))


async def test_whoever_put_it_there_does_not_release_it(parts: Container, sample: dict[str, Any]):
    """However the name is spelled, nor by a key that one of the two made for the other; nor by a test key, nor another organisation's."""
    record, holds = await closed(parts, sample), parts.legal_holds
    await holds.hold(record.id, ANA, "x")
    made_by_ana = dataclasses.replace(CARL, makers=(ANA.subject,))
    for who in (ANA, dataclasses.replace(ANA, key_id="z", subject="ANA@centre.example"), made_by_ana):
        assert await slug(holds.release(record.id, who)) == "same-person"
    assert await slug(holds.release(record.id, dataclasses.replace(BEA, org="other"))) == "not-found"
    assert await slug(holds.release(record.id, dataclasses.replace(BEA, test=True))) == "not-allowed"
    assert await holds.of(record) is not None
    await holds.release(record.id, CARL)
    assert await holds.of(record) is None


async def test_a_test_key_releases_no_hold_by_a_test_of_the_case(parts: Container, sample: dict[str, Any]):
    """What is kept is the case, and so the Actual alert; of a case that has none it may."""
    tester, holds = dataclasses.replace(ANA, test=True), parts.legal_holds
    record = await closed(parts, sample)
    drill = (await parts.intake.submit(alert_of(sample, status="Test"), tester, draft=True)).record
    assert drill.case == record.case
    await holds.hold(record.id, BEA, "court order 12/2026")
    assert await slug(holds.release(drill.id, tester)) == "not-allowed"
    assert await holds.of(record) is not None
    alone = {**sample["case"], "number": "a drill's own"}
    own = (await parts.intake.submit(alert_of(sample, status="Test", case=alone), tester, draft=True)).record
    await holds.hold(own.id, BEA, "x")
    await holds.release(own.id, tester)
    assert await holds.of(own) is None


async def test_a_hold_and_a_purge_at_once_do_not_both_succeed(
    parts: Container, sample: dict[str, Any], store: Connection
):
    """While a case is being purged nobody is told that it is kept; a purge that broke off stands in the way for a minute at most, and one that was refused not
    at all.
    """
    record, holds, cases = await closed(parts, sample), parts.legal_holds, Cases(parts.db)
    assert await cases.begin_purge(record.case)
    assert await slug(holds.hold(record.id, ANA, "x")) == "precondition-failed"
    parts.db.skew_ms += PURGING_MS
    await holds.hold(record.id, ANA, "x")
    assert not await cases.begin_purge(record.case)
    await holds.release(record.id, BEA)
    pending = (await submitted(parts, sample)).record
    assert await slug(parts.purging.purge(record.id, BEA, WHY)) == "precondition-failed"
    await holds.hold(pending.id, ANA, "x")
    assert (await parts.alerts.get(pending.id)).document == pending.document


async def test_over_http_it_is_shown_and_audited(parts: Container, client: Any, sample: dict[str, Any]):
    """Asked for with a reason, by whoever may approve; released by an administrator; each an act, without the reason's words."""
    record = await closed(parts, sample)
    keys_of = {}
    for name, scope in (("ana", "alerts:approve"), ("bea", "admin"), ("carl", "alerts:read")):
        _, token = await parts.access.create(
            org="default", subject=f"{name}@centre.example", scopes=frozenset({scope, "alerts:read"})
        )
        keys_of[name] = {"Authorization": f"Bearer {token}"}
    path = f"/v1/alerts/{record.id}"
    answer = await client.post(f"{path}/hold", json={"reason": "Lucía, court order"}, headers=keys_of["ana"])
    assert (answer.status, (await answer.json())["held"]) == (200, True)
    shown = await (await client.get(f"{path}/hold", headers=keys_of["carl"])).json()
    assert (shown["by"], shown["reason"]) == ("ana@centre.example", "Lucía, court order")
    assert (await client.post(f"{path}/hold", json={"reason": "x"}, headers=keys_of["carl"])).status == 403
    assert (await client.post(f"{path}/release", headers=keys_of["ana"])).status == 403
    answer = await client.post(f"{path}/release", headers=keys_of["bea"])
    assert (answer.status, (await answer.json())["held"]) == (200, False)
    entries = await parts.audit.page("default", before=None, limit=20)
    done = [(one.act, one.by) for one in entries if one.outcome == "done" and one.act.startswith("alert.")]
    assert done[:2] == [("alert.release", "bea@centre.example"), ("alert.hold", "ana@centre.example")]
    assert "Luc" not in str([(one.facts, one.object) for one in entries])


async def test_what_was_purged_is_purged_in_a_backup_that_held_it(
    parts: Container, sample: dict[str, Any], store: Connection
):
    """A hold in the copy is older than the purge: it was released before."""
    record, holds = await closed(parts, sample), parts.legal_holds
    await holds.hold(record.id, ANA, "x")
    wrapped = await parts.db.execute("GET", keys.case(record.case))
    kept = await parts.db.execute("DUMP", keys.case_kept(record.case))
    await holds.release(record.id, BEA)
    await parts.purging.purge(record.id, BEA, WHY)
    await parts.db.execute("SET", keys.case(record.case), wrapped)
    await parts.db.execute("RESTORE", keys.case_kept(record.case), 0, kept)
    await parts.purging.restore()
    for name in (keys.case, keys.case_kept):
        assert not await parts.db.execute("EXISTS", name(record.case))
