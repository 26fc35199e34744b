"""The master key rotates while processes read and write: nothing is lost, and the old key opens nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis

from alertd.common.errors import Problem
from alertd.common.ids import Reference, TokenPurpose
from alertd.model.case import PhotoFacts
from alertd.model.states import CHANNELS
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from alertd.service.organisations.key_rotation import SETTLE_MS
from alertd.service.people.registration_intake import Entry
from alertd.service.records.audit import DONE, Noted
from alertd.service.records.evidence import Seal, verified
from alertd.store.carriers.tests import CarrierTest, CarrierTestQueue
from alertd.store.engine import keys
from alertd.store.engine.codec import MOST_SEALS, NEXT_KEY, Codec, Keys, SealError, mark_of, next_key, write_key
from alertd.store.engine.connection import Connection, StoreRefusedError, StoreUnavailableError
from alertd.store.master_key.key_files import replace_hash_key, retire_old
from alertd.store.master_key.resealing import SEALED, Resealing
from alertd.store.master_key.schema import load_cell_key
from alertd.store.master_key.state import SIGN_MS, MasterKeys, Phase
from alertd.store.organisations.operators import OperatorStore
from alertd.store.organisations.organisations import SERVICE, OrganisationStore, StoredOrganisation, TextStore
from alertd.store.organisations.paging import Paged, Rotas, StoredRota
from alertd.store.organisations.sessions import Away, SessionStore
from alertd.store.records.case_keys import Cases
from alertd.store.sharing.webhooks import DistributorHook, Hook, Hooks
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.integration.acts import (
    ANA,
    alert_of,
    api_of,
    employ,
    photo,
    planned,
    register,
    registration,
    send,
    submitted,
)
from tests.integration.conftest import settings_for
from tests.integration.marks import marked
from tests.pictures import drawn, written

FACTS = PhotoFacts(source="the mother", taken="2026-08", rights="consent of both parents", alt={"es": "Lucía"})
ALERT = "01K3X2T0000000000000000000"
Process = Callable[..., AbstractAsyncContextManager[Container]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory with its keys."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_key(folder / "master.key", b"m" * 32)
    write_key(folder / "hash.key", b"h" * 32)
    return folder


@pytest.fixture
def process(redis: Redis, sandbox: Sandbox, library: Library, renderer: Renderer, directory: Path) -> Process:
    """Opens the store as a process does that starts now: with the keys of the data directory."""

    @asynccontextmanager
    async def starting(client: Redis = redis, **store: Any) -> AsyncIterator[Container]:
        settings = settings_for(sandbox)
        section = settings.store.model_copy(update={"directory": directory, **store})
        settings = settings.model_copy(update={"store": section})
        codec = Codec(Keys.load(directory))
        async with opened(settings, client, codec, library=library, renderer=renderer) as parts:
            yield parts

    return starting


def later(*processes: Container) -> None:
    """What was under way when the new key became the current one has been written by now."""
    for parts in processes:
        parts.db.skew_ms += SETTLE_MS


async def rounds(api: Container, *others: Container, until: Phase = Phase.DONE, most: int = 20) -> None:
    """The rotation as it goes in a service that runs, up to a phase."""
    for _ in range(most):
        standing = await api.key_rotation.standing()
        if standing.rotation.phase is until:
            return
        await api.key_rotation.round()
        for parts in (api, *others):
            await parts.key_rotation.watch.beat()
        if standing.rotation.phase in {Phase.SEALING, Phase.NAMING} and standing.waiting == 0:
            later(api, *others)
    raise AssertionError(standing)


async def lease_ends(parts: Container) -> None:
    """The process that took the steps has been silent for as long as its lease."""
    await parts.db.execute("DEL", keys.ROTATOR)


async def rotated(api: Container, *others: Container) -> None:
    """A whole rotation."""
    await api.key_rotation.start()
    await rounds(api, *others)


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


async def names(redis: Redis) -> list[str]:
    """Everything in the store that is named after a person's id or address."""
    return [raw.decode() for kind in "hti" for raw in await redis.keys(f"{{{kind}:*")]


