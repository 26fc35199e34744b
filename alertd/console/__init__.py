"""Serves the files of the operators' console. Its scripts run in the browser and call `/v1` like any other client."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

from alertd.console.tables import Needs, module
from alertd.console.words import modules

STATIC = Path(__file__).parent / "static"

#: Content security policy: no inline code, no other origins, no framing. The map's icons use `data:`, photos behind a
#: key use `blob:`.
_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
#: Headers of each file. With `no-cache`, browsers ask each time (usually 304), so an upgrade takes effect at once.
_HEADERS = {
    hdrs.CACHE_CONTROL: "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
}
_TYPES = {
    ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".json": "application/json",
    ".mjs": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain",
}  # fmt: skip
#: Suffixes of files that are served from disk in ranges: a browser fetches the map tiles that it shows. Not cached:
#: after an aborted range request, Chromium's cache sometimes returns an empty range of the same file.
_IN_RANGES = {".pmtiles"}
_RANGE_HEADERS = _HEADERS | {hdrs.CACHE_CONTROL: "no-store"}


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the console in memory, plain and gzipped."""

    plain: bytes  # stored too, because inflating a 1 MB script for each request would block other requests
    packed: bytes
    etag: str
    content_type: str


class _Files:
    """The console's files, which it reads and compresses at their first request and then keeps in memory, and the
    scripts that it generates at the start (tables, words).
    """

    def __init__(self, folder: Path, needs: Needs, carried: Collection[str]) -> None:
        self._paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        made = {"tables.js": module(needs, carried), **modules(folder / "words.json")}
        self._packed = {name: _packed(text.encode(), ".js") for name, text in made.items()}

    async def answer(self, request: web.Request, name: str) -> web.StreamResponse:
        """Returns the file with this path in the folder: gzipped if the browser accepts gzip, or 304 if its ETag
        matches. Files in `_IN_RANGES` come from disk. Raises HTTPNotFound for an unknown name.
        """
        if name not in self._packed:
            path = self._paths.get(name)
            if path is None:
                raise web.HTTPNotFound
            if path.suffix in _IN_RANGES:
                return web.FileResponse(path, headers=_RANGE_HEADERS)
            self._packed[name] = await asyncio.to_thread(lambda: _packed(path.read_bytes(), path.suffix))
        file = self._packed[name]
        headers = _HEADERS | {hdrs.ETAG: file.etag, hdrs.VARY: hdrs.ACCEPT_ENCODING}
        if request.headers.get(hdrs.IF_NONE_MATCH) == file.etag:
            return web.Response(status=304, headers=headers)
        if "gzip" not in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            return web.Response(body=file.plain, content_type=file.content_type, charset="utf-8", headers=headers)
        headers |= {hdrs.CONTENT_ENCODING: "gzip"}
        return web.Response(body=file.packed, content_type=file.content_type, charset="utf-8", headers=headers)


def console_routes(needs: Needs, carried: Collection[str]) -> list[web.RouteDef]:
    """Returns the routes of the console: its page at /console and its files below. The routes need no key, because the
    files contain no data of alerts or people.

    `needs`: the scopes of each API operation, so that the console offers only permitted operations. `carried`: the
    channels with a carrier, which are the default channels of an alert.
    """
    files = _Files(STATIC, needs, carried)

    async def page(request: web.Request) -> web.StreamResponse:
        return await files.answer(request, "index.html")

    async def file(request: web.Request) -> web.StreamResponse:
        return await files.answer(request, request.match_info["path"])

    return [web.get("/console", page), web.get("/console/", page), web.get("/console/{path:.+}", file)]


def _packed(data: bytes, suffix: str) -> _File:
    """Returns the file with its gzipped form, its ETag (a digest of `data`) and the content type of `suffix`."""
    digest = hashlib.sha256(data).hexdigest()[:32]
    return _File(data, gzip.compress(data, 9, mtime=0), f'"{digest}"', _TYPES[suffix])
