"""Photos handed in and fetched over HTTP: what is taken, what is refused, and what is said of each."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from PIL import Image
from redis.asyncio import Redis

from alertd.model.case import PhotoFacts
from alertd.service.container import Container
from alertd.store.engine import keys
from tests.integration.acts import ANA, BEA, api_of, register
from tests.integration.media.conftest import FACTS, RAW, Pages, approved
from tests.pictures import moving, read, written


@dataclass
class Api:
    """A client of the API, and Ana's key."""

    parts: Container
    client: TestClient[Any, Any]
    key: str
    pages: Pages

    async def hand_in(
        self, data: Any = None, facts: Any = FACTS, *, headers: dict[str, str] | None = None, **named: Any
    ):
        """As a form; `data` is the photo, or all there is to send."""
        form = aiohttp.FormData()
        form.add_field(
            "photo", io.BytesIO(data), filename=named.get("filename", "photo.jpg"), content_type="image/jpeg"
        )
        form.add_field("facts", facts if isinstance(facts, (str, bytes)) else json.dumps(facts))
        return await self.post(data=form, headers=headers)

    async def post(self, headers: dict[str, str] | None = None, **body: Any) -> tuple[int, Any]:
        authority = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        async with self.client.post("/v1/media", headers=authority, **body) as response:
            return response.status, await response.json()

    async def by_url(self, path: str, **facts: Any) -> tuple[int, Any]:
        return await self.post(json={**FACTS, "url": f"https://photos.example:{self.pages.port}{path}", **facts})

    async def look(self, path: str, key: str | None = None) -> aiohttp.ClientResponse:
        response = await self.client.get(path, headers={"Authorization": f"Bearer {key}"} if key else {})
        await response.read()
        return response


@pytest.fixture
async def api(parts: Container, pages: Pages, aiohttp_client) -> Api:
    """The API over the empty store."""
    client = await aiohttp_client(api_of(parts))
    _, key = await parts.access.create(org="default", subject=ANA.subject, scopes=frozenset({"alerts:write"}))
    return Api(parts, client, key, pages)


async def test_a_photo_is_handed_in_as_a_form_and_shown(api: Api):
    """The answer names it and its sizes; what is shown is a JPEG of our own that nobody indexes and caches keep for a minute."""
    status, answer = await api.hand_in(RAW)
    assert status == 201, answer
    assert re.fullmatch(r"med_[A-Za-z0-9_-]{24}", answer["id"])
    assert (answer["width"], answer["height"]) == (600, 800)
    assert answer["url"].endswith(f"/m/{answer['id']}")
    for size, told in answer["sizes"].items():
        response = await api.look(f"/m/{answer['id']}?size={size}", api.key)
        data = await response.read()
        assert (response.status, response.content_type) == (200, "image/jpeg")
        assert (*read(data).size, len(data)) == (told["width"], told["height"], told["bytes"])
        assert response.headers["Cache-Control"] == "no-store"
    assert (await api.look(f"/m/{answer['id']}")).status == 404


async def test_a_file_of_megabytes_is_handed_in(api: Api):
    """As cameras make them."""
    status, answer = await api.hand_in(written(Image.effect_noise((1500, 2000), 90).convert("RGB")))
    assert status == 201, answer
    assert answer["sizes"]["push"]["bytes"] <= 300_000


