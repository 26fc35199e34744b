"""What push promises besides: its credentials, and what an access token's end means."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

import pytest

from channels.access_token import AccessToken
from channels.base import Answer, Loudness, Outcome, PushMessage, Reason, Recipient, Stamp, Subject
from channels.fcm import FcmChannel, FcmSettings
from channels.lanes import FAULT
from channels.posting import Reply
from tests.outcomes import without_words


async def test_a_revoked_token_is_fetched_again_unseen(open_party):
    """FCM refuses the token once; everybody is still sent to, once."""
    push = await open_party("push")
    await push.send(push.recipients(1, start=900))
    push.carrier.revoke_tokens()
    recipients = push.recipients(20)
    assert {outcome.answer for outcome in await push.send(recipients)} == {Answer.ACCEPTED}
    assert [push.count(recipient) for recipient in recipients] == [1] * 20


async def test_a_token_that_ends_in_flight_is_fetched_once_while_all_wait(open_party):
    """FCM refuses it in the middle of two hundred: one fetch, everybody is sent to once, and meanwhile the loop goes on."""
    push = await open_party("push")
    await push.send(push.recipients(1, start=900))
    push.tell("slow", delay_s=0.05)
    push.carrier.token_delay_s = 1.0
    recipients, turns = push.recipients(200), 0
    sending = asyncio.ensure_future(push.send(recipients))
    while not sending.done():
        turns += 1
        if push.count(recipients[20]) and push.carrier.tokens_given == 1:
            push.carrier.revoke_tokens()
        await asyncio.sleep(0.01)
    assert {outcome.answer for outcome in sending.result()} == {Answer.ACCEPTED}
    assert [push.count(recipient) for recipient in recipients] == [1] * 200
    assert push.carrier.tokens_given == 2
    assert turns >= 40  # of the second that the fetch took alone


async def test_nothing_is_sent_with_a_token_that_is_over(sandbox, open_party):
    """Where Google gives no other, everybody is for later, and FCM is not asked again with the old one."""
    push = await open_party("push")
    await push.send(push.recipients(1, start=900))
    push.carrier.revoke_tokens()
    sandbox.push.account = replace(sandbox.push.account, public_pem=OTHER_KEY)
    assert set(await push.send(push.recipients(50))) == {Outcome(Answer.RETRY, Reason.CREDENTIALS, of=Subject.CARRIER)}
    refused = push.carrier.refused_tokens
    assert 1 <= refused <= 50  # those that were sent together
    assert set(await push.send(push.recipients(50))) == {Outcome(Answer.RETRY, Reason.CREDENTIALS, of=Subject.CARRIER)}
    assert push.carrier.refused_tokens == refused


class Failing:
    """A transport that answers each call so, by what a body holds; where there is no answer it fails."""

    def __init__(self, *answers):
        self.answers = iter(answers)

    async def post(self, bodies, headers, may_write, hear=None):
        del headers, may_write, hear
        answer = next(self.answers)
        return [answer(body) for body in bodies]


def refused_if_named(body: bytes) -> Reply:
    return Reply(401, {}, b"{}") if b"refused" in body else Reply(200, {}, b'{"name": "x"}')


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([], [Answer.UNKNOWN] * 3),
        ([refused_if_named], [Answer.ACCEPTED, Answer.UNKNOWN, Answer.ACCEPTED]),
    ],
    ids=["at first", "when the refused are sent again"],
)
async def test_a_fault_costs_only_those_it_befell(sandbox, calls, expected):
    """Something of ours fails on the way to the wire: an outcome for those it was for, and the others' is kept."""
    account, ca_file = str(sandbox.push.account.file), str(sandbox.authority.ca_file)
    channel = FcmChannel(FcmSettings(credentials=account, ca_file=ca_file), transport=Failing(*calls))
    stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=5_000, loudness=Loudness.LOUD, language="es")
    prepared = channel.prepare(PushMessage(stamp=stamp, title="t", body="b"))
    recipients = [Recipient(name, "t", is_new=True) for name in ("a", "refused", "b")]
    outcomes = await channel.send(prepared, recipients, lambda: True)
    assert [outcome.answer for outcome in outcomes] == expected
    assert all(outcome == FAULT for outcome in outcomes if outcome.answer is Answer.UNKNOWN)


async def test_a_token_past_its_end_is_given_to_nobody(sandbox):
    """Whoever asks after its last second waits for the next, however many ask at once."""
    ahead_s = 0.0
    account, ca_file = str(sandbox.push.account.file), str(sandbox.authority.ca_file)
    token = AccessToken(account, ca_file, lambda: time.time() + ahead_s)
    first = await token.get()
    ahead_s = 3_601.0
    sandbox.push.token_delay_s = 0.2
    later = await asyncio.gather(*(token.get() for _ in range(20)))
    assert len(set(later)) == 1
    assert first not in later
    assert sandbox.push.tokens_given == 2


