"""Whoever sends alone sees estimates: exact counts of two alerts, compared, would tell where one person lives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from alertd.model.states import AlertState
from alertd.runtime.worker import worker_of
from tests.integration.acts import CADIZ, SEVILLA, is_about, register
from tests.integration.authority.desks import ALLOWED, Desk


async def seen(desk: Desk, who: str, alert_id: str) -> dict[str, Any]:
    """What the alert and its progress show to somebody."""
    _, alert = await desk.ask(who, "GET", f"/v1/alerts/{alert_id}")
    _, progress = await desk.ask(who, "GET", f"/v1/alerts/{alert_id}/progress")
    return {
        "exact": alert["exact"],
        "alert": alert["people"],
        "people": progress["people"],
        "channels": {name: counts["targeted"] for name, counts in progress["channels"].items()},
        "few": progress["few"],
    }


@pytest.fixture
async def viewer(desk: Desk) -> str:
    """Whoever may read alerts, and not the ledger."""
    await desk.key("eva", scopes=("alerts:read",))
    return "eva"


async def planned(desk: Desk, alert_id: str) -> None:
    """The worker has planned the alert."""
    record = await desk.parts.alerts.get(alert_id)
    assert await worker_of(desk.parts).plans.planner.plan(record)


async def test_a_test_shows_estimates_until_somebody_reads_the_ledger(desk: Desk, alert: dict[str, Any], viewer: str):
    """It reaches testers as soon as its author sends it."""
    await register(desk.parts, 150, first=1_000, tester=True)
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", {**alert, "status": "Test"})
    await planned(desk, taken["id"])
    shown = await seen(desk, viewer, taken["id"])
    assert (shown["exact"], shown["channels"], shown["few"]) == (False, {}, ["push"])
    assert is_about(shown["people"], 150)
    assert shown["alert"] == shown["people"] != 150
    shown = await seen(desk, "ana", taken["id"])
    assert (shown["exact"], shown["people"], shown["channels"], shown["few"]) == (False, 150, {"push": 150}, [])


async def test_what_went_out_without_a_second_person_shows_estimates(desk: Desk, alert: dict[str, Any], viewer: str):
    """So does its stand-down, which tells the same people."""
    body = {**(await desk.ask("ana", "GET", "/v1/organisations/police"))[1]["organisation"], "unattended": ALLOWED}
    assert await desk.slug("bea", "PUT", "/v1/organisations/police", body) == "ok"
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", alert)
    assert taken["state"] == "approved"
    await planned(desk, taken["id"])
    assert await desk.slug("ana", "POST", f"/v1/alerts/{taken['id']}/stand-down", {"reason": "found"}) == "ok"
    for version in (taken["id"], f"{taken['id']}-2"):
        shown = await seen(desk, viewer, version)
        assert (shown["exact"], shown["channels"], 200 in shown.values()) == (False, {}, False)


async def test_what_a_second_person_approved_shows_exact_counts(desk: Desk, alert: dict[str, Any], viewer: str):
    """Two people answer for it."""
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", alert)
    assert await desk.slug("bea", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "ok"
    await planned(desk, taken["id"])
    shown = await seen(desk, viewer, taken["id"])
    assert shown == {"exact": True, "alert": 200, "people": 200, "channels": {"push": 200}, "few": []}


async def test_fewer_than_a_hundred_wait_for_a_second_person(desk: Desk, alert: dict[str, Any]):
    """That an alert to a single house was sent, or found nobody, would tell whether somebody lives there."""
    body = {**(await desk.ask("ana", "GET", "/v1/organisations/police"))[1]["organisation"], "unattended": ALLOWED}
    assert await desk.slug("bea", "PUT", "/v1/organisations/police", body) == "ok"
    house = {"circles": [{"center": [SEVILLA[0] + 0.05, SEVILLA[1]], "radius_km": 0.3}]}
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", {**alert, "target": house})
    assert taken["state"] == AlertState.PENDING
    assert (await seen(desk, "ana", taken["id"]))["alert"] == "<100"


async def test_a_report_does_not_follow_anybody(desk: Desk, alert: dict[str, Any]):
    """One of its people leaves the area and comes back; what the report says of regions stays."""
    parts = desk.parts
    now = {"point": SEVILLA, "at": datetime.now(UTC).isoformat()}
    await register(parts, 25, first=1_000, places={"now": now})
    body = {**alert, "target": {"regions": ["41091"]}, "policy": {"places": ["now", "home"]}}
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", body)
    assert await desk.slug("bea", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "ok"
    await planned(desk, taken["id"])

    async def regions() -> Any:
        status, report = await desk.ask("ana", "GET", f"/v1/alerts/{taken['id']}/report")
        assert status == 200, report
        return report["regions"]

    before = await regions()
    assert is_about(before["41091"], 225)
    for _ in range(2):
        await register(parts, 1, first=1_000, places={"now": {**now, "point": CADIZ}})
        assert await regions() == before
        await register(parts, 1, first=1_000, places={"now": now})
        assert await regions() == before
