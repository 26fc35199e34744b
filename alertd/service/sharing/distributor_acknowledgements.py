"""Takes the distributors' later answers about their messages, and a person's decisions about a distributor that does
not answer.

A CAP Ack or Error names the messages that it is about (CAP 1.2, section 3.2.1, references). The distributor sends it in
the answer to a message, or posts it to the address in each message, which only that distributor knows.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import SigningKeys
from alertd.model.cap.messages import CapError, Message, MsgType
from alertd.model.cap.reader import parse_message
from alertd.model.cap.writer import MEDIA_TYPE
from alertd.model.distribution import FAILED, Entry, MessageState, Track, Verdict, again, confirmed, settled
from alertd.service.access import Credential
from alertd.service.decision_checks import TRIES, check_key, contested
from alertd.service.records.events import CONFIRMED, OWED, REFUSED, TAKEDOWN_REFUSED, envelope
from alertd.service.records.webhooks import post
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.sharing.webhooks import DistributorHook, DistributorHooks, Tracks
from channels.fetching import Answered, Fetcher, MayPost

RECEIPTS_HEADER = "Alertd-Receipts"
#: Maximum bytes to read of an answer: an Ack has a few hundred, an Error some more.
ANSWER_BYTES = 65_536
MOST_NOTE = 500  # characters of a refusal's text
_NAMED = re.compile(r"([0-9A-HJKMNP-TV-Z]{26})(?:\..*)?")
_TOKEN = re.compile(r"([a-z0-9-]{1,40})\.(dis_[0-9a-f]{16})\.([0-9a-f]{32})")
_ABOUT = {MsgType.ACK: MessageState.ACKNOWLEDGED, MsgType.ERROR: MessageState.REFUSED}


@dataclass(frozen=True, slots=True)
class DistributorAcknowledgements:
    """Records the distributors' answers about messages."""

    hooks: DistributorHooks
    tracks: Tracks
    alerts: Alerts
    clock: Clock
    signing: SigningKeys
    site: str

    def receipts(self, hook: DistributorHook) -> str:
        """Returns the URL for a distributor's Acks and Errors. It is valid until the distributor gets another secret."""
        return f"{self.site}/v1/receipts/distributors/{hook.org}.{hook.id}.{_mac(self.signing.current, hook)}"

    async def post(
        self, poster: Fetcher, hook: DistributorHook, document: bytes, identifier: str, may_post: MayPost | None = None
    ) -> Answered:
        """Posts a signed CAP document to a distributor, and returns the answer. `identifier`: of the CAP document.
        `may_post`: asked right before the post. A header names the URL for the distributor's Acks and Errors. Raises as
        `Fetcher.hand_over` does.
        """
        headers = {"Content-Type": MEDIA_TYPE, RECEIPTS_HEADER: self.receipts(hook)}
        if hook.authorization:
            headers["Authorization"] = hook.authorization
        now = self.clock.now_ms()
        return await post(poster, hook, document, identifier, now, may_post, headers=headers, answer_bytes=ANSWER_BYTES)

    async def take(self, token: str, raw: bytes) -> int:
        """Takes an Ack or an Error, and returns the number of messages that it is about. Raises Problem for another
        kind of document, or for one about no message of this distributor.
        """
        hook = await self._of(token)
        try:
            message = parse_message(raw)
        except CapError as error:
            raise Problem("invalid-request", "The CAP document has faults.", faults=error.faults) from None
        if message.msg_type not in _ABOUT:
            raise Problem("invalid-request", "This takes CAP documents of msgType Ack or Error.")
        names = dict.fromkeys(one.identifier for one in message.references)
        taken = sum([await self._take(hook, name, message) for name in names])
        if not taken:
            raise Problem("not-found", "This document names no message that was sent to this distributor.")
        return taken

    async def confirm(self, record: AlertRecord, distributor: str, who: Credential) -> None:
        """Records that a person asked the distributor, and that it no longer shows the alert. A repeated call changes
        nothing. Raises Problem.
        """
        check_key(record, who)
        for _ in range(TRIES):
            track, seen = await self._track(record, distributor)
            if not track.owed and track.confirmed:
                return
            if not track.owed:
                raise Problem("precondition-failed", "This distributor has no alert to take down.")
            fresh = confirmed(track, self.clock.now_ms(), who.subject)
            if await self.put(record, distributor, track, fresh, seen):
                return
        raise contested("what this distributor has")

    async def send_again(self, record: AlertRecord, distributor: str, who: Credential) -> None:
        """Queues the last message to a distributor again, which was refused or given up. Raises Problem."""
        check_key(record, who)
        hook = await self.hooks.one(record.org, distributor)
        if hook is None:
            raise Problem("not-found", "There is no such distributor.")
        for _ in range(TRIES):
            track, seen = await self._track(record, distributor)
            fresh = again(track)
            if fresh is None:
                raise Problem("precondition-failed", "Its last message was neither refused nor given up.")
            if await self.put(record, hook.id, track, fresh, seen, look=True):
                return
        raise contested("what this distributor has")

    async def _take(self, hook: DistributorHook, name: str, message: Message) -> bool:
        """Records an Ack or Error about the message `name`. Returns False if no such message was sent to this
        distributor.
        """
        named = _NAMED.fullmatch(name)
        record = await self.alerts.get(named[1]) if named else None
        if record is None or record.org != hook.org:
            return False
        acknowledges = hook.distributor.acknowledges
        for _ in range(TRIES):
            track, seen = await self.tracks.get(hook.org, record.id, hook.id)
            entry = track.entry(name)
            if entry is None or not entry.tries:
                return False
            fresh = settled(
                track, name, _verdict(entry, message, record), self.clock.now_ms(),
                acknowledges=acknowledges, restricted=record.times.restricted, back_ms=self.clock.back_ms,
            )  # fmt: skip
            if await self.put(record, hook.id, track, fresh, seen, look=True):
                return True
        raise contested("what this distributor has")

    async def put(
        self, record: AlertRecord, distributor: str, old: Track, new: Track, seen: bytes, *, look: bool = False
    ) -> bool:  # fmt: skip
        """Stores the new state (track) of an alert at a distributor if the stored one is still `seen`, with the events
        of the change. With `look`, the worker sends the distributor's next message at once. Use it to cancel an alert
        that names a child. Returns False if the track changed meanwhile.
        """
        fresh, words = events_of_change(old, new)
        now = self.clock.now_ms()
        events = [event_of(word, distributor, record.id, now) for word in words]
        is_put = await self.tracks.put(
            record.org, record.id, distributor, fresh, seen=seen, now_ms=now, events=events, look=look
        )
        if is_put:
            say_loudly(words, distributor, record.id)
        return is_put

    async def _track(self, record: AlertRecord, distributor: str) -> tuple[Track, bytes]:
        """Returns the messages about an alert to a distributor, and the stored bytes, against which a later write is
        checked. Raises Problem if there are no messages.
        """
        track, seen = await self.tracks.get(record.org, record.id, distributor)
        if not seen:
            raise Problem("not-found", "alertd has sent this distributor no message about this alert.")
        return track, seen

    async def _of(self, token: str) -> DistributorHook:
        """Returns the distributor of a receipt address. Raises Problem for an address that alertd did not make."""
        parts = _TOKEN.fullmatch(token)
        hook = await self.hooks.one(parts[1], parts[2]) if parts else None
        keys = self.signing.every
        if parts is None or hook is None or not any(hmac.compare_digest(parts[3], _mac(key, hook)) for key in keys):
            raise Problem("not-found", "There is no such address.")
        return hook


