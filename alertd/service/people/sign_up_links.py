"""Links of sign-up. Each contains its data, encrypted, so that alertd stores nothing before a person confirms.

A link works for one purpose only, and for a limited time. The key is derived from the store's hashing secret; a rotation
keeps older links valid.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TypeVar

import msgspec

from alertd.common.clock import Clock
from alertd.common.ids import SigningKeys
from alertd.model.subscriber import Key
from alertd.store.engine.codec import Box, SealError

#: Seconds for which each link works.
CONFIRM_S, SETTINGS_S, FORM_S, DEVICE_S = 48 * 3600, 3600, 24 * 3600, 3600
#: A longer one is not ours: a link with 20 places has 500 characters.
LONGEST = 2_000

Content = TypeVar("Content", bound="_Made")


class _Made(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    made_s: int  # UNIX s


class DeviceWish(_Made, frozen=True, array_like=True, kw_only=True):
    """A sign-up that waits for the subscription of a browser."""

    regions: tuple[str, ...]  # codes
    language: str
    general: bool  # also general alerts
    once: bytes  # random: names the subscriber, so that repeating a confirmation does not make a second one


class Wish(DeviceWish, frozen=True, array_like=True, kw_only=True):
    """A sign-up that waits for its confirmation by mail."""

    mailbox: str


class OwnSettings(_Made, frozen=True, array_like=True, kw_only=True):
    """Access to the settings of one subscriber, for the owner of one address."""

    subscriber: str  # id
    address: bytes  # digest of the address (`digest_of`): the link works while the subscriber has it


class OpenedForm(_Made, frozen=True, array_like=True, kw_only=True):
    """The time when a browser got the form. Programs fill a form in faster than people."""


PURPOSES: dict[type[_Made], tuple[str, int]] = {
    Wish: ("sign-up confirm", CONFIRM_S),
    DeviceWish: ("sign-up device", DEVICE_S),
    OwnSettings: ("sign-up settings", SETTINGS_S),
    OpenedForm: ("sign-up form", FORM_S),
}


def new_once() -> bytes:
    """Returns the random part of a wish."""
    return secrets.token_bytes(12)


def digest_of(address: Key) -> bytes:
    """Returns 16 bytes that name an address inside a link. A browser's address is too long for a link."""
    channel, value = address
    return hashlib.sha256(f"{channel} {value}".encode()).digest()[:16]


class SignUpLinks:
    """Makes and opens the links."""

    def __init__(self, keys: SigningKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def now_s(self) -> int:
        return self._clock.now_ms() // 1000

    def make(self, content: _Made) -> str:
        """Returns the link's token: `[A-Za-z0-9_-]`."""
        purpose, _ = PURPOSES[type(content)]
        sealed = Box(self._keys.current).seal(msgspec.msgpack.encode(content), purpose)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def make_settings(self, subscriber: str, address: Key) -> str:
        """Returns the token of a link to a subscriber's settings, for the owner of this address."""
        return self.make(OwnSettings(made_s=self.now_s(), subscriber=subscriber, address=digest_of(address)))

    def open(self, token: str, kind: type[Content]) -> Content | None:
        """Returns the content of a token. Returns None if alertd did not make it for this purpose, or it is too old."""
        purpose, life_s = PURPOSES[kind]
        if len(token) > LONGEST:
            return None
        try:
            sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        for key in self._keys.every:
            try:
                content = msgspec.msgpack.decode(Box(key).open(sealed, purpose), type=kind)
            except (SealError, msgspec.DecodeError):
                continue
            return content if self.now_s() - content.made_s < life_s else None
        return None
