"""Photos from the hand that gives them to the phones that show them: whose they are, who may see them, and when they are gone."""

from __future__ import annotations

import io
import json
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image
from redis.asyncio import Redis

from alertd.alerts import NO_LONGER_SHOWN, SHOWN, AlertState
from alertd.api import create_app
from alertd.app import Parts, opened
from alertd.cases import PhotoFacts
from alertd.clock import SystemClock
from alertd.documents import Alert
from alertd.errors import Problem
from alertd.service.access import Credential
from alertd.service.media import LOOKED_S
from alertd.store import keys
from channels.fetching import Fetcher
from channels.sandbox import Sandbox
from tests.integration.acts import ANA, BEA, alert_of, photo, register, submitted
from tests.integration.conftest import settings_for
from tests.pictures import drawn, moving, read, written

FACTS = {
    "source": "the child's mother",
    "taken": "2026-08",
    "rights": "consent of both parents",
    "alt": {"es": "Lucía"},
}
RAW = written(drawn())
ELSEWHERE = replace(BEA, org="elsewhere")


class Later(SystemClock):
    """The machine's clock, and what a test lets pass by."""

    passed_s = 0.0

    def pass_by(self, seconds: float) -> None:
        self.passed_s += seconds

    def now_ms(self) -> int:
        return super().now_ms() + int(self.passed_s * 1000)

    def monotonic(self) -> float:
        return super().monotonic() + self.passed_s


@dataclass
class Pages:
    """A web server of photos at this machine."""

    port: int
    trust: ssl.SSLContext
    photos: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    """photos.example."""
    authority, trust, own = (
        trustme.CA(),
        ssl.create_default_context(),
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
    )
    authority.configure_trust(trust)
    authority.issue_cert("photos.example").configure_cert(own)

    async def serve(request: web.Request) -> web.Response:
        made.asked.append(request.path)
        return web.Response(body=made.photos[request.path])

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=own)
    made = Pages(int(server.port or 0), trust)
    yield made
    await server.close()


@pytest.fixture
async def parts(redis, codec, sandbox: Sandbox, pages: Pages) -> AsyncIterator[Parts]:
    """Everything a process has; for its fetcher this machine is the public internet, and its clock can be put forward."""

    async def this_machine(_host: str) -> list[str]:
        return ["127.0.0.1"]

    world = {"resolve": this_machine, "is_allowed": "127.0.0.1".__eq__, "ports": frozenset({pages.port})}
    fetcher = Fetcher(**world, trust=pages.trust)
    async with opened(settings_for(sandbox), redis, codec) as made:
        yield replace(made, library=made.regions.library, fetcher=fetcher, clock=Later())


def showing(sample: dict[str, Any], *media: str, alt: dict[str, str] | None = None) -> dict[str, Any]:
    """The sample's case, its child with these photos."""
    photos = [{"media": one, "alt": alt or {}} for one in media]
    child = {**sample["case"]["children"][0], "photos": photos}
    return {**sample["case"], "children": [child]}


async def standing(parts: Parts, media: str, who: Credential | None = None) -> int:
    """The status of a look at a photo."""
    try:
        return 200 if read(await parts.photos.show(media, "push", who)) else 0
    except Problem as problem:
        return problem.status


async def approved(parts: Parts, sample: dict[str, Any], *media: str, **changes: Any) -> str:
    taken = await submitted(parts, sample, case=showing(sample, *media), **changes)
    return (await parts.approval.approve(taken.record.id, BEA)).id


async def test_the_public_sees_a_photo_while_its_alert_is_told(parts: Parts, sample: dict[str, Any]):
    """Not when it was handed in, not while the alert waits for its second person; then everyone; after the alert nobody."""
    await register(parts, 30)
    media = await photo(parts)
    assert await standing(parts, media) == 404
    taken = await submitted(parts, sample, case=showing(sample, media))
    assert await standing(parts, media) == 404
    await parts.approval.approve(taken.record.id, BEA)
    assert await standing(parts, media) == 200
    await parts.approval.cancel(taken.record.id, BEA, "found")
    parts.clock.pass_by(LOOKED_S)
    assert await standing(parts, media) == 410
    assert await standing(parts, media, ANA) == 410


async def test_a_draft_shows_its_photo_to_those_who_work_on_it(parts: Parts, sample: dict[str, Any]):
    """A key that may read or write alerts of the organisation, and no other."""
    media = await photo(parts)
    assert await standing(parts, media, ANA) == 200
    await parts.intake.submit(alert_of(sample, status="Test", case=showing(sample, media)), ANA, draft=True)
    assert await standing(parts, media, BEA) == 200
    assert await standing(parts, media) == 404
    assert await standing(parts, media, ELSEWHERE) == 404
    assert await standing(parts, media, replace(BEA, scopes=frozenset({"subscribers:write"}))) == 404


