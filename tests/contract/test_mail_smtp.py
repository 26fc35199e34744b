"""What mail promises besides: who it comes back to, and that nothing in an address becomes a command."""

from __future__ import annotations

import asyncio

import pytest

from channels.base import Answer, Outcome, Reason, Recipient, Subject
from channels.smtp_relay import RelaySettings
from tests.waiting import until


@pytest.mark.parametrize("security", ["starttls", "plain"])
async def test_bounces_come_back_to_the_one_they_are_about(open_party, security):
    """Return path and Message-ID hold the recipient's tag; a repeat has the same Message-ID."""
    mail = await open_party("mail", security=security)
    recipient = Recipient("ana@people.example", "t4g_-", is_new=True)
    await mail.send([recipient])
    await mail.send([recipient])
    assert mail.carrier.return_paths == {"ana@people.example": "bounce+t4g_-@alerts.example"}
    assert mail.carrier.message_ids == {"<t4g_-@alerts.example>": 2}
    assert b"Date: " in mail.carrier.mails["ana@people.example"]


async def test_a_broken_mailbox_reaches_no_socket(open_party):
    """It is that recipient's outcome, and the others get their mail."""
    mail = await open_party("mail")
    bad = Recipient("x@y.example>\r\nRCPT TO:<z@y.example", "bad", is_new=True)
    good = mail.recipients(2)
    outcomes = await mail.send([good[0], bad, good[1]])
    assert outcomes[1] == Outcome(Answer.NEVER, Reason.BAD_ADDRESS)
    assert set(mail.carrier.mails) == {recipient.address for recipient in good}


async def test_a_mailbox_of_any_script_is_written_as_it_is(open_party):
    """With a relay that speaks SMTPUTF8."""
    mail = await open_party("mail")
    (outcome,) = await mail.send([Recipient("用户@例子.example", "t", is_new=True)])
    assert outcome.answer is Answer.ACCEPTED
    assert set(mail.carrier.mails) == {"用户@xn--fsqu00a.example"}


async def test_a_connection_lost_before_the_content_is_tried_again(open_party):
    """Until the content is written nothing can have arrived."""
    mail = await open_party("mail")
    mail.tell("cut")
    assert set(await mail.send(mail.recipients(3))) == {Outcome(Answer.RETRY, Reason.CONNECTION, of=Subject.EITHER)}
    assert mail.carrier.recorded.total == 0


async def test_a_refused_recipient_does_not_spoil_the_next(open_party):
    """The same connection goes on after a refusal, with a clean transaction."""
    mail = await open_party("mail", connections=1)
    mail.tell("no-mailbox", prefix="person1@")
    outcomes = await mail.send(mail.recipients(3))
    assert [outcome.answer for outcome in outcomes] == [Answer.ACCEPTED, Answer.NEVER, Answer.ACCEPTED]
    assert mail.carrier.sessions_made == 1


async def test_a_relay_that_nobody_vouches_for_gets_nothing(open_party):
    """A certificate that does not hold is our fault, not the recipients'."""
    mail = await open_party("mail", ca_file=None)
    outcomes = await mail.send(mail.recipients(2))
    assert {outcome.answer for outcome in outcomes} == {Answer.RETRY}
    assert mail.carrier.recorded.total == 0


async def test_a_kept_connection_that_ended_delays_nobody(open_party):
    """Relays close when they like, and say it too late or not at all: the mail goes over a new one at once."""
    mail = await open_party("mail", connections=3)
    for start in range(0, 30, 3):
        assert {outcome.answer for outcome in await mail.send(mail.recipients(3, start))} == {Answer.ACCEPTED}
        for session in list(mail.carrier.sessions):
            session.close()
    assert [mail.count(recipient) for recipient in mail.recipients(30)] == [1] * 30
    assert mail.carrier.sessions_made > 10


async def test_a_relay_that_says_it_closes_delays_nobody(open_party):
    """So many mails a connection, then 421: the next connection takes the rest."""
    mail = await open_party("mail", connections=1)
    mail.carrier.mails_a_session = 2
    assert {outcome.answer for outcome in await mail.send(mail.recipients(9))} == {Answer.ACCEPTED}
    assert mail.carrier.sessions_made == 5
    assert [mail.count(recipient) for recipient in mail.recipients(9)] == [1] * 9


