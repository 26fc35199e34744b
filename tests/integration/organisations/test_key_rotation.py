"""The master key rotates while processes read and write: nothing is lost, and the old key opens nothing any more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis

from alertd.common.errors import Problem
from alertd.service.container import Container
from alertd.service.records.audit import DONE, Noted
from alertd.store.carriers.tests import CarrierTest, CarrierTestQueue
from alertd.store.engine import keys
from alertd.store.engine.codec import MOST_SEALS, NEXT_KEY, Codec, Keys, SealError, mark_of, next_key, write_key
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.master_key.resealing import SEALED, Resealing
from alertd.store.master_key.state import SIGN_MS, MasterKeys, Phase
from alertd.store.organisations.organisations import SERVICE, OrganisationStore, StoredOrganisation, TextStore
from alertd.store.organisations.paging import Paged, Rotas, StoredRota
from alertd.store.organisations.sessions import Away, SessionStore
from alertd.store.records.case_keys import Cases
from alertd.store.sharing.webhooks import DistributorHook, Hook, Hooks
from tests.integration.acts import (
    ANA,
    api_of,
    employ,
    photo,
    planned,
    register,
    send,
    submitted,
)
from tests.integration.marks import marked
from tests.integration.organisations.rotations import (
    Process,
    later,
    lease_ends,
    rotated,
    rounds,
)


async def everything(parts: Container, sample: dict[str, Any]) -> str:
    """One of everything that is sealed under the master key. Returns the id of an alert that waits."""
    db = parts.db
    await register(parts, 30)
    await employ(parts)
    await parts.access.create(org="default", subject="a", scopes=frozenset({"admin"}))
    await OrganisationStore(db).put("default", StoredOrganisation(rev=1, document='{"name":"Centro"}'), seen=b"")
    await Rotas(db).put("default", StoredRota(rev=1, document="{}", by="a", at=1), seen=b"")
    await TextStore(db).add("default", [(("missing-child", "sms", "es", "body"), "x")], after=0)
    common: dict[str, Any] = {
        "org": "default",
        "url": "https://a.example/",
        "types": (),
        "secrets": (("s", 0),),
        "by": "a",
        "made": 1,
    }
    await Hooks(db, Hook).put(Hook(id="hook", **common), queued=0)
    document = '{"name":"Screens","url":"https://a.example/"}'
    await Hooks(db, DistributorHook).put(DistributorHook(id="screens", document=document, **common), queued=0)
    await SessionStore(db).send_away("state", Away(made=1, browser="b", nonce="n", verifier="v", back="/"), 600_000)
    pending = await submitted(parts, sample)
    assert await parts.waiting.put(pending.record.id, Paged(since=1, due=2), seen=b"") in {"done", "over"}
    await planned(parts, sample)
    dropped = await planned(parts, {**sample, "case": {**sample["case"], "number": "SE-2026-999"}})
    case = dropped.case
    await Cases(db).drop(case, await Cases(db).held(case))
    await photo(parts)
    number = await parts.audit.begin(ANA, "alert.create", "01ABC")
    await parts.audit.end(ANA, "alert.create", DONE, Noted(object="01ABC"), of=number)
    await parts.stop_control.stop(SERVICE, ANA, "a drill")
    return pending.record.id


async def test_the_old_key_opens_nothing_afterwards_and_the_new_key_everything(
    process: Process, directory: Path, redis: Redis, sample: dict[str, Any]
):
    """Every kind of sealed value is sealed anew; only the audit's entries stay, which its own key opens."""
    old = Keys.load(directory)
    async with process() as api, process() as worker:
        waits = await everything(api, sample)
        before = await marked(redis, mark_of(old.master))
        assert set(before) == set(SEALED) - {"{m}:secrets", "{m}:carrier-tests", "{m}:sign-ups"}
        await rotated(api, worker)
        assert await marked(redis, mark_of(old.master)) == {}
        new = Keys.load(directory)
        assert new.master != old.master
        assert not (directory / NEXT_KEY).exists()
        assert {
            name: found for name, found in (await marked(redis, mark_of(new.master))).items() if name in before
        } == before
        for parts in (api, worker):
            assert parts.db.codec.master.names == ((await redis.get(keys.KEY_CHECK)).decode(),)
            assert (await parts.registry.get("p3")).addresses
            assert (await parts.alerts.get(waits)).author.subject == ANA.subject
            assert SERVICE in (await parts.stop_control.standing()).stops
    async with process() as fresh:
        assert (await fresh.registry.get("p29")).addresses
        assert await TextStore(fresh.db).read_revision("default", 1)
        assert (await fresh.audit.verify("default", None)).broken is None
        assert [one.act for one in await fresh.audit.page("default", before=None, limit=2)] == ["alert.create"] * 2
        await lease_ends(fresh)
        await rotated(fresh)
        assert "{m}:secrets" in await marked(redis, mark_of(Keys.load(directory).master))
        assert (await fresh.audit.verify("default", None)).broken is None
    async with process() as last:
        assert (await last.audit.verify("default", None)).broken is None


