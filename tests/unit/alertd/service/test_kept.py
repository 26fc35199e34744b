"""What is asked for again is worked out once."""

from __future__ import annotations

import asyncio

import pytest

from alertd.service.cache import SingleFlightCache


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
    kept, make = SingleFlightCache[int](2), Making()
    assert await asyncio.gather(*(kept.once(None, "a", make) for _ in range(10))) == [1] * 10
    assert await kept.once(None, "a", make) == 1


async def test_another_source_makes_all_anew():
    """What was made from what is no longer there is never told again."""
    kept, make, old, new = SingleFlightCache[int](2), Making(), object(), object()
    assert [await kept.once(source, "a", make) for source in (old, old, new, old)] == [1, 1, 2, 3]


async def test_what_was_not_asked_for_longest_goes():
    """Two are kept: the third takes the place of the one that nobody asked for."""
    kept, make = SingleFlightCache[int](2), Making()
    assert [await kept.once(None, name, make) for name in "abaca"] == [1, 2, 1, 3, 1]
    assert await kept.once(None, "b", make) == 4


async def test_a_failure_is_told_to_all_who_wait_and_not_kept():
    """Whoever asks next has it tried again."""
    kept, make = SingleFlightCache[int](2), Making(failures=1)
    found = await asyncio.gather(*(kept.once(None, "a", make) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [ValueError] * 3
    assert await kept.once(None, "a", make) == 2


async def test_who_gives_up_takes_nobody_along():
    """One of two who wait is cancelled: the other has the value all the same."""
    kept, make = SingleFlightCache[int](2), Making()
    one, two = (asyncio.ensure_future(kept.once(None, "a", make)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert await two == 1
    with pytest.raises(asyncio.CancelledError):
        await one


class Time:
    """A clock that is set."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def _made() -> None:
    """What is made beside those who asked is made."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_whoever_asks_late_does_not_wait_for_what_is_made_anew():
    """The old value is given while the next is made, once; then that."""
    time, make = Time(), Making()
    kept = SingleFlightCache[int](2, fresh_s=10, now=time)
    assert await kept.once(None, "a", make) == 1
    time.now_s = 4.9
    assert (await kept.once(None, "a", make), make.times) == (1, 1)
    time.now_s = 10
    assert [await kept.once(None, "a", make), await kept.once(None, "a", make)] == [1, 1]
    await _made()
    assert (await kept.once(None, "a", make), make.times) == (2, 2)


async def test_what_is_too_old_is_never_given():
    """Nobody asked for a while: whoever does then waits."""
    time, make = Time(), Making()
    kept = SingleFlightCache[int](2, fresh_s=10, now=time)
    assert await kept.once(None, "a", make) == 1
    time.now_s = 20
    assert await kept.once(None, "a", make) == 2


async def test_what_could_not_be_made_anew_is_told():
    """The old value is given until that is known, and not afterwards."""
    time, make = Time(), Making()
    kept = SingleFlightCache[int](2, fresh_s=10, now=time)
    assert await kept.once(None, "a", make) == 1
    time.now_s, failing = 10, Making(failures=2)
    assert await kept.once(None, "a", failing) == 1
    await _made()
    with pytest.raises(ValueError):
        await kept.once(None, "a", failing)
    assert await kept.once(None, "a", make) == 2


async def test_what_is_made_anew_of_what_is_no_longer_there_is_not_kept():
    """The source changed while the next value was made."""
    time, make, old, new = Time(), Making(), object(), object()
    kept = SingleFlightCache[int](2, fresh_s=10, now=time)
    assert await kept.once(old, "a", make) == 1
    time.now_s = 10
    assert await kept.once(old, "a", make) == 1
    assert await kept.once(new, "a", make) == 3
    await _made()
    assert await kept.once(new, "a", make) == 3
