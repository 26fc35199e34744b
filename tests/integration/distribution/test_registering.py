"""Distributors are registered, changed and removed, and none loses the way by which it is told an end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.common.errors import Problem
from alertd.service.container import Container
from alertd.service.records.webhooks import MOST
from tests.integration.acts import BEA, planned
from tests.integration.distribution.acts import (
    ACK,
    made,
    told,
)
from tests.integration.gateways import HOST, Gateway


async def test_distributors_are_registered_over_http(
    parts: Container, gateway: Gateway, sample: dict[str, Any], client: Any
):
    """What cannot be is refused with its place; secrets are told once or never; another organisation's do not exist; more than so many
    are too many.
    """
    tokens = {
        name: {"Authorization": f"Bearer {(await parts.access.create(org=org, subject=name, scopes=frozenset({scope})))[1]}"}
        for name, org, scope in (("own", "default", "admin"), ("other", "other", "admin"), ("reader", "default", "alerts:read"))
    }  # fmt: skip
    own, order = tokens["own"], {"name": "Radio", "url": gateway.url("/token-x"), "authorization": "Bearer hush"}
    wrong = {"name": "", "url": "http://10.0.0.1/", "statuses": [], "authorization": "a\nb", "levels": ["loud"]}
    answer = await client.post("/v1/distributors", json=wrong, headers=own)
    assert answer.status == 400
    assert {one["pointer"] for one in (await answer.json())["errors"]} >= {"/name", "/statuses", "/levels/0"}
    answer = await client.post(
        "/v1/distributors", json={**order, "url": "https://10.0.0.1/", "authorization": "a\nb"}, headers=own
    )
    assert [one["pointer"] for one in (await answer.json())["errors"]] == ["/authorization", "/url"]
    assert (await client.post("/v1/distributors", json=order, headers=tokens["reader"])).status == 403
    answer = await client.post("/v1/distributors", json=order, headers=own)
    assert answer.status == 201
    radio = await answer.json()
    assert radio["secret"].startswith("whsec_")
    path = f"/v1/distributors/{radio['id']}"
    [seen] = (await (await client.get("/v1/distributors", headers=tokens["reader"])).json())["distributors"]
    assert (seen["distributor"], seen["receipts"], seen["host"], seen["authorized"]) == (None, None, HOST, True)
    assert "token-x" not in json.dumps(seen)
    assert (await (await client.get("/v1/distributors", headers=tokens["other"])).json())["distributors"] == []
    for method in ("get", "delete"):
        assert (await getattr(client, method)(path, headers=tokens["other"])).status == 404
    assert "hush" not in await (await client.get(path, headers=own)).text()
    gateway.answers["/token-x"] = [ACK]
    answer = await client.post(f"{path}/test", headers=own)
    assert await answer.json() == {"taken": True, "answered": 200, "acknowledged": True}
    assert (gateway.last("/token-x").status.value, gateway.last("/token-x").infos) == ("System", ())
    changed = await client.put(path, json={"name": "Radio 2", "url": order["url"]}, headers=own)
    assert (await changed.json())["authorized"] is True
    record = await planned(parts, sample)
    await told(parts)
    shown = await (await client.get(f"/v1/alerts/{record.id}/distribution", headers=tokens["reader"])).json()
    [one] = shown["distributors"]
    assert (one["name"], one["has_it"], one["takedown"]["state"]) == ("Radio 2", True, "none")
    assert [each["state"] for each in one["messages"]] == ["acknowledged"]
    assert (await client.get(f"/v1/alerts/{record.id}/distribution", headers=tokens["other"])).status == 404
    assert (await client.delete(path, headers=own)).status == 409
    gateway.answers["/token-x"] = [202]
    await parts.follow_ups.close(record.id, BEA, "x")
    await told(parts)
    mine = f"/v1/alerts/{record.id}/distribution/{radio['id']}"
    assert (await client.post(f"{mine}/confirm", headers=tokens["reader"])).status == 403
    answer = await (await client.post(f"{mine}/confirm", headers=own)).json()
    assert answer["distributors"][0]["takedown"]["confirmed_by"] == "own"
    assert (await client.post(f"{mine}/resend", headers=own)).status == 409
    assert (await client.delete(path, headers=own)).status == 204
    assert (await client.get(path, headers=own)).status == 404
    for _ in range(MOST):
        assert (await client.post("/v1/distributors", json=order, headers=own)).status == 201
    assert (await client.post("/v1/distributors", json=order, headers=own)).status == 409


async def test_a_distributor_that_is_turned_off_is_told_of_what_it_has(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """It is not removed before; the secrets of it are in no dump of the store."""
    radio = await made(parts, gateway, "/radio", "Bearer hush", acknowledges=False)
    record = await planned(parts, sample)
    await told(parts)
    old = (await parts.distributors.get("default", radio)).distributor
    await parts.distributors.change("default", radio, old.model_copy(update={"enabled": False}), None)
    with pytest.raises(Problem, match="Turn it off"):
        await parts.distributors.remove("default", radio)
    await planned(parts, sample)
    await parts.amendment.restrict(record.id, BEA, "protected")
    await told(parts)
    await parts.follow_ups.close(record.id, BEA, "x")
    await told(parts)
    assert gateway.types("/radio") == ["Alert", "Update", "Cancel"]
    assert {headers["authorization"] for headers, _ in gateway.got["/radio"]} == {"Bearer hush"}
    for raw in await parts.db.execute("KEYS", "*"):
        assert b"hush" not in (await parts.db.execute("DUMP", raw) or b"")
    await parts.distributors.remove("default", radio)
