"""What the embedded server is told: one table of directives with their reasons, and how much memory it may take."""

from __future__ import annotations

import os
from pathlib import Path

_MB = 1024 * 1024
#: The share of the machine's memory that data may take when nothing is configured. A rewrite forks, and pages that change
#: meanwhile are held twice; the rest is for that, for alertd itself and for the kernel.
MEMORY_SHARE = 0.6
#: Where a container's limit stands (cgroup v2). A container that ignores it is killed, not slowed.
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

#: Directive -> value, the same for every directory. Each is known to Valkey and Redis from 7.2 on.
DIRECTIVES: dict[str, str] = {
    "port": "0",  # the socket alone: file permissions are the access control
    "unixsocketperm": "600",
    "daemonize": "no",  # supervised by alertd
    "appendonly": "yes",
    "appendfsync": "always",  # a 2xx means: on disk
    "no-appendfsync-on-rewrite": "no",  # nor is that suspended during a rewrite
    "aof-use-rdb-preamble": "yes",  # a rewritten base is smaller and loads faster than commands
    "rdbcompression": "no",  # nearly all of it is sealed or packed: 1 to 2 % smaller, for up to three times the processor
    "aof-load-truncated": "yes",  # a cut last command was never acknowledged
    "auto-aof-rewrite-percentage": "0",  # alertd starts rewrites, when no loud alert is under way
    "save": "",  # no snapshots besides the AOF
    "maxmemory-policy": "noeviction",  # full means an error, never a lost subscriber
    "enable-debug-command": "no",
    "enable-module-command": "no",
    "crash-log-enabled": "no",  # a crash report prints the arguments of commands, and those are people
    "always-show-logo": "no",
    "logfile": "",  # standard output, which is the log file: faults of the configuration land there too
}


def arguments(directory: Path, socket: Path, maxmemory_mb: int) -> list[str]:
    """The server's command line for a data directory; `maxmemory_mb` 0 means: choose."""
    own = {
        "dir": str(directory),
        "unixsocket": str(socket),
        "maxmemory": str((maxmemory_mb or chosen_maxmemory_mb()) * _MB),
    }
    return [word for name, value in (DIRECTIVES | own).items() for word in (f"--{name}", value)]


def chosen_maxmemory_mb() -> int:
    """`MEMORY_SHARE` of what this machine or container has."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _CGROUP_LIMIT.read_text().strip()
    except OSError:
        limit = "max"
    available = min(installed, int(limit)) if limit.isdecimal() else installed
    return max(1, int(available * MEMORY_SHARE) // _MB)
