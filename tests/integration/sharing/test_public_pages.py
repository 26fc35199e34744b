"""The public page of an alert: its facts while it is active, nothing of a person afterwards, and none for a Test."""

from __future__ import annotations

import io
from typing import Any

import geopandas
import pytest
import shapely
from aiohttp import web
from lxml import html

from alertd.model.kinds import PurgeReason
from alertd.public import FRESH_S, page_routes
from alertd.service.alerts.approval import submit
from alertd.service.container import Container
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, alert_of, api_of, planned, register, submitted
from tests.integration.sharing.published import over_and_told

CLOCK = web.AppKey("clock", Later)
PAGE = {"page": True}


@pytest.fixture
async def reader(parts: Container, aiohttp_client: Any) -> Any:
    """Somebody without a key."""
    await register(parts, 20)
    app = api_of(parts)
    app[CLOCK] = Later()
    app.add_routes(page_routes(parts.public_alerts, parts.renderer, app[CLOCK]))
    return await aiohttp_client(app)


async def read(reader: Any, path: str, status: int = 200, language: str = "en") -> str:
    """The text of a page, once it is as old as it gets."""
    reader.app[CLOCK].pass_by(FRESH_S + 1)
    answer = await reader.get(path, headers={"Accept-Language": language})
    assert answer.status == status
    assert answer.headers["X-Robots-Tag"] == "noindex, noarchive"
    assert "max-age=2" in answer.headers["Cache-Control"]
    raw: str = await answer.text()
    assert "<script" not in raw
    assert len(raw.encode()) < 50_000
    return raw


async def test_the_page_shows_the_facts_in_the_readers_language(parts: Container, reader: Any, sample: dict[str, Any]):
    """The same facts as the mail; the preview of a link names nobody. It is found under its code in any case."""
    record = await planned(parts, sample, publish=PAGE)
    path = f"/a/{record.chain.public_id}"
    page = html.fromstring(await read(reader, path))
    name = record.alert.case.children[0].name
    assert name is not None
    assert name.public in page.findtext(".//h1")
    assert (page.get("lang"), page.get("dir")) == ("en", "ltr")
    assert "Do not approach" in page.text_content()
    assert "tel:116000" in page.xpath("//a/@href")
    assert "Sevill" in page.text_content()
    assert [name.public in one for one in page.xpath("//head/title/text() | //meta/@content")].count(True) == 0
    arabic = html.fromstring(await read(reader, path.lower(), language="ar, en;q=0.5"))
    assert (arabic.get("lang"), arabic.get("dir")) == ("ar", "rtl")
    assert "آخر مشاهدة" in arabic.text_content()
    assert html.fromstring(await read(reader, f"{path}?lang=de", language="ar")).get("lang") == "de"


@pytest.mark.parametrize(
    ("changes", "tester"),
    [({"publish": {"page": False}}, False), ({"publish": PAGE, "status": "Test"}, True)],
    ids=["not wanted", "a test"],
)
async def test_an_alert_may_have_no_page(
    parts: Container, reader: Any, sample: dict[str, Any], changes: dict[str, Any], tester: bool
):
    if tester:
        await register(parts, 3, first=50, tester=True)
    taken = await submit(parts.intake, parts.approval, alert_of(sample, **changes), ANA)
    record = taken.record if tester else await parts.approval.approve(taken.record.id, BEA)
    stored = await parts.alerts.get(record.id)
    assert stored is not None
    assert (stored.times.start > 0, len(stored.chain.public_id)) == (True, 10)
    assert parts.renderer.link(stored.alert, stored.chain.public_id) is None
    await read(reader, f"/a/{stored.chain.public_id}", 404)
    assert stored.chain.public_id not in await read(reader, "/alerts")


async def test_an_alert_that_waits_has_no_page_yet(parts: Container, reader: Any, sample: dict[str, Any]):
    taken = await submitted(parts, sample, publish=PAGE)
    await read(reader, f"/a/{taken.record.chain.public_id}", 404)


