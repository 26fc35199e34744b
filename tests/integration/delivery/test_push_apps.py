"""What apps do with a push: they ask how its alert stands, and say that it came; and what FCM's own answers may remove."""

from __future__ import annotations

import io
import itertools
import json
from typing import Any

import pytest

from alertd.common.ids import TokenPurpose, new_id
from alertd.model.states import AlertState
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import counts, lease_of, planned, register, send, silence, tokens

PEOPLE = 21


@pytest.fixture
async def told(parts: Container, sandbox: Sandbox, sample: dict[str, Any]) -> AlertRecord:
    """An alert that FCM took for everybody."""
    await register(parts, PEOPLE)
    record = await planned(parts, sample)
    await send(parts, record)
    return record


def path_of(parts: Container, record: AlertRecord, row: int) -> str:
    return f"/r/{parts.tags.make(record.id, row, TokenPurpose.ACK)}"


async def test_the_schema_is_published(client: Any):
    """Anybody may read it, from any page, and keep it for a while; what is not there is not found."""
    async with client.get("/schemas/push-1.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/schema+json")
        assert json.loads(await answer.text())["$id"] == "/schemas/push-1.json"
        assert "public" in answer.headers["Cache-Control"]
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    for name in ("push-0.json", "..%2Fapi%2Fpush.py", "push-1"):
        async with client.get(f"/schemas/{name}") as answer:
            assert (answer.status, answer.content_type) == (404, "application/problem+json")


async def test_an_acknowledgement_is_taken_whatever_its_body(parts: Container, client: Any, told: AlertRecord):
    """Apps, beacons and broken proxies send what they like: the tag alone counts."""
    bodies = (b"", b"{", b"\xff" * 100, b'{"state": "failed"}', b"x" * 1_000_000)
    kinds = ("application/json", "text/plain;charset=UTF-8", "no kind at all")
    for row, (body, kind) in enumerate(itertools.product(bodies, kinds)):
        headers = {"Content-Type": kind}
        async with client.post(path_of(parts, told, row), data=io.BytesIO(body), headers=headers) as answer:
            assert (answer.status, await answer.read()) == (204, b""), (body[:20], kind)
        assert await counts(parts, told) == {"accepted": PEOPLE - row - 1, "delivered": row + 1}


async def test_what_was_seen_stays_seen(parts: Container, client: Any, told: AlertRecord):
    """In any order and as often as the app likes: a row is delivered, and the ledger says that it was seen."""
    orders = (["seen"], ["delivered", "seen"], ["seen", "delivered"], ["delivered", "seen", "seen", "seen"])
    for row, said in enumerate(orders):
        for state in said:
            async with client.post(f"{path_of(parts, told, row)}?state={state}") as answer:
                assert answer.status == 204
    ledger = [(one.state, one.reason) async for one in parts.reports.deliveries(told)]
    assert ledger == [("delivered", "seen")] * len(orders) + [("accepted", "none")] * (PEOPLE - len(orders))
    assert await counts(parts, told) == {"accepted": PEOPLE - len(orders), "delivered": len(orders)}


async def test_a_word_that_is_none_is_refused(parts: Container, client: Any, told: AlertRecord):
    """An app that says something else is told so, and nothing changes."""
    async with client.post(f"{path_of(parts, told, 4)}?state=failed") as answer:
        assert (answer.status, (await answer.json())["errors"][0]["parameter"]) == (400, "state")
    assert await counts(parts, told) == {"accepted": PEOPLE}


async def test_a_forged_tag_and_an_old_one_get_the_same_answer(parts: Container, client: Any, told: AlertRecord):
    """Nobody learns whether a tag was ever one: forged, cut, for another door, of a row or an alert that there is not."""
    good = parts.tags.make(told.id, 4, TokenPurpose.ACK)
    gone = parts.tags.make(new_id(1), 4, TokenPurpose.ACK)
    forged = good[:-2] + ("AA" if good[-2:] != "AA" else "BB")
    tags = (
        forged,
        good[:-4],
        "x",
        gone,
        parts.tags.make(told.id, PEOPLE, TokenPurpose.ACK),
        parts.tags.make(told.id, 4, TokenPurpose.RECEIPT),
    )
    answers = set()
    for tag in tags:
        async with client.post(f"/r/{tag}") as answer:
            told_so = await answer.json()
            answers.add((answer.status, told_so["type"], told_so["detail"]))
    assert answers == {(404, "/problems/not-found", "There is no such message.")}
    assert await counts(parts, told) == {"accepted": PEOPLE}


