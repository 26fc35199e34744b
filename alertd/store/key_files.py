"""The files of the master keys in a data directory, during a rotation and at its end."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from alertd.store.codec import KEY_BYTES, NEXT_KEY, mark_of, next_key, write_key
from geofences.files import to_disk

MASTER_KEY = "master.key"


def make_next(directory: Path, current: bytes) -> bytes:
    """The new master key of a data directory. Makes it unless it exists, with another mark than the `current` key, so that their values differ.
    Raises OSError, and ValueError or SealError for a file that holds no key.
    """
    found = next_key(directory / NEXT_KEY)
    if found is not None:
        return found
    made = secrets.token_bytes(KEY_BYTES)
    while mark_of(made) == current:
        made = secrets.token_bytes(KEY_BYTES)
    write_key(directory / NEXT_KEY, made)
    return made


def retire_old(directory: Path) -> None:
    """Put the new master key in the place of the old one, and overwrite that. Done again after a crash it does the rest. Raises OSError."""
    if not (directory / NEXT_KEY).exists():
        return
    old = directory / MASTER_KEY
    with old.open("r+b") as handle:
        (directory / NEXT_KEY).rename(old)  # first: at every moment there is a file with the current key
        to_disk(directory)
        handle.write(bytes(os.fstat(handle.fileno()).st_size))
        handle.flush()
        os.fsync(handle.fileno())
