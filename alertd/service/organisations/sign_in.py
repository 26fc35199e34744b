"""The steps that all ways of signing in share: attempt limits, one-time codes, the audit and sessions."""

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

#: Number of attempts without a wait, and the longest wait after them (ms). A caller's address may serve a whole office
#: or be a proxy, so its longest wait is a minute. A passkey identifies its operator, so a stranger cannot use up the
#: operator's attempts.
OF_CALLER = (20, 60_000)
OF_OPERATOR = (5, 15 * 60_000)


class Refusal(Problem):
    """A refused sign-in. `reason` is one word, for the audit only; the caller gets `sentence`, which does not reveal
    the reason. The Problem also has the members of `extra`.
    """

    def __init__(self, reason: str, sentence: str, **extra: Any) -> None:
        super().__init__("not-allowed", sentence, **extra)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SignIn:
    """Checks attempts and codes, and records the result, for every way of signing in."""

    operators: OperatorStore
    sessions: SessionStore
    audit: Audit
    clock: Clock
    administers: Administers

    async def attempt(self, who: str, bounds: tuple[int, int]) -> None:
        """Counts an attempt to sign in under the name `who`. Raises Problem if the caller must wait. `bounds` are the
        free attempts and the longest wait in ms.
        """
        wait_ms = await self.sessions.attempt(who, *bounds)
        if wait_ms:
            raise Problem(
                "rate-limited", "Too many tries to sign in.", headers={"Retry-After": str(-(-wait_ms // 1000))}
            )

    async def forgive(self, *names: str) -> None:
        """Resets the counted attempts of these names, after a successful sign-in."""
        for who in names:
            await self.sessions.forgive(who)

    async def invited(self, code: str) -> StoredOperator:
        """Returns the operator of a one-time code. Raises Problem if the code is not valid."""
        operator = await self.operators.of_code(normal_code(code))
        if operator is None or not await self.counts(operator, digest_of(normal_code(code))):
            raise no_code()
        return operator

    async def counts(self, operator: StoredOperator, digest: str) -> bool:
        """Returns whether the code with this hash belongs to the operator and its maker may still admit operators.

        If the maker was revoked, disabled or given new credentials after making the code, the code is void.
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
        """Adds a passkey or an identity to an operator by `gain`, and removes the code. Returns the operator.

        Raises Problem if the code was used meanwhile, and any error of `gain`.
        """

        def bound(seen: StoredOperator) -> StoredOperator:
            """Returns the stored operator changed by `gain` and without the code. Raises Problem if the code no longer
            holds.
            """
            if not self._holds(seen, digest):
                raise no_code()
            return msgspec.structs.replace(gain(seen), code=None)

        fresh = await self.operators.change(operator.org, operator.id, bound)
        if fresh is None:
            raise no_code()
        return fresh

    def _holds(self, operator: StoredOperator, digest: str) -> bool:
        """Returns whether the code with this hash belongs to the operator and has not expired."""
        kept = operator.code
        return kept is not None and kept.digest == digest and self.clock.now_ms() < kept.ends

    @asynccontextmanager
    async def recorded(self, who: Credential, act: str) -> AsyncIterator[None]:
        """Writes an audit entry before and after the block. The act is recorded under `who`, the operator, who is known
        only after a check of the sign-in.
        """
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
    """Returns the Problem for a one-time code that is not valid."""
    return Problem(
        "not-allowed",
        "This code is unknown, used or too old, or its maker is no longer an administrator. An administrator makes another (alertd operators invite).",
    )


#: Ms within which an approver must have proved their identity. The time is long enough to read an alert again, and too
#: short for a stranger at an unattended desk.
FRESH_MS = 5 * 60_000
#: Interval in ms at which the use of a session is recorded, unless the session ends soon. So an idle session may end
#: earlier by at most this time.
SEEN_MS = 60_000
_SECRET = 43  # characters of 32 random bytes


def credential_of(operator: StoredOperator, way: WayIn, *, fresh: bool = True) -> Credential:
    """Returns the credential of a signed-in operator. `way` is the passkey or identity that they signed in with.

    Its makers are the makers of the one-time code: they may have used that code themselves, as the maker of a key may
    have kept the key.
    """
    return Credential(
        key_id=operator.id, org=operator.org, subject=operator.subject, scopes=scopes_of(operator.roles),
        makers=way.makers, signed_in=True, fresh=fresh,
    )  # fmt: skip


class Sessions:
    """Begins, recognises and ends sessions. During a session an operator has the same credential as with a key of that
    person.
    """

    def __init__(self, store: SessionStore, operators: OperatorStore, clock: Clock, settings: SignInSection) -> None:
        self._store = store
        self._operators = operators
        self._clock = clock
        self._idle_ms = settings.idle_minutes * 60_000
        self._seen_ms = min(SEEN_MS, self._idle_ms // 10)
        self._longest_ms = settings.longest_hours * HOUR_MS

    async def begin(self, operator: StoredOperator, way: WayIn, *, proven: bool) -> str:
        """Begins a session and returns its secret, which only the browser keeps. `proven`: the person has just proved
        their identity.
        """
        token, now = secrets.token_urlsafe(32), self._clock.now_ms()
        session = Session(org=operator.org, operator=operator.id, way=way.id, began=now, seen=now)
        await self._store.put(digest_of(token), session, self._life_ms(session))
        if proven:
            await self.prove(token)
        return token

    async def recognise(self, token: str, *, renew: bool = True) -> Credential | None:
        """Returns the current credential of a session's operator, or None if the session has ended. With `renew`,
        extends the session.
        """
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
            return None  # an operator removed and added again has the same id, and may have the same identity
        way = operator.way(session.way)
        if way is None:
            return None
        if renew and now - session.seen >= self._seen_ms:
            session = msgspec.structs.replace(session, seen=now)
            await self._store.renew(digest, session, self._life_ms(session))
        return credential_of(operator, way, fresh=now - proven < FRESH_MS)

    async def began_with(self, token: str, way: WayIn) -> bool:
        """Returns whether the session began with this passkey or identity.

        Another passkey of the operator proves nothing about this session: the maker of its code may hold it and is not
        among the session's `hands`.
        """
        found = await self._store.get(digest_of(token))
        return found is not None and found[0].way == way.id

    async def prove(self, token: str) -> None:
        """Records that the operator has just proved their identity."""
        await self._store.prove(digest_of(token), self._clock.now_ms(), FRESH_MS)

    async def end(self, token: str) -> None:
        """Ends a session: its secret is no longer accepted."""
        await self._store.drop(digest_of(token))

    def _life_ms(self, session: Session) -> int:
        """Returns the ms until a session ends, unless it is renewed."""
        return max(1, min(self._idle_ms, session.began + self._longest_ms - self._clock.now_ms()))
