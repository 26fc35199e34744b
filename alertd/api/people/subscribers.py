"""HTTP operations on subscribers: write one or a stream, read, find by address, remove. Subscribers belong to the
organisation that runs the service, so only its keys and operators have these scopes (`access.OF_HOST`).
"""

from __future__ import annotations

import asyncio
import json
from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter, ValidationError

from alertd.api.http.bodies import check_json, pieces_of
from alertd.api.http.call import Conditions, etag, note, services
from alertd.api.http.operations import NDJSON, Act, Operations, Reply
from alertd.api.http.problems import no_room
from alertd.api.shapes import Query
from alertd.common.errors import Fault, Problem
from alertd.model.faults import faults_of
from alertd.model.fields import Mailbox, PhoneNumber
from alertd.model.registration import (
    EXAMPLE,
    AddressDocument,
    Endpoint,
    Part,
    PlaceDocument,
    PlaceName,
    Registration,
    SubscriberId,
    Token,
)
from alertd.model.states import CHANNELS
from alertd.model.subscriber import Subscriber, to_document
from alertd.service.container import Container
from alertd.service.people.registration_intake import Entry

#: Maximum lines and bytes of a batch. alertd writes a batch in one round trip for each step, and reports it at once.
IMPORT_LINES, IMPORT_BYTES = 1_000, 1_000_000
LONGEST_LINE = 64 * 1024
PLACE_FIELDS = ("point", "region", "at", "accuracy_m")  # a new place also removes the old one's other members
AddressNumber = Annotated[int, Field(ge=0, le=255)]


class SubscriberReply(BaseModel):
    id: str
    registration: dict[str, Any]


class SubscriberChanged(BaseModel):
    """The result of a partial change. It omits the rest: a caller who writes a part may lack the right to read, and
    reads are audited.
    """

    id: str


class SubscriberList(BaseModel):
    subscribers: list[SubscriberReply]
    next: str | None = Field(description="Send it as `cursor` to get the next page; null at the end.")


class PageQuery(Query):
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, description="`next` of the previous page.", pattern=r"^\d{1,13}$")


class Patch(RootModel[dict[str, Any]]):
    """Members to replace; null removes one (JSON merge patch, RFC 7396)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"places": {"work": {"point": [-5.98, 37.39]}}}]})


class Lookup(BaseModel):
    """One address: its channel and its value."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    channel: Literal["push", "webpush", "sms", "mail"]
    value: Annotated[
        str,
        Field(
            min_length=1, max_length=4096, examples=["+34600000000"],
            description="A token, a number, a mailbox, or the endpoint of a browser's subscription.",
        ),
    ]  # fmt: skip


Only = Annotated[
    tuple[Part, ...] | None,
    Field(
        min_length=1,
        description="For an existing subscriber, writes only these parts and keeps the rest. Default: the line replaces everything.",
    ),
]


class ImportLine(Registration):
    """One line of an import: a subscriber's id and registration."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "maria", **EXAMPLE}]})

    id: SubscriberId
    only: Only = None


class RefusedLine(BaseModel):
    line: int = Field(description="1 is the first line that is not empty.")
    type: str = Field(description="As in a problem.")
    detail: str
    errors: list[dict[str, str]] = Field(description="Each with `pointer` and `detail`.")


class ImportReport(BaseModel):
    """The progress of an import: sent after every thousand lines or megabyte, and at the end."""

    line: int = Field(description="Lines read, from the beginning.")
    written: int
    refused: int
    faults: list[RefusedLine] = Field(description="Faults of the lines since the previous report.")


class _Line(BaseModel):
    """The members of an import's line that are not part of the registration."""

    model_config = ConfigDict(extra="allow")
    id: SubscriberId
    only: Only = None


#: The path of one subscriber. It does not match "import" and "lookup", which are operations on all subscribers.
_ONE = r"/v1/subscribers/{id:(?!(?:import|lookup)$)[^/]+}"
OPERATIONS = Operations()


