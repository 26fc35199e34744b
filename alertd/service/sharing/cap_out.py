"""Writes an alert as CAP 1.2, for broadcast gateways and partners: the public information, and nothing else of the
case.

Before approval the document has CAP's status Draft, on which no receiver may act. After the alert's end it is a Cancel
without info, so that it contains no name and no photo.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

import shapely

from alertd.common.clock import second_of
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.config.settings import Settings
from alertd.model.alert import MAX_HEADLINE, Alert, Exclusion
from alertd.model.cap.messages import Area, CapError, Info, Message, MsgType, Resource, Scope, Status
from alertd.model.cap.outlines import MOST_POLYGONS, outlines
from alertd.model.cap.profiles import CODES, LONG, PROFILES, SHORT, Facts, septets
from alertd.model.cap.values import SPACE
from alertd.model.cap.writer import write
from alertd.model.kinds import KINDS, Kind
from alertd.model.states import NO_LONGER_SHOWN, SHOWN
from alertd.rendering import Renderer
from alertd.rendering.catalogue import area_name, base_language, matching
from alertd.rendering.own_texts import OwnTexts
from alertd.rendering.plaintext import clip
from alertd.service.areas.regions import Regions
from alertd.service.areas.targeting import Share, Targeting
from alertd.service.messages.message_builder import rendered
from alertd.service.messages.texts import Texts
from alertd.service.organisations.organisations import Organisations
from alertd.service.sharing.cap import signer_of
from alertd.service.sharing.published_area import LEAST_SHARE, Outline, published_outline
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work_records import BatchKey
from channels.text import spelled_for_sms
from geofences.polygons import area_km2
from geofences.regions import Kind as RegionKind
from geofences.regions import Region
from geofences.targets import Area as Ground

Profile = Literal["ipaws", "cap-cp"]
#: By profile: the base languages that its system has, and the tag that the system uses for each.
LANGUAGES = {"ipaws": {"en": "en-US", "es": "es-US"}, "cap-cp": {"en": "en-CA", "fr": "fr-CA"}}
#: Characters that a text may have but XML may not.
_NO_XML = dict.fromkeys([0xFFFE, 0xFFFF])
_COUNTY = re.compile(r"US-(\d{5})")


class CapOut:
    """Writes alerts as CAP."""

    def __init__(
        self,
        alerts: Alerts,
        targeting: Targeting,
        regions: Regions,
        renderer: Renderer,
        texts: Texts,
        organisations: Organisations,
        settings: Settings,
    ) -> None:
        self._alerts = alerts
        self._targeting = targeting
        self._regions = regions
        self._renderer = renderer
        self._texts = texts
        self._organisations = organisations
        self._site = settings.api.reached_at
        self._sender = settings.cap.sender or urlsplit(self._site).hostname or "alertd"
        self._signer = signer_of(settings.cap)

    async def document(self, record: AlertRecord, profile: Profile | None = None, outline: Outline = "exact") -> bytes:
        """Returns the alert in its current state as a CAP document. Raises Problem: not-found for an alert that was
        purged, or for a version that only announces a change of another; message-impossible, naming the parts that a
        profile lacks.
        """
        if not record.document:
            raise Problem("not-found", "The alert was purged.")
        if record.id != chain_of(record.id):
            raise Problem("not-found", "This version only announces a change. Request the alert itself.")
        return await self.under(await self.head(record), record, profile, outline)

    async def under(
        self, head: Message, record: AlertRecord, profile: Profile | None, outline: Outline, wanted: Sequence[str] = ()
    ) -> bytes:
        """Returns the alert in its current state as a CAP document with the identifier, sender and time of `head`. A
        Cancel has no content. If the alert has some of the languages in `wanted`, only these are written. Raises
        Problem: message-impossible.
        """
        try:
            message = await self._message(head, record, profile, outline, wanted)
            return await asyncio.to_thread(self._written, message)
        except CapError as error:
            raise Problem(
                "message-impossible", "This alert cannot be written in this form of CAP.", faults=error.faults
            ) from None

    async def signed(self, message: Message) -> bytes:
        """Returns a message of alertd's own as a signed document. Raises CapError."""
        return await asyncio.to_thread(self._written, message)

    async def sender_of(self, org: str) -> str:
        """Returns the text of the CAP element `sender` in an organisation's documents."""
        return (await self._organisations.get(org)).organisation.cap_sender or self._sender

    def _written(self, message: Message) -> bytes:
        raw = write(message)
        return self._signer.signed(raw) if self._signer else raw

    async def head(self, record: AlertRecord) -> Message:
        """Returns a CAP message with the identifier, sender, time and status of the alert, without its content. For an
        alert that has ended, the message is a Cancel.
        """
        head = Message(
            identifier=record.id,
            sender=await self.sender_of(record.org),
            sent=second_of(record.times.start or record.times.created),
            status=Status(record.status) if record.times.start else Status.DRAFT,
            msg_type=MsgType.ALERT,
            scope=Scope.PUBLIC,
        )
        if changes := [int(ms) for ms in record.times.changes.split()]:
            head = _updated(head, changes)
        return _cancel(head, record) if record.times.start and record.state in NO_LONGER_SHOWN else head

    def headline(self, record: AlertRecord, alert: Alert, language: str, own: OwnTexts) -> str:
        """Returns the document's headline in a language."""
        return self._told(record, alert, language, own).headline or ""

    async def _message(
        self, head: Message, record: AlertRecord, profile: Profile | None, outline: Outline, wanted: Sequence[str]
    ) -> Message:
        if head.msg_type is MsgType.CANCEL:
            return replace(head, codes=(CODES[profile],)) if profile else head
        alert = record.alert
        shares = await self._targeting.shares(ground := await self._alerts.area(record.id))
        languages = self._languages(alert, profile)
        bases = {base_language(one) for one in wanted}
        languages = {one: tag for one, tag in languages.items() if base_language(one) in bases} or languages
        message = replace(head, infos=await self._infos(record, alert, ground, shares, languages, outline))
        if profile is None:
            return message
        places = self._places(profile, alert, shares)
        texts = await self._texts.of(record.org, record.texts)
        phone = {tag: self._phone(record, alert, language, texts) for language, tag in languages.items()}
        return PROFILES[profile](message, Facts(level=alert.level, places=places, phone=phone))

    def _languages(self, alert: Alert, profile: Profile | None) -> dict[str, str]:
        """Returns the languages to write, each with its tag in the document. With a profile, these are only the
        languages that the profile's system has.
        """
        own_languages = self._renderer.languages(alert)
        if profile is None:
            return {language: language for language in own_languages}
        known = LANGUAGES[profile]
        found: dict[str, str] = {}
        for language in own_languages:
            tag = known.get(base_language(language))
            if tag and tag not in found.values():
                found[language] = tag
        return found

    async def _infos(
        self, record: AlertRecord, alert: Alert, ground: shapely.MultiPolygon, shares: Sequence[Share],
        languages: dict[str, str], outline: Outline,
    ) -> tuple[Info, ...]:  # fmt: skip
        """Returns one info for each language. All have the same polygons, and the document has a maximum number of
        them: more languages leave fewer polygons to each.
        """
        most = max(1, MOST_POLYGONS // max(len(languages), 1))
        shown = await asyncio.to_thread(published_outline, self._regions.library, alert, ground, shares, outline)
        rings = await asyncio.to_thread(outlines, shown, most) if shown else ()
        parts = await self._targeting.parts(Ground(geometry=ground, km2=area_km2(ground)), shares)
        own = await self._texts.of(record.org, record.texts)
        infos = []
        for language, tag in languages.items():
            words = self._renderer.words(matching(language, self._renderer.all_languages) or language)
            name = area_name(words, parts) or (_bounds(ground) if outline == "exact" else "")
            areas = (Area(description=name, polygons=rings),) if name and outline != "none" else ()
            info = await asyncio.to_thread(self._told, record, alert, language, own)
            infos.append(replace(info, language=tag, areas=areas))
        return tuple(infos)

    def _told(self, record: AlertRecord, alert: Alert, language: str, own: OwnTexts) -> Info:
        """Returns the CAP info of one language. Headline and description are the sender's or, of a missing child, subject
        and text of the mail.
        """
        facts = KINDS[alert.kind][alert.level]
        text = alert.info.get(language)
        said = (text.headline, text.description) if text else (None, None)
        headline, description = (self._renderer.marked(one, alert, language) for one in said)
        if alert.kind is Kind.MISSING_CHILD:
            mail = self._rendered(record, alert, "cap", language, own)
            headline, description = mail.subject, mail.text
        return Info(
            categories=(alert.category or facts.category,),
            event=alert.event or facts.event,
            response_types=(alert.response_type or facts.response,),
            urgency=alert.urgency or facts.urgency,
            severity=alert.severity or facts.severity,
            certainty=alert.certainty or facts.certainty,
            expires=alert.expires.replace(microsecond=0),
            sender_name=sender(record, alert),
            headline=_whole(clip(headline or "", MAX_HEADLINE)),
            description=_whole(description),
            instruction=_whole(text.instruction if text else None),
            web=self._renderer.link(alert, record.chain.public_id),
            resources=tuple(self._photos(alert, language)) if record.state in SHOWN else (),
        )

    def _rendered(self, record: AlertRecord, alert: Alert, channel: str, language: str, own: OwnTexts) -> Any:
        sent_ms = record.times.start or record.times.created
        alike = BatchKey(channel=channel, language=language)
        countries = record.target.countries.split()
        return rendered(alert, record.id, alike, self._renderer, sent_ms=sent_ms, own=own, countries=countries)

    def _photos(self, alert: Alert, language: str) -> Iterator[Resource]:
        for child in alert.case.children:
            for photo in child.photos:
                said = photo.alt.get(matching(language, photo.alt) or "")
                yield Resource(
                    description=_whole(said) or "Photo",
                    mime_type="image/jpeg",
                    uri=f"{self._site}/m/{photo.media}?size=page",
                )

    def _phone(self, record: AlertRecord, alert: Alert, language: str, own: OwnTexts) -> tuple[str, str]:
        """Returns the short and the long text of a wireless alert: the SMS text, cut to the limits."""
        lines = self._rendered(record, alert, "sms", language, own).text.split("\n")
        return _fitted(lines[0], SHORT), _fitted(" ".join(lines), LONG)

    def _places(self, profile: Profile, alert: Alert, shares: Sequence[Share]) -> list[str]:
        """Returns the profile's codes of the alert's regions: those that it names, and the smallest with a code among
        those in its area. If a part is excluded, or neighbours are asked about a part, only those in its area count.
        """
        target = alert.target
        is_whole = target.beyond == "refuse" and target.exclude == Exclusion()
        named = self._coded(profile, target.regions if is_whole else ())
        lying = self._coded(profile, [share.code for share in shares if share.share >= LEAST_SHARE])
        above = {code: {region.code for region in self._regions.library.ancestors(code)} for code in lying}
        wider = set().union(*above.values())
        smallest = [place for code, place in lying.items() if code not in wider and not above[code] & named.keys()]
        return list(dict.fromkeys([*named.values(), *smallest]))

    def _coded(self, profile: Profile, codes: Sequence[str]) -> dict[str, str]:
        """Returns the profile's codes of regions, by region code. Leaves out regions without one, such as a drawn
        region or a town.
        """
        found = {code: self._place(profile, code) for code in codes if code in self._regions.library}
        return {code: place for code, place in found.items() if place}

    def _place(self, profile: Profile, code: str) -> str | None:
        library = self._regions.library
        if profile == "cap-cp":
            return next((alias.value for alias in library.aliases.of(code) if alias.scheme == "SGC"), None)
        if county := _COUNTY.fullmatch(code):
            return f"0{county[1]}"
        if code == "US":
            return "000000"
        state = next((found[1][:2] for county in self._below(code) if (found := _COUNTY.fullmatch(county.code))), "")
        whole = library.resolve("FIPS", state)
        return f"0{state}000" if whole and whole.codes == (code,) else None  # not for one district of American Samoa

    def _below(self, code: str) -> Iterator[Region]:
        """Yields the parts of a region and, for a country, also their parts: the counties of Puerto Rico are two levels
        below the country.
        """
        library = self._regions.library
        parts = library.children(code)
        yield from parts
        if library.get(code).kind is RegionKind.COUNTRY:
            for part in parts:
                yield from library.children(part.code)


def sender(record: AlertRecord, alert: Alert) -> str | None:
    """Returns the public name of the sender. The author's `on_behalf_of` is free text that may name any person, so it
    stays internal if the child's identity is restricted or protected.
    """
    bare = record.times.restricted or alert.case.protection
    return alert.sender_name or (None if bare else alert.author.on_behalf_of)


def _updated(head: Message, changes: Sequence[int]) -> Message:
    """Returns the identifier, time and references of the CAP Update for the alert's last change. The Update replaces
    the alert and all earlier changes. Each change has its own identifier. `changes` are the times of the changes (UNIX
    ms).
    """
    *earlier, latest = [
        replace(head, identifier=f"{head.identifier}.{ms}", sent=second_of(ms), msg_type=MsgType.UPDATE)
        for ms in changes
    ]
    return replace(latest, references=(head.reference, *(one.reference for one in earlier)))


def _cancel(head: Message, record: AlertRecord) -> Message:
    """Returns the Cancel of an alert that has ended. The step that ended the alert gives its identifier and its time."""
    return replace(
        head,
        identifier=f"{record.id}.{record.state}",
        sent=max(head.sent, second_of(record.last_step.since)),
        msg_type=MsgType.CANCEL,
        references=(*head.references, head.reference),
    )


def _fitted(text: str, limit: int) -> str:
    """Returns a text cut between words to `limit` septets of GSM-7, spelled with the GSM alphabet where possible. A
    text that GSM-7 cannot hold is cut to `limit` characters.
    """
    plain, room = spelled_for_sms(text), limit
    while septets(shorter := clip(plain, room).replace("\u2026", "...")) > limit:
        room -= 1
    return shorter


def _whole(text: str | None) -> str | None:
    """Returns the text in a form that CAP can hold, or None if nothing is left."""
    return (text or "").translate(_NO_XML).strip(SPACE) or None


def _bounds(ground: shapely.MultiPolygon) -> str:
    """Returns a name for an area that is near no region: its bounds, latitude first as in CAP."""
    west, south, east, north = ground.bounds
    return f"{south:.2f},{west:.2f} {north:.2f},{east:.2f}"
