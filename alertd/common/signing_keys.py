"""The keys that sign for one purpose."""

from __future__ import annotations


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
