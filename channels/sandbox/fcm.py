"""A simulated FCM HTTP v1, over HTTP/2 or HTTP/1.1. It serves the send call and Google's token endpoint, records
accepted messages, and misbehaves for tokens with a prefix that a rule names.

It has calls that the real FCM lacks: `POST /control` with `{"rules": [...], "clear": true, "revoke": true}`, `GET
/counts`, and `GET /recorded` as NDJSON.
"""

from __future__ import annotations

import json
import secrets
import time
import urllib.parse
from functools import partial
from typing import Any

import msgspec
from google.auth import jwt

from channels.sandbox.authority import Authority, make_service_account
from channels.sandbox.http_wire import Answer, Late, Reply, Request
from channels.sandbox.listener import Control, Listener
from channels.sandbox.script import FAULTS, Recorded, Script, misbehaved

TOKEN_LIFE_S = 3600  # the same as Google's

# FCM's limit, counted without the token, which is not part of the payload.
PAYLOAD_BYTES = 4096

# google-auth always names Google's endpoint as the audience, and ignores the service account's token_uri.
GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"

ANY_HOUR_S = 10**9  # tolerated difference of the client's clock: any
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


def _error(status: int, code: str, fcm_code: str | None = None, field: str | None = None) -> bytes:
    details: list[dict[str, Any]] = []
    if fcm_code:
        details.append({"@type": FCM_ERROR, "errorCode": fcm_code})
    if field:
        details.append({"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": "invalid"}]})
    error = {"code": status, "message": "refused by the sandbox", "status": code, "details": details}
    return json.dumps({"error": error}).encode()


# The values of a rule's `do`, with the answer: (status, body).
REFUSALS = {
    "throttle": (429, _error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")),
    "unavailable": (503, _error(503, "UNAVAILABLE", "UNAVAILABLE")),
    "unregistered": (404, _error(404, "NOT_FOUND", "UNREGISTERED")),
    "bad-request": (400, _error(400, "INVALID_ARGUMENT", None, "message.android.ttl")),
    "bad-token": (400, _error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.token")),
    "sender-mismatch": (403, _error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH")),
    "forbidden": (403, _error(403, "PERMISSION_DENIED")),
    "unauthorized": (401, _error(401, "UNAUTHENTICATED")),
    "unexplained": (400, _error(400, "UNKNOWN", "UNSPECIFIED_ERROR")),
    "apns-key": (401, _error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR")),
}
BEHAVIOURS = FAULTS.union(REFUSALS)


class _Message(msgspec.Struct):
    token: str = ""
    fid: str = ""
    data: dict[str, str] = {}

    @property
    def address(self) -> str:
        return self.token or self.fid


class _Send(msgspec.Struct):
    message: _Message


class FcmSandbox:
    """A simulated FCM. Tests in the same process use `script` and `recorded`; other processes use the control calls."""

    def __init__(self, authority: Authority, latency_s: float = 0.0) -> None:
        self.script = Script(BEHAVIOURS)
        self.recorded = Recorded()
        context = authority.server_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        self._listener = Listener(self._serve, context, latency_s)
        self._control = Control(self.script, self.recorded, self.revoke_tokens)
        self._authority = authority
        self._decode = msgspec.json.Decoder(_Send).decode
        self._tokens: dict[bytes, float] = {}
        self.tokens_given = self.refused_tokens = 0
        self.asked_at_s = 0  # the client's clock (UNIX seconds) at the last token request
        self.token_delay_s = 0.0  # seconds that Google's endpoint takes
        self._serial = 0

    async def start(self, port: int = 0) -> None:
        await self._listener.start(port)
        self.endpoint = f"https://127.0.0.1:{self._listener.port}"
        self.account = make_service_account(self._authority.ca_file.parent, f"{self.endpoint}/token")

    async def stop(self) -> None:
        await self._listener.stop()

    @property
    def open_connections(self) -> int:
        return self._listener.open_connections

    def revoke_tokens(self) -> None:
        """Makes every access token invalid that was issued so far."""
        self._tokens.clear()

    def _serve(self, request: Request) -> Answer:
        if request.line.startswith(b"POST /v1/projects/"):
            return self._send(request)
        if request.line.startswith(b"POST /token "):
            return Late(self._grant(request), self.token_delay_s)
        return self._control.serve(request)

    def _send(self, request: Request) -> Answer:
        """Answers the call that sends a message, after checks of access token, recipient and size."""
        bearer = request.header(b"authorization").removeprefix(b"Bearer ")
        if self._tokens.get(bearer, 0.0) < time.time():
            self.refused_tokens += 1
            return Reply(*REFUSALS["unauthorized"])
        try:
            message = self._decode(request.body).message
        except msgspec.DecodeError:
            return Reply(*REFUSALS["bad-request"])
        if bool(message.token) == bool(message.fid):
            return Reply(400, _error(400, "INVALID_ARGUMENT", None, "message"))
        if len(request.body) - len(message.address) > PAYLOAD_BYTES:
            return Reply(400, _error(400, "INVALID_ARGUMENT", None, "message"))
        rule = self.script.match(message.address)
        accept = partial(self._accept, message)
        return accept() if rule is None else misbehaved(rule, REFUSALS, accept)

    def _accept(self, message: _Message) -> Reply:
        data = message.data
        self.recorded.add(data.get("chain", ""), data.get("version", ""), message.address)
        self._serial += 1
        return Reply(200, b'{"name": "projects/sandbox/messages/0:%d"}' % self._serial)

    def _grant(self, request: Request) -> Reply:
        """Issues an access token (RFC 7523). The assertion must be signed by the service account's key, for this
        endpoint. Its times are not checked, because a test may set the client's clock ahead.
        """
        form = urllib.parse.parse_qs(request.body.decode())
        if form.get("grant_type") != [GRANT]:
            return Reply(400, b'{"error": "unsupported_grant_type"}')
        try:
            audiences = [GOOGLE_AUDIENCE, f"{self.endpoint}/token"]
            asked = jwt.decode(  # type: ignore[no-untyped-call]
                form["assertion"][0], self.account.public_pem, audience=audiences, clock_skew_in_seconds=ANY_HOUR_S
            )
        except (ValueError, KeyError):
            return Reply(400, b'{"error": "invalid_grant"}')
        self.tokens_given += 1
        self.asked_at_s = asked["iat"]
        token = "ya29." + secrets.token_urlsafe(160)
        self._tokens[token.encode()] = time.time() + TOKEN_LIFE_S
        given = {"access_token": token, "expires_in": TOKEN_LIFE_S, "token_type": "Bearer"}
        return Reply(200, json.dumps(given).encode())
