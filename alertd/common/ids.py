"""Ids of alerts, sortable by time, and signed tags that identify one row of an alert's ledger outside alertd.

An id is a ULID (48 bits of milliseconds, 80 random bits) in Crockford's base 32. The first alert of a chain gives the chain its id. Version
n of it is `<chain>-<n>`, so a version's id contains its chain. If the store is restored from a backup before the chain's end, the chain
begins another life. Version n of life l is `<chain>-<256 l + n>`: higher than all versions sent since the backup, whose numbers are
unknown.
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
_MISREAD = str.maketrans("OIL", "011")  # letters that Crockford's alphabet reads as digits
_PAIRS = [first + second for first in CROCKFORD for second in CROCKFORD]
_MAC_BYTES = 10  # 80 bits: a tag lives days and each guess costs a request
_HEAD = struct.Struct(">16sB")  # id of the first version, number of the version
_ROW = struct.Struct(">I")  # the row, and the life in the bits above; a tag with an address has no more room
_ROW_BITS = 29  # enough for five channels of the largest service
_A_LIFE = 256  # step of version numbers for each life of an alert: more than an alert can have versions
_LAST_LIFE = 2 ** (32 - _ROW_BITS) - 1
_NAME_BYTES = 12  # bytes of an address's hashed name, as the suppression list has it
_NAMED_MAC_BYTES = 9  # beside an address's name: "bounce+" and the tag must fit into the 64 characters before an @
_OLD_TO_BYTES = 3  # bytes of the address's hash in older tags, in mails already sent
_NAMED = _HEAD.size + _ROW.size + _NAME_BYTES


def new_id(now_ms: int) -> str:
    """Returns a new ULID (26 letters) for this time (UNIX ms) with 80 random bits."""
    return _ulid_text(now_ms.to_bytes(6, "big") + secrets.token_bytes(10))


#: Letters of a public id: 50 random bits, few enough letters for an SMS and too many ids to guess.
PUBLIC_LETTERS = 10
#: Used as a public id in previews and checks of a message's length, before the alert has its own.
SOME_PUBLIC_ID = "X" * PUBLIC_LETTERS


def new_public_id() -> str:
    """Returns a random name for an alert's public page. It says nothing about the alert, not even when it was made."""
    return "".join(secrets.choice(CROCKFORD) for _ in range(PUBLIC_LETTERS))


def public_id_in(text: str) -> str | None:
    """Returns the public id that a person wrote, in any case and with O, I or L for 0 and 1; None if it is no such id."""
    plain = text.upper().translate(_MISREAD)
    return plain if len(plain) == PUBLIC_LETTERS and set(plain) <= set(CROCKFORD) else None


def chain_of(alert_id: str) -> str:
    """Returns the id of the alert's first version, which names the whole alert (its chain of versions), from the id of any version."""
    return alert_id.partition("-")[0]


def sequence_of(alert_id: str) -> int:
    """Returns the number in the id of a version (`<chain>-<number>`), 1 for the first version. A later version has a higher number."""
    return int(alert_id.partition("-")[2] or 1)


def nth_of(alert_id: str) -> int:
    """Returns which version of its alert this is, counted from 1: the number in the id without the part for the life."""
    return sequence_of(alert_id) % _A_LIFE


def made_ms(alert_id: str) -> int:
    """Returns when the first version of this version's alert was made (UNIX ms), read from the id."""
    return int.from_bytes(_ulid_bytes(chain_of(alert_id))[:6], "big")


def version_id(chain: str, n: int, lives: str) -> str:
    """Returns the id of an alert's nth version. `chain`: id of the first version.

    `lives`: one `after:number` for each restore from a backup, which begins another life of the alert, separated by spaces ("3:1 5:2": life
    1 began after version 3, life 2 after version 5).
    """
    if n == 1:
        return chain
    begun = [life for after, life in _lives(lives) if after < n]
    return f"{chain}-{_A_LIFE * max(begun, default=0) + n}"


def with_life(lives: str, last: int, life: int) -> str:
    """Returns the text `lives` (see `version_id`) with a new life that begins after version `last`. Removes the lives that began there or
    later.

    The new life's number is `life`, but at least one above the highest in `lives`, and at most `_LAST_LIFE`.
    """
    before = _lives(lives)
    now = min(max(life, max((one for _, one in before), default=0) + 1), _LAST_LIFE)
    return " ".join(f"{after}:{one}" for after, one in [*(each for each in before if each[0] < last), (last, now)])


def _lives(written: str) -> list[tuple[int, int]]:
    """Reads the text `lives` (see `version_id`): pairs of the version after which a life began, and the life's number."""
    return [(int(after), int(life)) for after, life in (one.split(":") for one in written.split())]


@dataclass(frozen=True, slots=True)
class Reference:
    """One row of the ledger of an alert's version, as a tag identifies it."""

    alert_id: str
    row: int
    address: str | None = None  # hashed name of the recipient's address (`Names.address_hash`), if the tag contains it
    to: bytes = b""  # in older tags: a few bytes of another keyed hash of the address


class TokenPurpose(enum.IntEnum):
    """The purpose of a tag. It is part of the signature, so a tag works for one purpose only."""

    RECEIPT = 1  # a carrier's late report
    ACK = 2  # an app's acknowledgement
    LEAVE = 3  # one click that stops an address
    PAGE = 4  # an app's view of a message to a person on call, which has no ledger row


