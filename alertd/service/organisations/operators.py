"""Manages the operators of an organisation: their names, their roles and the one-time codes for their first sign-in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import CROCKFORD
from alertd.config.sections import SignInSection
from alertd.model.operator import CODE_GROUP, CODE_GROUPS, Role, normal_code
from alertd.service.access import Credential, Terms
from alertd.store.organisations.api_keys import digest_of
from alertd.store.organisations.operators import Code, OperatorStore, StoredOperator


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """An operator with a one-time code, which alertd shows only once."""

    operator: StoredOperator
    code: str
    ends: int  # UNIX ms


class Operators:
    """Adds, changes and removes operators."""

    def __init__(self, store: OperatorStore, clock: Clock, settings: SignInSection) -> None:
        self._store = store
        self._clock = clock
        self._life_ms = settings.code_minutes * 60_000

    async def list(self, org: str) -> list[StoredOperator]:
        """Returns all operators of an organisation."""
        return await self._store.of_org(org)

    async def get(self, org: str, operator_id: str) -> StoredOperator:
        """Returns the operator. Raises Problem if there is none."""
        found = await self._store.get(org, operator_id)
        if found is None:
            raise _unknown()
        return found

    async def add(self, *, subject: str, name: str, roles: tuple[Role, ...], who: Credential) -> Invited:
        """Adds an operator to the caller's organisation. Returns the operator with a code for the first sign-in. Raises
        Problem.
        """
        _check_unbound(who)
        return await self._add(who.org, subject, name, roles, who)

    async def first(self, org: str) -> str | None:
        """Adds a first administrator and returns the sign-in code; returns None if the organisation has operators."""
        if await self._store.of_org(org):
            return None
        subject = "administrator"  # the subject of the first key, too
        return (await self._add(org, subject, subject, (Role.ADMINISTRATOR,), None)).code

    async def invite(self, operator_id: str, who: Credential, *, replace: bool) -> Invited:
        """Makes a one-time code for the operator to add a passkey or an identity, in place of the previous code.
        Returns both.

        With `replace`, the existing passkeys, identities and their sessions are invalid from now on. Raises Problem.
        """
        _check_unbound(who)
        operator, now = await self.get(who.org, operator_id), self._clock.now_ms()
        if replace:
            replaced, operator = (
                operator,
                await self._changed(
                    operator,
                    lambda seen: msgspec.structs.replace(seen, passkeys=(), identities=(), since=now, code=None),
                ),
            )
            await self._store.hide_ways(replaced)
        return await self._invite(operator, who)

    async def change(
        self,
        operator_id: str,
        who: Credential,
        *,
        name: str | None,
        roles: tuple[Role, ...] | None,
        disabled: bool | None,
    ) -> StoredOperator:
        """Changes an operator and returns it; None leaves a field unchanged. Disabling or enabling ends all sessions
        and the code. Raises Problem.
        """
        _check_live(who)
        if roles is not None or disabled is False:
            _check_unbound(who)
        before = await self.get(who.org, operator_id)
        if who.is_person(before.subject) and (disabled or (roles is not None and Role.ADMINISTRATOR not in roles)):
            raise _oneself()
        now = self._clock.now_ms()

        def changed(seen: StoredOperator) -> StoredOperator:
            """Returns the stored operator with the new name, roles and state. A new state ends its sessions and its
            code.
            """
            fresh = msgspec.structs.replace(seen, name=name or seen.name, roles=roles or seen.roles)
            if disabled is None or disabled == bool(seen.disabled):
                return fresh
            return msgspec.structs.replace(fresh, disabled=now if disabled else 0, since=now, code=None)

        return await self._changed(before, changed)

    async def remove(self, operator_id: str, who: Credential) -> None:
        """Removes an operator and ends their sessions; they cannot sign in again. Earlier acts keep their author.
        Raises Problem.
        """
        _check_live(who)
        operator = await self.get(who.org, operator_id)
        if who.is_person(operator.subject):
            raise _oneself()
        await self._store.remove(operator)

    async def _add(self, org: str, subject: str, name: str, roles: tuple[Role, ...], who: Credential | None) -> Invited:
        """Stores a new operator and makes a code for the first sign-in. Raises Problem if the person is an operator
        already.
        """
        operator = StoredOperator(
            id=self._store.id_of(org, subject),
            org=org,
            subject=subject,
            name=name,
            roles=roles,
            made=self._clock.now_ms(),
        )
        if not await self._store.add(operator):
            raise Problem("precondition-failed", "This person is an operator already.")
        return await self._invite(operator, who)

    async def _invite(self, operator: StoredOperator, who: Credential | None) -> Invited:
        """Makes a one-time code for an operator, in place of the previous one. Stores only its hash, with the makers of
        the caller's key as its makers. Raises Problem if the operator is disabled.
        """
        if operator.disabled:
            raise Problem("precondition-failed", "This operator is disabled; enable them first.")
        letters = "".join(secrets.choice(CROCKFORD) for _ in range(CODE_GROUPS * CODE_GROUP))
        now = self._clock.now_ms()
        ends = now + self._life_ms
        code = Code(digest=digest_of(normal_code(letters)), ends=ends, made=now)
        if who is not None:
            code = msgspec.structs.replace(code, makers=tuple(sorted(who.hands)), by=who.key_id)
        await self._store.show_code(operator, letters, self._life_ms)  # first: the record decides whether it counts
        changed = await self._changed(operator, lambda seen: msgspec.structs.replace(seen, code=code))
        groups = (letters[at : at + CODE_GROUP] for at in range(0, len(letters), CODE_GROUP))
        return Invited(operator=changed, code="-".join(groups), ends=ends)

    async def _changed(
        self, operator: StoredOperator, change: Callable[[StoredOperator], StoredOperator]
    ) -> StoredOperator:
        """Changes the stored operator with `change`, and returns it. Raises Problem if there is no such operator."""
        fresh = await self._store.change(operator.org, operator.id, change)
        if fresh is None:
            raise _unknown()
        return fresh


def _unknown() -> Problem:
    """Returns the Problem for an unknown operator."""
    return Problem("not-found", "There is no such operator.")


def _check_live(who: Credential) -> None:
    """Raises Problem for a test key: it could remove an approver, and so block Actual alerts."""
    if who.test:
        raise Problem("not-allowed", "A test key may not change who can send Actual alerts.")


def _check_unbound(who: Credential) -> None:
    """Raises Problem for a limited key: operators have no limits, so the key would grant more than it has."""
    if who.test or who.terms != Terms():
        raise Problem(
            "not-allowed",
            "Operators have no limits, so a test key, or a key with an end, a rate or a jurisdiction, may not admit them.",
        )


def _oneself() -> Problem:
    """Returns the Problem for administrators who would lock themselves out."""
    return Problem("precondition-failed", "You cannot lock yourself out. Ask another administrator to do this.")
