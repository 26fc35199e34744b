"""Which keys of cases were destroyed, one a line, in a file that no copy of the store contains: put back, it would show names again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is to be nowhere any more."""

    case: str  # as `AlertRecord.case`
    key: str  # a fingerprint: the next key of the same case has another


@dataclass(frozen=True, slots=True)
class Tombstones:
    """The file. Lines are only ever added."""

    path: Path

    def add(self, stone: Tombstone) -> None:
        """On disk when this returns. Raises OSError."""
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, msgspec.json.encode(stone) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the file itself may be new
        finally:
            os.close(folder)

    def read(self) -> list[Tombstone]:
        """All of them; a line that a crash cut off was never acted on. Raises OSError, but none where there is no file."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line, type=Tombstone) for line in lines if line.endswith(b"}")]