@OPERATIONS.add("GET", "/v1/subscribers", "List subscribers", "subscribers:read", act=Act("subscriber.list"))
async def list_subscribers(request: web.Request, *, query: PageQuery) -> SubscriberList:
    """Returns a page of all subscribers in the order of registration. New subscribers appear at the end."""
    found, following = await services(request).registry.page(int(query.cursor or 0), query.limit)
    return SubscriberList(
        subscribers=[SubscriberReply(id=person.id, registration=to_document(person)) for person in found],
        next=None if following is None else str(following),
    )


@OPERATIONS.add(
    "PUT", _ONE, "Write a subscriber", "subscribers:write", also=(201,), tells=("ETag",),
    problems=("duplicate-address",),
)  # fmt: skip
async def put_subscriber(
    request: web.Request, *, id: SubscriberId, headers: Conditions, body: Registration
) -> Reply[SubscriberReply]:
    """Creates a subscriber or replaces the whole registration. Addresses that are in the old and the new one keep their
    numbers.
    """
    person, is_new = await services(request).registry.put(id, body, headers.version)
    return _reply(person, 201 if is_new else 200)


@OPERATIONS.add(
    "GET", _ONE, "Show a subscriber", "subscribers:read", tells=("ETag",), act=Act("subscriber.show", of_person=True)
)
async def show_subscriber(request: web.Request, *, id: SubscriberId) -> Reply[SubscriberReply]:
    """Returns one subscriber with the whole registration."""
    return _reply(await services(request).registry.get(id))


@OPERATIONS.add("PATCH", _ONE, "Change a subscriber", "subscribers:write", problems=("duplicate-address",))
async def patch_subscriber(
    request: web.Request, *, id: SubscriberId, headers: Conditions, body: Patch
) -> Reply[SubscriberChanged]:
    """Changes members of a registration and leaves the rest (JSON merge patch, RFC 7396). Does not return the
    registration.
    """
    return _changed(await services(request).registry.patch(id, body.root, headers.version))


@OPERATIONS.add(
    "PUT", "/v1/subscribers/{id}/places/{name}", "Write a place", "subscribers:write", problems=("duplicate-address",)
)
async def put_place(
    request: web.Request, *, id: SubscriberId, name: PlaceName, headers: Conditions, body: PlaceDocument
) -> Reply[SubscriberChanged]:
    """Writes one place of a subscriber, permanent or current, and replaces all of the old place. A person who moves
    while alertd finds an audience counts at one of the two places.
    """
    place = json.loads(body.model_dump_json(exclude_none=True))
    patch = {"places": {name: {**dict.fromkeys(PLACE_FIELDS), **place}}}
    return _changed(await services(request).registry.patch(id, patch, headers.version))


@OPERATIONS.add(
    "DELETE", "/v1/subscribers/{id}/places/{name}", "Remove a place", "subscribers:write", status=204,
    problems=("duplicate-address",),
)  # fmt: skip
async def drop_place(request: web.Request, *, id: SubscriberId, name: PlaceName, headers: Conditions) -> None:
    """Removes one place of a subscriber."""
    await services(request).registry.patch(id, {"places": {name: None}}, headers.version)


@OPERATIONS.add(
    "PUT", "/v1/subscribers/{id}/addresses/{n}", "Write an address", "subscribers:write",
    problems=("duplicate-address",),
)  # fmt: skip
async def put_address(
    request: web.Request, *, id: SubscriberId, n: AddressNumber, headers: Conditions, body: AddressDocument
) -> Reply[SubscriberChanged]:
    """Replaces the value of an address (for instance a rotated token), adds the next one, or replaces one that a
    carrier reported dead. The channel of an address never changes.
    """
    return _changed(await services(request).registry.put_address(id, n, body, headers.version))


@OPERATIONS.add(
    "DELETE", "/v1/subscribers/{id}/addresses/{n}", "Remove an address", "subscribers:write", status=204,
    problems=("duplicate-address",), essential=True,
)  # fmt: skip
async def drop_address(request: web.Request, *, id: SubscriberId, n: AddressNumber, headers: Conditions) -> None:
    """Removes an address. Messages that are queued for it are not sent. Its number is never used again."""
    await services(request).registry.drop_address(id, n, headers.version)