async def test_an_old_copy_does_not_open_with_the_new_keys(process: Process, directory: Path, redis: Redis):
    """Somebody has last month's append-only file and this month's keys."""
    async with process() as api:
        await register(api, 3)
        await api.audit.begin(ANA, "alert.create", "01ABC")
        copy = await redis.get(keys.subscriber(1))
        [(_, entry)] = await redis.xrange(keys.org_audit("default"))
        await rotated(api)
    codec = Codec(Keys.load(directory))
    with pytest.raises(SealError):
        codec.master.open(copy[4:], keys.subscriber(1))
    with pytest.raises(SealError):
        codec.audit.open(entry[b"said"], keys.org_audit("default"))


async def test_a_process_without_the_new_key_keeps_it_from_being_used(
    process: Process, directory: Path, tmp_path: Path
):
    """It would find people it cannot read. As soon as it has the key the rotation goes on."""
    elsewhere = tmp_path / "elsewhere.key"
    async with process() as api, process(url="redis://elsewhere", next_master_key_file=elsewhere) as worker:
        await register(api, 3)
        current = api.db.codec.check_value
        await api.key_rotation.start()
        for _ in range(3):
            await api.key_rotation.round()
            with structlog.testing.capture_logs() as logs:
                await worker.key_rotation.watch.beat()
        standing = await api.key_rotation.standing()
        assert (standing.rotation.phase, standing.waiting) == (Phase.SPREADING, 1)
        assert (await api.db.execute("GET", keys.KEY_CHECK)).decode() == current == api.db.codec.check_value
        assert logs == [], "it is said once, not every second"
        write_key(elsewhere, next_key(directory / NEXT_KEY) or b"")
        await rounds(api, worker)
        assert (await worker.registry.get("p2")).addresses


async def test_a_process_that_has_gone_is_not_waited_for(process: Process):
    """One that ended said so; one that was killed is silent."""
    async with process() as api:
        async with process():
            assert len(await MasterKeys(api.db).processes()) == 2
        assert len(await MasterKeys(api.db).processes()) == 1
        await MasterKeys(api.db).beat("killed", api.db.codec.check_value, {})
        await api.key_rotation.start()
        await api.key_rotation.round()
        assert (await api.key_rotation.standing()).waiting == 1
        api.db.skew_ms += SIGN_MS + 1_000
        await rounds(api)


async def test_nobody_writes_under_the_old_key_while_it_is_destroyed(process: Process):
    """The walk waits until every process seals with the new key, and for what was under way then."""
    async with process() as api, process() as worker:
        await api.key_rotation.start()
        await rounds(api, worker, until=Phase.SEALING)
        for _ in range(5):
            await api.key_rotation.round()
            await worker.key_rotation.watch.beat()
        assert (await api.key_rotation.standing()).rotation.found.done == 0
        assert worker.db.codec.check_value == api.db.codec.check_value
        later(api, worker)
        await rounds(api, worker)


async def test_writers_who_come_between_lose_nothing(process: Process, sample: dict[str, Any]):
    """People change while the walk goes over them, and an alert is sent to them: each has what was written last, and each is notified once."""
    async with process() as api, process() as worker:
        await register(api, 300)
        over = asyncio.Event()

        async def write(parts: Container, first: int) -> None:
            turn = 0
            while not over.is_set() or turn < 3:
                turn += 1
                await register(parts, 100, first=first, languages=["es", "en", "de", "fr"][: 1 + turn % 4])
            await register(parts, 100, first=first, languages=["pt"])

        writers = [asyncio.create_task(write(parts, first)) for parts, first in ((api, 0), (worker, 100))]
        record = await planned(worker, sample)
        sending = asyncio.create_task(send(worker, record))
        await rotated(api, worker)
        over.set()
        await asyncio.gather(*writers)
        await sending
        await rounds(api, worker)
        people = [await worker.registry.get(f"p{i}") for i in range(300)]
        assert [list(person.languages) for person in people] == [["pt"]] * 200 + [["es"]] * 100
        counts = (await api.work.counts_of([record.id]))[0]["push"]
        assert counts["accepted"] == 300, counts


