"""Sends the mails of sign-up, in a worker: only here does what alertd knows about a mailbox have an effect.

So the answer to a request, and its time, are the same for a new mailbox and for one that gets alerts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from alertd.common.clock import Clock
from alertd.common.ids import new_id
from alertd.common.repetition import ended
from alertd.model.states import CHANNELS
from alertd.model.subscriber import AddressState, Subscriber, key_of
from alertd.rendering import Renderer
from alertd.rendering.sign_up_mails import confirmation, settings_link, trial
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.people.own_record import is_alone
from alertd.service.people.registry import Registry
from alertd.service.people.sign_up import has_all
from alertd.service.people.sign_up_links import CONFIRM_S, SignUpLinks, Wish
from alertd.service.people.suppression import Suppression
from alertd.store.carriers.limits import Limits
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.people.sign_up_queue import SignUpMail, SignUpQueue
from channels.base import Loudness, MailMessage, Stamp

#: Sends one mail to a mailbox, by a name for the logs. Returns whether a carrier accepted it.
Deliver = Callable[[str, MailMessage, str], Awaitable[bool]]
MAIL = CHANNELS.index("mail")
#: Mails to one mailbox: this many at once, then one each eight hours.
PER_MAILBOX, EACH_S = 3, 8 * 3600
#: Mails that one worker sends at the same time.
AT_ONCE = 8
#: Seconds that a stopping worker waits for mails that it is sending.
LINGER_S = 5.0


@dataclass(kw_only=True)
class SignUpMails:
    """Takes the waiting mails, decides what each mailbox gets, and sends it."""

    queue: SignUpQueue
    carriers: Carriers
    registry: Registry
    suppression: Suppression
    limits: Limits
    links: SignUpLinks
    renderer: Renderer
    deliver: Deliver
    hashed: Callable[[str, str], str]
    clock: Clock
    site: str  # public URL
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def round(self, may_use: Callable[[Carrier], bool]) -> None:
        """Starts to send the waiting mails, each in its own task. Takes none if this worker may use no carrier of mail."""
        if "mail" not in self.carriers.channels or not any(map(may_use, self.carriers.turn("mail"))):
            return
        while len(self._tasks) < AT_ONCE and (mail := await self.queue.take()):
            task = asyncio.create_task(self._guarded(mail), name="sign-up mail")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Waits until all started tasks are done."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Waits for running mails for at most `LINGER_S`, then ends them. The people can ask for them again."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LINGER_S)
        for task in list(self._tasks):
            await ended(task)

    async def _guarded(self, mail: SignUpMail) -> None:
        log = structlog.get_logger()
        try:
            message = await self._message(mail) if self.clock.now_ms() <= mail.until else None
            if message is not None and not await self.deliver(mail.mailbox, message, message.stamp.chain):
                log.warning("sign_up_mail.send_failed")
        except StoreUnavailableError:
            log.warning("store.found_unavailable", step="sign-up mail")
        except Exception as error:  # noqa: BLE001  the text of an error may contain the mailbox
            log.error("step.failed", step="sign-up mail", error=type(error).__name__)  # noqa: TRY400

    async def _message(self, mail: SignUpMail) -> MailMessage | None:
        """Returns the mail to send. Returns None for a mailbox that an operator suppressed, that had too many mails, or that
        asked for settings and has none.
        """
        person = await self.registry.lookup(MAIL, mail.mailbox)
        is_held = await self.suppression.is_held((MAIL, mail.mailbox))
        if is_held or (person is None and mail.kind != "sign-up") or not await self._may_mail(mail.mailbox):
            return None
        words, stamp = self.renderer.words(mail.language), self._stamp(mail)
        if mail.kind == "test":
            return trial(words, stamp, f"{self.site}/subscribe/manage")
        if person is not None and (mail.kind == "settings" or not self._may_add(person, mail)):
            link = f"{self.site}/me/{self.links.make_settings(person.id, key_of(MAIL, mail.mailbox))}"
            is_known = mail.kind == "sign-up" and person.kinds != 0 and _is_active(person, mail.mailbox)
            return settings_link(words, stamp, link, is_known=is_known)
        return confirmation(words, stamp, mail.places, f"{self.site}/subscribe/confirm/{mail.token}")

    def _may_add(self, person: Subscriber, mail: SignUpMail) -> bool:
        """Returns whether confirming a sign-up changes something for a known mailbox. Nothing is added to a record
        that an organisation registered.
        """
        wish = self.links.open(mail.token, Wish)
        is_there = wish is not None and has_all(person, wish) and _is_active(person, mail.mailbox)
        return is_alone(person) and not is_there

    async def _may_mail(self, mailbox: str) -> bool:
        """Counts a mail to a mailbox. The store sees a keyed hash of the mailbox only."""
        name = f"sign-up/{self.hashed('sign-up limit', f'mailbox {_untagged(mailbox)}')}"
        return bool((await self.limits.take(name, 1 / EACH_S, PER_MAILBOX, 1)).granted)

    def _stamp(self, mail: SignUpMail) -> Stamp:
        now_ms = self.clock.now_ms()
        name = new_id(now_ms)
        return Stamp(
            chain=name, version=name, sent_s=now_ms // 1000, expires_s=now_ms // 1000 + CONFIRM_S, loudness=Loudness.NORMAL,
            language=mail.language, status="Test" if mail.kind == "test" else "Actual",
        )  # fmt: skip


def _untagged(mailbox: str) -> str:
    """Returns the mailbox, in lower case, without a tag: many providers deliver `ana+tag@` to `ana@`, so that one person
    could be sent any number of mails.
    """
    local, _, domain = key_of(MAIL, mailbox)[1].rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def _is_active(person: Subscriber, mailbox: str) -> bool:
    key = key_of(MAIL, mailbox)
    return any(address.key == key and address.state == AddressState.ACTIVE for address in person.addresses)
