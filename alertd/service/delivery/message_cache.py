"""Makes each message once for all recipients of the same text: per version, channel, language and format."""

from __future__ import annotations

from dataclasses import dataclass

from alertd.common.clock import Clock, time_of
from alertd.model.alert import Alert
from alertd.model.alert import loudness as loudness_of
from alertd.model.kinds import ON_SCREEN, Notify
from alertd.rendering import THE_ALERT, Renderer
from alertd.rendering.own_texts import OwnTexts
from alertd.service.alerts.later_audience import hides, telling_of
from alertd.service.cache import SingleFlightCache
from alertd.service.carriers.carriers import Carrier
from alertd.service.messages.message_builder import log_render_failure, rendered
from alertd.service.messages.texts import Texts
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work_records import BatchKey
from channels.base import Loudness, Prepared

#: Maximum age in s of an alert's revision that the cache goes by. With `SEND_WITHIN_S` of the sender (half a second),
#: removed text is sent for less than a second after its removal.
POLL_S = 0.25
READ = 64  # alerts in memory: an alert is sent in several languages and to several rings at once
KEPT = 256  # prepared messages in memory: 20 alerts in 12 languages on one channel


def _loud(record: AlertRecord, alike: BatchKey) -> Loudness | None:
    """Returns the loudness of a version for a batch, or None if the alert's own loudness applies.

    A follow-up has its own loudness. An update is as loud as the alert, but silent for earlier recipients if `notify`
    says so. A muted batch is silent.
    """
    if alike.muted:
        return Loudness.SILENT
    if not record.update:
        return Loudness(record.loudness) if record.follow_up else None
    return Loudness.SILENT if alike.again and record.update.notify is Notify.SILENT else None


def alert_of(record: AlertRecord) -> Alert:
    """Returns the alert as the version states it. A follow-up has an expiry of its own, written in the time zone of the
    sender's expiry.
    """
    alert = record.alert
    if not record.follow_up:
        return alert
    return alert.model_copy(update={"expires": time_of(record.expires).astimezone(alert.expires.tzinfo)})


@dataclass(frozen=True, slots=True)
class Ready:
    """A message in its carrier's form, with the rules for sending it."""

    prepared: Prepared
    rev: int  # revision of the alert that the text comes from
    kind: str | None  # kind that recipients must want; None: the message only removes content, silently
    expires_ms: int
    loud: bool  # it goes before all messages that are not loud
    hushed: bool = False  # it waits for the end of quiet hours
    late_ms: int = 0  # extra wait after the quiet hours, for recipients who may acknowledge the alert
    org: str = ""  # organisation that pays
    follows: bool = False  # a follow-up for exactly the earlier recipients, at any cost; an update also goes to others


class MessageCache:
    """Renders and prepares messages, and keeps them as long as the alert's revision stays the same. While an alert is
    sent, its text can be restricted and its expiry changed.
    """

    def __init__(self, alerts: Alerts, renderer: Renderer, texts: Texts, clock: Clock) -> None:
        self._alerts = alerts
        self._renderer = renderer
        self._texts = texts
        self._clock = clock
        self._kept: SingleFlightCache[Ready | None] = SingleFlightCache(KEPT)
        self._read: SingleFlightCache[tuple[AlertRecord, Alert, OwnTexts] | None] = SingleFlightCache(READ)
        self._revs: dict[str, tuple[int, float]] = {}  # by alert: its revision, and when it was read (monotonic s)

    async def ready(self, alert_id: str, alike: BatchKey, carrier: Carrier) -> Ready | None:
        """Returns the message of a batch in the carrier's form. Returns None if the alert's document is gone (purged)
        or the message cannot be made for this carrier. The latter is logged once.
        """
        rev = await self._rev(alert_id)
        name = (alert_id, rev, alike, carrier.name)
        return await self._kept.once(None, name, lambda: self._make(alert_id, rev, alike, carrier))

    async def _rev(self, alert_id: str) -> int:
        """Returns the revision of an alert, at most `POLL_S` old."""
        rev, read_s = self._revs.get(alert_id, (0, -POLL_S))
        now = self._clock.monotonic()
        if now - read_s < POLL_S:
            return rev
        rev = await self._alerts.rev(alert_id)
        self._revs = {one: seen for one, seen in self._revs.items() if now - seen[1] < POLL_S} | {alert_id: (rev, now)}
        return rev

    async def _read_version(self, alert_id: str) -> tuple[AlertRecord, Alert, OwnTexts] | None:
        """Returns the record, its alert as stated by the version, and the texts of its organisation; None if the
        document is gone. Raises every error of reading them.
        """
        record = await self._alerts.get(alert_id)
        if record is None or not record.document:
            return None
        return record, alert_of(record), await self._texts.of(record.org, record.texts)

    async def _make(self, alert_id: str, rev: int, alike: BatchKey, carrier: Carrier) -> Ready | None:
        """Makes the message and returns it, or None as `ready` does. Raises the error that prevents this process from
        reading the alert. Its content is then not known, and another process may be able to read it.
        """
        read = await self._read.once(None, (alert_id, rev), lambda: self._read_version(alert_id))
        if read is None:
            return None
        record, alert, own = read
        loudness = _loud(record, alike) or loudness_of(alert, alike.ring)
        # People who were not notified before an update get the alert itself.
        telling = THE_ALERT if record.update and not alike.again else telling_of(record)
        try:
            message = rendered(
                alert, alert_id, alike, self._renderer, sent_ms=record.times.start, own=own, countries=record.target.countries.split(),
                telling=telling, loud=loudness, public_id=record.chain.public_id,
            )  # fmt: skip
            prepared = carrier.channel.prepare(message)
        except Exception as error:  # noqa: BLE001  any fault concerns this message alone
            log_render_failure(alert_id, alike, error)
            return None
        loud = loudness is Loudness.LOUD
        # A child's name leaves the screens even during quiet hours.
        takes_back = hides(record) and alike.channel in ON_SCREEN
        kind = None if takes_back and loudness is Loudness.SILENT else record.kind
        return Ready(
            prepared, rev, kind, record.expires, loud,
            hushed=not loud and not takes_back, late_ms=1_000 * alert.policy.after_s * alike.unheard, org=record.org,
            follows=bool(record.follow_up) and not record.update,
        )  # fmt: skip
