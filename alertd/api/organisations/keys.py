"""HTTP operations on API keys: show the caller, and list, create, rotate and revoke keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, model_validator

from alertd.api.http.call import credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations
from alertd.common.clock import ms_of, time_or_none
from alertd.common.errors import Fault, Problem
from alertd.model.faults import refusal
from alertd.model.fields import Instant, Subject
from alertd.model.organisation import Jurisdiction, OrganisationId
from alertd.service.access import (
    APPROVE,
    DELEGATE,
    MOST_OVERLAP_S,
    Credential,
    Held,
    Scope,
    Terms,
    check_giving,
    terms_of,
)
from alertd.service.container import Container

KeyId = Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
#: Maximum of the requests per minute that a key may have as its own limit: more than any client needs.
MOST_PER_MIN = 100_000


class Me(BaseModel):
    key: str
    organisation: str
    subject: str = Field(description="The person the key belongs to.")
    scopes: list[str]
    test: bool


class MeReply(Me):
    name: str | None = Field(description="The displayed name; null for a key.")
    signed_in: bool = Field(description="True for a session; then `key` is the operator's id.")
    host: bool = Field(description="The organisation runs the service; only it has access to subscribers.")


class KeyReply(Me):
    made_by: list[str] = Field(
        [],
        description="The person who made it, the maker of the key that it was made with, and so on: they may know its secret.",
    )
    made_by_org: str | None = Field(
        None, description="The organisation of the key that it was made with; null for the first one of the service."
    )
    expires: datetime | None = Field(None, description="When it expires.")
    rate_per_min: int | None = Field(
        None, description="Maximum requests per minute; null: the default, `api.key_rate_per_min`."
    )
    jurisdiction: Jurisdiction | None = Field(None, description="Its own; null: its organisation's.")
    last_used: datetime | None = Field(None, description="To a minute.")
    old_secret_until: datetime | None = Field(None, description="Until then, the previous secret is valid, too.")
    recovered: datetime | None = Field(
        None,
        description="When `alertd keys recover` made it on the machine of the store; null: it did not. Revoke such a key once it has "
        "made other keys, or at once if your organisation did not request it.",
    )


class NewKey(BaseModel):
    """A new key for one person."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    subject: Subject
    scopes: Annotated[list[Scope], Field(min_length=1)]
    test: bool = Field(False, description="A test key cannot send Actual alerts; it makes only test keys.")
    organisation: OrganisationId | None = Field(
        None, description="Another organisation than the caller's; for administrators of the service."
    )
    expires: Instant | None = Field(None, description="When it expires; null: never.")
    rate_per_min: Annotated[int, Field(ge=1, le=MOST_PER_MIN)] | None = Field(
        None,
        description="Requests a minute; more are refused with `rate-limited`, except what stops harm. null: the default, `api.key_rate_per_min`.",
    )
    jurisdiction: Jurisdiction | None = Field(
        None, description="Its own jurisdiction, within its organisation's; null: all of the organisation's."
    )

    @model_validator(mode="after")
    def _decides_for_itself(self) -> Self:
        """Refuses the scope `delegate` together with `alerts:approve` or `admin`."""
        if DELEGATE in self.scopes and {APPROVE, "admin"} & set(self.scopes):
            raise refusal("A key that speaks for others (delegate) approves nothing, and administers nothing.")
        return self

    @property
    def terms(self) -> Terms:
        """Returns the limits of the key; 0 and None mean that it has no limit of its own."""
        return Terms(
            expires=ms_of(self.expires) if self.expires else 0,
            rate_per_min=self.rate_per_min or 0, jurisdiction=self.jurisdiction,
        )  # fmt: skip


class Rotation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    overlap_s: int = Field(
        3600, ge=0, le=MOST_OVERLAP_S, description="Seconds for which the old secret stays valid; 0: it ends now."
    )


WITHIN_THE_HOUR = Rotation(overlap_s=3600)


class KeyMade(KeyReply):
    token: str = Field(description="Shown once and never again.")


class KeyList(BaseModel):
    keys: list[KeyReply]


OPERATIONS = Operations()


@OPERATIONS.add("GET", "/v1/me", "Who am I", "alerts:read", of_caller=True)
async def show_me(request: web.Request) -> MeReply:
    """Returns the caller: the person, the organisation and the scopes of this key or session."""
    who = credential(request)
    s = services(request)
    name = (await s.operators.get(who.org, who.key_id)).name if who.signed_in else None
    return MeReply(**_facts(who), name=name, signed_in=who.signed_in, host=s.organisations.is_host(who))


@OPERATIONS.add("GET", "/v1/keys", "List keys", "keys:write")
async def list_keys(request: web.Request) -> KeyList:
    """Returns the organisation's keys, without their secrets."""
    found = await services(request).access.held(credential(request).org)
    return KeyList(keys=[KeyReply(**_held(one)) for one in found])