#: The purpose of the tag in a message that the recipient sees, by channel. A mail's tag is in its return path, and reports of mail are
#: accepted only from senders that the relay vouches for.
DOOR_OF = {
    "push": TokenPurpose.ACK,
    "webpush": TokenPurpose.ACK,
    "sms": TokenPurpose.RECEIPT,
    "mail": TokenPurpose.RECEIPT,
}

#: Channels whose messages contain a second tag, for unsubscribing (`TokenPurpose.LEAVE`).
LINKED = frozenset({"mail"})


class Tags:
    """Makes and reads signed tags: `[A-Za-z0-9_-]`, safe in URLs, mailboxes and Message-IDs."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def make(
        self, alert_id: str, row: int, door: TokenPurpose = TokenPurpose.RECEIPT, address: str | None = None
    ) -> str:
        """Returns the tag of one row of the ledger for the purpose `door`: 42 characters, or 56 if it contains `address`, the hashed name
        of the recipient's address. Raises ValueError if the tag has no room for the row's number.
        """
        if row >= 1 << _ROW_BITS:  # it would read as another life
            raise ValueError(f"row {row} is too high for a tag")
        head, life = _head(alert_id)
        body = head + _ROW.pack(life << _ROW_BITS | row) + base64.urlsafe_b64decode(address or "")
        mac = _mac(_key_of(self._keys.current), body, door)[: _NAMED_MAC_BYTES if address else _MAC_BYTES]
        return base64.urlsafe_b64encode(body + mac).decode().rstrip("=")

    def parse(self, tag: str, door: TokenPurpose = TokenPurpose.RECEIPT) -> Reference | None:
        """Returns the ledger row that a tag refers to, or None if alertd did not sign the tag for the purpose `door`."""
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
        """Returns whether the tag of this reference may belong to a message to this address. Only older tags can be checked: they contain a
        few bytes of a hash of the address, in lower case or as written. For any other tag returns True.
        """
        keys, spellings = map(_key_of, self._keys.every), (address.lower(), address)
        return reference.to in {b"", *(_old_to(key, one) for key in keys for one in spellings)}

    def page_chain(self, alert_id: str) -> str:
        """Returns the id under which a phone groups the messages to people on call (pages) about a version. It looks like an alert's id but
        belongs to no alert.
        """
        # The first key: a later page replaces an earlier one on the phone if both have the same id.
        random = hmac.digest(_key_of(self._keys.first), b"page" + alert_id.encode(), "sha256")[:10]
        return _ulid_text(_ulid_bytes(chain_of(alert_id))[:6] + random)

    def _is_ours(self, body: bytes, door: TokenPurpose, mac: bytes) -> bool:
        """Returns whether one of the keys signed this tag for the purpose `door`, in today's form or in that of older tags."""
        keys = map(_key_of, self._keys.every)
        return any(
            hmac.compare_digest(mac, own(key, body, door)[: len(mac)]) for key in keys for own in (_mac, _old_mac)
        )


@lru_cache(maxsize=64)
def _key_of(key: bytes) -> bytes:
    """Returns the key that signs tags, derived from a signing key."""
    return hashlib.sha256(b"tag" + key).digest()


def _mac(key: bytes, body: bytes, door: TokenPurpose) -> bytes:
    """Returns the signature (MAC) of a tag's body for the purpose `door`."""
    # Keyed BLAKE2 is a MAC by itself (RFC 7693 section 1) and costs a third of HMAC: every message needs one.
    return hashlib.blake2b(body, key=key, digest_size=_MAC_BYTES, person=bytes((door,))).digest()


def _old_mac(key: bytes, body: bytes, door: TokenPurpose) -> bytes:
    """Returns the signature of a tag that an earlier release made. Messages with such tags were sent, and are still reported, acknowledged
    and unsubscribed.
    """
    return hmac.digest(key, bytes((door,)) + body, "sha256")[:_MAC_BYTES]


def _old_to(key: bytes, address: str) -> bytes:
    """Returns the bytes by which older tags name an address: the start of its hash."""
    return hmac.digest(key, b"\0" + address.encode(), "sha256")[:_OLD_TO_BYTES]


@lru_cache(maxsize=64)  # a chunk's rows are of one alert
def _head(alert_id: str) -> tuple[bytes, int]:
    """Returns the first bytes of a version's tag (first version's id and number of the version), and the number of the version's life."""
    life, n = divmod(sequence_of(alert_id), _A_LIFE)
    return _HEAD.pack(_ulid_bytes(chain_of(alert_id)), n), life


def _ulid_bytes(text: str) -> bytes:
    """Returns the 16 bytes of a ULID. Raises ValueError for a letter outside Crockford's alphabet."""
    value = 0
    for char in text:
        value = value << 5 | CROCKFORD.index(char)
    return value.to_bytes(16, "big")


def _ulid_text(raw: bytes) -> str:
    """Returns 16 bytes as the text of a ULID: 26 digits and capital letters."""
    value = int.from_bytes(raw, "big")
    return "".join(_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10))


class SigningKeys:
    """The signing keys for one purpose: one current key signs, all keys verify.

    A rotation adds a key while the process runs. Signatures of earlier keys stay valid.
    """

    def __init__(self, *keys: bytes) -> None:
        """Takes the keys, the oldest first."""
        self.every: tuple[bytes, ...] = ()  # the current one first
        self.take(keys, keys[-1])

    def take(self, keys: tuple[bytes, ...], current: bytes) -> None:
        """Replaces the keys: verifies with all of `keys` (the oldest first) from now on, and signs with `current`."""
        self.first, self.current = keys[0], current
        self.every = (current, *(key for key in reversed(keys) if key != current))
