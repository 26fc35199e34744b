"""API keys, each of one person and with scopes, and rate limits: token buckets of a process, or of the store."""

from __future__ import annotations

import hmac
import math
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import msgspec

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.model.fields import folded_subject
from alertd.model.organisation import Jurisdiction
from alertd.store.carriers.limits import Limits
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.organisations.api_keys import ApiKeys, StoredKey, digest_of


class RateLimits:
    """Token buckets by name. A bucket is full at first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def wait_s(self, name: str, amount: float, *, per_s: float, most: float) -> float:
        """Takes an amount from a bucket that holds `most` and gains `per_s` a second, and returns 0. If there is not
        enough, takes nothing and returns the seconds until there is.
        """
        now = self._clock.monotonic()
        full_at = max(now, self._full_at.get(name, now)) + amount / per_s
        if (wait_s := full_at - now - most / per_s) > 0:
            return wait_s
        self._full_at[name] = full_at
        return 0.0


#: All scopes. `admin` includes all of them except `delegate`.
Scope = Literal[
    "alerts:read",
    "alerts:write",
    "alerts:approve",
    "alerts:protect",
    "alerts:overspend",
    "subscribers:read",
    "subscribers:write",
    "regions:read",
    "regions:write",
    "ledger:read",
    "ledger:explain",
    "audit:read",
    "evidence:read",
    "texts:write",
    "metrics:read",
    "keys:write",
    "webhooks:write",
    "delegate",
    "admin",
]
#: The scopes of delegates and approvers. `delegate` lets a key submit alerts in the name of other authors. Such a key
#: cannot approve, and `admin` does not include `delegate`.
DELEGATE, APPROVE = "delegate", "alerts:approve"
#: The scope that lets an alert exceed its organisation's budget.
OVERSPEND: Scope = "alerts:overspend"
#: The scope to read each row of a ledger, and therefore also the small counts of an approved alert.
LEDGER: Scope = "ledger:read"
#: Scopes that only the organisation that runs the service can use: all subscribers belong to it. `admin` of another
#: organisation does not include them.
OF_HOST: frozenset[Scope] = frozenset({"subscribers:read", "subscribers:write", "metrics:read"})
#: Minimum time in ms between two records of a key's last use.
USED_MS = 60_000
#: Number of key jurisdictions cached after parsing: one may have a megabyte of polygons, and each call needs it.
JURISDICTIONS_KEPT = 64
#: Longest time in seconds that an old secret remains valid beside a new one.
MOST_OVERLAP_S = 7 * 86_400
#: Separates a person from their organisation in a record of another organisation. No subject contains it: `Subject`
#: refuses control characters.
_OF = "\0"
_TOKEN = re.compile(r"(test|live)_([A-Za-z0-9]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The limits of a key."""

    expires: int = 0  # UNIX milliseconds; 0: never
    rate_per_min: int = 0  # requests; 0: the service's default, `api.key_rate_per_min`
    jurisdiction: Jurisdiction | None = None  # within the organisation's jurisdiction; None: all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """The identity and the rights of a caller."""

    key_id: str
    org: str
    subject: str  # the person the key belongs to
    scopes: frozenset[str]
    test: bool = False
    makers: tuple[str, ...] = ()  # people who made this key, or the key it was made with, and so on
    maker_org: str = ""  # the organisation of the key that this one was made with
    signed_in: bool = False  # an operator with a session; `key_id` is the operator's id
    fresh: bool = True  # False for a session whose operator did not prove their identity in the last minutes
    terms: Terms = Terms()
    by_old_secret: bool = False  # signed in with the secret from before the last rotation, while that is valid
    home: str = ""  # the organisation of the key, if the key acts for another one, `org`

    def acting_for(self, org: str) -> Credential:
        """Returns the same caller, acting on an object that belongs to `org`. `home` keeps the caller's own
        organisation.
        """
        return replace(self, org=org, home=self.own_org)

    @property
    def own_org(self) -> str:
        """Returns the id of the organisation that the key belongs to."""
        return self.home or self.org

    @property
    def signature(self) -> str:
        """Returns the subject as records of `org` store it. The subject of a person of another organisation gets that
        organisation's id appended, to distinguish them from a person of `org`. `signer` parses it.
        """
        return self.subject if self.own_org == self.org else f"{self.subject}{_OF}{self.own_org}"

    @property
    def sender(self) -> str:
        """Returns the key as records of `org` store the keys that an alert is sent by. A key of another organisation
        gets that organisation's id as a prefix.
        """
        return self.key_id if self.own_org == self.org else f"{self.own_org}:{self.key_id}"

    @property
    def hands(self) -> frozenset[str]:
        """Returns all subjects who have, or may have, this key: its owner and the people who made it, folded for
        comparison.
        """
        return frozenset(map(folded_subject, (self.subject, *self.makers)))

    def is_person(self, subject: str) -> bool:
        """Returns whether the key belongs to this person, given in the form of `signature`. Ignores differences of
        spelling.
        """
        return folded_subject(self.signature) == folded_subject(subject)

    def may(self, scope: str) -> bool:
        """Returns whether the key has this scope, or `admin`. A key that may name other people as authors cannot
        approve.
        """
        if scope == APPROVE and self.is_delegate:
            return False
        return scope in self.scopes or "admin" in self.scopes

    @property
    def is_delegate(self) -> bool:
        """Returns whether the key may name other people as authors."""
        return DELEGATE in self.scopes

    def wrote(self, author: str, key: str) -> bool:
        """Returns whether the caller wrote what this author submitted with `key`: the caller is the author, or the
        delegate key that submitted it for them.
        """
        return self.is_person(author) or (self.is_delegate and key == self.key_id)


