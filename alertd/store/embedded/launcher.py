"""Becomes the server of the embedded store. Only `server.py` runs it, as a separate script. Uses the standard library only.

Usage: launcher.py PARENT_PID LOCK_FD FILE_SIZE_LIMIT SERVER [ARGUMENT...]

It is a separate program, because a process with threads must run nothing between fork and exec. It
* asks the kernel for SIGTERM when the parent dies, so that no server outlives its alertd (Linux; elsewhere the next start
  stops what is left);
* writes its process id into the lock file that it inherited: the server keeps the id, and holds the lock as long as it lives;
* sets the umask, so that other users of the machine cannot read the server's files;
* limits the size of files to FILE_SIZE_LIMIT bytes unless that is 0, for tests of a full disk;
* becomes the server.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

#: Option of prctl(2): the signal that this process gets when its parent dies. exec keeps the setting.
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Becomes the server, or exits with an error. Does not return. `arguments`: as in the usage above, without the program's name."""
    parent, lock, limit = (int(argument) for argument in arguments[:3])
    command = arguments[3:]
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent died before prctl was called
        sys.exit("the process that started the store is gone")
    os.umask(0o077)
    if limit:
        signal.signal(
            signal.SIGXFSZ, signal.SIG_IGN
        )  # the write fails, as on a full disk, rather than the process dying
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    os.pwrite(lock, f"{os.getpid():<20}\n".encode(), 0)  # overwrites 21 existing bytes, which works on a full disk
    os.execv(command[0], command)  # noqa: S606 - the arguments are our own, and no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
