"""CAP comes in: an Alert is submitted as any other, a Cancel ends exactly what it names, and nothing else is done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from pydantic import ValidationError

from alertd.alerts import ALERT_STEPS, AlertState
from alertd.cap.messages import CapError, Message, MsgType
from alertd.cap.reader import read
from alertd.cap.signatures import Issuer, check_signature
from alertd.clock import Clock
from alertd.documents import Alert
from alertd.errors import Fault, Problem
from alertd.faults import faults_of
from alertd.rendering.plaintext import clip
from alertd.service.access import Credential
from alertd.service.approval import Approval
from alertd.service.cap_drafts import MOST_REASON, Draft, draft_of, external_id, refused, retold
from alertd.service.carriers import Carriers
from alertd.service.intake import Intake, Taken
from alertd.service.regions import Regions
from alertd.service.reports import Reports, Wanted
from alertd.service.submission import submit, submitted
from alertd.store.alerts import AlertRecord

#: Alerts of one organisation under one reference: some rejected ones, and the one that counts.
MOST_OF_ONE = 20
_CANCELLED = {AlertState.CANCELLED, AlertState.REJECTED}


class Ends(Protocol):
    """Whoever cancels alerts."""

    async def cancel(self, alert_id: str, who: Credential, reason: str) -> object: ...


class CapIntake:
    """Takes CAP documents in."""

    def __init__(
        self,
        intake: Intake,
        approval: Approval,
        ends: Ends,
        reports: Reports,
        regions: Regions,
        carriers: Carriers,
        issuers: Sequence[Issuer],
        clock: Clock,
    ) -> None:
        """`issuers`: whose signatures count. If there are any, each document must have one of theirs."""
        self._intake = intake
        self._approval = approval
        self._ends = ends
        self._reports = reports
        self._regions = regions
        self._carriers = carriers
        self._issuers = issuers
        self._clock = clock

    async def take(
        self, raw: bytes, who: Credential, *, alert_id: str | None = None, again: bool = False, dry_run: bool = False
    ) -> tuple[Taken, Alert]:
        """The alert that was taken in or, of a Cancel, that was ended. `again`: it was done before, under `alert_id`.

        Raises Problem; its faults point into the CAP document and name its lines.
        """
        try:
            message = await asyncio.to_thread(self._read, raw)  # the largest takes half a second
        except CapError as error:
            raise Problem("invalid-request", "The CAP document has faults.", faults=error.faults) from None
        if message.msg_type is MsgType.CANCEL:
            return await self._cancel(message, who, dry_run=dry_run)
        return await self._submit(message, who, alert_id=alert_id, again=again, dry_run=dry_run)

    def _read(self, raw: bytes) -> Message:
        message = read(raw)
        if self._issuers:
            check_signature(raw, message, self._issuers, datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC))
        return message

    async def _submit(
        self, message: Message, who: Credential, *, alert_id: str | None, again: bool, dry_run: bool
    ) -> tuple[Taken, Alert]:
        draft, alert = await asyncio.to_thread(self._alert, message)
        try:
            if again and not dry_run:
                return await submitted(self._intake, self._approval, alert_id or "", alert, who), alert
            return await submit(self._intake, self._approval, alert, who, alert_id=alert_id, dry_run=dry_run), alert
        except Problem as problem:
            raise retold(problem, draft, message) from None

    def _alert(self, message: Message) -> tuple[Draft, Alert]:
        """What a message asks for. Raises Problem."""
        draft = draft_of(message, self._regions.library, self._carriers.channels)
        try:
            return draft, Alert.model_validate_json(json.dumps(draft.document))
        except ValidationError as error:
            problem = Problem("invalid-request", "The CAP document is no alert.", faults=tuple(faults_of(error)))
            raise retold(problem, draft, message) from None

    async def _cancel(self, message: Message, who: Credential, *, dry_run: bool) -> tuple[Taken, Alert]:
        """Ends every alert that is named; unless all of them are known and one is not over yet, none."""
        records = await self._named(message, who)
        if not dry_run:
            reason = (
                message.note or next((info.headline for info in message.infos if info.headline), None) or "CAP Cancel"
            )
            for record in records:
                if record.state not in _CANCELLED:
                    await self._ends.cancel(record.id, who, clip(reason, MOST_REASON))
        record = await self._approval.get(records[0].id, who)
        alert = Alert.model_validate_json(record.document)
        return await submitted(self._intake, self._approval, record.id, alert, who), alert

    async def _named(self, message: Message, who: Credential) -> Sequence[AlertRecord]:
        """The alerts that a Cancel names. Raises Problem where it is not plain which these are."""
        faults: list[Fault] = []
        found: list[AlertRecord] = []
        for count, reference in enumerate(message.references, 1):
            wanted = Wanted(external_id=external_id(reference))
            records, _ = await self._reports.list(who.org, wanted, before=None, limit=MOST_OF_ONE)
            chosen = _chosen(records)
            if not chosen:
                faults.append(Fault("/references", f"Reference {count} names no alert here that could be cancelled."))
            elif any(record.status != message.status for record in chosen):
                faults.append(Fault("/status", f"Reference {count} names an alert of another status."))
            elif reference.sender != message.sender:
                faults.append(Fault("/sender", f"Reference {count} names an alert of another sender."))
            else:
                found += chosen
        if faults:
            raise refused(
                "not-found", "It is not plain what this Cancel means; nothing was cancelled.", faults, message
            )
        return found


def _chosen(records: Sequence[AlertRecord]) -> list[AlertRecord]:
    """Of all alerts that came as one message, newest first: those that can be ended, else the last that was."""
    going = [record for record in records if ALERT_STEPS[record.state] & _CANCELLED]
    return going or [record for record in records if record.state in _CANCELLED][:1]
