"""HTTP operations on the rotation of the master key: start it, and show its progress."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.http.call import credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations
from alertd.common.clock import time_or_none
from alertd.common.errors import Problem
from alertd.service.access import Credential
from alertd.service.container import Container
from alertd.service.organisations.key_rotation import Standing


class RotationOrder(BaseModel):
    """The options for a rotation of the master key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    give_up_unreadable: bool = Field(
        False, description="Finish although some values do not open under the old master key. alertd then loses them."
    )


class RotationReply(BaseModel):
    """The state of the last rotation of the master key, and the counts of its present pass."""

    state: Literal["none", "spreading", "sealing", "joining", "naming", "finishing", "done"] = Field(
        description="`spreading`: every process loads the new master key. `sealing`: alertd seals all values again under the new master key. "
        "`joining`: every process loads the new hashing secret. `naming`: processes sign with the new hashing secret, and alertd hashes the ids and "
        "addresses of people again. `finishing`: alertd destroys the old keys. `done`: only the new master key opens the store."
    )
    waiting_for: int = Field(description="How many processes have not loaded the new key or secret yet.")
    done: int = Field(
        description="How many keys of the store this pass has read. A last pass checks that none was forgotten."
    )
    total: int = Field(description="How many keys the store has.")
    resealed: int = Field(description="How many values alertd has sealed again.")
    renamed: int = Field(
        description="How many hashed ids and addresses of people alertd has hashed again. In a cluster they stay."
    )
    unreadable: int = Field(description="How many values do not open under the old master key.")
    unreadable_keys: list[str] = Field(
        description="The first 20 of those values: the key of the store, and the field if it is a hash. They contain ids and hashes only."
    )
    blocked: bool = Field(
        description="The rotation has stopped because of those values. Start it again after a repair, or with `give_up_unreadable`."
    )
    started: datetime | None
    finished: datetime | None
    seals: dict[str, int] = Field(
        description="How often the current master key has sealed a value, and the audit's key that is derived from it. Rotate from 2^31 on."
    )


NO_ORDER = RotationOrder(give_up_unreadable=False)


_PATH = "/v1/master-key/rotation"
OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", _PATH, "Rotate the master key", "admin", status=202, problems=("precondition-failed",), step_up=True,
    act=Act("masterkey.rotate"),
)  # fmt: skip
async def rotate_master_key(request: web.Request, *, body: RotationOrder = NO_ORDER) -> RotationReply:
    """Starts a rotation of the master key and the hashing secret, or shows the running one. If unreadable values have
    stopped a rotation, reads all values again. The service continues to send. The caller must be an administrator of
    the host organisation. An embedded store makes the new key itself. With `store.url`, first set
    `store.next_master_key_file` for every process. At the end alertd destroys the old keys. Older backups then open
    only with their own keys.
    """
    s = services(request)
    _check_host(s, credential(request))
    give_up = body.give_up_unreadable
    standing = await (s.key_rotation.standing() if is_replay(request) else s.key_rotation.start(give_up=give_up))
    note(request, state=str(standing.rotation.phase), give_up_unreadable=give_up)
    return _reply(standing)


@OPERATIONS.add("GET", _PATH, "Show the rotation of the master key", "admin")
async def show_master_key_rotation(request: web.Request) -> RotationReply:
    """Returns the state of the last rotation of the master key, and how often the current key has sealed a value."""
    s = services(request)
    _check_host(s, credential(request))
    return _reply(await s.key_rotation.standing())


def _check_host(s: Container, who: Credential) -> None:
    """Raises Problem for a test key, and for a caller who is not of the organisation that runs the service."""
    if who.test or not s.organisations.is_host(who):
        raise Problem(
            "not-allowed", "Only administrators of the host organisation rotate the master key, and no test key does."
        )


def _reply(standing: Standing) -> RotationReply:
    one = standing.rotation
    return RotationReply(
        state=one.phase.value or "none", waiting_for=standing.waiting, done=one.found.done, total=one.total,
        resealed=one.resealed, renamed=one.renamed, unreadable=one.found.unreadable,
        unreadable_keys=[*one.found.named], blocked=one.blocked, started=time_or_none(one.started), finished=time_or_none(one.finished), seals=standing.seals,
    )  # fmt: skip
