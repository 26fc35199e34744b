"""DKIM against a verifier that nobody here wrote: mailauth, over mails that went through the sandbox's relay."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from channels.base import Answer, Loudness, MailMessage, Recipient, Stamp
from channels.dkim import DkimSettings, Signer
from channels.mail import MailChannel
from channels.mail_message import MailIdentity
from channels.smtp_relay import RelaySettings

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / ".cache" / "peers" / "node_modules" / "mailauth"
STAMP = Stamp(chain="c1", version="v1", sent_s=0, expires_s=4_000_000_000, loudness=Loudness.LOUD, language="es")


@pytest.fixture
def keys():
    """Two selectors of one domain: signers, and what the DNS says."""
    old, new = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    public = {
        "2026a": ("rsa", old.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        "2026b": ("ed25519", new.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
    }
    pems = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() for key in (old, new)]
    signers = tuple(
        Signer(DkimSettings(domain="a.example", selector=selector, key=pem))
        for selector, pem in zip(public, pems, strict=True)
    )
    dns = {
        f"{selector}._domainkey.a.example": f"v=DKIM1; k={kind}; p={base64.b64encode(raw).decode()}"
        for selector, (kind, raw) in public.items()
    }
    return signers, dns


@pytest.fixture
async def mails(sandbox, keys):
    """The mails as a relay got them, over TLS and one connection for several."""
    identity = MailIdentity(
        sender="Alertas <alerts@a.example>", domain="a.example", unsubscribe_base="https://a.example", signers=keys[0]
    )
    channel = MailChannel(RelaySettings(**sandbox.endpoints["mail"], connections=2), identity)
    await channel.open()
    message = MailMessage(
        stamp=STAMP, subject="Niña desaparecida: 漢字 " * 9, text=".\nLucía  7 años \n..\n\n\n", html="<p>Lucía\t7 </p>"
    )
    recipients = [Recipient(f"p{n}@people.example", f"tag{n}", leave=f"leave{n}", is_new=True) for n in range(6)]
    outcomes = await channel.send(channel.prepare(message), recipients, lambda: True)
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}
    await channel.close()
    return list(sandbox.mail.mails.values())


def verify(tmp_path, dns, mails):
    program = shutil.which("node")
    assert program, "node is missing: apt-get install nodejs npm"
    assert LIBRARY.exists(), "mailauth is missing: run ops/test"
    (tmp_path / "dns.json").write_text(json.dumps(dns))
    files = [tmp_path / f"{n}.eml" for n in range(len(mails))]
    for file, mail in zip(files, mails, strict=True):
        file.write_bytes(mail)
    command = [program, ROOT / "ops/bench/mailauth.js", LIBRARY, tmp_path / "dns.json", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["results"] for line in done.stdout.splitlines()]


async def test_mailauth_verifies_what_a_relay_gets(tmp_path, keys, mails):
    """Both selectors hold on each mail, aligned with From, and leaving by one click is signed (RFC 8058 4)."""
    results = verify(tmp_path, keys[1], mails)
    assert len(results) == 6
    for result in results:
        assert {(one["algorithm"], one["selector"], one["result"], one["aligned"]) for one in result} == {
            ("rsa-sha256", "2026a", "pass", "a.example"),
            ("ed25519-sha256", "2026b", "pass", "a.example"),
        }
        signed = {name.strip().lower() for one in result for name in one["headers"].split(":")}
        assert {"from", "to", "date", "list-unsubscribe", "list-unsubscribe-post", "feedback-id"} <= signed


async def test_mailauth_refuses_what_was_changed(tmp_path, keys, mails):
    """The same mails, each changed in one place."""
    changes = [
        (b"u/leave", b"u/other"),
        (b"One-Click", b"Other"),
        (b"Subject:", b"Subject: x\r\nSubject:"),
        (b"7 ", b"8 "),
    ]
    changed = [mail.replace(*change) for mail, change in zip(mails, changes, strict=False)]
    for result in verify(tmp_path, keys[1], changed):
        assert {one["result"] for one in result} == {"fail"} or {one["result"] for one in result} == {"neutral"}