def _mac(key: bytes, hook: DistributorHook) -> str:
    """Returns the signature in the address for a distributor's Acks and Errors. It changes when the secret is rotated."""
    said = f"{hook.org} {hook.id}" + f" {hook.rotated}" * bool(hook.rotated)
    return hmac.digest(key, said.encode(), hashlib.sha256).hex()[:32]


def word_on(raw: bytes, identifier: str) -> Message | None:
    """Returns the Ack or Error in the body of a distributor's answer, or None if there is none about the message
    `identifier`.
    """
    if not raw.strip():
        return None
    try:
        message = parse_message(raw)
    except CapError:
        return None  # the answer need not be CAP
    is_about = message.msg_type in _ABOUT and any(one.identifier == identifier for one in message.references)
    return message if is_about else None


def events_of_change(old: Track, new: Track) -> tuple[Track, list[str]]:
    """Returns the new track and the types of the events that the change causes. The returned track notes an event that
    is sent only once.
    """
    before = {one.identifier: one.state for one in old.entries}
    failed = [
        one
        for one in new.entries
        if one.state in FAILED and before.get(one.identifier) is not one.state and not one.down
    ]
    words: list[str] = [REFUSED] if failed else []
    if new.refused and any(one.type is MsgType.CANCEL for one in failed):
        words.append(TAKEDOWN_REFUSED)
    if new.owed and not new.told:
        return msgspec.structs.replace(new, told=True), [*words, OWED]
    return new, [*words, *([CONFIRMED] if new.confirmed and old.owed and not new.owed else [])]


def say_loudly(words: Sequence[str], distributor: str, chain: str) -> None:
    """Logs an error for the operator if a take-down was refused: alertd tries no more, and the alert may still be
    shown.
    """
    if TAKEDOWN_REFUSED in words:
        structlog.get_logger().error("take_down.refused", distributor=distributor, alert=chain)


def event_of(word: str, distributor: str, chain: str, now_ms: int) -> bytes:
    """Returns an event about an alert at a distributor, as clients get it. Its id is derived from its content."""
    name = hashlib.sha256(f"{word} {distributor} {chain} {now_ms}".encode()).hexdigest()[:24]
    return envelope(f"evt_{name}", word, now_ms, {"distributor": distributor, "alert": chain, "chain": chain})


def sealed_note(record: AlertRecord, words: str) -> bytes:
    """Returns a refusal's text, encrypted with the key of the alert's case, because a refusal may quote the message.
    Returns b"" if the case is purged.
    """
    return record.box.seal(words[:MOST_NOTE].encode(), f"{record.id} distribution") if record.box and words else b""


def opened_note(record: AlertRecord, entry: Entry) -> str:
    """Returns the decrypted text of a refusal. Returns '' once its alert is purged, even while the case still has its
    key.
    """
    if record.box is None or not (record.document and entry.note):
        return ""
    return record.box.open(entry.note, f"{record.id} distribution").decode()


def _verdict(entry: Entry, message: Message, record: AlertRecord) -> Verdict:
    """Returns what an Ack or Error proves about a message. An Error about a message that was sent once proves that the
    distributor does not have it. After more tries, the Error may be about only one of them.
    """
    state = _ABOUT[message.msg_type]
    maybe = state is MessageState.ACKNOWLEDGED or (entry.maybe and entry.tries > 1)
    return Verdict(state=state, maybe=maybe, ack=message.identifier, note=sealed_note(record, message.note or ""))
