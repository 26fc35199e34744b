"""Imports uploaded files of regions: writes them to the disk as they arrive, imports them in the background, and
reports progress.

`geofences.importing` reads them in a process of its own, because GDAL is large and a crafted file may harm it. It
writes into this machine's data directory, where every process of this machine finds the regions. Other machines need
the same import, as with the command.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import new_id
from alertd.common.repetition import ended
from alertd.service.access import Credential
from alertd.service.areas.regions import Regions, check_live
from alertd.service.organisations.organisations import Organisations
from alertd.service.records.audit import DONE, FAILED, REFUSED, Audit, Fact, Noted
from alertd.service.records.photos import without_ours
from alertd.service.records.upload_dirs import NO_ROOM, UploadDir, UploadDirs
from alertd.store.areas.region_imports import Import, ImportRecords
from alertd.store.engine.connection import StoreUnavailableError
from geofences import files
from geofences.additions import Order

#: The name of the audit act that records the result of an import. The request for the import is another act.
ACT = "region.imported"
#: Largest upload, in bytes; the importer limits the unpacked size. All municipalities of Europe at a detail of one
#: metre are smaller.
MOST_BYTES = 512 * 1024 * 1024
#: `TELLS_S`: seconds between two progress records and checks of the free disk space. `SILENT_MS`: ms without a progress
#: record after which an import counts as ended.
TELLS_S, SILENT_MS = 1.0, 30_000
#: Time limit of an import in seconds: 40,000 communes take minutes.
PATIENCE_S = 3600.0
#: `MOST_TOLD`: maximum number of entries of each list in a report. `LONGEST_LINE`: maximum bytes of one line from the
#: importer.
MOST_TOLD, LONGEST_LINE = 200, 64 * 1024 * 1024
#: Bytes from the end of the importer's error output that are logged: Python names the error there.
LAST_WORDS_BYTES = 2000
MAY_BE_STORED = "Its regions may be stored nevertheless: check whether they are there. If not, upload the file again."
NOT_TAKEN_IN = "It is stored, but cannot be loaded together with the other regions. See the log of the service."
TAKEN_IN_LATER = (
    "It is stored, but not loaded yet, because the store did not answer. alertd tries again every two seconds."
)
#: GDAL drivers that are switched off: formats that name other files or hosts, independent of the file's name.
NOT_READ = (
    "PCIDSK,PDS4,VICAR,MBTiles,EEDA,OGCAPI,GDALG,MapInfo File,LVBAG,S57,DGN,OGR_VRT,CSV,GML,GPX,LIBKML,KML,OGR_GMT,SQLite,WAsP,OpenFileGDB,"
    "DXF,GeoRSS,VFK,OSM,GPSBabel,OGR_PDS,WFS,OAPIF,EDIGEO,Idrisi,ODS,XLSX,Elasticsearch,Carto,AmigoCloud,SXF,Selafin,JML,PLSCENES,CSW,VDV,"
    "MVT,NGW,MapML,GTFS,PMTiles,MiraMonVector,ADBC,AVCBin,AVCE00,AIVector,HTTP"
)


@dataclasses.dataclass(slots=True)
class RegionImports:
    """Runs one import at a time, and shows the progress of all."""

    imports: ImportRecords
    regions: Regions
    organisations: Organisations
    audit: Audit
    folder: Path  # for the imported regions
    rooms: UploadDirs  # for uploads, on the same disk
    clock: Clock
    _turn: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    _going: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Allows imports while the context is open. At the start it removes the remains of an aborted import. At the
        end it aborts a running import and stores nothing of it.
        """
        await asyncio.to_thread(self._swept)
        try:
            yield
        finally:
            if self._going is not None:
                await ended(self._going)

    async def take(self, who: Credential, name: str, suffix: str, order: Order, pieces: AsyncIterable[bytes]) -> Import:
        """Writes an uploaded file to disk and starts its import under `name`, in the background. Returns the record of
        the import. `suffix` is the file's, and selects the format. Raises Problem.
        """
        self.check(who)
        self._check_turn()  # before the upload is read
        room = await asyncio.to_thread(self.rooms.make)
        try:
            file = room.path / f"{name}{suffix}"
            await self.rooms.write(file, pieces, MOST_BYTES)
            self._check_turn()  # and again, because a slow upload does not hold the turn
            made = await self._begun(who, name, order)
        except BaseException:
            await asyncio.to_thread(room.clear)
            raise
        self._going = asyncio.create_task(self._done(made, who, room, file, order), name=ACT)
        return made

    def _check_turn(self) -> None:
        """Raises Problem if an import is running."""
        if self._turn.locked():
            raise Problem(
                "rate-limited",
                "Another import of regions is running. Try again later: one file at a time.",
                headers={"Retry-After": "10"},
            )

    async def _begun(self, who: Credential, name: str, order: Order) -> Import:
        """Takes the lock for the one running import, which is free, and records the import. Returns the record."""
        await self._turn.acquire()
        now = self.clock.now_ms()
        made = Import(id=new_id(now), org=who.org, name=name, dry_run=order.dry_run, state="running", seen=now)
        try:
            await self.imports.put(made)
        except BaseException:
            self._turn.release()
            raise
        return made

    def check(self, who: Credential) -> None:
        """Raises Problem if the caller may not import: imported regions are shared by all organisations."""
        if not self.organisations.is_host(who):
            raise Problem(
                "not-allowed",
                "All organisations share the imported regions: only the organisation that runs the service imports them.",
            )
        check_live(who)

    async def show(self, import_id: str, who: Credential) -> Import:
        """Returns the progress of an import. Raises Problem."""
        found = await self.imports.get(import_id)
        if found is None or found.org != who.org:
            raise Problem("not-found", "There is no such import, or it is older than a week.")
        if found.state == "running" and self.clock.now_ms() - found.seen > SILENT_MS:
            why = (
                "The importing process ended early. Check whether the regions are there. If not, upload the file again."
            )
            return msgspec.structs.replace(found, state="refused", why=why)
        return found

    def _swept(self) -> None:
        """Removes the uploads and unfinished region files of an aborted import."""
        self.rooms.sweep()
        files.sweep(self.folder)

    async def _done(self, one: Import, who: Credential, room: UploadDir, file: Path, order: Order) -> None:
        """Runs an import to its end: records its progress, loads the new regions, deletes the upload, and writes the
        result to the audit. Never raises for a failed import, which is recorded as broken off.
        """
        progress = one
        try:
            async with aclosing(self._followed(one, file, order)) as steps:
                async for progress in steps:
                    if progress.state == "running":
                        await self.imports.put(progress)
            if progress.state == "done" and not one.dry_run:
                progress = await self._taken_in(progress)
        except Exception:  # noqa: BLE001  every failure is logged and recorded as a broken-off import
            structlog.get_logger().exception("region_import.failed", import_id=one.id)
        finally:
            self._turn.release()
            await asyncio.to_thread(room.clear)
            await asyncio.to_thread(files.sweep, self.folder)
        outcome = {"done": DONE, "refused": REFUSED}.get(progress.state, FAILED)
        if progress.state == "running":
            progress = broken_off(progress)
        facts: dict[str, Fact] = {"dry_run": one.dry_run, "regions": progress.report.get("regions", 0)}
        try:
            await self.audit.end(who, ACT, outcome, Noted(object=one.id, facts=facts), of=0)
        finally:
            await self.imports.put(progress)

    async def _taken_in(self, progress: Import) -> Import:
        """Loads the stored regions in this process, and returns the import with the result."""
        try:
            await self.regions.refresh()
        except StoreUnavailableError:
            structlog.get_logger().warning("store.found_unavailable", step="regions", import_id=progress.id)
            return msgspec.structs.replace(progress, state="stored", why=TAKEN_IN_LATER)
        return (
            progress if self.regions.is_whole else msgspec.structs.replace(progress, state="stored", why=NOT_TAKEN_IN)
        )

    async def _followed(self, one: Import, file: Path, order: Order) -> AsyncGenerator[Import]:
        """Imports the file in a new process, and yields the import's record after each progress. If the process ends
        early, the log has the reason.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "geofences.importing", file.name, self.folder.resolve(), one.name,
            env={**without_ours(os.environ), "GDAL_SKIP": NOT_READ, "TMPDIR": str(file.parent.resolve())}, cwd=file.parent,
            limit=LONGEST_LINE, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: PT018  they are pipes
        last_words = asyncio.create_task(_end_of(process.stderr))
        try:
            process.stdin.write(json.dumps(dataclasses.asdict(order)).encode() + b"\n")  # it ends when this pipe closes
            until_s = self.clock.monotonic() + PATIENCE_S
            while one.state == "running" and (line := await _line(process.stdout)) != b"":
                one = msgspec.structs.replace(
                    one, seen=self.clock.now_ms(), **(_said(json.loads(line)) if line else {})
                )
                if one.state == "running" and not await asyncio.to_thread(self.rooms.holds):
                    one = broken_off(one, NO_ROOM)
                yield one
                if self.clock.monotonic() > until_s:
                    break
        finally:
            with contextlib.suppress(ProcessLookupError):  # `process.kill` would reap it and lose its code
                os.killpg(process.pid, signal.SIGKILL)
            code, words = await asyncio.gather(process.wait(), last_words)
            if one.state == "running":
                structlog.get_logger().error(
                    "region_importer.ended", import_id=one.id, step=one.step, code=code, last_words=words
                )


def broken_off(one: Import, because: str = "The importer failed.") -> Import:
    """Returns the import as refused because its process ended early. A step that was storing regions may have stored
    them.
    """
    stored = one.step == "storing"
    why = f"{because} {MAY_BE_STORED if stored else 'Nothing was imported.'}"
    return msgspec.structs.replace(one, state="refused", why=why)


async def _end_of(stream: asyncio.StreamReader) -> str:
    """Reads a stream to its end, so that its process need not wait, and returns the last bytes."""
    words = b""
    while piece := await stream.read(65_536):
        words = (words + piece)[-LAST_WORDS_BYTES:]
    return words.decode(errors="replace")


async def _line(stream: asyncio.StreamReader) -> bytes | None:
    """Returns the next line, b"" at the end, or None if none arrives within `TELLS_S`."""
    try:
        return await asyncio.wait_for(stream.readline(), TELLS_S)
    except TimeoutError:
        return None


def _said(line: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of an import record that a line from the importer changes."""
    if "report" in line:
        report = line["report"]
        counts = {name: len(value) for name, value in report.items() if isinstance(value, list) and name != "codes"}
        cut = {name: value[:MOST_TOLD] if isinstance(value, list) else value for name, value in report.items()}
        return {"state": "done", "report": {**cut, "counts": counts}, "regions": report["regions"]}
    if "refused" in line:
        return {"state": "refused", "why": line["refused"], "faults": line["faults"], "problems": line["problems"]}
    return line
