"""Sessions of operators, the challenges of their passkeys, who is away at the provider, and how often somebody tried. Nothing here outlives a day.

Of a session only the hash of its secret is known, of a challenge the challenge, which is no secret and is used once.
"""

from __future__ import annotations

import hashlib

import msgspec

from alertd.common.clock import HOUR_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.organisations.api_keys import digest_of


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in. Times are UNIX ms."""

    org: str
    operator: str
    way: str = msgspec.field(name="passkey")  # id of the passkey or identity that it was begun with
    began: int
    seen: int


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What a passkey is asked to sign, and for what."""

    made: int  # UNIX ms
    code: str = ""  # hash of the one-time code that a passkey is registered with; empty: somebody signs in


class Away(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who was sent to the OpenID provider: what their coming back is measured by."""

    made: int  # UNIX ms
    browser: str  # hash of the secret that this browser alone has
    nonce: str  # that the ID token must have
    verifier: str  # of PKCE (RFC 7636)
    back: str  # the redirect URI
    code: str = ""  # hash of the one-time code with which the identity becomes an operator's
    org: str = ""  # with `operator`: whose session asked for a fresh proof
    operator: str = ""
    session: str = ""  # with `operator`: hash of that session's secret


_encode = msgspec.json.Encoder().encode
_session = msgspec.json.Decoder(Session).decode
_challenge = msgspec.json.Decoder(Challenge).decode
_sent = msgspec.json.Decoder(Away).decode
FORGOTTEN_MS = HOUR_MS  # tries count together until there was none for so long


class SessionStore:
    """The repository of sessions."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def put(self, digest: str, session: Session, life_ms: int) -> None:
        await self._db.execute("SET", keys.session(digest), _encode(session), "PX", life_ms)

    async def get(self, digest: str) -> tuple[Session, int] | None:
        """A session, and when its operator last proved to be there (UNIX ms, 0 for too long ago)."""
        kept, proven = await self._db.mget([keys.session(digest), keys.session_proof(digest)])
        return (_session(kept), int(proven or 0)) if kept else None

    async def renew(self, digest: str, session: Session, life_ms: int) -> None:
        """Unless it was ended meanwhile."""
        await self._db.execute("SET", keys.session(digest), _encode(session), "XX", "PX", life_ms)

    async def prove(self, digest: str, at: int, life_ms: int) -> None:
        """The operator was there at this time."""
        await self._db.execute("SET", keys.session_proof(digest), at, "PX", life_ms)

    async def drop(self, digest: str) -> None:
        await self._db.execute("DEL", keys.session(digest), keys.session_proof(digest))

    async def ask(self, challenge: bytes, asked: Challenge, life_ms: int) -> None:
        await self._db.execute("SET", _challenge_key(challenge), _encode(asked), "PX", life_ms)

    async def take(self, challenge: bytes) -> Challenge | None:
        """What a challenge was for; from now on it is for nothing."""
        kept = await self._db.execute("GETDEL", _challenge_key(challenge))
        return _challenge(kept) if kept else None

    async def send_away(self, state: str, sent: Away, life_ms: int) -> None:
        name = keys.sent_away(digest_of(state))
        await self._db.execute("SET", name, self._db.codec.master.seal(_encode(sent), name), "PX", life_ms)

    async def come_back(self, state: str) -> Away | None:
        """Whoever was sent with this state; from now on it is nobody's."""
        name = keys.sent_away(digest_of(state))
        sealed = await self._db.execute("GETDEL", name)
        return _sent(self._db.codec.master.open(sealed, name)) if sealed else None

    async def attempt(self, who: str, free: int, longest_ms: int) -> int:
        """Counts a try of `who`; or answers how many ms they must wait, and does not."""
        name = keys.tries(self._db.codec.hashed("tries", who))
        return int(await self._db.run("tries", [name], free, longest_ms, FORGOTTEN_MS, self._db.skew_ms))

    async def forgive(self, who: str) -> None:
        await self._db.execute("DEL", keys.tries(self._db.codec.hashed("tries", who)))


def _challenge_key(challenge: bytes) -> str:
    return keys.challenge(hashlib.sha256(challenge).hexdigest())
