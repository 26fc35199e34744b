"""Becomes the server of the embedded store. Run as a script of its own, by no one but `server.py`; standard library only.

Usage: launcher.py PARENT_PID LOCK_FD FILE_SIZE_LIMIT SERVER [ARGUMENT...]

A small program of its own, because nothing but exec may safely run between fork and exec of a process with threads. It
* asks the kernel for SIGTERM when the parent dies, so that no server outlives its alertd (Linux; elsewhere the next start
  stops what is left);
* writes its process id into the lock it inherited: the id stays the server's, and the lock lives exactly as long;
* keeps what the server writes from other users of the machine;
* limits the size of files where the limit is not 0 (bytes), as a disk that is full;
* becomes the server.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

#: prctl(2): the signal that this process gets when its parent dies. Kept by exec.
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Does not return: the process becomes the server, or ends."""
    parent, lock, limit = (int(argument) for argument in arguments[:3])
    command = arguments[3:]
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit("the process that started the store is gone")
    os.umask(0o077)
    if limit:
        signal.signal(
            signal.SIGXFSZ, signal.SIG_IGN
        )  # the write fails, as on a full disk, rather than the process dying
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    os.pwrite(lock, f"{os.getpid():<20}\n".encode(), 0)  # over 21 bytes that are there: a full disk cannot refuse it
    os.execv(command[0], command)  # noqa: S606 - the arguments are our own, and no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
