"""Calls the OpenID provider at which operators may sign in: reads its document and its keys, and exchanges a code for
claims.

OpenID Connect Discovery 1.0 (section 4), RFC 6749 (4.1), RFC 7636 and OpenID Connect Core 1.0 (3.1.2, 3.1.3). joserfc
checks signatures and claims. The provider's answers reach neither the person who signs in nor a log: only the name of
the failed check does.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import secrets
import ssl
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import structlog
from joserfc import jws, jwt
from joserfc.errors import InvalidClaimError, JoseError, MissingClaimError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from alertd.common.clock import Clock
from alertd.common.errors import ConfigError, Problem
from alertd.config.sections import OidcSection
from alertd.service.organisations.sign_in import Refusal
from channels.fetching import Fetcher, FetchError, is_public
from channels.posting import json_object

#: The accepted signatures, each with its key type and curve. `none` and algorithms with a shared secret are missing, so
#: that no one can sign with a public value (RFC 8725, sections 3.1 and 3.2).
ALGORITHMS = {"RS256": ("RSA", None), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}
#: Tolerated difference of clocks, in seconds.
LEEWAY_S = 30
#: Maximum age, in seconds, of the sign-in at the provider that a decision accepts. The provider asks again in any case
#: (`prompt=login`); `max_age` makes it state when (`auth_time`, OpenID Connect Core 3.1.2.1). With `max_age=0` some
#: providers find the sign-in that they just made too old, and ask without end.
MAX_AGE_S = 300
#: Seconds after which the provider's document and keys are read again. The keys are read sooner if a token names an
#: unknown key.
KEPT_S = 3_600.0
#: Errors of a token endpoint that does not know this client (RFC 6749, 5.2).
CLIENT_ERRORS = frozenset({"invalid_client", "unauthorized_client"})
_DOCUMENT_BYTES, _TOKEN_BYTES = 256 * 1024, 64 * 1024
_NOT_ACCEPTED = "The answer of the sign-in provider is not accepted here. Begin again."

Key = RSAKey | ECKey | OKPKey
#: Checks signatures by `ALGORITHMS`. Other members of a header are ignored, except those that the header lists as
#: critical (RFC 7515, sections 4 and 4.1.11).
_SIGNATURES = jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)


class Asks(Protocol):
    """Fetches URLs, only those that are allowed: `channels.fetching.Fetcher`."""

    async def fetch(self, url: str, most_bytes: int) -> bytes: ...
    async def exchange(
        self, url: str, body: bytes, headers: Mapping[str, str], most_bytes: int
    ) -> tuple[int, bytes]: ...


def guarded(settings: OidcSection) -> Fetcher:
    """Returns a fetcher for the issuer and the URLs in its document. It connects to the public internet only, unless
    the settings place the issuer in the operator's own network. The port is the issuer's, or 443. Raises ConfigError.
    """
    parts = urlsplit(settings.issuer)
    try:
        trust = ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else None
        ports = frozenset({443, parts.port or 443})
    except (OSError, ValueError):
        raise ConfigError("oidc: ca_file must be readable certificates, and issuer an address") from None
    is_allowed = (lambda _: True) if settings.own_network else is_public
    return Fetcher(ports=ports, trust=trust, is_allowed=is_allowed, loopback=parts.scheme == "http")


def refused(reason: str) -> Refusal:
    """Returns the Refusal of a sign-in. `reason` is the name of the failed check, for the log; the person sees a
    general text.
    """
    return Refusal(reason, _NOT_ACCEPTED)


class Endpoint(enum.StrEnum):
    """The endpoints of a provider that alertd asks."""

    DISCOVERY = "discovery"
    KEYS = "jwks"
    TOKEN = "token"  # noqa: S105  the name of an endpoint


class ProviderFault(Problem):
    """An endpoint of the provider has failed. The API answers with a general sentence; the log and `alertd check` also
    name `endpoint`, `url` and `why`.
    """

    def __init__(self, endpoint: Endpoint, url: str, why: str) -> None:
        sentence = "The sign-in provider does not answer as it should."
        super().__init__("provider-unavailable", sentence, headers={"Retry-After": "60"})
        self.endpoint, self.url, self.why = endpoint, url, why


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """The members of the provider's discovery document that alertd uses."""

    authorization: str
    token: str
    keys: str
    by_form: bool  # the client secret goes into the form, because the provider does not accept it in a header
    names_itself: bool  # the provider names its issuer in each answer (RFC 9207)


