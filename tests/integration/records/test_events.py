"""What happens to alerts is told as events: in order, each once, ids and codes alone, whatever dies in between."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.common.clock import SystemClock
from alertd.common.errors import Problem
from alertd.common.ids import new_id
from alertd.model.distribution import Track
from alertd.model.kinds import PurgeReason
from alertd.model.states import AlertState, State
from alertd.service.container import Container
from alertd.service.records.events import FACTS, event_of
from alertd.service.records.events import Events as Brings
from alertd.store.alerts.alerts import Alerts
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import When, pack_ref
from alertd.store.engine.connection import Connection
from alertd.store.engine.keys import shard_of
from alertd.store.engine.keys import told_key as told_of
from alertd.store.engine.scripts import RECEIPTS_MS, STALLED_MS
from alertd.store.organisations.paging import Waiting
from alertd.store.records.events import HELD_MS, LONGEST_WAIT_MS, Events, NextRead
from alertd.store.sharing.webhooks import Hook, Hooks, Tracks, Tried
from tests.integration import batches
from tests.integration.acts import ANA, BEA, finish, lease_of, over, planned, register, send, submitted
from tests.integration.batches import AREA, record


async def told(parts: Container) -> list[dict[str, Any]]:
    """All events there are, brought on their way first."""
    assert await parts.events.leads()
    await parts.events.bring()
    batch = await parts.events.read_page("default", None, 1000)
    return [json.loads(event) for _, event in batch.events]


async def _default() -> list[str]:
    return ["default"]


async def test_every_state_of_an_alert_is_told_in_order(parts: Container, sample: dict[str, Any]):
    """From its submission to its purge, also those of the versions that tell of what follows it; and no word of the case."""
    await register(parts, 30)
    alert = await planned(parts, sample)
    assert await send(parts, alert)
    assert await over(parts, alert)
    await parts.stop_control.pause(await planned(parts, sample, external_id="other"), BEA, waits=True, rev=None)
    await parts.amendment.restrict(alert.id, ANA, "asked by the family")
    await parts.follow_ups.stand_down(alert.id, ANA, "found")
    await parts.follow_ups.reopen(alert.id, BEA, "not found")
    await parts.follow_ups.stand_down(alert.id, ANA, "found")
    await parts.follow_ups.close(alert.id, ANA, "found, well", notify=False)
    events = await told(parts)
    own = [(one["type"], one["data"].get("was")) for one in events if one["data"]["alert"] == alert.id]
    assert own == [
        ("alert.pending", None), ("alert.approved", "pending"), ("alert.sending", "approved"),
        *[("alert.progress", None)] * 3, ("alert.sent", "sending"),
        ("alert.restricted", None), ("alert.stood_down", "sent"), ("alert.sending", "stood_down"),
        ("alert.stood_down", "sending"), ("alert.closed", "stood_down"),
    ]  # fmt: skip
    assert "alert.paused" in [one["type"] for one in events]
    assert {"alert.approved", "alert.superseded"} <= {
        one["type"] for one in events if one["data"]["chain"] == alert.id != one["data"]["alert"]
    }
    assert len({one["id"] for one in events}) == len(events)
    assert {name for one in events for name in one["data"]} <= {*FACTS, "chain"}
    text = json.dumps(events, ensure_ascii=False)
    assert not [word for word in ("Lucía", "SE-2026", "cms-", "ana@", "bea@", "found", "family") if word in text]


async def test_what_dies_in_between_loses_nothing_and_tells_nothing_twice(parts: Container, alerts: Alerts):
    """An event that got to the stream and is still with its chain is not brought again."""
    first, second = new_id(1_700_000_000_000), new_id(1_700_000_000_001)
    await alerts.create(record(first), AREA)
    names = ["{v:default}", "{v:default}:marks"]
    kept = Events(parts.db, keep=1000, keep_days=30)
    [chain] = await kept.take_events({first: 0})
    said = json.loads(chain.events[0])
    await parts.db.run("events", names, 0, 1000, 10**9, first, said["n"], event_of(said))  # and then it died
    await alerts.step(first, AlertState.REJECTED)
    await alerts.create(record(second), AREA)
    events = await told(parts)
    assert [(one["data"]["alert"], one["data"]["state"]) for one in events] == [
        (first, "pending"), (first, "rejected"), (second, "pending"),
    ]  # fmt: skip


async def test_a_chain_that_has_nothing_left_to_tell_is_let_go(store: Connection, alerts: Alerts):
    """After a minute and more in which it had nothing; until then a step that was announced may still come."""
    brings = Brings(Events(store, keep=1000, keep_days=30), alerts, SystemClock(), _default, Waiting(store))
    name, began = new_id(1_700_000_000_000), store.skew_ms
    await alerts.mark_live(name, works=False)
    for _ in range(5):
        assert await brings.bring() == 0
        store.skew_ms += 10_000
    await alerts.create(record(name), AREA)
    while await store.execute("ZCARD", told_of(shard_of(name))):
        await brings.bring()
        store.skew_ms += 10_000
    assert store.skew_ms - began >= 50_000 + LONGEST_WAIT_MS
    assert len((await brings.read_page("default", None, 10)).events) == 1
    assert await store.hash_of("{v:default}:marks") == {b"last": b"1"}


async def test_an_event_that_comes_late_is_found(store: Connection, alerts: Alerts):
    """What was announced and had nothing to tell yet is looked at soon again, and more and more rarely, for two minutes."""
    brings = Brings(Events(store, keep=1000, keep_days=30), alerts, SystemClock(), _default, Waiting(store))
    for late_ms in (100, 1_600, 100_000):
        name = new_id(1_700_000_000_000 + late_ms)
        await alerts.mark_live(name, works=False)
        began = store.skew_ms
        while store.skew_ms - began < late_ms:
            assert await brings.bring() == 0
            store.skew_ms += 100
        due = await store.execute("ZSCORE", told_of(shard_of(name)), name)
        await alerts.create(record(name), AREA)
        await store.execute("ZADD", told_of(shard_of(name)), due, name)  # as if it had not been announced once more
        while not await brings.bring():
            store.skew_ms += 100
        assert store.skew_ms - began <= 2 * late_ms + 1_000


async def test_who_takes_over_brings_nothing_again(store: Connection, alerts: Alerts):
    """What another has brought and has not taken from the chain yet is known to be there."""
    kept = Events(store, keep=1000, keep_days=30)
    name = new_id(1_700_000_000_000)
    await alerts.create(record(name), AREA)
    for _ in range(2):
        brings = Brings(kept, alerts, SystemClock(), _default, Waiting(store))
        await brings.bring()
        store.skew_ms += LONGEST_WAIT_MS
    while await store.execute("ZCARD", told_of(shard_of(name))):
        await brings.bring()
        store.skew_ms += LONGEST_WAIT_MS
    assert len((await brings.read_page("default", None, 10)).events) == 1


async def test_what_is_announced_while_it_is_looked_at_is_looked_at_next(store: Connection, alerts: Alerts):
    """Whoever looks at a chain puts off the next look at it; not so where something is about to happen that they did not see."""
    kept = Events(store, keep=1000, keep_days=30)
    name = new_id(1_700_000_000_000)
    await alerts.create(record(name), AREA)
    due = (await kept.due())[name]
    await alerts.mark_live(name, works=False)
    await kept.schedule_reads([NextRead(orgs=("default",), chain=name, held=due.held, wait=LONGEST_WAIT_MS)])
    again = (await kept.due())[name]
    assert again.is_announced
    await kept.schedule_reads([NextRead(orgs=("default",), chain=name, held=again.held, wait=LONGEST_WAIT_MS)])
    assert not await kept.due()


async def test_a_chain_whose_look_never_ended_is_looked_at_by_another(store: Connection, alerts: Alerts):
    """Whoever held it died."""
    kept = Events(store, keep=1000, keep_days=30)
    name = new_id(1_700_000_000_000)
    await alerts.create(record(name), AREA)
    assert name in await kept.due()
    assert not await kept.due()
    store.skew_ms += HELD_MS
    assert name in await kept.due()


async def test_an_event_that_cannot_be_read_keeps_no_other_back(store: Connection, alerts: Alerts):
    """It stays where it is, and what other chains tell is brought."""
    brings = Brings(Events(store, keep=1000, keep_days=30), alerts, SystemClock(), _default, Waiting(store))
    names = [new_id(1_700_000_000_000 + i) for i in range(2)]
    for name in names:
        await alerts.create(record(name), AREA)
    told_key = f"{{a:{names[0]}}}:told"
    raw = await store.execute("LINDEX", told_key, 0)
    await store.execute("LSET", told_key, 0, raw[:-1] + b',"step":5}')  # no text
    assert await brings.bring() == 1
    [(_, event)] = (await brings.read_page("default", None, 10)).events
    assert json.loads(event)["data"]["alert"] == names[1]
    assert await store.execute("LLEN", told_key) == 1


async def test_a_clock_set_back_holds_nothing_up(store: Connection, alerts: Alerts):
    """A chain that was to be looked at in a minute of a clock that is an hour behind now is looked at."""
    brings = Brings(Events(store, keep=1000, keep_days=30), alerts, SystemClock(), _default, Waiting(store))
    name = new_id(1_700_000_000_000)
    await alerts.create(record(name), AREA)
    store.skew_ms += 3_600_000
    assert await brings.bring() == 1
    store.skew_ms -= 3_600_000
    await brings.bring()
    store.skew_ms += LONGEST_WAIT_MS
    await brings.bring()
    assert await store.execute("ZCARD", told_of(shard_of(name))) == 0


async def test_a_cursor_leads_on_from_where_it_was(parts: Container, alerts: Alerts):
    """Page by page, also later, and to nothing that was there before."""
    names = [new_id(1_700_000_000_000 + i) for i in range(5)]
    for name in names[:4]:
        await alerts.create(record(name), AREA)
    assert len(await told(parts)) == 4
    page = await parts.events.read_page("default", None, 3)
    assert (len(page.events), page.more) == (3, True)
    rest = await parts.events.read_page("default", page.cursor, 3)
    assert (len(rest.events), rest.more) == (1, False)
    assert (await parts.events.read_page("default", rest.cursor, 3)).events == []
    await alerts.create(record(names[4]), AREA)
    await told(parts)
    [(_, event)] = (await parts.events.read_page("default", rest.cursor, 3)).events
    assert json.loads(event)["data"]["alert"] == names[4]
    assert (await parts.events.read_page("other", None, 3)).events == []


async def test_a_cursor_whose_next_event_is_gone_is_told_so(parts: Container, store: Connection):
    """By count or by age; one of another store, too. The last cursor before the oldest event still leads on."""
    names = ["{v:default}", "{v:default}:marks"]

    async def add(*numbers: int, keep: int = 100) -> None:
        flat = [part for number in numbers for part in ("c", number, b"{}")]
        await store.run("events", names, store.skew_ms, keep, 60_000, *flat)

    await add(*range(1, 7))
    start = await parts.events.read_page("default", None, 1)
    await add(keep=3)
    with pytest.raises(Problem) as gone:
        await parts.events.read_page("default", start.cursor, 10)
    assert gone.value.status == 410
    assert [cursor for cursor, _ in (await parts.events.read_page("default", "e3", 10)).events] == ["e4", "e5", "e6"]
    with pytest.raises(Problem) as foreign:
        await parts.events.read_page("default", "e7", 10)
    assert foreign.value.status == 410
    store.skew_ms += 60_001
    await add()
    page = await parts.events.read_page("default", None, 10)
    assert (page.events, page.cursor) == ([], "e6")
    assert (await parts.events.read_page("default", page.cursor, 10)).events == []


async def test_one_process_brings_events(parts: Container, store: Connection):
    """Another does as soon as that one is gone."""
    kept = Events(store, keep=1000, keep_days=30)
    assert await parts.events.leads()
    assert not await kept.leads("another", 1000)
    await store.execute("DEL", "{m}:herald")  # as when its lease has ended
    assert await kept.leads("another", 1000)
    assert not await parts.events.leads()


async def test_events_are_read_over_http(parts: Container, client: Any, sample: dict[str, Any]):
    """A page as JSON, and a stream that goes on where it is told to; a key sees what its organisation's alerts did."""
    await register(parts, 30)
    _, token = await parts.access.create(org="default", subject="r", scopes=frozenset({"alerts:read"}))
    _, foreign = await parts.access.create(org="other", subject="r", scopes=frozenset({"alerts:read"}))
    headers = {"Authorization": f"Bearer {token}"}
    taken = await submitted(parts, sample)
    await told(parts)
    page = await (await client.get("/v1/events", headers=headers)).json()
    [event] = page["events"]
    assert (event["type"], event["data"]["alert"], event["data"]["rev"]) == ("alert.pending", taken.record.id, 1)
    assert (await client.get("/v1/events", headers={"Authorization": f"Bearer {foreign}"})).status == 200
    assert (await client.get("/v1/events", params={"cursor": "e1f"}, headers=headers)).status == 410
    assert (await client.get("/v1/events", params={"cursor": "zz"}, headers=headers)).status == 400
    streamed = {**headers, "Accept": "text/event-stream", "Last-Event-ID": page["cursor"]}
    async with client.get("/v1/events", headers=streamed) as answer:
        await parts.approval.reject(taken.record.id, ANA, "x")
        await told(parts)
        lines = [(await answer.content.readline()).decode().strip() for _ in range(3)]
    assert lines[:2] == ["id: e2", "event: alert.rejected"]
    assert json.loads(lines[2].removeprefix("data: "))["data"]["was"] == "pending"


