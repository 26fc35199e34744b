"""Signs operators in by an OpenID provider: the authorization code flow (OpenID Connect Core 1.0, 3.1) with PKCE (RFC
7636).

A browser that leaves for the provider carries a state. The state works once, within ten minutes, and only in that
browser. Issuer and subject identify the person who comes back. A one-time code must have bound this identity to an
operator before: a sign-in alone makes no operator, and no claim gives a role.

A decision needs a fresh sign-in (`prompt=login`). `auth_time` must show that it happened after the browser left. If the
provider did not ask again, another round would not help, so the answer says so and offers the passkey instead.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import msgspec

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.model.operator import normal_code
from alertd.service.access import Credential
from alertd.service.organisations.oidc_provider import OidcProvider
from alertd.service.organisations.sign_in import OF_CALLER, Refusal, Sessions, SignIn, credential_of, no_code
from alertd.store.organisations.api_keys import digest_of
from alertd.store.organisations.operators import Identity, OperatorStore, StoredOperator
from alertd.store.organisations.sessions import Away, SessionStore

#: Time limit of a sign-in at the provider: a person may first have to find their phone for the second factor.
SENT_MS = 10 * 60_000
MOST_IDENTITIES = 10
#: Tolerance in seconds for the provider's clock when checking `auth_time`.
AUTH_TIME_SKEW_S = 60


#: The refusal's text, by the claim that fails the check.
STALE = {
    "auth_time": "The sign-in provider did not ask you to sign in again, so it cannot show that it is you.",
    "acr": "The sign-in provider did not check you as strictly as this needs (oidc.acr).",
}
USE_PASSKEY = "Use your passkey instead."
ADD_PASSKEY = (
    "You have no passkey here yet: ask an administrator for a one-time code (alertd operators invite), open its link and "
    "register a passkey."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The provider's answer that a browser brings back (Core, 3.1.2.5 and 3.1.2.6)."""

    state: str
    code: str | None = None
    issuer: str | None = None  # RFC 9207
    browser: str | None = None  # the secret that the browser got when it left
    session: str | None = None  # the secret of the browser's current session


@dataclass(frozen=True, slots=True, kw_only=True)
class CameBack:
    """An operator who has signed in by the provider."""

    operator: StoredOperator
    identity: Identity
    fresh: bool  # the provider asked them to sign in just now


