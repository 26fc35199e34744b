"""Sends e-mail through a relay (SMTP, RFC 5321), over connections that stay open, with one recipient per transaction.

If the relay offers PIPELINING (RFC 2920), a mail takes two round trips: one for the envelope, one for the content.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from channels.base import (
    ACCEPTED,
    WITHHELD,
    Answer,
    MailMessage,
    MayWrite,
    Outcome,
    Prepared,
    Reason,
    Recipient,
    Subject,
)
from channels.bounces_hooks import Hook
from channels.lanes import in_lanes, raise_if_cancelled
from channels.login import Login
from channels.mail_answers import Stage, refusal
from channels.mail_message import MailIdentity, MailPayload, encode, mailbox, return_path
from channels.mail_session import MailSession, Reply, SessionLostError
from channels.smtp_pool import SmtpPool
from channels.smtp_relay import RelaySettings

NOT_A_MAILBOX = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)
# The connection was lost before the content was written. Some servers disconnect because of one recipient.
LOST_BEFORE = Outcome(Answer.RETRY, Reason.CONNECTION, of=Subject.EITHER)
SLOW_BEFORE = Outcome(Answer.RETRY, Reason.TIMEOUT)
LOST_AFTER = Outcome(Answer.UNKNOWN, Reason.CONNECTION)
SLOW_AFTER = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)

# Reasons of an outcome after which the session may have ended: a lost connection, or the reply 421.
ENDED = frozenset({Reason.CONNECTION, Reason.UNAVAILABLE, Reason.THROTTLED})

OK = frozenset({250, 251, 252})
GO_AHEAD = frozenset({354})

#: One step of an envelope: its stage, and the expected replies.
Step = tuple[Stage, frozenset[int]]
RESET = (Stage.SENDER, OK)
NAMING = (Stage.RECIPIENT, OK)
ENVELOPE = ((Stage.SENDER, OK), NAMING, (Stage.RECIPIENT, GO_AHEAD))


class MailChannel:
    """One relay. Implements `channels.base.Channel`, `channels.base.Sharing` and `channels.bounces_hooks.Hooked`."""

    name = "mail"

    def __init__(
        self,
        relay: RelaySettings,
        identity: MailIdentity,
        clock: Callable[[], float] = time.time,
        *,
        hook: Hook | None = None,
    ) -> None:
        """`hook` parses the reports that the relay posts."""
        self.hook = hook
        self._identity = identity
        self._clock = clock
        self._relay = relay
        self._pool = SmtpPool(relay)

    async def open(self) -> None:
        self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    @property
    def connections(self) -> int:
        return self._relay.connections

    def share(self, connections: int) -> None:
        self._pool.allow(connections)

    def held(self) -> int:
        return self._pool.held

    def is_connected(self) -> bool:
        return self._pool.is_working

    async def log_in(self) -> Login:
        return await self._pool.log_in()

    def prepare(self, message: MailMessage) -> Prepared:
        """Returns the prepared message. Raises `ValueError` if the subject has a line break."""
        return Prepared(encode(message, self._identity))

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        return await in_lanes(recipients, self._pool.lanes, partial(self._send_one, prepared.payload, may_write))

    async def _send_one(self, payload: MailPayload, may_write: MayWrite, recipient: Recipient) -> Outcome:
        """Sends to one recipient and returns the outcome. If the relay has ended the connection while it was idle,
        tries once more over a new one.
        """
        to = mailbox(recipient.address)
        if to is None:
            return NOT_A_MAILBOX
        body = payload.to(to, recipient, self._clock())
        if not may_write():
            return WITHHELD
        outcome, ended = await self._try_one(
            await self._pool.take(is_new=recipient.is_new), recipient, to, body, may_write
        )
        # The relay may end an idle connection at any time, and this message is not the cause. So the message goes over
        # a new connection at once.
        if ended:
            session = await self._pool.replace(is_new=recipient.is_new) if may_write() else self._pool.lose()
            outcome, ended = await self._try_one(session, recipient, to, body, may_write)
        if ended:  # the pool lent another connection that had been idle, and the relay had ended that one too
            self._pool.lose()
        return outcome

    async def _try_one(
        self, session: MailSession | Outcome, recipient: Recipient, to: str, body: bytes, may_write: MayWrite
    ) -> tuple[Outcome, bool]:
        """Sends over one connection. Returns the outcome, and whether to try again because the relay had ended the
        connection while it was idle. If not to try again, gives the connection back to the pool.
        """
        if isinstance(session, Outcome):
            return session, False
        kept = ended = False
        try:
            outcome = await self._transact(session, recipient, to, body, may_write)
            kept = True
            lost = outcome.answer is Answer.RETRY and outcome.reason in ENDED and not session.is_open
            ended = session.was_kept and lost
        finally:
            if not ended:
                self._pool.give_back(session, kept=kept)
        return outcome, ended

    async def _transact(
        self, session: MailSession, recipient: Recipient, to: str, body: bytes, may_write: MayWrite
    ) -> Outcome:
        """Sends the envelope, then the content, and returns the outcome. Before the content is written, nothing can
        have arrived.
        """
        commands = _envelope(session, return_path(recipient, self._identity), to, len(body))
        if commands is None:
            return NOT_A_MAILBOX
        refused = await self._named(session, recipient, commands, may_write)
        if refused is not None:
            return refused
        raise_if_cancelled()
        if may_write():
            return await self._content(session, body, may_write)
        session.close()  # the server waits for content, and would take any command for it
        return WITHHELD

    async def _named(
        self, session: MailSession, recipient: Recipient, commands: Sequence[bytes], may_write: MayWrite
    ) -> Outcome | None:
        """Sends the envelope, as `_converse` does. Turns a time-out and a lost connection into outcomes."""
        if not may_write():
            return WITHHELD
        try:
            return await self._converse(session, recipient, commands, may_write)
        except TimeoutError:
            session.close()
            return SLOW_BEFORE
        except SessionLostError:
            return LOST_BEFORE

    async def _converse(
        self, session: MailSession, recipient: Recipient, commands: Sequence[bytes], may_write: MayWrite
    ) -> Outcome | None:
        """Writes the envelope and reads the replies. Returns None if the server now waits for the content, otherwise
        the outcome of the first failed step. Raises `SessionLostError` or `TimeoutError`.
        """
        steps = (RESET, *ENVELOPE) if session.unclean else ENVELOPE
        session.unclean = True
        at_once = "pipelining" in session.extensions
        if at_once:
            session.write(b"".join(commands), len(commands))
        refused, reply = None, Reply(0, "")
        for (stage, hoped), command in zip(steps, commands, strict=True):
            if not at_once:
                if refused is None and not may_write():
                    return WITHHELD
                session.write(command, 1)
            reply = await self._answer((stage, hoped), session, recipient)
            if reply.code not in hoped and refused is None:
                refused = refusal(reply.code, reply.text, stage)._replace(said=f"{reply.code} {reply.text}")
                if _ends(reply.code):
                    session.close()
                    return refused
                if not at_once:
                    return refused
        if refused is not None and reply.code in GO_AHEAD:
            # The server waits for content: any command would become a mail, and even an empty one could reach a
            # recipient.
            session.close()
        return refused

    async def _answer(self, step: Step, session: MailSession, recipient: Recipient) -> Reply:
        """Returns the reply to the command of one step. Only for the recipient's step, `SlowRecipients` limits the
        wait. Raises `SessionLostError` or `TimeoutError`.
        """
        if step != NAMING:
            return await session.reply(self._relay.timeout_s)
        return await self._pool.slow.reply(session, self._relay.timeout_s, recipient, self._pool.lanes)

    async def _content(self, session: MailSession, body: bytes, may_write: MayWrite) -> Outcome:
        """Writes the content and returns the outcome; UNKNOWN if no reply comes."""
        session.write(body, 1)
        try:
            reply = await self._taken(session, may_write)
        except TimeoutError:
            session.close()
            return SLOW_AFTER
        except SessionLostError:
            return LOST_AFTER
        session.unclean = reply.code not in OK
        if _ends(reply.code):
            session.close()
        if not session.unclean:
            return ACCEPTED
        return refusal(reply.code, reply.text, Stage.CONTENT)._replace(said=f"{reply.code} {reply.text}")

    async def _taken(self, session: MailSession, may_write: MayWrite) -> Reply:
        """Returns the reply to the content. Waits at most `content_timeout_s`, in steps of `last_reply_s`. If
        `may_write` returns False after a step, as when the worker stops, waits no longer. Raises `SessionLostError` or
        `TimeoutError`.
        """
        left_s = self._relay.content_timeout_s
        while True:
            piece_s = min(left_s, self._relay.last_reply_s)
            try:
                return await session.reply(piece_s)
            except TimeoutError:
                left_s -= piece_s
                if left_s <= 0 or not may_write():
                    raise


def _ends(code: int) -> bool:
    """Returns whether the server disconnects, or sent an invalid code. The session is then unusable."""
    return code == 421 or not 200 <= code < 600


def _envelope(session: MailSession, sender: str, to: str, size: int) -> list[bytes] | None:
    """Returns the commands of one mail's envelope, or None for an address beyond ASCII if the server has no SMTPUTF8.
    `size`: bytes of the mail.
    """
    options = b" SIZE=%d" % size if "size" in session.extensions else b""
    if not to.isascii():
        if "smtputf8" not in session.extensions:
            return None
        options += b" SMTPUTF8"
    reset = [b"RSET\r\n"] if session.unclean else []
    return [
        *reset,
        b"MAIL FROM:<%b>%b\r\n" % (sender.encode(), options),
        b"RCPT TO:<%b>\r\n" % to.encode(),
        b"DATA\r\n",
    ]
