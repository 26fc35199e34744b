"""Makes folders for uploaded files, on the disk of the data. Each is locked while in use, and unlocked ones are
removed.

The embedded store stops if its disk is full. So each piece of an upload is written only if the disk keeps the service's
reserve free.
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

#: Longest pause between two pieces of an upload, and its longest duration, in seconds: 512 MB over 2 Mbit/s take 35
#: minutes.
SILENCE_S, WHOLE_S = 60.0, 3600.0
NO_ROOM = "The disk of the data is nearly full."


@dataclass(frozen=True, slots=True)
class UploadDir:
    """A folder for one upload, locked by this process until `clear`."""

    path: Path
    lock: int  # file descriptor of the lock, which keeps a sweep from removing the folder

    def clear(self) -> None:
        """Removes the folder with its content, and releases the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


@dataclass(frozen=True, slots=True)
class UploadDirs:
    """Makes folders for uploads, and removes abandoned ones."""

    folder: Path
    reserve_bytes: int
    _: KW_ONLY
    free: Callable[[Path], int] = free_bytes
    silence_s: float = SILENCE_S

    def make(self) -> UploadDir:
        """Makes, locks and returns a new folder. Removes those left by processes that ended during an upload."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with files.alone(self.folder):  # between making a folder and holding it
            self._sweep()
            path = Path(tempfile.mkdtemp(dir=self.folder))
            return UploadDir(path, _held(path))

    def sweep(self) -> None:
        """Removes all folders that no process has locked."""
        if self.folder.is_dir():
            with files.alone(self.folder):
                self._sweep()

    def _sweep(self) -> None:
        """Removes the unlocked folders. The caller must hold the lock of the common folder."""
        for old in self.folder.iterdir():
            try:
                lock = _held(old)
            except BlockingIOError:
                continue
            UploadDir(old, lock).clear()

    def holds(self, more: int = 0) -> bool:
        """Returns whether the disk keeps the store's reserve free after `more` further bytes."""
        return self.free(self.folder) - more >= self.reserve_bytes

    async def write(self, file: Path, pieces: AsyncIterable[bytes], most: int) -> None:
        """Writes an upload to `file`, piece by piece.

        Raises Problem if the upload has more than `most` bytes, is empty, comes too slowly, or does not fit on the
        disk.
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
            raise Problem("invalid-request", "The upload was too slow. Upload the file again.", status=408) from None
        if not size:
            raise Problem("invalid-request", "The file is empty.", faults=(Fault("", "A file is required."),))


def _held(path: Path) -> int:
    """Locks a folder until this process ends and returns the descriptor. Raises BlockingIOError if another process has
    the lock.
    """
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise
    return lock
