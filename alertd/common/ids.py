"""Names: sortable ids for alerts, and signed tags that name one reference to the outside.

An id is a ULID (48 bits of milliseconds, 80 random bits) in Crockford's base 32. The first alert of a chain gives the chain
its id; version n of it is `<chain>-<n>`, so a version's id says where it is kept. Each time that its store is put back from a copy while
its end is to come, a chain begins another life: version n of life l is `<chain>-<256 l + n>`, which is higher than whatever was told
since the copy was made, under numbers that nobody here knows.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass
from functools import lru_cache

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in CROCKFORD for second in CROCKFORD]
_MAC_BYTES = 10  # 80 bits: a tag lives days and each guess costs a request
_HEAD = struct.Struct(">16sB")  # chain, version
_ROW = struct.Struct(">I")  # row, and above its bits the life: a tag with an address has no room for more
_ROW_BITS = 29  # five channels of the most people that a service has
_A_LIFE = 256  # no chain has as many versions
_LAST_LIFE = 2 ** (32 - _ROW_BITS) - 1
_NAME_BYTES = 12  # an address's name, as the suppression list has it
_NAMED_MAC_BYTES = 9  # beside a name: "bounce+" and the tag must fit into the 64 characters before an @
_OLD_TO_BYTES = 3  # so much of an address's hash is in the tags of mails that are out
_NAMED = _HEAD.size + _ROW.size + _NAME_BYTES


def new_id(now_ms: int) -> str:
    """A ULID for this moment."""
    return _ulid_text(now_ms.to_bytes(6, "big") + secrets.token_bytes(10))


def chain_of(alert_id: str) -> str:
    """The chain an alert belongs to: the id of its first version."""
    return alert_id.partition("-")[0]


def sequence_of(alert_id: str) -> int:
    """The number of an alert among the versions of its chain, from 1: later ones have higher."""
    return int(alert_id.partition("-")[2] or 1)


def nth_of(alert_id: str) -> int:
    """Which version of its chain an alert is, from 1, whatever its number."""
    return sequence_of(alert_id) % _A_LIFE


def made_ms(alert_id: str) -> int:
    """When the first version of its chain was made, in UNIX milliseconds."""
    return int.from_bytes(_ulid_bytes(chain_of(alert_id))[:6], "big")


def version_id(chain: str, n: int, lives: str) -> str:
    """The id of a chain's nth version; its `lives` as they are written: after which version each began, and which it is ("3:1 5:2")."""
    if n == 1:
        return chain
    begun = [life for after, life in _lives(lives) if after < n]
    return f"{chain}-{_A_LIFE * max(begun, default=0) + n}"


def with_life(lives: str, last: int, life: int) -> str:
    """The `lives` of a chain whose next one begins after its `last` version: that one, or a later where it had that already."""
    before = _lives(lives)
    now = min(max(life, max((one for _, one in before), default=0) + 1), _LAST_LIFE)
    return " ".join(f"{after}:{one}" for after, one in [*(each for each in before if each[0] < last), (last, now)])


def _lives(written: str) -> list[tuple[int, int]]:
    return [(int(after), int(life)) for after, life in (one.split(":") for one in written.split())]


@dataclass(frozen=True, slots=True)
class Reference:
    """One row of one version's ledger."""

    alert_id: str
    row: int
    address: str | None = None  # the name of the one that it was sent to (`Names.address_hash`), where the tag says it
    to: bytes = b""  # in older tags: a few bytes of another keyed hash of it


class TokenPurpose(enum.IntEnum):
    """What a tag is for. It is signed with it, so that a tag shown at one door opens no other."""

    RECEIPT = 1  # a carrier's late report
    ACK = 2  # an app's acknowledgement
    LEAVE = 3  # one click that stops an address
    PAGE = 4  # an app's look at a message to somebody on call, which is no row of a ledger


#: The door that a message's tag opens, by its channel: what is in the message is what its receiver is shown. A mail's is in its
#: return path; reports of mail are taken only from whom the relay vouches for.
DOOR_OF = {
    "push": TokenPurpose.ACK,
    "webpush": TokenPurpose.ACK,
    "sms": TokenPurpose.RECEIPT,
    "mail": TokenPurpose.RECEIPT,
}

#: Channels whose messages hold a second tag, for `Door.LEAVE`.
LINKED = frozenset({"mail"})


