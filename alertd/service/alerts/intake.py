"""Takes in an alert: checks it against the rules, estimates its reach, and stores it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import to_json

from alertd.common.clock import Clock, ms_of, time_of
from alertd.common.errors import Fault, Problem
from alertd.common.ids import new_id, new_public_id
from alertd.common.merge_patch import merged
from alertd.model import rules
from alertd.model.alert import Alert, Author, Status, loudest
from alertd.model.faults import faults_of
from alertd.model.fields import folded_subject
from alertd.model.kinds import Channel
from alertd.model.organisation import Organisation
from alertd.model.permission import written
from alertd.model.states import AMENDABLE, AlertState
from alertd.rendering import THE_ALERT, Renderer, Telling
from alertd.service.access import Credential, RateLimits, hands_of, hands_text
from alertd.service.alerts.duplicates import find_first, similar
from alertd.service.alerts.jurisdiction_split import JurisdictionSplit
from alertd.service.areas.reach_preview import AlertReach, AreaReach, ReachPreview, check_contacts
from alertd.service.cache import SingleFlightCache, digest
from alertd.service.carriers.carriers import Carriers
from alertd.service.decision_checks import check_key, check_revision
from alertd.service.messages.message_builder import impossible
from alertd.service.messages.texts import Texts
from alertd.service.organisations.organisations import (
    NOT_VERIFIED,
    VOICE_ONLY,
    OrganisationPolicy,
    Organisations,
    completed,
)
from alertd.service.records.photos import Photos
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import (
    AlertAuthor,
    AlertRecord,
    ChainState,
    LastStep,
    Neighbours,
    TargetFacts,
    Times,
)
from alertd.store.engine.codec import Box

TOLD_TOO_LATE = "Some people would be notified after the alert has ended."
DAY_S = 86_400
#: Number of documents for which the service remembers whether a message can be made. The key is a digest, so that 1,000
#: entries take 100 kB.
KEPT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken(AreaReach):
    """An alert that the service took in, with its area and its reach."""

    record: AlertRecord
    # The key of its case, if the alert was stored just now.
    box: Box | None = field(default=None, compare=False, repr=False)
    is_repeat: bool = False  # the organisation had submitted this alert before; nothing was stored
    similar: Sequence[AlertRecord] = ()  # other living alerts of its case, if no external id distinguishes them
    unknown_references: Sequence[str] = ()  # of a CAP Update or Cancel: those that name no alert here

    @classmethod
    def of(cls, record: AlertRecord, preview: AreaReach, box: Box | None = None, *, is_repeat: bool = False) -> Taken:
        """Returns the alert together with the area and the reach that `preview` (the reach preview) holds."""
        return cls(
            record=record,
            box=box,
            is_repeat=is_repeat,
            area=preview.area,
            shares=preview.shares,
            reach=preview.reach,
            rings=preview.rings,
            permissions=preview.permissions,
            answers=preview.answers,
        )


class _Checked(NamedTuple):
    """An alert that passed every check."""

    alert: Alert  # as it will be stored
    document: bytes  # the alert as JSON
    preview: AlertReach  # the reach without the parts that neighbours must permit first
    texts: int  # revision of the organisation's own texts that its messages would use


@dataclass
class Intake:
    """Takes alerts in: submits, previews and changes them."""

    alerts: Alerts
    reach_previews: ReachPreview
    jurisdiction_split: JurisdictionSplit
    renderer: Renderer
    clock: Clock
    carriers: Carriers
    photos: Photos
    texts: Texts
    organisations: Organisations
    author_mb: int = 0  # MiB that one person's alerts may take, and again each day; 0 for no limit (`alerts.author_mb`)

    def __post_init__(self) -> None:
        self._written = RateLimits(self.clock)
        self._unsayable: SingleFlightCache[list[Fault]] = SingleFlightCache(KEPT)

    async def submit(
        self, alert: Alert, who: Credential, org_policy: OrganisationPolicy | None = None, *,
        alert_id: str | None = None, dry_run: bool = False, draft: bool = False, known: str = "",
    ) -> Taken:  # fmt: skip
        """Checks the alert, estimates its reach, and stores it unless this is a dry run. Raises Problem.

        Returns the earlier alert, and stores nothing, if `known` or an alert with the same external id has the same
        content and is still under way. Raises Problem if its content differs. Does not compare a draft.

        `org_policy` is the policy of the caller's organisation, if the caller read it for this very request. `known` is
        the id of the alert that this one repeats, if the caller found it already.
        """
        checked, box = await self._checked(alert, who, org_policy, draft=draft), None
        record = self._record(checked, who, alert_id or new_id(self.clock.now_ms()), draft=draft)
        if not draft and (first := await find_first(self.alerts, self.clock, record, dry_run=dry_run, known=known)):
            return Taken.of(first, checked.preview, is_repeat=True)
        if not dry_run:
            try:
                self._check_size(checked, who)
                # Attach the photos first, so that every photo that a stored alert names exists.
                await self.photos.attach(checked.alert, record)
            except Problem:
                # A second try must not wait for the external id of this one.
                await self.alerts.external_ids.release(record)
                raise
            box = await self.alerts.create(record, checked.preview.packed)
            # The id exists only if an earlier try of the same request was cut off after it stored the alert.
            if box is None:
                record = await self.alerts.get(record.id) or record
        taken = Taken.of(record, checked.preview, box)
        return taken if record.external_id else replace(taken, similar=await similar(self.alerts, record))

    async def look_over(
        self, alert: Alert, who: Credential, alert_id: str, telling: Telling, *, upon: AlertRecord
    ) -> Taken:
        """Checks an alert as `submit` does, and that its messages can be made for the occasion `telling`. Returns it
        with its reach, but stores nothing. `upon` is the alert that it would replace. Raises Problem.
        """
        checked = await self._checked(alert, who, telling=telling, upon=upon)
        return Taken.of(self._record(checked, who, alert_id, draft=False), checked.preview)

    async def amend(
        self, record: AlertRecord, patch: dict[str, Any], who: Credential, *, rev: int | None = None
    ) -> Taken:
        """Changes members of a draft or a returned alert by a JSON merge patch (RFC 7396), and returns it with its
        reach. The alert must still be as `record` says, and of revision `rev`.

        Only its author may change it: a person who changes an alert has written it, and could otherwise approve it as
        well. The case must stay the same, because legal holds, stand-downs and purges find the alerts of a case by it.
        Raises Problem.
        """
        check_revision(record, rev)
        check_key(record, who)
        if not who.wrote(record.author.subject, record.author.key):
            raise Problem("not-allowed", "Only its author may change an alert.")
        if record.update:
            raise Problem(
                "precondition-failed", "An update cannot be changed. Submit a new update in place of the returned one."
            )
        if record.state not in AMENDABLE:
            raise Problem("precondition-failed", f"An alert that is {record.state} cannot be changed.")
        checked = await self._checked(_read(merged(json.loads(record.document), patch)), who, draft=True)
        fresh = self._record(checked, who, record.id, draft=True)
        hands = hands_text(who.hands | hands_of(record.author.subject, record.author.hands))
        new = replace(
            fresh,
            state=record.state,
            rev=record.rev,
            author=replace(fresh.author, hands=hands),
            last_step=LastStep(reason=record.last_step.reason),
            times=replace(fresh.times, created=record.times.created),
        )
        if new.case != record.case:
            fault = Fault("/case/number", "An alert stays with its case. Reject this alert and draft another one.")
            raise Problem("invalid-request", "An alert's case cannot be changed.", faults=(fault,))
        self._check_size(checked, who)
        await self.photos.attach(checked.alert, new)
        done, old = await self.alerts.amend(new, checked.preview.packed)
        if not done:
            raise Problem(
                "version-changed" if old == "changed" else "precondition-failed",
                "The alert was changed meanwhile.",
            )
        return Taken.of(replace(new, rev=record.rev + 1), checked.preview)

    def _check_size(self, checked: _Checked, who: Credential) -> None:
        """Counts the bytes of each version that an author writes. Raises Problem, and counts nothing, above `author_mb`
        a day (0: no limit) in this process: alerts stay in the store's memory, and a full store refuses every alert.
        """
        if not (most := self.author_mb << 20):
            return
        size = len(checked.document) + len(checked.preview.packed)
        author = f"{who.own_org}/{folded_subject(who.subject)}"
        if wait_s := self._written.wait_s(author, size, per_s=most / DAY_S, most=most):
            detail = (
                f"The alerts and drafts of one person may take {self.author_mb} MB, and the same amount again each day."
            )
            raise Problem("rate-limited", detail, headers={"Retry-After": str(math.ceil(wait_s))})

    async def _checked(
        self, alert: Alert, who: Credential, org_policy: OrganisationPolicy | None = None, *,
        telling: Telling = THE_ALERT, draft: bool = False, upon: AlertRecord | None = None,
    ) -> _Checked:  # fmt: skip
        """Makes all checks of a submission but those for a repeat and for the author's limit. Returns the alert as it
        will be stored, its document, its reach and the revision of its organisation's texts. Raises Problem.
        """
        org_policy = org_policy or await self.organisations.get_policy(who.org)
        alert = self._completed(alert, org_policy.known.organisation)
        self.check(alert, who, org_policy.known.organisation, draft=draft, upon=upon)
        # An update has the same start as its alert, and that time may have passed.
        starts = rules.start_faults(alert, time_of(self.clock.now_ms())) if telling is THE_ALERT else []
        if starts:
            raise Problem("invalid-request", "The alert cannot start at this time.", faults=tuple(starts))
        self.reach_previews.targeting.check_own(alert.target, who.org)
        alert = await self.photos.add_descriptions(alert, who)
        preview = await self.reach_previews.cached_preview(alert)
        check_contacts(alert, preview.countries)
        texts = org_policy.texts
        await self.organisations.check(who, told=self.renderer.languages(alert), known=org_policy.known)
        if draft:
            preview = await self.jurisdiction_split.counted(alert, preview, who, org_policy.known)
        else:
            preview = await self.jurisdiction_split.divided(alert, preview, who, org_policy.known, upon)
        own = await self.texts.of(who.org, texts)

        def unsayable() -> Awaitable[list[Fault]]:
            """Returns a fault for each message that cannot be made."""
            return asyncio.to_thread(  # 12 languages on 3 channels take 40 ms; in a thread, the store answers meanwhile
                impossible, alert, self.carriers, self.renderer, own, now_ms=self.clock.now_ms(),
                countries=preview.countries, telling=telling,
            )  # fmt: skip

        document = alert.model_dump_json().encode()
        # A dry run and the submission after it often have the same document.
        says = digest(_unnamed(document, alert.external_id))
        if faults := await self._unsayable.once(
            None, (says, who.org, texts, telling.code, *preview.countries), unsayable
        ):
            raise Problem("message-impossible", "A channel's message cannot be made.", faults=tuple(faults))
        self.reach_previews.check_size(alert, preview)
        return _Checked(alert, document, preview, texts)

    async def preview(self, alert: Alert, who: Credential) -> AreaReach:
        """Returns the area of an alert's target and the estimated number of people in it. Where neighbours must permit
        a part, it counts only the area that is notified at once. If the target cannot be split, it counts only the
        caller's jurisdictions.
        """
        preview = await self.reach_previews.cached_preview(alert)
        with suppress(Problem):
            return await self.jurisdiction_split.divided(alert, preview, who)
        return await self.jurisdiction_split.counted(alert, preview, who)

    async def check_unsigned(self, alert: Alert, who: Credential) -> Alert:
        """Checks an alert for a preview like `check`, for any author. Returns it as it would be stored. Raises Problem."""
        known = await self.organisations.get(who.org)
        alert = self._completed(alert, known.organisation)
        self.check(alert.model_copy(update={"author": Author()}), who, known.organisation)
        return alert

    async def completed(self, alert: Alert, who: Credential) -> Alert:
        """Returns the alert as it would be stored, without checking it."""
        return self._completed(alert, (await self.organisations.get(who.org)).organisation)

    def _completed(self, alert: Alert, own: Organisation) -> Alert:
        """Returns the alert with the contacts that its organisation adds. An alert that names no channels gets every
        channel that has a carrier, so that a forgotten member leaves no recipient out.
        """
        if "channels" not in alert.model_fields_set:
            carried = tuple(one for one in Channel if one in self.carriers.channels)
            alert = alert.model_copy(update={"channels": carried or alert.channels})
        return completed(alert, own)

    def check(
        self, alert: Alert, who: Credential, own: Organisation, *, draft: bool = False, upon: AlertRecord | None = None
    ) -> None:
        """Makes all checks that need no search for people. `own` is the caller's organisation. A draft may lack its
        verification. `upon` is the alert that an update replaces: if both have the same target, the ring delays still
        count from the alert. Raises Problem for the first check that fails, with all its faults.
        """
        author = alert.author.subject
        if not (author is None or who.is_delegate or who.is_person(author)):
            faults = (Fault("/author/subject", "This key belongs to another person."),)
            raise Problem("not-allowed", "The author must be the person the key belongs to.", faults=faults)
        if who.test and alert.status is Status.ACTUAL:
            faults = (Fault("/status", "Use Test or Exercise with a test key."),)
            raise Problem("not-allowed", "A test key cannot send an Actual alert.", faults=faults)
        now = time_of(self.clock.now_ms())
        rings_from = upon.counts_on(alert) if upon else None
        checks: tuple[tuple[str, str, Callable[[], Sequence[Fault]]], ...] = (
            ("expired", "The alert cannot end at this time.", lambda: rules.expiry_faults(alert, now)),
            ("invalid-request", "A time is in the future.", lambda: rules.future_faults(alert, now)),
            ("invalid-request", TOLD_TOO_LATE, lambda: rules.delay_faults(alert, now, rings_from)),
            (
                "invalid-request",
                "The alert uses a feature that is not available yet.",
                lambda: rules.not_honoured(alert),
            ),
            ("channel-unavailable", "A channel has no carrier.", lambda: self._without_carrier(alert)),
            ("translation-unreviewed", "A machine translation was not reviewed.", lambda: rules.unreviewed(alert)),
            (
                "invalid-request",
                "The alert says more than is allowed about a child under protection.",
                lambda: rules.protection_faults(alert),
            ),
            ("invalid-request", "A contact names a child.", lambda: rules.naming_contacts(alert)),
            ("invalid-request", "A text calls a wanted person guilty.", lambda: rules.not_neutral(alert)),
            (
                "case-not-verified",
                NOT_VERIFIED,
                lambda: [] if draft else rules.missing_verification(alert, own.verification.get(alert.level)),
            ),
            ("contact-voice-only", VOICE_ONLY, lambda: [] if draft else rules.voice_only(alert)),
        )
        for slug, detail, found_by in checks:
            if found := tuple(found_by()):
                raise Problem(slug, detail, faults=found)
        if not self.renderer.languages(alert):
            faults = (Fault("/info", "The templates have words and a safety line for none of these languages."),)
            raise Problem("language-missing", "No message can be made in any of the alert's languages.", faults=faults)

    def _without_carrier(self, alert: Alert) -> list[Fault]:
        """Returns a fault for each channel of the alert that has no carrier."""
        return [
            Fault(f"/channels/{i}", f"No carrier is configured for {channel}.")
            for i, channel in enumerate(alert.channels)
            if channel not in self.carriers.channels
        ]

    def _record(self, checked: _Checked, who: Credential, alert_id: str, *, draft: bool) -> AlertRecord:
        """Returns the record of a new alert that passed its checks, as a draft or pending."""
        alert, preview = checked.alert, checked.preview
        return AlertRecord(
            id=alert_id,
            state=AlertState.DRAFT if draft else AlertState.PENDING,
            org=who.org,
            kind=alert.kind,
            level=alert.level,
            status=alert.status,
            loudness=loudest(alert),
            external_id=alert.external_id or "",
            case=self.alerts.case_id(who.org, alert.case.number) if alert.case.number else alert_id,
            rev=1,
            expires=ms_of(alert.expires),
            texts=checked.texts,
            author=AlertAuthor(
                subject=(alert.author.subject if who.is_delegate else None) or who.subject,
                key=who.key_id,
                hands=hands_text(who.hands),
            ),
            times=Times(created=self.clock.now_ms(), starts=ms_of(alert.starts) if alert.starts else 0),
            target=TargetFacts(
                seen=preview.people,
                regions=preview.regions,
                countries=" ".join(preview.countries),
                outline=preview.outline,
            ),
            neighbours=Neighbours(permissions=written(preview.permissions), areas=preview.areas),
            chain=ChainState(public_id=new_public_id()),
            document=checked.document,
        )


def _unnamed(document: bytes, external_id: str | None) -> bytes:
    """Returns a document without its external id, which no message contains. JSON escapes quotes within a text, so
    nothing else matches.
    """
    if external_id is None:
        return document
    return document.replace(b'"external_id":%b,' % to_json(external_id), b"", 1)


def _read(document: dict[str, Any]) -> Alert:
    """Returns the alert of a JSON document. Raises Problem with all faults."""
    try:
        return Alert.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise Problem(
            "invalid-request",
            "The changed alert would not be valid; `errors` lists all faults.",
            faults=tuple(faults_of(error)),
        ) from None
