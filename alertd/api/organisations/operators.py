"""HTTP operations on operators: the people who may sign in to the console, and their roles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.http.call import credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations
from alertd.common.clock import time_of
from alertd.common.errors import Problem
from alertd.model.fields import Document, Subject, Words, folded_subject
from alertd.model.operator import Role
from alertd.service.access import Credential
from alertd.service.organisations.operators import Invited
from alertd.store.organisations.operators import StoredOperator

OperatorId = Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
Name = Annotated[str, Words(80), Field(description="The displayed name.", examples=["Ana García"])]
Roles = Annotated[list[Role], Field(min_length=1, max_length=len(Role), description="What they may do.")]


class OperatorReply(BaseModel):
    id: OperatorId
    subject: str = Field(description="The person, as an alert's `author.subject` is compared with.")
    name: str
    roles: list[Role]
    disabled: bool = Field(description="Signed out, and cannot sign in.")
    passkeys: int = Field(
        description="How many they have. With none, and no identity, they come in with a one-time code."
    )
    identities: int = Field(description="Number of their identities at the sign-in provider.")
    invited_until: datetime | None = Field(description="Expiry of an unused one-time code; null without one.")
    made_at: datetime
    keys: list[str] = Field(
        description="API keys that are theirs or that they made, by id: they stay valid until they are revoked, even if the operator is disabled or removed."
    )


class OperatorInvited(OperatorReply):
    code: str = Field(
        description="The one-time code, shown once and never again: it registers a passkey, or an identity at the provider."
    )
    url: str = Field(description="Where the console takes it. What follows `#` is sent to no server.")


class OperatorList(BaseModel):
    operators: list[OperatorReply]


class NewOperator(Document):
    """A person to whom the console gives access, and their roles."""

    subject: Subject
    name: Name
    roles: Roles


class OperatorChange(Document):
    """A change of an operator; omitted members stay unchanged."""

    name: Name | None = None
    roles: Roles | None = None
    disabled: bool | None = None


class Invitation(Document):
    """Whether the one-time code is for a further passkey or identity, or to replace all."""

    replace: bool = Field(False, description="Revokes their present passkeys and identities at once.")


ONE_MORE = Invitation()


OPERATIONS = Operations()


@OPERATIONS.add("GET", "/v1/operators", "List operators", "admin")
async def list_operators(request: web.Request) -> OperatorList:
    """Returns the organisation's operators, sorted by name."""
    s, who = services(request), credential(request)
    found, keys = await s.operators.list(who.org), await s.access.list(who.org)
    return OperatorList(operators=[OperatorReply(**_facts(one, keys)) for one in found])


@OPERATIONS.add(
    "POST", "/v1/operators", "Add an operator", "admin", status=201, problems=("precondition-failed",), step_up=True,
    act=Act("operator.add"),
)  # fmt: skip
async def create_operator(request: web.Request, *, body: NewOperator) -> OperatorInvited:
    """Adds an operator. The one-time code in the answer registers a passkey or their identity at the sign-in provider,
    with which they sign in later. The person who makes a code could have used it. So they cannot approve alerts
    submitted with that passkey or identity, and the operator cannot approve theirs.
    """
    _no_replay(request)
    made = await services(request).operators.add(
        subject=body.subject, name=body.name, roles=tuple(body.roles), who=credential(request)
    )
    note(request, object_=made.operator.id, roles=" ".join(made.operator.roles), holder=made.operator.subject)
    return await _invited(request, made)


@OPERATIONS.add(
    "PATCH", "/v1/operators/{id}", "Change an operator", "admin", problems=("precondition-failed",), step_up=True,
    essential=True, act=Act("operator.change"),
)  # fmt: skip
async def change_operator(request: web.Request, *, id: OperatorId, body: OperatorChange) -> OperatorReply:
    """Changes an operator's name or roles, or disables or enables them, from the next call on. Disabling or enabling
    ends all their sessions and their one-time code. A disabled operator cannot sign in.
    """
    s, who = services(request), credential(request)
    changed = await s.operators.change(
        id, who, name=body.name, disabled=body.disabled,
        roles=tuple(body.roles) if body.roles is not None else None,
    )  # fmt: skip
    note(request, roles=" ".join(changed.roles), disabled=bool(changed.disabled))
    return OperatorReply(**_facts(changed, await s.access.list(who.org)))


@OPERATIONS.add(
    "POST", "/v1/operators/{id}/code", "Give an operator a one-time code", "admin", problems=("precondition-failed",),
    step_up=True, act=Act("operator.invite"),
)  # fmt: skip
async def invite_operator(request: web.Request, *, id: OperatorId, body: Invitation = ONE_MORE) -> OperatorInvited:
    """Creates a one-time code, which replaces the operator's previous one. The code registers a further passkey or
    identity. With `replace`, for instance after a loss, their present passkeys, identities and sessions end at once.
    """
    _no_replay(request)
    made = await services(request).operators.invite(id, credential(request), replace=body.replace)
    note(request, replaces=body.replace)
    return await _invited(request, made)


@OPERATIONS.add(
    "DELETE", "/v1/operators/{id}", "Remove an operator", "admin", status=204, problems=("precondition-failed",),
    step_up=True, act=Act("operator.remove", stops_harm=True),
)  # fmt: skip
async def remove_operator(request: web.Request, *, id: OperatorId) -> None:
    """Removes an operator, and signs them out everywhere. Their acts stay in the audit."""
    await services(request).operators.remove(id, credential(request))


def _no_replay(request: web.Request) -> None:
    """Raises Problem if the call repeats an earlier one, because alertd shows a one-time code only once."""
    if is_replay(request):
        raise Problem("precondition-failed", "The code was made and told; make another with a new Idempotency-Key.")


async def _invited(request: web.Request, made: Invited) -> OperatorInvited:
    """Returns an operator with the new one-time code and its URL."""
    s = services(request)
    facts = _facts(made.operator, await s.access.list(made.operator.org))
    return OperatorInvited(**facts, code=made.code, url=s.passkeys.relying.enrolment(made.code))


def _facts(one: StoredOperator, keys: Sequence[Credential]) -> dict[str, Any]:
    """Returns the values of the members of `OperatorReply`, by name. `keys` are all keys of the organisation."""
    return {
        "id": one.id, "subject": one.subject, "name": one.name, "roles": list(one.roles), "disabled": bool(one.disabled),
        "passkeys": len(one.passkeys), "identities": len(one.identities),
        "invited_until": time_of(one.code.ends) if one.code else None,
        "made_at": time_of(one.made),
        "keys": sorted(key.key_id for key in keys if folded_subject(one.subject) in key.hands),
    }  # fmt: skip
