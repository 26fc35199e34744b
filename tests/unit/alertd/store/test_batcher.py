"""Callers share calls, and each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from alertd.store.engine.bulk_reads import MOST, Batcher
from alertd.store.engine.connection import StoreUnavailableError


class Doubler:
    """Doubles numbers when it is let; refuses negative ones, with whatever comes with them."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may = asyncio.Event()
        self.gone = False

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        await self.may.wait()
        if self.gone:
            raise StoreUnavailableError("gone")
        if min(numbers) < 0:
            raise ValueError("negative")
        return [2 * number for number in numbers]


async def asked(together: Batcher[int, int], numbers: Sequence[int]) -> list[asyncio.Task[int]]:
    """Callers that wait, each for one."""
    tasks = [asyncio.create_task(together.one(number)) for number in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_the_first_goes_at_once_and_the_others_go_together():
    """Nobody waits for company; whoever comes during a call goes with all who came during it, a bounded number at a time."""
    doubler = Doubler()
    together = Batcher(doubler)
    first = await asked(together, [1])
    others = await asked(together, range(2, MOST + 3))
    assert doubler.calls == [[1]]
    doubler.may.set()
    assert await asyncio.gather(*first, *others) == [2 * number for number in range(1, MOST + 3)]
    assert [len(call) for call in doubler.calls] == [1, MOST, 1]


async def test_what_one_brings_about_the_others_do_not_suffer():
    """An error that comes of one item is raised for that one alone."""
    doubler = Doubler()
    together = Batcher(doubler)
    tasks = [*await asked(together, [1]), *await asked(together, [2, -3, 4])]
    doubler.may.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[:2] == [2, 4]
    assert isinstance(answers[2], ValueError)
    assert answers[3] == 8


async def test_a_store_that_is_gone_is_gone_for_all_and_asked_once():
    """It would be gone for each of them, too."""
    doubler = Doubler()
    doubler.gone = True
    together = Batcher(doubler)
    tasks = [*await asked(together, [1]), *await asked(together, [2, 3, 4])]
    doubler.may.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailableError}
    assert len(doubler.calls) == 2


async def test_who_gives_up_takes_nobody_along():
    """A caller that is cancelled is one caller less, before the call and during it."""
    doubler = Doubler()
    together = Batcher(doubler)
    tasks = [*await asked(together, [1]), *await asked(together, [2, 3])]
    tasks[0].cancel()
    tasks[1].cancel()
    doubler.may.set()
    assert await tasks[2] == 6
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_nobody_waits_for_a_call_that_was_ended():
    """When the call itself is cancelled, as at the end of a process, so is everyone who waits for it."""
    doubler = Doubler()
    together = Batcher(doubler)
    tasks = await asked(together, [1])
    for task in asyncio.all_tasks() - {asyncio.current_task(), *tasks}:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_an_answer_is_of_a_call_that_began_after_the_question():
    """What was stopped a moment ago counts for whoever asks now, though another's question is under way."""
    state = ["going"]
    may = asyncio.Event()

    async def read(asked: Sequence[None]) -> list[str]:
        seen = state[0]
        await may.wait()
        return [seen] * len(asked)

    batcher = Batcher(read)
    before = asyncio.create_task(batcher.one(None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    state[0] = "stopped"
    after = asyncio.create_task(batcher.one(None))
    await asyncio.sleep(0)
    may.set()
    assert await asyncio.gather(before, after) == ["going", "stopped"]
