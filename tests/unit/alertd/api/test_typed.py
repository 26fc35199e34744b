"""A handler's signature is its contract: requests are checked by it, and the documents are made from it."""

from __future__ import annotations

import io
from typing import Annotated, Literal

import pytest
from aiohttp import web
from openapi_spec_validator import validate
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.docs.openapi import openapi
from alertd.api.docs.pages import docs_routes
from alertd.api.http.middleware import Admission, install
from alertd.api.http.operations import NDJSON, Operation, Reply
from alertd.common.errors import CATALOGUE


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Outline(Strict):
    type: Literal["Polygon"]
    corners: tuple[float, ...] = Field(min_length=3)


class Circle(Strict):
    type: Literal["circle"]
    radius_km: float


class Note(Strict):
    name: str
    age: int
    shapes: tuple[Annotated[Outline | Circle, Field(discriminator="type")], ...]


class Paging(Strict):
    limit: int = Field(10, ge=1, le=50)
    dry_run: bool = False


class Conditions(Strict):
    if_match: str | None = Field(None, alias="If-Match")


class Kept(BaseModel):
    id: str
    seen: str = ""


async def keep_note(request: web.Request, *, body: Note, query: Paging, headers: Conditions) -> Reply[Kept]:
    """Keeps a note."""
    seen = f"{body.name} {query.limit} {query.dry_run} {headers.if_match}"
    return Reply(Kept(id="1", seen=seen), headers={"Location": "/notes/1"})


async def show_note(request: web.Request, *, number: Annotated[int, Field(ge=1)]) -> Kept:
    return Kept(id=str(number))


async def drop_note(request: web.Request, *, number: int) -> None:
    """Nothing is left."""


async def import_notes(request: web.Request) -> web.StreamResponse:
    size = 0
    async for piece in request.content.iter_any():
        size += len(piece)
    return web.Response(text=f'{{"size":{size}}}\n', content_type=NDJSON)


OPERATIONS = (
    Operation(
        method="POST", path="/notes", handler=keep_note, summary="Keep a note", scope=None, status=201,
        problems=("unknown-region",),
    ),
    Operation(method="GET", path="/notes/{number}", handler=show_note, summary="Show", scope="notes:read"),
    Operation(method="DELETE", path="/notes/{number}", handler=drop_note, summary="Drop", scope=None),
    Operation(
        method="POST", path="/notes/import", handler=import_notes, summary="Import", scope=None,
        takes=(NDJSON,), gives=(NDJSON,), streams=True,
    ),
)  # fmt: skip
GROUPS = {"Notes": {"description": "Kept.", "operations": ["keep_note", "show_note", "drop_note", "import_notes"]}}


@pytest.fixture
def document():
    return openapi(OPERATIONS, GROUPS, title="Notes", version="1", description="Keeps `notes` & <things>.")


@pytest.fixture
async def client(aiohttp_client, document):
    async def recognise(token):
        return None

    app = web.Application(client_max_size=1000)
    install(
        app,
        OPERATIONS,
        Admission(recognise=recognise),
        idempotency=None,
        recorder=None,
        explain=lambda _: None,
    )
    app.add_routes(docs_routes(lambda: document))
    return await aiohttp_client(app)


async def post(client, text, **more):
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    return await client.post(more.pop("to", "/notes"), data=text, headers=headers, **more)


async def faults(response):
    members = await response.json()
    return {(fault.get("pointer"), fault.get("parameter")): fault["detail"] for fault in members["errors"]}


async def test_a_valid_call_reaches_its_handler_with_typed_arguments(client):
    """What was sent arrives as the types of the signature, and the reply with its status and headers."""
    body = '{"name": "a", "age": 1, "shapes": [{"type": "Polygon", "corners": [1, 2, 3.5]}]}'
    response = await post(client, body, to="/notes?limit=7&dry_run=true", headers={"If-Match": '"3"'})
    assert (response.status, response.headers["Location"]) == (201, "/notes/1")
    assert await response.json() == {"id": "1", "seen": 'a 7 True "3"'}


async def test_all_faults_are_told_at_once(client):
    """Faults of the query and of the body come in one answer, each with its place and none with its value."""
    body = '{"age": true, "shapes": [{"type": "Polygon", "corners": ["secret", 1, 2]}], "more": 1}'
    response = await post(client, body, to="/notes?limit=99&limt=1&dry_run=secret")
    assert response.status == 400
    assert response.content_type == "application/problem+json"
    assert set(await faults(response)) == {
        (None, "limit"), (None, "limt"), (None, "dry_run"),
        ("/name", None), ("/age", None), ("/shapes/0/corners/0", None), ("/more", None),
    }  # fmt: skip
    assert "secret" not in await response.text()


