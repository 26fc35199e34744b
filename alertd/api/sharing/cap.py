"""CAP over HTTP: a document comes in as an alert, and an alert goes out as a document."""

from __future__ import annotations

from contextlib import nullcontext

from aiohttp import hdrs, web
from pydantic import Field

from alertd.api.alerts.alerts import REFUSED, SubmitQuery, Submitted, note_taken, submitted_reply
from alertd.api.http.call import PREPARED_ID, credential, is_replay, services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import AlertId, Query
from alertd.model.cap.writer import MEDIA_TYPE
from alertd.service.sharing.cap_out import Profile


class CapQuery(Query):
    profile: Profile | None = Field(
        None, description="What a gateway wants besides: of the United States (`ipaws`) or of Canada (`cap-cp`)."
    )


OPERATIONS = Operations("Alerts")


@OPERATIONS.add(
    "POST", "/v1/cap", "Submit a CAP document", "alerts:write", status=202, also=(200,),
    takes=(MEDIA_TYPE, "application/xml", "text/xml"), tells=("ETag", "Location"),
    problems=(
        *REFUSED, "not-found", "precondition-failed", "superseded", "stop-active", "too-large", "wrong-content-type",
    ),
    act=Act("alert.cap", once=True),
)  # fmt: skip
async def create_cap(request: web.Request, *, query: SubmitQuery) -> Reply[Submitted]:
    """Takes a CAP document in, 1.2 or one of its forerunners.

    One of msgType Alert becomes an alert, as if it had been submitted in JSON, and Actual ones wait for another person. It is
    `general` unless it brings a case or its event says that a child is sought (SAME code CAE, CAP-CP event amber): then a parameter
    `alertd:case` must hold the case in JSON, as an alert has it, with its verification. Its `external_id` is its CAP
    reference. Geocodes are looked up among the regions where an area has no shape. A document without `expires` ends 24 hours after it
    was sent; one whose `effective` is later than that and still to come is told then, as with `starts`.

    One of msgType Cancel, from the same sender, cancels what its references name and is not over yet, unless one of them is not known
    here: then nothing; and whoever was told is told so. Each message of an alert stands for the alert, and it may name them all.
    One of msgType Update, from the same sender, is an update of the one alert that its references name, as of
    `POST /v1/alerts/{id}/updates` with `notify` full and on the channels of that alert; it waits for another person under an id of
    its own, and is refused where it was sent before what is told. One message (sender, identifier, sent) is one alert of the organisation,
    whichever of its keys hands it in: the same message again is answered with the first alert, with 200 and the header `Idempotent-Replayed`,
    while that alert lives. Once it has ended, or if its content differs, the message is refused (`duplicate-case`): give a new message a new
    identifier. Ack and Error are refused, and so is what an alert cannot hold: two infos in one language, or infos whose areas differ on the
    map. HTML in texts becomes plain text, and a parameter `CMAMlongtext` serves as the description if there is none. A document has at most
    2 MB and 100,000 positions. Where `cap.issuers` is configured, a document must be signed by the certificate that is known for
    its sender. Each fault names its line.
    """
    s, who, again = services(request), credential(request), is_replay(request)
    async with s.reach_audit.turn(who) if query.dry_run else nullcontext():
        taken, alert = await s.cap_intake.take(
            await request.read(), who, alert_id=request.get(PREPARED_ID), again=again, dry_run=query.dry_run
        )
    note_taken(request, taken, dry_run=query.dry_run)
    return await submitted_reply(s, taken, alert)


@OPERATIONS.add(
    "GET", "/v1/alerts/{id}.cap", "Show an alert as CAP", "alerts:read", gives=(MEDIA_TYPE,),
    problems=("message-impossible",),
)  # fmt: skip
async def show_cap(request: web.Request, *, id: AlertId, query: CapQuery) -> web.Response:
    """An alert as CAP 1.2. Before it is approved its CAP status is Draft; once it is over it is a Cancel without info.

    It is signed where `cap.key` is configured. The area is cut into rings without holes, made simpler outwards where it has too
    many corners.
    """
    s = services(request)
    record = await s.approval.get(id, credential(request))
    document = await s.cap_out.document(record, query.profile)
    return web.Response(
        body=document, content_type=MEDIA_TYPE, charset="utf-8", headers={hdrs.CACHE_CONTROL: "no-store"}
    )
