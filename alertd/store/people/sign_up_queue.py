"""Mails of sign-up that wait for a worker. They are sealed, because each has an address."""

from __future__ import annotations

import msgspec

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: The queue is deleted this long after its last entry was added, so that no address stays if no worker takes it.
WAITS_MS = 60_000


class SignUpMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that a person asked for. What alertd knows about the mailbox decides which mail it gets, if any."""

    kind: str  # sign-up, settings or test
    mailbox: str  # secret
    language: str
    until: int  # UNIX milliseconds; not sent later
    token: str = ""  # of the link that confirms a sign-up
    places: tuple[str, ...] = ()  # names of the places of a sign-up, in the language


_encode = msgspec.json.Encoder().encode
_mail = msgspec.json.Decoder(SignUpMail).decode


class SignUpQueue:
    """The repository of the waiting mails."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def add(self, mail: SignUpMail) -> None:
        sealed = self._db.codec.master.seal(_encode(mail), keys.SIGN_UPS)
        await self._db.execute_many([("RPUSH", keys.SIGN_UPS, sealed), ("PEXPIRE", keys.SIGN_UPS, WAITS_MS)])

    async def take(self) -> SignUpMail | None:
        """Returns the next mail and removes it; None if there is none."""
        sealed = await self._db.execute("LPOP", keys.SIGN_UPS)
        return None if sealed is None else _mail(self._db.codec.master.open(sealed, keys.SIGN_UPS))