@OPERATIONS.add(
    "POST", "/v1/keys", "Make a key", "keys:write", status=201,
    problems=("precondition-failed", "unknown-region", "invalid-geometry"), step_up=True, act=Act("key.make"),
)  # fmt: skip
async def create_key(request: web.Request, *, body: NewKey) -> KeyMade:
    """Creates a key for one person. You cannot grant rights that you lack, and only `admin` may create a key for
    another person. The person who made a key cannot approve its submissions, and the key cannot approve theirs. A key
    with `delegate` may name other people as authors of its submissions (for the users of a case system); it can never
    approve.
    """
    s, who = services(request), credential(request)
    _refuse_replay(request)
    terms = terms_of(body.terms, who)
    wanted = Credential(
        key_id="", org=who.org, subject=body.subject, scopes=frozenset(body.scopes), test=body.test or who.test, terms=terms
    )  # fmt: skip
    check_giving(who, wanted)
    org = await _organisation(s, body, who)
    await _check_terms(s, body)
    made, token = await s.access.create(
        org=org, subject=body.subject, scopes=wanted.scopes, test=wanted.test, maker=who, terms=terms
    )
    note(request, object_=made.key_id, scopes=" ".join(sorted(made.scopes)), holder=made.subject, organisation=org)
    return KeyMade(**_held(Held(credential=made, used=0, old_until=0)), token=token)


@OPERATIONS.add(
    "POST", "/v1/keys/{id}/rotate", "Rotate a key", "keys:write", problems=("precondition-failed",), step_up=True,
    act=Act("key.rotate"),
)  # fmt: skip
async def rotate_key(request: web.Request, *, id: KeyId, body: Rotation = WITHIN_THE_HOUR) -> KeyMade:
    """Replaces a key's secret and keeps everything else. The old secret stays valid for `overlap_s` seconds, so that
    its users can switch. A person who rotates another person's key counts as one of its makers, because they have seen
    its secret.
    """
    s, who = services(request), credential(request)
    _refuse_replay(request)
    held, token = await s.access.rotate(id, who, body.overlap_s)
    note(request, object_=id, holder=held.credential.subject, overlap_s=body.overlap_s)
    return KeyMade(**_held(held), token=token)


@OPERATIONS.add(
    "DELETE", "/v1/keys/{id}", "Revoke a key", "keys:write", status=204, step_up=True,
    act=Act("key.revoke", stops_harm=True),
)  # fmt: skip
async def revoke_key(request: web.Request, *, id: KeyId) -> None:
    """Revokes a key, from the next call on. A person may revoke their own keys, and any key that they could create."""
    await services(request).access.revoke(id, credential(request))


async def _organisation(s: Container, body: NewKey, who: Credential) -> str:
    """Returns the organisation of the new key. Raises Problem if the caller may not create keys for it, or if it does
    not exist.
    """
    if body.organisation in {None, who.org}:
        return who.org
    if not (s.organisations.is_host(who) and who.may("admin")):
        raise Problem(
            "not-allowed",
            "Only administrators of the organisation that runs the service make keys for other organisations.",
        )
    if not await s.organisations.exists(str(body.organisation)):
        fault = Fault("/organisation", "There is no such organisation; write it first.")
        raise Problem("invalid-request", "The key would have no owner.", faults=(fault,))
    return str(body.organisation)


async def _check_terms(s: Container, body: NewKey) -> None:
    """Raises Problem if the new key's expiry has passed, or if its jurisdiction is invalid."""
    if body.expires and body.terms.expires <= s.clock.now_ms():
        raise Problem("invalid-request", "The key would be over.", faults=(Fault("/expires", "This time has passed."),))
    if body.jurisdiction:
        await s.jurisdictions.of(body.jurisdiction)


def _refuse_replay(request: web.Request) -> None:
    """Raises Problem if the call repeats an earlier one, because alertd shows a token only once."""
    if is_replay(request):
        raise Problem("precondition-failed", "It was done, and the token told; do it again with a new Idempotency-Key.")


def _facts(who: Credential) -> dict[str, Any]:
    """Returns the values of the members of `Me`, by name."""
    return {
        "key": who.key_id, "organisation": who.org, "subject": who.subject, "scopes": sorted(who.scopes), "test": who.test
    }  # fmt: skip


def _held(held: Held) -> dict[str, Any]:
    """Returns the values of the members of `KeyReply`, by name."""
    terms = held.credential.terms
    return {
        **_facts(held.credential),
        "made_by": list(held.credential.makers),
        "made_by_org": held.credential.maker_org or None,
        "expires": time_or_none(terms.expires),
        "rate_per_min": terms.rate_per_min or None,
        "jurisdiction": terms.jurisdiction,
        "last_used": time_or_none(held.used),
        "old_secret_until": time_or_none(held.old_until),
        "recovered": time_or_none(held.recovered),
    }
