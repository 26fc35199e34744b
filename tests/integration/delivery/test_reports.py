"""Lists of alerts and the fleet's figures, from a real store: nothing is lost between pages, and it takes a few round trips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from structlog.testing import capture_logs

from alertd.common.clock import SystemClock
from alertd.common.ids import new_id
from alertd.model.states import AlertState
from alertd.service.alerts.progress import LOOK, ProgressReports, Wanted
from alertd.service.carriers.carriers import Carriers
from alertd.service.carriers.states import CarrierStates, ChannelCoverage
from alertd.service.delivery.fleet import FleetMetrics
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertAuthor, AlertRecord, TargetFacts, Times
from alertd.store.carriers.limits import Limits
from alertd.store.carriers.logins import Logins
from alertd.store.carriers.numbers import CarrierNumbers
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import BatchKey, pack_ref
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.engine.heartbeats import at_work, taking
from alertd.store.people.subscribers import People
from alertd.store.sharing.webhooks import Hook, Hooks, Tracks

AREA = shapely.to_wkb(shapely.MultiPolygon([shapely.box(-6, 37, -5, 38)]))
MADE_MS = 1_700_000_000_000


@pytest.fixture
def alerts(store: Connection) -> Alerts:
    return Alerts(store)


@pytest.fixture
def reports(store: Connection, alerts: Alerts) -> ProgressReports:
    return ProgressReports(alerts, Work(store), CarrierNumbers(store), store.codec)


async def made(alerts: Alerts, created: int = MADE_MS, **changes: object) -> str:
    """A pending alert that never expires."""
    name = new_id(created)
    values = {
        "id": name, "state": AlertState.PENDING, "org": "default", "kind": "missing-child", "level": "endangered",
        "status": "Actual", "loudness": "loud", "author": AlertAuthor(subject="a"), "external_id": "", "case": name, "times": Times(created=created),
        "expires": 10**15, "rev": 1, "target": TargetFacts(seen=3), "document": b"{}",
    }  # fmt: skip
    assert await alerts.create(AlertRecord(**(values | changes)), AREA)  # type: ignore[arg-type]
    return name


async def all_pages(reports: ProgressReports, wanted: Wanted, limit: int) -> list[list[str]]:
    pages: list[list[str]] = []
    before = None
    while True:
        found, before = await reports.list("default", wanted, before=before, limit=limit)
        pages.append([record.id for record in found])
        if before is None:
            return pages


async def test_alerts_of_one_millisecond_are_all_listed(alerts: Alerts, reports: ProgressReports):
    """A page that ends between alerts of the same moment goes on with the others, each once."""
    names = {await made(alerts) for _ in range(25)} | {await made(alerts, MADE_MS - 1)}
    pages = await all_pages(reports, Wanted(), 10)
    assert [len(page) for page in pages] == [10, 10, 6]
    listed = [name for page in pages for name in page]
    assert set(listed) == names
    assert listed == sorted(listed, reverse=True)


async def test_a_filter_fills_its_page(alerts: Alerts, reports: ProgressReports):
    """What is rare is found on the first page, however many others were made since."""
    rare = [await made(alerts, MADE_MS + i, external_id="cms-7") for i in range(3)]
    for i in range(LOOK + 5):
        await made(alerts, MADE_MS + 100 + i)
    assert await all_pages(reports, Wanted(external_ids=frozenset({"cms-7"})), 3) == [rare[::-1]]
    assert await all_pages(reports, Wanted(external_ids=frozenset({"cms-7"})), 2) == [rare[:0:-1], rare[:1]]
    assert await all_pages(reports, Wanted(external_ids=frozenset({"cms-7"}), since_ms=MADE_MS + 1), 5) == [rare[:0:-1]]
    assert await all_pages(reports, Wanted(state=AlertState.SENT), 5) == [[]]


async def test_a_request_that_was_cut_off_keeps_its_alerts_place(alerts: Alerts, reports: ProgressReports):
    """Taking the same alert in again makes it no younger, so no page repeats it."""
    first = await made(alerts)
    await made(alerts, MADE_MS + 1)
    record = await alerts.get(first)
    assert record is not None
    await alerts.create(replace(record, times=Times(created=MADE_MS + 5)), AREA)
    assert [record.id for record in (await reports.list("default", Wanted(), before=None, limit=9))[0]][-1] == first


async def planned(alerts: Alerts, work: Work, people: int) -> str:
    """An approved alert to this many people by push."""
    name = await made(alerts)
    numbers = np.arange(1, people + 1, dtype=np.uint64)
    assert (await alerts.approve(name, numbers, "b"))[0]
    refs = b"".join(pack_ref(number, 0) for number in range(1, people + 1))
    assert await work.plan(name, 0, people, [(BatchKey(channel="push", language="es"), refs)], last=True) == "ok"
    return name


async def _default() -> list[str]:
    return ["default"]


async def _nobody_at_work() -> dict[str, bool]:
    return {}


async def _no_reviews(_: str) -> list[str]:
    return []


async def _no_seals() -> dict[str, int]:
    return {}


async def test_the_fleet_is_told_of_live_alerts_alone(store: Connection, alerts: Alerts):
    """Figures of references are of live alerts, as their help says, and hundreds of alerts cost a few round trips."""
    work, nobody = Work(store), Carriers([])
    fleet = FleetMetrics(
        alerts,
        work,
        People(store, SystemClock()),
        CarrierStates(
            carriers=nobody,
            logins=Logins(store),
            taking=taking(store),
            limits=Limits(store),
            channel_coverage=ChannelCoverage(nobody, at_work(store), SystemClock()),
            clock=SystemClock(),
        ),
        Hooks(store, Hook),
        Tracks(store),
        SystemClock(),
        _default,
        _no_reviews,
        _nobody_at_work,
        _no_seals,
    )
    for _ in range(60):
        await made(alerts)
    await planned(alerts, work, 3)
    over = await planned(alerts, work, 4)
    assert 'alertd_targeted{channel="push"} 7.0' in (await fleet.metrics()).whole.decode()
    await alerts.step(over, AlertState.CANCELLED)
    await alerts.retire(over, (await alerts.live())[over])
    before = int((await store.nodes.first.info("stats"))["total_reads_processed"])
    text = (await fleet.metrics()).whole.decode()
    assert int((await store.nodes.first.info("stats"))["total_reads_processed"]) - before < 20
    assert 'alertd_targeted{channel="push"} 3.0' in text
    assert 'alertd_alerts{state="pending"} 60.0' in text
    assert 'alertd_alerts{state="cancelled"} 1.0' in text


async def test_one_that_is_damaged_hides_no_other(store: Connection, alerts: Alerts, reports: ProgressReports):
    """Whoever looks for the alert that is to be stopped finds it; of the other the log tells."""
    first, damaged, last = [await made(alerts, MADE_MS + i) for i in range(3)]
    await store.execute("SETRANGE", keys.case(damaged), 20, b"\xff\xff\xff\xff")
    with capture_logs() as logs:
        found, _ = await reports.list("default", Wanted(), before=None, limit=10)
    assert [record.id for record in found] == [last, first]
    assert [(log["event"], log["alert"]) for log in logs] == [("alert.read_failed", damaged)]
