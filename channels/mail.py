"""E-mail through a relay (SMTP, RFC 5321), over kept connections, one recipient a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import aiosmtplib

from channels.base import ACCEPTED, WITHHELD, Answer, MailMessage, MayWrite, Outcome, Prepared, Reason, Recipient
from channels.lanes import heed_cancelling, in_lanes
from channels.mail_answers import Stage, refusal
from channels.mail_message import MailIdentity, MailPayload, encode, headers_for, mailbox, return_path
from channels.smtp_pool import RelaySettings, SmtpPool

NOT_A_MAILBOX = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)
LOST_BEFORE = Outcome(Answer.RETRY, Reason.CONNECTION)
SLOW_BEFORE = Outcome(Answer.RETRY, Reason.TIMEOUT)
LOST_AFTER = Outcome(Answer.UNKNOWN, Reason.CONNECTION)
SLOW_AFTER = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)

OK = frozenset({250, 251, 252})
GO_AHEAD = frozenset({354})


class MailChannel:
    """One relay. Implements `channels.base.Channel`."""

    name = "mail"

    def __init__(self, relay: RelaySettings, identity: MailIdentity, clock: Callable[[], float] = time.time) -> None:
        self._identity = identity
        self._clock = clock
        self._lanes = relay.connections
        self._pool = SmtpPool(relay)

    async def open(self) -> None:
        self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    def prepare(self, message: MailMessage) -> Prepared:
        """Raises `ValueError` for a subject with a line break."""
        return Prepared(encode(message, self._identity))

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        payload: MailPayload = prepared.payload
        content = payload.at(self._clock())
        return await in_lanes(recipients, self._lanes, partial(self._send_one, content, may_write))

    async def _send_one(self, content: bytes, may_write: MayWrite, recipient: Recipient) -> Outcome:
        to = mailbox(recipient.address)
        if to is None:
            return NOT_A_MAILBOX
        body = headers_for(to, recipient.tag, self._identity) + content
        async with self._pool.slot:
            if not may_write():
                return WITHHELD
            smtp = await self._pool.take()
            if isinstance(smtp, Outcome):
                return smtp
            kept = False
            try:
                outcome = await self._transact(smtp, recipient, to, body, may_write)
                kept = outcome is not WITHHELD
            finally:
                self._pool.give_back(smtp, kept=kept)
            return outcome

    async def _transact(
        self, smtp: aiosmtplib.SMTP, recipient: Recipient, to: str, body: bytes, may_write: MayWrite
    ) -> Outcome:
        """Envelope, then content. Until the content is written nothing can have arrived."""
        try:
            refused = await self._envelope(smtp, return_path(recipient, self._identity), to, len(body))
        except TimeoutError:
            smtp.close()
            return SLOW_BEFORE
        except (aiosmtplib.SMTPException, OSError):
            smtp.close()
            return LOST_BEFORE
        if refused is not None:
            return refused
        heed_cancelling()
        return await self._content(smtp, body) if may_write() else WITHHELD

    async def _envelope(self, smtp: aiosmtplib.SMTP, sender: str, to: str, size: int) -> Outcome | None:
        """MAIL, RCPT and DATA; None when the server waits for the content."""
        options = [b"SIZE=%d" % size] if smtp.supports_extension("size") else []
        if not to.isascii():
            if not smtp.supports_extension("smtputf8"):
                return NOT_A_MAILBOX
            options.append(b"SMTPUTF8")
        steps: tuple[tuple[Stage, frozenset[int], tuple[bytes, ...]], ...] = (
            (Stage.SENDER, OK, (b"MAIL", b"FROM:<%b>" % sender.encode(), *options)),
            (Stage.RECIPIENT, OK, (b"RCPT", b"TO:<%b>" % to.encode())),
            (Stage.RECIPIENT, GO_AHEAD, (b"DATA",)),
        )
        for stage, hoped, command in steps:
            reply = await smtp.execute_command(*command)
            if reply.code not in hoped:
                await self._reset(smtp)
                return refusal(reply.code, reply.message, stage)
        return None

    async def _reset(self, smtp: aiosmtplib.SMTP) -> None:
        """The next transaction starts clean, even after an answer that we do not understand."""
        if smtp.is_connected:
            await smtp.execute_command(b"RSET")

    async def _content(self, smtp: aiosmtplib.SMTP, body: bytes) -> Outcome:
        """Write it ourselves: `smtp.data` cannot tell a loss before the content from one after, and scans every body twice."""
        protocol = smtp.protocol
        if protocol is None:
            return LOST_BEFORE
        try:
            protocol.write(body)
            reply = await protocol.read_response(timeout=smtp.timeout)
        except TimeoutError:
            smtp.close()
            return SLOW_AFTER
        except (aiosmtplib.SMTPException, OSError):
            smtp.close()
            return LOST_AFTER
        return ACCEPTED if reply.code in OK else refusal(reply.code, reply.message, Stage.CONTENT)
