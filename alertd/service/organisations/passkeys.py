"""Registers passkeys with a one-time code, and checks their signature when an operator signs in or proves their
identity again.

The ceremonies are those of Web Authentication (W3C, level 3, sections 7.1 and 7.2); py_webauthn checks them. The
passkey alone identifies the operator, never a value from the caller. A challenge accepts one answer, within five
minutes. User verification is always required.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import structlog
import webauthn
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, options_to_json_dict, parse_client_data_json
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.config.settings import Settings
from alertd.model.operator import normal_code
from alertd.service.organisations.sign_in import OF_CALLER, OF_OPERATOR, SignIn, credential_of
from alertd.store.organisations.api_keys import digest_of
from alertd.store.organisations.operators import OperatorStore, Passkey, StoredOperator
from alertd.store.organisations.sessions import Challenge, SessionStore

T = TypeVar("T")

CHALLENGE_MS = 5 * 60_000
MOST_PASSKEYS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RelyingParty:
    """The relying party of the passkeys: a domain, and the origins of pages on it."""

    id: str
    origins: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> RelyingParty:
        """Returns the domain and origins of the settings, else those of the API's address. A passkey cannot belong to
        an IP address, so the domain is localhost then.
        """
        url = urlsplit(settings.api.reached_at)
        host = url.hostname or "localhost"
        if _is_address(host):
            host = "localhost"
        origin = f"{url.scheme}://{host}" + (f":{url.port}" if url.port else "")
        section = settings.sign_in
        return cls(id=section.rp_id or host, origins=tuple(section.origins) or (origin,))

    def enrolment(self, code: str) -> str:
        """Returns the console's URL for a one-time code. The part after `#` is sent to no server and appears in no log."""
        return f"{self.origins[0]}/console#/enrol/{code}"

    @property
    def secure(self) -> bool:
        """Returns whether all its pages use TLS, so that session cookies may be limited to TLS."""
        return all(origin.startswith("https:") for origin in self.origins)


