"""The rotation of the master key over HTTP: started, and how it stands."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.call import credential, is_replay, note
from alertd.api.operations import Act, Operation
from alertd.api.services import Services, services
from alertd.clock import time_or_none
from alertd.errors import Problem
from alertd.service.access import Credential
from alertd.service.key_rotation import Standing


class RotationOrder(BaseModel):
    """How the master key is rotated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    give_up_unreadable: bool = Field(
        False, description="Finish although some values do not open under the old key: they are lost with it."
    )


class RotationReply(BaseModel):
    """How the last rotation stands."""

    state: Literal["none", "spreading", "sealing", "joining", "naming", "finishing", "done"] = Field(
        description="`spreading`: processes load the new key. `sealing`: what the old key sealed is sealed anew. `joining`: processes look for "
        "people under a new name key, too. `naming`: old names are made anew with it. `finishing`: the old key is being destroyed. `done`: only the new key opens the store."
    )
    waiting_for: int = Field(description="Processes that do not hold the new key, or do not use it yet.")
    done: int = Field(
        description="Keys of the store that this pass has looked at. A last pass checks that nothing is left."
    )
    total: int = Field(description="Keys of the store.")
    resealed: int = Field(description="Values that were sealed anew.")
    renamed: int = Field(
        description="Names of people's ids and addresses that were made anew. In a cluster names stay."
    )
    unreadable: int = Field(description="Values that do not open under the old key.")
    blocked: bool = Field(description="It waits because of those: see `give_up_unreadable`.")
    started: datetime | None
    finished: datetime | None
    seals: dict[str, int] = Field(
        description="How often the current master key has sealed, and the audit's key that follows from it. From 2^31 on rotate it."
    )


NO_ORDER = RotationOrder(give_up_unreadable=False)


async def rotate_master_key(request: web.Request, *, body: RotationOrder = NO_ORDER) -> RotationReply:
    """Starts a rotation of the master key and the hashing key, or shows the running one. The service continues to send. The caller must be an
    administrator of the host organisation. An embedded store makes the new key itself; with `store.url` every process first needs `store.next_master_key_file`.
    The rotation ends with the destruction of the old keys. Older backups then open only with their own keys.
    """
    s = services(request)
    _check_host(s, credential(request))
    give_up = body.give_up_unreadable
    standing = await (s.key_rotation.standing() if is_replay(request) else s.key_rotation.start(give_up=give_up))
    note(request, state=str(standing.rotation.phase), give_up_unreadable=give_up)
    return _reply(standing)


async def show_master_key_rotation(request: web.Request) -> RotationReply:
    """How the last rotation of the master key stands, and how often the current key has sealed."""
    s = services(request)
    _check_host(s, credential(request))
    return _reply(await s.key_rotation.standing())


def _check_host(s: Services, who: Credential) -> None:
    """Raises Problem."""
    if who.test or not s.organisations.is_host(who):
        raise Problem(
            "not-allowed", "Only administrators of the host organisation rotate the master key, and no test key does."
        )


def _reply(standing: Standing) -> RotationReply:
    one = standing.rotation
    return RotationReply(
        state=one.phase.value or "none", waiting_for=standing.waiting, done=one.found.done, total=one.total,
        resealed=one.resealed, renamed=one.renamed, unreadable=one.found.unreadable, blocked=one.blocked, started=time_or_none(one.started),
        finished=time_or_none(one.finished), seals=standing.seals,
    )  # fmt: skip


_PATH = "/v1/master-key/rotation"
OPERATIONS = (
    Operation(
        method="POST", path=_PATH, handler=rotate_master_key, summary="Rotate the master key", scope="admin", group="Service",
        status=202, problems=("precondition-failed",), step_up=True, act=Act("masterkey.rotate"),
    ),
    Operation(
        method="GET", path=_PATH, handler=show_master_key_rotation, summary="Show the rotation of the master key", scope="admin",
        group="Service",
    ),
)  # fmt: skip
