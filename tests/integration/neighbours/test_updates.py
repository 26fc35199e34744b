"""What becomes of a permission when the alert is updated, hidden or shown again, and of the keys that gave it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.model.organisation import Organisation
from alertd.service.container import Container
from alertd.store.approvals.later_versions import PermissionStore
from tests.integration.acts import ANA, reached
from tests.integration.authority.desks import BOTH, Desk
from tests.integration.neighbours.asks import (
    ASK,
    ASK_HOME,
    FURTHER,
    GUARD,
    NO,
    approved,
    grant,
    reaching_malaga,
    updated,
)


async def test_a_permission_covers_the_ground_that_was_shown(desk: Desk, alert: dict[str, Any], parts: Container):
    """An update within it asks nobody; one that reaches further asks anew, and what was permitted goes on being told."""
    await reaching_malaga(desk)
    alert_id = await approved(desk, alert)
    assert await grant(desk, alert_id) == "ok"
    narrower = {"regions": ["ES-SE", "11012"], "beyond": "ask"}
    assert await updated(desk, alert, alert_id, narrower) == "granted"
    assert await updated(desk, alert, alert_id, ASK) == "granted"
    assert await updated(desk, alert, alert_id, FURTHER) == "asked"
    record = await parts.alerts.get(alert_id)
    assert record is not None
    assert (await parts.alerts.audience(f"{alert_id}-5")).numbers.size == 81
    assert await grant(desk, alert_id) == "ok"
    assert await desk.slug("bea", "POST", f"/v1/alerts/{alert_id}/updates", {**alert, "notify": "full", "target": BOTH}) == (
        "outside-jurisdiction"
    )  # fmt: skip


async def test_what_an_update_leaves_out_is_asked_no_more(desk: Desk, alert: dict[str, Any]):
    """What was asked for besides what was permitted: nobody permits it, nor asks for it, before an update has it again."""
    await reaching_malaga(desk)
    alert_id = await approved(desk, alert)
    assert await grant(desk, alert_id) == "ok"
    for target, stands in ((FURTHER, "asked"), (ASK_HOME, "lapsed"), (FURTHER, "asked"), (ASK_HOME, "lapsed")):
        assert await updated(desk, alert, alert_id, target) == stands
    assert await grant(desk, alert_id) == "precondition-failed"
    again = await desk.slug("ana", "POST", f"/v1/alerts/{alert_id}/permissions", {"organisation": "guard"})
    assert again == "precondition-failed"


async def test_who_was_never_asked_has_permitted_nothing(desk: Desk, alert: dict[str, Any]):
    """The ground stays permitted, by who permitted it, whoever may alert there by now; and whoever was asked beside them has not answered."""
    other = Organisation.model_validate_json(json.dumps({**GUARD, "name": "Coast"}))
    await desk.parts.organisations.put("fire", other, ANA)
    alert_id = await approved(desk, alert)
    assert await grant(desk, alert_id) == "ok"
    await desk.parts.organisations.put("coast", other, ANA)
    elsewhere = {**GUARD, "jurisdiction": {"regions": ["ES-MA"]}}
    assert await desk.slug("host", "PUT", "/v1/organisations/guard", elsewhere) == "ok"
    body = {**alert, "notify": "none", "target": ASK}
    for _ in "ab":
        _, update = await desk.ask("ana", "POST", f"/v1/alerts/{alert_id}/updates", body)
        assert update["permissions"] == []  # it asks nobody
        assert len(await reached(desk.parts, await desk.parts.alerts.get(update["id"]))) == 81
        assert await desk.slug("bea", "POST", f"/v1/alerts/{update['id']}/approve", {}) == "ok"
        (one,) = (await desk.ask("ana", "GET", f"/v1/alerts/{alert_id}"))[1]["permissions"]
        assert (one["organisation"], one["state"], one["by"]) == ("guard", "granted", "eva")


async def test_an_update_that_waits_is_stale_once_a_neighbour_has_permitted(desk: Desk, alert: dict[str, Any]):
    """Its author has not seen what it would undo."""
    alert_id = await approved(desk, alert)
    status, update = await desk.ask("ana", "POST", f"/v1/alerts/{alert_id}/updates", {**alert, "notify": "full"})
    assert status == 202
    assert await grant(desk, alert_id) == "ok"
    assert await desk.slug("bea", "POST", f"/v1/alerts/{update['id']}/approve", {}) == "approval-stale"


async def test_an_answer_stands_where_an_update_asks_the_same(desk: Desk, alert: dict[str, Any]):
    """Whoever has refused a ground is not asked for it again by the way."""
    alert_id = await approved(desk, alert)
    assert await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/refuse", NO) == "ok"
    assert await updated(desk, alert, alert_id, ASK) == "refused"


async def test_what_is_asked_again_is_the_latest_again(desk: Desk, alert: dict[str, Any], parts: Container):
    """An organisation is shown the latest that it is asked; what it refused long ago and is asked again was not among them."""
    store = PermissionStore(parts.db, parts.alerts)
    alert_id = await approved(desk, alert)
    await store.note(["guard"], "later", parts.clock.now_ms() + 1)
    assert await store.of("guard", 1) == ["later"]
    assert await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/refuse", NO) == "ok"
    await store.note(["guard"], alert_id, parts.clock.now_ms() + 2)
    assert await store.of("guard", 9) == [alert_id, "later"]
    await store.drop("guard", [alert_id, "later"])
    assert await store.of("guard", 9) == []


async def _changed_within(desk: Desk, alert: dict[str, Any], alert_id: str) -> None:
    assert await updated(desk, alert, alert_id, ASK) == "granted"


async def _changed_beyond(desk: Desk, alert: dict[str, Any], alert_id: str) -> None:
    await reaching_malaga(desk)
    assert await updated(desk, alert, alert_id, FURTHER) == "asked"


async def _left_out_for_once(desk: Desk, alert: dict[str, Any], alert_id: str) -> None:
    for target in (ASK_HOME, ASK):
        assert await updated(desk, alert, alert_id, target) == "granted"
    (one,) = (await desk.ask("ana", "GET", f"/v1/alerts/{alert_id}"))[1]["permissions"]
    assert (one["by"], one["told_by"]) == ("eva", f"{alert_id}-2")


async def _permitted_by_another_for_more(desk: Desk, alert: dict[str, Any], alert_id: str) -> None:
    await reaching_malaga(desk)
    assert await updated(desk, alert, alert_id, {"regions": ["ES-SE", "ES-MA"], "beyond": "ask"}) == "asked"
    assert await grant(desk, alert_id, "gil") == "ok"
    assert await updated(desk, alert, alert_id, ASK) == "granted"


async def _brought_back(desk: Desk, _alert: dict[str, Any], alert_id: str) -> None:
    for who, act in (("ana", "stand-down"), ("bea", "reopen")):
        assert await desk.slug(who, "POST", f"/v1/alerts/{alert_id}/{act}", {"reason": "x"}) == "ok"


async def _left(_desk: Desk, _alert: dict[str, Any], _alert_id: str) -> None:
    """As it was told first."""


async def _stopped_down(desk: Desk, _alert: dict[str, Any], alert_id: str) -> None:
    assert await desk.slug("ana", "POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "x"}) == "ok"


@pytest.mark.parametrize(
    ("meanwhile", "halt"),
    [
        (_left, b"1"),
        (_changed_within, b"1"),
        (_changed_beyond, b"1"),
        (_left_out_for_once, b"1"),
        (_permitted_by_another_for_more, b"1"),
        (_brought_back, b"1"),
        (_stopped_down, None),
    ],
)
async def test_a_stop_of_the_key_that_permitted_holds_the_alert(
    desk: Desk, alert: dict[str, Any], parts: Container, meanwhile: Any, halt: bytes | None
):
    """It had a hand in what is sent, whatever became of the alert since; it holds up no end."""
    alert_id = await approved(desk, alert)
    assert await grant(desk, alert_id) == "ok"
    await meanwhile(desk, alert, alert_id)
    key = (await desk.ask("eva", "GET", "/v1/me"))[1]["key"]
    assert await desk.slug("gil", "POST", "/v1/stop", {"what": "key", "key": key, "reason": "Lost"}) == "ok"
    assert await parts.db.execute("HGET", f"{{a:{alert_id}}}", "halt") == halt
