"""The embedded store's directory: who may use it, where its socket is, and its server's log.

Two locks (flock), both freed by the kernel when their holders die, so that no stale file can lie:
    alertd.lock   held by the alertd that runs here, and inherited by nobody
    server.lock   held by the server process itself, through a descriptor it inherits
The first held: another alertd is alive. Only the second held: a server was left behind, and may be stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

#: `sun_path` takes 108 bytes with its NUL on Linux, 104 on macOS.
LONGEST_SOCKET_PATH = 103
#: The server's log is put aside at start when it is larger: enough for months of rewrites, and two of them never hurt.
LOG_LIMIT_BYTES = 1024 * 1024
#: How many of the log's last lines an error quotes: the cause and what led to it.
QUOTED_LINES = 5


class DirectoryInUseError(RuntimeError):
    """Another alertd runs on the directory."""


class DataDirectory:
    """Files and locks of one embedded store."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.log = self.path / "server.log"
        self._socket_record = self.path / "server.socket"
        self._owner: int | None = None

    def claim(self) -> None:
        """Make the directory if needed, close it to others (0700), and take it for this process. Raises DirectoryInUseError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(self.path)
        lock = _try_lock(self.path / "alertd.lock")
        if lock is None:
            pid = _first_line(self.path / "alertd.lock") or "unknown"
            raise DirectoryInUseError(
                f"another alertd (pid {pid}) runs on {self.path}: stop it, or give this one a directory of its own"
            )
        _write_pid(lock, str(os.getpid()))
        self._owner = lock

    def release(self) -> None:
        """Let others have it."""
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def try_server_lock(self) -> int | None:
        """A descriptor of the server's lock, for the server to inherit; None while a server holds it."""
        lock = _try_lock(self.path / "server.lock")
        if lock is not None:
            _write_pid(lock, "")  # the id in it was of a server that is gone; the next writes its own
        return lock

    def server_pid(self) -> int | None:
        """The id of the process that holds the server's lock, None in the moment before it has written it.

        Meaningful only while the lock is held. The holder is the server or a fork of it, all in the server's own process
        group, so the id cannot have been given to a stranger meanwhile.
        """
        line = _first_line(self.path / "server.lock")
        return int(line) if line.isdecimal() else None

    def socket(self) -> Path:
        """Where the server listens: here, or in a short directory of our own when this path is too long for a socket."""
        here = self.path / "server.sock"
        if len(os.fsencode(here)) <= LONGEST_SOCKET_PATH:
            return here
        recorded = _first_line(self._socket_record)
        if not recorded or not _is_ours(Path(recorded).parent):
            recorded = f"{tempfile.mkdtemp(prefix='alertd-')}/server.sock"
            self._socket_record.write_text(f"{recorded}\n")
        return Path(recorded)

    def listening(self) -> Path | None:
        """Where a server listens that somebody else started, or did before it died; None where there is none."""
        places = (self.path / "server.sock", Path(_first_line(self._socket_record) or "/"))
        return next((place for place in places if place.is_socket()), None)

    def remove_socket(self) -> None:
        """Take away what `socket` made elsewhere."""
        recorded = _first_line(self._socket_record)
        if recorded and _is_ours(Path(recorded).parent):
            shutil.rmtree(Path(recorded).parent, ignore_errors=True)
        self._socket_record.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Take away what a rewrite had written when it was killed together with its server, which would take room for ever, and hold
        what is purged since. Only while nobody else holds the server's lock.
        """
        for part in self.path.glob("temp-rewriteaof-*.aof"):
            part.unlink(missing_ok=True)

    def open_log(self) -> int:
        """A descriptor to append to; a log that has grown is put aside first, over the one before."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def last_words(self) -> str:
        """The end of the server's log, for an error."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-QUOTED_LINES:])


def _close_to_others(path: Path) -> None:
    """Leaves a directory alone that is somebody else's or, by its sticky bit, everybody's."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 and not mode & stat.S_ISVTX:
        with contextlib.suppress(PermissionError):
            path.chmod(mode & 0o700)


def _try_lock(path: Path) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _write_pid(lock: int, pid: str) -> None:
    """Always as long, so that from the first time on it needs no room on a disk that may be full."""
    os.pwrite(lock, f"{pid:<20}\n".encode(), 0)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().partition("\n")[0].strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _is_ours(directory: Path) -> bool:
    """Whether a recorded directory is still one that we made: nobody else's, and nobody else may enter it."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
    return private and found.st_uid == os.getuid() and directory.name.startswith("alertd-")
