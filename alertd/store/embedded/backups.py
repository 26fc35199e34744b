"""A copy of an embedded store, made while it runs, and how it is put back.

The append-only file of Valkey and Redis (from 7.0 on) is a manifest and the files it names: a base and what was appended since. Nothing in
them is ever changed, so a copy of all of them up to a length they had at one moment is the store of that moment, and a last command
that is cut off was never acknowledged. The server's own advice is to copy while no rewrite begins or ends; here the files are held open
and the manifest is read again instead: if it is the same, no rewrite came between, and what a later one unlinks can still be read.

    DIR/backup.json               when, by which version, of which schema, and each file's length and SHA-256; sealed with the store's own keys
    DIR/appendonlydir/            the append-only file
    DIR/regions/                  regions of one's own

The keys that open it are not in it, and neither is what was purged since (`tombstones.py`): both would be worth nothing there.
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
#: The file that shows the next start that its store was restored.
MARK = "restored.json"
_AOF, _REGIONS = "appendonlydir", "regions"
_MANIFEST = "appendonly.aof.manifest"
_PART = "restoring"
_PIECE = _MB = 1024 * 1024
#: A rewrite ends once, and the next one begins minutes later.
_TRIES = 10


class BackupError(RuntimeError):
    """A copy cannot be made or restored. The message says why, and that nothing changed."""


class CopiedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a copy."""

    bytes: int
    sha256: str


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A copy."""

    made: str  # RFC 3339: what was acknowledged before is in it
    alertd: str  # the version that made it
    schema: int
    files: dict[str, CopiedFile]  # by their names below the copy


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """That a data directory was put back from a copy, and what follows from it is still to be done."""

    made: str  # when the copy was, as `Backup.made`
    put_back: int  # when, in UNIX milliseconds: what follows is done once for each


class _Sealed(msgspec.Struct, frozen=True, kw_only=True):
    backup: Backup
    seal: str


_encode = msgspec.json.Encoder().encode


def make(directory: Path, to: Path, codec: Codec, *, made: datetime, version: str, reserve_bytes: int = 0) -> Backup:
    """Copy the store of a data directory, which may be in use, into `to`, which must be new or empty. Where that is the store's own disk,
    `reserve_bytes` of it stay free. Raises BackupError, and nothing of the copy is left then.
    """
    try:
        if to.exists() and any(to.iterdir()):
            raise BackupError(f"{to} is not empty: name a new folder")
        with ExitStack() as stack:
            sources = _held(stack, directory)
            to.mkdir(mode=0o700, parents=True, exist_ok=True)
            (to / _AOF).mkdir(mode=0o700)  # of two at once, one: what the other copied is neither mixed nor taken away
            stack.push(partial(_removed_unless_whole, to))
            _check_room(directory, to, sum(size for _, size in sources.values()), reserve_bytes)
            files = {name: _copied(source, to / name, size) for name, (source, size) in sources.items()}
            backup = Backup(made=made.isoformat(), alertd=version, schema=SCHEMA_VERSION, files=files)
            whole = _encode(_Sealed(backup=backup, seal=_seal(backup, codec)))
            _copied(io.BytesIO(whole), to / NAME, len(whole))  # last: a folder without it is no copy
    except OSError as error:
        raise BackupError(f"{error.filename or to} cannot be copied: {error.strerror}") from None
    return backup


def _removed_unless_whole(to: Path, fault: type[BaseException] | None, *_: object) -> None:
    """Delete an incomplete copy: it is worth nothing, and may take all the room that the store had left."""
    if fault is not None:
        shutil.rmtree(to, ignore_errors=True)


def _check_room(directory: Path, to: Path, needed: int, reserve_bytes: int) -> None:
    """Raise BackupError before anything is written: a disk that a copy fills ends the store on it."""
    kept = reserve_bytes if to.stat().st_dev == directory.stat().st_dev else 0
    if shutil.disk_usage(to).free < needed + kept:
        beside = f", and {kept // _MB} MB are kept free for the store (store.reserve_mb)" if kept else ""
        raise BackupError(
            f"{to} has no room for a copy of {needed // _MB + 1} MB{beside}: name a folder on another disk"
        )


def read_backup(copy: Path, codec: Codec) -> Backup:
    """Returns a copy's description. Raises BackupError if it is no copy, was made with other keys, or has another schema than this alertd."""
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
    """Restore a copy, whole or not at all, into a data directory without a store that no process uses. Raises BackupError."""
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
        _copied(io.BytesIO(mark), directory / MARK, len(mark))  # before the store: it is never served without
        for name in (_REGIONS, _AOF):
            if (part / name).exists():
                (part / name).rename(directory / name)
        to_disk(directory)
    except OSError as error:
        raise BackupError(f"{error.filename or directory} cannot be put back: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def marked(directory: Path) -> Mark | None:
    """Returns the mark of a restored data directory until `settled`, else None."""
    file = directory / MARK
    try:
        since = {"put_back": int(file.stat().st_mtime * 1000)}  # an alertd of before did not write it
        return msgspec.convert(since | msgspec.json.decode(file.read_bytes()), Mark)
    except FileNotFoundError:
        return None


def settled(directory: Path) -> None:
    """Remove the mark: the work after the restore is done."""
    (directory / MARK).unlink(missing_ok=True)


def _seal(backup: Backup, codec: Codec) -> str:
    """Both keys of the store go into it: whether they fit is known before anything is written."""
    return hmac.digest(codec.derived("backup").current, codec.check_value.encode() + _encode(backup), "sha256").hex()


def _held(stack: ExitStack, directory: Path) -> dict[str, tuple[IO[bytes], int]]:
    """Returns every file to copy, open, with its length, all of one moment. Raises BackupError."""
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
    """The files of a manifest that a server loads: `file NAME seq N type T` a line, T b for a base, i for what was appended, h for what
    is to be deleted.
    """
    for line in manifest.decode().splitlines():
        words = line.split()
        facts = dict(zip(words[::2], words[1::2], strict=False))
        if facts.get("type") in {"b", "i"}:
            yield Path(facts["file"]).name


def _open(stack: ExitStack, file: Path) -> tuple[IO[bytes], int]:
    handle = stack.enter_context(file.open("rb"))
    return handle, os.fstat(handle.fileno()).st_size


def _copied(source: IO[bytes], to: Path, size: int) -> CopiedFile:
    """Copy `size` bytes into a file for its owner alone. It is on disk when this returns."""
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
    with file.open("rb") as source:
        found = _copied(source, to, os.fstat(source.fileno()).st_size)
    if found != kept:
        raise BackupError(f"{file} differs from the copied file: take another backup. Nothing was put back.")
