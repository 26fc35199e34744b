"""Webhooks are told what happens: signed, at least once, over three days, and never at an address inside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from alertd.commands.organisations.key_recovery import Recovery
from alertd.common.clock import SystemClock
from alertd.common.errors import Problem
from alertd.common.ids import new_id
from alertd.model.states import AlertState
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from alertd.service.records.webhook_delivery import OFF_AFTER_MS, SPANS_S, TOLD_AT_ONCE, due_again
from alertd.service.records.webhooks import GIVEN_UP_SHOWN, MOST_SECRETS
from alertd.store.engine.clock import StoreClock
from alertd.store.records.events import Events
from alertd.store.sharing.webhooks import Due, Hook, Hooks, Tried
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.integration.acts import ANA
from tests.integration.batches import AREA, record
from tests.integration.conftest import settings_for
from tests.recorders import Recorder, running

HOST = "cases.example"
DAY_MS = 86_400_000


class Later(SystemClock):
    """A clock that can be put forward."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms

    behind_s = 0.0  # since when this process was last heard

    def monotonic(self) -> float:
        return super().monotonic() + self.behind_s


class Receiver(Recorder[bytes]):
    """A server at cases.example that answers with statuses, and headers where there are some."""

    def ids(self, path: str) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got[path]]

    def judged(self, _request: web.Request, raw: bytes) -> bytes:
        return raw

    def answer(self, answer: Any, _kept: bytes) -> web.Response:
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return web.Response(status=status, headers=headers)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """cases.example."""
    async with running(Receiver(HOST)) as made:
        yield made


@pytest.fixture
async def parts(
    redis, codec, sandbox: Sandbox, library: Library, renderer: Renderer, receiver: Receiver
) -> AsyncIterator[Container]:
    """Everything a process has; 127.0.0.1 is its public internet, and its clock can be put forward."""
    async with opened(settings_for(sandbox), redis, codec, library=library, renderer=renderer) as made:
        own = replace(made, library=library, poster=receiver.fetcher(), clock=Later())
        yield own
        await own.webhook_delivery.close()


async def happens(parts: Container, count: int = 1) -> list[str]:
    """So many alerts are submitted; answers their ids."""
    names = [new_id(parts.clock.now_ms()) for _ in range(count)]
    for name in names:
        await parts.alerts.create(record(name), AREA)
    assert await parts.events.leads()
    await parts.events.bring()
    return names


async def told(parts: Container, *, after_ms: int = 0) -> None:
    """The webhooks are told what is due by then."""
    parts.clock.ahead_ms += after_ms  # type: ignore[attr-defined]
    await parts.webhook_delivery.round()
    await parts.webhook_delivery.settled()


async def made(parts: Container, receiver: Receiver, path: str, *types: str) -> tuple[str, str]:
    """A webhook at that path: its id and its secret."""
    watched, secret = await parts.webhooks.create(ANA, receiver.url(path), types)
    return watched.hook.id, secret


async def test_a_receiver_gets_what_is_read_signed(parts: Container, receiver: Receiver):
    """The very event that is read, under its id; what others wrote to check such signatures takes it, and no other body. From when
    it was made on, and only what it asked for.
    """
    await happens(parts)
    _, secret = await made(parts, receiver, "/all")
    await made(parts, receiver, "/ends", "alert.rejected", "alert.expired")
    [name] = await happens(parts)
    await parts.alerts.step(name, AlertState.REJECTED)
    await happens(parts)
    await told(parts)
    read = [event for _, event in (await parts.events.read_page("default", None, 100)).events]
    assert [body for _, body in receiver.got["/all"]] == read[1:]
    for headers, body in receiver.got["/all"]:
        assert Webhook(secret).verify(body, headers)["id"] == headers["webhook-id"]
        assert headers["content-type"] == "application/json"
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body + b" ", headers)
    assert [json.loads(body)["type"] for _, body in receiver.got["/ends"]] == ["alert.rejected"]


