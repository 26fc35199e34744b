"""A folder for the sockets of one service's processes, and the removal of those that a killed one left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alertd.runtime.processes import StartError

PREFIX = "alertd-sockets-"
LOCK = "lock"  # held for as long as the process lives: no process id is taken by another meanwhile, and every container sees it


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder of our own below the temporary one, gone at the end; so are those whose process is gone. Raises StartError."""
    try:
        _remove_left(Path(tempfile.gettempdir()))
    except FileNotFoundError:
        raise StartError("no folder for temporary files can be written, as /tmp: name one in TMPDIR") from None
    folder, lock = _made()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made() -> tuple[Path, int]:
    """A new folder with its lock, and the lock's descriptor, which no child inherits."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        if _locked(lock):
            return folder, lock
        os.close(lock)  # whoever removes what was left took it for that


def _remove_left(below: Path) -> None:
    for folder in below.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or just removed by another start
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if folder.stat().st_uid == os.getuid() and _locked(lock):
                    shutil.rmtree(folder)
            finally:
                os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
