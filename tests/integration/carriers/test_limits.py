"""The carriers' limits over a real store: exactly the rate, whatever the clock does. Time is the scripts' own, moved by hand."""

from __future__ import annotations

import time

import pytest

from alertd.store.carriers.limits import FAILURES, FORGOTTEN_MS, NEW_FIRST_MS, PROBE_MS, SHORTEST_REST_MS, Limits
from alertd.store.carriers.numbers import CarrierNumbers
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

pytestmark = pytest.mark.alone  # the server's clock runs on between two calls, and permits with it

HOUR_MS = 3_600_000


@pytest.fixture
def limits(store: Connection) -> Limits:
    store.skew_ms = HOUR_MS
    return Limits(store)


async def admitted(limits: Limits, store: Connection, rate: float, burst: float, seconds: float, cost: int = 1) -> int:
    """How many permits a greedy sender gets, coming again when it is told to (but at most fifty times a second)."""
    total, start, began = 0, store.skew_ms, time.monotonic()
    wanted = max(cost, int(burst) // cost * cost)
    while (store.skew_ms - start) / 1000 + time.monotonic() - began <= seconds:
        block = await limits.take("c", rate, burst, wanted, cost)
        total += block.granted // cost * cost
        if block.granted < wanted:
            store.skew_ms += max(20, int(block.wait_s * 1000 + 0.999))
    return total


@pytest.mark.parametrize(
    ("rate", "burst", "seconds"), [(0.1, 1, 600), (1, 1, 60), (10, 5, 30), (1_000, 100, 10), (10_000, 1_000, 2)]
)
async def test_admitted_is_rate_times_time_and_one_burst(limits, store, rate: float, burst: float, seconds: float):
    """No more than the carrier allows, and no less: the limit is the fastest there is."""
    total = await admitted(limits, store, rate, burst, seconds)
    most = rate * seconds + burst
    # One more grant may fall on the last moment.
    assert most - burst - rate * 0.05 - 1 <= total <= most + burst


@pytest.mark.parametrize("cost", [2, 3, 5])
async def test_segments_are_paid(limits, store, cost: int):
    """A message of several segments costs that many permits, and is never cut."""
    total = await admitted(limits, store, 10, 10, 20, cost)
    assert 200 - 10 <= total <= 200 + 10 + 10 + cost
    assert total % cost == 0


@pytest.mark.parametrize(("rate", "burst", "cost"), [(1, 1, 3), (0.1, 0.1, 1), (0.5, 0.5, 4)])
async def test_what_costs_more_than_the_burst_goes_at_the_rate(limits, store, rate: float, burst: float, cost: int):
    """A long text on a slow line is slow, never stuck."""
    granted = (await limits.take("c", rate, burst, cost, cost)).granted
    assert granted == cost
    block = await limits.take("c", rate, burst, cost, cost)
    assert (block.granted, block.wait_s) == (0, pytest.approx(cost / rate, rel=0.1))
    store.skew_ms += int(block.wait_s * 1000) + 1
    assert (await limits.take("c", rate, burst, cost, cost)).granted == cost


async def test_a_slow_carrier_is_not_forgotten_before_its_next_turn(limits, store):
    """Of ten segments at one in ten seconds the next may go after a hundred: its limit is known as long."""
    granted = await limits.take("c", 0.1, 0.1, 10, 10)
    assert granted.granted == 10
    assert await store.execute("PTTL", keys.limiter("c")) >= 100_000


async def test_pause_is_kept_and_the_longer_one_wins(limits, store):
    """Nobody gets a permit before the carrier wants to hear from us, whoever was told a shorter time."""
    await limits.pause("c", 30)
    await limits.pause("c", 5)
    block = await limits.take("c", 1_000, 1_000, 1, loud=False)
    assert (block.granted, block.wait_s) == (0, pytest.approx(30, abs=1))
    store.skew_ms += 29_000
    assert (await limits.take("c", 1_000, 1_000, 1, loud=False)).granted == 0
    store.skew_ms += 1_001
    assert (await limits.take("c", 1_000, 1_000, 1, loud=False)).granted == 1


async def test_pause_is_of_one_carrier(limits):
    """Another carrier goes on."""
    await limits.pause("c", 30)
    assert (await limits.take("d", 10, 10, 1)).granted == 1


async def test_clock_set_back_stops_nobody(limits, store):
    """After a step of an hour back the sender goes on at its rate, and is not given a burst for it."""
    assert (await limits.take("c", 10, 10, 10)).granted == 10
    store.skew_ms -= HOUR_MS
    block = await limits.take("c", 10, 10, 10)
    assert (block.granted, block.wait_s <= 0.11) == (0, True)
    assert 200 - 10 <= await admitted(limits, store, 10, 10, 20) <= 200 + 10 + 10


async def test_clock_set_back_leaves_nobody_waiting_for_what_was_loud(limits, store):
    """What was loud had to wait, and has sent long since: what tells the end of an alert is never loud, and goes on."""
    assert (await limits.take("c", 10, 10, 10)).granted == 10
    assert (await limits.take("c", 10, 10, 10)).granted == 0
    store.skew_ms -= HOUR_MS
    assert (await limits.take("c", 10, 10, 1, loud=False)).granted == 0
    store.skew_ms += 2_000
    assert (await limits.take("c", 10, 10, 1, loud=False)).granted == 1


async def test_clock_set_back_does_not_prolong_a_pause(limits, store):
    """A pause of ten seconds is over ten seconds after the step, at the latest."""
    await limits.pause("c", 10)
    store.skew_ms -= HOUR_MS
    assert (await limits.take("c", 10, 10, 1)).granted == 0
    store.skew_ms += 5_000
    assert (await limits.take("c", 10, 10, 1)).granted == 0
    store.skew_ms += 5_001
    assert (await limits.take("c", 10, 10, 1)).granted == 1


async def test_clock_set_forward_gives_one_burst(limits, store):
    """Time that did not pass is worth a full bucket at most."""
    assert (await limits.take("c", 10, 10, 10)).granted == 10
    store.skew_ms += HOUR_MS
    assert (await limits.take("c", 10, 10, 100)).granted == 10
    assert (await limits.take("c", 10, 10, 100)).granted <= 1


async def test_a_paused_carrier_is_tried_for_what_is_loud(limits, store):
    """One message every quarter of a minute, and none for the rest; accepted, it ends the pause for all."""
    await limits.pause("c", 3_600)
    assert (await limits.take("c", 1_000, 1_000, 100)).granted == 0
    store.skew_ms += PROBE_MS + 1
    assert (await limits.take("c", 1_000, 1_000, 100, loud=False)).granted == 0
    block = await limits.take("c", 1_000, 1_000, 100, 2)
    assert (block.granted, block.wait_s) == (2, pytest.approx(3_585, abs=1))
    assert (await limits.take("c", 1_000, 1_000, 100, 2)).granted == 0
    store.skew_ms += PROBE_MS
    assert (await limits.take("c", 1_000, 1_000, 100, 2)).granted == 2
    await limits.pause("c", 3_600)  # it was refused: as before, from now on
    store.skew_ms += PROBE_MS - 1_000
    assert (await limits.take("c", 1_000, 1_000, 100)).granted == 0
    await limits.resume("c")
    block = await limits.take("c", 1_000, 1_000, 100, loud=False)
    assert (block.granted, block.wait_s) == (100, 0)


async def test_what_is_loud_is_served_first(limits, store):
    """The rest leaves a tenth of the bucket to it, gets nothing while it waits, and everything when it is gone."""
    assert (await limits.take("c", 100, 100, 1_000, loud=False)).granted == 90
    assert (await limits.take("c", 100, 100, 10)).granted == 10
    block = await limits.take("c", 100, 100, 10, 10)
    assert (block.granted, block.wait_s <= 0.1) == (0, True)
    store.skew_ms += 200
    assert (await limits.take("c", 100, 100, 1, loud=False)).granted == 0
    assert (await limits.take("c", 100, 100, 10, 10)).granted == 10
    store.skew_ms += 2_000
    assert (await limits.take("c", 100, 100, 1_000, loud=False)).granted == 90


@pytest.mark.parametrize(("rate", "burst", "cost"), [(0.1, 0.1, 1), (1, 1, 3), (10, 10, 10)])
async def test_what_is_not_loud_is_slow_but_never_stuck(limits, store, rate: float, burst: float, cost: int):
    """A tenth of a bucket that holds one message is not kept from it."""
    assert (await limits.take("c", rate, burst, cost, cost, loud=False)).granted == cost
    block = await limits.take("c", rate, burst, cost, cost, loud=False)
    store.skew_ms += int(block.wait_s * 1000) + 1
    assert (block.granted, (await limits.take("c", rate, burst, cost, cost, loud=False)).granted) == (0, cost)


async def test_permits_that_were_not_used_are_another_s(limits, store):
    """And never more than a full bucket."""
    assert (await limits.take("c", 0.1, 10, 10)).granted == 10
    await limits.give_back("c", 0.1, 4)
    assert (await limits.take("c", 0.1, 10, 10)).granted == 4
    await limits.give_back("c", 0.1, 100)
    assert (await limits.take("c", 0.1, 10, 100)).granted == 10


async def test_what_comes_back_late_makes_no_bucket_more_than_full(limits, store):
    """Permits that nobody used came again by themselves meanwhile: with what they are given back for, nobody gets more than one burst."""
    block = await limits.take("c", 10, 10, 10)
    store.skew_ms += 900
    assert (await limits.take("c", 10, 10, 9)).granted == 9
    await limits.give_back("c", 10, 10, block=block)
    assert (await limits.take("c", 10, 10, 10)).granted <= 1
    store.skew_ms += 1_000
    late = await limits.take("c", 10, 10, 10)
    store.skew_ms += 1_000
    assert (await limits.take("c", 10, 10, 10)).granted == 10
    await limits.give_back("c", 10, 10, block=late)
    assert (await limits.take("c", 10, 10, 10)).granted == 0


async def test_what_comes_back_in_parts_is_worth_no_more_than_the_whole(limits, store):
    """Of ten, half a second later: what is left of them is five, in however many parts they come."""
    block = await limits.take("c", 10, 10, 10)
    store.skew_ms += 500
    for _ in range(5):
        await limits.give_back("c", 10, 2, block=block)
        block = block.less(2, 10)
    store.skew_ms += 1  # fractions
    assert (await limits.take("c", 10, 10, 100)).granted == 10
    assert (await limits.take("c", 10, 10, 100)).granted == 0


async def test_a_try_that_nothing_was_sent_for_is_the_next_s(limits, store):
    """Of a carrier that rests, and of one that is paused; it is no permit. One that was given to another by now stays that one's."""
    await limits.failed("c", FAILURES)
    store.skew_ms += SHORTEST_REST_MS
    first = await limits.take("c", 100, 100, 10)
    assert (first.granted, (await limits.take("c", 100, 100, 10)).granted) == (1, 0)
    await limits.give_back("c", 100, 1, block=first)
    second = await limits.take("c", 100, 100, 10)
    assert second.granted == 1
    store.skew_ms += 1
    await limits.give_back("c", 100, 1, block=first)
    assert (await limits.take("c", 100, 100, 10)).granted == 0
    assert await limits.resume("c", second)
    assert (await limits.take("c", 100, 100, 1_000)).granted == 100
    await limits.pause("c", 3_600)
    store.skew_ms += PROBE_MS
    await limits.give_back("c", 100, 1, block=await limits.take("c", 100, 100, 10))
    assert (await limits.take("c", 100, 100, 10)).granted == 1


async def test_what_a_carrier_asks_for_while_it_is_tried_stands(limits, store):
    """The message that tries it is accepted, and another was answered with a rest meanwhile: that is not over before its time."""
    await limits.pause("c", 60)
    store.skew_ms += PROBE_MS
    block = await limits.take("c", 100, 100, 1)
    await limits.pause("c", 3_600)
    assert (block.granted, await limits.resume("c", block)) == (1, False)
    assert (await limits.take("c", 100, 100, 1, loud=False)).granted == 0


async def test_a_rest_is_over_when_a_try_is_accepted_and_not_before(limits, store):
    """A message that was under way is accepted while it rests: after the rest one message tries it all the same, and if that fails it
    rests for longer than before.
    """
    await limits.failed("c", FAILURES)
    await limits.works("c")
    assert await limits.open_breakers(["c"]) == {"c": True}
    store.skew_ms += SHORTEST_REST_MS
    assert (await limits.take("c", 100, 100, 10)).granted == 1
    assert await limits.failed("c", 1) == 2 * SHORTEST_REST_MS / 1000


async def test_a_carrier_that_answers_slowly_ends_its_rest(limits, store):
    """Others try it by the time that a try is accepted: it was accepted all the same."""
    await limits.failed("c", FAILURES)
    store.skew_ms += SHORTEST_REST_MS
    first = await limits.take("c", 100, 100, 10)
    store.skew_ms += 6_000
    second = await limits.take("c", 100, 100, 10)
    assert (first.granted, second.granted, await limits.resume("c", first)) == (1, 1, True)
    assert (await limits.take("c", 100, 100, 10)).granted == 10


async def test_carriers_keep_their_bytes(store: Connection):
    """A carrier's number in the ledger is its own for ever."""
    numbers = CarrierNumbers(store)
    first, second = await numbers.of("fcm"), await numbers.of("relay")
    assert (await numbers.of("fcm"), first != second) == (first, True)
    assert await numbers.names() == {first: "fcm", second: "relay"}


async def test_a_carrier_that_fails_rests_for_longer_each_time(limits, store):
    """After twenty failures in a row nobody has permits; then one message tries it, and if that fails the rest is twice as long."""
    assert await limits.failed("c", FAILURES - 1) == 0
    assert (await limits.take("c", 100, 100, 10)).granted == 10
    assert await limits.failed("c", 1) == SHORTEST_REST_MS / 1000
    assert (await limits.take("c", 100, 100, 10, loud=False)).granted == 0
    store.skew_ms += SHORTEST_REST_MS
    block = await limits.take("c", 100, 100, 10, 2, loud=False)
    assert (block.granted, block.wait_s > 0) == (2, True)  # one message of two segments, to try it
    assert (await limits.take("c", 100, 100, 10)).granted == 0  # while what comes of it is waited for
    assert await limits.failed("c", 1) == 2 * SHORTEST_REST_MS / 1000
    store.skew_ms += 2 * SHORTEST_REST_MS
    assert (await limits.take("c", 100, 100, 10)).granted == 1
    await limits.resume("c")
    assert (await limits.take("c", 100, 100, 10)).granted == 10
    assert await limits.failed("c", FAILURES - 1) == 0  # all is forgotten


async def test_a_carrier_that_works_is_left_alone_as_long_as_it_asked(limits, store):
    """Its failures are forgotten, and the pause stands."""
    assert await limits.failed("c", FAILURES - 1) == 0
    await limits.pause("c", 30)
    await limits.works("c")
    assert (await limits.take("c", 100, 100, 10, loud=False)).granted == 0
    store.skew_ms += 30_001
    assert (await limits.take("c", 100, 100, 10)).granted == 10
    assert await limits.failed("c", FAILURES - 1) == 0


async def test_a_short_pause_forgets_no_rest(limits, store):
    """A carrier that rested and then asks for a few seconds is known to have failed for as long as before."""
    await limits.failed("c", FAILURES)
    known_ms = await store.execute("PTTL", keys.limiter("c"))
    await limits.pause("c", 5)
    assert await store.execute("PTTL", keys.limiter("c")) > known_ms - 5_000


async def test_a_new_message_tries_a_carrier_before_one_that_was_tried_before(limits, store):
    """After a rest, and while the carrier is paused. If there is no new message, the other tries it a second later."""
    await limits.failed("c", FAILURES)
    store.skew_ms += SHORTEST_REST_MS
    again = await limits.take("c", 100, 100, 10, is_new=False)
    assert (again.granted, again.wait_s) == (0, pytest.approx(NEW_FIRST_MS / 1000, abs=0.5))
    assert (await limits.take("c", 100, 100, 10)).granted == 1
    await limits.failed("c", 1)
    store.skew_ms += 2 * SHORTEST_REST_MS + NEW_FIRST_MS
    assert (await limits.take("c", 100, 100, 10, is_new=False)).granted == 1
    await limits.resume("c")
    await limits.pause("c", 3_600)
    store.skew_ms += PROBE_MS
    assert (await limits.take("c", 100, 100, 10, is_new=False)).granted == 0
    assert (await limits.take("c", 100, 100, 10)).granted == 1
    store.skew_ms += PROBE_MS + NEW_FIRST_MS
    assert (await limits.take("c", 100, 100, 10, is_new=False)).granted == 1


async def test_an_answer_that_says_nothing_of_the_carrier_lets_the_next_message_try_it(limits, store):
    """At once, if the carrier failed; a carrier that asked for a pause is left alone."""
    await limits.failed("c", FAILURES)
    store.skew_ms += SHORTEST_REST_MS + NEW_FIRST_MS
    first = await limits.take("c", 100, 100, 10, is_new=False)
    assert (first.granted, (await limits.take("c", 100, 100, 10, is_new=False)).granted) == (1, 0)
    await limits.undecided("c", first)
    assert (await limits.take("c", 100, 100, 10, is_new=False)).granted == 1
    await limits.pause("c", 3_600)
    store.skew_ms += PROBE_MS
    await limits.undecided("c", await limits.take("c", 100, 100, 10))
    assert (await limits.take("c", 100, 100, 10)).granted == 0


async def test_a_carrier_rests_for_less_than_the_15_s_in_which_it_is_found(limits, store):
    """However long it fails: the rest, and what the last asker waits for."""
    rests_s = []
    for _ in range(10):
        rests_s.append(await limits.failed("c", FAILURES))
        store.skew_ms += int(1000 * rests_s[-1])
    assert max(rests_s) * 1000 + NEW_FIRST_MS < 15_000


async def test_failures_far_apart_are_forgotten(limits, store):
    """A carrier that fails now and then never rests for it."""
    for _ in range(2 * FAILURES):
        assert await limits.failed("c", 1) == 0
        store.skew_ms += FORGOTTEN_MS + 1
