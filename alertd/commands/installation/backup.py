"""`alertd backup` and `alertd restore`: copies the embedded store, which may be running, and restores a copy into a new
data directory. Works on the files of the store's machine, without the API.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from alertd import __version__
from alertd.commands.base.client import RefusedError
from alertd.commands.base.options import common
from alertd.commands.base.output import remark, tell, told_in_json
from alertd.config.sections import StoreSection
from alertd.store.embedded import backups
from alertd.store.embedded.data_directory import DataDirectory, DirectoryInUseError
from alertd.store.engine.codec import NEXT_KEY, Codec, Keys, SealError

KEYS = ("master.key", "hash.key")
KEPT_APART = (
    "The keys are not in it, and it is worth nothing without them: keep a copy of master.key and hash.key elsewhere."
)
ROTATING = (
    "the master key is being rotated: a copy that is made now needs both keys, and the old one is destroyed soon. "
    "Follow the rotation with `alertd keys rotate-master`, and make the backup when it is done"
)
NO_TOMBSTONES = (
    "there is no {file}, the list of purged cases: without it a purged child's name comes back. "
    "Put its last copy there, or say --nothing-purged if no case was ever purged."
)
WHAT_FOLLOWS = (
    "At the next start its open alerts are stood down and those that wait go back to their authors: the store does not know what alertd "
    "sent after the backup. Look at each, see the runbook."
)


def backup(
    to: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for it.")],
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="DIR", help="Copy the two keys too, into this other folder.")
    ] = None,
) -> None:
    """Copy the embedded store, running or not; the copy holds every acknowledged write.

    The keys are not in the copy. Refused while the master key is being rotated.
    """
    section = _embedded(common().settings().store)
    directory = section.directory.resolve()
    if keys is not None and keys.resolve().is_relative_to(to.resolve()):
        raise RefusedError("the keys open every copy: give them a folder that is not in the backup's own")
    if (directory / NEXT_KEY).exists():
        raise RefusedError(ROTATING)
    codec = _codec(directory)
    if keys is not None:  # before the copy, so that a refusal here leaves no copy behind
        _copy_keys(directory, keys)
    try:
        made = backups.make(
            directory,
            to,
            codec,
            made=datetime.now(UTC).replace(microsecond=0),
            version=__version__,
            reserve_bytes=section.reserve_bytes,
        )
    except backups.BackupError as error:
        raise RefusedError(str(error)) from None
    size = sum(one.bytes for one in made.files.values())
    if told_in_json({"made": made.made, "schema": made.schema, "files": len(made.files), "bytes": size}):
        return
    tell(f"{to}: {len(made.files)} files, {size:,} bytes, of {made.made}")
    if keys is None:
        remark(KEPT_APART)


def restore(
    copy: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="What backup made.")],
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", metavar="DIR", exists=True, file_okay=False, help="Where the two keys of that time are."
        ),
    ] = None,
    nothing_purged: Annotated[
        bool, typer.Option("--nothing-purged", help="No case was ever purged: there are no tombstones.")
    ] = False,
) -> None:
    """Put a backup into a data directory that has no store, whole or not at all.

    Needs the keys of the time of the backup, and the file of tombstones, which lists the purged cases.
    """
    section = _embedded(common().settings().store)
    directory = section.directory.resolve()
    if not nothing_purged and not section.tombstones_file.exists():
        raise RefusedError(NO_TOMBSTONES.format(file=section.tombstones_file))
    own = DataDirectory(directory)
    try:
        own.claim()
        done = _put_back(own, copy, keys)
    except (backups.BackupError, DirectoryInUseError) as error:
        raise RefusedError(str(error)) from None
    except OSError as error:
        raise RefusedError(f"{error.filename} cannot be written: {error.strerror}") from None
    finally:
        own.release()
    if told_in_json({"made": done.made, "schema": done.schema, "files": len(done.files)}):
        return
    tell(f"{directory} holds what it was at {done.made}.")
    remark(WHAT_FOLLOWS)


def _put_back(own: DataDirectory, copy: Path, keys: Path | None) -> backups.Backup:
    """Restores the backup into the data directory `own` and returns its description. Copies the keys from the folder
    `keys` if `own` has none. Raises BackupError, also if a server runs on `own`; RefusedError for unusable keys.
    """
    server = own.try_server_lock()
    if server is None:
        raise backups.BackupError(f"a server still runs on {own.path}: stop it")
    try:
        there = own.path if all((own.path / name).exists() for name in KEYS) else keys
        if there is None:
            raise backups.BackupError(f"the keys of the backup are not in {own.path}: say where with --keys")
        done = backups.read_backup(copy, _codec(there))
        if there != own.path:
            _copy_keys(there, own.path)
        backups.put_back(copy, own.path, done, now_ms=round(time.time() * 1000))
    finally:
        os.close(server)
    return done


def _embedded(section: StoreSection) -> StoreSection:
    """Returns the settings of the embedded store. Raises RefusedError if `store.url` names an external one."""
    if section.url:
        raise RefusedError("store.url is a server of your own: copy its append-only file there, as the runbook says")
    return section


def _codec(folder: Path) -> Codec:
    """Returns a codec with the keys in a folder. Creates no keys. Raises RefusedError if they are missing or
    unreadable.
    """
    try:
        return Codec(Keys.load(folder))
    except FileNotFoundError:
        raise RefusedError(f"{folder} holds no {' and '.join(KEYS)}") from None
    except (OSError, ValueError, SealError):
        raise RefusedError(f"the keys in {folder} cannot be read") from None


def _copy_keys(source: Path, to: Path) -> None:
    """Copies both keys into the folder `to`, which it creates, for this user only, and forces them to disk. Raises
    RefusedError if the folder has different keys or cannot be written.
    """
    try:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in KEYS:
            said = (source / name).read_bytes()
            if (to / name).exists() and (to / name).read_bytes() != said:
                raise RefusedError(f"{to / name} is another key")
            handle = os.open(to / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(handle, said)
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise RefusedError(f"{error.filename} cannot be written: {error.strerror}") from None
