"""The file of tombstones: destroyed case keys, restricted alerts, purged alerts whose key stays, and restored backups, one a line.

No backup of the store contains the file, because a restored backup would show the names again. A store does not know by itself that it
was restored.
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
    """A destroyed case key, which must not exist any more."""

    case: str  # as `AlertRecord.case`
    key: str  # a fingerprint: the next key of the same case has another


class Restriction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alert whose identity and photos were removed. It shares no field with a tombstone, so that a line never reads as both."""

    restricted: str  # the id of the alert
    at: int  # UNIX milliseconds


class Purged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A purged alert whose case kept its key, because something else was sealed under it meanwhile. It shares no field with the others."""

    purged: str  # the id of the alert


class PutBack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A restore of the store from a backup."""

    put_back: int  # time of the restore, UNIX ms


#: The record in a line.
Stone = Tombstone | Restriction | Purged | PutBack
_KINDS: tuple[type[Stone], ...] = (Tombstone, Restriction, Purged, PutBack)


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Reads the file of tombstones, and appends lines to it. No method changes or deletes a line."""

    path: Path

    def add(self, stone: Stone) -> None:
        """Appends a line to the file of tombstones and waits for the disk. Starts a new line if a crash or a full disk left half a line.
        Raises OSError.
        """
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
        """Returns all destroyed keys. Skips half-written lines, which were never acted on. Raises OSError, but not if the file is missing."""
        return [one for one in self._lines() if isinstance(one, Tombstone)]

    def restrictions(self) -> dict[str, Restriction]:
        """Returns the first restriction of each restricted alert, by alert id. Raises OSError like `read_all`."""
        found = [one for one in self._lines() if isinstance(one, Restriction)]
        return {one.restricted: one for one in reversed(found)}

    def purged(self) -> list[str]:
        """Returns the ids of purged alerts whose key stayed. Raises OSError like `read_all`."""
        return list(dict.fromkeys(one.purged for one in self._lines() if isinstance(one, Purged)))

    def put_back(self) -> list[int]:
        """Returns the times of all restores (UNIX ms). Raises OSError like `read_all`."""
        return [one.put_back for one in self._lines() if isinstance(one, PutBack)]

    def _lines(self) -> list[Stone]:
        """Returns all records of the file, [] if there is none. Logs and skips half-written lines."""
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
            structlog.get_logger().warning("tombstone.lines_skipped", lines=torn)
        return said


def _read(line: bytes) -> Stone | None:
    """Returns the record of a line, None for a half-written one."""
    for kind in _KINDS:
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            return msgspec.json.decode(line, type=kind)
    return None


def _write_all(handle: int, left: bytes) -> None:
    """Writes all bytes. A full disk may cut one write short; the next write then raises. Raises OSError."""
    while left:
        left = left[os.write(handle, left) :]