@pytest.mark.parametrize("step", ["stand_down", "close", "cancel", "purge"])
async def test_after_its_end_the_page_contains_nothing_of_a_person(
    parts: Container, reader: Any, sample: dict[str, Any], step: str
):
    """It still answers at the same address, within what an answer is old at most, and says that the alert is over."""
    record = await planned(parts, sample, publish=PAGE)
    path = f"/a/{record.chain.public_id}"
    child = record.alert.case.children[0]
    assert child.name is not None
    personal = [child.name.public, child.name.public.split()[0], *child.clothing.values()]
    for shown in (await read(reader, path), await read(reader, "/alerts"), await read(reader, f"{path}/poster")):
        assert child.name.public in shown
    ended = await getattr(parts.follow_ups, "cancel" if step == "purge" else step)(record.id, BEA, "withdrawn")
    if step == "purge":
        await over_and_told(parts, ended.told_by)
        await parts.purging.purge(record.id, BEA, PurgeReason.RETENTION)
    over = await read(reader, path)
    for shown in (
        over,
        await read(reader, "/alerts"),
        *[await read(reader, path + end) for end in ("?lang=es", "/poster")],
    ):
        assert [one for one in personal if one in shown] == []
    said = {
        "stand_down": "no longer active",
        "close": "has ended",
        "cancel": "withdrawn",
        "purge": "This alert is over.",
    }
    assert said[step] in over
    assert "Real, but it is over" in await verify(reader, record.chain.public_id)


async def test_a_restricted_alert_keeps_its_page_and_names_nobody(
    parts: Container, reader: Any, sample: dict[str, Any]
):
    record = await planned(parts, sample, publish=PAGE)
    path, child = f"/a/{record.chain.public_id}", record.alert.case.children[0]
    assert child.name is not None
    assert child.name.public in await read(reader, path)
    await parts.amendment.restrict(record.id, BEA, "protected")
    page = await read(reader, path)
    assert child.name.public not in page + await read(reader, f"{path}/poster")
    assert "Do not approach" in page


async def test_a_poster_has_two_languages_and_the_link_as_a_qr_code(
    parts: Container, reader: Any, sample: dict[str, Any]
):
    """The page of the alert links to it. The reader chooses both languages."""
    record = await planned(parts, sample, publish=PAGE)
    path = f"/a/{record.chain.public_id}"
    link = f"{parts.renderer.site}{path}"
    assert f'href="{path}/poster?lang=en"' in await read(reader, path)
    poster = html.fromstring(await read(reader, f"{path}/poster?lang=en&also=es"))
    sides = poster.xpath("//div[@class='sides']/div")
    assert [one.get("lang") for one in sides] == ["en", "es"]
    name = record.alert.case.children[0].name
    assert name is not None
    assert name.public in poster.findtext(".//h1")
    assert "tel:116000" in poster.xpath("//a/@href")
    assert poster.xpath("//svg/title/text()") == [link]
    assert link in poster.xpath("//a/@href")
    assert f"{path}/poster?lang=en&also=ar" in poster.xpath("//nav//a/@href")


async def verify(reader: Any, text: str) -> str:
    """The page that answers a pasted text."""
    reader.app[CLOCK].pass_by(FRESH_S + 1)
    answer = await reader.post("/verify", data={"text": text}, headers={"Accept-Language": "en"})
    assert answer.status == 200
    return str(await answer.text())


async def test_a_pasted_text_is_checked(parts: Container, reader: Any, sample: dict[str, Any]):
    """By a code, a link or a whole message. The answer links to the alert's own page."""
    record = await planned(parts, sample, publish=PAGE)
    code, site = record.chain.public_id, parts.renderer.site
    link = f"{site}/a/{code}"
    host = site.partition("://")[2]
    for text in (
        code, code.lower(), link, f"{link}?lang=es", f"{link}.", f"({host}/a/{code})", f"链接{link}。",
        f"MISSING in Sevilla!! See {link}, or https://evil.example/x and share", " ".join(["0" * 10] * 50 + [code]),
    ):  # fmt: skip
        answer = await verify(reader, text)
        assert "Real and active" in answer, text
        assert f'href="{link}?lang=en"' in answer