async def test_every_state_of_an_alert_says_what_becomes_of_its_photo(parts: Parts, sample: dict[str, Any]):
    """Shown, gone, or not yet shown: by the table of states, those to come too."""
    await register(parts, 30)
    media = await photo(parts)
    taken = await submitted(parts, sample, case=showing(sample, media))
    for state in AlertState:
        await parts.db.execute("HSET", keys.of_chain(taken.record.id, "version", taken.record.id), "state", str(state))
        parts.clock.pass_by(LOOKED_S)
        expected = 200 if state in SHOWN else 410 if state in NO_LONGER_SHOWN else 404
        assert (state, await standing(parts, media)) == (state, expected)


async def test_an_alert_past_its_end_shows_nothing(parts: Parts, sample: dict[str, Any]):
    """Also when nobody has noted yet that it has expired."""
    await register(parts, 30)
    media = await photo(parts)
    alert_id = await approved(parts, sample, media)
    past = parts.clock.now_ms() - 1
    await parts.db.execute("HSET", keys.of_chain(alert_id, "version", alert_id), "expires", past)
    assert await standing(parts, media) == 410


async def test_a_rush_of_phones_costs_the_store_one_look_a_second(parts: Parts, sample: dict[str, Any]):
    """Everyone who is told asks at once; what was shown a moment ago is shown again, for a second."""
    await register(parts, 30)
    media = await photo(parts)
    await approved(parts, sample, media)
    first = await parts.photos.show(media, "push")
    await parts.db.execute("DEL", keys.media(media))
    assert await parts.photos.show(media, "push") == first
    parts.clock.pass_by(LOOKED_S)
    assert await standing(parts, media) == 404


async def test_one_alert_that_is_told_is_enough(parts: Parts, sample: dict[str, Any]):
    """A photo that a second alert of the case shows stays when the first is cancelled."""
    await register(parts, 30)
    media = await photo(parts)
    first = await approved(parts, sample, media)
    await approved(parts, sample, media)
    await parts.approval.cancel(first, BEA, "wrong area")
    assert await standing(parts, media) == 200


async def test_a_photo_dies_with_the_key_of_its_case(parts: Parts, sample: dict[str, Any]):
    """Nothing but that key opens it: not the master key, and no copy of it that was left."""
    await register(parts, 30)
    media = await photo(parts)
    before = await parts.db.hash_of(keys.media(media))
    alert_id = await approved(parts, sample, media)
    record = await parts.alerts.get(alert_id)
    after = await parts.db.hash_of(keys.media(media))
    assert before[b"key"] != after[b"key"]
    assert await parts.db.execute("DEL", keys.case(record.case)) == 1
    assert await standing(parts, media) == 404
    with pytest.raises(Exception, match="does not open"):
        parts.db.codec.master.open(after[b"key"], keys.media(media))


async def test_no_pixel_and_no_word_is_in_the_store_in_clear(parts: Parts):
    """Neither picture nor facts."""
    media = await photo(parts)
    fields = await parts.db.hash_of(keys.media(media))
    assert {b"push", b"mail", b"page", b"about", b"key"} < fields.keys()
    assert not [value for value in fields.values() if b"JFIF" in value or b"mother" in value]


async def test_a_photo_that_nobody_uses_is_gone_in_a_day(parts: Parts, sample: dict[str, Any]):
    """Taken by an alert it stays for as long as that lives, and 90 days."""
    await register(parts, 30)
    media = await photo(parts)
    day = 86_400_000
    assert 0.99 * day < await parts.db.execute("PTTL", keys.media(media)) <= day
    assert await parts.db.execute("ZCARD", keys.org("default", "media")) == 1
    await approved(parts, sample, media)
    assert 90 * day < await parts.db.execute("PTTL", keys.media(media)) < 92 * day
    assert await parts.db.execute("ZCARD", keys.org("default", "media")) == 0


async def test_a_draft_that_is_given_more_time_keeps_its_photo_for_longer(parts: Parts, sample: dict[str, Any]):
    """What moves the end of an alert moves that of its photos."""
    media = await photo(parts)
    draft = alert_of(sample, status="Test", case=showing(sample, media))
    taken = await parts.intake.submit(draft, ANA, draft=True)
    later = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    await parts.intake.amend(taken.record, {"expires": later}, ANA)
    assert await parts.db.execute("PTTL", keys.media(media)) > 109 * 86_400_000