async def test_credentials_that_stay_refused_are_for_later(open_party):
    """A project that refuses us is our fault, not the recipients': nobody is lost."""
    push = await open_party("push")
    push.tell("unauthorized")
    assert set(without_words(await push.send(push.recipients(5)))) == {Outcome(Answer.RETRY, Reason.CREDENTIALS)}


async def test_a_token_is_fetched_once_for_all(sandbox, open_party):
    """A burst of sends waits for one fetch."""
    push = await open_party("push")
    await asyncio.gather(*(push.send(push.recipients(10, start)) for start in range(0, 50, 10)))
    assert sandbox.push.tokens_given == 1


async def test_a_service_account_that_google_refuses_is_for_later(sandbox):
    """A key that is not the account's gives no token, and says so once in a while only."""
    content = json.loads(sandbox.push.account.file.read_text())
    sandbox.push.account = replace(sandbox.push.account, public_pem=OTHER_KEY)
    token = AccessToken(content, str(sandbox.authority.ca_file))
    assert await token.get() == Outcome(Answer.RETRY, Reason.CREDENTIALS, of=Subject.CARRIER)
    assert token.fault is not None
    assert (
        token.fault.said == "invalid_grant"
    )  # the server's words, and no "None" for a description that it does not give
    await token.close()


async def test_throttling_names_its_own_delay(open_party):
    """Retry-After is obeyed where FCM gives one, and is a minute where it does not."""
    push = await open_party("push")
    push.tell("throttle", retry_after_s=7)
    assert (await push.send(push.recipients(1)))[0].retry_after_s == 7.0
    push.tell("throttle")
    assert (await push.send(push.recipients(1)))[0].retry_after_s == 60.0


async def test_a_token_is_renewed_before_it_ends_and_nobody_waits(sandbox):
    """Near the end the old one is still given, at once, while the next is fetched behind it."""
    ahead_s = 0.0
    account, ca_file = str(sandbox.push.account.file), str(sandbox.authority.ca_file)
    token = AccessToken(account, ca_file, lambda: time.time() + ahead_s)
    first = await token.get()
    assert await token.get() == first
    assert sandbox.push.tokens_given == 1
    ahead_s = 3_100.0
    assert await token.get() == first
    await token.close()  # waits for the fetch
    assert sandbox.push.tokens_given == 2
    assert await token.get() != first


async def test_a_token_that_comes_too_slowly_keeps_nobody_waiting(sandbox):
    """Or every message of the channel would wait for it, where other carriers may take them; what it brings is used all the same."""
    sandbox.push.token_delay_s = 0.5
    account, ca_file = str(sandbox.push.account.file), str(sandbox.authority.ca_file)
    ahead_s = 0.0
    token = AccessToken(account, ca_file, lambda: time.time() + ahead_s, within_s=0.1)
    assert await token.get() == Outcome(Answer.RETRY, Reason.CONNECTION)
    await token.close()
    ahead_s = 6.0
    async with asyncio.timeout(30):
        while isinstance(await token.get(), Outcome):
            ahead_s += 6.0
    assert sandbox.push.tokens_given == 1


def test_the_endpoint_is_https():
    """The access token never travels in the clear."""
    with pytest.raises(ValueError, match="https"):
        FcmSettings(credentials="x", endpoint="http://fcm.example")


OTHER_KEY = b"""-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwoWi97tgJAgebi2EbBwM
XfZiIVK6QGXMykDP7mjANDTc2fAkYAtP4y3AKXULGrZ+wQV8uOktt6SNRklm75oM
E4smX4AOzYEL/Adlj8T0ZosycYRl8vmuFMrTjihTNApYOOPA7nFA5BP8TjfyYDAD
GIhaqfmJYLJ1zNX9OzRKw+p8ytjnSqG+/DpTR4Y/a4AUsmKdNhDmozOG9ryPgD9p
Rfg6Hn4g6lANA0lLCn7W1zGeprV3smHfCURH8Up9ELqsQ0iwK8ILDlJi8yNaIQjQ
QgPWVj+ftwrBWS3AF3zfiLPGOyicteY93E6PRDCggNl+Op71R/pIOwcyT0Q4WSU/
qwIDAQAB
-----END PUBLIC KEY-----
"""


@pytest.mark.parametrize("set_s", [7_200, -7_200])
async def test_a_token_is_asked_for_and_kept_by_the_clock_that_is_given(sandbox, set_s: int):
    """Google takes no assertion of another hour, so a machine whose own clock is wrong would send nothing; nor does that one say when a
    token ends.
    """
    account, ca_file = str(sandbox.push.account.file), str(sandbox.authority.ca_file)
    token = AccessToken(account, ca_file, lambda: time.time() + set_s)
    first = await token.get()
    assert await token.get() == first
    assert sandbox.push.tokens_given == 1
    assert abs(sandbox.push.asked_at_s - time.time() - set_s) < 60