async def test_another_process_goes_on_where_one_was_killed(process: Process):
    """What it had sealed anew is not done again, and the pass goes on at its cursor."""
    async with process() as worker:
        async with process() as api:
            await register(api, 1_500)
            await api.key_rotation.start()
            await rounds(api, worker, until=Phase.SEALING)
            later(api, worker)
            old = api.db.codec.master.mark((await MasterKeys(api.db).rotation()).old)
            walk = Resealing(api.db)
            place, total = await walk.begin()
            place, found = await walk.page(place, old)
            assert 0 < found.resealed < 1_500
            await MasterKeys(api.db).note(found=found, total=total, resealed=found.resealed, place=str(place))
        async with process() as fresh:
            fresh.db.skew_ms = worker.db.skew_ms
            await lease_ends(fresh)
            await rounds(fresh, worker)
            rotation = (await fresh.key_rotation.standing()).rotation
            assert 1_500 <= rotation.resealed < 1_520
            assert (await fresh.registry.get("p1499")).addresses


async def test_a_pass_begins_anew_after_the_server_was_restarted(process: Process):
    """A cursor is good for one life of a server: with an older one, keys could be missed."""
    async with process() as api:
        await register(api, 10)
        await api.key_rotation.start()
        await rounds(api, until=Phase.SEALING)
        later(api)
        await MasterKeys(api.db).note(place="another-life 0 4096")
        await rounds(api)
        assert (await api.registry.get("p9")).addresses


async def test_a_crash_at_the_end_leaves_a_key_that_opens_the_store(process: Process, directory: Path):
    """The old key is gone from the directory, and nobody noted that yet."""
    async with process() as api:
        await register(api, 2)
        await api.key_rotation.start()
        await rounds(api, until=Phase.FINISHING)
        (directory / NEXT_KEY).rename(directory / "master.key")
    async with process() as fresh:
        assert (await fresh.registry.get("p1")).addresses
        await lease_ends(fresh)
        await rounds(fresh)
        assert (await fresh.audit.verify("default", None)).broken is None


async def test_a_value_that_does_not_open_keeps_the_old_key_until_the_operator_gives_it_up(
    process: Process, directory: Path, redis: Redis
):
    """Destroying the only key that may open something needs a person's word. The log names what would be lost."""
    async with process() as api:
        await register(api, 2)
        await damage(redis, keys.subscriber(1))
        await api.key_rotation.start()
        with structlog.testing.capture_logs() as logs:
            await blocks(api)
            assert (directory / NEXT_KEY).exists()
            await api.key_rotation.start(give_up=True)
            await rounds(api)
        said = [one for one in logs if one["event"] == "master_key.values_found_unreadable"]
        assert [(one["values"], one["first"], one["given_up"]) for one in said] == [
            (1, (keys.subscriber(1),), given_up) for given_up in (False, True)
        ]
        assert (await api.registry.get("p1")).addresses


async def test_a_rotation_names_the_first_twenty_of_many_unreadable_values(process: Process, redis: Redis):
    """By key and field of the store, so that somebody can look for them; never by a person's name."""
    async with process() as api:
        await register(api, 30)
        texts = keys.org("default", "texts")
        await TextStore(api.db).add("default", [(("missing-child", "sms", "es", "body"), "x")], after=0)
        damaged = [(keys.subscriber(number), "") for number in range(1, 31)] + [(texts, "1")]
        for name, field in damaged:
            await damage(redis, name, field)
        await api.key_rotation.start()
        await blocks(api)
        found = (await api.key_rotation.standing()).rotation.found
        assert (found.unreadable, len(set(found.named))) == (31, 20)
        assert set(found.named) < {f"{name} {field}".rstrip() for name, field in damaged}


async def test_a_rotation_that_stopped_looks_again_when_it_is_asked_for_again(process: Process, redis: Redis):
    """Somebody has put the damaged value back from a backup."""
    async with process() as api:
        await register(api, 2)
        sealed = await redis.get(keys.subscriber(1))
        await damage(redis, keys.subscriber(1))
        await api.key_rotation.start()
        await blocks(api)
        await api.key_rotation.start()
        await blocks(api)
        await redis.set(keys.subscriber(1), sealed)
        await api.key_rotation.start()
        await rounds(api)
        assert (await api.registry.get("p0")).addresses


async def damage(redis: Redis, name: str, field: str = "") -> None:
    """Changes the last byte of a sealed value."""
    sealed = await (redis.hget(name, field) if field else redis.get(name))
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    await (redis.hset(name, field, changed) if field else redis.set(name, changed))


