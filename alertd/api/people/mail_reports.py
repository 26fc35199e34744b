"""What relays post of our mails."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.http.operations import JSON, Operation
from alertd.api.services import services
from alertd.common.errors import Problem
from channels.bounces_hooks import Hooked, HookUnavailableError, NotVouchedError


class ReportsTaken(BaseModel):
    """What was posted is done with."""

    taken: int = Field(description="How many of the reports were about a mail of this service.")


async def take_mail_reports(request: web.Request, *, carrier: str) -> ReportsTaken:
    """Bounces and complaints, as SES (through SNS), Postmark or Mailgun post them. Each proves itself in its own way, so no
    key is asked for. A report about no mail of ours is taken, too: it would only come again.
    """
    s = services(request)
    sender = s.carriers.named(carrier)
    hook = sender.channel.hook if sender is not None and isinstance(sender.channel, Hooked) else None
    if hook is None:
        raise Problem("not-found", "No carrier of this name posts reports.")
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        reports = await hook.parse(headers, await request.read())
    except NotVouchedError:
        raise Problem("not-allowed", "This does not prove that it comes from the relay.") from None
    except HookUnavailableError:
        raise Problem(
            "store-unavailable", "The proof cannot be checked now. Post it again.", headers={"Retry-After": "60"}
        ) from None
    except ValueError as error:
        raise Problem("invalid-request", str(error)) from None
    return ReportsTaken(taken=await s.mail_reports.take(reports, carrier))


OPERATIONS = (
    Operation(
        method="POST", path="/v1/receipts/{carrier}", handler=take_mail_reports, summary="A relay's reports of mails",
        scope=None, group="Service", takes=(JSON, "text/plain"), reads={JSON: dict[str, Any]}, problems=("not-found", "not-allowed"), essential=True,
    ),
)  # fmt: skip