class OidcProvider:
    """The OpenID provider that the settings name as issuer."""

    def __init__(self, settings: OidcSection, asks: Asks, clock: Clock) -> None:
        self.issuer = settings.issuer
        self.name = settings.name or urlsplit(settings.issuer).netloc
        self.acr = frozenset(settings.acr)
        self._client = settings.client_id
        self._secret = settings.client_secret.get_secret_value() if settings.client_secret else ""
        self._asks = asks
        self._clock = clock
        self._found: tuple[float, Discovered] | None = None
        self._keys: tuple[float, list[Key]] | None = None

    async def meet(self) -> None:
        """Tests the provider: its discovery document, its keys and, with a made-up code, its token endpoint. Raises
        ProviderFault, which names the endpoint at fault.
        """
        if not await self._known_keys(renewed=True):
            raise _unavailable(Endpoint.KEYS, (await self._discovered()).keys, "no key for RS256, ES256 or EdDSA")
        url, status, answer = await self._redeemed(
            "alertd-check", secrets.token_urlsafe(32), "https://alertd.invalid/console"
        )
        if status not in {400, 401} or not isinstance(answer.get("error"), str):
            raise _unavailable(
                Endpoint.TOKEN, url, f"it answers {status} to a wrong code, and no error in JSON (RFC 6749, 5.2)"
            )
        if answer["error"] in CLIENT_ERRORS:
            raise _unavailable(
                Endpoint.TOKEN, url, f"it refuses oidc.client_id or oidc.client_secret ({answer['error']})"
            )

    async def address(self, *, state: str, nonce: str, verifier: str, back: str, anew: bool) -> str:
        """Returns the URL to send a browser to (OpenID Connect Core, 3.1.2.1), with the challenge of `verifier`
        (RFC 7636, 4.3). With `anew` the provider must ask the person to sign in, even if they have a session there.
        Raises Problem if the provider does not answer.
        """
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code", "client_id": self._client, "redirect_uri": back, "scope": "openid", "state": state,
            "nonce": nonce, "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        if anew:
            asked |= {"prompt": "login", "max_age": str(MAX_AGE_S)}
            asked |= {"acr_values": " ".join(sorted(self.acr))} if self.acr else {}
        url = (await self._discovered()).authorization
        return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(asked)}"

    async def claims(self, *, code: str, verifier: str, back: str, nonce: str, since_ms: int) -> dict[str, Any]:
        """Redeems a code and returns the claims of its ID token, which was made for this sign-in. Raises Refusal,
        Problem.
        """
        token = await self._token(code, verifier, back)
        header = _header(token)
        key = await self._key(header)
        try:
            with warnings.catch_warnings():  # RFC 9864 calls EdDSA Ed25519, and most issuers do not yet
                warnings.simplefilter("ignore", SecurityWarning)
                claims = jwt.decode(token, key, registry=_SIGNATURES).claims
        except (JoseError, ValueError, TypeError, RecursionError):
            raise refused("signature") from None
        self._check(claims, nonce, since_ms // 1000)
        return claims

    async def expect_issuer(self, named: str | None) -> None:
        """Raises Refusal if an answer names another issuer, or names none although the provider always does (RFC 9207,
        section 2.4). Raises Problem if the provider does not answer.
        """
        needed = (await self._discovered()).names_itself
        if named != self.issuer and (named is not None or needed):
            raise refused("iss")

    def _check(self, claims: dict[str, Any], nonce: str, since_s: int) -> None:
        """Checks the claims of an ID token by Core, 3.1.3.7: 2 and 3 (issuer, audience), 4 and 5 (azp), 9 (exp), 10
        (iat), 11 (nonce). `since_s` is when the sign-in began, UNIX s; an older token is refused. Raises Refusal.
        """
        now = self._clock.now_ms() // 1000
        registry = jwt.JWTClaimsRegistry(
            now, LEEWAY_S,
            iss={"essential": True, "value": self.issuer}, sub={"essential": True}, exp={"essential": True},
            aud={"essential": True, "value": self._client}, iat={"essential": True},
            nonce={"essential": True, "value": nonce}, azp={"value": self._client},
        )  # fmt: skip
        try:
            registry.validate(claims)
        except (InvalidClaimError, MissingClaimError) as error:
            raise refused(str(error.claim).partition(",")[0]) from None
        except JoseError:
            raise refused("exp") from None
        if claims["aud"] not in (self._client, [self._client]):  # alertd trusts no other audience
            raise refused("aud")
        if claims["iat"] < since_s - LEEWAY_S:
            raise refused("iat")

    async def _token(self, code: str, verifier: str, back: str) -> str:
        """Returns the ID token for a code (RFC 6749, 4.1.3; RFC 7636, 4.5). Raises Refusal, Problem."""
        _, status, answer = await self._redeemed(code, verifier, back)
        token = answer.get("id_token") if status == 200 else None
        if not isinstance(token, str):
            raise refused("code")
        return token

    async def _redeemed(self, code: str, verifier: str, back: str) -> tuple[str, int, dict[str, Any]]:
        """Posts a code to the token endpoint. Returns the endpoint's URL, the status, and the JSON object of the
        answer, which is empty if there is none. Raises ProviderFault.
        """
        discovered = await self._discovered()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._secret and not discovered.by_form:
            pair = f"{quote(self._client, safe='')}:{quote(self._secret, safe='')}"  # RFC 6749, 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self._client} | ({"client_secret": self._secret} if self._secret else {})
        try:
            status, raw = await self._asks.exchange(discovered.token, urlencode(form).encode(), headers, _TOKEN_BYTES)
        except FetchError as error:
            raise _unavailable(Endpoint.TOKEN, discovered.token, error.cause) from None
        if status >= 500:
            raise _unavailable(Endpoint.TOKEN, discovered.token, f"it answers {status}")
        return discovered.token, status, json_object(raw)

    async def _key(self, header: Mapping[str, Any]) -> Key:
        """Returns the provider's key that a token's header names; reads the keys anew if none fits. Raises Refusal,
        Problem.
        """
        if header["alg"] not in ALGORITHMS:
            raise refused("alg")
        for renewed in (False, True):
            fitting = _fitting(await self._known_keys(renewed), header)
            if len(fitting) == 1 or (fitting and "kid" in header):
                return fitting[0]
        raise refused("kid")

    async def _known_keys(self, renewed: bool) -> list[Key]:
        """Returns the provider's keys, at most `KEPT_S` old; with `renewed` it always reads them anew. Raises Problem."""
        now = self._clock.monotonic()
        if self._keys is None or renewed or now - self._keys[0] >= KEPT_S:
            document = await self._document(Endpoint.KEYS, (await self._discovered()).keys)
            self._keys = now, _keys_of(document.get("keys"))
        return self._keys[1]

    async def _discovered(self) -> Discovered:
        """Returns the provider's discovery document, at most `KEPT_S` old. Raises Problem."""
        now = self._clock.monotonic()
        if self._found is None or now - self._found[0] >= KEPT_S:
            url = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
            self._found = now, self._read(url, await self._document(Endpoint.DISCOVERY, url))
        return self._found[1]

    def _read(self, url: str, document: Mapping[str, Any]) -> Discovered:
        """Returns the used members of the discovery document (Discovery, 3 and 4.3). Raises ProviderFault if the
        document is not this issuer's own, or lacks a URL.
        """
        if document.get("issuer") != self.issuer:
            raise _unavailable(
                Endpoint.DISCOVERY, url, f"its issuer is not {self.issuer}, letter by letter (oidc.issuer)"
            )
        secure = ("https://", "http://127.0.0.1:") if self.issuer.startswith("http:") else ("https://",)
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            one = document.get(name)
            if not (isinstance(one, str) and one.startswith(secure)):
                raise _unavailable(Endpoint.DISCOVERY, url, f"its {name} is missing or no https address")
        ways = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return Discovered(
            authorization=document["authorization_endpoint"], token=document["token_endpoint"], keys=document["jwks_uri"],
            by_form="client_secret_basic" not in ways and "client_secret_post" in ways,
            names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        )  # fmt: skip

    async def _document(self, endpoint: Endpoint, url: str) -> dict[str, Any]:
        """Fetches a URL and returns its JSON object. Raises ProviderFault."""
        try:
            raw = await self._asks.fetch(url, _DOCUMENT_BYTES)
        except FetchError as error:
            raise _unavailable(endpoint, url, error.cause) from None
        if not (found := json_object(raw)):
            raise _unavailable(endpoint, url, "it answers something else than a JSON object")
        return found


def _header(token: str) -> dict[str, Any]:
    """Returns the header of a token, without a check of its signature. Raises Refusal."""
    try:
        header = dict(jws.extract_compact(token.encode()).headers())
    except (JoseError, ValueError, TypeError, RecursionError):
        raise refused("signature") from None
    if not isinstance(header.get("alg"), str):
        raise refused("alg")
    return header


def _keys_of(listed: Any) -> list[Key]:
    """Returns the keys that can check an accepted signature, and ignores the others (RFC 7517, section 5)."""
    found = []
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and one.get("use", "sig") == "sig":
            try:
                key = import_key(one)
            except (JoseError, ValueError, TypeError, KeyError):
                continue
            if isinstance(key, RSAKey | ECKey | OKPKey):
                found.append(key)
    return found


def _fitting(keys: Sequence[Key], header: Mapping[str, Any]) -> list[Key]:
    """Returns the keys that can have signed a token with this header: by its algorithm and, if it has one, by its key
    id (Core, 10.1).
    """
    kind, curve = ALGORITHMS[header["alg"]]
    return [
        one for one in keys
        if one.key_type == kind and one.get("alg") in {None, header["alg"]} and (curve is None or one.get("crv") == curve)
        and ("kid" not in header or one.kid == header["kid"])
    ]  # fmt: skip


def _unavailable(endpoint: Endpoint, url: str, why: str) -> ProviderFault:
    """Logs which endpoint fails and why, and returns the fault. The log names no person."""
    structlog.get_logger().warning("sign_in_provider.failed", endpoint=endpoint.value, url=url, why=why)
    return ProviderFault(endpoint, url, why)
