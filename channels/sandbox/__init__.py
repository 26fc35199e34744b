"""Simulated carriers on this machine that record what they receive, and misbehave on request: for the demo, the tests
and integrators.

`Sandbox` runs them in this process. `run` runs them until it is cancelled, and writes their addresses to `sandbox.json`
for other processes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from channels.sandbox.authority import make_authority
from channels.sandbox.fcm import FcmSandbox
from channels.sandbox.listener import Control, Listener
from channels.sandbox.sms_http import ACCOUNT, SECRET, SENDER, HttpSmsSandbox
from channels.sandbox.smsc import PASSWORD, SYSTEM_ID, SmscSandbox
from channels.sandbox.smsc import SENDER as SHORT_NUMBER
from channels.sandbox.smtp import SmtpSandbox
from channels.sandbox.webpush import HOST as PUSH_HOST
from channels.sandbox.webpush import WebPushSandbox

#: The user of the mail relay, if it requires a password.
MAIL_USER = "sandbox"


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxPorts:
    """The ports on 127.0.0.1; 0 selects a free port."""

    push: int = 0
    webpush: int = 0
    sms: int = 0
    smpp: int = 0
    mail: int = 0


class Sandbox:
    """All sandbox carriers. Writes its files (authority, service account) to `directory`, which must exist."""

    def __init__(self, directory: Path, ports: SandboxPorts | None = None, latency_s: float = 0.0) -> None:
        """`latency_s`: seconds that FCM and the browsers' push service take for every answer. Raises `OSError` if the
        directory cannot be written.
        """
        self._directory = directory
        self._ports = ports or SandboxPorts()
        self.authority = make_authority(directory)
        self.push = FcmSandbox(self.authority, latency_s)
        self.webpush = WebPushSandbox(self.authority, latency_s)
        self.sms = HttpSmsSandbox(self.authority)
        self.smpp = SmscSandbox(self.authority)
        self.mail = SmtpSandbox(self.authority)
        # The HTTP carriers serve the control calls on their own port.
        self._smpp_control = self._control(Control(self.smpp.script, self.smpp.recorded, say=self.smpp.say))
        self._mail_control = self._control(Control(self.mail.script, self.mail.recorded, last_mail=self.mail.last_mail))

    async def start(self) -> None:
        await self.push.start(self._ports.push)
        await self.webpush.start(self._ports.webpush)
        await self.sms.start(self._ports.sms)
        await self.smpp.start(self._ports.smpp)
        await self.mail.start(self._ports.mail)
        await self._smpp_control.start(0)
        await self._mail_control.start(0)

    async def stop(self) -> None:
        carriers = (self.push, self.webpush, self.sms, self.smpp, self.mail, self._smpp_control, self._mail_control)
        await asyncio.gather(*(carrier.stop() for carrier in carriers))

    def _control(self, control: Control) -> Listener:
        """Returns a separate HTTPS listener for the control calls of a carrier that does not speak HTTP."""
        return Listener(control.serve, self.authority.server_context(), 0.0)

    def places(self) -> Iterator[str]:
        """Yields "NAME at ADDRESS" for each carrier, for people."""
        for name in ("push", "webpush", "sms", "smpp", "mail"):
            one = self.endpoints[name]
            yield f"{name} at {one.get('endpoint') or '{host}:{port}'.format(**one)}"

    @property
    def endpoints(self) -> dict[str, dict[str, Any]]:
        """Returns by carrier the settings that alertd's channel needs, under their option names. Also has `control` and
        `browser`.

        `control` holds the base URL of `/control`, `/counts` and `/recorded` (mail: `/mail` too) for each carrier. `browser` holds the host
        of the push service and the keys of its subscriptions.
        """
        ca_file = str(self.authority.ca_file)
        push: dict[str, Any] = {
            "endpoint": self.push.endpoint,
            "credentials": str(self.push.account.file),
            "ca_file": ca_file,
        }
        webpush: dict[str, Any] = {
            "endpoint": self.webpush.endpoint,
            "private_key": self.webpush.private_key,
            "contact": f"mailto:sandbox@{PUSH_HOST}",
            "hosts": [PUSH_HOST, f"*.{PUSH_HOST}"],
            "ca_file": ca_file,
        }
        sms: dict[str, Any] = {
            "endpoint": self.sms.endpoint,
            "account": ACCOUNT,
            "secret": SECRET,
            "sender": SENDER,
            "ca_file": ca_file,
        }
        smpp: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.smpp.port,
            "system_id": SYSTEM_ID,
            "password": PASSWORD,
            "sender": SHORT_NUMBER,
            "ca_file": ca_file,
        }
        mail: dict[str, Any] = {"host": "127.0.0.1", "port": self.mail.port, "ca_file": ca_file}
        control: dict[str, Any] = {
            "push": self.push.endpoint,
            "webpush": self.webpush.endpoint,
            "sms": self.sms.endpoint,
            "smpp": f"https://127.0.0.1:{self._smpp_control.port}",
            "mail": f"https://127.0.0.1:{self._mail_control.port}",
        }
        browser = {"host": PUSH_HOST, "keys": self.webpush.keys}
        return {
            "push": push,
            "webpush": webpush,
            "sms": sms,
            "smpp": smpp,
            "mail": mail,
            "control": control,
            "browser": browser,
        }


async def run(
    directory: Path,
    ports: SandboxPorts | None = None,
    latency_s: float = 0.0,
    *,
    mail_password: str | None = None,
    listens: Callable[[str], None] = lambda _: None,
) -> None:
    """Runs the carriers until cancelled. When all listen, writes `sandbox.json` with their settings to `directory`,
    atomically, and calls `listens` with a line that lists the addresses. Removes `sandbox.json` at the end.

    With a `mail_password`, the relay only accepts the user `sandbox` with this password.
    """
    ready, part = directory / "sandbox.json", directory / "sandbox.json.part"
    ready.unlink(missing_ok=True)  # left by a killed process
    sandbox = Sandbox(directory, ports, latency_s)
    if mail_password is not None:
        sandbox.mail.account = (MAIL_USER, mail_password)
    await sandbox.start()
    try:
        part.write_text(json.dumps(sandbox.endpoints, indent=1))
        part.replace(ready)
        listens(f"The sandbox listens: {', '.join(sandbox.places())}. {ready} has the settings.")
        await asyncio.Event().wait()
    finally:
        ready.unlink(missing_ok=True)
        await sandbox.stop()
