"""Who may do what: API keys, each for one person, with scopes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Literal

from alertd.fields import folded_subject
from alertd.organisations import Jurisdiction
from alertd.store.keyring import Keyring, StoredKey

#: Every scope there is. `admin` stands for all of them.
Scope = Literal[
    "alerts:read",
    "alerts:write",
    "alerts:approve",
    "alerts:protect",
    "subscribers:read",
    "subscribers:write",
    "regions:read",
    "regions:write",
    "ledger:read",
    "ledger:explain",
    "audit:read",
    "texts:write",
    "keys:write",
    "webhooks:write",
    "admin",
]
_TOKEN = re.compile(r"(test|live)_([A-Za-z0-9]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Whoever is calling."""

    key_id: str
    org: str
    subject: str  # the person the key belongs to
    scopes: frozenset[str]
    test: bool = False
    makers: tuple[str, ...] = ()  # people who made this key, or the key it was made with, and so on
    jurisdiction: Jurisdiction | None = None  # narrower than the organisation's; None: as wide
    signed_in: bool = False  # an operator with a session; `key_id` is the operator's id
    fresh: bool = True  # a session: its operator showed minutes ago that it is they

    @property
    def hands(self) -> frozenset[str]:
        """Everyone who has, or can have, this key in their hands: its person and its makers, as they are compared."""
        return frozenset(map(folded_subject, (self.subject, *self.makers)))

    def is_person(self, subject: str) -> bool:
        """Whether the key belongs to this person, however the name is spelled."""
        return folded_subject(self.subject) == folded_subject(subject)

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def hands_of(author: str, kept: str) -> frozenset[str]:
    """Everyone who could have written an alert with the key it came with, as people are compared: its author, and who is
    named in what `hands_text` made.
    """
    return frozenset((folded_subject(author), *kept.splitlines()))


def hands_text(hands: frozenset[str]) -> str:
    """As an alert's record keeps them."""
    return "\n".join(sorted(hands))


class Access:
    """Makes keys and recognises them. Only a hash of the secret is kept."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def create(
        self, *, org: str, subject: str, scopes: frozenset[str], test: bool = False, maker: Credential | None = None
    ) -> tuple[Credential, str]:
        """A new key, which remembers whose hands it was made by. The token is told once and never again."""
        key_id = secrets.token_hex(6)
        secret = secrets.token_urlsafe(32)  # 43 characters
        stored = StoredKey(
            org=org, subject=subject, scopes=tuple(sorted(scopes)), test=test, digest=_digest(secret),
            makers=tuple(sorted(maker.hands)) if maker else (),
        )  # fmt: skip
        await self._keyring.add(key_id, stored)
        return _credential(key_id, stored), f"{'test' if test else 'live'}_{key_id}_{secret}"

    async def recognise(self, token: str) -> Credential | None:
        """The credential of a token, or None."""
        match = _TOKEN.fullmatch(token)
        if not match:
            return None
        stored = await self._keyring.get(match[2])
        if stored is None or not hmac.compare_digest(stored.digest, _digest(match[3])):
            return None
        return _credential(match[2], stored)

    async def revoke(self, key_id: str, org: str) -> bool:
        return await self._keyring.remove(key_id, org)

    async def list(self, org: str) -> list[Credential]:
        return [_credential(key_id, stored) for key_id, stored in await self._keyring.of_org(org)]

    async def first(self, org: str) -> str | None:
        """The administrator's key of a store that has none yet, else None."""
        if await self._keyring.of_org(org):
            return None
        return (await self.create(org=org, subject="administrator", scopes=frozenset({"admin"})))[1]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()  # the secret is 256 random bits: no slow hash is needed


def _credential(key_id: str, stored: StoredKey) -> Credential:
    return Credential(
        key_id=key_id, org=stored.org, subject=stored.subject, scopes=frozenset(stored.scopes), test=stored.test,
        makers=stored.makers,
    )  # fmt: skip
