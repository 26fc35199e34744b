"""The same mails through alertd's channel, unsigned and signed with RSA, and through aiosmtplib, to one smtp-sink that nobody here wrote.

Each sender runs alone, in a process of its own, warmed up, with a fresh smtp-sink beside it; rounds alternate, and the medians count. All
keep the same number of connections. Cost is processor seconds of the sending process per 1,000 mails, which is milliseconds a mail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

import aiosmtplib
import uvloop
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from rich.console import Console
from rich.table import Table

from channels.base import Answer, Loudness, MailMessage, Recipient, Stamp
from channels.dkim import DkimSettings, Signer
from channels.mail import MailChannel
from channels.mail_message import MailIdentity
from channels.smtp_pool import RelaySettings

SENDER, DOMAIN = "Alertas <alerts@centre.example>", "centre.example"
CHAIN = "01M885E6PQYDF6FR2R1P9138GR"
SUBJECT = "Niña desaparecida en Sevilla: Lucía P., 7 años"
TEXT = "Lucía P., 7 años, abrigo rojo. Vista en la estación de Santa Justa, Sevilla, a las 17:40 (CET).\n" * 10
HTML = (
    "<p>Lucía P., 7 años, abrigo rojo. Vista en la estación de <b>Santa Justa</b>, Sevilla, a las 17:40 (CET).</p>\n"
    * 40
)
CONNECTIONS = 20
WARM_UP = 500
CHUNK, LANES = 100, 8  # of the worker


@dataclass(frozen=True)
class Run:
    """What one sender took for its mails."""

    mails: int
    seconds: float
    cpu_s: float


def person(number: int) -> str:
    return f"person{number}@people.example"


def tag(number: int) -> str:
    """As long as real ones."""
    return f"{number:042}"


def send_plain(count: int, port: int) -> Run:
    return uvloop.run(_send(count, port, ()))


def send_signed(count: int, port: int) -> Run:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return uvloop.run(_send(count, port, (Signer(DkimSettings(domain=DOMAIN, selector="a", key=pem.decode())),)))


async def _send(count: int, port: int, signers: tuple[Signer, ...]) -> Run:
    """Our channel, as the worker uses it: one message encoded once, chunks of recipients in lanes."""
    identity = MailIdentity(sender=SENDER, domain=DOMAIN, unsubscribe_base="https://centre.example", signers=signers)
    channel = MailChannel(
        RelaySettings(host="127.0.0.1", port=port, security="plain", connections=CONNECTIONS), identity
    )
    await channel.open()
    now = int(time.time())
    stamp = Stamp(chain=CHAIN, version=CHAIN, sent_s=now, expires_s=now + 3600, loudness=Loudness.LOUD, language="es")
    prepared = channel.prepare(MailMessage(stamp=stamp, subject=SUBJECT, text=TEXT, html=HTML))

    async def chunk(numbers: Sequence[int]) -> None:
        recipients = [Recipient(person(n), tag(n), tag(n)) for n in numbers]
        outcomes = await channel.send(prepared, recipients, lambda: True)
        assert all(outcome.answer is Answer.ACCEPTED for outcome in outcomes)

    async def lane(starts: Iterator[int], last: int) -> None:
        for start in starts:
            await chunk(range(start, min(start + CHUNK, last)))

    async def all_of(last: int) -> None:
        starts = iter(range(0, last, CHUNK))
        await asyncio.gather(*(lane(starts, last) for _ in range(LANES)))

    await all_of(WARM_UP)
    began, cpu = time.perf_counter(), time.process_time()
    await all_of(count)
    run = Run(count, time.perf_counter() - began, time.process_time() - cpu)
    await channel.close()
    return run


def send_with_aiosmtplib(count: int, port: int) -> Run:
    """Its `send_message` over kept connections, a message a recipient."""

    def message(number: int) -> EmailMessage:
        made = EmailMessage()
        made["From"], made["To"], made["Subject"] = SENDER, person(number), SUBJECT
        made["Date"], made["Message-ID"] = formatdate(), f"<{tag(number)}@{DOMAIN}>"
        made["List-Unsubscribe"] = f"<https://centre.example/u/{tag(number)}>"
        made["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        made.set_content(TEXT)
        made.add_alternative(HTML, subtype="html")
        return made

    async def lane(client: aiosmtplib.SMTP, numbers: Iterator[int]) -> None:
        for number in numbers:
            refused, _ = await client.send_message(message(number))
            assert not refused

    async def run() -> Run:
        clients = [
            aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False) for _ in range(CONNECTIONS)
        ]
        await asyncio.gather(*(client.connect() for client in clients))
        await asyncio.gather(*(lane(client, iter(range(WARM_UP // CONNECTIONS))) for client in clients))
        numbers = iter(range(count))
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(lane(client, numbers) for client in clients))
        done = Run(count, time.perf_counter() - began, time.process_time() - cpu)
        await asyncio.gather(*(client.quit() for client in clients))
        return done

    return uvloop.run(run())


#: Sender, the prefix of its figures, and what share of the mails it gets: a slow one is measured on fewer.
SENDERS: dict[str, tuple[Callable[[int, int], Run], str, float]] = {
    "alertd": (send_plain, "", 1.0),
    "alertd, signed": (send_signed, "signed_", 1.0),
    "aiosmtplib.send_message": (send_with_aiosmtplib, "peer_", 0.1),
}


@contextmanager
def sink() -> Iterator[int]:
    """A running smtp-sink; answers its port."""
    program = shutil.which("smtp-sink", path=os.environ["PATH"] + ":/usr/sbin") or "smtp-sink"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, *as_user, f"127.0.0.1:{port}", "256"])
    try:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if time.monotonic() > deadline:
                raise TimeoutError("smtp-sink did not start")
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def measured(name: str, count: int) -> Run:
    """One sender in a process of its own."""
    with sink() as port:
        command = [sys.executable, __file__, "--sender", name, "--count", str(count), "--port", str(port)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return Run(**json.loads(done.stdout))


def bench(count: int, rounds: int) -> dict[str, Any]:
    runs: dict[str, list[Run]] = {name: [] for name in SENDERS}
    for _ in range(rounds):
        for name, (_, _, share) in SENDERS.items():
            runs[name].append(measured(name, int(count * share)))
    found: dict[str, Any] = {"mails": count, "peer": "aiosmtplib.send_message"}
    for name, (_, prefix, _) in SENDERS.items():
        found[f"{prefix}rate"] = round(statistics.median(run.mails / run.seconds for run in runs[name]))
        found[f"{prefix}cpu_ms"] = round(statistics.median(1000 * run.cpu_s / run.mails for run in runs[name]), 4)
    found["times_rate"] = round(found["rate"] / found["peer_rate"], 1)
    found["times_cpu"] = round(found["peer_cpu_ms"] / found["cpu_ms"], 1)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/bench/mail", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 mails in three rounds instead of 50,000 in five")
    parser.add_argument("--sender", choices=SENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sender:
        print(json.dumps(asdict(SENDERS[given.sender][0](given.count, given.port))))
        return 0
    found = bench(*((20_000, 3) if given.quick else (50_000, 5)))
    table = Table("sender", "mails/s", "CPU ms a mail", title="Mail to smtp-sink")
    for name, (_, prefix, _) in SENDERS.items():
        table.add_row(name, f"{found[prefix + 'rate']:,}", f"{found[prefix + 'cpu_ms']}")
    Console(stderr=True).print(table)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
