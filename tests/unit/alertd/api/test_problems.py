"""Around every call: a name, a known caller, one way to fail, and a POST that is done once."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import weakref
from types import SimpleNamespace

import pytest
import structlog
from aiohttp import ClientPayloadError, web
from pydantic import BaseModel

from alertd.api.http.bodies import KEYLESS_BYTES
from alertd.api.http.call import PREPARED_ID, credential, is_replay
from alertd.api.http.idempotency import Done, Fresh, Mismatch, Running
from alertd.api.http.middleware import Admission, install
from alertd.api.http.operations import NDJSON, Operation
from alertd.common.errors import Problem
from alertd.service.access import Credential

WRITER = {"Authorization": "Bearer writer"}
CREDENTIALS = {
    "writer": Credential(key_id="w", org="default", subject="w", scopes=frozenset({"notes:write"})),
    "other": Credential(key_id="o", org="default", subject="o", scopes=frozenset({"notes:write"})),
    "reader": Credential(key_id="r", org="default", subject="r", scopes=frozenset({"notes:read"})),
}


class Note(BaseModel):
    text: str = ""


class Kept(BaseModel):
    id: str | None
    by: str


class StoreDownError(Exception):
    pass


class Keys:
    """Keeps idempotency keys in memory, as the store does: digest, id, status, and whether anyone is at it."""

    def __init__(self):
        self.kept = {}

    async def begin(self, caller, key, digest):
        entry = self.kept.setdefault((caller, key), {"digest": digest, "id": f"id-{len(self.kept)}", "status": None})
        if entry["digest"] != digest:
            return Mismatch()
        if entry["status"]:
            return Done(entry["id"], entry["status"])
        if entry.get("running"):
            return Running(retry_after_s=3)
        entry["running"] = True
        return Fresh(entry["id"])

    async def finish(self, caller, key, made_id, status):
        self.kept[caller, key] |= {"id": made_id, "status": status, "running": False}

    async def release(self, caller, key, *, forget):
        self.kept[caller, key]["running"] = False
        if forget:
            del self.kept[caller, key]


class Notes:
    """A service whose next answer can be told."""

    def __init__(self):
        self.made = []
        self.fail = None
        self.room = True
        self.imported = []
        self.last = None
        self.recognised = 0
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def keep_note(self, request: web.Request, *, body: Note) -> Kept:
        if self.fail is not None:
            raise self.fail
        self.started.set()
        self.last = weakref.ref(request)
        await self.go_on.wait()
        if not is_replay(request):
            self.made.append((request.get(PREPARED_ID), body.text))
        return Kept(id=request.get(PREPARED_ID), by=credential(request).subject)

    async def stream_notes(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        raise RuntimeError("in the middle")

    async def import_notes(self, request: web.Request) -> web.StreamResponse:
        self.imported.append(await request.text())
        return web.Response(text="{}", content_type=NDJSON)

    async def stop_notes(self, request: web.Request) -> None:  # noqa: ARG002
        self.made.clear()

    async def thank(self, request: web.Request, *, body: Note) -> None:  # noqa: ARG002
        self.made.append(body.text)

    async def moved(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002
        raise web.HTTPFound("/elsewhere")


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def observed():
    return []


@pytest.fixture
async def client(aiohttp_client, notes, observed):
    async def recognise(token):
        notes.recognised += 1
        return CREDENTIALS.get(token)

    def explain(error):
        if isinstance(error, StoreDownError):
            return Problem("store-unavailable", "The store does not answer.", headers={"Retry-After": "5"})
        return None

    rows = (
        Operation(method="POST", path="/notes", handler=notes.keep_note, summary="", scope="notes:write", status=201),
        Operation(method="POST", path="/stop", handler=notes.stop_notes, summary="", scope="notes:write", essential=True),
        Operation(
            method="POST", path="/import", handler=notes.import_notes, summary="", scope="notes:write",
            takes=(NDJSON,), gives=(NDJSON,), streams=True,
        ),
        Operation(method="GET", path="/stream", handler=notes.stream_notes, summary="", scope=None),
        Operation(method="POST", path="/thanks", handler=notes.thank, summary="", scope=None),
        Operation(method="GET", path="/moved", handler=notes.moved, summary="", scope=None),
    )  # fmt: skip
    app = web.Application(client_max_size=4 * KEYLESS_BYTES)
    install(
        app, rows, Admission(recognise=recognise, takes_writes=lambda: notes.room), idempotency=Keys(), recorder=None, explain=explain,
        timer=lambda *seen: SimpleNamespace(observe=lambda s: observed.append((*seen, s))), body_s=0.2,
    )  # fmt: skip
    return await aiohttp_client(app)


async def keep(client, text="a", key=None, **headers):
    sent = {**WRITER, **headers, **({"Idempotency-Key": key} if key else {})}
    return await client.post("/notes", json={"text": text}, headers=sent)


async def problem(response):
    return (await response.json(content_type="application/problem+json"))["type"].removeprefix("/problems/")


@pytest.mark.parametrize(
    ("sent", "status", "challenge"),
    [
        ({}, 401, 'Bearer realm="alertd"'),
        ({"Authorization": "Basic d3JpdGVyOg=="}, 401, 'Bearer realm="alertd"'),
        ({"Authorization": "Bearer nobody"}, 401, 'Bearer realm="alertd", error="invalid_token"'),
        ({"Authorization": "Bearer reader"}, 403, 'Bearer realm="alertd", error="insufficient_scope", scope="notes:write"'),
    ],
)  # fmt: skip
async def test_a_call_without_the_right_key_does_nothing(client, notes, sent, status, challenge):
    """No key, an unknown key and a key without the scope are told from each other."""
    response = await client.post("/notes", json={}, headers=sent)
    assert (response.status, response.headers["WWW-Authenticate"]) == (status, challenge)
    assert await problem(response) == ("unauthenticated" if status == 401 else "not-allowed")
    assert notes.made == []


async def test_a_failure_tells_the_caller_nothing_and_the_log_where(client, notes):
    """An unforeseen exception's text, which may hold a person's name, is in neither the answer nor the log."""
    notes.fail = RuntimeError("Anna Muster +4179")
    with structlog.testing.capture_logs() as logs:
        response = await keep(client, **{"X-Request-Id": "call-7"})
    members = await response.json(content_type="application/problem+json")
    assert (response.status, members["type"], members["request_id"]) == (500, "/problems/internal-error", "call-7")
    assert logs[0]["request_id"] == "call-7"
    assert "keep_note" in logs[0]["places"][-1]
    assert "Anna" not in repr(logs) + repr(members)


async def test_what_is_wrong_with_the_store_is_told_with_a_time_to_come_back(client, notes):
    """Exceptions that the application can explain become their problems."""
    notes.fail = StoreDownError()
    response = await keep(client)
    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert await problem(response) == "store-unavailable"


async def test_a_problem_has_its_own_members_and_headers(client, notes):
    """What a lower layer adds to a problem reaches the caller, and cannot replace what every problem has."""
    notes.fail = Problem("audience-changed", "It changed.", seen=4, now=9, title="mine")
    members = await (await keep(client)).json(content_type="application/problem+json")
    assert (members["seen"], members["now"], members["detail"]) == (4, 9, "It changed.")
    assert members["title"] == "The audience has changed"


@pytest.mark.parametrize(("given", "kept"), [("a-1.b", True), ("x" * 200, False), ("a b", False), ("ä", False)])
async def test_a_call_keeps_the_name_it_came_with_if_that_is_sane(client, given, kept):
    """A request id is echoed, or replaced if it could break a line of the log."""
    response = await client.get("/nowhere", headers={"X-Request-Id": given})
    name = response.headers["X-Request-Id"]
    assert (name == given) is kept
    assert name


async def test_every_answer_says_that_nobody_may_keep_or_embed_it(client):
    """Refusals have the security headers too."""
    headers = (await client.get("/nowhere")).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


async def test_nothing_is_left_of_a_call_that_is_answered(client, notes):
    """Its key and what was sent are gone with the next one on the connection, and not when the collector comes."""
    gc.disable()
    try:
        await keep(client)
        first = notes.last
        await keep(client)
        assert first() is None
    finally:
        gc.enable()


async def test_calls_are_timed_by_the_pattern_of_their_route(client, observed):
    """Labels of a metric are of a closed set: no path that someone made up is among them."""
    await client.get("/made/up")
    await keep(client)
    await client.get("/moved", allow_redirects=False)
    assert [seen[:3] for seen in observed] == [
        ("none", "GET", "404"),
        ("/notes", "POST", "201"),
        ("/moved", "GET", "302"),
    ]
    assert all(0 <= seen[3] < 60 for seen in observed)


async def test_half_an_answer_is_broken_off_and_never_looks_whole(client):
    """A stream that fails ends in a broken connection: no problem is written into its middle."""
    response = await client.get("/stream")
    with pytest.raises(ClientPayloadError):
        await response.read()


async def test_the_same_request_again_is_answered_and_not_done(client, notes):
    """The second answer has the first one's id and status."""
    first, again = await keep(client, key="k"), await keep(client, key="k")
    assert await first.json() == await again.json() == {"id": "id-0", "by": "w"}
    assert (first.status, again.status) == (201, 201)
    assert ("Idempotent-Replayed" in first.headers, "Idempotent-Replayed" in again.headers) == (False, True)
    assert notes.made == [("id-0", "a")]


