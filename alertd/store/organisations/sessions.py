"""Operators' sessions, passkey challenges, sign-ins in progress at the OpenID provider, and counts of failed tries. All expire within a day.

A session is stored under the hash of its secret. A challenge is stored itself: it is no secret, and valid once.
"""

from __future__ import annotations

import hashlib

import msgspec

from alertd.common.clock import HOUR_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.organisations.api_keys import digest_of


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session of an operator. Times are UNIX ms."""

    org: str
    operator: str
    way: str = msgspec.field(name="passkey")  # id of the passkey or identity of the sign-in
    began: int  # time of the sign-in
    seen: int  # last use


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """A challenge that a passkey has to sign."""

    made: int  # UNIX ms
    code: str = ""  # hash of the one-time code of a registration; empty for a sign-in


class Away(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in in progress at the OpenID provider: the values that alertd checks when the browser comes back."""

    made: int  # UNIX ms
    browser: str  # hash of a secret that only this browser has
    nonce: str  # nonce that the ID token must contain
    verifier: str  # code verifier of PKCE (RFC 7636)
    back: str  # the redirect URI
    code: str = ""  # hash of the one-time code that binds the identity to an operator
    org: str = ""  # with `operator`: the operator whose session needs a fresh proof
    operator: str = ""
    session: str = ""  # with `operator`: hash of that session's secret


_encode = msgspec.json.Encoder().encode
_session = msgspec.json.Decoder(Session).decode
_challenge = msgspec.json.Decoder(Challenge).decode
_sent = msgspec.json.Decoder(Away).decode
FORGOTTEN_MS = HOUR_MS  # the count of tries is deleted after an hour without one


class SessionStore:
    """The repository of sessions, challenges and sign-ins in progress."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def put(self, digest: str, session: Session, life_ms: int) -> None:
        """Stores a session under the hash (`digest`) of its secret, for `life_ms`."""
        await self._db.execute("SET", keys.session(digest), _encode(session), "PX", life_ms)

    async def get(self, digest: str) -> tuple[Session, int] | None:
        """Returns the session with this hash, and the time of the operator's last proof of presence (UNIX ms, 0 if it is too long ago).
        None if the session has ended.
        """
        kept, proven = await self._db.mget([keys.session(digest), keys.session_proof(digest)])
        return (_session(kept), int(proven or 0)) if kept else None

    async def renew(self, digest: str, session: Session, life_ms: int) -> None:
        """Stores a session with a new lifetime (ms), unless it was ended meanwhile."""
        await self._db.execute("SET", keys.session(digest), _encode(session), "XX", "PX", life_ms)

    async def prove(self, digest: str, at: int, life_ms: int) -> None:
        """Stores for `life_ms` that the operator of this session proved presence at `at` (UNIX ms)."""
        await self._db.execute("SET", keys.session_proof(digest), at, "PX", life_ms)

    async def drop(self, digest: str) -> None:
        """Ends a session."""
        await self._db.execute("DEL", keys.session(digest), keys.session_proof(digest))

    async def ask(self, challenge: bytes, asked: Challenge, life_ms: int) -> None:
        """Stores a challenge until `take` returns it, but for at most `life_ms`."""
        await self._db.execute("SET", _challenge_key(challenge), _encode(asked), "PX", life_ms)

    async def take(self, challenge: bytes) -> Challenge | None:
        """Returns a challenge and deletes it, so that it is valid once. None if it does not exist or has expired."""
        kept = await self._db.execute("GETDEL", _challenge_key(challenge))
        return _challenge(kept) if kept else None

    async def send_away(self, state: str, sent: Away, life_ms: int) -> None:
        """Stores a sign-in in progress at the OpenID provider for `life_ms`, under the hash of its `state`."""
        name = keys.sent_away(digest_of(state))
        await self._db.execute("SET", name, self._db.codec.master.seal(_encode(sent), name), "PX", life_ms)

    async def come_back(self, state: str) -> Away | None:
        """Returns the sign-in in progress with this `state` and deletes it. None if it does not exist or has expired."""
        name = keys.sent_away(digest_of(state))
        sealed = await self._db.execute("GETDEL", name)
        return _sent(self._db.codec.master.open(sealed, name)) if sealed else None

    async def attempt(self, who: str, free: int, longest_ms: int) -> int:
        """Counts a try of `who` and returns 0, or, if it comes too early, does not count it and returns the ms to wait. After `free` tries
        the wait doubles with each try, up to `longest_ms`.
        """
        name = keys.tries(self._db.codec.hashed("tries", who))
        return int(await self._db.run("tries", [name], free, longest_ms, FORGOTTEN_MS, self._db.skew_ms))

    async def forgive(self, who: str) -> None:
        """Resets the count of this person's or address's failed tries to 0."""
        await self._db.execute("DEL", keys.tries(self._db.codec.hashed("tries", who)))


def _challenge_key(challenge: bytes) -> str:
    """Returns the store key of a challenge."""
    return keys.challenge(hashlib.sha256(challenge).hexdigest())