async def test_people_are_found_by_new_names_and_the_old_ones_are_gone(process: Process, redis: Redis):
    """A thief who had the hashing key can try numbers against the new store for ever: no name in it follows from that key alone."""
    async with process() as api, process() as worker:
        await register(api, 20)
        people = api.people
        hashed = [people.names.address_hash(CHANNELS.index("sms"), f"+346{i:08d}") for i in range(20)]
        await people.suppressions.put(hashed[3:5], 1_700_000_000)
        await people.called_dead.note(hashed[:1], 1_700_000_000)
        before = await names(redis)
        for turn in (1, 2):
            await rotated(api, worker)
            now = await names(redis)
            assert len(now) == len(before)
            assert {name.partition(".")[0][3:] for name in now} == {str(turn)}
            assert not set(now) & set(before)
            for one in (api, worker):
                assert [await one.people.names.number_of(f"p{i}") for i in range(20)] == list(range(1, 21))
                assert [claim.number for claim in await one.people.names.holders(hashed)] == list(range(1, 21))
                assert await one.people.suppressions.since(hashed[2:6]) == [None, 1_700_000_000, 1_700_000_000, None]
            assert await people.called_dead.note(hashed[:1], 1_800_000_000) == [1_700_000_000]
        [dead] = [name for name in await names(redis) if name.endswith(":dead")]
        assert await redis.ttl(dead) > 0
    async with process() as fresh:
        assert await fresh.people.names.number_of("p7") == 8
        [taken] = await fresh.registry.put_many([Entry("another", registration(7))])
        assert isinstance(taken, Problem)
        await fresh.registry.forget("p7")
        assert await fresh.people.names.number_of("p7") is None


async def external_ids(redis: Redis) -> list[str]:
    """Everything in the store that is named after an author's own id of an alert."""
    return [raw.decode() for raw in await redis.keys("{e:*")]


async def test_a_case_that_is_sent_again_is_the_same_before_amid_and_after_rotations(
    process: Process, redis: Redis, sample: dict[str, Any]
):
    """Its external id has a new name in the store, which the hashing key does not show, and lasts as long as the alert."""
    async with process() as api, process() as worker:
        alert = await submitted(api, sample, external_id="case-2026-1")
        again = alert_of(sample, external_id="case-2026-1")
        [old] = await external_ids(redis)
        lasts = await redis.pexpiretime(old)
        await api.key_rotation.start()
        for phase in (Phase.JOINING, Phase.NAMING, Phase.FINISHING, Phase.DONE):
            await rounds(api, worker, until=phase)
            for one in (api, worker):
                assert (await one.intake.submit(again, ANA)).is_repeat
                await one.alerts.external_ids.keep(alert.record)
            [now] = await external_ids(redis)
            assert (now == old) == (phase in {Phase.JOINING, Phase.NAMING})
            assert await redis.pexpiretime(now) == lasts
        await rotated(api, worker)
        [last] = await external_ids(redis)
        assert last not in {old, now}
        assert (await worker.intake.submit(again, ANA)).is_repeat


async def test_an_external_id_that_is_taken_amid_a_rotation_is_found_by_every_process(
    process: Process, redis: Redis, sample: dict[str, Any]
):
    """Under its new name, as soon as processes make new names."""
    async with process() as api, process() as worker:
        await api.key_rotation.start()
        await rounds(api, worker, until=Phase.NAMING)
        await submitted(api, sample, external_id="x")
        [name] = await external_ids(redis)
        assert name.startswith("{e:1.")
        assert (await worker.intake.submit(alert_of(sample, external_id="x"), ANA)).is_repeat


@pytest.mark.parametrize("walked", [False, True])
async def test_processes_that_prefer_other_names_see_the_same(
    process: Process, redis: Redis, library: Library, directory: Path, walked: bool
):
    """For a second one process makes new names and another old ones: no address is given twice, and no opt-out is missed."""
    async with process() as api:
        await register(api, 4)
        await api.key_rotation.start()
        await rounds(api, until=Phase.NAMING)
        assert api.db.codec.names.prefers_new
        codec = Codec(Keys.load(directory))
        codec.use(api.db.codec.check_value)
        codec.names = replace(api.db.codec.names, prefers_new=False)
        await load_cell_key(Connection(redis, codec))
        behind = replace(api, db=Connection(redis, codec), library=library, key_watch=None)
        hashed = [api.people.names.address_hash(CHANNELS.index("sms"), f"+346{i:08d}") for i in range(12)]
        if walked:
            walk = Resealing(api.db)
            place, _ = await walk.begin()
            while not place.is_end:
                place, _ = await walk.page(place, b"")
        for first, second, i in ((api, behind, 4), (behind, api, 5)):
            await register(first, 1, first=i)
            [refused] = await second.registry.put_many([Entry(f"thief-{i}", registration(i))])
            assert isinstance(refused, Problem)
            assert await second.people.names.number_of(f"p{i}") is not None
            assert await first.people.suppressions.put(hashed[i : i + 1], 1) == 1
            assert await second.people.suppressions.put(hashed[i : i + 1], 2) == 0
            assert await second.people.suppressions.since(hashed[i : i + 1]) == [1]
            assert await second.people.suppressions.drop(hashed[i : i + 1]) == 1
            assert await first.people.suppressions.since(hashed[i : i + 1]) == [None]
        await behind.registry.forget("p0")
        await api.registry.forget("p1")
        for one in (api, behind):
            assert [await one.people.names.number_of(f"p{i}") for i in (0, 1, 2)] == [None, None, 3]
        await rounds(api)
        assert {name.partition(".")[0][3:] for name in await names(redis)} == {"1"}
        assert [await api.people.names.number_of(f"p{i}") is not None for i in range(6)] == [
            False,
            False,
            *[True] * 4,
        ]


