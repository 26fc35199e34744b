"""Registers an organisation's broadcasters and partners, decides which alerts each gets, and shows the state of each
alert there.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
import shapely

from alertd.common.clock import Clock, second_of
from alertd.common.errors import Fault, Problem
from alertd.model.alert import Alert
from alertd.model.cap.messages import Message, MsgType, Reference, Scope, Status
from alertd.model.distribution import (
    Entry,
    Track,
)
from alertd.model.distributor import Distributor
from alertd.model.organisation import Jurisdiction
from alertd.model.states import ENDED, SHOWN, AlertState
from alertd.service.access import Credential
from alertd.service.areas.jurisdiction import Jurisdictions
from alertd.service.records.webhooks import Subscriptions, new_secret, rotated
from alertd.service.sharing.cap_out import CapOut
from alertd.service.sharing.distributor_acknowledgements import DistributorAcknowledgements, word_on
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.records.events import Events
from alertd.store.sharing.webhooks import DistributorHook, DistributorHooks, HeldError, HookStanding, Tracks
from channels.fetching import Fetcher, FetchError

_OVER = ENDED | {AlertState.STOOD_DOWN}
#: Maximum length of the Authorization header that a distributor may require (RFC 9110, section 11.6.2), in visible
#: characters and spaces.
MOST_AUTHORIZATION = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A distributor and its state."""

    hook: DistributorHook
    distributor: Distributor
    standing: HookStanding
    owed: tuple[str, ...]  # alerts that it has to take down and has not confirmed, the oldest first
    has: int  # number of its alerts that may be shown now

    @property
    def host(self) -> str:
        """Returns the host of its URL. The rest may contain a secret."""
        return urlsplit(self.hook.url).hostname or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The state of one alert at one distributor, or the reason why the distributor does not get the alert."""

    id: str
    name: str
    track: Track | None  # None: alertd sent it no message about the alert
    why_not: str  # the API's code; '' if it gets the alert, or will get it


class Distributors(Subscriptions[DistributorHook]):
    """Registers, changes, shows and tests distributors."""

    word = "distributor"

    def __init__(  # noqa: PLR0913, PLR0917  each provides a part of the answer
        self, hooks: DistributorHooks, tracks: Tracks, alerts: Alerts, events: Events, grounds: Jurisdictions,
        cap_out: CapOut, acknowledgements: DistributorAcknowledgements, poster: Fetcher, clock: Clock,
    ) -> None:  # fmt: skip
        super().__init__(hooks, events, poster, clock)
        self._tracks = tracks
        self._alerts = alerts
        self._grounds = grounds
        self._cap_out = cap_out
        self._acknowledgements = acknowledgements

    async def create(self, who: Credential, new: Distributor, authorization: str) -> tuple[Registered, str]:
        """Registers a distributor, which gets alerts from now on. Returns it with its signing secret. Raises Problem."""
        await self._check_new(new, authorization)
        secret = new_secret()
        hook = DistributorHook(
            id=f"dis_{secrets.token_hex(8)}", org=who.org, url=new.url, types=(), secrets=((secret, 0),), by=who.subject,
            made=self._clock.now_ms(), document=new.model_dump_json(), authorization=authorization,
        )  # fmt: skip
        await self._add(hook)
        return await self.get(who.org, hook.id), secret

    async def change(self, org: str, distributor: str, new: Distributor, authorization: str | None) -> Registered:
        """Replaces a distributor's registration, and returns the distributor. Its Authorization stays if
        `authorization` is None. Raises Problem.
        """
        await self._check_new(new, authorization or "")
        try:
            await self._change(org, distributor, lambda hook: _changed(hook, new, authorization))
        except HeldError:
            raise await self._held(
                org, distributor,
                "Until these end, its URL and its way to acknowledge stay, because alertd takes its alerts down there. For another URL, "
                "register another distributor and turn this one off.",
            ) from None  # fmt: skip
        return await self.get(org, distributor)

    async def rotate(self, org: str, distributor: str) -> tuple[Registered, str]:
        """Makes a new signing secret; each older one signs for another day. The old address for Acks and Errors stops
        working at once; the next message names the new one. Returns the distributor with the new secret. Raises
        Problem.
        """
        secret, now = new_secret(), self._clock.now_ms()
        await self._change(
            org, distributor, lambda hook: msgspec.structs.replace(rotated(hook, secret, now), rotated=hook.rotated + 1)
        )
        return await self.get(org, distributor), secret

    async def of_org(self, org: str) -> list[Registered]:
        """Returns the organisation's distributors, the oldest first."""
        hooks = await self._hooks.of_org(org)
        holders = (await self._tracks.holders([org]))[org]
        return [
            Registered(
                hook=hook, distributor=hook.distributor, standing=standing,
                owed=tuple(one.chain for one in holders if one.distributor == hook.id and one.owed),
                has=sum(one.distributor == hook.id and not one.owed for one in holders),
            )
            for hook, standing in zip(hooks, await self._hooks.standing(hooks), strict=True)
        ]  # fmt: skip

    async def get(self, org: str, distributor: str) -> Registered:
        """Returns a distributor. Raises Problem if there is none."""
        found = [one for one in await self.of_org(org) if one.hook.id == distributor]
        if not found:
            raise self._none()
        return found[0]

    def receipts(self, registered: Registered) -> str:
        """Returns the URL to which the distributor posts its Acks and Errors."""
        return self._acknowledgements.receipts(registered.hook)

    async def remove(self, org: str, distributor: str) -> None:
        """Removes a distributor. Raises Problem if there is none, or while it has an alert that it may show or has not
        confirmed to have taken down.
        """
        try:
            await super().remove(org, distributor)
        except HeldError:
            words = "Turn it off, so that it gets no new alerts, and remove it when these have ended."
            raise await self._held(org, distributor, words) from None

    async def _held(self, org: str, distributor: str, words: str) -> Problem:
        """Returns the Problem that refuses a change or a removal, with the numbers of the distributor's alerts."""
        holders = (await self._tracks.holders([org]))[org]
        found = Counter(bool(one.owed) for one in holders if one.distributor == distributor)
        return Problem(
            "precondition-failed",
            f"It has {found[False]} alerts that may be shown, and {found[True]} that it has not confirmed to have taken down. {words}",
            has=found[False], takedowns_open=found[True],
        )  # fmt: skip

    async def test(self, org: str, distributor: str) -> tuple[int, bool]:
        """Posts a message of CAP's status System once, now; such a message is not for the public (CAP 1.2, section
        3.2.1). Returns the status of the answer, or 0 without an answer, and whether the answer has an Ack. Raises
        Problem.
        """
        found = await self.get(org, distributor)
        now = self._clock.now_ms()
        message = Message(
            identifier=f"test-{secrets.token_hex(8)}", sender=await self._cap_out.sender_of(org),
            sent=second_of(now), status=Status.SYSTEM, msg_type=MsgType.ALERT,
            scope=Scope.PRIVATE, addresses=found.hook.id, note="Test of the connection. Answer with 2xx. Do not publish this message.",
        )  # fmt: skip
        document = await self._cap_out.signed(message)
        try:
            answer = await self._acknowledgements.post(self._poster, found.hook, document, message.identifier)
        except FetchError:
            return 0, False
        said = word_on(answer.body, message.identifier)
        return answer.status, said is not None and said.msg_type is MsgType.ACK

    async def of_alert(self, record: AlertRecord) -> list[Share]:
        """Returns the state of an alert at each distributor, with a reason if alertd sent it no message."""
        hooks = await self._hooks.of_org(record.org)
        tracks = await self._tracks.of_alert(record.org, record.id)
        shares = [await self._share(hook, tracks.pop(hook.id, None), record) for hook in hooks]
        gone = [Share(id=id_, name=track.name, track=track, why_not="removed") for id_, track in tracks.items()]
        return [*shares, *gone]

    async def _share(self, hook: DistributorHook, track: Track | None, record: AlertRecord) -> Share:
        """Returns the state of an alert at a distributor. `track` has the messages sent there; None if there are none."""
        wants = hook.distributor
        why = "" if track else await self._why_not(hook, wants, record)
        return Share(id=hook.id, name=wants.name, track=track, why_not=why)

    async def _why_not(self, hook: DistributorHook, wants: Distributor, record: AlertRecord) -> str:
        """Returns the code of the reason why a distributor does not get the alert: over, off, status, level, scope,
        elsewhere (outside its jurisdiction), unresolved (the jurisdiction cannot be computed) or later (registered
        after the alert's start). Returns '' if it gets the alert.
        """
        if record.state in _OVER or not record.document:
            return "over"
        late = "later" if record.times.start and hook.made > record.times.start else ""
        why = why_not(wants, record, record.alert)
        if why or wants.jurisdiction is None:
            return why or late
        try:
            inside = await lies_in(self._grounds, self._alerts, wants.jurisdiction, record)
        except Problem:  # a new edition of the library may lack a code; the other distributors are still listed
            return "unresolved"
        return late if inside else "elsewhere"

    async def _check_new(self, new: Distributor, authorization: str) -> None:
        """Raises Problem if the Authorization, the URL or the jurisdiction of a registration is not acceptable."""
        is_header = len(authorization) <= MOST_AUTHORIZATION and authorization.isascii() and authorization.isprintable()
        fault = Fault("/authorization", "This header may have at most 1,000 visible characters and spaces.")
        self._check(new.url, () if is_header else (fault,))
        if new.jurisdiction is not None:
            await self._grounds.of(new.jurisdiction)


