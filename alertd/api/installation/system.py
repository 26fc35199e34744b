"""Kinds, receipts and the state of the service over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.health import healthz, readiness
from alertd.api.http.call import services
from alertd.api.http.operations import Operation
from alertd.api.people.receipts import no_message
from alertd.common.errors import Problem
from alertd.common.ids import TokenPurpose
from alertd.model.alert import Alert
from alertd.model.kinds import KINDS, Kind
from channels.base import Reason, Reporting, ReportState

Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]


class KindReply(BaseModel):
    kind: str
    levels: dict[str, dict[str, str]] = Field(description="What each level stands for.")
    languages: list[str] = Field(description="Languages with reviewed templates.")
    codes: dict[str, dict[str, dict[str, str]]] = Field(description="Coded values: fact, code, language.")
    json_schema: dict[str, Any]


async def show_kind(request: web.Request, *, kind: Kind) -> KindReply:
    """What an alert of this kind may say: JSON Schema, levels, and coded values with their translations."""
    renderer = services(request).renderer
    languages = renderer.all_languages
    facts = ("hair", "eyes", "sex", "person", "criterion")
    codes = {fact: {language: dict(renderer.words(language).codes(fact)) for language in languages} for fact in facts}
    return KindReply(
        kind=kind,
        levels={
            level: {"loudness": f.loudness, "urgency": f.urgency, "severity": f.severity, "certainty": f.certainty}
            for level, f in KINDS[kind].items()
        },
        languages=list(languages),
        codes=codes,
        json_schema=Alert.model_json_schema(),
    )


async def take_receipt(request: web.Request, *, carrier: str, tag: Tag) -> None:
    """A carrier's late report about one message. The tag in the address is signed, so no key is asked for."""
    s = services(request)
    if s.receipts.reference(tag, TokenPurpose.PAGE):
        return  # of a message to somebody on call, which is in no ledger
    reference, sender = s.receipts.reference(tag, TokenPurpose.RECEIPT), s.carriers.named(carrier)
    if reference is None or sender is None or not isinstance(sender.channel, Reporting):
        raise no_message()
    try:
        said, reason, to = sender.channel.read_report(
            {name: str(value) for name, value in (await request.post()).items()}
        )
    except ValueError as error:
        raise Problem("invalid-request", str(error)) from None
    if said is ReportState.FAILED and reason is Reason.GONE:  # first: said again it is no news of the row
        await s.receipts.opted_out(reference, to)
    if not await s.receipts.reported(reference, said, reason, carrier, of=sender.channel.name):
        raise no_message()


async def readyz(request: web.Request) -> web.Response:
    """The store answers and takes writes."""
    return readiness(is_ready=await services(request).is_ready())


PLAIN_ROUTES = (
    web.get("/healthz", healthz),
    web.get("/readyz", readyz),
)
FORM = "application/x-www-form-urlencoded"
OPERATIONS = (
    Operation(
        method="GET", path="/v1/kinds/{kind}", handler=show_kind, summary="Show a kind of alert", scope="alerts:read",
        group="Alerts",
    ),
    Operation(
        method="POST", path="/v1/receipts/{carrier}/{tag}", handler=take_receipt, summary="A carrier's late report",
        scope=None, group="Service", status=204, takes=(FORM,), reads={FORM: dict[str, str]}, problems=("not-found",), essential=True,
    ),
)  # fmt: skip