async def test_what_a_process_writes_that_was_taken_for_dead_does_not_replace_what_others_wrote(
    process: Process, redis: Redis
):
    """It slept through the rotation, and claims an address under its old name."""
    async with process() as api:
        await api.key_rotation.start()
        await rounds(api, until=Phase.NAMING)
        await register(api, 1)
        hashed = api.people.names.address_hash(CHANNELS.index("sms"), "+34600000000")
        await redis.set(keys.address(hashed), b"sleeper")
        await rounds(api)
        assert (await api.people.names.holder(hashed)).number == 1
        assert len(await redis.keys("{h:*")) == 3


async def test_a_process_without_a_name_key_does_not_start(process: Process, redis: Redis):
    """It would find nobody, and give every address twice."""
    async with process() as api:
        await register(api, 1)
        await rotated(api)
        await redis.hdel(keys.SECRETS, "names 1")
    with pytest.raises(StoreRefusedError, match="name key"):
        async with process():
            pass


async def said_of(call: Any) -> str:
    """What a refusal says."""
    with pytest.raises(Problem) as refusal:
        await call
    return str(refusal.value)


async def test_what_the_old_hashing_key_signed_holds_after_two_rotations(process: Process, directory: Path):
    """Evidence, the audit, links in messages, addresses for distributors and repeated requests are of before: all go on. Cases and operators are found."""
    hook = DistributorHook(
        id="dis_0123456789abcdef", org="default", document='{"name":"Screens","url":"https://a.example/"}',
        url="https://a.example/", types=(), secrets=(("s", 0),), by="a", made=1,
    )  # fmt: skip

    def ids(one: Container) -> tuple[str, str]:
        """What a case and an operator are found by."""
        return one.alerts.case_id("default", "SE-2026-1"), OperatorStore(one.db).id_of("default", "eva@centre.example")

    async def holds(one: Container) -> None:
        assert ids(one) == before
        public = Seal(one.db.codec).public
        assert public[-1] == pem
        for signed, key in zip(evidence, reversed(public), strict=True):
            assert verified(asdict(signed), key) == {"alert": "a"}
        assert [one.tags.parse(tag, TokenPurpose.LEAVE) for tag in tags] == [Reference(ALERT, 7)] * 3
        for address in addresses:
            assert "has faults" in await said_of(one.acknowledgements.take(address, b"<a/>"))
        assert (await one.photos.taken("request-1", ANA)).id == shown
        assert (await one.audit.verify("default", None)).broken is None

    first = Keys.load(directory).hashing
    async with process() as api, process() as worker:
        before = ids(api)
        await Hooks(api.db, DistributorHook).put(hook, queued=0)
        await api.audit.begin(ANA, "alert.create", "01ABC")
        evidence, [pem] = [Seal(api.db.codec).signed({"alert": "a"})], Seal(api.db.codec).public
        tags, addresses = (
            [api.tags.make(ALERT, 7, TokenPurpose.LEAVE)],
            [api.acknowledgements.receipts(hook).rpartition("/")[2]],
        )
        shown = (await api.photos.take(written(drawn()), FACTS, ANA, name="request-1", place="/photo")).id
        for _ in range(2):
            await rotated(api, worker)
            await worker.audit.begin(ANA, "alert.create", "01ABD")
            evidence.append(Seal(worker.db.codec).signed({"alert": "a"}))
            tags.append(worker.tags.make(ALERT, 7, TokenPurpose.LEAVE))
            addresses.append(worker.acknowledgements.receipts(hook).rpartition("/")[2])
        for one in (api, worker):
            await holds(one)
    assert len(set(tags)) == len(set(addresses)) == len({one.signature for one in evidence}) == 3
    assert first is not None
    assert first not in (directory / "hash.key").read_bytes()
    async with process() as fresh:
        await holds(fresh)


