"""Who may do what: API keys, each for one person, with scopes; and rate limits, which are token buckets in the memory of one process."""

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
        """Takes an amount from a bucket that holds `most` and gains `per_s` a second. Returns 0, or the seconds until there is enough; then
        nothing is taken.
        """
        now = self._clock.monotonic()
        full_at = max(now, self._full_at.get(name, now)) + amount / per_s
        if (wait_s := full_at - now - most / per_s) > 0:
            return wait_s
        self._full_at[name] = full_at
        return 0.0


#: Every scope there is. `admin` stands for all of them.
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
#: Asserts that others wrote what it submits. It is nobody's word for an approval, and `admin` does not stand for it.
DELEGATE, APPROVE = "delegate", "alerts:approve"
#: Decides that an alert may cost more than its organisation's limits.
OVERSPEND: Scope = "alerts:overspend"
#: Reads each row of a ledger, and so sees small counts of an approved alert, too.
LEDGER: Scope = "ledger:read"
#: What only whoever runs the service lets its own do: subscribers are of no other organisation. `admin` of another is no word for it.
OF_HOST: frozenset[Scope] = frozenset({"subscribers:read", "subscribers:write", "metrics:read"})
#: A key is noted as used at most so often.
USED_MS = 60_000
#: Those of keys that are kept as they are read: one with polygons may have a megabyte, and each call asks for it.
JURISDICTIONS_KEPT = 64
#: The longest that an old secret lives on beside a new one.
MOST_OVERLAP_S = 7 * 86_400
#: Stands between a person and their organisation in a record of another. No subject contains it: `Subject` refuses control characters.
_OF = "\0"
_TOKEN = re.compile(r"(test|live)_([A-Za-z0-9]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The bounds of a key."""

    expires: int = 0  # UNIX milliseconds; 0: never
    rate_per_min: int = 0  # requests; 0: the service's default, `api.key_rate_per_min`
    jurisdiction: Jurisdiction | None = None  # within its organisation's; None: all of that


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Whoever is calling."""

    key_id: str
    org: str
    subject: str  # the person the key belongs to
    scopes: frozenset[str]
    test: bool = False
    makers: tuple[str, ...] = ()  # people who made this key, or the key it was made with, and so on
    maker_org: str = ""  # the organisation of the key that this one was made with
    signed_in: bool = False  # an operator with a session; `key_id` is the operator's id
    fresh: bool = True  # a session: its operator showed minutes ago that it is they
    terms: Terms = Terms()
    by_old_secret: bool = False  # that before the last rotation, while it is good
    home: str = ""  # the organisation of the key, if it acts for another one, `org`

    def acting_for(self, org: str) -> Credential:
        """The same caller, acting on what belongs to `org`. Remembers the caller's own organisation as `home`."""
        return replace(self, org=org, home=self.own_org)

    @property
    def own_org(self) -> str:
        """The organisation that the key belongs to."""
        return self.home or self.org

    @property
    def signature(self) -> str:
        """The person as records of `org` keep them: a person of another organisation with its id, so that their subject is not taken for one of
        `org`. `signer` reads it.
        """
        return self.subject if self.own_org == self.org else f"{self.subject}{_OF}{self.own_org}"

    @property
    def sender(self) -> str:
        """The key, as records of `org` keep those that an alert is sent by. A key of another organisation stands with its id."""
        return self.key_id if self.own_org == self.org else f"{self.own_org}:{self.key_id}"

    @property
    def hands(self) -> frozenset[str]:
        """Everyone who has, or can have, this key in their hands: its person and its makers, as they are compared."""
        return frozenset(map(folded_subject, (self.subject, *self.makers)))

    def is_person(self, subject: str) -> bool:
        """Whether the key belongs to this person of `org`, as a record keeps them (`signature`), however the name is spelled."""
        return folded_subject(self.signature) == folded_subject(subject)

    def may(self, scope: str) -> bool:
        if scope == APPROVE and self.is_delegate:
            return False
        return scope in self.scopes or "admin" in self.scopes

    @property
    def is_delegate(self) -> bool:
        """Whether it may name others as authors."""
        return DELEGATE in self.scopes

    def wrote(self, author: str, key: str) -> bool:
        """Whether what this author wrote with a key is the caller's own: it is that person, or the key that spoke for them."""
        return self.is_person(author) or (self.is_delegate and key == self.key_id)


def signer(kept: str, org: str) -> tuple[str, str]:
    """The person that a record of `org` keeps as a `Credential.signature`, and the person's organisation."""
    subject, _, home = kept.partition(_OF)
    return subject, home or org


def hands_of(author: str, kept: str) -> frozenset[str]:
    """Everyone who could have written an alert with the key it came with, as people are compared: its author, and who is
    named in what `hands_text` made.
    """
    return frozenset((folded_subject(author), *kept.splitlines()))


def hands_text(hands: frozenset[str]) -> str:
    """As an alert's record keeps them."""
    return "\n".join(sorted(hands))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A key as it is listed."""

    credential: Credential
    used: int  # UNIX milliseconds it was last used, to a minute; 0: never
    old_until: int  # UNIX milliseconds until which the secret before the last rotation is good, too; 0: there is none
    recovered: int = 0  # UNIX milliseconds at which `alertd keys recover` made it; 0: it did not


#: Stands before the name of whoever allowed it, where an organisation's policy approved an alert and nobody looked.
BY_POLICY = "policy: "
#: And before that of an author who approved it alone, because nobody else could be reached.
BY_GLASS = "break-glass: "


def is_sent_alone(approver: Credential) -> bool:
    """Whether an approval is a policy's or the author's own, so that no second person answers for the alert."""
    return approver.subject.startswith((BY_POLICY, BY_GLASS))


class Access:
    """Makes keys and recognises them. Only a hash of the secret is kept."""

    def __init__(self, keyring: ApiKeys, limits: Limits, clock: Clock, default_rate_per_min: int = 0) -> None:
        """`default_rate_per_min`: requests of a key without a rate of its own; 0: no limit."""
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
        """A new key, which remembers whose hands it was made by. The token is told once and never again. `recovered`: when `alertd keys recover`
        made it, in UNIX milliseconds; 0 otherwise.
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
        """The credential of a token, or None: it is not known, was revoked, or has expired."""
        match = _TOKEN.fullmatch(token)
        if not match:
            return None
        stored, now = await self._keyring.get(match[2]), self._clock.now_ms()
        if stored is None:
            return None
        # Both are compared, whichever it is.
        digest = digest_of(match[3])
        is_new, was_before = hmac.compare_digest(stored.digest, digest), hmac.compare_digest(stored.old_digest, digest)
        if not (is_new or (was_before and now < stored.old_until)) or 0 < stored.expires <= now:
            return None
        if now - self._used.get(match[2], 0) >= USED_MS:
            self._used[match[2]] = now
            with suppress(StoreUnavailableError):  # a store that takes no writes still answers
                await self._keyring.use(match[2], now)
        return _credential(match[2], stored, by_old_secret=not is_new)

    async def get(self, key_id: str) -> Credential | None:
        """The credential of a key by its id, or None: it is not known, was revoked, or has expired."""
        stored = await self._keyring.get(key_id)
        if stored is None or 0 < stored.expires <= self._clock.now_ms():
            return None
        return _credential(key_id, stored)

    async def meter(self, who: Credential) -> None:
        """Raises Problem when a key asked more often than it may: its bucket has a minute's requests and fills up steadily. A rate of its
        own holds for the whole fleet; the default holds for this process, so that it costs a call no round trip to the store.
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
            raise Problem("rate-limited", f"This key has {rate} requests a minute.", headers=headers)

    async def rotate(self, key_id: str, who: Credential, overlap_s: int) -> tuple[Held, str]:
        """A new secret for a key; the old one lives on for so long, and the one before that no more. Whoever rotates a key of somebody
        else has had it in hand. A secret that was rotated away rotates nothing: whoever found it would keep out its person. Raises Problem.
        """
        if who.by_old_secret:
            raise Problem("not-allowed", "This secret was rotated away: the key's new one rotates.")
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
        """It is known no more. Anybody revokes their own, and others only such as they could make. Raises Problem."""
        stored = await self._keyring.get(key_id)
        if stored is None or stored.org != who.org:
            raise Problem("not-found", "There is no such key.")
        if key_id != who.key_id:
            check_giving(who, _credential(key_id, stored))
        await self._keyring.remove(key_id, who.org)

    async def list(self, org: str) -> list[Credential]:
        return [_credential(key_id, stored) for key_id, stored in await self._keyring.of_org(org)]

    async def held(self, org: str) -> Sequence[Held]:
        """An organisation's keys with what became of them."""
        return await self._held(await self._keyring.of_org(org))

    async def _held(self, found: Sequence[tuple[str, StoredKey]]) -> Sequence[Held]:
        used = await self._keyring.used([key_id for key_id, _ in found])
        return [
            Held(
                credential=_credential(key_id, stored), used=at, old_until=stored.old_until, recovered=stored.recovered
            )
            for (key_id, stored), at in zip(found, used, strict=True)
        ]

    async def first(self, org: str) -> str | None:
        """The administrator's key of a store that has none yet, else None."""
        if await self._keyring.of_org(org):
            return None
        return (await self.create(org=org, subject="administrator", scopes=frozenset({"admin"})))[1]


def check_giving(who: Credential, key: Credential) -> None:
    """Raises Problem unless the caller may have a key like this in hand: nobody can give what they do not have."""
    lacking = [scope for scope in sorted(key.scopes) if not (scope in who.scopes or "admin" in who.scopes)]
    if lacking:
        raise Problem("not-allowed", f"This key lacks the scope {lacking[0]} itself.", scope=lacking[0])
    if not who.is_person(key.subject) and not who.may("admin"):
        raise Problem("not-allowed", "Only an administrator makes keys for other people.", scope="admin")
    if who.test and not key.test:
        raise Problem("not-allowed", "A test key makes test keys alone.")
    if terms_of(key.terms, who) != key.terms:
        raise _wider()


def terms_of(asked: Terms, who: Credential) -> Terms:
    """The bounds of a key that the caller makes: those asked for, and where none are its own. Raises Problem for wider ones."""
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
    return Problem("not-allowed", "A key makes none that lasts longer, asks more often or reaches farther than itself.")


def _token(key_id: str, secret: str, *, test: bool) -> str:
    return f"{'test' if test else 'live'}_{key_id}_{secret}"


def _credential(key_id: str, stored: StoredKey, *, by_old_secret: bool = False) -> Credential:
    ground = _jurisdiction(stored.jurisdiction) if stored.jurisdiction else None
    return Credential(
        key_id=key_id, org=stored.org, subject=stored.subject, scopes=frozenset(stored.scopes), test=stored.test,
        makers=stored.makers, maker_org=stored.maker_org, terms=Terms(expires=stored.expires, rate_per_min=stored.rate_per_min, jurisdiction=ground),
        by_old_secret=by_old_secret,
    )  # fmt: skip


@lru_cache(JURISDICTIONS_KEPT)
def _jurisdiction(text: str) -> Jurisdiction:
    return Jurisdiction.model_validate_json(text)
