"""Which keys of cases were destroyed, and which alerts restricted, or purged though their key stays, one a line, in a file that no copy of the
store contains: put back, it would show names again. And how often a store was put back, which none knows of itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from geofences.files import to_disk


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is to be nowhere any more."""

    case: str  # as `AlertRecord.case`
    key: str  # a fingerprint: the next key of the same case has another


class Restriction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alert whose facts were taken out of it. It has no field of a tombstone's, so that none is ever taken for the other."""

    restricted: str  # the id of the alert
    at: int  # UNIX milliseconds


class Purged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alert that was purged while its case kept the key, because something else was sealed under it meanwhile. Its field is no other's, either."""

    purged: str  # the id of the alert


class PutBack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That a copy was put back."""

    put_back: int  # when, in UNIX milliseconds


#: What a line says.
Stone = Tombstone | Restriction | Purged | PutBack
_KINDS: tuple[type[Stone], ...] = (Tombstone, Restriction, Purged, PutBack)


@dataclass(frozen=True, slots=True)
class Tombstones:
    """The file. Lines are only ever added."""

    path: Path

    def add(self, stone: Stone) -> None:
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

    def read_all(self) -> list[Tombstone]:
        """All keys that were destroyed; a line that was cut off was never acted on. Raises OSError, but none where there is no file."""
        return [one for one in self._lines() if isinstance(one, Tombstone)]

    def restrictions(self) -> dict[str, Restriction]:
        """All alerts that were restricted, as they were first, by their ids. Raises OSError as `read` does."""
        found = [one for one in self._lines() if isinstance(one, Restriction)]
        return {one.restricted: one for one in reversed(found)}

    def purged(self) -> list[str]:
        """The ids of all alerts that were purged though their key stayed. Raises OSError as `read` does."""
        return list(dict.fromkeys(one.purged for one in self._lines() if isinstance(one, Purged)))

    def put_back(self) -> list[int]:
        """When copies were put back. Raises OSError as `read` does."""
        return [one.put_back for one in self._lines() if isinstance(one, PutBack)]

    def _lines(self) -> list[Stone]:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        said: list[Stone] = []
        torn = []
        for number, line in enumerate(lines, 1):
            if line and (found := _read(line)) is None:
                torn.append(number)
            elif line and found is not None:
                said.append(found)
        if torn:
            structlog.get_logger().warning("lines of the tombstones are cut off, and passed over", lines=torn)
        return said


def _read(line: bytes) -> Stone | None:
    """What a line says; None for one that was cut off."""
    for kind in _KINDS:
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            return msgspec.json.decode(line, type=kind)
    return None


def _write_all(handle: int, left: bytes) -> None:
    """A write that a full disk cuts short answers how much went; the next one says why. Raises OSError."""
    while left:
        left = left[os.write(handle, left) :]
