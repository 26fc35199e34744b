"""A ledger that is read while it grows: each row is told under the channel that it is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work_records import BatchKey, pack_ref, subscribers_in, unpack_refs
from tests.integration.acts import BEA, register, submitted

#: More than are read at once, in one chunk of a plan.
MANY = 5_000


@pytest.fixture
async def approved(parts: Container, sample: dict[str, Any]) -> AlertRecord:
    await register(parts, 25)
    taken = await submitted(parts, sample, channels=["push", "sms"])
    return await parts.approval.approve(taken.record.id, BEA)


async def plan(parts: Container, record: AlertRecord, cursor: int, channels: Sequence[str], *, last: bool) -> None:
    """One chunk of the same people by each of some channels."""
    refs = b"".join(pack_ref(number, 0) for number in range(1, MANY + 1))
    groups = [(BatchKey(channel=channel, language="es"), refs) for channel in channels]
    assert await parts.work.plan(record.id, cursor, cursor + MANY, groups, last=last) == "ok"


async def test_what_is_planned_while_it_is_read_has_its_channel(parts: Container, approved: AlertRecord):
    """The first rows are of one channel, and those that come meanwhile of another."""
    await plan(parts, approved, 0, ["push"], last=False)
    deliveries = parts.reports.deliveries(approved)
    told = Counter([(await anext(deliveries)).channel])
    await plan(parts, approved, MANY, ["sms"], last=True)
    told.update([one.channel async for one in deliveries])
    assert told == {"push": MANY, "sms": MANY}


async def test_what_is_planned_while_it_is_searched_has_its_channel(parts: Container, approved: AlertRecord):
    """Why somebody was told, in the middle of a plan."""
    await plan(parts, approved, 0, ["push"], last=False)
    deliveries = parts.reports.deliveries_to(approved, 1)
    told = [(await anext(deliveries)).channel]
    for chunk in range(1, 15):  # what is looked through at once is more
        await plan(parts, approved, chunk * MANY, ["push"] if chunk < 14 else ["sms"], last=chunk == 14)
    told += [one.channel async for one in deliveries]
    assert Counter(told) == {"push": 14, "sms": 1}


def test_the_numbers_of_many_are_those_of_each():
    """Of none, of one, and of the largest there is."""
    numbers = [1, 255, 256, 2**32, 2**40 - 1]
    for some in (numbers[:0], numbers[:1], numbers):
        refs = b"".join(pack_ref(number, number % 8) for number in some)
        assert subscribers_in(refs).tolist() == some == [number for number, _ in unpack_refs(refs)]
