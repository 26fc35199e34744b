"""What every channel promises, whatever its carrier: one suite, run over push, both ways of SMS, and mail."""

from __future__ import annotations

import asyncio

import pytest

from channels.base import Answer, Reason
from tests.contract.smpp_parties import N
from tests.waiting import until

#: These give up a connection that is silent, or whose send was cancelled. A bind and a connection of HTTP/2 are everybody's, and say whose
#: an answer is: what becomes of a stream is in `test_http2_faults.py`.
ONE_BY_ONE = pytest.mark.parametrize("party_name", ["sms", "mail"])


async def test_each_recipient_is_sent_to_once(party):
    """One outcome per recipient, and the carrier has one message for each."""
    recipients = party.recipients(N)
    outcomes = await party.send(recipients)
    assert [outcome.answer for outcome in outcomes] == [Answer.ACCEPTED] * N
    assert [party.count(recipient) for recipient in recipients] == [1] * N


async def test_outcomes_come_in_the_order_of_the_recipients(party):
    """The carrier refuses one of many, and it is that one's outcome which says so."""
    recipients = party.recipients(N)
    party.tell("gone", prefix=recipients[7].address)
    outcomes = await party.send(recipients)
    assert [index for index, outcome in enumerate(outcomes) if outcome.address_gone] == [7]
    assert sum(outcome.answer is Answer.ACCEPTED for outcome in outcomes) == N - 1


@pytest.mark.parametrize(
    ("behaviour", "answer", "reason"),
    [
        ("throttle", Answer.RETRY, Reason.THROTTLED),
        ("unavailable", Answer.RETRY, Reason.UNAVAILABLE),
        ("gone", Answer.NEVER, Reason.GONE),
        ("bad-message", Answer.NEVER, Reason.BAD_MESSAGE),
        ("reset", Answer.UNKNOWN, Reason.CONNECTION),
        ("half", Answer.UNKNOWN, Reason.CONNECTION),
        ("garbage", Answer.UNKNOWN, Reason.GARBAGE),
    ],
)
async def test_a_carriers_no_is_data(party, behaviour, answer, reason):
    """Refusals and cut connections are outcomes, never exceptions; only a dead address is called gone."""
    party.tell(behaviour)
    for outcome in await party.send(party.recipients(3)):
        assert (outcome.answer, outcome.reason) == (answer, reason)
        assert outcome.address_gone == (reason is Reason.GONE)


async def test_a_refusal_of_one_recipient_removes_no_address(party):
    """An address that this carrier does not serve is never tried again, and not called dead."""
    party.tell("refused")
    for outcome in await party.send(party.recipients(3)):
        assert outcome.answer is Answer.NEVER
        assert outcome.reason in {Reason.BAD_ADDRESS, Reason.BLOCKED}


@ONE_BY_ONE
async def test_silence_is_unknown_and_leaves_no_trace(open_party, party_name):
    """After the time-out it may have arrived or not, and the connection is of no further use: a late answer would be another's."""
    party = await open_party(party_name, timeout_s=0.3)
    party.tell("stall")
    outcomes = await party.send(party.recipients(3))
    assert {(outcome.answer, outcome.reason) for outcome in outcomes} == {(Answer.UNKNOWN, Reason.TIMEOUT)}
    await until(lambda: party.carrier.open_connections == 0)


async def test_the_channel_works_again_after_trouble(party):
    """Trouble leaves no connection behind on which the next message would go wrong."""
    for trouble in ("reset", "half", "garbage", "throttle", "unavailable", "bad-message"):
        party.tell(trouble)
        await party.send(party.recipients(3))
    party.accept_again()
    recipients = party.recipients(N, start=100)
    outcomes = await party.send(recipients)
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}
    assert [party.count(recipient) for recipient in recipients] == [1] * N


async def test_a_slow_carrier_is_waited_for(party):
    """An answer within the time-out counts, and nobody is sent to twice meanwhile."""
    party.tell("slow", delay_s=0.1)
    recipients = party.recipients(4)
    assert {outcome.answer for outcome in await party.send(recipients)} == {Answer.ACCEPTED}
    assert [party.count(recipient) for recipient in recipients] == [1] * 4


async def test_nothing_is_written_once_writing_is_refused(party):
    """`may_write` stops a chunk in its middle: what was not written is withheld, and the carrier has none of it."""
    recipients = party.recipients(N + 5)
    asked = 0

    def may_write():
        nonlocal asked
        asked += 1
        return asked <= N  # some of the asking may be for connections and envelopes

    outcomes = await party.send(recipients, may_write)
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED, Answer.WITHHELD}
    for recipient, outcome in zip(recipients, outcomes, strict=True):
        assert party.count(recipient) == (outcome.answer is Answer.ACCEPTED)


async def test_a_channel_without_leave_writes_nothing(party):
    """No leave at all: everything is withheld."""
    outcomes = await party.send(party.recipients(3), lambda: False)
    assert {outcome.answer for outcome in outcomes} == {Answer.WITHHELD}
    assert party.carrier.recorded.total == 0


async def test_no_carrier_means_again_later(party):
    """Where nobody listens nothing was written, so it is safe to try again."""
    await party.carrier.stop()
    outcomes = await party.send(party.recipients(2))
    assert {(outcome.answer, outcome.reason) for outcome in outcomes} == {(Answer.RETRY, Reason.CONNECTION)}


@ONE_BY_ONE
async def test_cancelling_leaves_nothing_behind(party):
    """A cancelled send closes the connections it was using, and the channel goes on."""
    rule = party.tell("stall", times=8)
    sending = asyncio.create_task(party.send(party.recipients(N)))
    await until(lambda: rule.times == 0)  # every lane waits for an answer
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await until(lambda: party.carrier.open_connections == 0)
    party.accept_again()
    assert (await party.send(party.recipients(1, start=500)))[0].answer is Answer.ACCEPTED


async def test_connections_are_kept_and_bounded(party):
    """Many messages go over few connections, never more than the settings say, and none stays after closing."""
    for start in range(0, 100, 25):
        await party.send(party.recipients(25, start))
    assert 1 <= party.carrier.open_connections <= 8
    await party.channel.close()
    await until(lambda: party.carrier.open_connections == 0)


async def test_nobody_is_sent_to_when_there_is_nobody(party):
    """An empty chunk is an empty list."""
    assert await party.send([]) == []


async def test_a_server_that_never_speaks_is_given_up(open_party, silent_port, party_name):
    """Nothing was written to it, so trying again is safe; it costs the time-out for connecting, not more."""
    where = (
        {"host": "127.0.0.1", "port": silent_port}
        if party_name in {"mail", "smpp"}
        else {"endpoint": f"https://127.0.0.1:{silent_port}"}
    )
    party = await open_party(party_name, **where, connect_timeout_s=0.2)
    outcomes = await party.send(party.recipients(2))
    assert {(outcome.answer, outcome.reason) for outcome in outcomes} == {(Answer.RETRY, Reason.CONNECTION)}
