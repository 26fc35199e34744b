"""What is held back although its carrier would take it, and until when: a pure decision about one row.

It is taken when the address is fetched, so it holds for who a person is and what the time is then: for what is planned, for what
a slow carrier brings into the night, and for a try that failed before it.
"""

from __future__ import annotations

from alertd import quiet
from alertd.alerts import LedgerReason, State
from alertd.service.messages import Ready
from alertd.store.work import Settlement
from alertd.subscribers import Subscriber


def held(person: Subscriber, ready: Ready, now_ms: int, row: int, carrier: int, *, doubt: bool) -> Settlement | None:
    """The settlement of a row that is not sent now: queued until the person's quiet hours end. None where nothing holds it back."""
    if not ready.hushed or person.quiet is None or person.time_zone is None:
        return None
    until = quiet.ends_ms(now_ms, person.time_zone, *person.quiet)
    if until is None:
        return None
    reason, wait_ms = LedgerReason.QUIET_HOURS, until - now_ms
    return Settlement(row, State.QUEUED, reason, carrier, delay_ms=wait_ms, doubt=doubt, unsent=True)
