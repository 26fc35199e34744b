"""What is stopped or waits is sent to nobody, but for what says less of a child."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alertd.service.container import Container
from tests.integration.acts import ANA, BEA, CARL, planned
from tests.integration.distribution.acts import (
    ERROR,
    made,
    receipts,
    states,
    takedowns,
    told,
)
from tests.integration.gateways import Gateway


async def test_what_is_stopped_or_waits_is_sent_to_nobody(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """An alert goes on when it does; a Cancel stops harm, and goes at once."""
    radio = await made(parts, gateway, "/radio")
    first, second = await planned(parts, sample), await planned(parts, sample)
    await parts.stop_control.pause(first, ANA, waits=True, rev=None)
    await told(parts)
    assert [one.identifier for _, one in gateway.got["/radio"]] == [second.id]
    await parts.stop_control.stop("org:default", ANA, "a key in the wrong hands")
    await parts.stop_control.pause(first, ANA, waits=False, rev=None)
    await told(parts, after_s=10)
    assert len(gateway.types("/radio")) == 1
    await parts.follow_ups.cancel(second.id, BEA, "x")
    await told(parts)
    assert gateway.types("/radio") == ["Alert", "Cancel"]
    for who in (ANA, BEA):
        await parts.stop_control.resume("org:default", who)
    await told(parts, after_s=10)
    assert gateway.last("/radio").identifier == first.id
    assert await states(parts, first, radio) == [("Alert", "accepted")]


@pytest.mark.parametrize("key", ["a", "b"])
async def test_stopping_either_key_stops_it(parts: Container, gateway: Gateway, sample: dict[str, Any], key: str):
    """Of whoever wrote it and of whoever approved it, as for phones; resumed, it goes on."""
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await parts.stop_control.stop(f"key:default:{key}", CARL, "a key in the wrong hands")
    await told(parts)
    assert gateway.types("/radio") == []
    other = BEA if key == "a" else ANA
    for who in (CARL, other):
        await parts.stop_control.resume(f"key:default:{key}", who)
    await told(parts, after_s=10)
    assert await states(parts, record, radio) == [("Alert", "accepted")]


@pytest.mark.parametrize("halt", ["stop", "pause"])
async def test_what_says_less_of_a_child_is_kept_by_no_stop(
    parts: Container, gateway: Gateway, sample: dict[str, Any], halt: str
):
    """Whoever may show her name gets the Update without it at once; whoever has nothing yet gets nothing."""
    gateway.answers = {"/radio": [202], "/none": [404]}
    names = {path: await made(parts, gateway, path) for path in gateway.answers}
    record = await planned(parts, sample)
    await told(parts)
    if halt == "stop":
        await parts.stop_control.stop("org:default", ANA, "a key in the wrong hands")
    else:
        await parts.stop_control.pause(record, ANA, waits=True, rev=None)
    await parts.amendment.restrict(record.id, BEA, "protected")
    await told(parts, after_s=60)
    assert gateway.types("/radio") == ["Alert", "Update"]
    assert "Luc" not in str(gateway.last("/radio").infos)
    assert gateway.types("/none") == ["Alert"]
    assert await states(parts, record, names["/none"]) == [("Alert", "superseded"), ("Alert", "queued")]


async def test_who_refuses_to_say_less_of_a_child_says_nothing(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """What names her is cancelled there, and that has to be confirmed; the alert goes on under a new name, as far as it is taken."""
    gateway.answers = {"/radio": [202, 422, 202, 422], "/fine": [202]}
    radio, fine = await made(parts, gateway, "/radio"), await made(parts, gateway, "/fine")
    record = await planned(parts, sample)
    await told(parts)
    await parts.amendment.restrict(record.id, BEA, "protected")
    for _ in range(4):
        await told(parts, after_s=2)
    assert gateway.types("/radio") == ["Alert", "Update", "Cancel"]
    assert gateway.types("/fine") == ["Alert", "Update"]
    assert await takedowns(parts) == 1
    soon = datetime.now(UTC) + timedelta(hours=30)
    await parts.amendment.extend(record.id, CARL, soon, "still missing")
    await told(parts)
    assert gateway.types("/radio")[3:] == ["Alert"]
    assert "Luc" not in str(gateway.last("/radio").infos)
    assert await takedowns(parts) == 1
    await parts.acknowledgements.confirm(await parts.alerts.get(record.id), radio, CARL)
    assert await takedowns(parts) == 0
    assert [state for _, state in await states(parts, record, fine)] == ["accepted", "accepted", "accepted"]


async def refuse(parts: Container, distributor: str, gateway: Gateway, path: str) -> None:
    """A CAP Error about the last message there, posted later."""
    token = (await receipts(parts, distributor)).rpartition("/")[2]
    assert await parts.acknowledgements.take(token, ERROR(gateway.last(path))) == 1


async def test_who_refuses_later_to_say_less_of_a_child_says_nothing_either(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """A gateway answers 202 and posts its Error afterwards: what names her is cancelled there then, whatever else happens to the alert."""
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.amendment.restrict(record.id, BEA, "protected")
    await told(parts)
    assert gateway.types("/radio") == ["Alert", "Update"]
    await refuse(parts, radio, gateway, "/radio")
    await told(parts)
    assert gateway.types("/radio") == ["Alert", "Update", "Cancel"]
    assert await takedowns(parts) == 1


async def test_an_error_stands_though_no_answer_came(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """The Error is posted while the try is under way, which then ends without an answer: it is refused, and what follows is sent."""
    gateway.answers["/radio"] = [202, "silence", 202]
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.amendment.restrict(record.id, BEA, "protected")
    assert await parts.events.leads()
    await parts.events.bring()
    await parts.webhook_delivery.round()
    while len(gateway.types("/radio")) < 2:
        await parts.clock.sleep(0.01)
    await refuse(parts, radio, gateway, "/radio")
    await parts.webhook_delivery.settled()
    await told(parts, after_s=60)
    assert gateway.types("/radio") == ["Alert", "Update", "Cancel"]
    assert await states(parts, record, radio) == [("Alert", "accepted"), ("Update", "refused"), ("Cancel", "accepted")]