async def test_a_dry_run_takes_no_photo(parts: Parts, sample: dict[str, Any]):
    """It answers the same and does nothing."""
    media = await photo(parts)
    draft = alert_of(sample, status="Test", case=showing(sample, media))
    await parts.intake.submit(draft, ANA, dry_run=True)
    assert not await parts.db.execute("EXISTS", keys.media_alerts(media))


async def test_a_photo_belongs_to_one_case_and_one_organisation(parts: Parts, redis: Redis, sample: dict[str, Any]):
    """An unknown id, another organisation's photo and one of another case are refused at their places, and nothing is kept."""
    await register(parts, 30)
    mine, theirs = await photo(parts), await photo(parts, ELSEWHERE)
    await approved(parts, sample, mine)
    other = {**showing(sample, "med_unknown", theirs, mine), "number": "SE-2026-118"}
    before = await redis.dbsize()
    with pytest.raises(Problem) as refusal:
        await submitted(parts, sample, case=other)
    assert refusal.value.slug == "photo-unreadable"
    assert [fault.pointer for fault in refusal.value.faults] == [f"/case/children/0/photos/{n}/media" for n in range(3)]
    assert await redis.dbsize() == before


async def test_words_of_a_photo_go_with_it_unless_the_alert_has_its_own(parts: Parts, sample: dict[str, Any]):
    """The alert as it is kept says what each photo shows."""
    media = await photo(parts)
    for alt, told in ({}, FACTS["alt"]), ({"en": "Lucía in a red coat"}, {"en": "Lucía in a red coat"}):
        draft = alert_of(sample, status="Test", case=showing(sample, media, alt=alt))
        taken = await parts.intake.submit(draft, ANA, draft=True)
        [kept] = Alert.model_validate_json(taken.record.document).case.children[0].photos
        assert kept.alt == told


async def test_too_many_photos_without_an_alert_are_refused(parts: Parts):
    """Who hands in and never alerts cannot fill the store; another organisation's do not count."""
    waiting = {f"med_{n}": parts.clock.now_ms() + 60_000 for n in range(parts.settings.media.waiting)}
    await parts.db.nodes.first.zadd(keys.org("default", "media"), waiting)
    with pytest.raises(Problem) as refusal:
        await photo(parts)
    assert refusal.value.status == 429
    await photo(parts, ELSEWHERE)
    await parts.db.nodes.first.zadd(keys.org("default", "media"), dict.fromkeys(waiting, 1))  # they are gone by now
    await photo(parts)


@pytest.mark.parametrize(
    "taken", ["2026-13", "2026-02-30", "26-08-01", "2026-8-1", "yesterday", "2026-08-14T10:00:00Z", ""]
)
def test_a_day_is_one_of_the_calendar(taken: str):
    """A day, a month or a year that there is."""
    with pytest.raises(ValueError, match="day"):
        PhotoFacts.model_validate_json(json.dumps({**FACTS, "taken": taken}))


@dataclass
class Api:
    """A client of the API, and Ana's key."""

    parts: Parts
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
async def api(parts: Parts, pages: Pages, aiohttp_client) -> Api:
    """The API over the empty store."""
    client = await aiohttp_client(create_app(parts.services(_yes, _nothing, lambda: True)))
    _, key = await parts.access.create(org="default", subject=ANA.subject, scopes=frozenset({"alerts:write"}))
    return Api(parts, client, key, pages)


async def _yes() -> bool:
    return True


async def _nothing() -> bytes:
    return b""


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
    await api.parts.approval.cancel(alert_id, BEA, "found")
    api.parts.clock.pass_by(LOOKED_S)
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


HTML = b"<!doctype html><html><body>not found</body></html>"


@pytest.mark.parametrize("raw", [HTML, b"", moving("GIF", 200), moving("PNG"), RAW[:500]])
async def test_what_is_no_photo_is_refused(api: Api, redis: Redis, raw: bytes):
    """A page named .jpg, nothing, a picture that moves, half a photo: with the reason, and nothing is kept."""
    before = await redis.dbsize()
    api.pages.photos["/p.jpg"] = raw
    for (status, answer), pointer in (await api.hand_in(raw), "/photo"), (await api.by_url("/p.jpg"), "/url"):
        assert (status, answer["type"]) == (422, "/problems/photo-unreadable")
        assert [fault["pointer"] for fault in answer["errors"]] == [pointer]
    assert await redis.dbsize() == before


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
