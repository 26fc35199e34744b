"""The files of the keys in a data directory, during a rotation and at its end."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alertd.store.codec import KEY_BYTES, NEXT_KEY, mark_of, next_key, write_key
from geofences.files import to_disk

MASTER_KEY, HASH_KEY = "master.key", "hash.key"


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
    if (directory / NEXT_KEY).exists():
        with _overwritten(directory / MASTER_KEY):
            (directory / NEXT_KEY).rename(directory / MASTER_KEY)
            to_disk(directory)


def replace_hash_key(directory: Path, key: bytes) -> None:
    """Put the current hashing secret in the place of the old one, and overwrite that. Done again after a crash it does the rest. Raises OSError, and
    ValueError or SealError for a file that holds no key.
    """
    if next_key(directory / HASH_KEY) != key:
        with _overwritten(directory / HASH_KEY):
            write_key(directory / HASH_KEY, key)


@contextmanager
def _overwritten(file: Path) -> Iterator[None]:
    """Overwrites what was in a file, once another file has its name: at every moment there is a file with a key."""
    with file.open("r+b") as handle:
        yield
        handle.write(bytes(os.fstat(handle.fileno()).st_size))
        handle.flush()
        os.fsync(handle.fileno())
