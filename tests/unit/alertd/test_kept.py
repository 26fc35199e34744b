"""What is asked for again is worked out once."""

from __future__ import annotations

import asyncio

import pytest

from alertd.service.kept import Kept


class Making:
    """Makes values, and counts; the first so many times it fails."""

    def __init__(self, failures: int = 0) -> None:
        self.times, self._failures = 0, failures

    async def __call__(self) -> int:
        self.times += 1
        await asyncio.sleep(0)
        if self.times <= self._failures:
            raise ValueError
        return self.times


async def test_at_once_and_again_is_one_time():
    """Ten who ask at the same moment, and one who asks later, have the value that was made once."""
    kept, make = Kept[int](2), Making()
    assert await asyncio.gather(*(kept.once(None, "a", make) for _ in range(10))) == [1] * 10
    assert await kept.once(None, "a", make) == 1


async def test_another_source_makes_all_anew():
    """What was made from what is no longer there is never told again."""
    kept, make, old, new = Kept[int](2), Making(), object(), object()
    assert [await kept.once(source, "a", make) for source in (old, old, new, old)] == [1, 1, 2, 3]


async def test_what_was_not_asked_for_longest_goes():
    """Two are kept: the third takes the place of the one that nobody asked for."""
    kept, make = Kept[int](2), Making()
    assert [await kept.once(None, name, make) for name in "abaca"] == [1, 2, 1, 3, 1]
    assert await kept.once(None, "b", make) == 4


async def test_a_failure_is_told_to_all_who_wait_and_not_kept():
    """Whoever asks next has it tried again."""
    kept, make = Kept[int](2), Making(failures=1)
    found = await asyncio.gather(*(kept.once(None, "a", make) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [ValueError] * 3
    assert await kept.once(None, "a", make) == 2


async def test_who_gives_up_takes_nobody_along():
    """One of two who wait is cancelled: the other has the value all the same."""
    kept, make = Kept[int](2), Making()
    one, two = (asyncio.ensure_future(kept.once(None, "a", make)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert await two == 1
    with pytest.raises(asyncio.CancelledError):
        await one
