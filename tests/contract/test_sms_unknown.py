"""An HTTP provider of SMS that answers with pages: nobody knows whether it has a message, and alertd never repeats one. So few are written."""

from __future__ import annotations

import asyncio

from channels.base import Answer
from channels.sms_http import ENOUGH

#: A whole chunk, many times what may be under way.
CHUNK = 100
CONNECTIONS = 8  # of the party


def unknown(outcomes) -> int:
    return sum(one.answer is Answer.UNKNOWN for one in outcomes)


async def test_many_unknown_answers_in_a_row_end_the_chunk(open_party):
    """The rest is withheld, so that it can be sent later."""
    sms = await open_party("sms")
    sms.tell("garbage")
    outcomes = await sms.send(sms.recipients(CHUNK))
    assert unknown(outcomes) < ENOUGH + CONNECTIONS
    assert {one.answer for one in outcomes} == {Answer.UNKNOWN, Answer.WITHHELD}


async def test_unknown_answers_count_over_all_chunks(open_party):
    """Chunks that are sent beside one another end together, and each later one writes a single message."""
    sms = await open_party("sms")
    sms.tell("garbage")
    chunks = await asyncio.gather(*(sms.send(sms.recipients(CHUNK, start)) for start in range(0, 5 * CHUNK, CHUNK)))
    assert sum(map(unknown, chunks)) < ENOUGH + CONNECTIONS
    assert unknown(await sms.send(sms.recipients(CHUNK, 5 * CHUNK))) == 1


async def test_an_accepted_message_lets_the_others_go(open_party):
    """The provider is itself again: the first message shows it, and the rest of the same chunk follows. What was written before is not repeated."""
    sms = await open_party("sms")
    sms.tell("garbage")
    people = sms.recipients(CHUNK)
    first = await sms.send(people)
    sms.accept_again()
    left = [one for one, its in zip(people, first, strict=True) if its.answer is Answer.WITHHELD]
    assert {one.answer for one in await sms.send(left)} == {Answer.ACCEPTED}
    assert [sms.count(one) for one in left] == [1] * len(left)


async def test_unknown_answers_among_accepted_ones_stop_nothing(open_party):
    """One number in two gets no clear answer: the provider works."""
    sms = await open_party("sms", connections=1)
    for start in range(0, 4 * ENOUGH, 2):
        sms.tell("garbage", prefix=sms.recipients(1, start)[0].address)
        outcomes = await sms.send(sms.recipients(2, start))
        assert [one.answer for one in outcomes] == [Answer.UNKNOWN, Answer.ACCEPTED]