@OPERATIONS.add(
    "DELETE", _ONE, "Forget a subscriber", "subscribers:write", status=204,
    act=Act("subscriber.forget", of_person=True, stops_harm=True),
)  # fmt: skip
async def forget_subscriber(request: web.Request, *, id: SubscriberId, headers: Conditions) -> None:
    """Removes a subscriber with all places and addresses. Messages that are queued for them are not sent."""
    await services(request).registry.forget(id, headers.version)


@OPERATIONS.add(
    "POST", "/v1/subscribers/lookup", "Find by address", "subscribers:read", problems=("not-found",), essential=True,
    act=Act("subscriber.lookup"),
)  # fmt: skip
async def lookup_subscriber(request: web.Request, *, body: Lookup) -> SubscriberReply:
    """Returns the subscriber who has an address. The answer is 404 if no subscriber has it."""
    person = await services(request).registry.lookup(*address_of(body))
    if person is None:
        raise Problem("not-found", "Nobody has this address.")
    note(request, object_=services(request).audit.hidden(person.id))
    return SubscriberReply(id=person.id, registration=to_document(person))


@OPERATIONS.add(
    "POST", "/v1/subscribers/import", "Import subscribers", "subscribers:write", takes=(NDJSON,), gives=(NDJSON,),
    reads={NDJSON: ImportLine}, writes_out={NDJSON: ImportReport}, streams=True, act=Act("subscriber.import"),
)  # fmt: skip
async def import_subscribers(request: web.Request) -> web.StreamResponse:
    """Writes many subscribers from NDJSON: each line is a registration with its `id`. Streams a report for every
    thousand lines or megabyte: the number written, and each refused line with its faults. Sending the same file again
    changes nothing, so no Idempotency-Key is needed; one that is sent is ignored.
    """
    response = web.StreamResponse(headers={"Content-Type": NDJSON})
    done = {"line": 0, "written": 0, "refused": 0}
    s = services(request)
    async for batch in _batches(request):
        if not s.takes_writes():  # the call may have begun long ago, when there was room
            raise no_room()
        report = await _written(s, batch, done)
        note(request, line=done["line"], written=done["written"], refused=done["refused"])
        if not response.prepared:  # not earlier, so that an error before the first report can be answered as a problem
            await response.prepare(request)
        await response.write(json.dumps(report).encode() + b"\n")
    if not response.prepared:
        await response.prepare(request)
    return response


def address_of(body: Lookup) -> tuple[int, str]:
    """Returns an address as the number of its channel and its stored value. Raises Problem if the value is not valid
    for the channel.
    """
    return CHANNELS.index(body.channel), as_kept(body.channel, body.value, "/value")


def _reply(person: Subscriber, status: int = 200) -> Reply[SubscriberReply]:
    """Returns a subscriber with the registration, and the version as ETag."""
    body = SubscriberReply(id=person.id, registration=to_document(person))
    return Reply(body, status=status, headers=etag(person.version))


def _changed(person: Subscriber) -> Reply[SubscriberChanged]:
    """Returns a subscriber's id only, and the new version as ETag."""
    return Reply(SubscriberChanged(id=person.id), headers=etag(person.version))


async def _batches(request: web.Request) -> AsyncIterator[list[bytes]]:
    """Yields the body's lines in batches of at most `IMPORT_LINES` lines, or `IMPORT_BYTES` bytes and the line that
    exceeds them. Leaves out empty lines, and cuts off a line that is too long. Raises Problem as `pieces_of` does.
    """
    lines: list[bytes] = []
    rest, size = b"", 0
    async for piece in pieces_of(request):
        *whole, rest = (rest + piece).split(b"\n")
        rest = rest[: LONGEST_LINE + 1]  # of a line that is too long, keeps enough to refuse it
        for line in whole:
            if not line.strip():
                continue
            lines.append(line)
            size += len(line)
            if len(lines) == IMPORT_LINES or size >= IMPORT_BYTES:
                yield lines
                lines, size = [], 0
    if rest.strip():
        lines.append(rest)
    if lines:
        yield lines


