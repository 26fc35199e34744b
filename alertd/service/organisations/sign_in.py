"""What every way of signing in shares: tries are counted, a one-time code says who comes, and the audit has what came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.model.operator import normal_code
from alertd.service.access import Credential
from alertd.service.organisations.organisations import Administers
from alertd.service.records.audit import DONE, REFUSED, Audit, Fact, Noted
from alertd.store.organisations.operators import OperatorStore, StoredOperator, digest_of
from alertd.store.organisations.sessions import SessionStore

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


class SignIn:
    """The door that all ways in lead to."""

    def __init__(
        self, operators: OperatorStore, sessions: SessionStore, audit: Audit, clock: Clock, administers: Administers
    ) -> None:
        self._operators = operators
        self._sessions = sessions
        self._audit = audit
        self._clock = clock
        self._administers = administers

    async def attempt(self, who: str, bounds: tuple[int, int]) -> None:
        """Counts a try. Raises Problem for one too many."""
        wait_ms = await self._sessions.attempt(who, *bounds)
        if wait_ms:
            raise Problem(
                "rate-limited", "Too many tries to sign in.", headers={"Retry-After": str(-(-wait_ms // 1000))}
            )

    async def forgive(self, *names: str) -> None:
        """They have signed in: what they tried before counts no more."""
        for who in names:
            await self._sessions.forgive(who)

    async def invited(self, code: str) -> StoredOperator:
        """Whose one-time code it is. Raises Problem."""
        operator = await self._operators.of_code(normal_code(code))
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
        maker = await self._operators.get(operator.org, code.by)
        if maker is not None and maker.since > code.made:
            return False
        return not code.by or await self._administers(operator.org, code.by)

    async def bind(
        self, operator: StoredOperator, digest: str, gain: Callable[[StoredOperator], StoredOperator]
    ) -> StoredOperator:
        """The operator with one way in more, which `gain` adds, and no code. Raises Problem where the code was used meanwhile, and what `gain` raises."""

        def bound(seen: StoredOperator) -> StoredOperator:
            if not self._holds(seen, digest):
                raise no_code()
            return msgspec.structs.replace(gain(seen), code=None)

        fresh = await self._operators.change(operator.org, operator.id, bound)
        if fresh is None:
            raise no_code()
        return fresh

    def _holds(self, operator: StoredOperator, digest: str) -> bool:
        """Whether the code of this hash is the operator's, and not too old."""
        kept = operator.code
        return kept is not None and kept.digest == digest and self._clock.now_ms() < kept.ends

    @asynccontextmanager
    async def recorded(self, who: Credential, act: str) -> AsyncIterator[None]:
        """In the audit as that person's own: who it is is known only behind the door."""
        number = await self._audit.begin(who, act, who.key_id)
        noted = Noted(object=who.key_id)
        try:
            yield
        except Problem as problem:
            facts: dict[str, Fact] = {"problem": problem.slug}
            noted.facts = facts | {"reason": problem.reason} if isinstance(problem, Refusal) else facts
            await self._audit.end(who, act, REFUSED, noted, of=number)
            raise
        await self._audit.end(who, act, DONE, noted, of=number)


def no_code() -> Problem:
    return Problem(
        "not-allowed",
        "This code is not known, was used, is too old, or its maker is no administrator any more. An administrator makes another (alertd operators invite).",
    )
