"""Operators: one encrypted record each, and indexes to find it by passkey, identity and one-time code.

The indexes contain hashes. An entry counts only if the operator's record confirms it, so that one write to the record revokes it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec

from alertd.model.fields import folded_subject
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.organisations.api_keys import digest_of


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey as it was registered: the public half."""

    id: str  # base64url, as the browser sends it
    key: bytes  # COSE
    count: int  # number of signatures, if the authenticator counts them
    made: int  # UNIX ms
    makers: tuple[str, ...] = ()  # people behind the one-time code that was used to register it


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's identity at the OpenID provider: the HMAC of issuer and subject, because alertd never needs to read them."""

    id: str  # from `OperatorStore.identity_id`; contains a colon, which no passkey's id does
    made: int  # UNIX ms
    makers: tuple[str, ...] = ()  # people behind the one-time code that was used to bind it


WayIn = Passkey | Identity


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time code with which an operator signs in and registers a passkey or binds an identity; only its hash is stored."""

    digest: str
    ends: int  # UNIX ms
    makers: tuple[str, ...] = ()
    by: str = ""  # the key or operator that made it; empty for the first administrator's code
    made: int = 0  # UNIX ms


class StoredOperator(msgspec.Struct, frozen=True, kw_only=True):
    """An operator as stored."""

    id: str
    org: str
    subject: str  # the person, as compared with an alert's author
    name: str
    roles: tuple[str, ...]
    made: int  # UNIX ms
    passkeys: tuple[Passkey, ...] = ()
    identities: tuple[Identity, ...] = ()
    code: Code | None = None  # the latest one-time code; None if there is none
    disabled: int = 0  # when the operator was disabled (UNIX ms); 0: may sign in
    since: int = 0  # UNIX ms: earlier sessions are invalid

    def way(self, way_id: str) -> WayIn | None:
        """Returns the operator's passkey or identity with this id, None if it has neither."""
        ways: list[WayIn] = [*self.passkeys, *self.identities]
        return next((one for one in ways if one.id == way_id), None)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredOperator).decode


