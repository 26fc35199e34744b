"""Folders on the disk of the data for files that are handed in: each is held for as long as it is in use, and none stays behind.

The embedded store ends where its disk is full, so before each piece it is asked whether as much is left as the service keeps free.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterable, Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from alertd.common.errors import Fault, Problem
from alertd.store.embedded.space import free_bytes
from geofences import files

#: So long nothing may come of a file, and so long it may take to come: 512 MB over 2 Mbit/s take 35 minutes.
SILENCE_S, WHOLE_S = 60.0, 3600.0
NO_ROOM = "The disk of the data is nearly full."


@dataclass(frozen=True, slots=True)
class UploadDir:
    """A folder of one's own."""

    path: Path
    lock: int  # descriptor; whoever looks for folders that nobody holds any more leaves this one alone

    def clear(self) -> None:
        """It is gone, with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


@dataclass(frozen=True, slots=True)
class UploadDirs:
    """Gives them out."""

    folder: Path
    reserve_bytes: int
    _: KW_ONLY
    free: Callable[[Path], int] = free_bytes
    silence_s: float = SILENCE_S

    def make(self) -> UploadDir:
        """A new one; what processes that ended in the middle left is gone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with files.alone(self.folder):  # between making a folder and holding it
            self._sweep()
            path = Path(tempfile.mkdtemp(dir=self.folder))
            return UploadDir(path, _held(path))

    def sweep(self) -> None:
        """Removes what is held by nobody."""
        if self.folder.is_dir():
            with files.alone(self.folder):
                self._sweep()

    def _sweep(self) -> None:
        for old in self.folder.iterdir():
            try:
                lock = _held(old)
            except BlockingIOError:
                continue
            UploadDir(old, lock).clear()

    def holds(self, more: int = 0) -> bool:
        """Whether so many bytes more leave the disk as much as is kept free for the store."""
        return self.free(self.folder) - more >= self.reserve_bytes

    async def write(self, file: Path, pieces: AsyncIterable[bytes], most: int) -> None:
        """Writes a file as it comes. Raises Problem for one that has more bytes than `most`, or none, comes too slowly, or finds
        no room.
        """
        size, now = 0, asyncio.get_running_loop().time
        until = now() + WHOLE_S
        try:
            async with asyncio.timeout(self.silence_s) as patience:
                with file.open("xb") as opened:
                    async for piece in pieces:
                        size += len(piece)
                        if size > most:
                            raise Problem("too-large", f"A file of regions has at most {most >> 20} MB.")
                        if not await asyncio.to_thread(self.holds, len(piece)):
                            raise Problem("store-unavailable", NO_ROOM, headers={"Retry-After": "30"})
                        await asyncio.to_thread(opened.write, piece)
                        patience.reschedule(min(now() + self.silence_s, until))
        except TimeoutError:
            raise Problem("invalid-request", "The file came too slowly; hand it in again.", status=408) from None
        if not size:
            raise Problem(
                "invalid-request", "There is nothing in the file.", faults=(Fault("", "A file is required."),)
            )


def _held(path: Path) -> int:
    """A lock of a folder, which ends with this process. Raises BlockingIOError where somebody has it."""
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise
    return lock
