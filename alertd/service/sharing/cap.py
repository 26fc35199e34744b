"""Takes CAP documents in.

A CAP Alert is submitted like any other alert. An Update replaces the one alert that it names, after another person has
approved it. A Cancel ends exactly the alerts that it names. A repeated or an older document notifies no one again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509
from pydantic import ValidationError

from alertd.common.clock import DAY_MS, Clock, ms_of, time_of
from alertd.common.errors import ConfigError, Fault, Problem
from alertd.common.ids import chain_of
from alertd.config.sections import CapSection
from alertd.model.alert import Alert
from alertd.model.cap.messages import CapError, Message, MsgType, Reference
from alertd.model.cap.reader import parse_message
from alertd.model.cap.signatures import Issuer, Signer, check_signature
from alertd.model.cap.values import reference_text
from alertd.model.faults import faults_of
from alertd.model.kinds import Notify
from alertd.model.rules import MAX_LIFE
from alertd.model.states import ALERT_STEPS, AlertState
from alertd.rendering.plaintext import clip
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval, submit, submitted
from alertd.service.alerts.intake import Intake, Taken
from alertd.service.alerts.progress import LOOK, LOOKS, ProgressReports, Wanted
from alertd.service.alerts.updates import UpdateProposals
from alertd.service.areas.regions import Regions
from alertd.service.sharing.cap_areas import Draft, refused
from alertd.service.sharing.cap_drafts import MOST_REASON, draft_of, external_id, retold, sent_of
from alertd.store.alerts.external_ids import UNDER_WAY
from alertd.store.alerts.records import AlertRecord

_CANCELLED = {AlertState.CANCELLED, AlertState.REJECTED}
#: Maximum ms by which a sender's clock may be ahead of alertd's: an alert ends after it was sent, and at most
#: `MAX_LIFE` after it was made. One day is added as a reserve.
_MOST_AHEAD_MS = MAX_LIFE // timedelta(milliseconds=1) + DAY_MS


class Ends(Protocol):
    """Cancels alerts."""

    async def cancel(self, alert_id: str, who: Credential, reason: str) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CapIntake:
    """Submits, updates and cancels alerts by CAP documents."""

    intake: Intake
    approval: Approval
    ends: Ends
    update_proposals: UpdateProposals
    reports: ProgressReports
    regions: Regions
    issuers: Sequence[Issuer]  # if there are any, one of them must have signed each document
    clock: Clock

    async def take(
        self, raw: bytes, who: Credential, *, alert_id: str | None = None, again: bool = False, dry_run: bool = False
    ) -> tuple[Taken, Alert]:
        """Takes a document in. Returns the alert or update that it made or, for a Cancel, an alert that it ended; and
        the alert's content. `again`: the request is a repeated one, which was done before, under `alert_id`.

        Raises Problem; its faults point into the CAP document and name its lines.
        """
        try:
            message = await asyncio.to_thread(self._read, raw)  # the largest document takes half a second
        except CapError as error:
            raise Problem("invalid-request", "The CAP document has faults.", faults=error.faults) from None
        if message.msg_type is MsgType.CANCEL:
            return await self._cancel(message, who, again=again, dry_run=dry_run)
        if message.msg_type is MsgType.UPDATE:
            return await self._update(message, who, again=again, dry_run=dry_run)
        return await self._submit(message, who, alert_id=alert_id, again=again, dry_run=dry_run)

    def _read(self, raw: bytes) -> Message:
        message = parse_message(raw)
        if self.issuers:
            check_signature(raw, message, self.issuers, self._now())
        return message

    def _now(self) -> datetime:
        return time_of(self.clock.now_ms())

    async def _submit(
        self, message: Message, who: Credential, *, alert_id: str | None, again: bool, dry_run: bool
    ) -> tuple[Taken, Alert]:
        draft, alert = await asyncio.to_thread(self._alert, message, again=again and not dry_run)
        try:
            if again and not dry_run:
                return await submitted(self.intake, self.approval, alert_id or "", alert, who), alert
            came = await self._listed(who, [message.reference])
            _check_not_ended(message, came, but=alert_id)  # this request's first try may have been cut off
            others = (one.id for one in _same(message, came) if one.state in UNDER_WAY and one.id != alert_id)
            return await submit(
                self.intake, self.approval, alert, who, alert_id=alert_id, dry_run=dry_run, known=next(others, "")
            ), alert
        except Problem as problem:
            raise retold(problem, draft, message) from None

    async def _update(self, message: Message, who: Credential, *, again: bool, dry_run: bool) -> tuple[Taken, Alert]:
        """Submits an update of the one alert that the message names. Returns the update and its content. The update
        notifies every recipient, on the alert's channels, because CAP has no silent update.
        """
        draft, alert = await asyncio.to_thread(self._alert, message, again=again and not dry_run)
        records, unknown = await self._named(message, who)
        chains = {chain_of(record.id) for record in records}
        if len(chains) != 1:
            fault = Fault("/references", "These references name several alerts. An Update names one.")
            raise _not_plain(message, [fault])
        old = await self.approval.get(chains.pop(), who)

        def check(versions: Sequence[AlertRecord]) -> None:
            _check_not_ended(message, versions)
            _check_later(message, versions)

        before = old.alert if old.document else alert
        starts = alert.starts or before.starts  # without a start of its own it keeps the alert's
        alert = alert.model_copy(update={"external_id": None, "channels": before.channels, "starts": starts})
        name = external_id(message.reference)
        try:
            taken = await self.update_proposals.submit(
                old.id, alert, Notify.FULL, who, external_id=name, again=again, dry_run=dry_run, check=check
            )
        except Problem as problem:
            raise retold(problem, draft, message) from None
        return replace(taken, unknown_references=unknown), alert

    def _alert(self, message: Message, *, again: bool) -> tuple[Draft, Alert]:
        """Returns the draft of a message (with the origin of each part), and the alert that it makes. Raises Problem."""
        draft = draft_of(message, self.regions.library, self._now(), again=again)
        try:
            return draft, Alert.model_validate_json(json.dumps(draft.document))
        except ValidationError as error:
            problem = Problem("invalid-request", "The CAP document is no alert.", faults=tuple(faults_of(error)))
            raise retold(problem, draft, message) from None

    async def _cancel(self, message: Message, who: Credential, *, again: bool, dry_run: bool) -> tuple[Taken, Alert]:
        """Ends every alert that the message names and that has not ended. Returns the first of them and its content.
        Raises Problem and ends none if it names no alert here, or one of another status or sender. `again`: the first
        request ended them; this one ends none, because newer alerts may have come under the same names.
        """
        records, unknown = await self._named(message, who, ended=again)
        if not (dry_run or again):
            reason = (
                message.note or next((info.headline for info in message.infos if info.headline), None) or "CAP Cancel"
            )
            for record in records:
                if record.state not in _CANCELLED:
                    await self.ends.cancel(record.id, who, clip(reason, MOST_REASON))
        record = await self.approval.get(records[0].id, who)
        alert = record.alert
        taken = await submitted(self.intake, self.approval, record.id, alert, who)
        return replace(taken, unknown_references=unknown), alert

    async def _named(
        self, message: Message, who: Credential, *, ended: bool = False
    ) -> tuple[Sequence[AlertRecord], Sequence[str]]:
        """Returns the alerts that a Cancel or an Update names and that can be ended; if there are none, those that were
        cancelled or rejected. With `ended` the order is the opposite. Also returns the references that name no alert
        here. Raises Problem if all are unknown, or all alerts are over.
        """
        meant, unknown = _meant(message, await self._listed(who, message.references))
        if message.msg_type is MsgType.UPDATE:  # an Update is of the alert, even if it names a later message of it
            meant = list(dict.fromkeys(map(chain_of, meant)))
        found = [await self.approval.get(alert_id, who) for alert_id in meant]
        if chosen := _chosen(found, ended=ended):
            return chosen, unknown
        raise _not_plain(message, [Fault("/references", "The named alerts have ended, so none could be cancelled.")])

    async def _listed(self, who: Credential, references: Sequence[Reference]) -> Sequence[AlertRecord]:
        """Returns the alerts and updates that these messages made, newest first, without their documents. Searches the
        organisation's newest 5,000, back to the time when the first message was sent, even if the sender's clock was
        ahead.
        """
        since_ms = min(ms_of(one.sent) for one in references) - _MOST_AHEAD_MS
        wanted = Wanted(external_ids=frozenset(map(external_id, references)), since_ms=since_ms)
        records, _ = await self.reports.list(who.org, wanted, before=None, limit=LOOK * LOOKS)
        return records


def _same(message: Message, records: Sequence[AlertRecord]) -> list[AlertRecord]:
    """Returns the records that this same message made (CAP 1.2, section 3.2.1: `identifier`, `sender` and `sent` are
    unique together).
    """
    name = external_id(message.reference)
    return [record for record in records if (record.external_id, record.status) == (name, message.status)]


def _check_not_ended(message: Message, records: Sequence[AlertRecord], *, but: str | None = None) -> None:
    """Raises Problem if this message has already made a record, other than `but`, that was approved and has ended. A
    message whose record was rejected or not approved in time may come again.
    """
    for record in _same(message, records):
        if record.approval.by and record.state not in UNDER_WAY and record.id != but:
            raise Problem(
                "duplicate-case",
                f"This message came before, and its alert is {record.state}; `alert` is its id. Give a new message a new identifier.",
                alert=record.id,
            )


def _check_later(message: Message, versions: Sequence[AlertRecord]) -> None:
    """Raises Problem if an Update is older than an approved version, by the times at which the messages were sent. Two
    messages of one second have no order (CAP 1.2, section 3.3.2). An external id that was too long to keep its time has
    none either.
    """
    for record in versions:
        sent = sent_of(record.external_id)
        if sent and record.times.start and message.sent < sent:
            fault = Fault("/sent", "The current version was sent after this Update.")
            raise refused("superseded", "This Update is older than the current version.", [fault], message)


def _meant(message: Message, records: Sequence[AlertRecord]) -> tuple[list[str], list[str]]:
    """Returns the ids of the alerts that a message's references mean, and the references that name no alert here.

    Senders name every earlier message of an alert (CAP 1.2, section 3.2.1, `references`), so each reference means the
    alert in its current state. alertd may have refused one of those messages, or never seen it: the others still say
    which alert is meant. An update that was never approved is the exception: a reference to it means the update, even
    after its end. If its alert is named too, only the alert is returned, because the update ends with it. Raises
    Problem if every reference is unknown, and for another status or sender.
    """
    known: dict[str, list[AlertRecord]] = {}
    for record in records:
        known.setdefault(record.external_id, []).append(record)
    faults, unknown = list[Fault](), list[tuple[int, Reference]]()
    meant: dict[str, None] = {}
    for count, reference in enumerate(message.references, 1):
        named = known.get(external_id(reference), [])
        same = [record for record in named if record.status == message.status]
        if not named:
            unknown.append((count, reference))
        elif not same:
            faults.append(Fault("/status", f"Reference {count} names an alert of another status."))
        elif reference.sender != message.sender:
            faults.append(Fault("/sender", f"Reference {count} names an alert of another sender."))
        meant |= {chain_of(record.id) if record.times.start else record.id: None for record in same}
    if faults or not meant:
        nowhere = [Fault("/references", f"Reference {count} names no alert here.") for count, _ in unknown]
        raise _not_plain(message, [*nowhere, *faults])
    chosen = [one for one in meant if one == chain_of(one) or chain_of(one) not in meant]
    return chosen, [reference_text(reference) for _, reference in unknown]


def _chosen(records: Sequence[AlertRecord], *, ended: bool) -> list[AlertRecord]:
    """Returns the alerts that can be ended; if there are none, those that were cancelled or rejected. With `ended` the
    order is the opposite.
    """
    going = [record for record in records if ALERT_STEPS[record.state] & _CANCELLED]
    over = [record for record in records if record.state in _CANCELLED]
    return (over or going) if ended else (going or over)


def _not_plain(message: Message, faults: Sequence[Fault]) -> Problem:
    return refused(
        "not-found",
        f"The references of this {message.msg_type} are not clear; alertd changed nothing.",
        faults,
        message,
    )


def issuers_of(settings: CapSection) -> tuple[Issuer, ...]:
    """Returns the issuers in the settings; empty if alertd does not check signatures. Raises ConfigError if a
    certificate is not in PEM.
    """
    try:
        return tuple(
            Issuer(
                certificate=x509.load_pem_x509_certificate(one.certificate.get_secret_value().encode()),
                senders=one.senders,
            )
            for one in settings.issuers or ()
        )
    except ValueError:
        raise ConfigError("cap.issuers: a certificate is a file in PEM (-----BEGIN CERTIFICATE-----)") from None


def signer_of(settings: CapSection) -> Signer | None:
    """Returns the signer of outgoing documents, or None. Raises ConfigError for an unreadable key or certificate, or
    for one without the other.
    """
    if settings.key is None and settings.certificate is None:
        return None
    if settings.key is None or settings.certificate is None:
        raise ConfigError("cap.key and cap.certificate: give both, or none")
    try:
        return Signer(settings.key.get_secret_value().encode(), settings.certificate.get_secret_value().encode())
    except ValueError as error:
        own = str(error) if "CAP" in str(error) else "each is a file in PEM, and the key has no password"
        raise ConfigError(f"cap.key and cap.certificate: {own}") from None