class OperatorStore:
    """The repository of operators."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    def id_of(self, org: str, subject: str) -> str:
        """Returns the id of a person in an organisation, the same for each spelling: 12 hexadecimal digits, like a key's id."""
        hashed = self._db.codec.hashed("operator", f"{org}\0{folded_subject(subject)}")
        return base64.urlsafe_b64decode(hashed).hex()[:12]

    async def add(self, operator: StoredOperator) -> bool:
        """Adds an operator, durably. Returns False if the id exists."""
        name = keys.org(operator.org, "operators")
        return bool(await self._db.execute_durably("HSETNX", name, operator.id, self._sealed(name, operator)))

    async def get(self, org: str, operator_id: str) -> StoredOperator | None:
        """Returns an operator of the organisation, None if there is none with this id. Raises SealError if the record was tampered with."""
        name = keys.org(org, "operators")
        sealed = await self._db.execute("HGET", name, operator_id)
        return self._opened(name, operator_id, sealed) if sealed else None

    async def of_org(self, org: str) -> list[StoredOperator]:
        """Returns the operators of an organisation, sorted by name."""
        name = keys.org(org, "operators")
        found = (await self._db.hash_of(name)).items()
        operators = [self._opened(name, raw.decode(), sealed) for raw, sealed in found]
        return sorted(operators, key=lambda one: (one.name.casefold(), one.id))

    async def change(
        self, org: str, operator_id: str, change: Callable[[StoredOperator], StoredOperator]
    ) -> StoredOperator | None:
        """Replaces an operator's record by `change(record)`, durably, and returns the new one. Calls `change` again on the newer record if
        another process changed it meanwhile. Returns None if the operator does not exist.
        """
        name = keys.org(org, "operators")
        while seen := await self._db.execute("HGET", name, operator_id):
            fresh = change(self._opened(name, operator_id, seen))
            if await self._db.run_durably("exchange", [name], operator_id, seen, self._sealed(name, fresh)):
                return fresh
        return None

    async def remove(self, operator: StoredOperator) -> bool:
        """Deletes an operator, durably, and the entries of its passkeys and identities in the indexes. Returns whether it existed."""
        gone = await self._db.execute_durably("HDEL", keys.org(operator.org, "operators"), operator.id)
        await self.hide_ways(operator)
        return bool(gone)

    async def hide_ways(self, operator: StoredOperator) -> None:
        """Deletes the operator's passkeys and identities from the indexes, so that they no longer open a session."""
        for passkey in operator.passkeys:
            await self._db.execute("HDEL", keys.PASSKEYS, self._hashed(passkey.id))
        for identity in operator.identities:
            await self._db.execute("HDEL", keys.IDENTITIES, identity.id)

    async def show_passkey(self, operator: StoredOperator, passkey_id: str) -> None:
        """Adds a passkey of this operator to the index, so that `of_passkey` finds it."""
        await self._db.execute("HSET", keys.PASSKEYS, self._hashed(passkey_id), f"{operator.org}/{operator.id}")

    async def of_passkey(self, passkey_id: str) -> StoredOperator | None:
        """Returns the operator that the index has for this passkey, None if there is none. The caller checks the operator's record."""
        return await self._found(await self._db.execute("HGET", keys.PASSKEYS, self._hashed(passkey_id)))

    def identity_id(self, issuer: str, subject: str) -> str:
        """Returns the id under which an identity is stored and found: a keyed hash of issuer and subject. Only `iss` and `sub` together
        identify a person (OpenID Connect Core 1.0, section 5.7).
        """
        return "oidc:" + self._db.codec.hashed("identity", f"{issuer}\0{subject}")

    async def show_identity(self, operator: StoredOperator, identity_id: str) -> None:
        """Adds an identity of this operator to the index, so that `of_identity` finds it."""
        await self._db.execute("HSET", keys.IDENTITIES, identity_id, f"{operator.org}/{operator.id}")

    async def of_identity(self, identity_id: str) -> StoredOperator | None:
        """Returns the operator that the index has for this identity, None if there is none. The caller checks the operator's record."""
        return await self._found(await self._db.execute("HGET", keys.IDENTITIES, identity_id))

    async def show_code(self, operator: StoredOperator, code: str, life_ms: int) -> None:
        """Adds a one-time code of this operator to the index for `life_ms`, so that `of_code` finds it."""
        place = f"{operator.org}/{operator.id}"
        await self._db.execute("SET", keys.sign_in_code(digest_of(code)), place, "PX", life_ms)

    async def of_code(self, code: str) -> StoredOperator | None:
        """Returns the operator that the index has for this one-time code, None if there is none. The caller checks the operator's record."""
        return await self.of_code_digest(digest_of(code))

    async def of_code_digest(self, digest: str) -> StoredOperator | None:
        """Like `of_code`, with the hash of the code."""
        return await self._found(await self._db.execute("GET", keys.sign_in_code(digest)))

    async def _found(self, place: bytes | None) -> StoredOperator | None:
        """Returns the operator at an index entry `organisation/operator`, None for None or if it was deleted."""
        org, _, operator_id = (place or b"").decode().rpartition("/")
        return await self.get(org, operator_id) if place else None

    def _hashed(self, passkey_id: str) -> str:
        """Returns the hash under which the index has a passkey."""
        return self._db.codec.hashed("passkey", passkey_id)

    def _sealed(self, name: str, operator: StoredOperator) -> bytes:
        return self._db.codec.master.seal(_encode(operator), f"{name} {operator.id}")

    def _opened(self, name: str, operator_id: str, sealed: bytes) -> StoredOperator:
        """Decrypts an operator's record. Raises SealError if it was tampered with."""
        return _decode(self._db.codec.master.open(sealed, f"{name} {operator_id}"))
