"""HTTP operations on photos: upload one, and show one."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from aiohttp import BodyPartReader, MultipartReader, StreamReader, hdrs, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, Field, ValidationError

from alertd.api.http.bodies import JSON, check_json, raw_json
from alertd.api.http.call import PREPARED_ID, credential, is_replay, note, services
from alertd.api.http.cookies import known
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import Query
from alertd.common.clock import time_of
from alertd.common.errors import Fault, Problem
from alertd.model.case import MEDIA_ID, PhotoFacts
from alertd.model.faults import faults_of
from alertd.service.access import Credential
from alertd.service.container import Container
from alertd.service.records.photos import TakenPhoto

FORM = "multipart/form-data"
#: Seconds for which caches (proxies and phones) may keep a photo: long enough to absorb most of a rush, short enough
#: that a photo disappears soon after its alert.
CACHE_S = 60

Facts = TypeVar("Facts", bound=PhotoFacts)
MediaId = Annotated[str, MEDIA_ID]


class MediaByUrl(PhotoFacts):
    """The facts of a photo, and the URL from which alertd fetches it."""

    url: Annotated[str, Field(max_length=2_000, examples=["https://centre.example/lucia.jpg"])]


class MediaForm(BaseModel):
    """A form with a photo and its facts."""

    photo: bytes = Field(description="The file.")
    facts: PhotoFacts


class SizeReply(BaseModel):
    width: int
    height: int
    bytes: int


class MediaReply(BaseModel):
    id: str = Field(description="Goes into `case.children[].photos[].media` of an alert.")
    width: int = Field(description="Width of the largest size, in pixels.")
    height: int
    sizes: dict[str, SizeReply] = Field(description="By name: `push`, `mail` and `page`.")
    url: str = Field(description="The photo's URL while its alert is live; add `?size=` for another size.")
    unused_until: datetime = Field(description="The photo is deleted then, unless an alert uses it.")


class ShowQuery(Query):
    size: Literal["push", "mail", "page"] = Field("page", description="How large.")


OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", "/v1/media", "Upload a photo", "alerts:write", status=201, takes=(FORM, JSON),
    reads={FORM: MediaForm, JSON: MediaByUrl}, tells=("Location",),
    problems=(
        "photo-unreadable", "photo-rights-missing", "rate-limited", "too-large", "wrong-content-type", "not-found",
    ),
    act=Act("photo.upload", once=True),
)  # fmt: skip
async def create_media(request: web.Request) -> Reply[MediaReply]:
    """Stores a photo for an alert. Send a form (`multipart/form-data`) with a part `photo` (the file) and a part
    `facts` (JSON), or send JSON with the facts and the `url` of the photo. alertd fetches the URL once, over https and
    from the public internet only.

    Facts are `source` (who gave it), `taken` (a day, month or year), `rights` (the consent or legal basis of
    publication) and `alt` (a description in words, by language). A photo is a JPEG, PNG or WebP, regardless of its file
    name. alertd encodes it anew from its pixels, which removes all metadata: place, device, preview.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return _told(s, await s.photos.taken(request.get(PREPARED_ID) or "", who))
    take = _from_form if request.content_type == FORM else _from_url
    kept = await take(request, s, who)
    note(request, object_=kept.id)
    return _told(s, kept)