async def _written(s: Container, lines: list[bytes], done: dict[str, int]) -> dict[str, Any]:
    """Writes the subscribers of a batch of lines. Adds to the counts in `done`, and returns them as a report with the
    faults of this batch.
    """
    faults: list[dict[str, Any]] = []
    # Lines with the same id go into different turns, one after another, so that the last valid line counts. Each turn
    # is written at once.
    turns: list[dict[str, tuple[int, Entry]]] = []
    for entry in await asyncio.to_thread(lambda: [_entry_or_problem(line) for line in lines]):
        done["line"] += 1
        if isinstance(entry, Problem):
            faults.append(_refusal(done["line"], entry))
            continue
        turn = next((one for one in turns if entry.id not in one), None)
        if turn is None:
            turns.append(turn := {})
        turn[entry.id] = (done["line"], entry)
    for turn in turns:
        faults += await _put(s, turn)
    done["refused"] += len(faults)
    done["written"] = done["line"] - done["refused"]
    return {**done, "faults": faults}


async def _put(s: Container, entries: dict[str, tuple[int, Entry]]) -> list[dict[str, Any]]:
    """Writes the entries, given by subscriber id with their line numbers. Returns the faults of the refused ones."""
    faults: list[dict[str, Any]] = []
    outcomes = await s.registry.put_many([entry for _, entry in entries.values()])
    for (number, entry), outcome in zip(entries.values(), outcomes, strict=True):
        if outcome is None:
            try:
                await s.registry.put_entry(entry)
            except Problem as problem:
                faults.append(_refusal(number, problem))
        elif isinstance(outcome, Problem):
            faults.append(_refusal(number, outcome))
    return faults


def _entry_or_problem(line: bytes) -> Entry | Problem:
    """Returns the entry of a line, or the problem for which the line is refused."""
    try:
        return _entry(line)
    except Problem as problem:
        return problem


def _entry(line: bytes) -> Entry:
    """Returns the entry of a line. Raises Problem if the line is too long, not JSON, or no registration with an id."""
    line = line.removeprefix(BOM_UTF8)  # files from Windows begin with this mark, and joined files contain it
    if len(line) > LONGEST_LINE:
        raise Problem("too-large", "A line of the import is too long.")
    check_json(line)
    try:
        of = _Line.model_validate_json(line)
        document = {key: value for key, value in json.loads(line).items() if key not in _Line.model_fields}
        return Entry(of.id, Registration.model_validate_json(json.dumps(document)), of.only or ())
    except ValidationError as error:
        raise Problem("invalid-request", "The line cannot be taken.", faults=tuple(faults_of(error))) from None


def _refusal(line: int, problem: Problem) -> dict[str, Any]:
    """Returns a refused line as a report shows it."""
    return {
        "line": line,
        "type": f"/problems/{problem.slug}",
        "detail": problem.detail,
        "errors": [{"pointer": fault.pointer, "detail": fault.detail} for fault in problem.faults],
    }


_FORMS: dict[str, TypeAdapter[str]] = {
    "push": TypeAdapter(Token),
    "webpush": TypeAdapter(Endpoint),
    "sms": TypeAdapter(PhoneNumber),
    "mail": TypeAdapter(Mailbox),
}


def as_kept(channel: str, text: str, pointer: str) -> str:
    """Returns an address of a channel (for web push, the endpoint of the browser's subscription) in the form that
    alertd stores. Raises Problem, with a fault at `pointer`, if it is not valid.
    """
    try:
        return _FORMS[channel].validate_python(text)
    except ValidationError as error:
        faults = tuple(Fault(pointer, fault.detail) for fault in faults_of(error))
        raise Problem("invalid-request", "This is no address.", faults=faults) from None