def _changed(hook: DistributorHook, new: Distributor, authorization: str | None) -> DistributorHook:
    """Returns the distributor with its new registration. `authorization` None keeps the old header. A new URL or way to
    acknowledge raises `way` by one.
    """
    kept = hook.authorization if authorization is None else authorization
    is_moved = (hook.url, hook.distributor.acknowledges) != (new.url, new.acknowledges)
    return msgspec.structs.replace(
        hook, url=new.url, document=new.model_dump_json(), authorization=kept, way=hook.way + is_moved
    )


async def lies_in(grounds: Jurisdictions, alerts: Alerts, jurisdiction: Jurisdiction, record: AlertRecord) -> bool:
    """Returns whether any part of an alert's area lies in a jurisdiction. Raises Problem if the jurisdiction names a
    region that the library no longer has.
    """
    ground = await grounds.of(jurisdiction)
    area = await alerts.area(record.id)
    return bool(await asyncio.to_thread(lambda: shapely.intersection(ground, area).area > 0))


def why_not(wants: Distributor, record: AlertRecord, alert: Alert) -> str:
    """Returns the code of the reason why a distributor does not get an alert; '' if there is none. Does not check the
    distributor's jurisdiction.
    """
    reasons = {
        "off": not wants.enabled,
        "status": record.status not in wants.statuses,
        "level": bool(wants.levels) and record.level not in wants.levels,
        "scope": alert.scope != "Public",
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def not_taken(status: int) -> bool:
    """Returns whether an HTTP status proves that a message was not accepted. A redirect may follow an accepted message
    (303 See Other). A 408 may come from a gateway's proxy that waited too long, behind which the message arrived.
    """
    return 400 <= status < 500 and status != 408


def goes_down(record: AlertRecord, track: Track) -> bool:
    """Returns whether alertd must send a Cancel of an alert that has ended. If the alert ended when its messages said
    it would, distributors no longer show it.
    """
    if not track.over and (record.state not in {*SHOWN, AlertState.EXPIRED} or track.owed):
        return True
    return track.shown_until > record.expires


def references(track: Track, entry: Entry) -> tuple[Reference, ...]:
    """Returns the references of an Update or Cancel: all other messages of the track that may have arrived and are not
    taken down. Returns none for an Alert, because it replaces no message.
    """
    if entry.type is MsgType.ALERT:
        return ()
    return tuple(
        Reference(sender=one.sender, identifier=one.identifier, sent=second_of(one.sent))
        for one in track.arrived
        if one.identifier != entry.identifier
    )
