"""The public feed: current Actual alerts that are marked for publication. It never contains a Test.

An alert leaves the feed with the step that ends it. Its CAP document is then a Cancel that names no person.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from alertd.common.clock import Clock, ms_of
from alertd.common.errors import Problem
from alertd.model.alert import Alert, Status
from alertd.model.cap.messages import MsgType
from alertd.model.kinds import Kind, Level
from alertd.model.states import NO_LONGER_SHOWN, SHOWN, AlertState
from alertd.rendering import Renderer
from alertd.rendering.catalogue import REFERENCE
from alertd.service.messages.texts import Texts
from alertd.service.sharing.cap_out import CapOut, sender
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.open_alerts import OpenAlerts
from alertd.store.alerts.records import AlertRecord, unless_damaged

#: Matches the CAP identifier of an alert, of one of its changes, or of its end.
_IDENTIFIER = re.compile(r"(?P<alert>[0-9A-HJKMNP-TV-Z]{26})(?:\.(?:[0-9]{1,15}|[a-z_]{1,20}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An alert in the feed. Times are UNIX milliseconds."""

    id: str
    identifier: str  # of the current CAP document
    kind: Kind
    level: Level
    language: str
    headline: str
    sender: str
    began: int
    updated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """The published alerts, newest first, and the time of their last change (UNIX ms)."""

    entries: Sequence[Published]
    updated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The unencrypted fields of an alert. Times are UNIX milliseconds."""

    id: str
    state: AlertState
    status: str
    rev: int
    start: int
    expires: int


class Feeds:
    """Reads the published alerts."""

    def __init__(
        self, current: OpenAlerts, alerts: Alerts, cap_out: CapOut, renderer: Renderer, texts: Texts, clock: Clock
    ) -> None:
        self._current = current
        self._alerts = alerts
        self._cap_out = cap_out
        self._renderer = renderer
        self._texts = texts
        self._clock = clock
        self._since = clock.now_ms()  # the time of change of a feed that was always empty
        self._seen: dict[tuple[str, int, AlertState], Published | int | None] = {}

    async def feed(self) -> Feed:
        """Returns the published alerts of all organisations. Reads in full only those that changed since the last call."""
        heads = [replace(one, state=self._state(one)) for one in await self._heads() if _public(one, one.start)]
        seen = {(one.id, one.rev, one.state): one.id for one in heads}
        known = self._seen  # a concurrent call may replace it meanwhile
        self._seen = now = {
            name: known[name] if name in known else await unless_damaged(alert_id, self._look(alert_id))
            for name, alert_id in seen.items()
        }
        entries = [one for one in now.values() if isinstance(one, Published)]
        changes = [one if isinstance(one, int) else one.updated for one in now.values() if one is not None]
        return Feed(
            entries=sorted(entries, key=lambda one: (one.updated, one.id), reverse=True),
            updated=max(changes, default=self._since),
        )

    async def cap(self, identifier: str) -> tuple[str, bytes]:
        """Returns the identifier and the current CAP document of an alert.

        The identifier differs from the requested one if the alert has changed or ended since. Raises Problem if the
        alert is not published.
        """
        named = _IDENTIFIER.fullmatch(identifier)
        record = await self._alerts.get(named["alert"]) if named else None
        alert = _published(record) if record else None
        if record is None or alert is None:
            raise Problem("not-found", "No published alert has this identifier.")
        record = self._now(record)
        document = await self._cap_out.document(record, outline=alert.publish.area)
        return (await self._cap_out.head(record)).identifier, document

    async def _heads(self) -> list[_Head]:
        """Returns the unencrypted fields of all open alerts."""
        current = await self._current.alerts()
        facts = await self._alerts.fields(current, "state", "status", "rev", "start", "expires")
        return [_head(one, *found) for one, found in zip(current, facts, strict=True) if found[0]]

    def _state(self, record: AlertRecord | _Head) -> AlertState:
        """Returns the state of an alert: EXPIRED after its expiry, even if no worker has recorded that yet."""
        is_over = record.state in SHOWN and record.expires <= self._clock.now_ms()
        return AlertState.EXPIRED if is_over else record.state

    def _now(self, record: AlertRecord) -> AlertRecord:
        """Returns the alert with its state at this moment."""
        if (state := self._state(record)) is record.state:
            return record
        return replace(record, state=state, last_step=replace(record.last_step, since=record.expires))

    async def _look(self, alert_id: str) -> Published | int | None:
        """Returns the feed's entry for an alert. Returns the time when an ended alert left the feed (UNIX ms). Returns
        None if the alert never was in the feed.
        """
        record = await self._alerts.get(alert_id)
        alert = _published(record) if record else None
        if record is None or alert is None:
            return None
        record = self._now(record)
        head = await self._cap_out.head(record)
        if head.msg_type is MsgType.CANCEL:
            return record.last_step.since
        language = next(iter(self._renderer.languages(alert)), REFERENCE)
        own = await self._texts.of(record.org, record.texts)
        return Published(
            id=record.id,
            identifier=head.identifier,
            kind=alert.kind,
            level=alert.level,
            language=language,
            headline=self._cap_out.headline(record, alert, language, own),
            sender=sender(record, alert) or "",
            began=record.times.start,
            updated=ms_of(head.sent),
        )


def _head(alert_id: str, *facts: bytes | None) -> _Head:
    """Returns the unencrypted fields of an alert, from their stored bytes in the order of `Feeds._heads`."""
    state, status, *numbers = [(fact or b"").decode() for fact in facts]
    rev, start, expires = [int(number or 0) for number in numbers]
    return _Head(id=alert_id, state=AlertState(state), status=status, rev=rev, start=start, expires=expires)


def _public(head: AlertRecord | _Head, start: int) -> bool:
    """Returns whether an alert may be in the feed: it has started, is Actual, and is or was shown. Does not check
    whether its author publishes it.
    """
    return bool(start) and head.status == Status.ACTUAL and head.state in SHOWN | NO_LONGER_SHOWN


def _published(record: AlertRecord) -> Alert | None:
    """Returns the content of an alert that is or was in the feed, else None."""
    if not record.document or not _public(record, record.times.start):
        return None
    alert = record.alert
    return alert if alert.publish.feed and alert.scope == "Public" else None
