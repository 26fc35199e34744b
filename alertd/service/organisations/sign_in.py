"""What every way of signing in shares: tries are counted, a one-time code says who comes, the audit has what came of it, and a session begins."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from alertd.common.clock import HOUR_MS, Clock
from alertd.common.errors import Problem
from alertd.config.sections import SignInSection
from alertd.model.operator import normal_code, scopes_of
from alertd.service.access import Credential
from alertd.service.organisations.organisations import Administers
from alertd.service.records.audit import DONE, REFUSED, Audit, Fact, Noted
from alertd.store.organisations.api_keys import digest_of
from alertd.store.organisations.operators import OperatorStore, StoredOperator, WayIn
from alertd.store.organisations.sessions import Session, SessionStore

#: Tries that are free and the longest wait after them. A caller's address may be a whole office's, or a proxy's: nobody keeps it out
#: for longer than a minute. A passkey's operator is known by it, so nobody else can try.
OF_CALLER = (20, 60_000)
OF_OPERATOR = (5, 15 * 60_000)


class Refusal(Problem):
    """Somebody is not let in. Why, as one word, is for the audit alone: outsiders are told a sentence that says no more. The problem has the
    members of `extra` too.
    """

    def __init__(self, reason: str, sentence: str, **extra: Any) -> None:
        super().__init__("not-allowed", sentence, **extra)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SignIn:
    """The door that all ways in lead to."""

    operators: OperatorStore
    sessions: SessionStore
    audit: Audit
    clock: Clock
    administers: Administers

    async def attempt(self, who: str, bounds: tuple[int, int]) -> None:
        """Counts a try. Raises Problem for one too many."""
        wait_ms = await self.sessions.attempt(who, *bounds)
        if wait_ms:
            raise Problem(
                "rate-limited", "Too many tries to sign in.", headers={"Retry-After": str(-(-wait_ms // 1000))}
            )

    async def forgive(self, *names: str) -> None:
        """They have signed in: what they tried before counts no more."""
        for who in names:
            await self.sessions.forgive(who)

    async def invited(self, code: str) -> StoredOperator:
        """Whose one-time code it is. Raises Problem."""
        operator = await self.operators.of_code(normal_code(code))
        if operator is None or not await self.counts(operator, digest_of(normal_code(code))):
            raise no_code()
        return operator

    async def counts(self, operator: StoredOperator, digest: str) -> bool:
        """Whether the code of this hash is the operator's, and whoever made it may still let somebody in: neither revoked nor stopped, nor
        let in anew since.
        """
        code = operator.code
        if code is None or not self._holds(operator, digest):
            return False
        maker = await self.operators.get(operator.org, code.by)
        if maker is not None and maker.since > code.made:
            return False
        return not code.by or await self.administers(operator.org, code.by)

    async def bind(
        self, operator: StoredOperator, digest: str, gain: Callable[[StoredOperator], StoredOperator]
    ) -> StoredOperator:
        """The operator with one way in more, which `gain` adds, and no code. Raises Problem where the code was used meanwhile, and what `gain` raises."""

        def bound(seen: StoredOperator) -> StoredOperator:
            if not self._holds(seen, digest):
                raise no_code()
            return msgspec.structs.replace(gain(seen), code=None)

        fresh = await self.operators.change(operator.org, operator.id, bound)
        if fresh is None:
            raise no_code()
        return fresh

    def _holds(self, operator: StoredOperator, digest: str) -> bool:
        """Whether the code of this hash is the operator's, and not too old."""
        kept = operator.code
        return kept is not None and kept.digest == digest and self.clock.now_ms() < kept.ends

    @asynccontextmanager
    async def recorded(self, who: Credential, act: str) -> AsyncIterator[None]:
        """In the audit as that person's own: who it is is known only behind the door."""
        number = await self.audit.begin(who, act, who.key_id)
        noted = Noted(object=who.key_id)
        try:
            yield
        except Problem as problem:
            facts: dict[str, Fact] = {"problem": problem.slug}
            noted.facts = facts | {"reason": problem.reason} if isinstance(problem, Refusal) else facts
            await self.audit.end(who, act, REFUSED, noted, of=number)
            raise
        await self.audit.end(who, act, DONE, noted, of=number)


def no_code() -> Problem:
    return Problem(
        "not-allowed",
        "This code is not known, was used, is too old, or its maker is no administrator any more. An administrator makes another (alertd operators invite).",
    )


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
    """Begins sessions, recognises and ends them. An operator who signed in is the same credential as a key of that person for as long as the
    session lasts.
    """

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
