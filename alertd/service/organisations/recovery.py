"""A new administrator's key for an organisation that lost its own, made on the machine of the store.

The command has the store and its keys, so it checks no right. It writes to the audit before and after, adds an event for the organisation's webhooks, and
marks the key: the console shows a marked key to the other administrators.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from alertd.common.clock import Clock
from alertd.service.access import Access, Credential
from alertd.service.records.audit import DONE, Audit, Noted
from alertd.service.records.events import KEY_RECOVERED, envelope
from alertd.store.records.events import Events

ACT = "key.recover"
#: Who does it, in the audit: nobody has shown who they are.
BY = "alertd"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """Makes such keys."""

    access: Access
    audit: Audit
    events: Events
    clock: Clock

    async def recover(self, org: str, subject: str, machine_user: str) -> tuple[Credential, str]:
        """A new administrator's key and its token, which is told once. `machine_user`: the user of the machine who asks. Raises StoreUnavailableError."""
        who = Credential(key_id="", org=org, subject=BY, scopes=frozenset())
        entry = await self.audit.begin(who, ACT, "")
        now = self.clock.now_ms()
        made, token = await self.access.create(org=org, subject=subject, scopes=frozenset({"admin"}), recovered=now)
        event = envelope(f"evt_{secrets.token_hex(12)}", KEY_RECOVERED, now, {"key": made.key_id})
        await self.events.bring(org, [(f"key {made.key_id}", 1, event)])
        noted = Noted(object=made.key_id, facts={"holder": subject, "machine_user": machine_user})
        await self.audit.end(who, ACT, DONE, noted, of=entry)
        return made, token
