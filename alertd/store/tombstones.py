"""Which keys of cases were destroyed, one a line, in a file that no copy of the store contains: put back, it would show names again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from geofences.files import to_disk


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is to be nowhere any more."""

    case: str  # as `AlertRecord.case`
    key: str  # a fingerprint: the next key of the same case has another


@dataclass(frozen=True, slots=True)
class Tombstones:
    """The file. Lines are only ever added."""

    path: Path

    def add(self, stone: Tombstone) -> None:
        """On disk when this returns, on a line of its own whatever a crash or a full disk left before it. Raises OSError."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            _write_all(handle, b"\n" * torn + msgspec.json.encode(stone) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        to_disk(self.path.parent)  # the file itself may be new

    def read(self) -> list[Tombstone]:
        """All of them; a line that was cut off was never acted on. Raises OSError, but none where there is no file."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        stones, torn = [], []
        for number, line in enumerate(lines, 1):
            try:
                stones += [msgspec.json.decode(line, type=Tombstone)] if line else []
            except (msgspec.DecodeError, UnicodeDecodeError):
                torn.append(number)
        if torn:
            structlog.get_logger().warning("lines of the tombstones are cut off, and passed over", lines=torn)
        return stones


def _write_all(handle: int, left: bytes) -> None:
    """A write that a full disk cuts short answers how much went; the next one says why. Raises OSError."""
    while left:
        left = left[os.write(handle, left) :]
