"""A relay that needs longer than leave lasts until it takes a mail, and what changes meanwhile."""

from __future__ import annotations

import asyncio
import email
from collections.abc import AsyncIterator
from contextlib import suppress
from email import policy
from pathlib import Path

import pytest
from redis.asyncio import Redis

from alertd.config.carriers import SmtpCarrier
from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.model.states import AlertState
from alertd.runtime.assembly import opened
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.store.delivery.work_records import Lease
from alertd.store.engine.codec import Codec
from geofences.regions import Library
from tests.integration.acts import BEA, counts, lease_of, planned, register, send, silence

#: Of the child in the sample.
NAME = "Lucía"


class Relay:
    """Says hello after `greets_s`, and yes to a recipient after `looks_s`; keeps what it took."""

    def __init__(self) -> None:
        self.greets_s = self.looks_s = 0.0
        self.connections = 0
        self.taken: list[bytes] = []  # each with its recipient's address before it
        self.asked = asyncio.Event()  # a recipient was named

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        to = b""
        with suppress(OSError, asyncio.IncompleteReadError):
            await asyncio.sleep(self.greets_s)
            writer.write(b"220 slow\r\n")
            while line := await reader.readline():
                if line.startswith(b"RCPT"):
                    to = line
                    self.asked.set()
                    await asyncio.sleep(self.looks_s)
                if line.startswith(b"DATA"):
                    writer.write(b"354 go\r\n")
                    self.taken.append(to + await reader.readuntil(b"\r\n.\r\n"))
                writer.write(b"250-slow\r\n250 PIPELINING\r\n" if line.startswith(b"EHLO") else b"250 ok\r\n")
        writer.close()


@pytest.fixture
async def relay() -> AsyncIterator[tuple[Relay, int]]:
    """One, and its port."""
    made = Relay()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    yield made, listening.sockets[0].getsockname()[1]
    listening.close()


@pytest.fixture
async def slow(
    relay: tuple[Relay, int], redis: Redis, codec: Codec, library: Library, tmp_path: Path
) -> AsyncIterator[Container]:
    """An alertd that sends through it, over four connections."""
    carrier = SmtpCarrier(
        kind="smtp", host="127.0.0.1", port=relay[1], tls="plain", sender="Alerts <a@centre.example>", connections=4
    )
    settings = Settings(carriers={"relay": carrier}, store=StoreSection(directory=tmp_path / "data"))
    async with opened(settings, redis, codec, library=library) as parts:
        yield parts


@pytest.mark.parametrize(("greets_s", "looks_s"), [(0.8, 0.0), (0.0, 0.8)])
async def test_a_slow_relay_gets_every_mail(
    slow: Container, relay: tuple[Relay, int], sample: dict, greets_s: float, looks_s: float
):
    """Whatever takes its time, the greeting or the look at each recipient: each mail goes once, over no more connections than the relay may have."""
    relay[0].greets_s, relay[0].looks_s = greets_s, looks_s
    await register(slow, 20)
    record = await planned(slow, sample, channels=["mail"])
    await asyncio.wait_for(send(slow, record, "mail"), 20)
    assert await counts(slow, record, "mail") == {"accepted": 20}
    assert len(relay[0].taken) == 20
    assert relay[0].connections <= 4
    assert all(NAME in _words(mail) for mail in relay[0].taken)


async def _begun(
    parts: Container, relay: Relay, sample: dict, looks_s: float = 1.2
) -> tuple[Lease, asyncio.Task[None]]:
    """A lane that waits for the relay to say yes to a recipient."""
    relay.looks_s = looks_s
    await register(parts, 20)
    record = await planned(parts, sample, channels=["mail"])
    lease = await lease_of(parts.work, record.id, "mail")
    assert lease is not None
    drain = asyncio.create_task(worker_of(parts).feeder.dispatch.drain(lease, lambda: False))
    await asyncio.wait_for(relay.asked.wait(), 5)
    return lease, drain


async def test_what_is_cancelled_meanwhile_gets_no_content(slow: Container, relay: tuple[Relay, int], sample: dict):
    """The relay says yes after the cancel, and is given nothing."""
    lease, drain = await _begun(slow, relay[0], sample)
    await slow.alerts.step(lease.alert_id, AlertState.CANCELLED)
    await asyncio.wait_for(drain, 10)
    assert relay[0].taken == []


def _words(taken: bytes) -> str:
    """What a mail says, without its pictures."""
    mail = email.message_from_bytes(taken.partition(b"\r\n")[2], policy=policy.default)
    return "".join(part.get_content() for part in mail.walk() if part.get_content_maintype() == "text")


async def _sent_on(parts: Container, relay: Relay, chain: str) -> None:
    """The relay is quick again, and the rest is sent."""
    relay.looks_s = 0
    lease = await lease_of(parts.work, chain, "mail")
    assert lease is not None
    await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)


async def test_what_is_taken_out_meanwhile_is_in_no_content(slow: Container, relay: tuple[Relay, int], sample: dict):
    """A name that is not to be told any more stands in no mail that the relay had not been given; they are written anew."""
    lease, drain = await _begun(slow, relay[0], sample)
    await slow.amendment.restrict(lease.alert_id, BEA, "Her identity is protected")
    await asyncio.wait_for(drain, 10)
    assert relay[0].taken == []
    await _sent_on(slow, relay[0], lease.alert_id)
    assert [NAME in _words(mail) for mail in relay[0].taken] == [False] * 20


async def test_whoever_leaves_meanwhile_gets_no_content(slow: Container, relay: tuple[Relay, int], sample: dict):
    """A second after they were looked up, people are looked up again: who is not there any more gets nothing, and the others theirs."""
    lease, drain = await _begun(slow, relay[0], sample, looks_s=3.0)
    for i in range(5):
        await slow.registry.forget(f"p{i}")
    await asyncio.wait_for(drain, 10)
    assert relay[0].taken == []
    await _sent_on(slow, relay[0], lease.alert_id)
    gone = {f"<p{i}@".encode() for i in range(5)}
    assert len(relay[0].taken) == 15
    assert not any(one in mail for mail in relay[0].taken for one in gone)


async def test_a_lease_that_was_lost_meanwhile_writes_no_content(
    slow: Container, relay: tuple[Relay, int], sample: dict
):
    """Whoever was taken for dead finds the gate shut, and another sends the mails, each once."""
    lease, drain = await _begun(slow, relay[0], sample)
    await silence(slow.db, lease.alert_id)
    taken = await lease_of(slow.work, lease.alert_id, "mail")
    assert taken is not None
    await asyncio.wait_for(drain, 10)
    assert relay[0].taken == []
    relay[0].looks_s = 0
    await worker_of(slow).feeder.dispatch.drain(taken, lambda: False)
    assert len(relay[0].taken) == 20
