"""HTTP operations that read alerts: list alerts, and show one alert's progress, ledger, history and curve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.http.bodies import JSON
from alertd.api.http.call import EVENTS, check_caller, credential, send_events, services, still_may
from alertd.api.http.operations import NDJSON, Act, Operations
from alertd.api.shapes import BY_ORG, HAD_NOBODY, REV, AlertId, AlertReply, Query, alert_reply
from alertd.common.clock import ms_of, time_of
from alertd.model.fields import Instant
from alertd.model.kinds import PermissionState
from alertd.model.permission import parse_permissions
from alertd.model.states import SETTLED, UNWATCHED, AlertState, State
from alertd.service.access import LEDGER
from alertd.service.alerts.progress import Delivery, Wanted
from alertd.service.alerts.timeline import History
from alertd.service.reach import Estimate, Shown, exactly_shown, had_nobody_to_notify, people_shown
from alertd.store.alerts.alerts import ListPlace
from alertd.store.alerts.records import AlertRecord

_CURSOR = r"^\d{1,15}_[0-9A-Z]{26}(-\d{1,4})?$"
#: For event streams: seconds between two reads of the store, and seconds without an event until alertd sends a comment,
#: which shows proxies and clients that the stream is alive.
STREAM_EVERY_S = 0.25
STREAM_SILENCE_S = 15.0
UNSETTLED = frozenset(State) - SETTLED


class ListQuery(Query):
    state: AlertState | None = None
    telling: bool = Field(
        False,
        description="Lists the follow-ups that are being sent now (updates, restrictions, ends) instead of alerts. Ignores all other filters.",
    )
    case: str | None = Field(None, description="Number of the case.", min_length=1, max_length=200)
    since: Instant | None = Field(None, description="Created at or after this time.")
    external_id: str | None = Field(None, min_length=1, max_length=128)
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, description="`next` of the previous page.", pattern=_CURSOR)


class AlertList(BaseModel):
    alerts: list[AlertReply]
    next: str | None = Field(description="Send it as `cursor` to get the next page; null at the end.")


class PermissionStanding(BaseModel):
    organisation: str
    name: str
    state: PermissionState


class ProgressReply(BaseModel):
    id: str
    state: AlertState
    rev: int = Field(description=REV)
    people: Shown | Estimate = Field(description="As in the alert.")
    nobody: bool = Field(description=HAD_NOBODY)
    channels: dict[str, dict[str, int]] = Field(description="By channel: `targeted`, and the number in each state.")
    few: list[str] = Field(
        [],
        description="Channels with hidden counts, because the counts could reveal where one person lives: fewer than 20 addresses, or an"
        " alert that only its author has approved. A key with `ledger:read` sees them, except for an update that notifies fewer than 20"
        " people for the first time.",
    )
    permissions: list[PermissionStanding] = Field(
        [], description="Neighbours that permitted this alert, have not answered yet, or refused it."
    )
    planned: bool = Field(
        description="All messages of this version are in `channels`. False: alertd may still add some."
    )
    paused: bool = Field(description="As in the alert: sending is paused until the alert is resumed.")
    stalled: bool = Field(
        False, description="Stalled: for a minute no message got its result, although some are due (`alert.stalled`)."
    )
    first_send_s: float | None = Field(
        description="Seconds from its start to the first hand-over to a carrier. The start is its approval or its scheduled time.",
    )
    last_send_s: float | None


OPERATIONS = Operations()


@OPERATIONS.add("GET", "/v1/alerts", "List alerts", "alerts:read")
async def list_alerts(request: web.Request, *, query: ListQuery) -> AlertList:
    """Returns a page of the organisation's alerts that match the filters, newest first. A page may be short if few
    alerts match; `next` shows if there are more.
    """
    s, org = services(request), credential(request).org
    if query.telling:
        return AlertList(alerts=[alert_reply(one) for one in await s.reports.telling(org)], next=None)
    wanted = Wanted(
        state=query.state,
        external_ids=None if query.external_id is None else frozenset({query.external_id}),
        case=s.alerts.case_id(org, query.case) if query.case else None,
        since_ms=ms_of(query.since) if query.since else 0,
    )
    before = _place(query.cursor) if query.cursor else None
    found, following = await s.reports.list(org, wanted, before=before, limit=query.limit)
    return AlertList(
        alerts=[alert_reply(record) for record in found],
        next=f"{following[0]}_{following[1]}" if following else None,
    )


def _place(cursor: str) -> ListPlace:
    """Returns the place in the list after which a page begins: the creation time and the id of an alert, from the
    cursor.
    """
    made, _, name = cursor.partition("_")
    return int(made), name


@OPERATIONS.add(
    "GET", "/v1/alerts/{id}/progress", "Watch an alert", "alerts:read", gives=(JSON, EVENTS),
    writes_out={EVENTS: ProgressReply},
)  # fmt: skip
async def alert_progress(request: web.Request, *, id: AlertId) -> ProgressReply | web.StreamResponse:
    """Returns the progress of an alert. With `Accept: text/event-stream`, streams it at every change, until sending has
    ended and every reference has a final state.
    """
    if EVENTS not in request.headers.get("Accept", ""):
        return (await _progress(request, id))[0]
    await services(request).approval.get(id, credential(request))
    return await send_events(request, _events(request, id))


@OPERATIONS.add(
    "GET", "/v1/alerts/{id}/deliveries", "Read the ledger", "ledger:read", gives=(NDJSON,),
    writes_out={NDJSON: Delivery}, problems=("gone",), act=Act("ledger.read"),
)  # fmt: skip
async def alert_deliveries(request: web.Request, *, id: AlertId) -> web.StreamResponse:
    """Streams the ledger of an alert (NDJSON): one line for each message to one address of one person. Each subscriber
    has a pseudonym that is valid for this alert only. A deleted ledger answers 410.
    """
    s = services(request)
    record = await s.approval.get(id, credential(request))
    ledger = s.reports.lines(record)
    first = await anext(ledger)  # raises Problem before the response starts
    response = web.StreamResponse(headers={"Content-Type": NDJSON})
    await response.prepare(request)
    await response.write(first)
    async for lines in ledger:
        await check_caller(request)  # an error aborts the response, so that half a ledger does not look complete
        await response.write(lines)
    return response


async def _progress(request: web.Request, alert_id: str) -> tuple[ProgressReply, bool]:
    """Returns the progress of an alert with the counts that the caller may see, and whether it can no longer change."""
    s = services(request)
    who = credential(request)
    record, reads_ledger = await s.approval.get(alert_id, who), who.may(LEDGER)
    whole, stalled = await asyncio.gather(s.reports.counts(alert_id), s.reports.stalls(record))
    channels, few = s.reports.shown(record, whole, reads_ledger=reads_ledger)
    reply = ProgressReply(
        id=alert_id,
        state=record.state,
        rev=record.rev,
        people=_people(record, reads_ledger=reads_ledger),
        nobody=had_nobody_to_notify(record),
        channels=channels,
        few=few,
        planned=record.plan.is_complete,
        paused=record.chain.paused,
        stalled=stalled,
        permissions=[
            PermissionStanding(organisation=one.org, name=one.name, state=one.state(record.state))
            for one in parse_permissions(record.neighbours.permissions)
        ],
        first_send_s=(record.times.first_send - record.times.start) / 1000 if record.times.first_send else None,
        last_send_s=(record.times.last_send - record.times.start) / 1000 if record.times.last_send else None,
    )
    return reply, is_over(record.state, whole)


def _people(record: AlertRecord, *, reads_ledger: bool) -> Shown | Estimate:
    """Returns the number of people of an alert: for a caller who reads the ledger exact, for others as `people_shown`
    does.
    """
    if not reads_ledger:
        return people_shown(record)
    return exactly_shown(record.people) if record.update else record.people


async def _events(request: web.Request, alert_id: str) -> AsyncIterator[bytes]:
    """Yields server-sent events (HTML Living Standard, section 9.2): each change of the progress, and a comment after
    15 s without one. Ends when the progress can no longer change, the reader has left or lost access, or the service
    shuts down.
    """
    last, silent_s = None, 0.0
    while True:
        progress, over = await _progress(request, alert_id)
        if progress != last:
            last, silent_s = progress, 0.0
            yield b"event: progress\ndata: " + progress.model_dump_json().encode() + b"\n\n"
        if over or not await still_may(request):
            return
        await asyncio.sleep(STREAM_EVERY_S)
        silent_s += STREAM_EVERY_S
        if silent_s >= STREAM_SILENCE_S:
            silent_s = 0.0
            yield b": still here\n\n"


def is_over(state: AlertState, channels: Mapping[str, Mapping[str, int]]) -> bool:
    """Returns whether sending has ended and every reference (one message to one address) has a final state. When
    sending was stopped, the unsent references get their final state a little later. `channels`: counts by channel and
    state.
    """
    left = sum(counts[state.word] for counts in channels.values() for state in UNSETTLED)
    return state in UNWATCHED and not left


class ActReply(BaseModel):
    entry: int = Field(description="Its number in the audit.")
    at: datetime
    act: str = Field(examples=["alert.approve"])
    outcome: str = Field(
        description="`done`; `failed`: it may have taken effect; `begun`: the outcome is not known yet, or never will be.",
    )
    by: str
    by_org: str = Field(description=BY_ORG)
    state: str | None = Field(description="The state of the alert after the act.")
    object: str = Field(description="The id of the version that the act concerned; empty if not known.")


class HistoryReply(BaseModel):
    id: str
    acts: list[ActReply] = Field(description="Oldest first. Refused acts changed nothing and are left out.")
    whole: bool = Field(description="False: the audit has too many later entries, so older acts are missing here.")


class CurveReply(BaseModel):
    """Counts at each step after the start: the first number of a list is the count after one step."""

    id: str
    step_s: float = Field(description="Seconds between two numbers.")
    handed_over: dict[str, list[int]] = Field(
        description="By channel: messages accepted by a carrier by then, without those that the carrier returned later."
    )
    delivered: dict[str, list[int]] = Field(description="By channel: messages with a receipt by then.")


@OPERATIONS.add("GET", "/v1/alerts/{id}/history", "Show who did what", "alerts:read")
async def alert_history(request: web.Request, *, id: AlertId) -> HistoryReply:
    """Returns the acts on an alert and its later versions, with the people who did them, from the audit."""
    s = services(request)
    found = await s.timeline.history(await s.approval.get(id, credential(request)))
    return history_reply(id, found)


def history_reply(alert_id: str, found: History) -> HistoryReply:
    """Returns the acts on an alert as the API shows them, oldest first."""
    acts = [
        ActReply(
            entry=one.number,
            at=time_of(one.at),
            act=one.act,
            outcome=one.outcome,
            by=one.by,
            by_org=one.by_org,
            state=str(one.facts["state"]) if "state" in one.facts else None,
            object=one.object,
        )
        for one in found.acts
    ]
    return HistoryReply(id=alert_id, acts=acts, whole=found.whole)


@OPERATIONS.add("GET", "/v1/alerts/{id}/curve", "Show the send over time", "alerts:read")
async def alert_curve(request: web.Request, *, id: AlertId) -> CurveReply:
    """Returns how many messages were handed over and delivered over time, from the ledger: at most 128 points for any
    duration. Leaves out channels with few messages.
    """
    s, who = services(request), credential(request)
    record = await s.approval.get(id, who)
    curve = await s.timeline.curve(record, reads_ledger=who.may(LEDGER))
    return CurveReply(
        id=id,
        step_s=curve.step_ms / 1000,
        handed_over={channel: list(counts) for channel, counts in curve.handed_over.items()},
        delivered={channel: list(counts) for channel, counts in curve.delivered.items()},
    )