@pytest.mark.parametrize("pipelining", [True, False])
async def test_commands_go_together_only_where_the_relay_offers_it(open_party, pipelining):
    """A relay that does not is spoken to one command at a time; refusals in between leave the connection as good as new."""
    mail = await open_party("mail", connections=1)
    mail.carrier.pipelining = pipelining
    mail.tell("no-mailbox", prefix="person1@")
    outcomes = await mail.send(mail.recipients(4))
    assert [outcome.address_gone for outcome in outcomes] == [False, True, False, False]
    assert [mail.count(recipient) for recipient in mail.recipients(4)] == [1, 0, 1, 1]
    assert mail.carrier.sessions_made == 1


async def test_leave_is_asked_before_each_write(open_party):
    """Once for a connection, once for the envelope and once for the content; none is written after a no."""
    mail = await open_party("mail", connections=1)
    for leaves in range(3):
        answers = iter([True] * leaves + [False])
        (outcome,) = await mail.send(mail.recipients(1), lambda answers=answers: next(answers))
        assert outcome.answer is Answer.WITHHELD
    assert mail.carrier.recorded.total == 0


@pytest.mark.parametrize("pipelining", [True, False])
async def test_a_connection_that_came_too_late_is_used_next(open_party, pipelining):
    """What it cost to connect is not paid again, nor is what was said of an envelope in the way of the next."""
    mail = await open_party("mail", connections=1)
    mail.carrier.pipelining = pipelining
    for leaves in (1, 1) if pipelining else (1, 2, 3):  # for the connection, then for what is written on it
        answers = iter([True] * leaves + [False])
        (outcome,) = await mail.send(mail.recipients(1), lambda answers=answers: next(answers))
        assert outcome.answer is Answer.WITHHELD
    assert {outcome.answer for outcome in await mail.send(mail.recipients(3))} == {Answer.ACCEPTED}
    assert mail.carrier.sessions_made == 1


async def test_a_relay_that_waits_for_content_after_refusing_gets_none(open_party):
    """It said no to the recipient and yet asks for the mail: it is left, and the next goes well."""
    mail = await open_party("mail", connections=1)
    mail.tell("waits", prefix="person0@")
    outcomes = await mail.send(mail.recipients(2))
    assert [outcome.address_gone for outcome in outcomes] == [True, False]
    assert set(mail.carrier.mails) == {"person1@people.example"}
    assert mail.carrier.sessions_made == 2


async def test_whoever_may_write_nothing_more_waits_no_ten_minutes(open_party):
    """One relay's silence takes from nobody what it was answered for the others, when a worker has to stop."""
    mail = await open_party("mail", connections=2, content_timeout_s=600, last_reply_s=0.3)
    mail.tell("slow", prefix="person0@", delay_s=100)
    recipients, may_write = mail.recipients(3), lambda: mail.carrier.recorded.total < 3
    outcomes = await asyncio.wait_for(mail.send(recipients, may_write), 20)
    assert [outcome.answer for outcome in outcomes] == [Answer.UNKNOWN, Answer.ACCEPTED, Answer.ACCEPTED]


async def test_a_relay_that_scans_the_content_is_waited_for(open_party):
    """Ten minutes by default, as RFC 5321 asks, however short the other answers may take: a mail given up too early comes twice."""
    assert RelaySettings(host="127.0.0.1").content_timeout_s == 600
    mail = await open_party("mail", timeout_s=0.3, content_timeout_s=30)
    mail.tell("slow", delay_s=0.8)
    assert {outcome.answer for outcome in await mail.send(mail.recipients(3))} == {Answer.ACCEPTED}
    assert [mail.count(recipient) for recipient in mail.recipients(3)] == [1] * 3


FEW = 6  # connections that a relay takes at a time


async def test_a_mail_waits_for_a_kept_connection_when_the_relay_refuses_one_more(open_party):
    """A refused extra connection is no try: all mails go over the connections that the relay takes, and it refuses few."""
    mail = await open_party("mail", connections=20)
    mail.carrier.connections = FEW
    recipients = mail.recipients(260)
    assert {outcome.answer for outcome in await mail.send(recipients)} == {Answer.ACCEPTED}
    assert [mail.count(recipient) for recipient in recipients] == [1] * 260
    assert mail.carrier.sessions_made == FEW
    assert 0 < mail.carrier.refused <= 4


