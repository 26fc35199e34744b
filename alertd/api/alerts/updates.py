"""Updates over HTTP: what an alert is to say from now on, and who is told of it."""

from __future__ import annotations

from contextlib import nullcontext

from aiohttp import web

from alertd.api.alerts.alerts import REFUSED, SubmitQuery, Submitted, note_reach, submitted_reply
from alertd.api.http.call import Conditions, credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import AlertId, UpdateFacts, update_facts
from alertd.model.alert import UpdateRequest


class Updated(Submitted):
    update: UpdateFacts


OPERATIONS = Operations("Alerts")


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/updates", "Update an alert", "alerts:write", status=202, tells=("ETag", "Location"),
    problems=(*REFUSED, "stop-active"), act=Act("alert.update", once=True),
)  # fmt: skip
async def update_alert(
    request: web.Request, *, id: AlertId, query: SubmitQuery, headers: Conditions, body: UpdateRequest
) -> Reply[Updated]:
    """What an alert that is told is to say from now on, whole: of the same kind, status and case, on its channels or more. It is a
    version of the alert with an id of its own, and `pending` until another person approves it under that id, as an alert; of
    a Test or an Exercise it goes out at once. One waits at a time: another is refused, and takes the place of one that was returned.

    From the approval on, the alert says what its update says, in the API, in CAP and in what is still to be sent: what is queued is
    cancelled (`superseded`) and planned anew. `notify` says who is told that it was changed. `full`: whoever may have been told,
    on the channels they were told on, at the address they have now, inside the area or not, as loud as the alert is; on a phone in
    place of what was there. `silent`: the same by push and web push alone, without a sound; text messages and mails, which
    nothing takes back, are not sent twice for it. `none`: nobody; but where people are still being told that the alert was
    restricted or goes on when it is approved, it takes the place of that, and is told as `silent` is. Whoever is in its area and was
    not told is told the alert itself, with `full` and `silent` alike; with `none`, only those of them who were still to be told.
    """
    s, who = services(request), credential(request)
    alert = body.alert()
    async with s.reach_audit.turn(who) if query.dry_run else nullcontext():
        taken = await s.updating.submit(
            id, alert, body.notify, who, rev=headers.version, dry_run=query.dry_run, again=is_replay(request)
        )
    note(request, record=taken.record, notify=str(body.notify), dry_run=query.dry_run)
    note_reach(request, taken, dry_run=query.dry_run)
    reply = await submitted_reply(s, taken, alert)
    own = {**dict(reply.body), "update": update_facts(taken.record)}
    return Reply(Updated.model_construct(**own), headers=reply.headers, made=reply.made)
