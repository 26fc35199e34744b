"""A text message centre with its habits, a channel that speaks to it, and who listens."""

from __future__ import annotations

import time

from channels.base import Loudness, Recipient, SmsMessage, Stamp
from channels.sandbox.script import Rule

N = 20  # messages


class Heard:
    """A listener that keeps what it is told; `trouble` makes it fail that many times."""

    def __init__(self):
        self.answers = []
        self.told = []
        self.trouble = 0

    async def said(self, answers):
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
        return [Recipient(f"+346000{start + n:05}", f"tag{start + n}") for n in range(count)]

    def tell(self, what, prefix="", **details):
        self.carrier.script.set(Rule(prefix, what, **details))

    def count(self, recipient):
        return self.carrier.recorded.count(recipient.address)

    async def send(self, recipients, may_write=lambda: True, text="Niña desaparecida: Lucía, 7 años"):
        prepared = self.channel.prepare(SmsMessage(stamp=self.stamp, text=text))
        return await self.channel.send(prepared, recipients, may_write)
