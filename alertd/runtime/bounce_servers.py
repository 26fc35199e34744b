"""The LMTP servers of a process: where mail servers hand over bounces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from alertd.config.carriers import SmtpCarrier
from alertd.runtime.processes import StartError
from alertd.service.container import Container
from alertd.store.engine.connection import StoreUnavailableError
from channels.bounces import BounceListener, MailReport


@asynccontextmanager
async def bounce_sites(parts: Container) -> AsyncIterator[list[int]]:
    """A server for each relay whose settings have one; answers the ports. Raises StartError for a port that is taken."""
    listeners: list[BounceListener] = []
    try:
        for name, carrier in parts.settings.carriers.items():
            if isinstance(carrier, SmtpCarrier) and carrier.bounces_listen:
                listener = BounceListener(partial(_take_bounces, parts, name))
                host, _, port = carrier.bounces_listen.rpartition(":")
                try:
                    await listener.start(host.strip("[]"), int(port))
                except (OSError, OverflowError):
                    raise StartError(
                        f"cannot listen on {carrier.bounces_listen}, see carriers.{name}.bounces_listen"
                    ) from None
                listeners.append(listener)
        yield [listener.port for listener in listeners]
    finally:
        for listener in listeners:
            await listener.stop()


async def _take_bounces(parts: Container, carrier: str, reports: Sequence[MailReport]) -> bool:
    try:
        await parts.mail_reports.take(reports, carrier)
    except StoreUnavailableError:
        return False
    return True