async def test_a_purged_case_leaves_ids_in_its_events(parts: Container, sample: dict[str, Any]):
    """What is left of them says no more than what was there before: ids, states and codes."""
    await register(parts, 30)
    alert = await planned(parts, sample)
    await parts.follow_ups.close(alert.id, ANA, "found", notify=False)
    await parts.purging.purge(alert.id, ANA, PurgeReason.RETENTION)
    events = [one for one in await told(parts) if one["data"]["alert"] == alert.id]
    assert events[-1]["type"] == "alert.purged"
    values = {value for one in events for name, value in one["data"].items() if name not in {"alert", "chain", "rev"}}
    assert values <= {*map(str, AlertState), "Actual", "missing-child"}


def types(events: list[dict[str, Any]], alert_id: str) -> list[tuple[str, int | None]]:
    """What is told of an alert, with how far it was where that is said."""
    return [(one["type"], one["data"].get("percent")) for one in events if one["data"]["alert"] == alert_id]


async def test_how_far_it_is_is_told_once_each(parts: Container, alert_id: str, work: Work):
    """At half, nine tenths and all of those that were to be told; what went in one leap is told all the same."""
    await batches.planned(work, alert_id, 1200)
    start = len(await told(parts))
    while lease := await lease_of(work, alert_id, "push"):
        await work.gate(lease, [], lease.rows, batches.CARRIER)
        await work.end(lease, batches.accepted(lease.rows), ())
        await finish(work, alert_id)
        await finish(work, alert_id)
    events = types((await told(parts))[start:], alert_id)
    assert events == [
        ("alert.progress", 50), ("alert.progress", 90), ("alert.progress", 100), ("alert.sent", None),
    ]  # fmt: skip


