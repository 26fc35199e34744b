"""Signing in over HTTP: a passkey is registered with a one-time code, signs a challenge, and the browser gets a session."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.http import cookies
from alertd.api.http.operations import Act, Operation, Reply
from alertd.api.services import services
from alertd.model.fields import Document
from alertd.model.operator import network_of
from alertd.service.access import Credential
from alertd.service.organisations.sessions import credential_of
from alertd.store.organisations.operators import StoredOperator, WayIn

#: Bytes in base64url without padding (RFC 4648, section 5), as browsers tell what an authenticator said.
Bytes = Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$", max_length=65_536)]
Code = Annotated[str, Field(min_length=1, max_length=40, examples=["7K2M-9QXD-4TVB-31HN"])]


class _FromBrowser(BaseModel):
    """What browsers add with time is passed over."""

    model_config = ConfigDict(strict=True, frozen=True)


class Attested(_FromBrowser):
    clientDataJSON: Bytes  # noqa: N815  the name that browsers give it
    attestationObject: Bytes  # noqa: N815


class Asserted(_FromBrowser):
    clientDataJSON: Bytes  # noqa: N815
    authenticatorData: Bytes  # noqa: N815
    signature: Bytes
    userHandle: Bytes | None = None  # noqa: N815


class NewPasskey(_FromBrowser):
    """RegistrationResponseJSON of Web Authentication, level 3, section 5.1."""

    id: Bytes
    rawId: Bytes  # noqa: N815
    type: Literal["public-key"]
    response: Attested


class Proof(_FromBrowser):
    """AuthenticationResponseJSON of Web Authentication, level 3, section 5.1."""

    id: Bytes
    rawId: Bytes  # noqa: N815
    type: Literal["public-key"]
    response: Asserted


class Enrolment(Document):
    code: Code


class PasskeyRegistration(Document):
    code: Code
    passkey: NewPasskey


class Options(BaseModel):
    """For `navigator.credentials`, its bytes in base64url."""

    rp_id: str = Field(description="The domain that the passkeys are for.")
    public_key: dict[str, Any]


class Invited(Options):
    name: str
    subject: str


class SignedIn(BaseModel):
    organisation: str
    subject: str
    name: str
    scopes: list[str]


async def passkey_options(request: web.Request, *, body: Enrolment) -> Invited:
    """Whose one-time code it is, and what their browser is to make a passkey of. The code stays good."""
    cookies.require_own(request)
    s = services(request).passkeys
    operator, options = await s.invited(body.code, caller_of(request))
    return Invited(rp_id=s.relying.id, public_key=options, name=operator.name, subject=operator.subject)


async def register_passkey(request: web.Request, *, body: PasskeyRegistration) -> Reply[SignedIn]:
    """Keeps a passkey and begins a session. The code is used up. What is decided asks for the passkey once more."""
    cookies.require_own(request)
    s = services(request)
    operator, passkey = await s.passkeys.register(
        body.code, body.passkey.model_dump(exclude_none=True), caller_of(request)
    )
    token = await s.sessions.begin(operator, passkey, proven=False)
    return Reply(
        signed_in_as(credential_of(operator, passkey), operator.name), headers=cookies.session_cookie(request, token)
    )


async def sign_in_options(request: web.Request) -> Options:
    """What a browser is to let a passkey sign: any, or, with a session, one of its operator's."""
    cookies.require_own(request)
    s = services(request)
    known = await cookies.known(request)
    operator = await s.operators.get(known.org, known.key_id) if known else None
    return Options(rp_id=s.passkeys.relying.id, public_key=await s.passkeys.ask(caller_of(request), operator))


async def sign_in(request: web.Request, *, body: Proof) -> Reply[SignedIn]:
    """Begins a session for whoever's passkey it is. A session that began with this passkey goes on, and for five minutes its operator
    may approve, purge, and change operators and keys.
    """
    cookies.require_own(request)
    s = services(request)
    operator, passkey = await s.passkeys.prove(body.model_dump(exclude_none=True), caller_of(request))
    return await let_in(request, operator, passkey, proven=True)


async def sign_out(request: web.Request) -> Reply[None]:
    """Ends the session. A key is revoked, not signed out."""
    token = cookies.session_token(request)
    if token:
        await services(request).sessions.end(token)
    return Reply(None, headers=cookies.expired_cookie(request))


def caller_of(request: web.Request) -> str:
    """The network of whoever asks, as a name to count tries under. What a proxy adds, to the line or as one more, comes last: all before
    it is the caller's own word.
    """
    header = services(request).settings.sign_in.address_header
    told = ",".join(request.headers.getall(header, ())).rpartition(",")[2].strip() if header else request.remote
    return network_of(told or "")


async def let_in(request: web.Request, operator: StoredOperator, way: WayIn, *, proven: bool) -> Reply[SignedIn]:
    """The browser's session: the one it has, where that began with the same passkey or identity, else a new one in its place."""
    sessions = services(request).sessions
    known, token = await cookies.known(request), cookies.session_token(request)
    is_own = known is not None and (known.org, known.key_id) == (operator.org, operator.id)
    if token and is_own and await sessions.began_with(token, way):
        if proven:
            await sessions.prove(token)
    else:
        if token:
            await sessions.end(token)
        token = await sessions.begin(operator, way, proven=proven)
    return Reply(
        signed_in_as(credential_of(operator, way), operator.name), headers=cookies.session_cookie(request, token)
    )


def signed_in_as(who: Credential, name: str) -> SignedIn:
    return SignedIn(organisation=who.org, subject=who.subject, name=name, scopes=sorted(who.scopes))


_GROUP = "Signing in"
_TRIED = ("not-allowed", "rate-limited")
OPERATIONS = (
    Operation(
        method="POST", path="/v1/passkeys/options", handler=passkey_options, summary="Begin to register a passkey",
        scope=None, group=_GROUP, problems=_TRIED, essential=True,
    ),
    Operation(
        method="POST", path="/v1/passkeys", handler=register_passkey, summary="Register a passkey", scope=None,
        group=_GROUP, status=201, tells=("Set-Cookie",), problems=(*_TRIED, "precondition-failed"),
    ),
    Operation(
        method="POST", path="/v1/sign-in/options", handler=sign_in_options, summary="Begin to sign in", scope=None,
        group=_GROUP, problems=_TRIED, essential=True,
    ),
    Operation(
        method="POST", path="/v1/sign-in", handler=sign_in, summary="Sign in", scope=None, group=_GROUP,
        tells=("Set-Cookie",), problems=_TRIED, essential=True,
    ),
    Operation(
        method="POST", path="/v1/sign-out", handler=sign_out, summary="Sign out", scope="alerts:read", group=_GROUP,
        status=204, tells=("Set-Cookie",), essential=True, act=Act("session.end", stops_harm=True),
    ),
)  # fmt: skip
