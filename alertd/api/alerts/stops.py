"""HTTP operations that stop and resume sending: of the service, an organisation, one key or operator, or one alert
(pause).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, model_validator

from alertd.api.http.call import Conditions, credential, etag, is_replay, note, services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import BY_ORG, AlertId, AlertReply, alert_reply
from alertd.common.clock import time_of
from alertd.model.faults import refusal
from alertd.service.alerts.stops import Effect
from alertd.service.decision_checks import check_key
from alertd.store.organisations.organisations import Stop


class Scope(BaseModel):
    """The scope of a stop: the whole service, the caller's organisation, or one key or operator of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    what: Literal["service", "organisation", "key"] = "organisation"
    key: Annotated[str, Field(pattern="^[0-9a-f]{12}$")] | None = Field(
        None, description="With `what` set to `key`: the id of the key or operator."
    )

    @model_validator(mode="after")
    def _key_where_it_belongs(self) -> Scope:
        """Refuses a `key` unless `what` is `key`, and the reverse."""
        if (self.what == "key") != (self.key is not None):
            raise refusal("A key is named where `what` is `key`, and only there.")
        return self


OWN = Scope()


class StopOrder(Scope):
    reason: str = Field(min_length=1, max_length=500, examples=["A key is in the wrong hands"])


class StopReply(BaseModel):
    scope: str = Field(description="`service`, `org:<organisation>` or `key:<organisation>:<key>`.")
    stopped: bool
    by: str | None
    by_org: str | None = Field(description=BY_ORG)
    at: datetime | None
    reason: str | None
    resume_asked_by: str | None = Field(description="The first person who resumed; a second must confirm.")
    resume_asked_by_org: str | None = Field(description=BY_ORG)
    alerts: int | None = Field(None, description="Live alerts that are on hold because of this or another stop.")


class StopList(BaseModel):
    stops: list[StopReply]


OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", "/v1/stop", "Stop sending", "alerts:write", or_scope="alerts:approve",
    problems=("not-found", "precondition-failed"), act=Act("stop.set", stops_harm=True, once=True),
)  # fmt: skip
async def stop_sending(request: web.Request, *, body: StopOrder) -> StopReply:
    """Stops all sending at once; one person is enough. The scope is your organisation (the default), one key or
    operator or, for an administrator of the organisation that runs the service, the whole service. The last message
    leaves within a second of the answer. Queued messages stay queued. Alerts cannot be approved, but can be cancelled.
    Resuming takes two people.
    """
    s, who = services(request).stop_control, credential(request)
    scope = await s.scope_of(body.what, body.key, who)
    note(request, object_=scope)
    if is_replay(request):
        return _shown(scope, (await s.active(who.org)).get(scope))
    return _effect(await s.stop(scope, who, body.reason))


@OPERATIONS.add(
    "POST", "/v1/resume", "Resume sending", "alerts:approve",
    problems=("not-found", "precondition-failed", "same-person", "stop-active"), act=Act("stop.lift", once=True),
)  # fmt: skip
async def resume_sending(request: web.Request, *, body: Scope = OWN) -> StopReply:
    """Resumes sending. It takes two people: the first call asks, the call of a second person lifts the stop. Neither
    may have made the other's key.
    """
    s, who = services(request).stop_control, credential(request)
    scope = await s.scope_of(body.what, body.key, who)
    note(request, object_=scope)
    if is_replay(request):
        return _shown(scope, (await s.active(who.org)).get(scope))
    effect = await s.resume(scope, who)
    note(request, stopped=effect.stop is not None)
    return _effect(effect)


@OPERATIONS.add("GET", "/v1/stop", "List stops", "alerts:read")
async def list_stops(request: web.Request) -> StopList:
    """Returns the active stops of the service, of your organisation, and of its keys and operators."""
    found = await services(request).stop_control.active(credential(request).org)
    return StopList(stops=[_shown(scope, stop) for scope, stop in sorted(found.items())])


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/pause", "Pause", "alerts:write", or_scope="alerts:approve",
    act=Act("alert.pause", stops_harm=True, once=True),
)  # fmt: skip
async def pause_alert(request: web.Request, *, id: AlertId, headers: Conditions) -> Reply[AlertReply]:
    """Pauses one alert, with all its versions: sends nothing more of it until it is resumed or its end has passed.
    Queued messages stay queued.
    """
    return await _pause(request, id, headers, waits=True)


@OPERATIONS.add("POST", "/v1/alerts/{id}/resume", "Resume", "alerts:approve", act=Act("alert.resume", once=True))
async def resume_alert(request: web.Request, *, id: AlertId, headers: Conditions) -> Reply[AlertReply]:
    """Resumes a paused alert. If a stop of its key, its organisation or the service is active, its sending stays on
    hold.
    """
    return await _pause(request, id, headers, waits=False)


async def _pause(request: web.Request, alert_id: str, headers: Conditions, *, waits: bool) -> Reply[AlertReply]:
    """Pauses (`waits`) or resumes an alert, and returns it. A repeated call only returns the alert."""
    s, who = services(request), credential(request)
    record = await s.approval.get(alert_id, who)
    if not is_replay(request):
        check_key(record, who)
        record = await s.stop_control.pause(record, who, waits=waits, rev=headers.version)
        note(request, record=record, paused=record.chain.paused)
    return Reply(alert_reply(record), headers=etag(record.rev))


def _effect(effect: Effect) -> StopReply:
    """Returns the state of a scope after a stop or a resumption as the API shows it."""
    return _shown(effect.scope, effect.stop, effect.halted)


def _shown(scope: str, stop: Stop | None, alerts: int | None = None) -> StopReply:
    """Returns the stop of a scope (None: not stopped) as the API shows it; `alerts` is the number of live alerts on
    hold.
    """
    return StopReply(
        scope=scope, stopped=stop is not None, by=stop.by if stop else None, by_org=stop.org if stop else None,
        at=time_of(stop.at) if stop else None, reason=stop.reason if stop else None,
        resume_asked_by=(stop.first or None) if stop else None,
        resume_asked_by_org=stop.first_org if stop and stop.first else None, alerts=alerts,
    )  # fmt: skip
