"""Whoever submits an alert to a target that was looked at a moment ago is shown the estimate of then; nobody is decided about by it."""

from __future__ import annotations

import json
from dataclasses import replace
from math import cos, sin
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.api.alerts.alerts import submitted_reply
from alertd.common.errors import Problem
from alertd.config.sections import AlertSection
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from alertd.store.engine.codec import Codec
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.integration.acts import ANA, BEA, CADIZ, alert_of, is_about, register, submitted
from tests.integration.areas.own_regions import drawn, sending, shipped

SAME = {"regions": ["41091"]}


async def test_a_look_at_the_same_target_is_shared(parts: Container, sample: dict[str, Any]):
    """Two alerts to one target share a look; another kind of alert, which is for others, does not."""
    await register(parts, 30)
    first, second = [await submitted(parts, sample, target=SAME) for _ in range(2)]
    drill = await submitted(parts, sample, target=SAME, status="Test")
    assert first.reach is second.reach
    assert drill.reach is not first.reach


async def test_the_same_words_are_tried_once(parts: Container, sample: dict[str, Any]):
    """Two alerts that differ in their external id alone, with quotes or none in it, say the same; another sentence does not."""
    await register(parts, 30)
    tried = parts.intake._unsayable._values  # by what is said
    for name in ("a1", 'b"2\u00e9', "c3"):
        await submitted(parts, sample, target=SAME, external_id=name)
    assert len(tried) == 1
    clothing = {**sample["case"]["children"][0], "clothing": {"es": "abrigo azul"}}
    await submitted(parts, sample, target=SAME, external_id="d4", case={**sample["case"], "children": [clothing]})
    assert len(tried) == 2


async def test_the_alerts_of_an_author_have_a_limit_in_bytes(parts: Container, sample: dict[str, Any]):
    """A store that one person has filled would take no alert of anybody. Dry runs store nothing."""
    alerts = AlertSection(author_mb=1)
    limited = replace(
        parts, library=parts.regions.library, settings=parts.settings.model_copy(update={"alerts": alerts})
    )
    corners = [[-6 + 0.1 * cos(i / 1_300), 37.4 + 0.1 * sin(i / 1_300)] for i in range(8_000)]
    large = {"polygons": [{"type": "Polygon", "coordinates": [[*corners, corners[0]]]}]}
    await register(limited, 1)
    for draft in (True, False):  # 0.9 MB together
        await limited.intake.submit(alert_of(sample, target=large), ANA, draft=draft)
    with pytest.raises(Problem) as refused:
        await limited.intake.submit(alert_of(sample, target=large, external_id="x"), ANA)
    assert refused.value.slug == "rate-limited"
    assert int(refused.value.headers["Retry-After"]) > 3_600
    await limited.intake.submit(alert_of(sample, target=large), ANA, dry_run=True)
    await limited.intake.submit(alert_of(sample, target=SAME), ANA)
    by_bea = {"target": large, "external_id": "x", "author": {"subject": BEA.subject}}
    taken = await limited.intake.submit(alert_of(sample, **by_bea), BEA)
    assert not taken.is_repeat, "the refused alert gave its external id back"


async def test_whoever_registered_is_counted_at_once(parts: Container, sample: dict[str, Any]):
    """A look is not shared with whoever asks after people registered, moved away or were forgotten."""
    await register(parts, 300)
    counted = [(await submitted(parts, sample, target=SAME)).people]
    await register(parts, 300, first=300)
    counted.append((await submitted(parts, sample, target=SAME)).people)
    await register(parts, 200, places={"home": {"point": CADIZ}})
    counted.append((await submitted(parts, sample, target=SAME)).people)
    for i in range(200, 400):
        await parts.registry.forget(f"p{i}")
    counted.append((await submitted(parts, sample, target=SAME)).people)
    assert all(map(is_about, counted, (300, 600, 400, 200))), counted


async def test_an_approval_freezes_whoever_is_there(
    parts: Container, sample: dict[str, Any], redis: Redis, codec: Codec, library: Library
):
    """People who registered at another process are in the audience, though the estimate of this process does not have them yet."""
    await register(parts, 30)
    await submitted(parts, sample, target=SAME)
    async with opened(parts.settings, redis, codec, library=library, renderer=parts.renderer) as others:
        await register(others, 1, first=30)
    taken = await submitted(parts, sample, target=SAME)
    assert (await parts.approval.approve(taken.record.id, BEA)).people == 31


async def test_a_region_that_was_drawn_anew_is_looked_at_anew(
    tmp_path: Path, redis: Redis, codec: Codec, sandbox: Sandbox, sample: dict[str, Any]
):
    """The look is of the ground that the region had when it was asked for."""
    async with opened(sending(tmp_path, sandbox), redis, codec, library=shipped()) as parts:
        await drawn(parts, org="default")
        before = await submitted_there(parts, sample)
        smaller = {"type": "Polygon", "coordinates": [[[-6.1, 37.3], [-6.0, 37.3], [-6.0, 37.4], [-6.1, 37.3]]]}
        await parts.regions.draw("PATROL-1", "Ours", {}, await parts.regions.outline(smaller), org="default", seen=None)
        assert await submitted_there(parts, sample) < before / 2


async def submitted_there(parts: Container, sample: dict[str, Any]) -> float:
    """The km2 that a drill in the drawn region is told of."""
    taken = await submitted(parts, sample, target={"regions": ["PATROL-1"]}, status="Test")
    return taken.area.km2


async def test_whoever_shares_a_look_is_told_of_their_own_channels(parts: Container, sample: dict[str, Any]):
    """How long an alert takes is told by the channels that it asks for, though another to the same target asked for others."""
    await register(parts, 30)
    told = []
    for channels in (["push"], ["sms", "mail"]):
        alert = alert_of(sample, target=SAME, channels=channels)
        taken = await parts.intake.submit(alert, ANA)
        told.append({*json.loads((await submitted_reply(parts, taken, alert)).made)["eta"]})
    assert told == [{"push"}, {"sms", "mail"}]