async def test_two_sends_at_a_time_share_what_the_relay_takes(open_party):
    """Neither of them fails because the other has the connections."""
    mail = await open_party("mail", connections=20)
    mail.carrier.connections = 1
    both = await asyncio.gather(mail.send(mail.recipients(30)), mail.send(mail.recipients(30, 30)))
    assert {outcome.answer for outcomes in both for outcome in outcomes} == {Answer.ACCEPTED}
    assert (mail.carrier.sessions_made, mail.carrier.refused) == (1, 1)


async def test_a_relay_that_takes_more_again_gets_more(open_party):
    """The pool asks for one more after a while, and for the rest as soon as the relay takes that one."""
    mail = await open_party("mail", connections=8, ask_again_s=0)
    mail.carrier.connections = 2
    await mail.send(mail.recipients(20))
    mail.carrier.connections = None
    assert {outcome.answer for outcome in await mail.send(mail.recipients(60))} == {Answer.ACCEPTED}
    assert mail.carrier.sessions_made == 8


async def test_a_relay_that_takes_no_connection_fails(open_party):
    """No connection is kept that a mail could wait for. The relay is not asked for each mail."""
    mail = await open_party("mail", connections=4)
    mail.carrier.connections = 0
    assert set(await mail.send(mail.recipients(12))) == {Outcome(Answer.RETRY, Reason.CONNECTION)}
    assert mail.carrier.refused <= 2
    mail.carrier.connections = None

    async def is_found_again() -> bool:
        return {outcome.answer for outcome in await mail.send(mail.recipients(12))} == {Answer.ACCEPTED}

    await until(is_found_again)


async def test_a_relay_that_ends_all_kept_connections_holds_no_mail_back(open_party):
    """It drains: each kept connection ends with 421 and it accepts no other. After its return all connections are free."""
    mail = await open_party("mail", connections=2)
    await mail.send(mail.recipients(30))
    mail.carrier.mails_a_session, mail.carrier.connections = 1, 0
    (outcome,) = await mail.send(mail.recipients(1))
    assert outcome.answer is Answer.RETRY
    assert mail.channel.held() == 0
    mail.carrier.mails_a_session, mail.carrier.connections = 0, None

    async def is_found_again() -> bool:
        return {outcome.answer for outcome in await mail.send(mail.recipients(12))} == {Answer.ACCEPTED}

    await until(is_found_again)


async def test_an_idle_connection_ends_with_quit(open_party):
    """The relay hears that the client leaves, both after a while and when the channel closes."""
    mail = await open_party("mail", connections=3, keep_idle_s=0.2)
    await mail.send(mail.recipients(3))
    made = mail.carrier.sessions_made
    await until(lambda: mail.carrier.open_connections == 0)
    assert mail.carrier.quits == made
    await mail.send(mail.recipients(1))
    await mail.channel.close()
    assert mail.carrier.quits == mail.carrier.sessions_made == made + 1


async def test_a_process_opens_its_share_of_the_connections_alone(open_party):
    """A smaller share ends idle connections with QUIT. A process without a share writes nothing."""
    mail = await open_party("mail", connections=8)
    await mail.send(mail.recipients(40))
    assert mail.channel.held() == 8
    mail.channel.share(2)
    await until(lambda: mail.carrier.open_connections == 2)
    assert mail.carrier.quits == 6
    assert {outcome.answer for outcome in await mail.send(mail.recipients(40))} == {Answer.ACCEPTED}
    assert mail.carrier.sessions_made == 8
    mail.channel.share(0)
    assert {outcome.answer for outcome in await mail.send(mail.recipients(4))} == {Answer.WITHHELD}
    await until(lambda: mail.channel.held() == 0)
    mail.channel.share(1)
    assert {outcome.answer for outcome in await mail.send(mail.recipients(4))} == {Answer.ACCEPTED}


async def test_a_share_that_is_taken_away_in_mid_send_withholds_the_rest(open_party):
    """Mails that wait are withheld; the one under way keeps its answer."""
    mail = await open_party("mail", connections=1)
    mail.tell("slow", prefix="person0@", delay_s=0.3)
    sending = asyncio.create_task(mail.send(mail.recipients(3)))
    await until(lambda: mail.carrier.recorded.total == 1)
    mail.channel.share(0)
    outcomes = await sending
    assert [outcome.answer for outcome in outcomes] == [Answer.ACCEPTED, Answer.WITHHELD, Answer.WITHHELD]


async def test_a_send_that_is_cancelled_keeps_the_connection(open_party):
    """The next mail waits for none."""
    mail = await open_party("mail", connections=1)
    await mail.send(mail.recipients(1))
    sending = [asyncio.create_task(mail.send(mail.recipients(1, n))) for n in range(5)]
    for one in sending[1:]:
        one.cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    assert {outcome.answer for outcome in await mail.send(mail.recipients(3))} == {Answer.ACCEPTED}
    assert mail.channel.held() <= 1