async def test_a_thief_with_the_old_hashing_key_signs_nothing_as_alertd_does_now(
    process: Process, directory: Path, redis: Redis
):
    """The file holds a new key. Without the new master key nobody reads a hashing secret in the store."""
    old = Keys.load(directory)
    async with process() as api:
        await rotated(api)
        now = Keys.load(directory).hashing
        assert now == api.db.codec.current_secret != old.hashing
        codec = Codec(old)
        for purpose in ("evidence", "audit", "tags", "distributors", "media"):
            assert codec.derived(purpose).current not in api.db.codec.derived(purpose).every[:1]
        blobs = list((await redis.hgetall(keys.SECRETS)).values())
        assert blobs
        assert all(blob.startswith(mark_of(Keys.load(directory).master)) for blob in blobs)


async def test_every_process_verifies_with_a_new_secret_before_one_signs_with_it(process: Process):
    """A link that one process makes is never refused by another."""
    async with process() as api, process() as worker:
        await api.key_rotation.start()
        seen = set()
        while (await api.key_rotation.standing()).rotation.phase is not Phase.DONE:
            await api.key_rotation.round()
            for last in (api, worker):
                await last.key_rotation.watch.beat()
                tags = [one.tags.make(ALERT, 7) for one in (api, worker)]
                seen.add(len(set(tags)))
                for one in (api, worker):
                    assert [one.tags.parse(tag) for tag in tags] == [Reference(ALERT, 7)] * 2
            later(api, worker)
        assert seen == {1, 2}, "for a moment they sign differently"


@pytest.mark.parametrize("both", [False, True])
async def test_a_crash_after_a_file_leaves_keys_that_open_the_store(process: Process, directory: Path, both: bool):
    """The hashing key is replaced, and the master key too or not yet."""
    async with process() as api:
        await register(api, 2)
        await api.key_rotation.start()
        await rounds(api, until=Phase.FINISHING)
        replace_hash_key(directory, api.db.codec.current_secret)
        if both:
            retire_old(directory)
    async with process() as fresh:
        assert (await fresh.registry.get("p1")).addresses
        await lease_ends(fresh)
        await rounds(fresh)
        assert Keys.load(directory).hashing == fresh.db.codec.current_secret


async def test_a_shared_store_needs_no_hashing_key_after_a_rotation(
    process: Process, directory: Path, redis: Redis, library: Library, renderer: Renderer, sandbox: Sandbox
):
    """Before it does. An old one opens the store too, for processes that still have it, and another installation's never."""
    old = Keys.load(directory)

    async def opens(hashing: bytes | None) -> None:
        codec = Codec(Keys(Keys.load(directory).master, hashing))
        async with opened(settings_for(sandbox), redis, codec, library=library, renderer=renderer) as parts:
            assert (await parts.registry.get("p1")).addresses

    with pytest.raises(StoreRefusedError, match="hash_key"):
        await opens(None)
    async with process() as api:
        await register(api, 2)
        with pytest.raises(StoreRefusedError, match="hashing key"):
            await opens(None)
        await rotated(api)
    for hashing in (None, old.hashing, Keys.load(directory).hashing):
        await opens(hashing)
    with pytest.raises(StoreRefusedError, match="hashing key"):
        await opens(b"x" * 32)


async def test_a_process_without_a_hashing_secret_does_not_start(process: Process, redis: Redis):
    """It would refuse what others signed."""
    async with process() as api:
        await rotated(api)
        await redis.hdel(keys.SECRETS, "hash 1")
    with pytest.raises(StoreRefusedError):
        async with process():
            pass


@pytest.mark.usefixtures("cluster")
async def test_the_walk_goes_over_every_server_of_a_cluster(process: Process, masters: list[int], directory: Path):
    """Each has a third of the keys, and a cursor of its own. The hashing key is replaced, and people keep their names."""
    old = Keys.load(directory)
    async with Redis(port=masters[0]) as client, process(client) as api:
        await register(api, 40)
        await rotated(api)
        rotation = (await api.key_rotation.standing()).rotation
        assert rotation.found.done >= 40
        for i in range(40):
            assert (await api.registry.get(f"p{i}")).addresses
        assert Keys.load(directory).hashing == api.db.codec.current_secret != old.hashing
        assert api.db.codec.first_secret == old.hashing
