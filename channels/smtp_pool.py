"""Kept connections to one mail relay."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import Literal

import aiosmtplib

from channels.base import NOT_CONNECTED, Answer, Outcome, Reason
from channels.hosts import is_this_machine
from channels.mail_session import MailSession, session_over

NOT_TRUSTED = Outcome(Answer.RETRY, Reason.CREDENTIALS)

# Servers close an idle connection after 5 minutes (RFC 5321 4.5.3.2.7), some after much less; ours are not used after this long.
KEEP_IDLE_S = 30.0

QUIT_TIMEOUT_S = 1.0  # a polite goodbye is not worth more


@dataclass(frozen=True, kw_only=True, slots=True)
class RelaySettings:
    host: str
    port: int = 587
    security: Literal["starttls", "tls", "plain"] = "starttls"
    plain_allowed: bool = False  # plain beyond this machine shows every address and text to whoever listens
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None  # None: the system's authorities
    connections: int = 10  # a relay refuses more than it likes; 4-20 fill one
    timeout_s: float = 60.0  # of each reply before the content: then nothing was sent
    # Of the reply to the content, which a relay may scan first: whoever waits for less sends it twice (RFC 5321 4.5.3.2.6).
    content_timeout_s: float = 600.0
    # Of that once nothing more may be sent: whoever stops is killed some time, and what all others were answered would be lost with it.
    last_reply_s: float = 30.0
    connect_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.security == "plain" and not (self.plain_allowed or is_this_machine(self.host)):
            raise ValueError("a relay on another machine needs starttls or tls, or plain_allowed")


class SmtpPool:
    """At most `connections` at a time: hold `slot` from before `take` until after `give_back`."""

    def __init__(self, relay: RelaySettings) -> None:
        self._relay = relay
        self._context: ssl.SSLContext | None = None
        self._idle: list[tuple[MailSession, float]] = []
        self.slot = asyncio.Semaphore(relay.connections)

    def open(self) -> None:
        self._context = ssl.create_default_context(cafile=self._relay.ca_file)

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(session.quit(QUIT_TIMEOUT_S) for session, _ in idle))

    async def take(self) -> MailSession | Outcome:
        """A connection that has said hello, or the outcome for a message that cannot have one."""
        while self._idle:
            session, since_s = self._idle.pop()
            if session.is_open and time.monotonic() - since_s < KEEP_IDLE_S:
                return session
            session.close()
        return await self._connect()

    def give_back(self, session: MailSession, *, kept: bool) -> None:
        """`kept`: the server waits for the next transaction. Otherwise the connection is closed."""
        if kept and session.is_open:
            session.was_kept = True
            self._idle.append((session, time.monotonic()))
        else:
            session.close()

    async def _connect(self) -> MailSession | Outcome:
        relay = self._relay
        smtp = aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            local_hostname="localhost",  # our name in EHLO
            timeout=relay.connect_timeout_s,
            use_tls=relay.security == "tls",
            start_tls=relay.security == "starttls",
            tls_context=self._context,
            username=relay.username,
            password=relay.password,
        )
        session = None
        try:
            await smtp.connect()
            if not smtp.last_ehlo_response:
                await smtp.ehlo()
            if smtp.transport is not None:
                session = session_over(smtp.transport, frozenset(smtp.esmtp_extensions))
        except (aiosmtplib.SMTPAuthenticationError, aiosmtplib.SMTPNotSupported, ssl.SSLCertVerificationError):
            return NOT_TRUSTED
        except (aiosmtplib.SMTPResponseException, OSError):
            return NOT_CONNECTED
        except aiosmtplib.SMTPException:  # it offers no STARTTLS, or no way to sign in
            return NOT_TRUSTED
        finally:
            if session is None:
                smtp.close()
        return session or NOT_CONNECTED
