"""What SMS promises besides: reports find their way back, and a long text costs what is billed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from channels.base import Reason, ReportState, SmsMessage
from channels.sms_answers import status


@pytest.fixture
async def callbacks(aiohttp_server):
    """A server that takes status reports: the tag of the path and the form."""
    taken: asyncio.Queue[tuple[str, dict[str, str]]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        await taken.put((request.match_info["tag"], form))
        return web.Response()

    app = web.Application()
    app.router.add_post("/receipts/{tag}", take)
    server = await aiohttp_server(app)
    return taken, str(server.make_url("/receipts"))


@pytest.mark.parametrize(
    ("behaviour", "end"),
    [
        ("delivered", (ReportState.DELIVERED, Reason.NONE)),
        ("undelivered", (ReportState.FAILED, Reason.UNAVAILABLE)),
        ("failed", (ReportState.FAILED, Reason.BAD_ADDRESS)),
    ],
)
async def test_a_report_comes_back_under_the_recipients_tag(open_party, callbacks, behaviour, end):
    """The callback URL holds the tag, so that a report needs no table of message ids; the id is the one that was answered."""
    taken, url = callbacks
    sms = await open_party("sms", callback_base=url)
    if behaviour != "delivered":
        sms.tell(behaviour)
    (outcome,) = await sms.send(sms.recipients(1))
    reports = [await asyncio.wait_for(taken.get(), 5) for _ in range(2)]
    assert {tag for tag, _ in reports} == {"tag0"}
    assert {form["MessageSid"] for _, form in reports} == {outcome.message_id}
    assert [status(form) for _, form in reports] == [(ReportState.ACCEPTED, Reason.NONE), end]


async def test_the_text_arrives_as_it_was_folded_and_counted(open_party):
    """The carrier gets the plain form of look-alikes and the letters of a name as they are."""
    sms = await open_party("sms")
    text = "Żółć & «Lucía» = 50% + 1\u2026 \u2013 http://a.example/?a=1&b=2"
    sms.message = SmsMessage(stamp=sms.message.stamp, text=text)
    prepared = sms.channel.prepare(sms.message)
    await sms.send(sms.recipients(1))
    assert list(sms.carrier.bodies.values()) == ['Żółć & "Lucía" = 50% + 1... - http://a.example/?a=1&b=2']
    assert prepared.cost == 1
    longer = SmsMessage(stamp=sms.message.stamp, text="ż" * 71, names=("ż",))
    assert sms.channel.prepare(longer).cost == 2
    assert sms.channel.prepare(replace(longer, names=())).cost == 1


@pytest.mark.parametrize("text", ["", "x" * 1601])
async def test_what_the_provider_never_takes_is_refused_at_once(open_party, text):
    """Before anybody is sent anything."""
    sms = await open_party("sms")
    with pytest.raises(ValueError, match="1600"):
        sms.channel.prepare(SmsMessage(stamp=sms.message.stamp, text=text))