async def test_a_forged_link_is_not_called_real(parts: Container, reader: Any, sample: dict[str, Any]):
    """A page elsewhere may copy the code of a real alert."""
    record = await planned(parts, sample, publish=PAGE)
    code, site = record.chain.public_id, parts.renderer.site
    host = site.partition("://")[2]
    for text in (
        f"https://evil.example/a/{code}", f"evil.example/a/{code}", f"https://{host}@evil.example/a/{code}",
        f"https://evil.example/{site}/a/{code}", f"https://{host}.evil.example/a/{code}", f"https://evil-{host}/a/{code}",
        f"{site}/a/{code}0", f"{site}/photos/{code}",
    ):  # fmt: skip
        answer = await verify(reader, text)
        assert "Not one of our alerts" in answer, text
        assert code not in answer


async def test_a_text_of_no_alert_is_not_ours(reader: Any):
    for text in ("0" * 10, "nonsense", "<b>", "", "a" * 5000, "\x00"):
        answer = await verify(reader, text)
        assert "Not one of our alerts" in answer
    assert "Not one of" not in await read(reader, "/verify")


async def test_the_list_is_filtered_by_region(parts: Container, reader: Any, sample: dict[str, Any]):
    record = await planned(parts, sample, publish=PAGE)
    assert record.chain.public_id in await read(reader, "/alerts")
    assert record.chain.public_id in await read(reader, "/alerts?region=41091")
    assert record.chain.public_id not in await read(reader, "/alerts?region=11012")


async def on_map(reader: Any, query: str = "") -> geopandas.GeoDataFrame:
    """The map of active alerts, as a program of somebody else reads it."""
    reader.app[CLOCK].pass_by(FRESH_S + 1)
    answer = await reader.get(f"/alerts.geojson{query}")
    assert (answer.status, answer.content_type) == (200, "application/geo+json")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "max-age=2" in answer.headers["Cache-Control"]
    assert "Lucía" not in await answer.text()
    return geopandas.read_file(io.BytesIO(await answer.read()), engine="pyogrio")


@pytest.mark.parametrize("published", ["exact", "regions"])
async def test_the_map_shows_active_alerts_and_no_more_than_cap_does(
    parts: Container, reader: Any, sample: dict[str, Any], published: str
):
    """Other sites read kind, level, link and the published area as GeoJSON, and no name, because they may store it. A drawn area shows only if
    its author publishes it.
    """
    drawn = {"circles": [{"center": [-5.98, 37.39], "radius_km": 2}]}
    record = await planned(parts, sample, publish={**PAGE, "area": published}, target=drawn)
    found = (await on_map(reader)).iloc[0]
    assert found["headline"] == "Missing child in danger"
    assert (found["kind"], found["level"], found["language"]) == ("missing-child", "endangered", "en")
    assert found["url"].endswith(f"/a/{record.chain.public_id}")
    assert found.geometry.is_valid
    assert found.geometry.contains(shapely.Point(-5.98, 37.39))
    assert (found.geometry.area > 0.01) == (published == "regions")  # square degrees: a circle of 2 km has 0.0013
    assert all(one.exterior.is_ccw for one in shapely.get_parts(found.geometry))
    assert (await on_map(reader, "?lang=ar")).iloc[0]["language"] == "ar"
    assert len(await on_map(reader, "?region=11012")) == 0


async def test_the_map_names_no_area_that_is_not_published_and_no_alert_that_ended(
    parts: Container, reader: Any, sample: dict[str, Any]
):
    record = await planned(parts, sample, publish={**PAGE, "area": "none"})
    found = (await on_map(reader)).iloc[0]
    assert (found.geometry, found["area"]) == (None, "")
    await parts.follow_ups.stand_down(record.id, BEA, "Found")
    assert len(await on_map(reader)) == 0
