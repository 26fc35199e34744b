"""Regions that organisations draw: how many they may have, how they are deleted, and what depends on them."""

from __future__ import annotations

import base64
import json
from math import cos, sin, tau
from pathlib import Path
from typing import Any

import pytest
import shapely
from redis.asyncio import Redis

from alertd.common.errors import Problem
from alertd.runtime.assembly import opened
from alertd.service.areas.regions import MOST_DRAWINGS, MOST_POSITIONS
from alertd.service.container import Container
from alertd.store.areas.custom_regions import CustomRegions
from alertd.store.engine.codec import Codec
from tests.integration.acts import BEA, SEVILLA, draw, register, registration, submitted
from tests.integration.areas.own_regions import PATROL, drawn, imported, settings_of, shipped


def ring(positions: int) -> shapely.MultiPolygon:
    """A round region of so many positions."""
    steps = range(positions - 1)
    angles = [tau * step / (positions - 1) for step in steps]
    return shapely.MultiPolygon([shapely.Polygon([(-6 + 0.4 * cos(a), 37.4 + 0.4 * sin(a)) for a in angles])])


async def stored(parts: Container, code: str, shape: shapely.MultiPolygon, org: str = "ours") -> None:
    """Stores a drawing as another process does."""
    wkb = base64.b64encode(shapely.to_wkb(shape)).decode()
    document = json.dumps({"name": code, "names": {}, "wkb": wkb}).encode()
    await CustomRegions(parts.db).put(code, org, document, revision=1, seen=None)


async def slug_of(attempt: Any) -> str:
    """The problem that an attempt meets, or ok."""
    try:
        await attempt
    except Problem as problem:
        return problem.slug
    return "ok"


async def test_an_organisation_has_so_many_drawings_at_most(tmp_path: Path, redis: Redis, codec: Codec):
    """Every process has all of them in memory. It may replace its own, and others may draw."""
    async with opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts:
        for i in range(MOST_DRAWINGS):
            await stored(parts, f"OURS-{i}", ring(10))
        assert await slug_of(drawn(parts)) == "too-large"
        assert await slug_of(drawn(parts, "OURS-3")) == "ok"
        assert await slug_of(drawn(parts, org="theirs")) == "ok"
        await parts.regions.delete("OURS-7", org="ours", seen=None)
        assert await slug_of(drawn(parts, "OURS-900")) == "ok"
        assert await slug_of(drawn(parts, "OURS-901")) == "too-large"


async def test_the_drawings_of_an_organisation_have_so_many_positions_at_most(
    tmp_path: Path, redis: Redis, codec: Codec
):
    """Of a drawing that is replaced, the positions of the new one count."""
    async with opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts:
        await stored(parts, "BIG-1", ring(MOST_POSITIONS - 100))

        async def sketch(code: str, org: str = "ours") -> str:
            shape = shapely.geometry.mapping(ring(500))
            return await slug_of(
                parts.regions.draw(code, code, {}, await parts.regions.outline(shape), org=org, seen=None)
            )

        assert await slug_of(drawn(parts, "SMALL-1")) == "ok"
        assert await sketch("SMALL-2") == "too-large"
        assert await sketch("SMALL-1") == "too-large"
        assert await sketch("THEIRS-1", "theirs") == "ok"
        assert await sketch("BIG-1") == "ok"
        assert await sketch("SMALL-2") == "ok"


async def test_a_deleted_drawing_is_gone_at_the_next_look_and_its_number_is_not_used_again(
    tmp_path: Path, redis: Redis, codec: Codec
):
    """Records and caches that have the number find nothing, rather than the next drawing under that code."""
    async with (
        opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts,
        opened(settings_of(tmp_path), redis, codec, library=shipped()) as others,
    ):
        first = await drawn(parts)
        await others.regions.refresh()
        await parts.regions.delete("PATROL-1", org="ours", seen=None)
        assert "PATROL-1" not in parts.regions.library
        await others.regions.refresh()
        assert "PATROL-1" not in others.regions.library
        assert (await drawn(parts, org="theirs")).number > first.number


