"""Every key the store holds is in the table of keys, as what the table says, and the table has no other."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from alertd import store
from alertd.model.cap.messages import MsgType
from alertd.model.distribution import Entry, Track
from alertd.model.distributor import Distributor
from alertd.model.operator import Role
from alertd.model.organisation import Organisation
from alertd.model.states import AlertState, State
from alertd.rendering.own_texts import TextPlace
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.service.delivery.receipts import End
from alertd.service.people.dead_addresses import Dead
from alertd.store.alerts import archive
from alertd.store.alerts.published_history import PublishedWords
from alertd.store.approvals.break_glass import Claim, Claims
from alertd.store.approvals.later_versions import PermissionStore
from alertd.store.areas.custom_regions import CustomRegions
from alertd.store.areas.region_imports import Import, ImportRecords
from alertd.store.carriers.limits import Budgets, ConnectionShares
from alertd.store.carriers.tests import Answered, CarrierTest, CarrierTestQueue
from alertd.store.delivery.message_ids import MessageReport, Sent
from alertd.store.engine import key_table, keys
from alertd.store.engine.heartbeats import at_work, bound, taking
from alertd.store.master_key.resealing import SEALED
from alertd.store.master_key.state import MasterKeys, Phase
from alertd.store.organisations.operators import OperatorStore
from alertd.store.organisations.organisations import OrganisationStore
from alertd.store.organisations.paging import Paged, Rotas, StoredRota, Waiting
from alertd.store.organisations.sessions import Away, SessionStore
from alertd.store.people.subscribers import LabelMark
from alertd.store.records.case_keys import Cases
from alertd.store.records.idempotency import Requests
from alertd.store.sharing.webhooks import Hook, Hooks, Tracks, Tried
from channels.login import WORKS
from tests.integration.acts import (
    ANA,
    BEA,
    CADIZ,
    lease_of,
    over,
    photo,
    planned,
    register,
    registration,
    send,
    submitted,
)
from tests.integration.marks import marked
from tests.passkeys import Authenticator
from tests.unit.alertd.samples import changed


async def held(parts: Container) -> set[key_table.KeyKind]:
    """The kinds of all keys there are now."""
    kinds = set()
    for raw in await parts.db.execute("KEYS", "*"):
        kind, found = kind_of(raw.decode()), (await parts.db.execute("TYPE", raw)).decode()
        assert kind, raw
        assert found in {kind.type, "none"}, raw  # what lives for seconds may be gone by now
        kinds.add(kind)
    codec = parts.db.codec
    sealed = await marked(parts.db.nodes.first, codec.master.mark(codec.check_value))
    assert set(sealed) <= set(SEALED), "a rotation of the master key would leave these under the old key"
    return kinds


async def _operator(parts: Container) -> None:
    """Somebody comes in with a code, and another asks to sign in."""
    passkey = Authenticator("http://localhost:8080")
    root, _ = await parts.access.create(org="default", subject="root", scopes=frozenset({"admin"}))
    made = await parts.operators.add(subject="eva", name="Eva", roles=(Role.VIEWER,), who=root)
    _, options = await parts.passkeys.invited(made.code, "here")
    operator, kept = await parts.passkeys.register(made.code, passkey.register(options), "here")
    await parts.sessions.begin(operator, kept, proven=True)
    await parts.passkeys.ask("here", None)
    store = OperatorStore(parts.db)
    await store.show_identity(operator, store.identity_id("https://sso.centre.example", "eva"))
    sent = Away(made=0, browser="hash", nonce="n", verifier="v", back="https://alerts.centre.example/console")
    await SessionStore(parts.db).send_away("state", sent, 60_000)


def kind_of(key: str) -> key_table.KeyKind | None:
    """What a key is, None for one that is not in the table."""
    return next((kind for kind, pattern in _patterns() if pattern.fullmatch(key)), None)


@cache
def _patterns() -> list[tuple[key_table.KeyKind, re.Pattern[str]]]:
    """Fixed names before those with something in brackets at their end: `:cells` is no tile."""
    ordered = sorted(key_table.TABLE, key=lambda kind: kind.name.endswith(">"))
    return [(kind, re.compile("[^{}:]+".join(map(re.escape, re.split("<[^>]+>", kind.name))))) for kind in ordered]


async def test_the_table_has_every_key_and_no_other(parts: Container, sample: dict[str, Any]):
    """From the first registration to the last settlement, at each step."""
    _, token = await parts.access.create(org="default", subject="ana", scopes=frozenset({"admin"}))
    assert await parts.access.recognise(token)
    assert await parts.db.takes_writes()
    await parts.organisations.put("police", Organisation(name="Police"), ANA)
    assert await OrganisationStore(parts.db).allow("police", "an alert", 1)
    await parts.texts.put("default", TextPlace("missing-child", "push", "es", "title"), "{{ who }}")
    await Requests(parts.db).claim(ANA.key_id, "once", "digest", "id")
    await parts.audit.begin(ANA, "alert.create", "")
    master_keys = MasterKeys(parts.db)
    await master_keys.step(Phase.NONE, phase=Phase.DONE)
    await master_keys.keep_secrets(parts.db.codec.check_value)
    await parts.db.run("process_lease", [keys.ROTATOR], "process", 60_000)
    await parts.stop_control.stop("org:other", ANA, "reason")
    await register(parts, 30)
    await parts.registry.put("p0", registration(0, places={"home": {"region": "41091"}}))
    await parts.registry.put("p1", registration(1, places={"home": {"point": CADIZ}}))
    await worker_of(parts).sweeper.round()
    await CustomRegions(parts.db).put("our-area", "default", b"{}", revision=1, seen=None)
    await CustomRegions(parts.db).clash({"FR-N1": 1 << 23})
    await LabelMark(parts.db).set("fingerprint")
    tests = CarrierTestQueue(parts.db)
    await tests.add(CarrierTest(id="i", carrier="text", to="+34600000001", language="en", until=0))
    await tests.answer("i", Answered(answer="accepted", reason="none", took_ms=1))
    await bound(parts.db).announce({"text": True})
    await at_work(parts.db).announce({"push": True})
    await taking(parts.db).announce({"fcm": True})
    await parts.logins.put("fcm", "worker", WORKS)
    share = {"most": 10, "held": 0, "works": True, "behind": False}
    assert (await ConnectionShares(parts.db).claim("relay", "worker", **share)).connections == 10
    await ImportRecords(parts.db).put(Import(id="i", org="default", name="port", dry_run=True, state="running", seen=0))
    sample = changed(sample, "case/children/0/photos", [{"media": await photo(parts)}])
    await _operator(parts)
    seen = await held(parts)
    record = await planned(parts, sample, external_id=sample["external_id"])
    rota = StoredRota(rev=1, document="{}", by="ana", at=1)
    assert await Rotas(parts.db).put("default", rota, seen=b"")
    waits = await submitted(parts, sample)
    assert await Waiting(parts.db).put(waits.record.id, Paged(since=1, due=1), seen=b"") == "done"
    await PermissionStore(parts.db, parts.alerts).note(["police"], record.id, 1)
    await PublishedWords(parts.db).keep(await parts.alerts.get(record.id))
    await parts.alerts.times.note_start(replace(record, times=replace(record.times, starts=1)))
    seen |= await held(parts)
    hook = (await parts.webhooks.create(ANA, "https://cases.example/", []))[0].hook
    assert await parts.events.leads()
    assert await parts.events.bring()
    await parts.webhook_delivery.round()
    await parts.webhook_delivery.settled()
    await parts.distributors.create(ANA, Distributor(name="Radio", url="https://gateway.example/"), "")
    sent = Entry(
        identifier=record.id, sender="a", sent=1, type=MsgType.ALERT, of=record.id, expires=record.expires, maybe=True
    )
    assert await Tracks(parts.db).put("default", record.id, "dis_1", Track(entries=(sent,)), seen=b"", now_ms=1)
    hooks = Hooks(parts.db, Hook)
    [waiting, *_] = await hooks.due(hook, parts.clock.now_ms() + 10_000, 1)
    await hooks.settle(hook, waiting, Tried(word="never", status=500), 1)
    await parts.sign_up.ask_for_settings("ana@centre.example", "es")
    await parts.suppression.stop([(0, "given-up")])
    person = await parts.registry.get("p0")
    mailbox = person.addresses[-1]
    assert not await parts.dead_addresses.gone([Dead(person.number, mailbox.number, mailbox.value)])
    seen |= await held(parts)
    await parts.follow_ups.stand_down(record.id, ANA, "reason")
    seen |= await held(parts)
    again = await parts.follow_ups.reopen(record.id, BEA, "reason")
    assert await worker_of(parts).plans.planner.plan(await parts.alerts.get(again.told_by))
    lease = await lease_of(parts.work, record.id, "push")
    seen |= await held(parts)
    await parts.work.end(lease, [], lease.rows)
    seen |= await held(parts)
    assert await send(parts, record)
    assert (await parts.work.receipt(record.id, 0, "push", State.DELIVERED, 0, [State.ACCEPTED])).old
    await parts.receipts.sent("centre", "sms", [Sent("tag", ("1", "2"), 1000)])
    await parts.receipts.ended("centre", "sms", [End(None, MessageReport("1", State.DELIVERED, 0))])
    assert await over(parts, record)
    escalates = await planned(parts, sample, channels=["push", "sms"], policy={"mode": "escalate"})
    assert (await parts.work.receipt(escalates.id, 0, "push", State.DELIVERED, 0, [State.QUEUED])).old
    await parts.alerts.step(escalates.id, AlertState.CANCELLED)
    assert await over(parts, await parts.alerts.get(escalates.id))
    seen |= await held(parts)
    assert await archive.archive(parts.db, escalates.id, 0)
    await Budgets(parts.db).take("default", record.id, parts.clock.now_ms(), 1, 1, (0, 0))
    assert await Claims(parts.db).replace("default", "operator", (), [Claim(record.id, 1, "attempt")])
    cases = Cases(parts.db)
    assert await cases.begin_purge(record.case)
    seen |= await held(parts)
    assert await cases.drop(record.case, await cases.held(record.case))
    seen |= await held(parts)
    await cases.destroy(record.case)
    assert seen | await held(parts) == set(key_table.TABLE)


async def test_forgotten_subscribers_leave_no_name_and_no_record(parts: Container):
    """Of those keys that end with a subscriber, none is left."""
    await register(parts, 2)
    for name in ("p0", "p1"):
        await parts.registry.forget(name)
    assert not [kind.name for kind in await held(parts) if "forgotten" in kind.ends]


def test_whoever_writes_a_key_exists_and_names_it():
    """The table names modules and scripts of the store; a module that writes a key of one name alone has that name."""
    folder = Path(store.__file__).parent
    constants = {value: name for name, value in vars(keys).items() if str(value).startswith("{m}:")}
    for kind in key_table.TABLE:
        for name in kind.writers.split():
            (writer,) = folder.rglob(name if name.endswith(".lua") else f"{name}.py")
            if writer.suffix == ".py" and kind.name.startswith("{m}:"):
                assert f"keys.{constants[kind.name]}" in writer.read_text(), kind.name
