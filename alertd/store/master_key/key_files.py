"""The key files in a data directory: the new master key during a rotation, and the replacement of the old keys at its end."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from alertd.store.engine.codec import KEY_BYTES, NEXT_KEY, mark_of, next_key, write_key
from geofences.files import to_disk

MASTER_KEY, HASH_KEY = "master.key", "hash.key"


def make_next(directory: Path, current: bytes) -> bytes:
    """Returns the new master key from its file in the data directory. Without the file, makes a random key and writes the file. `current` is
    the mark (`mark_of`) of the current key. The random key has another mark, because the mark says which key sealed a value. Raises
    OSError, or ValueError or SealError for a file that holds no key.
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
    """Renames the file of the new master key to that of the old one, and overwrites the old key. Idempotent: after a crash, a second call
    completes it. Raises OSError.
    """
    file = directory / MASTER_KEY
    if (directory / NEXT_KEY).exists():
        _keep_old(file)
        (directory / NEXT_KEY).rename(file)
        to_disk(directory)
    _destroy_old(file)


def replace_hash_key(directory: Path, key: bytes) -> None:
    """Writes the current hashing secret to the file of the hashing key, and overwrites the old secret. Idempotent: after a crash, a second
    call completes it. Raises OSError, or ValueError or SealError for a file that holds no key.
    """
    file = directory / HASH_KEY
    if next_key(file) != key:
        _keep_old(file)
        write_key(file, key)
    _destroy_old(file)


def _keep_old(file: Path) -> None:
    """Gives a file a second name (hard link), so that its content can be overwritten after another file took its name, even after a crash
    in between. Does nothing if that fails.
    """
    with suppress(
        OSError
    ):  # it exists since before a crash; or the file system has no second names, and the old key is only deleted
        os.link(file, _old(file))
        to_disk(file.parent)


def _destroy_old(file: Path) -> None:
    """Overwrites with zeros and deletes the file that `_keep_old` linked. Never touches the file that has the name now. Raises OSError."""
    old = _old(file)
    if old.exists() and not old.samefile(file):
        with old.open("r+b") as handle:
            handle.write(bytes(os.fstat(handle.fileno()).st_size))
            handle.flush()
            os.fsync(handle.fileno())
        old.unlink()
        to_disk(file.parent)


def _old(file: Path) -> Path:
    """Returns the second name that `_keep_old` gives a file."""
    return file.with_suffix(".old.key")