class Tags:
    """Makes and reads signed tags: `[A-Za-z0-9_-]`, safe in URLs, mailboxes and Message-IDs."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def make(
        self, alert_id: str, row: int, door: TokenPurpose = TokenPurpose.RECEIPT, address: str | None = None
    ) -> str:
        """The tag of one row for one door: 42 characters, or 56 with the name of the address that the message goes to. Raises ValueError where it
        has no room for the row.
        """
        if row >= 1 << _ROW_BITS:  # it would be of another life
            raise ValueError(f"row {row} is too high for a tag")
        head, life = _head(alert_id)
        body = head + _ROW.pack(life << _ROW_BITS | row) + base64.urlsafe_b64decode(address or "")
        mac = _mac(_key_of(self._keys.current), body, door)[: _NAMED_MAC_BYTES if address else _MAC_BYTES]
        return base64.urlsafe_b64encode(body + mac).decode().rstrip("=")

    def parse(self, tag: str, door: TokenPurpose = TokenPurpose.RECEIPT) -> Reference | None:
        """The reference a tag names, or None if it was not made here for this door."""
        try:
            raw = base64.urlsafe_b64decode(tag + "=" * (-len(tag) % 4))
            end = _NAMED if len(raw) == _NAMED + _NAMED_MAC_BYTES else -_MAC_BYTES
            body, mac = raw[:end], raw[end:]
            (chain, nth), (row,) = _HEAD.unpack_from(body), _ROW.unpack_from(body, _HEAD.size)
        except (ValueError, struct.error):
            return None
        if not self._is_ours(body, door, mac):
            return None
        life, row = row >> _ROW_BITS, row & (1 << _ROW_BITS) - 1
        name, number = _ulid_text(chain), _A_LIFE * life + nth
        alert_id = name if number == 1 else f"{name}-{number}"
        to = body[_HEAD.size + _ROW.size :]
        if len(to) == _NAME_BYTES:
            return Reference(alert_id, row, base64.urlsafe_b64encode(to).decode())
        return Reference(alert_id, row, to=to)

    def is_for(self, reference: Reference, address: str) -> bool:
        """Whether what an older tag names was sent to this address, as far as it says: in whatever letters it was written then."""
        keys, spellings = map(_key_of, self._keys.every), (address.lower(), address)
        return reference.to in {b"", *(_old_to(key, one) for key in keys for one in spellings)}

    def page_chain(self, alert_id: str) -> str:
        """What pages of a version go by on a phone: an id like a chain's, which is none's, so that nothing takes them for the alert."""
        # The first key: a later page replaces an earlier one on the phone if both have the same id.
        random = hmac.digest(_key_of(self._keys.first), b"page" + alert_id.encode(), "sha256")[:10]
        return _ulid_text(_ulid_bytes(chain_of(alert_id))[:6] + random)

    def _is_ours(self, body: bytes, door: TokenPurpose, mac: bytes) -> bool:
        keys = map(_key_of, self._keys.every)
        return any(
            hmac.compare_digest(mac, own(key, body, door)[: len(mac)]) for key in keys for own in (_mac, _old_mac)
        )


@lru_cache(maxsize=64)
def _key_of(key: bytes) -> bytes:
    """The key of tags that follows from a signing key."""
    return hashlib.sha256(b"tag" + key).digest()


def _mac(key: bytes, body: bytes, door: TokenPurpose) -> bytes:
    # Keyed BLAKE2 is a MAC by itself (RFC 7693 section 1), for a third of what HMAC costs: each message has one.
    return hashlib.blake2b(body, key=key, digest_size=_MAC_BYTES, person=bytes((door,))).digest()


def _old_mac(key: bytes, body: bytes, door: TokenPurpose) -> bytes:
    """As tags were signed at first: those messages are out, and are reported, acknowledged and left by them yet."""
    return hmac.digest(key, bytes((door,)) + body, "sha256")[:_MAC_BYTES]


def _old_to(key: bytes, address: str) -> bytes:
    return hmac.digest(key, b"\0" + address.encode(), "sha256")[:_OLD_TO_BYTES]


@lru_cache(maxsize=64)  # a chunk's rows are of one alert
def _head(alert_id: str) -> tuple[bytes, int]:
    life, n = divmod(sequence_of(alert_id), _A_LIFE)
    return _HEAD.pack(_ulid_bytes(chain_of(alert_id)), n), life


def _ulid_bytes(text: str) -> bytes:
    value = 0
    for char in text:
        value = value << 5 | CROCKFORD.index(char)
    return value.to_bytes(16, "big")


def _ulid_text(raw: bytes) -> str:
    value = int.from_bytes(raw, "big")
    return "".join(_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10))


class SigningKeys:
    """The keys for one purpose. A rotation adds a key while the process runs; what an earlier key signed stays valid."""

    def __init__(self, *keys: bytes) -> None:
        """Takes the keys, the oldest first."""
        self.every: tuple[bytes, ...] = ()  # the current one first
        self.take(keys, keys[-1])

    def take(self, keys: tuple[bytes, ...], current: bytes) -> None:
        """Verify with these keys, the oldest first, and sign with the `current` one."""
        self.first, self.current = keys[0], current
        self.every = (current, *(key for key in reversed(keys) if key != current))
