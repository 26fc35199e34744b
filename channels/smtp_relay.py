"""The settings of a mail relay, and the reasons of a failed login."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import aiosmtplib

from channels.login import Login, LoginState, clean, fault_of, is_this_machine


@dataclass(frozen=True, kw_only=True, slots=True)
class RelaySettings:
    """The settings of one relay. Raises `ValueError` for an unencrypted relay elsewhere without `plain_allowed`."""

    host: str
    port: int = 587
    security: Literal["starttls", "tls", "plain"] = "starttls"
    plain_allowed: bool = False  # an unencrypted connection exposes every address and text
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None  # None: the system's authorities
    connections: int = 20  # for the whole installation; relays limit them, and 4 to 20 use one fully
    # Seconds. Servers close an idle connection after 5 minutes (RFC 5321 4.5.3.2.7), some much earlier. alertd ends its
    # own with QUIT before.
    keep_idle_s: float = 30.0
    # Seconds after a failed connection in which messages get the same outcome and the pool opens no connection for
    # them.
    fails_for_s: float = 0.5
    # Longest wait in seconds before the pool asks again for one more connection than the relay accepts.
    ask_again_s: float = 60.0
    silent_s: float = 10.0  # a relay without an answer for this many seconds does not count as working
    # Seconds for each reply before the content is written. After this time-out, the mail was certainly not sent.
    timeout_s: float = 60.0
    # Seconds for the reply to the content, which a relay may scan first. A shorter wait causes duplicates (RFC 5321
    # 4.5.3.2.6).
    content_timeout_s: float = 600.0
    # Seconds for the reply to the content while the worker stops. With a longer wait the worker may be killed first,
    # and all other outcomes would be lost.
    last_reply_s: float = 30.0
    connect_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.security == "plain" and not (self.plain_allowed or is_this_machine(self.host)):
            raise ValueError("a relay on another machine needs starttls or tls, or plain_allowed")


def fault(error: Exception, server: str, relay: RelaySettings) -> Login:
    """Returns why a connection to the relay or its login failed. `server` is host:port."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        refused = isinstance(error, aiosmtplib.SMTPAuthenticationError)
        said = clean(f"{error.code} {error.message}", relay.username or "", relay.password or "")
        return Login(LoginState.LOGIN_REFUSED if refused else LoginState.BUSY, server, said)
    if isinstance(error, OSError) or error.__cause__ is not None:
        return fault_of(error, server, relay.connect_timeout_s, tls=relay.security == "tls")
    is_of_tls = str(error).startswith("SMTP STARTTLS")
    return Login(LoginState.TLS_NOT_OFFERED if is_of_tls else LoginState.LOGIN_NOT_OFFERED, server)
