"""HTTP operations for CAP: submit a CAP document as an alert, and show an alert as a CAP document."""

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


OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", "/v1/cap", "Submit a CAP document", "alerts:write", status=202, also=(200,),
    takes=(MEDIA_TYPE, "application/xml", "text/xml"), tells=("ETag", "Location"),
    problems=(
        *REFUSED, "not-found", "precondition-failed", "superseded", "stop-active", "too-large", "wrong-content-type",
    ),
    act=Act("alert.cap", once=True),
)  # fmt: skip
async def create_cap(request: web.Request, *, query: SubmitQuery) -> Reply[Submitted]:
    """Submits a CAP document, version 1.2 or an earlier one.

    A document of msgType Alert becomes an alert, as if submitted in JSON; an Actual one waits for another person. Its
    kind is `general`, unless it contains a case or its event announces a missing child (SAME code CAE, CAP-CP event
    amber). Then a parameter `alertd:case` must hold the case in JSON, in the form of an alert, with its verification.
    Its `external_id` is its CAP reference. If an area has no shape, alertd looks up its geocodes among the regions. A
    document without `expires` ends 24 hours after `sent`. If `effective` is later than `sent` and in the future, the
    alert starts then, as with `starts`.

    A Cancel from the same sender cancels the alerts in its references that are not over, and notifies their recipients.
    The answer lists `unknown_references`; if all are unknown, the Cancel is refused. Any message of an alert identifies
    the alert. An Update from the same sender updates the one alert in its references, like `POST
    /v1/alerts/{id}/updates` with `notify` full, on the channels of that alert. It waits for another person under its
    own id, and is refused if it was sent before the current version.

    One message (sender, identifier, sent) is one alert of the organisation, for all of its keys. While that alert
    lives, the same message again returns the first alert, with 200 and the header `Idempotent-Replayed`. Once it has
    ended, or if the content differs, the message is refused (`duplicate-case`): give a new message a new identifier.

    Refused are Ack and Error, and content that an alert cannot hold: two infos in one language, or infos with different
    areas. HTML in texts becomes plain text. Without a description, the parameter `CMAMlongtext` serves as one. A
    document has at most 2 MB and 100,000 positions. With `cap.issuers` configured, a document must be signed with the
    certificate configured for its sender. Each fault names its line.
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
    """Returns an alert as a CAP 1.2 document, signed if `cap.key` is configured. Before the approval, its CAP status is
    Draft. Once the alert is over, the document is a Cancel without info.

    CAP polygons have no holes. So alertd cuts the area into rings, and simplifies a ring with too many corners
    outwards, so that it still covers the area.
    """
    s = services(request)
    record = await s.approval.get(id, credential(request))
    document = await s.cap_out.document(record, query.profile)
    return web.Response(
        body=document, content_type=MEDIA_TYPE, charset="utf-8", headers={hdrs.CACHE_CONTROL: "no-store"}
    )