@dataclass(frozen=True, slots=True)
class Passkeys:
    """Registers and checks passkeys. `caller` is the caller's network address; only its keyed hash is stored."""

    operators: OperatorStore
    sessions: SessionStore
    entering: SignIn
    clock: Clock
    relying: RelyingParty

    async def invited(self, code: str, caller: str) -> tuple[StoredOperator, dict[str, Any]]:
        """Returns the operator of a code, and the options for their browser to make a passkey. Raises Problem."""
        await self.entering.attempt(f"code {caller}", OF_CALLER)
        operator = await self.entering.invited(code)
        challenge = await self._challenge(Challenge(made=self.clock.now_ms(), code=digest_of(normal_code(code))))
        options = webauthn.generate_registration_options(
            rp_id=self.relying.id, rp_name="alertd", user_id=operator.id.encode(), user_name=operator.subject,
            user_display_name=operator.name, challenge=challenge, timeout=CHALLENGE_MS,
            exclude_credentials=_described(operator),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
        )  # fmt: skip
        return operator, options_to_json_dict(options)

    async def register(self, code: str, answer: dict[str, Any], caller: str) -> tuple[StoredOperator, Passkey]:
        """Stores the passkey in a browser's answer and uses up the code. Returns the operator and the passkey. Raises
        Problem.
        """
        await self.entering.attempt(f"code {caller}", OF_CALLER)
        operator, digest = await self.entering.invited(code), digest_of(normal_code(code))
        asked, challenge = await self._asked(answer)
        if asked.code != digest or operator.code is None:
            raise _over()
        made = self._verified(
            lambda: webauthn.verify_registration_response(
                credential=answer, expected_challenge=challenge, expected_rp_id=self.relying.id,
                expected_origin=list(self.relying.origins), require_user_verification=True,
            )
        )  # fmt: skip
        passkey = Passkey(
            id=bytes_to_base64url(made.credential_id), key=made.credential_public_key, count=made.sign_count,
            made=self.clock.now_ms(), makers=operator.code.makers,
        )  # fmt: skip
        async with self.entering.recorded(credential_of(operator, passkey), "passkey.register"):
            operator = await self._keep(operator, passkey, digest)
        await self.entering.forgive(f"code {caller}")
        return operator, passkey

    async def ask(self, caller: str, operator: StoredOperator | None) -> dict[str, Any]:
        """Returns the options for a browser to sign a challenge with any passkey, or with one of `operator`. Raises
        Problem.
        """
        await self.entering.attempt(f"sign-in {caller}", OF_CALLER)
        challenge = await self._challenge(Challenge(made=self.clock.now_ms()))
        options = webauthn.generate_authentication_options(
            rp_id=self.relying.id, challenge=challenge, timeout=CHALLENGE_MS,
            user_verification=UserVerificationRequirement.REQUIRED,
            allow_credentials=_described(operator) if operator else None,
        )  # fmt: skip
        return options_to_json_dict(options)

    async def prove(self, answer: dict[str, Any], caller: str) -> tuple[StoredOperator, Passkey]:
        """Checks a signature, and returns the operator and their passkey. Raises Problem."""
        await self.entering.attempt(f"sign-in {caller}", OF_CALLER)
        asked, challenge = await self._asked(answer)
        passkey_id = str(answer["id"])
        operator = await self.operators.of_passkey(passkey_id)
        passkey = next((one for one in operator.passkeys if one.id == passkey_id), None) if operator else None
        if asked.code or operator is None or passkey is None:
            raise _refused()
        await self.entering.attempt(f"operator {operator.org} {operator.id}", OF_OPERATOR)
        async with self.entering.recorded(credential_of(operator, passkey), "session.prove"):
            operator = await self._signed(operator, passkey, answer, challenge)
        await self.entering.forgive(f"sign-in {caller}", f"operator {operator.org} {operator.id}")
        return operator, passkey

    async def _signed(
        self, operator: StoredOperator, passkey: Passkey, answer: dict[str, Any], challenge: bytes
    ) -> StoredOperator:
        """Checks the passkey's signature, stores the passkey's signature counter, and returns the operator. Raises
        Problem.
        """
        if operator.disabled:
            raise Problem("not-allowed", "This operator is disabled. An administrator can enable them.")
        handle = answer["response"].get("userHandle")
        if handle is not None and handle != bytes_to_base64url(operator.id.encode()):
            raise _refused()
        proof = self._verified(
            lambda: webauthn.verify_authentication_response(
                credential=answer, expected_challenge=challenge, expected_rp_id=self.relying.id,
                expected_origin=list(self.relying.origins), credential_public_key=passkey.key,
                credential_current_sign_count=passkey.count, require_user_verification=True,
            )
        )  # fmt: skip

        def counted(seen: StoredOperator) -> StoredOperator:
            """Returns the operator with the new signature counter. Raises Problem if the stored one is as high already."""
            if any(one.id == passkey.id and one.count >= proof.new_sign_count > 0 for one in seen.passkeys):
                raise _refused()  # another answer of this passkey, or of a copy of it, came in between
            used = msgspec.structs.replace(passkey, count=proof.new_sign_count)
            return msgspec.structs.replace(
                seen, passkeys=tuple(used if one.id == passkey.id else one for one in seen.passkeys)
            )

        if not proof.new_sign_count:  # this passkey has no signature counter
            return operator
        fresh = await self.operators.change(operator.org, operator.id, counted)
        if fresh is None:
            raise _refused()
        return fresh

    async def _keep(self, operator: StoredOperator, passkey: Passkey, digest: str) -> StoredOperator:
        """Stores one more passkey for the operator and removes the code. Returns the operator. Raises Problem if the
        code was used meanwhile.
        """
        other = await self.operators.of_passkey(passkey.id)
        if other is not None and any(one.id == passkey.id for one in other.passkeys):
            raise Problem("precondition-failed", "This passkey is registered already.")
        await self.operators.show_passkey(operator, passkey.id)  # the index first: only the record counts

        def with_passkey(seen: StoredOperator) -> StoredOperator:
            """Returns the operator with one more passkey. Raises Problem if there are `MOST_PASSKEYS` already."""
            if len(seen.passkeys) >= MOST_PASSKEYS:
                raise Problem(
                    "precondition-failed", "This operator cannot have more passkeys. Ask for a code that replaces them."
                )
            return msgspec.structs.replace(seen, passkeys=(*seen.passkeys, passkey))

        return await self.entering.bind(operator, digest, with_passkey)

    async def _challenge(self, asked: Challenge) -> bytes:
        """Makes a random challenge and stores what it is for, for `CHALLENGE_MS`. Returns it."""
        challenge = webauthn.helpers.generate_challenge()
        await self.sessions.ask(challenge, asked, CHALLENGE_MS)
        return challenge

    async def _asked(self, answer: dict[str, Any]) -> tuple[Challenge, bytes]:
        """Returns the challenge that an answer is for, and deletes it, so that it accepts no other answer. Raises
        Problem.
        """
        raw = self._verified(
            lambda: parse_client_data_json(base64url_to_bytes(answer["response"]["clientDataJSON"])).challenge
        )
        asked = await self.sessions.take(raw)
        if asked is None or self.clock.now_ms() - asked.made >= CHALLENGE_MS:
            raise _over()
        return asked, raw

    def _verified(self, check: Callable[[], T]) -> T:
        """Returns the library's result for an answer. Raises Problem without the reason, which may quote the caller's
        data; the log names the type of the error.
        """
        try:
            return check()
        except Exception as error:  # noqa: BLE001  data from strangers may raise any error
            structlog.get_logger().warning("passkey.refused", error=type(error).__qualname__)
            raise _refused() from None


def _described(operator: StoredOperator) -> list[PublicKeyCredentialDescriptor]:
    """Returns the ids of an operator's passkeys, in the form that the browser gets."""
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(one.id)) for one in operator.passkeys]


def _is_address(host: str) -> bool:
    """Returns whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _refused() -> Problem:
    """Returns the Problem for a passkey or an answer that is not valid. It names no reason."""
    return Problem("not-allowed", "This passkey is not accepted here.")


def _over() -> Problem:
    """Returns the Problem for a challenge that was answered before or is too old."""
    return Problem("not-allowed", "This was answered already, or took longer than five minutes. Begin again.")
