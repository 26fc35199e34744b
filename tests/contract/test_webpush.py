"""What web push promises besides: whom it speaks to, and as whom."""

from __future__ import annotations

import pytest

from alertd.runtime.sample_people import BROWSER, BROWSER_KEYS
from channels.base import ACCEPTED, Answer, Outcome, Reason
from channels.server_pauses import ENOUGH
from channels.webpush import HOSTS, MOST_SERVERS, is_served
from channels.webpush_message import Subscription
from tests.outcomes import without_words


@pytest.mark.parametrize("origin", [
    "https://fcm.googleapis.com", "https://updates.push.services.mozilla.com", "https://web.push.apple.com",
    "https://db5p.notify.windows.com",
])  # fmt: skip
def test_the_browsers_of_today_are_served(origin):
    assert is_served(origin, HOSTS)


@pytest.mark.parametrize("origin", [
    "http://fcm.googleapis.com", "https://evil.example", "https://push.apple.com.evil.example", "https://xpush.apple.com",
    "https://push.apple.com", "https://127.0.0.1", "https://fcm.googleapis.com.", "https://10.0.0.1:6379", "https://[::1]",
    "https://", "https://fcm.googleapis.com:81", "https://db5p.notify.windows.com:8443",
])  # fmt: skip
def test_nobody_has_us_speak_to_another_host(origin):
    """A subscription is what somebody sent: its host may be one inside our own network, and at another port of one that is served nobody may
    answer, for which everybody else in the chunk would wait.
    """
    assert not is_served(origin, HOSTS)


def test_a_push_service_of_ones_own_may_have_another_port():
    hosts = ("push.example:8443", "*.push.example:8443")
    assert is_served("https://push.example:8443", hosts)
    assert is_served("https://a.push.example:8443", hosts)
    assert not is_served("https://push.example", hosts)


async def test_a_subscription_that_is_none_costs_no_other(open_party):
    """Whoever sent nonsense, or another host, is told so by the ledger, and everybody else is told."""
    push = await open_party("webpush")
    good = push.recipients(3)
    endpoint, point, secret = good[0].address.split(" ")
    bad = [
        "nonsense", f"{endpoint} {point[:-1]} {secret}", f"{endpoint} {'B' * 87} {secret}",
        f"https://evil.example/1 {point} {secret}", f"http://push.example/push/1 {point} {secret}",
        f"https://push.example:x/push/1 {point} {secret}",
    ]  # fmt: skip
    mixed = [good[0], *(good[0]._replace(address=one) for one in bad), *good[1:]]
    outcomes = await push.send(mixed)
    assert [outcome.answer for outcome in outcomes] == [
        Answer.ACCEPTED, *[Answer.NEVER] * len(bad), Answer.ACCEPTED, Answer.ACCEPTED,
    ]  # fmt: skip
    assert set(outcomes[1:-2]) == {Outcome(Answer.NEVER, Reason.BAD_ADDRESS)}
    assert push.carrier.recorded.total == 3


async def test_each_push_service_is_shown_a_token_for_itself(open_party):
    """Subscriptions of many services go in one chunk, each with the token that names its own."""
    push = await open_party("webpush", hosts=("*.push.example",))
    _, point, secret = push.recipients(1)[0].address.split(" ")
    many = [one._replace(address=f"https://s{n % 5}.push.example/push/{n} {point} {secret}")
            for n, one in enumerate(push.recipients(50))]  # fmt: skip
    assert {outcome.answer for outcome in await push.send(many)} == {Answer.ACCEPTED}
    assert {address for _, _, address, *_ in push.carrier.recorded} == {one.address.split(" ")[0] for one in many}


async def test_services_without_number_take_no_memory_without_end(sandbox, open_party):
    """Whoever registers a thousand names below one that is served has us keep connections to a few of them."""
    port = sandbox.webpush.endpoint.rpartition(":")[2]
    push = await open_party("webpush", endpoint=None, hosts=(f"*.localhost:{port}", f"localhost:{port}"))
    _, point, secret = push.recipients(1)[0].address.split(" ")
    names = [f"s{n}.localhost" for n in range(MOST_SERVERS + 20)]
    for name in names:
        one = push.recipients(1)[0]._replace(address=f"https://{name}:{port}/push/1 {point} {secret}")
        await push.send([one])
    assert len(push.channel._servers) <= MOST_SERVERS + 1
    here = push.recipients(1)[0]._replace(address=f"https://localhost:{port}/push/1 {point} {secret}")
    assert [outcome.answer for outcome in await push.send([here])] == [Answer.ACCEPTED]


async def test_a_token_that_is_refused_is_made_anew(open_party, caplog):
    """Nobody is given up for it: it is said again with another. Whoever runs the service is told, as of no other carrier: this one does not fail."""
    push = await open_party("webpush")
    recipients = push.recipients(5)
    push.tell("apple-token", times=5)
    assert set(without_words(await push.send(recipients))) == {Outcome(Answer.RETRY, Reason.CREDENTIALS)}
    assert [(one.message, one.server) for one in caplog.records] == [("server.token_refused", "https://push.example")]
    assert {outcome.answer for outcome in await push.send(recipients)} == {Answer.ACCEPTED}


async def test_the_push_service_reads_nothing(open_party):
    """In what it gets there is no word of the alert, nor the tag by which the browser acknowledges."""
    push = await open_party("webpush")
    recipient = push.recipients(1)[0]
    sealed = push.channel.prepare(push.message).payload.sealed(Subscription.parse(recipient.address), recipient.tag)
    for secret in (push.message.title, push.message.body, recipient.tag, "notification"):
        assert secret.encode() not in sealed


async def test_sample_people_have_browsers_of_the_sandbox(sandbox):
    """So that whoever tries it out, and whoever kills it, sees web push as well."""
    browser = sandbox.endpoints["browser"]
    assert browser["keys"] == BROWSER_KEYS
    assert BROWSER.startswith(f"https://{browser['host']}/push/")


async def test_one_push_service_that_is_down_holds_up_no_other(sandbox, open_party, silent_port):
    """It takes nothing and says nothing: soon its browsers are for later at once, and all others are told as ever."""
    there = sandbox.webpush.endpoint
    hosts = (there.removeprefix("https://"), f"localhost:{silent_port}")
    push = await open_party("webpush", endpoint=None, hosts=hosts, connect_timeout_s=0.2)
    _, point, secret = push.recipients(1)[0].address.split(" ")
    down = [one._replace(address=f"https://localhost:{silent_port}/push/{n} {point} {secret}")
            for n, one in enumerate(push.recipients(ENOUGH))]  # fmt: skip
    good = [
        one._replace(address=f"{there}/push/{n} {point} {secret}") for n, one in enumerate(push.recipients(20, 100))
    ]
    assert {outcome.answer for outcome in await push.send(down)} == {Answer.RETRY}
    for _ in range(3):
        outcomes = await push.send([*down, *good])
        assert [one[:2] for one in outcomes[:ENOUGH]] == [(Answer.WITHHELD, Reason.CONNECTION)] * ENOUGH
        assert outcomes[ENOUGH:] == [ACCEPTED] * 20
    assert push.carrier.recorded.total == 60