def signer(kept: str, org: str) -> tuple[str, str]:
    """Parses a `Credential.signature` from a record of `org`. Returns the person and the person's organisation."""
    subject, _, home = kept.partition(_OF)
    return subject, home or org


def hands_of(author: str, kept: str) -> frozenset[str]:
    """Returns all subjects who could have submitted an alert, folded for comparison: its author, and those who may have
    the author's key, in `kept` (made by `hands_text`).
    """
    return frozenset((folded_subject(author), *kept.splitlines()))


def hands_text(hands: frozenset[str]) -> str:
    """Returns subjects in the form that an alert's record stores and `hands_of` reads."""
    return "\n".join(sorted(hands))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A key as a list of keys shows it."""

    credential: Credential
    used: int  # UNIX ms of its last use, to a minute; 0: never
    old_until: int  # UNIX ms until which the secret from before the last rotation is valid as well; 0: there is none
    recovered: int = 0  # UNIX ms at which `alertd keys recover` made it; 0: it did not


#: Prefix of the approver if an organisation's policy approved an alert unattended. The name after it is the person who
#: set the policy.
BY_POLICY = "policy: "
#: Prefix of the approver if the author approved the alert alone, because no other person could be reached.
BY_GLASS = "break-glass: "


def is_sent_alone(approver: Credential) -> bool:
    """Returns whether no second person answers for the alert: `approver` is a policy, or the author by break-glass."""
    return approver.subject.startswith((BY_POLICY, BY_GLASS))


class Access:
    """Makes API keys and recognises them. Stores only a hash of each secret."""

    def __init__(self, keyring: ApiKeys, limits: Limits, clock: Clock, default_rate_per_min: int = 0) -> None:
        """`default_rate_per_min`: requests a minute for a key without its own rate; 0: no limit."""
        self._keyring = keyring
        self._limits = limits
        self._clock = clock
        self._default = default_rate_per_min
        self._used: dict[str, int] = {}
        self._calls = RateLimits(clock)

    async def create(
        self, *, org: str, subject: str, scopes: frozenset[str], test: bool = False, maker: Credential | None = None,
        terms: Terms = Terms(), recovered: int = 0,
    ) -> tuple[Credential, str]:  # fmt: skip
        """Makes a key, whose record names its makers. Returns its credential and its token; the token cannot be read
        again later. `recovered` is when `alertd keys recover` made it, in UNIX ms; 0 otherwise.
        """
        key_id = secrets.token_hex(6)
        secret = secrets.token_urlsafe(32)  # 43 characters
        stored = StoredKey(
            org=org, subject=subject, scopes=tuple(sorted(scopes)), test=test, digest=digest_of(secret),
            makers=tuple(sorted(maker.hands)) if maker else (), maker_org=maker.org if maker else "", expires=terms.expires, rate_per_min=terms.rate_per_min,
            jurisdiction=terms.jurisdiction.model_dump_json() if terms.jurisdiction else "", recovered=recovered,
        )  # fmt: skip
        await self._keyring.add(key_id, stored)
        return _credential(key_id, stored), _token(key_id, secret, test=test)

    async def recognise(self, token: str) -> Credential | None:
        """Returns the credential of a token, or None if it is unknown, revoked or expired. Records the use of the key."""
        match = _TOKEN.fullmatch(token)
        if not match:
            return None
        stored, now = await self._keyring.get(match[2]), self._clock.now_ms()
        if stored is None:
            return None
        # Compare both in every case, so that the time does not reveal which one matches.
        digest = digest_of(match[3])
        is_new, was_before = hmac.compare_digest(stored.digest, digest), hmac.compare_digest(stored.old_digest, digest)
        if not (is_new or (was_before and now < stored.old_until)) or 0 < stored.expires <= now:
            return None
        if now - self._used.get(match[2], 0) >= USED_MS:
            self._used[match[2]] = now
            with suppress(StoreUnavailableError):  # calls still work while the store takes no writes
                await self._keyring.use(match[2], now)
        return _credential(match[2], stored, by_old_secret=not is_new)

    async def get(self, key_id: str) -> Credential | None:
        """Returns the credential of a key by its id, or None if it is unknown, revoked or expired."""
        stored = await self._keyring.get(key_id)
        if stored is None or 0 < stored.expires <= self._clock.now_ms():
            return None
        return _credential(key_id, stored)

    async def meter(self, who: Credential) -> None:
        """Counts a call of a key or a signed-in operator. Raises Problem rate-limited if the bucket, which holds a
        minute's calls and refills steadily, is empty. The store counts a key's own rate for the whole fleet; each
        process counts the default rate in memory, without a round trip (0: no limit).
        """
        if rate := who.terms.rate_per_min:
            block = await self._limits.take(f"key/{who.key_id}", rate / 60, rate, 1)
            wait_s = 0.0 if block.granted else block.wait_s
        elif rate := self._default:
            wait_s = self._calls.wait_s(who.key_id, 1, per_s=rate / 60, most=rate)
        else:
            return
        if wait_s:
            headers = {"Retry-After": str(math.ceil(wait_s))}
            raise Problem("rate-limited", f"This key may make {rate} requests a minute.", headers=headers)

    async def rotate(self, key_id: str, who: Credential, overlap_s: int) -> tuple[Held, str]:
        """Makes a new secret for a key. The old secret remains valid for `overlap_s` seconds; an earlier one does not.
        Returns the key and its new token.

        A person who rotates another person's key becomes one of its makers. A caller who uses an old secret cannot
        rotate the key: a person who found the old secret could lock out the owner. Raises Problem.
        """
        if who.by_old_secret:
            raise Problem(
                "not-allowed", "This secret was replaced by a newer one. Use the newer one to rotate the key."
            )
        stored, seen = await self._keyring.read_key(key_id)
        if stored is None or stored.org != who.org:
            raise Problem("not-found", "There is no such key.")
        if key_id != who.key_id:
            check_giving(who, _credential(key_id, stored))
        secret, makers = secrets.token_urlsafe(32), set(stored.makers) | (who.hands if key_id != who.key_id else set())
        fresh = msgspec.structs.replace(
            stored, digest=digest_of(secret), makers=tuple(sorted(makers)),
            old_digest=stored.digest if overlap_s else "", old_until=self._clock.now_ms() + overlap_s * 1000 if overlap_s else 0,
        )  # fmt: skip
        if not await self._keyring.replace(key_id, fresh, seen=seen):
            raise Problem("precondition-failed", "The key was rotated or revoked at this very moment.")
        return (await self._held([(key_id, fresh)]))[0], _token(key_id, secret, test=stored.test)

    async def revoke(self, key_id: str, who: Credential) -> None:
        """Revokes a key. Callers can revoke their own keys, and those of others that they could make themselves.
        Raises Problem.
        """
        stored = await self._keyring.get(key_id)
        if stored is None or stored.org != who.org:
            raise Problem("not-found", "There is no such key.")
        if key_id != who.key_id:
            check_giving(who, _credential(key_id, stored))
        await self._keyring.remove(key_id, who.org)

    async def list(self, org: str) -> list[Credential]:
        """Returns the credentials of all keys of an organisation."""
        return [_credential(key_id, stored) for key_id, stored in await self._keyring.of_org(org)]

    async def held(self, org: str) -> Sequence[Held]:
        """Returns an organisation's keys with their last use and their rotation."""
        return await self._held(await self._keyring.of_org(org))

    async def _held(self, found: Sequence[tuple[str, StoredKey]]) -> Sequence[Held]:
        """Returns these keys with the time of their last use."""
        used = await self._keyring.used([key_id for key_id, _ in found])
        return [
            Held(
                credential=_credential(key_id, stored), used=at, old_until=stored.old_until, recovered=stored.recovered
            )
            for (key_id, stored), at in zip(found, used, strict=True)
        ]

    async def first(self, org: str) -> str | None:
        """Makes an administrator's key and returns its token. Returns None if the organisation has a key already."""
        if await self._keyring.of_org(org):
            return None
        return (await self.create(org=org, subject="administrator", scopes=frozenset({"admin"})))[1]


