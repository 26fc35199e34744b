"""What was posted and not answered may be taken up later, after what takes it back: that is sent once more then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from tests.integration.acts import ANA, BEA, CARL, planned
from tests.integration.distribution.acts import ACK, ERROR, events, made, receipts, states, takedowns, told
from tests.integration.distribution.standing import begun, until
from tests.integration.gateways import Gateway, answering


async def unanswered(parts: Container, gateway: Gateway, sample: dict[str, Any], path: str) -> AlertRecord:
    """An alert that the gateway there got and never answered."""
    record = await planned(parts, sample)
    await begun(parts)
    await until(parts, lambda: gateway.types(path) == ["Alert"])
    await parts.webhook_delivery.close()
    return record


async def says(parts: Container, distributor: str, document: bytes) -> None:
    """It posts an Ack or an Error."""
    token = (await receipts(parts, distributor)).rpartition("/")[2]
    assert await parts.acknowledgements.take(token, document) == 1


async def test_an_ack_that_is_posted_spares_no_second_cancel(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """The gateway answers 202 and posts its Ack a moment later, which is how most do: the Alert may be taken up after that all the same, and
    the Cancel goes out once more. The take-down is open until that one is acknowledged.
    """
    gateway.answers["/radio"] = ["silence", 202]
    radio = await made(parts, gateway, "/radio")
    record = await unanswered(parts, gateway, sample, "/radio")
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    await says(parts, radio, ACK(gateway.last("/radio")))
    assert await takedowns(parts) == 1
    await told(parts, after_s=30)
    assert gateway.types("/radio") == ["Alert", "Cancel"]
    await told(parts, after_s=70)
    assert (gateway.types("/radio"), await takedowns(parts)) == (["Alert", "Cancel", "Cancel"], 1)
    await says(parts, radio, ACK(gateway.last("/radio")))
    assert await takedowns(parts) == 0
    assert [one for one, _ in await states(parts, record, radio)] == ["Alert", "Cancel", "Cancel"]


@pytest.mark.parametrize("posted", [False, True])
async def test_who_took_the_cancel_may_refuse_its_repetition(
    parts: Container, gateway: Gateway, sample: dict[str, Any], *, posted: bool
):
    """It has nothing any more that there is to cancel, and says so by an Error, at once or later: the take-down is confirmed, and refused by nobody."""
    gateway.answers["/radio"] = ["silence", ACK, 202 if posted else ERROR]
    radio = await made(parts, gateway, "/radio")
    record = await unanswered(parts, gateway, sample, "/radio")
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    await told(parts, after_s=100)
    first, second = (one for _, one in gateway.got["/radio"][1:])
    assert first.identifier != second.identifier
    assert [one.identifier for one in second.references] == [record.id]
    if posted:
        assert await takedowns(parts) == 1
        await says(parts, radio, ERROR(second))
    assert await takedowns(parts) == 0
    assert sorted(await events(parts)) == ["distributor.takedown_confirmed", "distributor.takedown_open"]
    assert b"\nalertd_distributor_takedowns_refused 0.0\n" in (await parts.fleet.metrics()).whole


async def test_who_only_answered_the_cancel_and_refuses_its_repetition_refuses(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """A 202 is no Ack where Acks are sent: an Error after it may be about what is shown still, and that is told."""
    gateway.answers["/radio"] = ["silence", 202, ERROR]
    await made(parts, gateway, "/radio")
    record = await unanswered(parts, gateway, sample, "/radio")
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    await told(parts, after_s=100)
    assert await takedowns(parts) == 1
    assert "distributor.takedown_refused" in await events(parts)


async def test_an_ack_of_an_earlier_cancel_takes_nothing_down_that_came_after_it(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """The gateway took a Cancel and never acknowledged it, the alert came back, and was cancelled again: a late Ack of the first says nothing of
    the second, which is tried until it is taken.
    """
    gateway.answers["/radio"] = [202, 202, 202, 503, ACK]
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.follow_ups.stand_down(record.id, BEA, "x")
    await told(parts)
    first = gateway.last("/radio")
    await parts.follow_ups.reopen(record.id, BEA, "still missing")
    await told(parts)
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    assert gateway.types("/radio") == ["Alert", "Cancel", "Alert", "Cancel"]
    await says(parts, radio, answering("Ack")(first))
    assert await takedowns(parts) == 1
    await told(parts, after_s=60)
    assert (gateway.types("/radio")[3:], await takedowns(parts)) == (["Cancel", "Cancel"], 0)


async def test_what_says_less_of_a_child_is_sent_once_more_after_what_may_name_her(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """The Alert that names her may be taken up after the Update that does not: the Update goes out again, though all is stopped meanwhile."""
    gateway.answers["/radio"] = ["silence", 202]
    radio = await made(parts, gateway, "/radio")
    record = await unanswered(parts, gateway, sample, "/radio")
    await parts.amendment.restrict(record.id, BEA, "protected")
    await told(parts)
    await parts.stop_control.stop("org:default", ANA, "a key in the wrong hands")
    await told(parts, after_s=30)
    assert gateway.types("/radio") == ["Alert", "Update"]
    await told(parts, after_s=70)
    assert gateway.types("/radio") == ["Alert", "Update", "Update"]
    first, second = (one for _, one in gateway.got["/radio"][1:])
    assert [one.identifier for one in second.references] == [record.id, first.identifier]
    assert "Luc" not in str(second.infos)
    await told(parts, after_s=200)
    assert [state for _, state in await states(parts, record, radio)] == ["superseded", "accepted", "accepted"]
    assert len(gateway.types("/radio")) == 3


async def test_an_update_meanwhile_says_less_as_well(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """It takes the place of the Update that waits to be sent again, and is itself sent again once the Alert can no longer follow it."""
    gateway.answers["/radio"] = ["silence", 202]
    await made(parts, gateway, "/radio")
    record = await unanswered(parts, gateway, sample, "/radio")
    await parts.amendment.restrict(record.id, BEA, "protected")
    await told(parts)
    await parts.amendment.extend(record.id, CARL, datetime.now(UTC) + timedelta(hours=30), "still missing")
    await told(parts)
    assert gateway.types("/radio") == ["Alert", "Update", "Update"]
    await told(parts, after_s=100)
    await told(parts, after_s=200)
    assert gateway.types("/radio") == ["Alert", "Update", "Update", "Update"]
    third, fourth = (one for _, one in gateway.got["/radio"][2:])
    assert (third.infos, third.identifier != fourth.identifier) == (fourth.infos, True)


async def test_a_word_that_is_posted_does_not_say_that_nothing_followed(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """The Ack of an Alert that was never answered comes after its Cancel was begun: which of the two was taken first nobody knows."""
    gateway.answers["/radio"] = ["silence", 503, ACK]
    radio = await made(parts, gateway, "/radio")
    record = await unanswered(parts, gateway, sample, "/radio")
    alert = gateway.last("/radio")
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    await says(parts, radio, ACK(alert))
    await told(parts, after_s=20)
    assert (gateway.types("/radio"), await takedowns(parts)) == (["Alert", "Cancel", "Cancel"], 1)
    await told(parts, after_s=100)
    assert (gateway.types("/radio")[3:], await takedowns(parts)) == (["Cancel"], 0)


async def test_an_error_after_more_tries_leaves_the_others_in_doubt(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """The first try of an Alert was not answered and the second was refused: the first may be taken up after the Cancel."""
    gateway.answers["/radio"] = ["silence", ERROR, ACK]
    await made(parts, gateway, "/radio")
    record = await unanswered(parts, gateway, sample, "/radio")
    await told(parts, after_s=20)
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    assert (gateway.types("/radio"), await takedowns(parts)) == (["Alert", "Alert", "Cancel"], 1)
    await told(parts, after_s=100)
    assert (gateway.types("/radio")[3:], await takedowns(parts)) == (["Cancel"], 0)


async def test_a_cancel_that_nobody_answered_takes_nothing_down_for_sure(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """The alert came back before its Cancel was answered, and goes on under a new name. Its end names the first Alert as well, which may be shown."""
    gateway.answers["/radio"] = [202, 503, 202]
    await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.follow_ups.stand_down(record.id, BEA, "x")
    await told(parts)
    await parts.follow_ups.reopen(record.id, BEA, "still missing")
    await told(parts)
    assert gateway.types("/radio") == ["Alert", "Cancel", "Alert"]
    second = gateway.last("/radio")
    assert second.identifier != record.id
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    assert gateway.types("/radio")[3:] == ["Cancel"]
    assert [one.identifier for one in gateway.last("/radio").references] == [record.id, second.identifier]


async def test_who_refused_a_cancel_is_told_the_next_end_as_well(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """It refused the first stand-down, the alert came back and was shown there all the time: the second stand-down is sent, and owed."""
    gateway.answers["/radio"] = [202, ERROR, ACK]
    await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.follow_ups.stand_down(record.id, BEA, "x")
    await told(parts)
    await parts.follow_ups.reopen(record.id, BEA, "still missing")
    await told(parts)
    assert (gateway.types("/radio"), await takedowns(parts)) == (["Alert", "Cancel"], 0)
    await parts.follow_ups.stand_down(record.id, BEA, "x")
    await told(parts)
    assert (gateway.types("/radio"), await takedowns(parts)) == (["Alert", "Cancel", "Cancel"], 0)
    assert "distributor.takedown_confirmed" in await events(parts)
