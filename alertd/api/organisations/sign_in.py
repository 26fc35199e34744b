"""HTTP operations for sign-in: by a passkey that was registered with a one-time code, or by an OpenID provider. The
browser then gets a session.

The console sends its browser to the provider. The browser returns to the console's page, which posts the parameters of
its URL. So both cookies can be SameSite=Strict, and no other page can sign a person in.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.http import cookies
from alertd.api.http.call import services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.common.errors import Problem
from alertd.model.fields import Document
from alertd.model.operator import network_of
from alertd.service.access import Credential
from alertd.service.organisations.oidc import SENT_MS, Answer
from alertd.service.organisations.sign_in import credential_of
from alertd.store.organisations.operators import StoredOperator, WayIn

#: Bytes in base64url without padding (RFC 4648, section 5), the form in which browsers pass on an authenticator's
#: answer.
Bytes = Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$", max_length=65_536)]
Code = Annotated[str, Field(min_length=1, max_length=40, examples=["7K2M-9QXD-4TVB-31HN"])]


class _FromBrowser(BaseModel):
    """The base of models that browsers fill. It ignores unknown members, because browsers may add some later."""

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
    """A new passkey: RegistrationResponseJSON of Web Authentication, level 3, section 5.1."""

    id: Bytes
    rawId: Bytes  # noqa: N815
    type: Literal["public-key"]
    response: Attested


class Proof(_FromBrowser):
    """A signature with a passkey: AuthenticationResponseJSON of Web Authentication, level 3, section 5.1."""

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
    """Options for `navigator.credentials`, with bytes in base64url."""

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


_TRIED = ("not-allowed", "rate-limited")
_AWAY = (*_TRIED, "not-found", "provider-unavailable")
OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", "/v1/passkeys/options", "Begin to register a passkey", None, problems=("not-allowed", "rate-limited"),
    essential=True,
)  # fmt: skip
async def passkey_options(request: web.Request, *, body: Enrolment) -> Invited:
    """Returns the operator of a one-time code, and the options for their browser to make a passkey. The code stays
    valid.
    """
    cookies.require_own(request)
    s = services(request).passkeys
    operator, options = await s.invited(body.code, caller_of(request))
    return Invited(rp_id=s.relying.id, public_key=options, name=operator.name, subject=operator.subject)


@OPERATIONS.add(
    "POST", "/v1/passkeys", "Register a passkey", None, status=201, tells=("Set-Cookie",),
    problems=("not-allowed", "rate-limited", "precondition-failed"),
)  # fmt: skip
async def register_passkey(request: web.Request, *, body: PasskeyRegistration) -> Reply[SignedIn]:
    """Stores a passkey for the operator of a one-time code, and begins a session. The code is used up. Before a
    decision, alertd asks for a signature with the passkey.
    """
    cookies.require_own(request)
    s = services(request)
    operator, passkey = await s.passkeys.register(
        body.code, body.passkey.model_dump(exclude_none=True), caller_of(request)
    )
    token = await s.sessions.begin(operator, passkey, proven=False)
    return Reply(
        signed_in_as(credential_of(operator, passkey), operator.name), headers=cookies.session_cookie(request, token)
    )


@OPERATIONS.add(
    "POST", "/v1/sign-in/options", "Begin to sign in", None, problems=("not-allowed", "rate-limited"), essential=True
)
async def sign_in_options(request: web.Request) -> Options:
    """Returns the options for a signature with any passkey or, in a session, with one of its operator's."""
    cookies.require_own(request)
    s = services(request)
    known = await cookies.known(request)
    operator = await s.operators.get(known.org, known.key_id) if known else None
    return Options(rp_id=s.passkeys.relying.id, public_key=await s.passkeys.ask(caller_of(request), operator))


@OPERATIONS.add(
    "POST", "/v1/sign-in", "Sign in", None, tells=("Set-Cookie",), problems=("not-allowed", "rate-limited"),
    essential=True,
)  # fmt: skip
async def sign_in(request: web.Request, *, body: Proof) -> Reply[SignedIn]:
    """Begins a session for the owner of the passkey. If this browser's session began with the same passkey, that
    session continues. For five minutes the operator may approve, purge, and change operators and keys.
    """
    cookies.require_own(request)
    s = services(request)
    operator, passkey = await s.passkeys.prove(body.model_dump(exclude_none=True), caller_of(request))
    return await let_in(request, operator, passkey, proven=True)


@OPERATIONS.add(
    "POST", "/v1/sign-out", "Sign out", "alerts:read", status=204, tells=("Set-Cookie",),
    act=Act("session.end", stops_harm=True),
)  # fmt: skip
async def sign_out(request: web.Request) -> Reply[None]:
    """Ends the browser's session and deletes its cookie. For a key it does nothing: revoke the key instead."""
    token = cookies.session_token(request)
    if token:
        await services(request).sessions.end(token)
    return Reply(None, headers=cookies.expired_cookie(request))


