"""The cookies of signing in: for this service's own pages alone, unreadable to their scripts, and believed from nowhere else."""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from alertd.api.http.call import WATCHES, services
from alertd.common.errors import Problem
from alertd.service.access import Credential

NAME = "alertd_session"
#: Of a browser that was sent to the provider: that nobody else comes back in its place (RFC 6749, section 10.12).
SENT = "alertd_sent"
_SAFE = {"GET", "HEAD"}
#: What is given to browsers. Whatever else comes back is nobody's: a cookie may hold bytes that are no text, and line breaks.
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def session_token(request: web.Request) -> str | None:
    """The session's secret as the browser sent it. Raises Problem if another site made the browser send it."""
    token = _sent_back(request, NAME)
    if token and not _is_own(request):
        raise Problem("not-allowed", "This session is for the console's own pages: another site asked.")
    return token


async def signed_in(request: web.Request) -> Credential | None:
    """Whose session a call comes with; None without one. Raises Problem for one that is over, or that another site uses."""
    token = session_token(request)
    if token is None:
        return None
    found = await services(request).sessions.recognise(token, renew=WATCHES not in request)
    if found is None:
        raise Problem("unauthenticated", "The session is over: sign in.", headers=CHALLENGE)
    return found


async def known(request: web.Request) -> Credential | None:
    """Whose session a call comes with, where nobody has to be signed in; None for one that is over, or not the caller's own."""
    token = _sent_back(request, NAME)
    return await services(request).sessions.recognise(token) if token and _is_own(request) else None


#: What a refusal with 401 must have (RFC 9110, section 11.6.1).
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="alertd"'}


def session_cookie(request: web.Request, token: str) -> dict[str, str]:
    """The header that gives a browser its session: until it is closed, or the session over."""
    return {hdrs.SET_COOKIE: f"{_name(request)}={token}; {_attributes(request)}"}


def expired_cookie(request: web.Request) -> dict[str, str]:
    """The header that takes it away."""
    return {hdrs.SET_COOKIE: f"{_name(request)}=; Max-Age=0; {_attributes(request)}"}


def sent_browser(request: web.Request) -> str | None:
    """The secret that this browser was sent away with."""
    return _sent_back(request, SENT)


def sent(request: web.Request, browser: str, life_s: int) -> dict[str, str]:
    """The header that gives it that secret, for so long."""
    return {hdrs.SET_COOKIE: f"{_name(request, SENT)}={browser}; Max-Age={life_s}; {_attributes(request)}"}


def require_own(request: web.Request) -> None:
    """Raises Problem where another site asks: nobody is signed in as somebody else without seeing it."""
    if not _is_own(request):
        raise Problem("not-allowed", "Only the console's own pages sign in.")


def _is_own(request: web.Request) -> bool:
    """Whether the page that asks is of this very origin, as browsers tell: Fetch Metadata, before that the Origin of what is no
    plain reading. What no browser sent is believed where it only reads, for nobody there could be deceived into it.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin" or (site == "none" and request.method in _SAFE)
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None:
        return origin.partition("://")[2] == request.host
    return request.method in _SAFE


def _sent_back(request: web.Request, name: str) -> str | None:
    """The secret that this browser was given by that name."""
    found = request.cookies.get(_name(request, name), "")
    return found if _SECRET.fullmatch(found) else None


def _name(request: web.Request, name: str = NAME) -> str:
    """Over TLS with the prefix by which browsers let no other host or page set it (RFC 6265bis, section 4.1.3)."""
    return f"__Host-{name}" if services(request).passkeys.relying.secure else name


def _attributes(request: web.Request) -> str:
    secure = "; Secure" if services(request).passkeys.relying.secure else ""
    return f"Path=/; HttpOnly; SameSite=Strict{secure}"
