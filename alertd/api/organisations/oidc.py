"""Signing in by an OpenID provider over HTTP: the console sends its browser there, and hands in what that comes back with.

The browser comes back to the console's page, which posts what stands in its address: so the cookies of both are SameSite=Strict, and
no other page signs anybody in.
"""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import hdrs, web
from pydantic import BaseModel, Field

from alertd.api.http import cookies
from alertd.api.http.operations import Operation, Reply
from alertd.api.organisations.sign_in import Code, SignedIn, caller_of, let_in
from alertd.api.services import services
from alertd.common.errors import Problem
from alertd.model.fields import Document
from alertd.service.organisations.oidc import SENT_MS, Answer

State = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{43}$")]
#: As providers make them: some have a thousand letters and more.
Given = Annotated[str, Field(min_length=1, max_length=8_192)]


class Ways(BaseModel):
    rp_id: str = Field(description="The domain that passkeys are for.")
    provider: str | None = Field(description="What the OpenID provider is called, where operators may sign in by one.")


class Departure(Document):
    """What somebody is sent to the provider for: to sign in, with nothing; else one of these."""

    code: Code | None = Field(None, description="A one-time code: whoever comes back is its operator from then on.")
    prove: bool = Field(False, description="In a session: to show again that it is its operator.")


class Destination(BaseModel):
    url: str = Field(description="Where the browser is to go. It comes back to `/console`, within ten minutes.")


class ProviderAnswer(Document):
    """The parameters that the browser came back with, as they stand in the address."""

    state: State
    code: Given | None = Field(None, description="Missing where the provider let nobody in.")
    iss: Given | None = Field(None, description="RFC 9207.")


SIGN_IN = Departure()


async def sign_in_ways(request: web.Request) -> Ways:
    """How operators sign in here: with passkeys, and by an OpenID provider where there is one."""
    s = services(request)
    return Ways(rp_id=s.passkeys.relying.id, provider=s.oidc.name)


async def go_to_provider(request: web.Request, *, body: Departure = SIGN_IN) -> Reply[Destination]:
    """Where a browser is to go to sign in by the provider; once in five minutes, to show again that it is they, which the provider
    must ask anew. The answer's cookie ties the way back to this browser.
    """
    cookies.require_own(request)
    s, who = services(request), await cookies.signed_in(request) if body.prove else None
    proves: Any = await s.operators.get(who.org, who.key_id) if who else None
    if body.prove and (proves is None or body.code):
        raise Problem("not-allowed", "Only somebody who is signed in shows again that it is they.")
    url, browser = await s.oidc.send(
        caller_of(request), back=_back(request), browser=cookies.sent_browser(request), code=body.code, proves=proves,
        session=cookies.session_token(request),
    )  # fmt: skip
    return Reply(Destination(url=url), headers=cookies.sent(request, browser, SENT_MS // 1000))


async def come_from_provider(request: web.Request, *, body: ProviderAnswer) -> Reply[SignedIn]:
    """Begins a session for the operator whom the provider vouches for, if an administrator let them in by a one-time code before. With a
    session of the same operator that one goes on. It may decide for five minutes where the provider asked anew who they are. A session that
    asked for that must be the browser's still: if it is over, none begins.
    """
    cookies.require_own(request)
    answer = Answer(
        state=body.state, code=body.code, issuer=body.iss, browser=cookies.sent_browser(request),
        session=cookies.session_token(request),
    )  # fmt: skip
    came = await services(request).oidc.welcome(answer, caller_of(request))
    return await let_in(request, came.operator, came.identity, proven=came.fresh)


def _back(request: web.Request) -> str:
    """The console's page where the browser is now, if it is one of ours."""
    origins = services(request).passkeys.relying.origins
    origin = request.headers.get(hdrs.ORIGIN)
    return f"{origin if origin in origins else origins[0]}/console"


_GROUP = "Signing in"
_TRIED = ("not-allowed", "rate-limited", "not-found", "provider-unavailable")
OPERATIONS = (
    Operation(
        method="GET", path="/v1/sign-in", handler=sign_in_ways, summary="How operators sign in", scope=None, group=_GROUP
    ),
    Operation(
        method="POST", path="/v1/sign-in/provider", handler=go_to_provider, summary="Begin to sign in by the provider",
        scope=None, group=_GROUP, tells=("Set-Cookie",), problems=_TRIED, essential=True,
    ),
    Operation(
        method="POST", path="/v1/sign-in/provider/answer", handler=come_from_provider, summary="Sign in by the provider",
        scope=None, group=_GROUP, tells=("Set-Cookie",), problems=(*_TRIED, "precondition-failed"), essential=True,
    ),
)  # fmt: skip
