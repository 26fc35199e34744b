"""A text message centre with its habits, a channel that speaks to it, and who listens."""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields

from channels.base import Answer, Loudness, Recipient, SmsMessage, Stamp
from channels.sandbox.script import Rule
from channels.smpp.session import SessionSettings
from channels.smpp.settings import SmppSettings

N = 20  # messages


def centre_settings(**given):
    """Settings of a channel; those of a session are among them."""
    session = {one.name: given.pop(one.name) for one in fields(SessionSettings) if one.name in given}
    return SmppSettings(session=SessionSettings(**session), **given)


async def send_until_accepted(send, recipients):
    """Send what is refused or withheld again, after the wait that the carrier asks for, as the dispatcher does."""
    left, again = list(recipients), {Answer.RETRY, Answer.WITHHELD}
    async with asyncio.timeout(120):
        while left:
            outcomes = await send(left)
            waits_s = [outcome.retry_after_s or 0.1 for outcome in outcomes if outcome.answer is Answer.RETRY]
            left = [to for to, outcome in zip(left, outcomes, strict=True) if outcome.answer in again]
            await asyncio.sleep(max(waits_s, default=0))


class Heard:
    """A listener that keeps what it is told; `trouble` makes it fail that many times."""

    def __init__(self):
        self.answers = []
        self.told = []
        self.trouble = 0

    async def take_answers(self, answers):
        self._fail()
        self.answers += answers

    async def reports(self, reports):
        self._fail()
        self.told += reports

    def _fail(self):
        if self.trouble:
            self.trouble -= 1
            raise ConnectionError("the store is away")


class SmppParty:
    """One channel with its centre and who listens."""

    def __init__(self, channel, carrier, heard):
        self.channel, self.carrier, self.heard = channel, carrier, heard
        now = int(time.time())
        self.stamp = Stamp(
            chain="c", version="v", sent_s=now, expires_s=now + 3600, loudness=Loudness.LOUD, language="es"
        )

    def recipients(self, count, start=0):
        return [Recipient(f"+346000{start + n:05}", f"tag{start + n}", is_new=True) for n in range(count)]

    def tell(self, what, prefix="", **details):
        self.carrier.script.set(Rule(prefix, what, **details))

    def count(self, recipient):
        return self.carrier.recorded.count(recipient.address)

    async def send(self, recipients, may_write=lambda: True, text="Niña desaparecida: Lucía, 7 años"):
        prepared = self.channel.prepare(SmsMessage(stamp=self.stamp, text=text))
        return await self.channel.send(prepared, recipients, may_write)
