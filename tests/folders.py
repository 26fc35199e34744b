"""Where tests keep the data of a store."""

from __future__ import annotations

import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
#: Far more than the stores of all tests that run at once write.
ROOM_BYTES = 2 << 30


def without_disk() -> Path | None:
    """A folder in memory, where the machine has one with room. The store writes to its disk after each command, and most of the
    time of a test goes by in waiting for that. None: wherever temporary files are.
    """
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES else None