@pytest.mark.parametrize(
    ("state", "show"),
    [
        (AlertState.SENDING, True),
        (AlertState.SENT, True),
        (AlertState.CANCELLED, False),
        (AlertState.STOOD_DOWN, False),
    ],
)
async def test_an_app_learns_how_an_alert_stands(
    parts: Container, client: Any, told: AlertRecord, state: AlertState, show: bool
):
    """Before it shows a name it asks: yes while people are to be told, no from the moment on that it is taken back."""
    await parts.alerts.step(told.id, AlertState.SENDING)
    await parts.alerts.step(told.id, state)
    async with client.get(path_of(parts, told, 0)) as answer:
        standing = await answer.json()
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
        assert (standing["show"], standing["state"]) == (show, state)
    async with client.get(f"/r/{parts.tags.make(told.id, 0, TokenPurpose.RECEIPT)}") as answer:
        assert answer.status == 404


async def test_a_worker_of_another_site_may_read_every_answer(parts: Container, client: Any, told: AlertRecord):
    """The centre's own site has another origin. A refusal that its worker could not read would be no answer, without which it shows the name."""
    path, forged, no_tag = path_of(parts, told, 0), "/r/forged", "/r/no%20tag"
    asked = {("GET", path): 200, ("GET", forged): 404, ("GET", no_tag): 404, ("GET", f"{path}?a=1"): 400}
    said = {("POST", path): 204, ("POST", forged): 404, ("POST", f"{path}?state=failed"): 400}
    for (method, where), status in (asked | said).items():
        async with client.request(method, where) as answer:
            assert (answer.status, answer.headers.get("Access-Control-Allow-Origin")) == (status, "*"), (method, where)
    for elsewhere in ("/v1/alerts", "/v1/carriers", "/r", "/healthz"):
        async with client.get(elsewhere) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers, elsewhere


async def test_only_unregistered_removes_an_address(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """A storm of bad requests, of 503, of wrong senders and of a refused key costs nobody their address; UNREGISTERED does."""
    await register(parts, 60)
    storm = ["bad-request", "bad-token", "sender-mismatch", "unavailable", "throttle", "forbidden", "apns-key", "html"]
    rules = [Rule(f"token-{n}", behaviour) for n, behaviour in enumerate(storm, start=10)]
    sandbox.push.script.set(Rule("token-5", "unregistered"), *rules)  # token-5 and token-50 to token-59
    record = await planned(parts, sample)
    await send(parts, record)
    found = {index for index, held in enumerate(await tokens(parts, [f"p{n}" for n in range(60)])) if not held}
    assert found == {5, *range(50, 60)}
    by_reason: dict[str, int] = {}
    async for one in parts.reports.deliveries(record):
        by_reason[f"{one.state} {one.reason}"] = by_reason.get(f"{one.state} {one.reason}", 0) + 1
    assert by_reason.pop("accepted none") == 60 - 11 - len(storm)
    assert by_reason.pop("failed gone") == 11
    assert by_reason.pop("failed bad_message") == 1
    assert by_reason.pop("failed bad_address") == 2
    assert sum(by_reason.values()) == 5  # to be tried again
    assert all(word.startswith(("queued", "unknown")) for word in by_reason)


async def try_until_it_rests(parts: Container, record: AlertRecord) -> None:
    """Drain what there is, until the carrier has failed so often that it rests."""
    dispatch = worker_of(parts).feeder.dispatch
    while not dispatch.health.failing and (
        lease := await lease_of(parts.work, record.id, "push", parts.carriers.held("push"))
    ):
        await dispatch.drain(lease, lambda: bool(dispatch.health.failing))


@pytest.mark.parametrize("behaviour", ["bad-request", "unavailable", "html", "forbidden"])
async def test_a_storm_removes_nobody(parts: Container, sandbox: Sandbox, sample: dict[str, Any], behaviour: str):
    """When FCM answers everybody so, and again whenever they are tried: all addresses stay, and the next alert reaches all."""
    await register(parts, PEOPLE)
    sandbox.push.script.set(Rule("token-", behaviour))
    record = await planned(parts, sample)
    for _ in range(3):
        await try_until_it_rests(parts, record)
        await silence(parts.db, record.id)
        parts.db.skew_ms += 120_000
    assert all(await tokens(parts, [f"p{n}" for n in range(PEOPLE)]))
    assert "accepted" not in await counts(parts, record)
    sandbox.push.script.set()
    again = await planned(parts, sample)
    parts.db.skew_ms += 3_600_000
    await send(parts, again)
    assert await counts(parts, again) == {"accepted": PEOPLE}