async def test_a_key_is_for_one_request_of_one_caller(client, notes):
    """Another body is refused; another caller's key of the same name is another key."""
    await keep(client, "a", key="k")
    assert await problem(await keep(client, "b", key="k")) == "idempotency-mismatch"
    assert (await keep(client, "b", key="k", Authorization="Bearer other")).status == 201
    assert notes.made == [("id-0", "a"), ("id-1", "b")]


async def test_a_request_that_is_still_running_is_not_started_twice(client, notes):
    """Whoever repeats too early is told when to come back."""
    notes.go_on.clear()
    first = asyncio.create_task(keep(client, key="k"))
    await notes.started.wait()
    response = await keep(client, key="k")
    assert (response.status, response.headers["Retry-After"]) == (409, "3")
    assert await problem(response) == "idempotency-in-progress"
    notes.go_on.set()
    assert (await first).status == 201
    assert notes.made == [("id-0", "a")]


async def test_a_refusal_frees_the_key_and_a_failure_keeps_its_id(client, notes):
    """A corrected request may use the key again; a failed one that is repeated gets the id it would have had."""
    sent = {**WRITER, "Idempotency-Key": "k"}
    assert (await client.post("/notes", json={"text": 1}, headers=sent)).status == 400
    notes.fail = StoreDownError()
    assert (await keep(client, "a", key="k")).status == 503
    assert await problem(await keep(client, "b", key="k")) == "idempotency-mismatch"
    notes.fail = None
    assert (await (await keep(client, "a", key="k")).json())["id"] == "id-0"


