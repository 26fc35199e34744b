"""A case is stood down as a whole, over a real store: whichever organisation alerts, and however its number is spelled."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from alertd.common.errors import Problem
from alertd.model.organisation import Organisation
from alertd.model.states import AlertState
from alertd.service.access import Credential
from alertd.service.alerts.case_stand_down import CaseStandDown, Hidden
from alertd.service.alerts.follow_up import Followed
from alertd.service.container import Container
from tests.integration.acts import CARL, alert_of, planned, register, slug, submitted


async def test_a_case_is_stood_down_as_a_whole(parts: Container, sample: dict[str, Any]):
    """Every alert of it that is told is hidden, one that waits goes back to its author, another case goes on; sent again it does
    the same to what came since, and of a case nobody knows it says so.
    """
    case = {**sample["case"], "number": "SE-2026-1"}
    await register(parts, 20)
    other = await planned(parts, sample, case={**case, "number": "SE-2026-2"})
    shown = [await planned(parts, sample, case=case) for _ in range(2)]
    waits = (await submitted(parts, sample, case=case)).record
    done = await parts.case_stand_down.stand_down("SE-2026-1", CARL, "She was found")
    states = {one.record.id: one.record.state for one in done.own}
    assert states == {
        shown[0].id: AlertState.STOOD_DOWN,
        shown[1].id: AlertState.STOOD_DOWN,
        waits.id: AlertState.RETURNED,
    }
    assert await parts.alerts.state(other.id) is AlertState.SENDING
    assert (await parts.alerts.get(waits.id)).last_step.reason == "She was found"
    later = await planned(parts, sample, case=case)
    again = await parts.case_stand_down.stand_down("SE-2026-1", CARL, "She was found")
    assert {one.record.id: one.record.state for one in again.own} == {**states, later.id: AlertState.STOOD_DOWN}
    assert await slug(parts.case_stand_down.stand_down("SE-2026-3", CARL, "She was found")) == "not-found"


async def test_a_case_is_one_however_its_number_is_spelled(parts: Container, sample: dict[str, Any]):
    """Capitals, spaces and forms of letters hide nobody from a stand-down; what is shown is as it was written."""
    await register(parts, 20)
    spelled = ("SE-2026-Ñ 1", "se-2026-n\u0303  1 ")
    shown = [await planned(parts, sample, case={**sample["case"], "number": number}) for number in spelled]
    done = await parts.case_stand_down.stand_down("\uff33E-2026-ñ\u00a01\u200b", CARL, "She was found")
    assert {one.record.id for one in done.own} == {one.id for one in shown}
    assert json.loads(shown[0].document)["case"]["number"] == spelled[0]


async def test_a_test_key_asks_no_other_organisation(parts: Container, sample: dict[str, Any]):
    """Whatever number it guesses, it is as one that nobody knows, and the alerts go on."""
    await register(parts, 20)
    shown = await planned(parts, sample, case={**sample["case"], "number": "SE-2026-1"})
    guesses = dataclasses.replace(CARL, org="other", test=True)
    for number in ("SE-2026-1", "SE-2026-3"):
        assert await slug(parts.case_stand_down.stand_down(number, guesses, "x")) == "not-found"
    now = await parts.alerts.get(shown.id)
    assert (now.state, now.neighbours.stand_down_asked) == (AlertState.SENDING, "")


async def test_who_may_not_stand_all_of_a_case_down_hides_nothing(parts: Container, sample: dict[str, Any]):
    """A key for tests may stand no real alert down: it hears so, and the drill that waits is as it was, as the audit has it."""
    await register(parts, 20, tester=True)
    case = {**sample["case"], "number": "SE-2026-1"}
    actual = await planned(parts, sample, case=case)
    drill = await submitted(parts, sample, case=case, status="Test")
    tester = dataclasses.replace(CARL, test=True)
    with pytest.raises(Problem):
        await parts.case_stand_down.stand_down("SE-2026-1", tester, "She was found")
    assert await parts.alerts.state(actual.id) is AlertState.SENDING
    assert await parts.alerts.state(drill.record.id) is AlertState.PENDING


async def test_where_there_is_one_organisation_nobody_is_asked(parts: Container, sample: dict[str, Any]):
    """Somebody who may write alerts stands down the organisation's own, approved or not, and hears of an unknown number only that others were asked."""
    await register(parts, 20)
    writer = dataclasses.replace(CARL, scopes=frozenset({"alerts:write"}))
    waits = (await submitted(parts, sample, case={**sample["case"], "number": "SE-2026-1"})).record
    done = await parts.case_stand_down.stand_down("SE-2026-1", writer, "She was found")
    assert [(one.record.id, one.record.state) for one in done.own] == [(waits.id, AlertState.RETURNED)]
    assert done.others is None
    assert await parts.case_stand_down.stand_down("SE-2026-2", writer, "x") == Hidden(own=[], others=None)


class _Failing:
    """Following alerts, but one of them cannot be stood down."""

    def __init__(self, parts: Container, but: str) -> None:
        self._parts = parts
        self._but = but

    async def stand_down(self, alert_id: str, who: Credential, reason: str) -> Followed:
        if alert_id == self._but:
            raise Problem("precondition-failed", "It cannot be stood down.")
        return await self._parts.follow_ups.stand_down(alert_id, who, reason)


async def test_an_alert_that_fails_keeps_no_other_from_being_stood_down_or_asked_for(
    parts: Container, sample: dict[str, Any]
):
    """Of two alerts of one's own the first fails, and another organisation has one of the case."""
    await register(parts, 20)
    case = {**sample["case"], "number": "SE-2026-1"}
    own = [await planned(parts, sample, case=case) for _ in range(2)]
    await parts.organisations.put("fire", Organisation(name="Bomberos"), CARL)
    fred = dataclasses.replace(CARL, org="fire", subject="fred", key_id="fred")
    body = alert_of(sample, case=case, author={"subject": "fred"})
    theirs = (await parts.intake.submit(body, fred)).record
    whole = CaseStandDown(
        parts.alerts, parts.approval, _Failing(parts, own[0].id), parts.organisations, parts.limits, parts.audit,
        parts.clock,
    )  # fmt: skip
    ana = dataclasses.replace(CARL, scopes=frozenset({"alerts:write"}))
    assert await slug(whole.stand_down("SE-2026-1", ana, "She was found")) == "precondition-failed"
    assert await parts.alerts.state(own[1].id) is AlertState.STOOD_DOWN
    assert "default" in (await parts.alerts.get(theirs.id)).neighbours.stand_down_asked