async def test_a_new_secret_signs_beside_the_old_one_for_a_day(parts: Container, receiver: Receiver):
    """So that no receiver is ever without a signature that it knows."""
    name, old = await made(parts, receiver, "/all")
    _, new = await parts.webhooks.rotate("default", name)
    await happens(parts)
    await told(parts)
    [(headers, body)] = receiver.got["/all"]
    for secret in (old, new):
        Webhook(secret).verify(body, headers)
    await happens(parts)
    await told(parts, after_ms=DAY_MS)
    assert len(receiver.got["/all"][1][0]["webhook-signature"].split()) == 1


async def test_what_the_receiver_has_signs_for_a_day_whatever_answer_was_lost(parts: Container, receiver: Receiver):
    """Each secret has a day of its own; two that are made at once both sign. More than ten are refused until one ends."""
    name, first = await made(parts, receiver, "/all")
    both = [secret for _, secret in await asyncio.gather(*(parts.webhooks.rotate("default", name) for _ in range(2)))]
    await happens(parts)
    await told(parts)
    [(headers, body)] = receiver.got["/all"]
    for secret in (first, *both):
        Webhook(secret).verify(body, headers)
    await told(parts, after_ms=DAY_MS // 2)
    for _ in range(MOST_SECRETS - 3):
        await parts.webhooks.rotate("default", name)
    with pytest.raises(Problem, match="sign already"):
        await parts.webhooks.rotate("default", name)
    await happens(parts)
    await told(parts, after_ms=DAY_MS // 2)
    assert len(receiver.got["/all"][1][0]["webhook-signature"].split()) == MOST_SECRETS - 2
    await parts.webhooks.rotate("default", name)


async def test_a_webhook_that_is_removed_meanwhile_stays_removed(parts: Container, receiver: Receiver):
    """Whatever of the two comes first: a new secret is written only where there still is a webhook."""
    for _ in range(10):
        name, _ = await made(parts, receiver, "/all")
        rotating = [parts.webhooks.rotate("default", name) for _ in range(3)]
        await asyncio.gather(*rotating, parts.webhooks.remove("default", name), return_exceptions=True)
        assert await parts.webhooks.of_org("default") == []
    with pytest.raises(Problem, match="no such webhook"):
        await parts.webhooks.rotate("default", name)


async def test_what_is_not_taken_is_tried_again_under_its_id_while_others_are_told(
    parts: Container, receiver: Receiver
):
    """An error, a redirect, and a host that leads inside are no taking; whoever asks for time gets it."""
    receiver.answers["/all"] = [
        500,
        204,
        (302, {"Location": receiver.url("/elsewhere")}),
        (503, {"Retry-After": "3600"}),
        204,
    ]
    name, _ = await made(parts, receiver, "/all")
    await happens(parts, 2)
    await told(parts)
    first, second = receiver.ids("/all")
    assert first != second
    await told(parts, after_ms=6_000)
    receiver.addresses[:] = ["10.0.0.1"]
    await told(parts, after_ms=300_000)  # not asked at all
    receiver.addresses[:] = ["127.0.0.1"]
    await told(parts, after_ms=1_800_000)
    assert receiver.ids("/all")[2:] == [first, first]
    await told(parts, after_ms=3_500_000)
    assert len(receiver.ids("/all")) == 4
    await told(parts, after_ms=7_200_000)
    assert receiver.ids("/all")[4:] == [first]
    assert not receiver.got["/elsewhere"]
    watched = await parts.webhooks.get("default", name)
    assert (watched.waiting, watched.given_up, watched.standing.failing, watched.standing.answered) == (0, 0, 0, 204)


async def test_events_of_one_moment_are_told_in_their_order(parts: Container, receiver: Receiver):
    """The tenth after the ninth: names are compared as words where the store has nothing else to go by."""
    await made(parts, receiver, "/all")
    await happens(parts, 12)
    await told(parts)
    read = [json.loads(event)["id"] for _, event in (await parts.events.read_page("default", None, 100)).events]
    assert receiver.ids("/all") == read


async def test_who_no_longer_leads_posts_nothing(parts: Container, receiver: Receiver):
    """Another process may have told it by then, and what came after it. It stays where it is for whoever leads."""
    await made(parts, receiver, "/all")
    await happens(parts)
    parts.clock.behind_s += 5  # type: ignore[attr-defined]
    await told(parts)
    assert receiver.ids("/all") == []
    assert await parts.events.leads()
    await told(parts)
    assert len(receiver.ids("/all")) == 1


async def test_who_is_silent_holds_up_no_other(parts: Container, receiver: Receiver):
    """Each webhook is told by itself. What a process had begun when it ended another tells again, under the same id."""
    receiver.answers["/silent"] = ["silence", 204]
    await made(parts, receiver, "/silent")
    await made(parts, receiver, "/all")
    await happens(parts)
    await parts.webhook_delivery.round()
    while not (receiver.got["/silent"] and receiver.got["/all"]):
        receiver.arrived.clear()
        await receiver.arrived.wait()
    await parts.webhook_delivery.close()
    await told(parts)
    assert len(receiver.ids("/silent")) == 2
    assert len({*receiver.ids("/silent"), *receiver.ids("/all")}) == 1


async def test_after_three_days_an_event_is_given_up_and_can_be_told_again(parts: Container, receiver: Receiver):
    """Ten tries in all, while others are taken; then it is listed, and told once more by an operator's word."""
    receiver.answers["/all"] = [500, 204]
    name, _ = await made(parts, receiver, "/all")
    await happens(parts)
    await told(parts)
    [bad] = receiver.ids("/all")
    receiver.answers[bad] = [500]
    for seconds in SPANS_S:
        assert (await parts.webhooks.get("default", name)).given_up == 0
        await happens(parts)
        await told(parts, after_ms=seconds * 1000)
    watched = await parts.webhooks.get("default", name)
    assert (watched.waiting, watched.given_up, watched.standing.off) == (0, 1, 0)
    assert receiver.ids("/all").count(bad) == 1 + len(SPANS_S)
    [lost] = await parts.webhooks.given_up(watched.hook)
    assert json.loads(lost.event or b"{}")["id"] == bad
    receiver.answers[bad] = [204]
    await parts.webhooks.replay("default", name)
    await told(parts)
    assert receiver.ids("/all")[-1] == bad
    assert (await parts.webhooks.get("default", name)).given_up == 0


@pytest.mark.parametrize(("status", "why"), [(410, "gone"), (500, "failing")])
async def test_a_webhook_that_takes_nothing_is_turned_off(parts: Container, receiver: Receiver, status: int, why: str):
    """At once where it says that it is gone, after three days of failures else; the events say so, and what waits is told as soon as it is
    turned on again, in its order, and as often as if it had never been tried.
    """
    receiver.answers["/all"] = [status]
    name, _ = await made(parts, receiver, "/all")
    await happens(parts)
    await told(parts)
    if why == "failing":
        assert not (await parts.webhooks.get("default", name)).standing.off
        await told(parts, after_ms=OFF_AFTER_MS)
    watched = await parts.webhooks.get("default", name)
    assert (bool(watched.standing.off), watched.standing.why, watched.waiting) == (True, why, 1)
    assert b"\nalertd_webhooks_off 1.0\n" in (await parts.fleet.metrics()).whole
    events = [json.loads(event) for _, event in (await parts.events.read_page("default", None, 100)).events]
    assert (events[-1]["type"], events[-1]["data"]) == ("webhook.off", {"webhook": name, "why": why})
    await happens(parts)
    tries = len(receiver.ids("/all"))
    await told(parts, after_ms=DAY_MS)
    assert len(receiver.ids("/all")) == tries
    await parts.webhooks.resume("default", name)
    for seconds in (0, *SPANS_S[:-1]):
        await told(parts, after_ms=seconds * 1000)  # it is not back yet
    assert (await parts.webhooks.get("default", name)).given_up == 0
    receiver.answers["/all"] = [204]
    tries = len(receiver.ids("/all"))
    await parts.webhooks.resume("default", name)
    await told(parts)
    found = [json.loads(body)["type"] for _, body in receiver.got["/all"][tries:]]
    assert [one for one in found if one != "webhook.off"] == ["alert.pending", "alert.pending"]


async def test_a_recovered_key_is_posted_to_the_webhooks(parts: Container, receiver: Receiver):
    """By its id alone: the programs of the organisation notify its other administrators."""
    await made(parts, receiver, "/keys", "key.recovered")
    kept = Events(parts.db, keep=100, keep_days=1)
    recovery = Recovery(access=parts.access, audit=parts.audit, events=kept, clock=parts.clock)
    key, _ = await recovery.recover("default", "ana@centre.example", "root")
    assert await parts.events.leads()
    await told(parts)
    [(_, body)] = receiver.got["/keys"]
    event = json.loads(body)
    assert (event["type"], event["data"]) == ("key.recovered", {"key": key.key_id})


async def test_events_are_told_again_on_demand(parts: Container, receiver: Receiver):
    """From a cursor on, or one of them, under their ids; what is not there is said so."""
    name, _ = await made(parts, receiver, "/all")
    await happens(parts, 3)
    await told(parts)
    first, second, third = receiver.ids("/all")
    await parts.webhooks.replay("default", name, cursor="e1")
    await told(parts)
    await parts.webhooks.replay("default", name, event=first)
    await told(parts)
    assert receiver.ids("/all")[3:] == [second, third, first]
    for wrong in ({"cursor": "eff"}, {"event": "evt_none"}):
        with pytest.raises(Problem):
            await parts.webhooks.replay("default", name, **wrong)


async def test_all_that_was_given_up_is_told_again(parts: Container, receiver: Receiver):
    """More than is listed, too. What is no longer kept by then is passed over, and is no failure of whoever was never asked."""
    name, _ = await made(parts, receiver, "/all")
    hook = (await parts.webhooks.get("default", name)).hook
    for number in range(1, GIVEN_UP_SHOWN + 2):
        due = Due(str(number), 9, 1)
        await Hooks(parts.db, Hook).settle(hook, due, Tried(word="never", status=None), 1)
    watched = await parts.webhooks.replay("default", name)
    assert (watched.waiting, watched.given_up) == (GIVEN_UP_SHOWN + 1, 0)
    await told(parts)
    watched = await parts.webhooks.get("default", name)
    assert (watched.given_up, watched.standing.failing) == (TOLD_AT_ONCE, 0)


def test_a_retry_comes_at_any_moment_of_its_span():
    """Counted from the first try, over three days and a few hours; a second from now at least."""
    first, ends = 1_000_000, 0
    for tries, span in enumerate(SPANS_S):
        moments = [due_again(Due(1, tries, first), first, 0) - first for _ in range(200)]
        assert min(moments) >= max(1000, ends * 1000)
        assert max(moments) <= max(1000, (ends + span) * 1000)
        assert max(moments) - min(moments) > span * 300
        ends += span
    assert ends * 1000 >= OFF_AFTER_MS
    assert due_again(Due(1, 0, first), first + 10**9, 0) == first + 10**9 + 1000
    assert due_again(Due(1, 0, first), first, 1e9) == first + DAY_MS


async def test_a_clock_that_is_set_back_keeps_no_event_waiting(parts: Container, library: Library, receiver: Receiver):
    """What was to be tried again is tried as soon, and no sooner, whatever the store's clock shows by then."""
    clock = StoreClock(parts.db)
    await clock.hear()
    own = replace(parts, library=library, clock=clock)
    receiver.answers["/hook"] = [(503, {"Retry-After": "60"}), 200]
    await made(own, receiver, "/hook")
    await happens(own)

    async def told_after(ms: int) -> int:
        parts.db.skew_ms += ms
        await clock.hear()
        await own.webhook_delivery.round()
        await own.webhook_delivery.settled()
        return len(receiver.got["/hook"])

    assert [await told_after(ms) for ms in (0, -3_600_000, 50_000, 15_000)] == [1, 1, 1, 2]


async def test_webhooks_are_made_and_removed_over_http(parts: Container, client: Any, receiver: Receiver):
    """The secret is told once; what cannot be is refused with its place; another organisation's does not exist; nothing in the
    store shows where a webhook leads, or what signs.
    """
    tokens = {
        name: {"Authorization": f"Bearer {(await parts.access.create(org=org, subject='a', scopes=frozenset({scope})))[1]}"}
        for name, org, scope in (("own", "default", "webhooks:write"), ("other", "other", "admin"), ("reader", "default", "alerts:read"))
    }  # fmt: skip
    own = tokens["own"]
    hook_key = own["Authorization"].split("_")[1]
    wrong = {"url": "https://169.254.169.254/", "types": ["alert.sent", "alert.lost"]}
    answer = await client.post("/v1/webhooks", json=wrong, headers=own)
    assert [fault["pointer"] for fault in (await answer.json())["errors"]] == ["/types/1", "/url"]
    for url in ("http://cases.example/", "http://127.0.0.1:99/", f"https://u:p@{HOST}/", f"https://{HOST}:22/"):
        assert (await client.post("/v1/webhooks", json={"url": url}, headers=own)).status == 400
    assert (await client.post("/v1/webhooks", json={"url": receiver.url("/x")}, headers=tokens["reader"])).status == 403
    once = {**own, "Idempotency-Key": "k"}
    answer = await client.post(
        "/v1/webhooks", json={"url": receiver.url("/token-x"), "types": ["alert.sent"]}, headers=once
    )
    assert answer.status == 201
    hook = await answer.json()
    answer = await client.post(
        "/v1/webhooks", json={"url": receiver.url("/token-x"), "types": ["alert.sent"]}, headers=once
    )
    assert answer.status == 409
    [listed] = (await (await client.get("/v1/webhooks", headers=own)).json())["webhooks"]
    assert listed == {name: value for name, value in hook.items() if name != "secret"}
    assert (await (await client.get("/v1/webhooks", headers=tokens["other"])).json())["webhooks"] == []
    path = f"/v1/webhooks/{hook['id']}"
    assert (await client.get(path, headers=tokens["other"])).status == 404
    for raw in await parts.db.execute("KEYS", "*"):
        dump = await parts.db.execute("DUMP", raw)
        assert b"token-x" not in dump
        assert hook["secret"].encode() not in dump
    answer = await client.post(f"{path}/test", headers=own)
    assert await answer.json() == {"taken": True, "answered": 202}
    [(headers, body)] = receiver.got["/token-x"]
    assert Webhook(hook["secret"]).verify(body, headers)["type"] == "ping"
    made_anew = await (await client.post(f"{path}/rotate", headers=own)).json()
    assert made_anew["secret"] != hook["secret"]
    assert (await client.post(f"{path}/replay", json={"cursor": "e0", "event": "evt_1"}, headers=own)).status == 400
    assert (await client.post(f"{path}/replay", json={"cursor": "e0"}, headers=own)).status == 200
    assert (await client.post(f"{path}/resume", headers=own)).status == 200
    assert (await (await client.get(path, headers=own)).json())["latest_given_up"] == []
    await parts.stop_control.stop(f"key:default:{hook_key}", ANA, "in the wrong hands")
    for asked in ("/v1/webhooks", f"{path}/rotate"):
        refusal = await client.post(
            asked, json={"url": receiver.url("/x")} if asked == "/v1/webhooks" else None, headers=own
        )
        assert (refusal.status, (await refusal.json())["type"]) == (409, "/problems/stop-active")
    assert (await client.get(path, headers=own)).status == 409
    assert (await client.delete(path, headers=tokens["other"])).status == 404
    assert (await client.delete(path, headers=own)).status == 204
    assert not [raw for raw in await parts.db.execute("KEYS", "*") if hook["id"].encode() in raw]
