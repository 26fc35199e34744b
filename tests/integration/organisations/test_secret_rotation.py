"""The hashing secret that signs links and tags rotates: what it signed before stays valid, and an old secret signs nothing new."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from redis.asyncio import Redis

from alertd.common.ids import Reference, TokenPurpose
from alertd.model.case import PhotoFacts
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from alertd.service.records.evidence import Seal, verified
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec, Keys, mark_of
from alertd.store.engine.connection import StoreRefusedError
from alertd.store.master_key.key_files import replace_hash_key, retire_old
from alertd.store.master_key.state import Phase
from alertd.store.organisations.operators import OperatorStore
from alertd.store.sharing.webhooks import DistributorHook, Hooks
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.integration.acts import (
    ANA,
    register,
)
from tests.integration.conftest import settings_for
from tests.integration.organisations.rotations import (
    Process,
    later,
    lease_ends,
    rotated,
    rounds,
    said_of,
)
from tests.pictures import drawn, written

FACTS = PhotoFacts(source="the mother", taken="2026-08", rights="consent of both parents", alt={"es": "Lucía"})
ALERT = "01K3X2T0000000000000000000"


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
