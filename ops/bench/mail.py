"""Sends the same mails through alertd's channel (unsigned, and signed with RSA) and through aiosmtplib, to one third-party smtp-sink.

All use the same number of connections; `senders` describes the measurement.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import formatdate

import aiosmtplib
import uvloop
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from senders import WARM_UP, Bench, Run, Sender, Watch, free_port, stamp, tag, through, wait_for

from channels.base import OPT_OUT_PLACEHOLDER, MailMessage, Recipient
from channels.dkim import DkimSettings, Signer
from channels.mail import MailChannel
from channels.mail_message import MailIdentity
from channels.smtp_relay import RelaySettings

SENDER, DOMAIN = "Alertas <alerts@centre.example>", "centre.example"
SUBJECT = "Niña desaparecida en Sevilla: Lucía P., 7 años"
LEAVE = f"https://centre.example/u/{OPT_OUT_PLACEHOLDER}"
TEXT = "Lucía P., 7 años, abrigo rojo. Vista en la estación de Santa Justa, Sevilla, a las 17:40 (CET).\n" * 10 + LEAVE
HTML = (
    "<p>Lucía P., 7 años, abrigo rojo. Vista en la estación de <b>Santa Justa</b>, Sevilla, a las 17:40 (CET).</p>\n"
    * 40
) + f'<a href="{LEAVE}">Dejar de recibir estas alertas</a>'
CONNECTIONS = 20


def person(number: int) -> str:
    return f"person{number}@people.example"


def send_plain(count: int, port: int) -> Run:
    return uvloop.run(_send(count, port, ()))


def send_signed(count: int, port: int) -> Run:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return uvloop.run(_send(count, port, (Signer(DkimSettings(domain=DOMAIN, selector="a", key=pem.decode())),)))


async def _send(count: int, port: int, signers: tuple[Signer, ...]) -> Run:
    identity = MailIdentity(sender=SENDER, domain=DOMAIN, unsubscribe_base="https://centre.example", signers=signers)
    channel = MailChannel(
        RelaySettings(host="127.0.0.1", port=port, security="plain", connections=CONNECTIONS), identity
    )
    message = MailMessage(stamp=stamp(), subject=SUBJECT, text=TEXT, html=HTML)
    return await through(channel, message, lambda n: Recipient(person(n), tag(n), is_new=True, leave=tag(n)), count)


def send_with_aiosmtplib(count: int, port: int) -> Run:
    """Sends with aiosmtplib's `send_message` over persistent connections, one message per recipient."""

    def message(number: int) -> EmailMessage:
        made = EmailMessage()
        made["From"], made["To"], made["Subject"] = SENDER, person(number), SUBJECT
        made["Date"], made["Message-ID"] = formatdate(), f"<{tag(number)}@{DOMAIN}>"
        made["List-Unsubscribe"] = f"<https://centre.example/u/{tag(number)}>"
        made["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        made.set_content(TEXT.replace(OPT_OUT_PLACEHOLDER, tag(number)))
        made.add_alternative(HTML.replace(OPT_OUT_PLACEHOLDER, tag(number)), subtype="html")
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
        watch = Watch()
        await asyncio.gather(*(lane(client, numbers) for client in clients))
        done = watch.run(count)
        await asyncio.gather(*(client.quit() for client in clients))
        return done

    return uvloop.run(run())


@contextmanager
def sink() -> Iterator[int]:
    """Runs smtp-sink. Yields its port."""
    program = shutil.which("smtp-sink", path=os.environ["PATH"] + ":/usr/sbin") or "smtp-sink"
    port = free_port()
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, *as_user, f"127.0.0.1:{port}", "256"])
    try:
        wait_for(lambda: _listens(port))
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


BENCH = Bench(
    file=__file__,
    does=__doc__,
    title="Mail to smtp-sink",
    noun="mail",
    nouns="mails",
    senders={
        "alertd": Sender(send_plain),
        "alertd, signed": Sender(send_signed, "signed_"),
        "aiosmtplib.send_message": Sender(send_with_aiosmtplib, "peer_", 0.1),
    },
    server=sink,
    peer="aiosmtplib.send_message",
    whole=(50_000, 5),
)


if __name__ == "__main__":
    sys.exit(BENCH.main())
