"""Sessions: an operator who signed in is the same credential as a key of that person, for as long as the session lasts."""

from __future__ import annotations

import secrets

import msgspec

from alertd.common.clock import HOUR_MS, Clock
from alertd.config.sections import SignInSection
from alertd.model.operator import scopes_of
from alertd.service.access import Credential
from alertd.store.organisations.operators import OperatorStore, StoredOperator, WayIn, digest_of
from alertd.store.organisations.sessions import Session, SessionStore

#: Whoever approves has shown within this time that it is they: long enough to read an alert once more, too short for a stranger at
#: a desk that somebody left.
FRESH_MS = 5 * 60_000
#: How often it is written down that a session is used, but for one that ends soon; one that is not used ends so much earlier, at the most.
SEEN_MS = 60_000
_SECRET = 43  # characters of 32 random bytes


def credential_of(operator: StoredOperator, way: WayIn, *, fresh: bool = True) -> Credential:
    """An operator as everything behind the sign-in sees one. Whoever made the code that a passkey or identity came in with may have
    used it themselves, as whoever made a key may have kept it.
    """
    return Credential(
        key_id=operator.id, org=operator.org, subject=operator.subject, scopes=scopes_of(operator.roles),
        makers=way.makers, signed_in=True, fresh=fresh,
    )  # fmt: skip


class Sessions:
    """Begins sessions, recognises and ends them."""

    def __init__(self, store: SessionStore, operators: OperatorStore, clock: Clock, settings: SignInSection) -> None:
        self._store = store
        self._operators = operators
        self._clock = clock
        self._idle_ms = settings.idle_minutes * 60_000
        self._seen_ms = min(SEEN_MS, self._idle_ms // 10)
        self._longest_ms = settings.longest_hours * HOUR_MS

    async def begin(self, operator: StoredOperator, way: WayIn, *, proven: bool) -> str:
        """A new session; its secret is the browser's alone. `proven`: by its person, just now."""
        token, now = secrets.token_urlsafe(32), self._clock.now_ms()
        session = Session(org=operator.org, operator=operator.id, way=way.id, began=now, seen=now)
        await self._store.put(digest_of(token), session, self._life_ms(session))
        if proven:
            await self.prove(token)
        return token

    async def recognise(self, token: str, *, renew: bool = True) -> Credential | None:
        """Whose session this is, as that operator is now; None where it is over. It lives on from now, unless it is not to be renewed."""
        digest = digest_of(token)
        found = await self._store.get(digest) if len(token) == _SECRET else None
        if found is None:
            return None
        session, proven = found
        now = self._clock.now_ms()
        if now - session.seen >= self._idle_ms or now - session.began >= self._longest_ms:
            return None
        operator = await self._operators.get(session.org, session.operator)
        if operator is None or operator.disabled or session.began <= operator.since or session.began < operator.made:
            return None  # whoever was removed and added again has the same id, and may have the same identity
        way = operator.way(session.way)
        if way is None:
            return None
        if renew and now - session.seen >= self._seen_ms:
            session = msgspec.structs.replace(session, seen=now)
            await self._store.renew(digest, session, self._life_ms(session))
        return credential_of(operator, way, fresh=now - proven < FRESH_MS)

    async def began_with(self, token: str, way: WayIn) -> bool:
        """Whether this is how its person came in. With another passkey of theirs nothing is shown about this session: whoever made the
        code of that one may have it, and is not among the hands that this session counts.
        """
        found = await self._store.get(digest_of(token))
        return found is not None and found[0].way == way.id

    async def prove(self, token: str) -> None:
        """Its operator has just shown that it is they."""
        await self._store.prove(digest_of(token), self._clock.now_ms(), FRESH_MS)

    async def end(self, token: str) -> None:
        await self._store.drop(digest_of(token))

    def _life_ms(self, session: Session) -> int:
        """From now on, unless it is renewed."""
        return max(1, min(self._idle_ms, session.began + self._longest_ms - self._clock.now_ms()))
