"""The cookies of sign-in: for the console's own pages only, hidden from scripts, and refused from other sites."""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from alertd.api.http.call import WATCHES, services
from alertd.common.errors import Problem
from alertd.service.access import Credential

NAME = "alertd_session"
#: Cookie of a browser that alertd sent to the OpenID provider. It binds the provider's answer to that browser (RFC
#: 6749, section 10.12).
SENT = "alertd_sent"
_SAFE = {"GET", "HEAD"}
#: Form of the secrets that browsers get. alertd ignores other cookie values: they may contain line breaks or bytes that
#: are not text.
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def session_token(request: web.Request) -> str | None:
    """Returns the session's secret from the cookie, or None without one. Raises Problem if another site made the
    browser send it.
    """
    token = _sent_back(request, NAME)
    if token and not _is_own(request):
        raise Problem("not-allowed", "This session is for the console's own pages: another site asked.")
    return token


async def signed_in(request: web.Request) -> Credential | None:
    """Returns the credential of the call's session, and prolongs the session unless the call only watches a stream.
    None without a session cookie. Raises Problem if the session is over, or if another site made the browser send the
    cookie.
    """
    token = session_token(request)
    if token is None:
        return None
    found = await services(request).sessions.recognise(token, renew=WATCHES not in request)
    if found is None:
        raise Problem("unauthenticated", "The session is over: sign in.", headers=CHALLENGE)
    return found


async def known(request: web.Request) -> Credential | None:
    """Returns the credential of the call's session and prolongs the session, for operations that need no sign-in. None
    without a session, if the session is over, or if another site made the browser send the cookie.
    """
    token = _sent_back(request, NAME)
    return await services(request).sessions.recognise(token) if token and _is_own(request) else None


#: The header that a 401 must have (RFC 9110, section 11.6.1).
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="alertd"'}


def session_cookie(request: web.Request, token: str) -> dict[str, str]:
    """Returns the header that sets the session cookie to the secret `token`. The browser deletes the cookie when it
    closes.
    """
    return {hdrs.SET_COOKIE: f"{_name(request)}={token}; {_attributes(request)}"}


def expired_cookie(request: web.Request) -> dict[str, str]:
    """Returns the header that deletes the session cookie."""
    return {hdrs.SET_COOKIE: f"{_name(request)}=; Max-Age=0; {_attributes(request)}"}


def sent_browser(request: web.Request) -> str | None:
    """Returns the secret that this browser got when it left for the OpenID provider, or None without one."""
    return _sent_back(request, SENT)


def sent(request: web.Request, browser: str, life_s: int) -> dict[str, str]:
    """Returns the header that stores the secret `browser` for `life_s` seconds, in a browser that leaves for the OpenID
    provider. alertd accepts the browser's return only with this secret.
    """
    return {hdrs.SET_COOKIE: f"{_name(request, SENT)}={browser}; Max-Age={life_s}; {_attributes(request)}"}


def require_own(request: web.Request) -> None:
    """Raises Problem if a page of another site sent the request: such a page could sign a person in as another user
    unnoticed.
    """
    if not _is_own(request):
        raise Problem("not-allowed", "Only the console's own pages sign in.")


def _is_own(request: web.Request) -> bool:
    """Returns whether the request comes from a page of this origin: by Fetch Metadata, or in older browsers by Origin.
    A GET or HEAD without these headers counts as own: it does not come from a browser, so no user can be tricked.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin" or (site == "none" and request.method in _SAFE)
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None:
        return origin.partition("://")[2] == request.host
    return request.method in _SAFE


def _sent_back(request: web.Request, name: str) -> str | None:
    """Returns the secret in the cookie `name`; None if the request has none or its value is not in the form of a
    secret.
    """
    found = request.cookies.get(_name(request, name), "")
    return found if _SECRET.fullmatch(found) else None


def _name(request: web.Request, name: str = NAME) -> str:
    """Returns the cookie's name in the browser. Over TLS it has the prefix `__Host-`, which keeps other hosts and paths
    from setting the cookie (RFC 6265bis, section 4.1.3).
    """
    return f"__Host-{name}" if services(request).passkeys.relying.secure else name


def _attributes(request: web.Request) -> str:
    """Returns the attributes of all these cookies: hidden from scripts, for requests of the same site, and over TLS
    only for TLS.
    """
    secure = "; Secure" if services(request).passkeys.relying.secure else ""
    return f"Path=/; HttpOnly; SameSite=Strict{secure}"
