"""Around each act: written down before it is done, and what came of it before anybody is told."""

from __future__ import annotations

import pytest
from aiohttp import web

from alertd.api.http.call import note
from alertd.api.http.middleware import Admission, install
from alertd.api.http.operations import Act, Operation
from alertd.common.errors import Problem
from alertd.service.access import Credential
from alertd.service.records.audit import BEGUN

CREDENTIALS = {"w": Credential(key_id="w", org="default", subject="w", scopes=frozenset({"notes:write"}))}


class AwayError(Exception):
    """The store cannot be reached."""


class Recorder:
    """Keeps entries in memory, and fails where it is told to."""

    def __init__(self):
        self.said = []
        self.away = set()

    def hidden(self, name):
        return f"hidden {len(name)}"

    async def begin(self, _who, act, object_):
        return self._say(BEGUN, act, object_, {})

    async def end(self, _who, act, outcome, noted, *, of):
        self._say(outcome, act, noted.object, dict(noted.facts), of)

    def _say(self, outcome, act, object_, facts, of=0):
        if outcome in self.away:
            raise AwayError
        self.said.append((outcome, act, object_, facts, of))
        return len(self.said)


class Deeds:
    """What is done, and when it fails."""

    def __init__(self, recorder):
        self.recorder = recorder
        self.seen = []
        self.fail = None

    async def send_it(self, request: web.Request, *, name: str) -> None:  # noqa: ARG002
        if self.fail is not None:
            raise self.fail
        self.seen.append([outcome for outcome, *_ in self.recorder.said])
        note(request, people=7)

    async def stop_it(self, request: web.Request) -> None:  # noqa: ARG002
        self.seen.append([outcome for outcome, *_ in self.recorder.said])

    async def look_at(self, request: web.Request, *, person: str) -> None: ...

    async def read_it(self, request: web.Request) -> None: ...


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def deeds(recorder):
    return Deeds(recorder)


@pytest.fixture
async def client(aiohttp_client, recorder, deeds):
    async def recognise(token):
        return CREDENTIALS.get(token)

    def explain(error):
        return Problem("store-unavailable", "Away.") if isinstance(error, AwayError) else None

    def row(method, path, handler, act):
        return Operation(method=method, path=path, handler=handler, summary="", scope="notes:write", act=act)

    rows = (
        row("POST", "/send/{name}", deeds.send_it, Act("send")),
        row("POST", "/stop", deeds.stop_it, Act("stop", stops_harm=True)),
        row("GET", "/people/{person}", deeds.look_at, Act("look", of_person=True)),
        row("GET", "/read", deeds.read_it, None),
    )
    app = web.Application()
    install(app, rows, Admission(recognise=recognise), idempotency=None, recorder=recorder, explain=explain)
    return await aiohttp_client(app, headers={"Authorization": "Bearer w"})


async def test_an_act_is_written_before_it_is_done_and_before_it_is_told(client, recorder, deeds):
    """Both entries are there when the answer comes; the second names the first, and what the call told of itself."""
    assert (await client.post("/send/a1")).status == 204
    assert deeds.seen == [[BEGUN]]
    assert recorder.said == [(BEGUN, "send", "a1", {}, 0), ("done", "send", "a1", {"people": 7}, 1)]


async def test_what_cannot_be_written_is_not_done(client, recorder, deeds):
    """The store is away before the act: 503, and nothing happened."""
    recorder.away = {BEGUN}
    assert (await client.post("/send/a1")).status == 503
    assert deeds.seen == recorder.said == []


async def test_what_was_done_and_cannot_be_written_is_not_told_as_done(client, recorder):
    """The store goes away in between: no 2xx without its entry."""
    recorder.away = {"done"}
    assert (await client.post("/send/a1")).status == 503
    assert [outcome for outcome, *_ in recorder.said] == [BEGUN]


async def test_what_stops_harm_is_done_even_then(client, recorder, deeds):
    """A cancel does not wait for the audit; but it is told as done only once it is in there."""
    recorder.away = {BEGUN}
    assert (await client.post("/stop")).status == 204
    assert recorder.said == [("done", "stop", "", {}, 0)]
    recorder.away = {BEGUN, "done"}
    assert (await client.post("/stop")).status == 503
    assert len(deeds.seen) == 2


@pytest.mark.parametrize(("error", "outcome", "slug"), [
    (Problem("same-person", "No."), "refused", "same-person"),
    (AwayError(), "failed", "store-unavailable"),
    (RuntimeError("child's name"), "failed", "internal-error"),
])  # fmt: skip
async def test_refusals_and_failures_are_written_too(client, recorder, deeds, error, outcome, slug):
    """With the problem's type alone; a failure may have come through, and is called otherwise than a refusal."""
    deeds.fail = error
    assert (await client.post("/send/a1")).status >= 400
    assert recorder.said[1] == (outcome, "send", "a1", {"problem": slug}, 1)
    recorder.away = {outcome}
    assert (await client.post("/send/a1")).status >= 400


async def test_people_are_hidden_and_other_calls_are_none(client, recorder):
    """A subscriber's id may be a name. What is no act leaves no entry, nor what its key may not do."""
    assert (await client.get("/people/Maria")).status == 204
    assert [object_ for _, _, object_, *_ in recorder.said] == ["hidden 5"] * 2
    assert (await client.get("/read")).status == 204
    assert (await client.post("/send/a1", headers={"Authorization": "Bearer nobody"})).status == 401
    assert len(recorder.said) == 2
