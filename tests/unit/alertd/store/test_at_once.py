"""What several ask for at once is asked once, and of nobody before they asked."""

from __future__ import annotations

import asyncio

import pytest

from alertd.store.engine.batcher import AtOnce
from alertd.store.engine.connection import StoreUnavailableError


class Readings:
    """Answers how often it was asked; holds its answers back until it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may = asyncio.Event()
        self.is_away = False

    async def __call__(self, name: str) -> int:
        self.asked.append(name)
        number = len(self.asked)
        await self.may.wait()
        if self.is_away:
            raise StoreUnavailableError("away")
        return number


async def begun(*asking: asyncio.Task[int]) -> None:
    """Those tasks have asked, and what they asked for has begun."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in asking)


async def test_who_asks_at_once_shares_a_reading_and_who_asks_later_has_another():
    """A reading that has begun may be of what was so before: whoever asks then has one of their own."""
    readings = Readings()
    at_once = AtOnce(readings)
    first = [asyncio.create_task(at_once.ask("a")) for _ in range(3)]
    other = asyncio.create_task(at_once.ask("b"))
    await begun(*first, other)
    late = asyncio.create_task(at_once.ask("a"))
    await begun(late)
    readings.may.set()
    assert await asyncio.gather(*first, other, late) == [1, 1, 1, 2, 3]
    assert readings.asked == ["a", "b", "a"]


async def test_who_leaves_takes_the_answer_from_nobody():
    """Whoever asked first may leave before it has begun, or while it is read."""
    readings = Readings()
    at_once = AtOnce(readings)
    tasks = [asyncio.create_task(at_once.ask("a")) for _ in range(3)]
    await begun(*tasks)
    tasks[0].cancel()
    readings.may.set()
    assert await asyncio.gather(*tasks[1:]) == [1, 1]
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_what_cannot_be_read_is_told_to_all_and_asked_anew_by_the_next():
    """A store that is away is away for all of them, and no longer than it is."""
    readings = Readings()
    readings.is_away = True
    readings.may.set()
    at_once = AtOnce(readings)
    answers = await asyncio.gather(at_once.ask("a"), at_once.ask("a"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailableError] * 2
    readings.is_away = False
    assert await at_once.ask("a") == 2
