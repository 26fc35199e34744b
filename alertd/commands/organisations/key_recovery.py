"""Makes a key for `alertd keys recover`, directly in the running store: no person can call the API without a key."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis

from alertd.commands.base.client import RefusedError
from alertd.common.clock import Clock
from alertd.config.settings import Settings
from alertd.metrics import Metrics
from alertd.model.fields import Subject
from alertd.runtime.assembly import joined
from alertd.runtime.installation import Store, client_of, running_store
from alertd.runtime.processes import StartError
from alertd.service.access import Access, Credential
from alertd.service.records.audit import DONE, Audit, Noted
from alertd.service.records.events import KEY_RECOVERED, envelope
from alertd.store.alerts.alerts import Alerts
from alertd.store.carriers.limits import Limits
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec, SealError
from alertd.store.engine.connection import Connection, StoreRefusedError, StoreUnavailableError
from alertd.store.organisations.api_keys import ApiKeys
from alertd.store.records.audit import AuditLog
from alertd.store.records.events import Events

NOT_RUNNING = (
    "no store runs on {directory}: start alertd there, then run this again as its user. For another installation name its "
    "store.directory or store.url (--config)."
)


def recovered(settings: Settings, subject: str) -> tuple[Credential, str]:
    """Makes an administrator's key for the organisation that runs the service. Returns the key and its token, the
    secret for calls of the API. Raises RefusedError for a malformed `subject` (the name of the person), a store that
    does not run or answer, or unreadable master keys.
    """
    try:
        named = TypeAdapter(Subject).validate_python(subject)
    except ValidationError:
        raise RefusedError(
            "--subject must be the name of a person as in other keys, such as ana@centre.example"
        ) from None
    try:
        store = running_store(settings.store)
        if store is None:
            raise RefusedError(NOT_RUNNING.format(directory=settings.store.directory.resolve()))
        return asyncio.run(_recovered(settings, store, named))
    except StoreUnavailableError as error:
        raise RefusedError(f"the store does not answer, and maybe no key was made: {error.in_full}") from None
    except (StartError, StoreRefusedError, SealError) as error:
        raise RefusedError(str(error)) from None
    except (OSError, ValueError):
        raise RefusedError(
            f"the keys in {settings.store.directory.resolve()} cannot be read: run this as its user"
        ) from None


async def _recovered(settings: Settings, store: Store, subject: str) -> tuple[Credential, str]:
    """Connects to the store, checks it as a start of the service does, and makes the key."""
    async with client_of(store.url) as redis:
        section = settings.store.model_copy(update={"sandbox": await _is_sandbox(redis, Codec(store.keys))})
        async with joined(section, redis, Codec(store.keys)) as (db, clock, _):
            recovery = Recovery(
                access=Access(ApiKeys(db), Limits(db), clock, settings.api.key_rate_per_min),
                audit=Audit(AuditLog(db), Alerts(db), db.codec, Metrics()),
                events=Events(db, keep=settings.events.keep, keep_days=settings.events.keep_days),
                clock=clock,
            )
            return await recovery.recover(settings.alerts.organisation, subject, _user())


async def _is_sandbox(redis: Redis, codec: Codec) -> bool:
    """Returns whether the store belongs to a sandbox. Raises RefusedError for an empty store, in which `joined` would
    create an installation.
    """
    db = Connection(redis, codec)
    try:
        await db.meet()
        schema, sandbox = await db.execute("MGET", keys.SCHEMA, keys.SANDBOX)
    finally:
        await db.nodes.close()
    if schema is None:
        raise RefusedError("the store has no data of alertd: see store.url. The first start makes the first key")
    return bool(sandbox == b"1")


def _user() -> str:
    """Returns the operating-system user of this process: the name, or the number without one. Ignores the environment,
    which can claim any name.
    """
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


ACT = "key.recover"
#: The subject of the audit's entries, in place of a person: no identity was proven.
BY = "alertd"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """Makes an administrator's key for an organisation that lost its own. Checks no permission, because only a user
    with the store's keys gets here. Makes the act visible instead: in the audit before and after, in an event for the
    organisation's webhooks, and by a mark on the key, which the console shows to the other administrators.
    """

    access: Access
    audit: Audit
    events: Events
    clock: Clock

    async def recover(self, org: str, subject: str, machine_user: str) -> tuple[Credential, str]:
        """Makes an administrator's key for the person `subject` and returns it with its token. `machine_user`: the
        operating-system user, for the audit. Raises StoreUnavailableError.
        """
        who = Credential(key_id="", org=org, subject=BY, scopes=frozenset())
        entry = await self.audit.begin(who, ACT, "")
        now = self.clock.now_ms()
        made, token = await self.access.create(org=org, subject=subject, scopes=frozenset({"admin"}), recovered=now)
        event = envelope(f"evt_{secrets.token_hex(12)}", KEY_RECOVERED, now, {"key": made.key_id})
        await self.events.bring(org, [(f"key {made.key_id}", 1, event)])
        noted = Noted(object=made.key_id, facts={"holder": subject, "machine_user": machine_user})
        await self.audit.end(who, ACT, DONE, noted, of=entry)
        return made, token