async def test_what_stalls_is_told_and_what_goes_on_again(
    parts: Container, store: Connection, alert_id: str, work: Work
):
    """A minute in which nothing got its end although something is due, once; not while it is halted on purpose."""
    await batches.planned(work, alert_id, 10)
    await parts.alerts.pause(alert_id, waits=True, by="b", rev=None)
    for _ in range(3):
        await finish(work, alert_id)
        store.skew_ms += STALLED_MS
    await parts.alerts.pause(alert_id, waits=False, by="b", rev=None)
    for _ in range(3):
        await finish(work, alert_id)
        store.skew_ms += STALLED_MS // 2 + 1
    await finish(work, alert_id)
    lease = await lease_of(work, alert_id, "push")
    assert lease
    await work.gate(lease, [], lease.rows[:1], batches.CARRIER)
    await work.end(lease, batches.accepted(lease.rows[:1]), lease.rows[1:])
    await finish(work, alert_id)
    words = [word for word, _ in types(await told(parts), alert_id)]
    assert words[-4:] == ["alert.paused", "alert.resumed", "alert.stalled", "alert.recovered"]


async def test_what_is_leased_and_waits_stalls(parts: Container, store: Connection, alert_id: str, work: Work):
    """A worker has all that is left in its hands, and its carrier takes none for a minute: no queue holds it, and it is told."""
    await batches.planned(work, alert_id, 10)
    lease = await lease_of(work, alert_id, "push")
    for _ in range(3):
        await work.renew([lease])
        await finish(work, alert_id)
        store.skew_ms += STALLED_MS
    assert [word for word, _ in types(await told(parts), alert_id)][-1] == "alert.stalled"
    await work.gate(lease, [], lease.rows, batches.CARRIER)
    await work.end(lease, batches.accepted(lease.rows), ())
    assert await finish(work, alert_id) == "done"
    assert [word for word, _ in types(await told(parts), alert_id)][-2:] == ["alert.progress", "alert.sent"]