async def test_what_the_public_is_shown(api: Api, sample: dict[str, Any]):
    """Caches may keep it for a minute, nobody indexes it, and no browser takes it for anything but a picture."""
    await register(api.parts, 30)
    _, answer = await api.hand_in(RAW)
    alert_id = await approved(api.parts, sample, answer["id"])
    response = await api.look(f"/m/{answer['id']}")
    assert response.status == 200
    assert response.headers["Cache-Control"] == "public, max-age=60"
    assert "noindex" in response.headers["X-Robots-Tag"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    await api.parts.follow_ups.cancel(alert_id, BEA, "found", notify=False)
    gone = await api.look(f"/m/{answer['id']}")
    assert (gone.status, gone.headers["Cache-Control"]) == (410, "no-store")


async def test_a_photo_is_fetched_once(api: Api):
    """By its URL, through the guard; what is shown afterwards is ours."""
    api.pages.photos["/lucia.jpg"] = RAW
    status, answer = await api.by_url("/lucia.jpg")
    assert status == 201, answer
    for _ in range(2):
        assert (await api.look(f"/m/{answer['id']}", api.key)).status == 200
    assert api.pages.asked == ["/lucia.jpg"]


async def test_a_url_that_leads_elsewhere_is_refused(api: Api):
    """Another scheme, another port, a user in it: at its place, and nothing is fetched."""
    urls = ("http://photos.example/p", "https://127.0.0.1/", "https://photos.example/p", "https://u:p@photos.example/")
    for url in urls:
        status, answer = await api.post(json={**FACTS, "url": url})
        assert (status, answer["type"]) == (422, "/problems/photo-unreadable")
        assert [fault["pointer"] for fault in answer["errors"]] == ["/url"]
    assert not api.pages.asked


@pytest.mark.parametrize(
    "taken", ["2026-13", "2026-02-30", "26-08-01", "2026-8-1", "yesterday", "2026-08-14T10:00:00Z", ""]
)
def test_a_day_is_one_of_the_calendar(taken: str):
    """A day, a month or a year that there is."""
    with pytest.raises(ValueError, match="day"):
        PhotoFacts.model_validate_json(json.dumps({**FACTS, "taken": taken}))


HTML = b"<!doctype html><html><body>not found</body></html>"


@pytest.mark.parametrize("raw", [HTML, b"", moving("GIF", 200), moving("PNG"), RAW[:500]])
async def test_what_is_no_photo_is_refused(api: Api, redis: Redis, raw: bytes):
    """A page named .jpg, nothing, a picture that moves, half a photo: with the reason, and nothing is kept but that it was tried, and when its key was used."""
    before = set(await redis.keys())
    api.pages.photos["/p.jpg"] = raw
    for (status, answer), pointer in (await api.hand_in(raw), "/photo"), (await api.by_url("/p.jpg"), "/url"):
        assert (status, answer["type"]) == (422, "/problems/photo-unreadable")
        assert [fault["pointer"] for fault in answer["errors"]] == [pointer]
    kept = set(await redis.keys()) - before
    assert {key for key in kept if not key.endswith(b":used")} == {keys.org_audit("default").encode()}


async def test_a_body_larger_than_allowed_is_not_read(api: Api):
    """By the option `api.body_mb`, handed in and fetched."""
    large = RAW + bytes(api.parts.settings.api.body_mb * 1024 * 1024)
    status, answer = await api.hand_in(large)
    assert (status, answer["type"]) == (413, "/problems/too-large")
    api.pages.photos["/p.jpg"] = large
    assert (await api.by_url("/p.jpg"))[0] == 422


async def test_without_source_and_right_no_photo_is_taken(api: Api):
    """Each that is missing has its place."""
    for missing in ("source",), ("rights",), ("source", "rights"):
        facts = {name: value for name, value in FACTS.items() if name not in missing}
        status, answer = await api.hand_in(RAW, facts)
        assert (status, answer["type"]) == (422, "/problems/photo-rights-missing")
        assert [fault["pointer"] for fault in answer["errors"]] == [f"/facts/{name}" for name in missing]


WRONG = [
    ({"alt": {}}, "/facts/alt"), ({"taken": None}, "/facts/taken"), ({"taken": "2999"}, "/facts/taken"),
    ({"place": "Sevilla"}, "/facts/place"), ({"alt": {"es": ""}}, "/facts/alt/es"),
    ({"alt": {"spanish!": "x"}}, "/facts/alt/spanish!"),
]  # fmt: skip


async def test_faults_of_the_facts_have_their_places(api: Api):
    """Words that are missing, a day to come, a fact that nobody asked for."""
    for changes, pointer in WRONG:
        status, answer = await api.hand_in(RAW, {**FACTS, **changes})
        assert (status, answer["type"]) == (400, "/problems/invalid-request")
        assert [fault["pointer"] for fault in answer["errors"]] == [pointer]


FORM_TYPE = "multipart/form-data; boundary=x"


NO_FORMS = [
     (b"", FORM_TYPE, 400), (b"no form", FORM_TYPE, 400), (b"--x--\r\n", FORM_TYPE, 400), (b"--x\r\n\r\n", FORM_TYPE, 400),
     (b'--x\r\nContent-Disposition: form-data; name="photo"\r\n\r\n1\r\n--x--\r\n', FORM_TYPE, 400),
     (b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n--x--\r\n', FORM_TYPE, 400),
     (b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n1\r\n--y--\r\n--x--\r\n", FORM_TYPE, 400),
     (b"--x\r\nno header\r\n\r\n1\r\n--x--\r\n", FORM_TYPE, 400), (b"--x\r\nX: \0\r\n\r\n1\r\n--x--\r\n", FORM_TYPE, 400),
     (b"--x\r\nX: " + 20_000 * b"y" + b"\r\n\r\n1\r\n--x--\r\n", FORM_TYPE, 400),
     (b"", "multipart/form-data", 400), (b"{}", "application/json", 400), (b"[", "application/json", 400), (RAW, "image/jpeg", 415),
]  # fmt: skip


async def test_a_form_that_is_none_is_refused(api: Api):
    """Each with a clear answer, never with a failure of ours."""
    for body, kind, status in NO_FORMS:
        came, answer = await api.post(headers={"Content-Type": kind}, data=body)
        assert came == status, (body[:50], answer)


async def test_the_same_request_twice_is_one_photo(api: Api):
    """With an Idempotency-Key; once it has gone, that is said."""
    headers = {"Idempotency-Key": "once"}
    form = b'--x\r\nContent-Disposition: form-data; name="photo"\r\n\r\n' + RAW + b"\r\n"
    form += (
        b'--x\r\nContent-Disposition: form-data; name="facts"\r\n\r\n' + json.dumps(FACTS).encode() + b"\r\n--x--\r\n"
    )
    first, second = [await api.post(headers={**headers, "Content-Type": FORM_TYPE}, data=form) for _ in range(2)]
    assert first == second
    assert first[0] == 201
    await api.parts.db.execute("DEL", keys.media(first[1]["id"]))
    assert (await api.post(headers={**headers, "Content-Type": FORM_TYPE}, data=form))[0] == 404


async def test_a_guess_finds_nothing(api: Api):
    """Whatever the guess."""
    for guess in ("med_" + "A" * 24, "x", "med_../x", "med_" + "A" * 90):
        assert (await api.look(f"/m/{guess}")).status == 404
