"""An OpenID provider in a test's hands: it signs what it is told to, so that what no honest provider says can be tried, too."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from aiohttp import web
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey
from joserfc.registry import HeaderParameter

from tests.ports import free_port

CLIENT, SECRET = "alertd at the centre", "s3cret/with:signs"


def text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass
class Issuer:
    """What it says and has heard."""

    url: str
    key: Any = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "first"}))
    algorithm: str = "RS256"
    published: list[Any] = field(default_factory=list)  # further keys
    document: dict[str, Any] = field(default_factory=dict)  # what its own document says otherwise
    claims: dict[str, Any] = field(default_factory=dict)  # and its ID tokens; None takes one out
    header: dict[str, Any] = field(default_factory=dict)
    signs_with: Any = None  # another key than it says; bytes: the secret of an HMAC, whatever they are
    token: str = ""  # instead of one that it makes
    login_s: int = 0  # how long ago whoever is there showed who they are
    asked: list[dict[str, str]] = field(default_factory=list)  # of each browser that was sent, its parameters
    fetched: list[str] = field(default_factory=list)  # paths
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    fails: int = 0  # the status of everything

    def let_in(self, url: str, sub: str) -> dict[str, str]:
        """Somebody signs in who was sent to this address: the parameters with which they go back."""
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.url}/authorize"
        asked = {name: one for name, [one] in parse_qs(parts.query).items()}
        self.asked.append(asked)
        code = secrets.token_urlsafe(16)
        self.codes[code] = {**asked, "sub": sub}
        return {"state": asked["state"], "code": code, "iss": self.url}

    def token_for(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url, "sub": asked["sub"], "aud": CLIENT, "exp": now + 600, "iat": now, "nonce": asked["nonce"],
            "auth_time": now - self.login_s, **self.claims,
        }  # fmt: skip
        told = {name: one for name, one in claims.items() if one is not None}
        key, header = self.signs_with or self.key, {"alg": self.algorithm, "kid": self.key.kid, **self.header}
        header = {name: one for name, one in header.items() if one is not None}
        if isinstance(key, bytes):  # no library makes such a thing
            signed = f"{text(json.dumps(header).encode())}.{text(json.dumps(told).encode())}"
            return f"{signed}.{text(hmac.digest(key, signed.encode(), 'sha256'))}"
        critical = {name: HeaderParameter("Understood here alone", "int") for name in header.get("crit", [])}
        registry = jws.JWSRegistry(critical, [header["alg"]], strict_check_header=False)
        with warnings.catch_warnings():  # of EdDSA, which has another name by now
            warnings.simplefilter("ignore", SecurityWarning)
            return jws.serialize_compact(header, json.dumps(told), key, registry=registry)

    async def answer(self, request: web.Request) -> web.Response:
        self.fetched.append(request.path)
        if self.fails:
            return web.Response(status=self.fails)
        match request.path:
            case "/.well-known/openid-configuration":
                document = {
                    "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize",
                    "token_endpoint": f"{self.url}/token", "jwks_uri": f"{self.url}/keys",
                    "authorization_response_iss_parameter_supported": True,
                }  # fmt: skip
                return web.json_response(document | self.document)
            case "/keys":
                keys = [one.as_dict(private=False) for one in (self.key, *self.published)]
                return web.json_response({"keys": [{"kty": "unheard-of"}, {"kty": "RSA"}, "?", *keys]})
            case "/page":
                return web.Response(text="<html>Sign in</html>")
            case "/token":
                return await self._redeemed(request)
        return web.Response(status=404)

    async def _redeemed(self, request: web.Request) -> web.Response:
        """As RFC 6749 and 7636 have it: the client, the code once, where it goes back to, and whoever was sent has the verifier."""
        pair = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode().split(":")
        if [unquote(one) for one in pair] != [CLIENT, SECRET]:
            return web.json_response({"error": "invalid_client"}, status=401)
        form = dict(await request.post())
        asked = self.codes.pop(str(form["code"]), None)
        if asked is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        challenge = text(hashlib.sha256(str(form["code_verifier"]).encode()).digest())
        if challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response(
            {"access_token": "x", "token_type": "Bearer", "id_token": self.token or self.token_for(asked)}
        )


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """An issuer at this machine, until the block ends."""
    port = free_port()
    issuer = Issuer(url=f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", issuer.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield issuer
    finally:
        await runner.cleanup()
