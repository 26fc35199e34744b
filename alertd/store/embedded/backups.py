"""Makes a backup of an embedded store while it runs, and restores it.

The append-only file of Valkey and Redis (from 7.0 on) is a manifest and the files that it names: a base, and the commands appended since.
The files only grow. A copy of all of them, up to the lengths that they had at one moment, is therefore the store of that moment; a last
command that is cut off was never acknowledged. The server's documentation advises to copy while no rewrite begins or ends. This module
opens the files and then reads the manifest again: if it is the same, no rewrite came between, and files that a later rewrite deletes can
still be read.

    DIR/backup.json               time, alertd version, schema, and each file's length and SHA-256; signed with the store's own keys
    DIR/appendonlydir/            the append-only file
    DIR/regions/                  the operator's own regions

A backup contains neither the keys that open it nor the file of tombstones (`tombstones.py`): there, both would be useless.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO

import msgspec

from alertd.store.engine.codec import Codec
from alertd.store.master_key.schema import SCHEMA_VERSION, other_schema
from geofences.files import to_disk

NAME = "backup.json"
#: File in a data directory that tells the next start of alertd that the store was restored from a backup.
MARK = "restored.json"
_AOF, _REGIONS = "appendonlydir", "regions"
_MANIFEST = "appendonly.aof.manifest"
_PART = "restoring"
_PIECE = _MB = 1024 * 1024
#: How often a backup tries to open the files while no rewrite changes them. Enough, because rewrites are minutes apart.
_TRIES = 10


class BackupError(RuntimeError):
    """A backup cannot be made or restored. The message says why."""


class CopiedFile(msgspec.Struct, frozen=True, kw_only=True):
    """Length and SHA-256 of one file in a backup."""

    bytes: int
    sha256: str


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a backup."""

    made: str  # RFC 3339; all writes acknowledged before are in the backup
    alertd: str  # the version that made it
    schema: int
    files: dict[str, CopiedFile]  # by path inside the backup


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the file MARK: the data directory was restored from a backup, and the work after the restore is not done yet."""

    made: str  # time of the backup, as `Backup.made`
    put_back: int  # time of the restore (UNIX ms); the work that follows is done once for each time


class _Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """The content of backup.json: the description, and its HMAC (`_seal`)."""

    backup: Backup
    seal: str


_encode = msgspec.json.Encoder().encode


def make(directory: Path, to: Path, codec: Codec, *, made: datetime, version: str, reserve_bytes: int = 0) -> Backup:
    """Copies the store of a data directory, which may be in use, into the folder `to`, which must be new or empty. Returns the backup's
    description. On the store's own disk, leaves `reserve_bytes` free. Raises BackupError, and then leaves nothing of the copy.
    """
    try:
        if to.exists() and any(to.iterdir()):
            raise BackupError(f"{to} is not empty: name a new folder")
        with ExitStack() as stack:
            sources = _held(stack, directory)
            to.mkdir(mode=0o700, parents=True, exist_ok=True)
            (to / _AOF).mkdir(mode=0o700)  # fails for the second of two concurrent copies, so that they do not mix
            stack.push(partial(_removed_unless_whole, to))
            _check_room(directory, to, sum(size for _, size in sources.values()), reserve_bytes)
            files = {name: _copied(source, to / name, size) for name, (source, size) in sources.items()}
            backup = Backup(made=made.isoformat(), alertd=version, schema=SCHEMA_VERSION, files=files)
            whole = _encode(_Sealed(backup=backup, seal=_seal(backup, codec)))
            _copied(io.BytesIO(whole), to / NAME, len(whole))  # last: without this file a folder is no backup
    except OSError as error:
        raise BackupError(f"{error.filename or to} cannot be copied: {error.strerror}") from None
    return backup


def _removed_unless_whole(to: Path, fault: type[BaseException] | None, *_: object) -> None:
    """Deletes the copy if an error ended it: it is useless, and may take all the space that the store has left."""
    if fault is not None:
        shutil.rmtree(to, ignore_errors=True)


def _check_room(directory: Path, to: Path, needed: int, reserve_bytes: int) -> None:
    """Raises BackupError if the disk of `to` has no room for `needed` bytes and, if it is the store's disk, for `reserve_bytes` more: a
    copy that fills the store's disk would end the store.
    """
    kept = reserve_bytes if to.stat().st_dev == directory.stat().st_dev else 0
    if shutil.disk_usage(to).free < needed + kept:
        beside = f", and {kept // _MB} MB are kept free for the store (store.reserve_mb)" if kept else ""
        raise BackupError(
            f"{to} has no room for a copy of {needed // _MB + 1} MB{beside}: name a folder on another disk"
        )


def read_backup(copy: Path, codec: Codec) -> Backup:
    """Returns the description of the backup in the folder `copy`. Raises BackupError if there is none, if it was made with other keys or
    changed since, or if it has another schema than this alertd.
    """
    try:
        sealed = msgspec.json.decode((copy / NAME).read_bytes(), type=_Sealed)
    except (OSError, msgspec.DecodeError):
        raise BackupError(f"{copy} holds no backup: there is no {NAME} that can be read") from None
    if not hmac.compare_digest(sealed.seal, _seal(sealed.backup, codec)):
        raise BackupError(
            f"{copy / NAME} was written with other keys, or changed since: the two keys must be those of that time"
        )
    if other := other_schema(sealed.backup.schema):
        raise BackupError(f"the backup is {other}")
    return sealed.backup


def put_back(copy: Path, directory: Path, backup: Backup, *, now_ms: int) -> None:
    """Restores a backup from the directory `copy` into a data directory. `backup` is the description that `read_backup`
    returned. The caller must hold the locks of the data directory.

    Raises BackupError if the data directory has a store or regions, if a file of the copy is damaged, or if a file
    cannot be written. Then no server finds a store there, but the mark, and the regions, may remain.
    """
    there = [name for name in (_AOF, _REGIONS) if (directory / name).exists()]
    if there:
        raise BackupError(
            f"{directory} holds {there[0]}: put it back into a directory without a store, or move that away"
        )
    part = directory / _PART
    try:
        shutil.rmtree(part, ignore_errors=True)
        for name, kept in backup.files.items():
            _check(copy / name, kept, part / name)
        mark = _encode(Mark(made=backup.made, put_back=now_ms))
        _copied(io.BytesIO(mark), directory / MARK, len(mark))  # first: no store without its mark
        for name in (_REGIONS, _AOF):
            if (part / name).exists():
                (part / name).rename(directory / name)
        to_disk(directory)
    except OSError as error:
        raise BackupError(f"{error.filename or directory} cannot be put back: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def marked(directory: Path) -> Mark | None:
    """Returns the mark that a restore left in the data directory, None if there is none or `settled` removed it. Raises msgspec.DecodeError
    or msgspec.ValidationError for a damaged mark.
    """
    file = directory / MARK
    try:
        since = {"put_back": int(file.stat().st_mtime * 1000)}  # an alertd of before did not write it
        return msgspec.convert(since | msgspec.json.decode(file.read_bytes()), Mark)
    except FileNotFoundError:
        return None


def settled(directory: Path) -> None:
    """Removes the mark of a restored data directory. Call it when the work that follows a restore is done."""
    (directory / MARK).unlink(missing_ok=True)


def _seal(backup: Backup, codec: Codec) -> str:
    """Returns an HMAC of a backup's description (hex). It depends on the master key and the hashing key, so wrong keys are noticed before
    anything is restored.
    """
    return hmac.digest(codec.derived("backup").current, codec.check_value.encode() + _encode(backup), "sha256").hex()


def _held(stack: ExitStack, directory: Path) -> dict[str, tuple[IO[bytes], int]]:
    """Opens every file of the store and its regions, as of one moment. Returns for each path the open file and its length. `stack` closes
    them. Raises BackupError.
    """
    manifest = directory / _AOF / _MANIFEST
    for _ in range(_TRIES):
        if not manifest.exists():
            raise BackupError(f"{directory} holds no store: see store.directory")
        with ExitStack() as tried:
            said = manifest.read_bytes()
            try:
                files = {f"{_AOF}/{name}": _open(tried, directory / _AOF / name) for name in _named(said)}
                files |= {
                    str(file.relative_to(directory)): _open(tried, file)
                    for file in sorted((directory / _REGIONS).rglob("*"))
                    if file.is_file()
                }
            except FileNotFoundError:  # a rewrite, or an import, has just ended
                continue
            if manifest.read_bytes() == said:
                stack.push(tried.pop_all())
                return files | {f"{_AOF}/{_MANIFEST}": (io.BytesIO(said), len(said))}
    raise BackupError("the store was rewritten again and again meanwhile: try again")


def _named(manifest: bytes) -> Iterator[str]:
    """Yields the files in a manifest that a server loads. A line is `file NAME seq N type T`; T is b for a base, i for appended commands, h
    for a file that is to be deleted (skipped).
    """
    for line in manifest.decode().splitlines():
        words = line.split()
        facts = dict(zip(words[::2], words[1::2], strict=False))
        if facts.get("type") in {"b", "i"}:
            yield Path(facts["file"]).name


def _open(stack: ExitStack, file: Path) -> tuple[IO[bytes], int]:
    """Opens a file until the stack closes. Returns it with its present length in bytes."""
    handle = stack.enter_context(file.open("rb"))
    return handle, os.fstat(handle.fileno()).st_size


def _copied(source: IO[bytes], to: Path, size: int) -> CopiedFile:
    """Copies `size` bytes into a file that only its owner can read, and waits for the disk. Returns length and SHA-256 of the copy."""
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), size
    with open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as handle:  # noqa: PTH123  a mode of its own
        while left and (piece := source.read(min(left, _PIECE))):
            digest.update(piece)
            left -= handle.write(piece)
        handle.flush()
        os.fsync(handle.fileno())
    to_disk(to.parent)
    return CopiedFile(bytes=size - left, sha256=digest.hexdigest())


def _check(file: Path, kept: CopiedFile, to: Path) -> None:
    """Copies a file of the backup to `to`. Raises BackupError if its length or SHA-256 is not the one in the description."""
    with file.open("rb") as source:
        found = _copied(source, to, os.fstat(source.fileno()).st_size)
    if found != kept:
        raise BackupError(f"{file} differs from the copied file: take another backup. Nothing was put back.")