@pytest.mark.parametrize("key", ["two words", "x" * 256])
async def test_a_key_that_cannot_be_one_is_refused(client, notes, key):
    """Nobody learns only at the retry that the key was no key."""
    response = await keep(client, key=key)
    assert (await response.json(content_type=None))["errors"][0]["parameter"] == "Idempotency-Key"
    assert notes.made == []


async def test_what_a_full_disk_refuses_was_never_begun(client, notes):
    """While there is no room, a POST claims no key: even another one may have it afterwards. What stops harm goes on."""
    notes.room = False
    response = await keep(client, "a", key="k")
    assert (response.status, await problem(response)) == (503, "store-unavailable")
    assert (await client.post("/stop", headers=WRITER)).status == 204
    notes.room = True
    assert (await keep(client, "b", key="k")).status == 201
    assert notes.made == [("id-0", "b")]


async def test_a_long_body_takes_a_key(client, notes):
    """Strangers could fill the memory with bodies that are not whole yet."""

    def sent(path, size, **headers):
        body = io.BytesIO(json.dumps({"text": "a" * size}).encode())
        return client.post(path, data=body, headers={"Content-Type": "application/json", **headers})

    response = await sent("/thanks", KEYLESS_BYTES)
    assert (response.status, await problem(response), notes.made) == (413, "too-large", [])
    assert (await sent("/thanks", KEYLESS_BYTES // 2)).status == 204
    looked = await client.get("/moved", data=io.BytesIO(b"a" * (KEYLESS_BYTES + 1)))
    assert looked.status == 413
    assert (await sent("/notes", KEYLESS_BYTES, **WRITER)).status == 201


async def test_whoever_says_all_at_once_is_looked_up_once(client, notes):
    """Whether they still may is asked again where it takes long: it costs a round trip to the store."""
    assert (await keep(client)).status == 201
    assert notes.recognised == 1


async def test_a_body_that_does_not_come_keeps_nothing(client, notes):
    """Whoever sends half of one, and nothing more, has an answer, and the connection goes."""
    given = asyncio.Event()

    async def half():
        yield b'{"text": '
        await given.wait()

    headers = {**WRITER, "Content-Type": "application/json"}
    answer = await client.post("/notes", data=half(), headers=headers)
    assert (answer.status, await problem(answer)) == (400, "invalid-request")
    assert notes.made == []
    given.set()


async def test_a_stream_is_done_each_time_whatever_its_key(client, notes):
    """A key promises nothing about a body that is read in pieces: two files under one key are both taken."""
    headers = {**WRITER, "Idempotency-Key": "k", "Content-Type": NDJSON}
    answers = [await client.post("/import", data=text, headers=headers) for text in ("one", "two", "two")]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert not any("Idempotent-Replayed" in answer.headers for answer in answers)
    assert notes.imported == ["one", "two", "two"]
