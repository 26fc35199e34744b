"""How long a lane may write."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from alertd.service.delivery.sender import SEND_WITHIN_S, SendDeadline


class Clock:
    """Goes on when it is told to; whoever sleeps is woken when it has."""

    def __init__(self):
        self.now_s = 0.0
        self._moved = asyncio.Event()

    def monotonic(self):
        return self.now_s

    async def sleep(self, seconds):
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            await self._moved.wait()

    async def go(self, seconds):
        self.now_s += seconds
        self._moved.set()
        self._moved.clear()
        for _ in range(10):
            await asyncio.sleep(0)


class Gate:
    """Answers when it may."""

    def __init__(self, *, opens=True):
        self.opens, self.asked, self.away = opens, 0, None

    async def goes_on(self):
        self.asked += 1
        if self.away is not None:
            await self.away.wait()
        return self.opens


async def test_leave_lasts_as_long_as_the_gate_says_so():
    """However long a carrier takes; once the gate is closed, half a second from its last yes."""
    clock, gate = Clock(), Gate()
    leave = SendDeadline(clock, gate.goes_on)
    async with leave.keep_asking():
        await clock.go(0)
        for _ in range(100):
            await clock.go(SEND_WITHIN_S / 2)
            assert leave.holds()
        gate.opens = False
        await clock.go(SEND_WITHIN_S / 2)
        assert leave.holds()
        await clock.go(SEND_WITHIN_S / 2)
        assert not leave.holds()
        gate.opens = True  # it is not asked again
        await clock.go(SEND_WITHIN_S)
        assert not leave.holds()


async def test_who_slept_may_not_write_before_the_gate_has_spoken():
    """A process that was stopped wakes without leave, and has it again only if its lease is still its own."""
    clock, gate = Clock(), Gate()
    leave = SendDeadline(clock, gate.goes_on)
    async with leave.keep_asking():
        await clock.go(0)
        gate.away = asyncio.Event()
        await clock.go(3)
        assert gate.asked == 1
        assert not leave.holds()
        gate.opens = False
        gate.away.set()
        await clock.go(0)
        assert not leave.holds()


async def test_an_answer_counts_from_its_question():
    """A store, or a process, that takes long to answer adds nothing."""
    clock, gate = Clock(), Gate()
    leave = SendDeadline(clock, gate.goes_on)
    async with leave.keep_asking():
        await clock.go(0)
        gate.away = asyncio.Event()
        await clock.go(SEND_WITHIN_S / 2)
        await clock.go(SEND_WITHIN_S)
        first, gate.away = gate.away, asyncio.Event()  # what is asked next is not answered yet
        first.set()
        await clock.go(0)
        assert not leave.holds()


@pytest.mark.parametrize("opens", [True, False])
async def test_a_gate_that_took_long_leaves_time_to_write_if_it_is_open_still(opens: bool):
    """It answers when the disk has what it wrote. However slow that is, whoever is owed an alert is told."""
    clock, gate = Clock(), Gate(opens=opens)
    leave = SendDeadline(clock, gate.goes_on)
    await clock.go(3)
    async with leave.keep_asking():
        assert gate.asked == 1
        assert leave.holds() == opens


async def test_what_was_asked_of_the_store_meanwhile_costs_no_time_to_write():
    """Whom a chunk is for is read after the gate has spoken: a store that takes 0.3 s for each answer would leave no time, ever."""
    clock, gate = Clock(), Gate()
    leave = SendDeadline(clock, gate.goes_on)
    async with leave.keep_asking():
        gate.away = asyncio.Event()  # the question that is put meanwhile is not answered yet
        await clock.go(SEND_WITHIN_S + 0.1)
        assert not leave.holds()
        gate.away = None
        assert await leave.renewed()
        assert leave.holds()
        before = gate.asked
        assert await leave.renewed()
        assert gate.asked == before  # it is fresh


async def test_nothing_is_asked_when_it_is_over():
    """Nor for what is over at once."""
    clock, gate = Clock(), Gate()
    async with SendDeadline(clock, gate.goes_on).keep_asking():
        pass
    await clock.go(10)
    assert gate.asked == 0


async def test_a_question_that_swallows_its_cancellation_holds_nobody_up():
    """As libraries do when it comes together with their result (python/cpython issue 86296)."""
    clock, asked = Clock(), asyncio.Event()

    async def swallowing():
        asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return True

    async with asyncio.timeout(5), SendDeadline(clock, swallowing).keep_asking():
        await clock.go(0)
        await clock.go(1)
        assert asked.is_set()