async def blocks(api: Container) -> None:
    """The rotation goes on until it stops because of unreadable values."""
    await rounds(api, until=Phase.SEALING)
    later(api)
    for _ in range(4):
        await api.key_rotation.round()
    standing = await api.key_rotation.standing()
    assert (standing.rotation.phase, standing.rotation.blocked) == (Phase.SEALING, True)


async def test_a_carrier_test_that_waits_is_waited_for(process: Process):
    """Its address is sealed in a list, and gone in a minute."""
    async with process() as api:
        queue = CarrierTestQueue(api.db)
        await queue.add(CarrierTest(id="t", carrier="fcm", to="token", language="es", until=1))
        await api.key_rotation.start()
        await rounds(api, until=Phase.SEALING)
        later(api)
        for _ in range(4):
            await api.key_rotation.round()
        assert (await api.key_rotation.standing()).rotation.phase is Phase.SEALING
        assert (await queue.take()).to == "token"
        await rounds(api)


async def test_a_store_of_ones_own_needs_the_new_key_first(process: Process, tmp_path: Path):
    """Nothing is begun without it, and the answer says what to do."""
    file = tmp_path / "next.key"
    async with process(url="redis://elsewhere", next_master_key_file=file) as api:
        with pytest.raises(Problem, match=r"store\.next_master_key_file"):
            await api.key_rotation.start()
        file.write_text("no key")
        with pytest.raises(Problem, match="cannot be read"):
            await api.key_rotation.start()
        assert (await api.key_rotation.standing()).rotation.phase is Phase.NONE
        write_key(file, b"n" * 32)
        await rotated(api)
        with pytest.raises(Problem, match=r"store\.next_master_key_file"):
            await api.key_rotation.start()  # the same key again


async def test_only_an_administrator_of_the_host_rotates_the_key(process: Process, aiohttp_client: Any):
    """It is in the audit, and who asks twice is shown the same rotation."""
    path, statuses = "/v1/master-key/rotation", []
    async with process() as api:
        client = await aiohttp_client(api_of(api))
        for terms in (
            {"org": "police", "scopes": frozenset({"admin"})},
            {"org": "default", "scopes": frozenset({"admin"}), "test": True},
            {"org": "default", "scopes": frozenset({"alerts:approve"})},
            {"org": "default", "scopes": frozenset({"admin"})},
        ):
            _, token = await api.access.create(subject="eva", **terms)
            bearer = {"Authorization": f"Bearer {token}"}
            answers = [await client.post(path, headers=bearer), await client.get(path, headers=bearer)]
            statuses.append([answer.status for answer in answers])
        assert statuses == [[403, 403], [403, 403], [403, 403], [202, 200]]
        first, again = await answers[1].json(), await (await client.post(path, headers=bearer)).json()
        assert (first["state"], first["started"]) == ("spreading", again["started"])
        entries = await api.audit.page("default", before=None, limit=9)
        assert {(one.act, one.outcome) for one in entries} >= {
            ("masterkey.rotate", DONE),
            ("masterkey.rotate", "refused"),
        }


async def test_a_worker_without_the_current_key_sends_nothing(process: Process):
    """It would take every record for damaged. A process that holds the key goes on, whichever key it seals with."""
    async with process() as api, process() as worker:
        await api.key_rotation.start()
        await api.db.execute("SET", keys.KEY_CHECK, (await MasterKeys(api.db).rotation()).new)
        assert await api.stop_control.standing() is not None
        assert await api.db.takes_writes()
        with pytest.raises(StoreUnavailableError):
            await worker.stop_control.standing()
        assert not await worker.db.takes_writes()


async def test_seals_are_counted_and_a_warning_comes_long_before_the_last(process: Process):
    """Each process counts in memory and adds up every second; what is counted is shown to Prometheus."""
    async with process() as api, process() as worker:
        name = api.db.codec.check_value
        before = await MasterKeys(api.db).seals(name)
        await register(api, 10)
        await register(worker, 5, first=10)
        await worker.audit.begin(ANA, "alert.create", "01ABC")
        for parts in (api, worker):
            await parts.key_rotation.watch.beat()
        after = await MasterKeys(api.db).seals(name)
        assert {ring: after[ring] - before[ring] for ring in after} == {"master": 15, "audit": 1}
        assert f'alertd_key_seals{{key="master"}} {after["master"]:.1f}'.encode() in (await api.fleet.metrics()).whole
        with structlog.testing.capture_logs() as logs:
            await api.key_rotation.round()
        assert logs == []
        await api.db.execute("HSET", keys.SEALS, f"master {name}", MOST_SEALS)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await api.key_rotation.round()
        [warning] = logs
        assert (warning["log_level"], warning["seals"]) == ("warning", MOST_SEALS)
        assert "rotate-master" in warning["run"]