def check_giving(who: Credential, key: Credential) -> None:
    """Raises Problem unless the caller could make a key like `key`. A caller cannot grant more than they have."""
    lacking = [scope for scope in sorted(key.scopes) if not (scope in who.scopes or "admin" in who.scopes)]
    if lacking:
        raise Problem("not-allowed", f"This key lacks the scope {lacking[0]} itself.", scope=lacking[0])
    if not who.is_person(key.subject) and not who.may("admin"):
        raise Problem("not-allowed", "Only an administrator can make keys for other people.", scope="admin")
    if who.test and not key.test:
        raise Problem("not-allowed", "A test key can make only test keys.")
    if terms_of(key.terms, who) != key.terms:
        raise _wider()


def terms_of(asked: Terms, who: Credential) -> Terms:
    """Returns the limits of a key that the caller makes: the requested ones, and the caller's own for those not
    requested. Raises Problem for a later expiry, a higher rate, or a jurisdiction other than the caller's own (if it
    has one).
    """
    own = who.terms
    terms = Terms(
        expires=asked.expires or own.expires,
        rate_per_min=asked.rate_per_min or own.rate_per_min,
        jurisdiction=asked.jurisdiction or own.jurisdiction,
    )
    is_later, is_faster = 0 < own.expires < terms.expires, 0 < own.rate_per_min < terms.rate_per_min
    if is_later or is_faster or own.jurisdiction not in {None, terms.jurisdiction}:
        raise _wider()
    return terms


def _wider() -> Problem:
    """Returns the Problem for a key with wider limits than the key that makes it."""
    return Problem(
        "not-allowed",
        "A key cannot make a key with a later expiry, a higher rate or a wider jurisdiction than its own.",
    )


def _token(key_id: str, secret: str, *, test: bool) -> str:
    """Returns the token that a client sends: `live_` or `test_`, the key's id and its secret."""
    return f"{'test' if test else 'live'}_{key_id}_{secret}"


def _credential(key_id: str, stored: StoredKey, *, by_old_secret: bool = False) -> Credential:
    """Returns the identity and rights that a stored key gives its caller."""
    ground = _jurisdiction(stored.jurisdiction) if stored.jurisdiction else None
    return Credential(
        key_id=key_id, org=stored.org, subject=stored.subject, scopes=frozenset(stored.scopes), test=stored.test,
        makers=stored.makers, maker_org=stored.maker_org, terms=Terms(expires=stored.expires, rate_per_min=stored.rate_per_min, jurisdiction=ground),
        by_old_secret=by_old_secret,
    )  # fmt: skip


@lru_cache(JURISDICTIONS_KEPT)
def _jurisdiction(text: str) -> Jurisdiction:
    return Jurisdiction.model_validate_json(text)
