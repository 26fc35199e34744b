"""Mails of sign-up that wait for a worker."""

from __future__ import annotations

import msgspec

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.engine.sealed_queue import SealedQueue


class SignUpMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that a person asked for. What alertd knows about the mailbox decides which mail it gets, if any."""

    kind: str  # sign-up, settings or test
    mailbox: str  # the address, which is secret
    language: str
    until: int  # UNIX milliseconds; not sent later
    token: str = ""  # token in the link that confirms a sign-up
    places: tuple[str, ...] = ()  # full names of the places of a sign-up, in the language


class SignUpQueue(SealedQueue[SignUpMail]):
    """The repository of the waiting mails."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, keys.SIGN_UPS, SignUpMail)
