"""The embedded store's directory: who may use it, where its socket is, and its server's log.

Two locks (flock). The kernel frees each when its holder dies, so a lock file left by a crash does not block a start:
    alertd.lock   held by the alertd process that uses the directory; no child process inherits it
    server.lock   held by the server process itself, through a descriptor that it inherits
If the first is held, another alertd is alive. If only the second is held, a server was left behind and may be stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

#: Maximum length of a socket's path in bytes: `sun_path` has 108 bytes with its NUL on Linux, 104 on macOS.
LONGEST_SOCKET_PATH = 103
#: At start, a server log larger than this is renamed to `server.log.1`, over the one before. The limit is enough for months of rewrites,
#: and two such logs need little space.
LOG_LIMIT_BYTES = 1024 * 1024
#: Number of the log's last lines that an error message quotes: the cause and what led to it.
QUOTED_LINES = 5


class DirectoryInUseError(RuntimeError):
    """Another alertd process uses the data directory."""


class DataDirectory:
    """The directory of one embedded store: its locks, its socket and its server's log."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.log = self.path / "server.log"
        self._socket_record = self.path / "server.socket"
        self._owner: int | None = None

    def claim(self) -> None:
        """Makes the directory if it does not exist, denies other users access (0700), and locks it for this process. Raises
        DirectoryInUseError.
        """
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
        """Gives up this process's lock on the directory."""
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def try_server_lock(self) -> int | None:
        """Takes the server's lock and returns its file descriptor, which the server inherits. Returns None while a server holds the lock."""
        lock = _try_lock(self.path / "server.lock")
        if lock is not None:
            _write_pid(lock, "")  # deletes the id of a dead server; the next server writes its own
        return lock

    def server_pid(self) -> int | None:
        """Returns the id of the server that took the lock, which is also its process group; None before it has written
        the id.

        Valid only while the lock is held. A fork of the server may hold the lock after the server has ended. The fork
        is in the same group, so the group contains no unrelated process.
        """
        line = _first_line(self.path / "server.lock")
        return int(line) if line.isdecimal() else None

    def socket(self) -> Path:
        """Returns the path of the socket on which the server is to listen: in this directory, or, if that path is too long for a socket, in
        a private temporary directory, which this method makes and records.
        """
        here = self.path / "server.sock"
        if len(os.fsencode(here)) <= LONGEST_SOCKET_PATH:
            return here
        recorded = _first_line(self._socket_record)
        if not recorded or not _is_ours(Path(recorded).parent):
            recorded = f"{tempfile.mkdtemp(prefix='alertd-')}/server.sock"
            self._socket_record.write_text(f"{recorded}\n")
        return Path(recorded)

    def listening(self) -> Path | None:
        """Returns the path of an existing socket of the server, which may belong to a server that died. Returns None if there is none."""
        places = (self.path / "server.sock", Path(_first_line(self._socket_record) or "/"))
        return next((place for place in places if place.is_socket()), None)

    def remove_socket(self) -> None:
        """Deletes the temporary directory that `socket` made, and its record."""
        recorded = _first_line(self._socket_record)
        if recorded and _is_ours(Path(recorded).parent):
            shutil.rmtree(Path(recorded).parent, ignore_errors=True)
        self._socket_record.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Deletes the files of rewrites that were killed together with their server. They would take space for ever, and hold data that was
        purged since. Call it only while this process holds the server's lock.
        """
        for part in self.path.glob("temp-rewriteaof-*.aof"):
            part.unlink(missing_ok=True)

    def open_log(self) -> int:
        """Returns a file descriptor that appends to the server's log. First renames a log larger than LOG_LIMIT_BYTES to `server.log.1`,
        which replaces the earlier one.
        """
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def last_words(self) -> str:
        """Returns the last QUOTED_LINES lines of the server's log, for an error message."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-QUOTED_LINES:])


def _close_to_others(path: Path) -> None:
    """Removes the access of group and others to a directory. Leaves it unchanged if it belongs to another user, or is shared by all users
    (sticky bit).
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 and not mode & stat.S_ISVTX:
        with contextlib.suppress(PermissionError):
            path.chmod(mode & 0o700)


def _try_lock(path: Path) -> int | None:
    """Locks a file (made if needed) and returns its descriptor, None if another process holds the lock."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _write_pid(lock: int, pid: str) -> None:
    """Writes the process id to the lock file, padded to a fixed length, so that later writes need no additional space on a full disk."""
    os.pwrite(lock, f"{pid:<20}\n".encode(), 0)


def _first_line(path: Path) -> str:
    """Returns the first line of a file without spaces at its ends, "" if there is no such file."""
    try:
        return path.read_text().partition("\n")[0].strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _is_ours(directory: Path) -> bool:
    """Returns whether a directory is a private one that alertd made: named alertd-…, owned by this user, closed to all others."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
    return private and found.st_uid == os.getuid() and directory.name.startswith("alertd-")
