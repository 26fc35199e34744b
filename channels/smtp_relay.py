"""A mail relay: how to reach it, and why it does not let alertd in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import aiosmtplib

from channels.login import Login, LoginState, clean, fault_of, is_this_machine


@dataclass(frozen=True, kw_only=True, slots=True)
class RelaySettings:
    host: str
    port: int = 587
    security: Literal["starttls", "tls", "plain"] = "starttls"
    plain_allowed: bool = False  # plain beyond this machine shows every address and text to whoever listens
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None  # None: the system's authorities
    connections: int = 20  # of the whole installation; a relay refuses more than it likes, and 4-20 fill one
    # Servers close an idle connection after 5 minutes (RFC 5321 4.5.3.2.7), some after much less. We end ours with QUIT first.
    keep_idle_s: float = 30.0
    # For this long after a failed connection, messages get its outcome and open no other.
    fails_for_s: float = 0.5
    ask_again_s: float = (
        60.0  # the longest wait before the pool asks again for one more connection than the relay takes
    )
    silent_s: float = 10.0  # a relay that answers nothing for this long does not count as working
    timeout_s: float = 60.0  # of each reply before the content: then nothing was sent
    # Of the reply to the content, which a relay may scan first: whoever waits for less sends it twice (RFC 5321 4.5.3.2.6).
    content_timeout_s: float = 600.0
    # Of that once nothing more may be sent: whoever stops is killed some time, and what all others were answered would be lost with it.
    last_reply_s: float = 30.0
    connect_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.security == "plain" and not (self.plain_allowed or is_this_machine(self.host)):
            raise ValueError("a relay on another machine needs starttls or tls, or plain_allowed")


def fault(error: Exception, server: str, relay: RelaySettings) -> Login:
    """Why a relay let us not in."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        refused = isinstance(error, aiosmtplib.SMTPAuthenticationError)
        said = clean(f"{error.code} {error.message}", relay.username or "", relay.password or "")
        return Login(LoginState.LOGIN_REFUSED if refused else LoginState.BUSY, server, said)
    if isinstance(error, OSError) or error.__cause__ is not None:
        return fault_of(error, server, relay.connect_timeout_s, tls=relay.security == "tls")
    is_of_tls = str(error).startswith("SMTP STARTTLS")
    return Login(LoginState.TLS_NOT_OFFERED if is_of_tls else LoginState.LOGIN_NOT_OFFERED, server)