async def test_an_imported_region_is_everybodys_though_its_code_was_drawn_before(
    tmp_path: Path, redis: Redis, codec: Codec
):
    """An organisation hides no region of the library by a drawing under its code, and can still delete that drawing."""
    async with opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts:
        await drawn(parts, "PORT-1", org="theirs")
        imported(tmp_path)
        await parts.regions.refresh()
        assert not parts.regions.is_anothers("PORT-1", "ours")
        await parts.regions.delete("PORT-1", org="theirs", seen=None)
        assert parts.regions.library.get("PORT-1").kind == "city"


async def test_an_organisation_deletes_its_own_drawings_and_the_host_any(client: Any, parts: Container):
    """To others there is no such region; If-Match keeps a drawing that was changed meanwhile."""
    tokens = {}
    for name, org, scopes, test in (
        ("ours", "police", {"regions:write", "regions:read"}, False),
        ("theirs", "rescue", {"regions:write"}, False),
        ("tester", "police", {"regions:write"}, True),
        ("host", "default", {"regions:write"}, False),
        ("admin", "default", {"admin"}, False),
    ):
        _, token = await parts.access.create(org=org, subject=name, scopes=frozenset(scopes), test=test)
        tokens[name] = {"Authorization": f"Bearer {token}"}

    async def delete(who: str, **headers: str) -> int:
        answer = await client.delete("/v1/regions/PATROL-1", headers={**tokens[who], **headers})
        return int(answer.status)

    async def put() -> str:
        answer = await client.put(
            "/v1/regions/PATROL-1", json={"name": "x", "geometry": PATROL}, headers=tokens["ours"]
        )
        return str(answer.headers["ETag"])

    version = await put()
    stale = {"If-Match": '"7"'}
    refused = [await delete("theirs"), await delete("host"), await delete("tester"), await delete("ours", **stale)]
    assert refused == [404, 404, 403, 412]
    assert await delete("ours", **{"If-Match": version}) == 204
    assert await delete("ours") == 404
    assert (await client.get("/v1/regions/PATROL-1", headers=tokens["ours"])).status == 404
    await put()
    assert await delete("admin") == 204
    gone = await client.delete("/v1/regions/41091", headers=tokens["admin"])
    assert gone.status == 404


async def test_an_alert_keeps_its_area_though_a_drawing_that_it_names_is_deleted(
    parts: Container, sample: dict[str, Any]
):
    """It can be ended as ever. A draft cannot be submitted, and what waits cannot be approved, until its target is changed."""
    await register(parts, 200)
    await draw(parts, SEVILLA)
    target = {"regions": ["X-PATROL"]}
    sent = await submitted(parts, sample, target=target)
    await parts.approval.approve(sent.record.id, BEA)
    before = await parts.alerts.area(sent.record.id)
    waiting = await submitted(parts, sample, target=target, external_id="another", status="Test")
    await parts.regions.delete("X-PATROL", org="default", seen=None)
    assert (await parts.alerts.area(sent.record.id)).equals(before)
    assert await slug_of(submitted(parts, sample, target=target, external_id="third")) == "unknown-region"
    closed = await parts.follow_ups.close(sent.record.id, BEA, "found")
    assert closed.record.state == "closed"
    assert await slug_of(parts.jurisdiction_split.check_ground(waiting.record, BEA)) == "approval-stale"


async def test_a_public_document_hides_the_outline_of_a_drawing_that_was_deleted(
    parts: Container, sample: dict[str, Any]
):
    """It shows whole regions, as it did before: the outline may say where a child is looked for."""
    await register(parts, 200)
    await draw(parts, SEVILLA)
    sent = await submitted(parts, sample, target={"regions": ["X-PATROL"]}, publish={"area": "regions"})
    record = await parts.approval.approve(sent.record.id, BEA)
    before = await parts.cap_out.document(record)
    await parts.regions.delete("X-PATROL", org="default", seen=None)
    assert await parts.cap_out.document(record) == before


async def test_a_drawing_does_not_make_the_map_of_people_out_of_date(parts: Container):
    """Nobody belongs to a drawing, and counting ten million people anew takes a minute."""
    await register(parts, 20)
    before = await parts.reaches.current(parts.regions.library)
    await draw(parts, SEVILLA)
    assert await parts.reaches.current(parts.regions.library) is before


async def test_nobody_lives_in_a_drawing(parts: Container):
    """Its organisation could draw it elsewhere, and other people would get its alerts."""
    await draw(parts, SEVILLA)
    with pytest.raises(Problem, match="is refused"):
        await parts.registry.put("p0", registration(0, places={"home": {"region": "X-PATROL"}}))