async def test_what_waits_for_its_ring_does_not_stall(parts: Container, store: Connection, alert_id: str, work: Work):
    """Its time has not come."""
    refs = b"".join(pack_ref(number, 0) for number in range(1, 11))
    later = When(delays_ms={batches.PUSH.ring: 60 * STALLED_MS})
    assert await work.plan(alert_id, 0, 10, [(batches.PUSH, refs)], last=True, when=later) == "ok"
    for _ in range(4):
        await finish(work, alert_id)
        store.skew_ms += STALLED_MS
    assert "alert.stalled" not in [word for word, _ in types(await told(parts), alert_id)]


async def test_late_reports_are_told_of_together(parts: Container, sample: dict[str, Any]):
    """A minute after the first of them, how many references are in which state; then a minute after the next."""
    await register(parts, 30)
    alert = await planned(parts, sample, channels=["sms"])
    assert await send(parts, alert, "sms")
    assert await over(parts, alert)
    for row in range(3):
        assert (await parts.work.receipt(alert.id, row, "sms", State.DELIVERED, 0, [State.ACCEPTED])).old
    assert "alert.receipts" not in [word for word, _ in types(await told(parts), alert.id)]
    parts.db.skew_ms += RECEIPTS_MS
    [summary] = [one["data"] for one in await told(parts) if one["type"] == "alert.receipts"]
    assert {name: summary.get(name) for name in ("targeted", "accepted", "delivered", "failed", "percent")} == {
        "targeted": 30, "accepted": 27, "delivered": 3, "failed": None, "percent": None,
    }  # fmt: skip
    assert (await parts.work.receipt(alert.id, 3, "sms", State.FAILED, 1, [State.ACCEPTED])).old
    parts.db.skew_ms += RECEIPTS_MS
    assert [one["data"]["failed"] for one in (await told(parts))[-1:]] == [1]


