"""A case is stood down as a whole, over a real store: whichever organisation alerts, and however its number is spelled."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from alertd.alerts import AlertState
from alertd.app import Parts
from alertd.errors import Problem
from tests.integration.acts import CARL, planned, register, slug, submitted


async def test_a_case_is_stood_down_as_a_whole(parts: Parts, sample: dict[str, Any]):
    """Every alert of it that is told is hidden, one that waits goes back to its author, another case goes on; sent again it does
    the same to what came since, and of a case nobody knows it says so.
    """
    case = {**sample["case"], "number": "SE-2026-1"}
    await register(parts, 20)
    other = await planned(parts, sample, case={**case, "number": "SE-2026-2"})
    shown = [await planned(parts, sample, case=case) for _ in range(2)]
    waits = (await submitted(parts, sample, case=case)).record
    done = await parts.whole_case.stand_down("SE-2026-1", CARL, "She was found")
    states = {one.record.id: one.record.state for one in done.own}
    assert states == {
        shown[0].id: AlertState.STOOD_DOWN,
        shown[1].id: AlertState.STOOD_DOWN,
        waits.id: AlertState.RETURNED,
    }
    assert await parts.alerts.state(other.id) is AlertState.SENDING
    assert (await parts.alerts.get(waits.id)).reason == "She was found"
    later = await planned(parts, sample, case=case)
    again = await parts.whole_case.stand_down("SE-2026-1", CARL, "She was found")
    assert {one.record.id: one.record.state for one in again.own} == {**states, later.id: AlertState.STOOD_DOWN}
    assert await slug(parts.whole_case.stand_down("SE-2026-3", CARL, "She was found")) == "not-found"


async def test_a_case_is_one_however_its_number_is_spelled(parts: Parts, sample: dict[str, Any]):
    """Capitals, spaces and forms of letters hide nobody from a stand-down; what is shown is as it was written."""
    await register(parts, 20)
    spelled = ("SE-2026-Ñ 1", "se-2026-n\u0303  1 ")
    shown = [await planned(parts, sample, case={**sample["case"], "number": number}) for number in spelled]
    done = await parts.whole_case.stand_down("\uff33E-2026-ñ\u00a01\u200b", CARL, "She was found")
    assert {one.record.id for one in done.own} == {one.id for one in shown}
    assert json.loads(shown[0].document)["case"]["number"] == spelled[0]


async def test_a_case_is_stood_down_whichever_organisation_alerts(parts: Parts, client: Any, sample: dict[str, Any]):
    """Also by one that has no alert of it. It learns how many others have, and no id of theirs."""
    case = {**sample["case"], "number": "SE-2026-1"}
    await register(parts, 20)
    shown = await planned(parts, sample, case=case)
    waits = (await submitted(parts, sample, case=case)).record
    _, token = await parts.access.create(org="other", subject="dora", scopes=frozenset({"alerts:write"}))
    assert (await parts.course.history(shown)).acts == []
    answer = await client.post(
        "/v1/cases/SE-2026-1/stand-down", json={"reason": "x"}, headers={"Authorization": f"Bearer {token}"}
    )
    assert (answer.status, await answer.json()) == (200, {"alerts": [], "others": 2})
    assert await parts.alerts.state(shown.id) is AlertState.STOOD_DOWN
    assert await parts.alerts.state(waits.id) is AlertState.RETURNED
    for one, act, state in ((shown, "alert.stand-down", "stood_down"), (waits, "alert.return", "returned")):
        (entry,) = (await parts.course.history(one)).acts
        assert (entry.act, entry.by, entry.facts["state"], entry.facts["organisation"]) == (act, "dora", state, "other")
    assert (await parts.whole_case.stand_down("SE-2026-1", CARL, "x")).others == 0
    assert len((await parts.course.history(shown)).acts) == 1


async def test_a_test_key_learns_of_no_others_case(parts: Parts, sample: dict[str, Any]):
    """Whoever guesses its number: it is as one that nobody knows, and goes on."""
    await register(parts, 20)
    shown = await planned(parts, sample, case={**sample["case"], "number": "SE-2026-1"})
    guesses = dataclasses.replace(CARL, org="other", test=True)
    for number in ("SE-2026-1", "SE-2026-3"):
        assert await slug(parts.whole_case.stand_down(number, guesses, "x")) == "not-found"
    assert await parts.alerts.state(shown.id) is AlertState.SENDING


async def test_who_may_not_stand_all_of_a_case_down_hides_nothing(parts: Parts, sample: dict[str, Any]):
    """A key for tests may stand no real alert down: it hears so, and the drill that waits is as it was, as the audit has it."""
    await register(parts, 20, tester=True)
    case = {**sample["case"], "number": "SE-2026-1"}
    actual = await planned(parts, sample, case=case)
    drill = await submitted(parts, sample, case=case, status="Test")
    tester = dataclasses.replace(CARL, test=True)
    with pytest.raises(Problem):
        await parts.whole_case.stand_down("SE-2026-1", tester, "She was found")
    assert await parts.alerts.state(actual.id) is AlertState.SENDING
    assert await parts.alerts.state(drill.record.id) is AlertState.PENDING