@OPERATIONS.add(
    "GET", "/m/{id}", "Show a photo", None, gives=("image/jpeg",), problems=("gone", "stop-active", "rate-limited")
)
async def show_media(request: web.Request, *, id: MediaId, query: ShowQuery) -> web.Response:
    """Returns a photo while an Actual alert that uses it is live: to everyone, and not for search engines. After that
    the answer is 410. Before that, only a key or session of its organisation with the scope `alerts:read` or
    `alerts:write` gets the photo. Such a caller also gets it while another alert that uses it is still to be sent,
    unless one was stood down, restricted or purged. A call with a key or session counts against its rate, and is
    refused if the key is stopped.
    """
    s = services(request)
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    who = await s.access.recognise(token.strip()) if scheme.lower() == "bearer" else await known(request)
    if who is not None:
        await s.access.meter(who)
        await s.stop_control.check_key(who)
    data = await s.photos.show(id, query.size, who)
    cache = "no-store" if who else f"public, max-age={CACHE_S}"
    headers = {
        hdrs.CACHE_CONTROL: cache,
        "X-Robots-Tag": "noindex, noimageindex",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    return web.Response(body=data, content_type="image/jpeg", headers=headers)


async def _from_url(request: web.Request, s: Container, who: Credential) -> TakenPhoto:
    """Fetches the photo at the URL in the JSON body, and stores and returns it. Raises Problem for a faulty body or
    photo.
    """
    body = _validated(MediaByUrl, await raw_json(request))
    s.photos.check(body)
    raw = await s.photos.fetch(body.url, s.settings.api.body_mb * 1024 * 1024)
    return await s.photos.take(raw, body, who, name=request.get(PREPARED_ID), place="/url")


async def _from_form(request: web.Request, s: Container, who: Credential) -> TakenPhoto:
    """Stores and returns the photo in the form in the body. Raises Problem for a faulty form, its facts or photo."""
    parts = await _parts(request)
    if missing := [Fault(f"/{name}", "This part is required.") for name in ("photo", "facts") if name not in parts]:
        raise _faulty(missing)
    check_json(parts["facts"])
    facts = _validated(PhotoFacts, parts["facts"], "/facts")
    s.photos.check(facts, "/facts")
    return await s.photos.take(parts["photo"], facts, who, name=request.get(PREPARED_ID), place="/photo")


def _validated(model: type[Facts], raw: bytes, place: str = "") -> Facts:
    """Returns the JSON `raw` as the model. Raises Problem with all its faults; `place` is the JSON pointer to `raw` in
    the body, with which their pointers begin.
    """
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _faulty([Fault(f"{place}{fault.pointer}", fault.detail) for fault in faults_of(error)]) from None


async def _parts(request: web.Request) -> dict[str, bytes]:
    """Returns the bytes of the form's parts by name: `photo` and `facts`, if it has them. Raises Problem for a form
    with other parts or the same part twice, and for a body that is not a form (RFC 7578).
    """
    raw = await request.read()  # whole, because an Idempotency-Key covers the whole body
    # The data is complete, so the reader needs no socket.
    content = StreamReader(BaseProtocol(asyncio.get_running_loop()), limit=len(raw))
    content.feed_data(raw)
    content.feed_eof()
    parts: dict[str, bytes] = {}
    try:
        async for part in MultipartReader(request.headers, content):
            if not isinstance(part, BodyPartReader) or part.name not in {"photo", "facts"} or part.name in parts:
                raise _no_form("The form has one part photo and one part facts, and no others.")
            parts[part.name] = bytes(await part.read())
    # aiohttp's errors for a body that is not a form.
    except (ValueError, AssertionError, HttpProcessingError, web.HTTPException):
        raise _no_form("This is no form of parts.") from None
    return parts


def _no_form(sentence: str) -> Problem:
    return Problem("invalid-request", "The form cannot be read.", faults=(Fault("", sentence),))


def _faulty(faults: list[Fault]) -> Problem:
    return Problem("invalid-request", "The request has faults; `errors` has all of them.", faults=tuple(faults))


def _told(s: Container, kept: TakenPhoto) -> Reply[MediaReply]:
    """Returns a stored photo as the API shows it."""
    width, height, _ = kept.sizes["page"]
    sizes = {name: SizeReply(width=w, height=h, bytes=n) for name, (w, h, n) in kept.sizes.items()}
    body = MediaReply(
        id=kept.id, width=width, height=height, sizes=sizes, url=f"{s.settings.api.reached_at}/m/{kept.id}",
        unused_until=time_of(kept.unused_until_ms),
    )  # fmt: skip
    return Reply(body, headers={"Location": f"/m/{kept.id}"})
