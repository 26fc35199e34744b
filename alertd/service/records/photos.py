"""Photos: alertd reads and re-encodes them, attaches them to an alert, shows them to the public while the alert is
shown, and deletes them afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import os
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from alertd.common.clock import DAY_MS, HOUR_MS, Clock, time_of
from alertd.common.errors import Fault, Problem
from alertd.common.ids import SigningKeys, chain_of, new_id
from alertd.config.sections import MediaSection
from alertd.model.alert import Alert, Status
from alertd.model.case import Photo, PhotoFacts
from alertd.model.photo import Copy, UnreadablePhotoError, parse_copies
from alertd.model.states import NO_LONGER_SHOWN, SHOWN, TAKEN_AWAY, UNDECIDED, WAITING, AlertState
from alertd.service.access import Credential
from alertd.service.cache import SingleFlightCache
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine.bulk_reads import Batcher
from alertd.store.photos.photos import Media, MediaRecord
from channels.fetching import Fetcher, FetchError

ID_BYTES = 18  # 144 bits, so that an id cannot be guessed
#: Maximum seconds that a copy stays in memory. Every request still needs a check that allows the photo. All notified
#: phones ask within the same minute, while the store is busy with the alert.
HELD_S = 1.0
HELD = 64  # copies in memory: 20 MB at most
#: States in which an alert may still show its photos to the public later.
_TO_COME = UNDECIDED | WAITING
#: Scopes that may see a photo before the public does.
SEES = ("alerts:read", "alerts:write")


class TakenPhoto(msgspec.Struct, frozen=True):
    """A stored photo."""

    id: str
    sizes: dict[str, tuple[int, int, int]]  # by name: width, height, bytes
    unused_until_ms: int  # deleted then, unless an alert uses it
    source: str
    taken: str
    rights: str
    alt: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visibility:
    """The visibility of a photo: for the public, and for the people who work on an alert with it."""

    shown: bool
    is_over: bool  # an alert showed it, and none does now
    is_for_staff: bool  # not shown yet, or used again in a coming alert: its approver must see it


class Photos:
    """Stores, attaches and shows photos."""

    def __init__(
        self, media: Media, alerts: Alerts, decoder: Decoder, fetcher: Fetcher, clock: Clock, settings: MediaSection,
        naming: SigningKeys,
    ) -> None:  # fmt: skip
        """`naming`: the keys that make the ids of photos unguessable, even with a known id of the request."""
        self._media = media
        self._alerts = alerts
        self._decoder = decoder
        self._fetcher = fetcher
        self._clock = clock
        self._settings = settings
        self._naming = naming
        self._held: SingleFlightCache[bytes | None] = SingleFlightCache(HELD, fresh_s=HELD_S / 2, now=clock.monotonic)
        self._looks = Batcher(self._looked)

    async def fetch(self, url: str, most_bytes: int) -> bytes:
        """Fetches a URL and returns the content, at most `most_bytes` bytes. Raises Problem."""
        try:
            return await self._fetcher.fetch(url, most_bytes)
        except FetchError as error:
            raise _unreadable("/url", str(error)) from None

    async def take(
        self, raw: bytes, facts: PhotoFacts, who: Credential, *, name: str | None = None, place: str
    ) -> TakenPhoto:
        """Re-encodes a photo, stores it until an alert uses it, and returns it. The same `name` gives the same id.
        `place` is the JSON pointer to the picture, for faults. Raises Problem.
        """
        self.check(facts)
        now = self._clock.now_ms()
        if await self._media.waiting(who.org, now) >= self._settings.waiting:
            raise Problem("rate-limited", "Too many photos wait for an alert.", headers={"Retry-After": "3600"})
        try:
            copies = await self._decoder.copies_of(raw)
        except UnreadablePhotoError as error:
            raise _unreadable(place, str(error)) from None
        keep_ms = self._settings.unused_hours * HOUR_MS
        photo = _kept(self.id_of(name or new_id(now)), copies, facts, now + keep_ms)
        await self._media.put(
            photo.id, who.org, msgspec.json.encode(photo), {size: copy.data for size, copy in copies.items()},
            keep_ms=keep_ms, now_ms=now,
        )  # fmt: skip
        return photo

    async def taken(self, name: str, who: Credential) -> TakenPhoto:
        """Returns the photo that was stored under this name before. Raises Problem if it is deleted."""
        for key in self._naming.every:
            record = await self._media.get(_id_of(key, name))
            if record and record.org == who.org:
                return _read(record)
        raise Problem("not-found", "The photo was deleted. Send it again with another key.")

    def id_of(self, name: str) -> str:
        """Returns the id of a photo, from a name that is new for each photo."""
        return _id_of(self._naming.current, name)

    def check(self, facts: PhotoFacts, part: str = "") -> None:
        """Raises Problem if the facts of a photo lack its source or rights, or its date is later than tomorrow's.
        `part` is the JSON pointer to the facts in the body.
        """
        missing = tuple(
            Fault(f"{part}/{name}", sentence) for name, sentence in _RIGHTS.items() if getattr(facts, name) is None
        )
        if missing:
            raise Problem("photo-rights-missing", "A photo without these may not be published.", faults=missing)
        today = time_of(self._clock.now_ms() + DAY_MS).date().isoformat()  # it may be tomorrow in another time zone
        if facts.taken > today[: len(facts.taken)]:
            fault = Fault(f"{part}/taken", "This day is in the future.")
            raise Problem("invalid-request", "The photo cannot have been taken then.", faults=(fault,))

    async def add_descriptions(self, alert: Alert, who: Credential) -> Alert:
        """Returns the alert with descriptions: a photo without its own gets the one stored with the photo. Raises
        Problem for photos that this alert may not use.
        """
        names = {photo.media for _, photo in _photos(alert)}
        if not names:
            return alert
        records = dict(zip(names, await asyncio.gather(*map(self._media.get, names)), strict=True))
        case = self._alerts.case_id(who.org, alert.case.number) if alert.case.number else ""
        faults = tuple(
            Fault(f"{pointer}/media", _NO_SUCH)
            for pointer, photo in _photos(alert)
            if (record := records[photo.media]) is None or record.org != who.org or record.case not in {"", case}
        )
        if faults:
            raise Problem("photo-unreadable", "A photo is not there.", faults=faults)
        return _with_words(alert, {name: _read(record).alt for name, record in records.items() if record})

    async def attach(self, alert: Alert, record: AlertRecord) -> None:
        """Attaches an alert's photos to it, before it is stored, and to its case. A step that moves the end of an alert
        calls this again, because photos last as long as the alert. Raises Problem if a photo was deleted meanwhile.
        """
        for pointer, photo in _photos(alert):
            if not await self._media.attach(photo.media, record.org, record.case, record.id, expires_ms=record.expires):
                raise Problem("photo-unreadable", "A photo is gone.", faults=(Fault(f"{pointer}/media", _NO_SUCH),))

    async def show(self, media_id: str, size: str, who: Credential | None = None) -> bytes:
        """Returns a photo as a JPEG: for the public while an alert with the photo is shown, before that for people who
        work on the alert. Raises Problem: not-found, or gone (410) if an alert showed it and none does now.
        """
        standing = await self._looks.one(media_id)
        data = None
        if standing.shown:
            data = await self._held.once(None, (media_id, size), lambda: self._media.copy(media_id, size))
        elif standing.is_for_staff:
            data = await self._unpublished(media_id, size, who)
        if data is None and standing.is_over:
            raise Problem("gone", "This photo is no longer shown.")
        if data is None:
            raise Problem("not-found", "There is no such photo.")
        return data

    async def _unpublished(self, media_id: str, size: str, who: Credential | None) -> bytes | None:
        """Returns a photo that the public may not see: to a caller of its organisation who may read or write alerts.
        Returns None to all others.
        """
        record = None if who is None else await self._media.get(media_id)
        is_theirs = record is not None and who is not None and who.org == record.org and any(map(who.may, SEES))
        return await self._media.copy(media_id, size) if is_theirs else None

    async def _looked(self, media_ids: Sequence[str]) -> list[_Visibility]:
        """Returns the visibility of photos now. Requests that wait at the same time share one check. A request never
        gets a check that began before it, which may have missed a stand-down.
        """
        asked = sorted(set(media_ids))
        found = dict(zip(asked, await asyncio.gather(*map(self._standing, asked)), strict=True))
        return [found[one] for one in media_ids]

    async def _standing(self, media_id: str) -> _Visibility:
        """Returns the visibility of a photo, from the alerts that use it. Tests and Exercises do not count: one person
        alone sends them, and could restore a photo that was taken down.
        """
        names = await self._media.alerts(media_id)
        found = [head for head in await self._alerts.heads(names) if head and head.status == Status.ACTUAL]
        tellers = await self._media.tellers(sorted({chain_of(head.id) for head in found}))
        if await self._is_in(media_id, tellers.values(), SHOWN):
            return _Visibility(shown=True, is_over=False, is_for_staff=False)
        is_over = any(head.state in NO_LONGER_SHOWN or head.state in SHOWN for head in found)
        is_away = any(head.state in TAKEN_AWAY or head.times.restricted for head in found)
        again = (
            is_over
            and not is_away
            and await self._is_in(media_id, [head.id for head in found if head.state in _TO_COME], _TO_COME)
        )
        return _Visibility(shown=False, is_over=is_over, is_for_staff=again or not is_over)

    async def _is_in(self, media_id: str, alert_ids: Iterable[str], states: Container[AlertState]) -> bool:
        """Returns whether one of these alerts has the photo, is in one of these states, is not restricted, and has not
        ended.
        """
        now = self._clock.now_ms()
        return any(
            one.state in states and now < one.expires and not one.times.restricted
            for one in await asyncio.gather(*map(self._alerts.get, alert_ids))
            if one and media_id.encode() in one.document  # a photo that an update removed is shown no more
        )


_RIGHTS = {
    "source": "A photo needs its source: who gave it.",
    "rights": "A photo needs the right or legal basis on which it is published.",
}
_NO_SUCH = "There is no such photo for this case. Upload it again: alertd soon deletes a photo that no alert uses."


def _unreadable(pointer: str, sentence: str) -> Problem:
    """Returns Problem photo-unreadable with one fault: the sentence at this JSON pointer."""
    return Problem("photo-unreadable", "The photo cannot be taken.", faults=(Fault(pointer, sentence),))


def _kept(media_id: str, copies: dict[str, Copy], facts: PhotoFacts, until_ms: int) -> TakenPhoto:
    """Returns the record of a photo, without its pictures."""
    return TakenPhoto(
        id=media_id,
        sizes={name: (copy.width, copy.height, len(copy.data)) for name, copy in copies.items()},
        unused_until_ms=until_ms,
        source=facts.source or "",
        taken=facts.taken,
        rights=facts.rights or "",
        alt=dict(facts.alt),
    )


def _read(record: MediaRecord) -> TakenPhoto:
    """Returns the record that the store has of a photo."""
    return msgspec.json.decode(record.about, type=TakenPhoto)


def _photos(alert: Alert) -> Iterator[tuple[str, Photo]]:
    """Returns each photo of an alert with its pointer."""
    for i, child in enumerate(alert.case.children):
        for j, photo in enumerate(child.photos):
            yield f"/case/children/{i}/photos/{j}", photo


def _with_words(alert: Alert, words: dict[str, dict[str, str]]) -> Alert:
    """Returns the alert in which each photo without a description has the one in `words`, by photo id and language."""
    children = tuple(
        child.model_copy(
            update={
                "photos": tuple(
                    photo.model_copy(update={"alt": photo.alt or words[photo.media]}) for photo in child.photos
                )
            }
        )
        for child in alert.case.children
    )
    return alert.model_copy(update={"case": alert.case.model_copy(update={"children": children})})


def _id_of(key: bytes, name: str) -> str:
    """Returns the id of the photo with this name: `med_` and an HMAC of the name."""
    return f"med_{base64.urlsafe_b64encode(hmac.digest(key, name.encode(), 'sha256')[:ID_BYTES]).decode()}"


#: Maximum number of decoders at the same time: each may take a gigabyte for a second.
AT_ONCE = 2
#: Processor time of one decoder, in seconds; the largest photos take two.
CPU_S = 10
#: Time limit of one decoder in seconds. It exceeds `CPU_S` because a decoder waits for processor time on a busy
#: machine.
PATIENCE_S = 40.0


class Decoder:
    """Re-encodes pictures, at most `AT_ONCE` at a time. Each picture has its own process with limited memory and time,
    so that a crash affects no other picture.
    """

    def __init__(self, cpu_s: int = CPU_S) -> None:
        self._cpu_s = cpu_s
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def copies_of(self, raw: bytes) -> dict[str, Copy]:
        """Returns the copies of a picture, as `alertd.model.photo.copies_of` does, but made in a process of its own.
        Raises UnreadablePhotoError, also for a picture that takes too long.
        """
        async with self._turns:
            answer = await _asked(raw, self._cpu_s)
        if not answer:
            raise UnreadablePhotoError("This picture takes too long to be read.")
        return parse_copies(answer)


async def _asked(raw: bytes, cpu_s: int) -> bytes:
    """Returns the output of a decoding process, or b"" if the process failed or had to be killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alertd.model.photo", str(cpu_s), env=without_ours(os.environ),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer, _ = await process.communicate(raw)
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return answer if process.returncode == 0 else b""


def without_ours(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment for a decoding process, without alertd's own variables: they may hold secrets, and a
    crafted picture may search for them.
    """
    return {name: value for name, value in variables.items() if not name.startswith("ALERTD_")}