async def test_an_unknown_parameter_is_refused_with_the_nearest_name(client):
    """A misspelt parameter is never ignored."""
    response = await client.delete("/notes/1?force=1")
    assert await faults(response) == {(None, "force"): "There is no such parameter."}
    response = await post(client, "{}", to="/notes?limt=1")
    assert (await faults(response))[None, "limt"] == "There is no such parameter; the nearest is limit."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"name": ', "not JSON"),
        ('{"name": "a", "name": "b"}', "twice"),
        ('{"age": NaN}', "NaN"),
        ("[" * 900, "nested|not JSON"),
        (b'"\xff"', "UTF-8"),
        ('{"age": ' + "1" * 900 + "}", ""),
        ("", "required"),
    ],
)
async def test_a_body_that_readers_could_differ_about_is_refused(client, text, reason):
    """Broken JSON, a name twice, NaN, endless nesting and other encodings are told from each other."""
    response = await post(client, text)
    assert response.status == 400
    told = " ".join((await faults(response)).values())
    assert any(part in told for part in reason.split("|"))


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "slug"),
    [
        ("GET", "/nowhere", {}, 404, "not-found"),
        ("DELETE", "/notes/x", {}, 404, "not-found"),
        ("PUT", "/notes/1", {}, 405, "wrong-method"),
        ("POST", "/notes", {"data": "a=1"}, 415, "wrong-content-type"),
        ("POST", "/notes", {"json": {"name": "a" * 2000}}, 413, "too-large"),
        ("POST", "/notes/import", {"json": []}, 415, "wrong-content-type"),
        ("DELETE", "/notes/1", {"json": {"a": 1}}, 400, "invalid-request"),
    ],
)
async def test_every_refusal_is_a_problem_of_the_catalogue(client, method, path, sent, status, slug):
    """aiohttp's own refusals look like ours."""
    response = await client.request(method, path, **sent)
    members = await response.json(content_type="application/problem+json")
    assert (response.status, members["status"], members["type"]) == (status, status, f"/problems/{slug}")
    assert ("Allow" in response.headers) == (status == 405)


async def test_a_stream_is_neither_bounded_nor_read_ahead(client):
    """An import may be larger than any document."""
    response = await client.post("/notes/import", data=io.BytesIO(b"x" * 5000), headers={"Content-Type": NDJSON})
    assert (response.status, await response.text()) == (200, '{"size":5000}\n')


async def test_what_has_no_body_answers_204(client):
    """A handler that returns nothing says so."""
    response = await client.delete("/notes/1", json={})
    assert (response.status, await response.read()) == (204, b"")


def test_a_handler_that_does_not_fit_its_path_is_found_at_the_start():
    """A variable that nobody takes is a mistake of ours, not of a caller."""
    wrong = Operation(method="GET", path="/{id}", handler=show_note, summary="", scope=None)
    with pytest.raises(TypeError, match="show_note"):
        openapi([wrong], {"": {"description": "", "operations": ["show_note"]}}, title="", version="", description="")


def test_the_document_is_openapi_3_1_and_tells_what_is_checked(document):
    """Parameters, scope, problems and the Idempotency-Key are in the document."""
    validate(document)
    keep, show = document["paths"]["/notes"]["post"], document["paths"]["/notes/{number}"]["get"]
    assert [each["name"] for each in keep["parameters"]] == ["limit", "dry_run", "If-Match"]
    assert keep["responses"]["422"] == {"$ref": "#/components/responses/unknown-region"}
    assert {"201", "400", "413", "415", "500", "503"} <= set(keep["responses"])
    assert (show["x-scope"], show["security"]) == ("notes:read", [{"key": []}])
    assert document["paths"]["/notes/{number}"]["delete"]["responses"]["204"]["description"] == "No Content"


async def test_the_documentation_needs_nothing_from_outside(client):
    """One page, one style sheet, one script, and a page for every type of problem."""
    page = await (await client.get("/docs")).text()
    assert "Keep a note" in page
    assert "<code>notes</code> &amp; &lt;things&gt;" in page
    assert page.count("<script") == 1
    assert "http" not in page.replace("httpx", "").replace("HTTP", "")
    for file, kind in (("docs.css", "text/css"), ("docs.js", "text/javascript")):
        answer = await client.get(f"/docs/{file}")
        assert (answer.status, answer.content_type) == (200, kind)
        assert file in page
        assert "http" not in (await answer.text())
    assert (await (await client.get("/openapi.json")).json())["openapi"] == "3.1.0"
    for slug in CATALOGUE:
        assert (await client.get(f"/problems/{slug}")).status == 200
    assert (await client.get("/problems/none")).status == 404