@dataclass(frozen=True, slots=True)
class Oidc:
    """Sends browsers to the provider and checks their answers. `caller` is the caller's address; only its keyed hash is
    stored.
    """

    operators: OperatorStore
    store: SessionStore
    sessions: Sessions
    entering: SignIn
    clock: Clock
    provider: OidcProvider | None
    _: KW_ONLY
    host: str  # the organisation with the audit records of acts without a known operator

    @property
    def name(self) -> str | None:
        """Returns the provider's name, or None if no provider is set."""
        return self.provider.name if self.provider else None

    async def send(
        self,
        caller: str,
        *,
        back: str,
        browser: str | None = None,
        code: str | None = None,
        proves: StoredOperator | None = None,
        session: str | None = None,
    ) -> tuple[str, str]:
        """Starts a sign-in. Returns the provider's URL for a browser, and a secret that the browser keeps until it
        returns to the URL `back`. A valid secret from another of its windows is reused.

        With a one-time `code`, the person who comes back becomes an identity of that code's operator. With `proves`,
        the provider must ask that operator to sign in again; `session` is the secret of their session. Raises Problem.
        """
        provider, digest = self._there(), ""
        await self.entering.attempt(f"{'code' if code else 'sign-in'} {caller}", OF_CALLER)
        if code:
            await self.entering.invited(code)
            digest = digest_of(normal_code(code))
        state, nonce, verifier, fresh = (secrets.token_urlsafe(32) for _ in range(4))
        browser = browser if browser and len(browser) == len(fresh) else fresh
        url = await provider.address(state=state, nonce=nonce, verifier=verifier, back=back, anew=proves is not None)
        sent = Away(
            made=self.clock.now_ms(), browser=digest_of(browser), nonce=nonce, verifier=verifier, back=back, code=digest,
            org=proves.org if proves else "", operator=proves.id if proves else "",
            session=digest_of(session) if proves and session else "",
        )  # fmt: skip
        await self.store.send_away(state, sent, SENT_MS)
        return url, browser

    async def welcome(self, answer: Answer, caller: str) -> CameBack:
        """Checks an answer and returns the operator who came back. Raises Problem; the audit records the reason."""
        self._there()
        await self.entering.attempt(f"sign-in {caller}", OF_CALLER)
        sent = await self.store.come_back(answer.state)
        act = "identity.bind" if sent and sent.code else "session.prove"
        try:
            sent, claims = await self._proven(sent, answer)
            identity_id = self.operators.identity_id(claims["iss"], claims["sub"])
            operator, identity = await self._whose(sent, identity_id)
        except Refusal:
            async with self.entering.recorded(await self._asker(sent), act):
                raise
        async with self.entering.recorded(credential_of(operator, identity), act):
            if operator.disabled:
                raise Refusal("disabled", "This operator is disabled. An administrator can enable them.")
            if sent.operator and not await self._is_there(sent, answer.session):
                raise Refusal(
                    "session",
                    "The session that asked for this sign-in has ended. Begin again where you are signed in.",
                )
            fresh = self._fresh(sent, operator, claims)
            if sent.code:
                operator = await self._bind(operator, identity, sent.code)
        await self.entering.forgive(f"sign-in {caller}", *([f"code {caller}"] if sent.code else []))
        return CameBack(operator=operator, identity=identity, fresh=fresh and not sent.code)

    async def _is_there(self, sent: Away, session: str | None) -> bool:
        """Returns whether the browser still has the session that asked for the proof. A late proof must not undo a
        sign-out or replace another person's session.
        """
        if session is None or digest_of(session) != sent.session:
            return False
        return await self.sessions.recognise(session) is not None

    async def _proven(self, sent: Away | None, answer: Answer) -> tuple[Away, Mapping[str, Any]]:
        """Checks the provider's answer against `sent`, the record of the browser that alertd sent there. Returns that
        record and the claims of the person. Raises Refusal for a late answer, another browser or no consent, and
        Problem if the provider fails.
        """
        if sent is None or self.clock.now_ms() - sent.made >= SENT_MS:
            raise Refusal("state", "This was answered already, or took longer than ten minutes. Begin again.")
        if answer.browser is None or not hmac.compare_digest(digest_of(answer.browser), sent.browser):
            raise Refusal("browser", "This sign-in was begun in another browser. Begin again here.")
        provider = self._there()
        await provider.expect_issuer(answer.issuer)
        if answer.code is None:
            raise Refusal("provider", "The sign-in provider did not let you in.")
        return sent, await provider.claims(
            code=answer.code, verifier=sent.verifier, back=sent.back, nonce=sent.nonce, since_ms=sent.made
        )

    async def _whose(self, sent: Away, identity_id: str) -> tuple[StoredOperator, Identity]:
        """Returns the operator of an identity and the identity. With a one-time code, the operator is the code's, and
        the identity is new. Raises Refusal, Problem.
        """
        known = await self.operators.of_identity(identity_id)
        found = known.way(identity_id) if known else None
        if sent.code:
            operator = await self.operators.of_code_digest(sent.code)
            if operator is None or not await self.entering.counts(operator, sent.code) or operator.code is None:
                raise Refusal("code", no_code().detail)
            if found is not None:
                raise Refusal("bound", "This account of the provider already belongs to an operator.")
            makers = operator.code.makers
            return operator, Identity(id=identity_id, made=self.clock.now_ms(), makers=makers)
        if known is None or not isinstance(found, Identity):
            sentence = "No operator here has this account. An administrator can let you in with a one-time code."
            raise Refusal("unknown", sentence)
        return known, found

    def _fresh(self, sent: Away, operator: StoredOperator, claims: Mapping[str, Any]) -> bool:
        """Returns whether the provider asked the person to sign in after they left (Core, 3.1.3.7: 12 and 13), as
        strictly as the settings require (`acr`).

        If an operator must prove who they are, raises Refusal if the sign-in is not fresh or another person came back.
        """
        if sent.operator and (sent.org, sent.operator) != (operator.org, operator.id):
            raise Refusal("person", "Another person than the signed-in operator came back from the provider.")
        at, acr = claims.get("auth_time"), self._there().acr
        faults = {
            "auth_time": not isinstance(at, int) or isinstance(at, bool) or not self._is_now(at, sent.made // 1000),
            "acr": bool(acr) and claims.get("acr") not in acr,
        }
        stale = [name for name, wrong in faults.items() if wrong]
        if sent.operator and stale:
            raise _stale(stale[0], operator)
        return not stale

    def _is_now(self, at_s: int, since_s: int) -> bool:
        """Returns whether a sign-in at `at_s` happened after `since_s` and not in the future (UNIX s), with a tolerance
        of `AUTH_TIME_SKEW_S` on both sides.
        """
        return since_s - AUTH_TIME_SKEW_S <= at_s <= self.clock.now_ms() // 1000 + AUTH_TIME_SKEW_S

    async def _bind(self, operator: StoredOperator, identity: Identity, digest: str) -> StoredOperator:
        """Adds an identity to the operator and removes the one-time code. Returns the operator. Raises Problem if the
        code was used meanwhile.
        """
        await self.operators.show_identity(operator, identity.id)  # the index first: only the record counts

        def bound(seen: StoredOperator) -> StoredOperator:
            """Returns the operator with one more identity. Raises Problem if there are `MOST_IDENTITIES` already."""
            if len(seen.identities) >= MOST_IDENTITIES:
                raise Problem(
                    "precondition-failed",
                    "This operator cannot have more identities. Ask for a code that replaces them.",
                )
            return msgspec.structs.replace(seen, identities=(*seen.identities, identity))

        return await self.entering.bind(operator, digest, bound)

    async def _asker(self, sent: Away | None) -> Credential:
        """Returns, for the audit, the credential of the operator who left for the provider. If the operator is not
        known, it has no subject and the organisation that runs the service.
        """
        operator = None
        if sent and sent.operator:
            operator = await self.operators.get(sent.org, sent.operator)
        elif sent and sent.code:
            operator = await self.operators.of_code_digest(sent.code)
        if operator is None:
            return Credential(key_id="", org=self.host, subject="", scopes=frozenset())
        return Credential(key_id=operator.id, org=operator.org, subject=operator.subject, scopes=frozenset())

    def _there(self) -> OidcProvider:
        """Returns the provider. Raises Problem if the settings name none."""
        if self.provider is None:
            raise Problem("not-found", "No sign-in provider is set up here.")
        return self.provider


def _stale(claim: str, operator: StoredOperator) -> Refusal:
    """Returns the refusal for an answer that does not show a new sign-in. Another sign-in would give the same answer; a
    passkey does not need the provider.
    """
    said = STALE[claim]
    has_passkey = bool(operator.passkeys)
    return Refusal(claim, f"{said} {USE_PASSKEY if has_passkey else ADD_PASSKEY}", has_passkey=has_passkey)