async def test_events_of_a_cluster_come_together(cluster: Connection):
    """Chains are in slots of their own, and so is the stream."""
    alerts, kept = Alerts(cluster), Events(cluster, keep=1000, keep_days=30)
    names = [new_id(1_700_000_000_000 + i) for i in range(20)]
    for name in names:
        await alerts.create(record(name), AREA)
    brings = Brings(kept, alerts, SystemClock(), _default, Waiting(cluster))
    assert await brings.leads()
    assert await brings.bring() == 20
    batch = await brings.read_page("default", None, 100)
    assert {json.loads(event)["data"]["alert"] for _, event in batch.events} == set(names)
    hooks = Hooks(cluster, Hook)
    hook = Hook(id="wh_1", org="default", url="https://cases.example/", types=(), secrets=(), by="a", made=1)
    await hooks.put(hook, queued=0)
    assert await hooks.queue(hook, 0, 20, [1, 2], 1)
    [due, _] = await hooks.due(hook, 1, 10)
    assert await hooks.settle(hook, due, Tried(word="again", status=410, due=2, off="gone", event=b"{}"), 1)
    assert (await kept.page("default", 20, 10)).last == 21
    assert await hooks.remove("default", "wh_1")
    tracks, owed = Tracks(cluster), Track(owed=5)
    assert await tracks.put("default", names[0], "dis_1", owed, seen=b"", now_ms=1, events=[b"{}"])
    assert not await tracks.put("default", names[0], "dis_1", Track(), seen=b"", now_ms=1)
    assert (await tracks.holders(["default", "other"])) == {"default": [("dis_1", names[0], 5)], "other": []}
    assert (await kept.page("default", 21, 10)).last == 22
    assert await tracks.put(
        "default", names[0], "dis_1", Track(), seen=(await tracks.get("default", names[0], "dis_1"))[1], now_ms=1
    )
    assert await tracks.of_alert("default", names[0]) == {"dis_1": Track()}
    assert (await tracks.holders(["default"]))["default"] == []