def caller_of(request: web.Request) -> str:
    """Returns the name under which alertd counts attempts to sign in: the caller's IPv4 address, or the /64 network of
    an IPv6 address; "unknown" if there is none. Behind a proxy the address is the last value of the configured header;
    the caller may have forged all earlier values.
    """
    header = services(request).settings.sign_in.address_header
    address = ",".join(request.headers.getall(header, ())).rpartition(",")[2].strip() if header else request.remote
    return network_of(address or "")


async def let_in(request: web.Request, operator: StoredOperator, way: WayIn, *, proven: bool) -> Reply[SignedIn]:
    """Returns the answer to a sign-in, with a session for the browser: the present one if it is the operator's and
    began with the same passkey or identity, else a new one that replaces it. `proven`: the operator's identity was
    proven just now.
    """
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


State = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{43}$")]
#: A value from the provider. Some providers make codes of more than a thousand characters.
Given = Annotated[str, Field(min_length=1, max_length=8_192)]


class Ways(BaseModel):
    rp_id: str = Field(description="The domain that passkeys are for.")
    provider: str | None = Field(description="What the OpenID provider is called, where operators may sign in by one.")


class Departure(Document):
    """The purpose of a visit to the provider: sign-in by default, or one of these."""

    code: Code | None = Field(None, description="A one-time code: binds the returning identity to its operator.")
    prove: bool = Field(False, description="In a session: proves the operator's identity again (step-up).")


class Destination(BaseModel):
    url: str = Field(description="Where the browser is to go. It comes back to `/console`, within ten minutes.")


class ProviderAnswer(Document):
    """The provider's parameters in the URL with which the browser came back."""

    state: State
    code: Given | None = Field(None, description="Missing if the provider refused the sign-in.")
    iss: Given | None = Field(None, description="RFC 9207.")


SIGN_IN = Departure()


@OPERATIONS.add("GET", "/v1/sign-in", "How operators sign in", None)
async def sign_in_ways(request: web.Request) -> Ways:
    """Returns how operators sign in here: with passkeys, and by the OpenID provider if there is one."""
    s = services(request)
    return Ways(rp_id=s.passkeys.relying.id, provider=s.oidc.name)


@OPERATIONS.add(
    "POST", "/v1/sign-in/provider", "Begin to sign in by the provider", None, tells=("Set-Cookie",), problems=_AWAY,
    essential=True,
)  # fmt: skip
async def go_to_provider(request: web.Request, *, body: Departure = SIGN_IN) -> Reply[Destination]:
    """Returns the provider's URL for sign-in, or for a step-up (valid for five minutes), for which the provider must
    authenticate the operator again. The answer's cookie binds the return to this browser.
    """
    cookies.require_own(request)
    s, who = services(request), await cookies.signed_in(request) if body.prove else None
    proves: Any = await s.operators.get(who.org, who.key_id) if who else None
    if body.prove and (proves is None or body.code):
        raise Problem("not-allowed", "Sign in first: only a person with a session can confirm it.")
    url, browser = await s.oidc.send(
        caller_of(request), back=_back(request), browser=cookies.sent_browser(request), code=body.code, proves=proves,
        session=cookies.session_token(request),
    )  # fmt: skip
    return Reply(Destination(url=url), headers=cookies.sent(request, browser, SENT_MS // 1000))


@OPERATIONS.add(
    "POST", "/v1/sign-in/provider/answer", "Sign in by the provider", None, tells=("Set-Cookie",),
    problems=(*_AWAY, "precondition-failed"), essential=True,
)  # fmt: skip
async def come_from_provider(request: web.Request, *, body: ProviderAnswer) -> Reply[SignedIn]:
    """Begins a session for the operator who was authenticated by the provider, if an administrator admitted that
    identity by a one-time code before. An existing session that began with the same identity continues. The operator
    may decide for five minutes if the provider authenticated them again. If a session asked for a step-up and is over,
    the answer is an error, and no session begins.
    """
    cookies.require_own(request)
    answer = Answer(
        state=body.state, code=body.code, issuer=body.iss, browser=cookies.sent_browser(request),
        session=cookies.session_token(request),
    )  # fmt: skip
    came = await services(request).oidc.welcome(answer, caller_of(request))
    return await let_in(request, came.operator, came.identity, proven=came.fresh)


def _back(request: web.Request) -> str:
    """Returns the URL of the console page to which the provider sends the browser back: at the request's origin if that
    is one of this service's origins, else at the first of them.
    """
    origins = services(request).passkeys.relying.origins
    origin = request.headers.get(hdrs.ORIGIN)
    return f"{origin if origin in origins else origins[0]}/console"