#: A relay counts as silent soon; nothing else ends a wait within a minute.
SOON = {"silent_s": 0.3, "connect_timeout_s": 0.3, "timeout_s": 60, "content_timeout_s": 60}


async def test_mails_that_wait_fail_soon_if_the_relay_falls_silent(open_party):
    """All its connections hang and stay open. The next mails need no minute to fail, so that another carrier gets them."""
    mail = await open_party("mail", connections=4, **SOON)
    await mail.send(mail.recipients(40))
    assert mail.channel.is_connected()
    mail.carrier.silent = True
    hanging = asyncio.create_task(mail.send(mail.recipients(4, 100)))
    await asyncio.sleep(0)
    for start in (200, 300):
        outcomes = await asyncio.wait_for(mail.send(mail.recipients(8, start)), 20)
        assert set(outcomes) == {Outcome(Answer.RETRY, Reason.CONNECTION)}
        assert not mail.channel.is_connected()
    assert not hanging.done()
    hanging.cancel()


async def test_a_relay_that_is_slow_on_all_its_connections_is_waited_for(open_party):
    """It greets, or refuses, one more connection, so it is there: no mail that waits fails."""
    for takes in (2, 3):
        mail = await open_party("mail", connections=2, **SOON | {"connect_timeout_s": 20})
        mail.carrier.connections = takes
        mail.tell("slow", delay_s=1)
        both = await asyncio.gather(mail.send(mail.recipients(4)), mail.send(mail.recipients(4, 4)))
        assert {outcome.answer for outcomes in both for outcome in outcomes} == {Answer.ACCEPTED}
        await mail.channel.close()


async def test_mails_that_wait_fail_if_one_more_connection_gets_no_greeting(open_party):
    """Only a relay that refuses the connection has enough of them."""
    mail = await open_party("mail", connections=4, **SOON | {"silent_s": 30})
    mail.tell("slow", prefix="person0@", delay_s=40)
    slow = asyncio.create_task(mail.send(mail.recipients(1)))
    await until(lambda: mail.carrier.recorded.total == 1)
    mail.carrier.silent = True
    assert set(await asyncio.wait_for(mail.send(mail.recipients(4, 1)), 20)) == {
        Outcome(Answer.RETRY, Reason.CONNECTION)
    }
    slow.cancel()


async def test_the_pool_asks_for_one_more_connection_after_waits_that_double(open_party, caplog):
    """The first refusal costs a second, and the log names what the relay said."""
    mail = await open_party("mail", connections=4)
    mail.carrier.connections = 1
    await mail.send(mail.recipients(20))
    refused = mail.carrier.refused
    assert refused == 1
    [told] = [one for one in caplog.records if one.message == "relay.connection_refused"]
    assert told.cause.endswith("busy 421 4.7.0 too many connections")
    assert (told.server, told.again_in_s) == (mail.channel._relay.host, 1)

    async def is_asked_again() -> bool:
        await mail.send(mail.recipients(4))
        return mail.carrier.refused > refused

    await until(is_asked_again)
    assert [one.again_in_s for one in caplog.records if one.message == "relay.connection_refused"] == [1, 2]


async def test_a_login_makes_no_connection_beside_those_that_work(open_party):
    """A connection that carried a mail lately shows that the login works. A login counts as a connection of the process."""
    mail = await open_party("mail", connections=1)
    await mail.send(mail.recipients(3))
    assert (await mail.channel.log_in()).state == "works"
    assert mail.carrier.sessions_made == 1
    mail.carrier.silent = True
    mail = await open_party("mail", connections=1)
    login = asyncio.create_task(mail.channel.log_in())
    await until(lambda: mail.channel.held() == 1)
    login.cancel()
    await asyncio.gather(login, return_exceptions=True)
    assert mail.channel.held() == 0


async def test_a_login_takes_the_place_of_an_idle_connection(open_party):
    """With all connections idle for a while, one ends first."""
    mail = await open_party("mail", connections=2, silent_s=0.1)
    await mail.send(mail.recipients(20))
    await until(lambda: not mail.channel.is_connected())
    mail.carrier.connections = 2
    assert (await mail.channel.log_in()).state == "works"
    assert mail.carrier.refused == 0
