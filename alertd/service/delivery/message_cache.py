"""Messages, made once for all who get the same: per version, channel, language and format."""

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
from alertd.service.messages.message_builder import rendered, tell
from alertd.service.messages.texts import Texts
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work_records import BatchKey
from channels.base import Loudness, Prepared

#: How old what is known of an alert's revision may be: with the half second of `send_until`, nothing that was taken out of it is sent a
#: second later.
LOOK_S = 0.25
READ = 64  # alerts in memory: what is sent of one at once is in several languages and to several rings
KEPT = 256  # prepared messages in memory: 20 alerts in 12 languages on one channel


def _loud(record: AlertRecord, alike: BatchKey) -> Loudness | None:
    """What follows an alert is as loud as it says; an update as the alert is, but whoever is told in silence. None: as the alert is."""
    if alike.muted:
        return Loudness.SILENT
    if not record.update:
        return Loudness(record.loudness) if record.follow_up else None
    return Loudness.SILENT if alike.again and record.update.notify is Notify.SILENT else None


def alert_of(record: AlertRecord) -> Alert:
    """The alert as a version tells it: what follows an alert has an end of its own, on the clocks that the sender wrote the first one by."""
    alert = record.alert
    if not record.follow_up:
        return alert
    return alert.model_copy(update={"expires": time_of(record.expires).astimezone(alert.expires.tzinfo)})


@dataclass(frozen=True, slots=True)
class Ready:
    """A message as its carrier takes it."""

    prepared: Prepared
    rev: int  # of the alert, whose words these are
    kind: str | None  # that its readers must want; None: it only takes away what they have, without a sound
    expires_ms: int
    loud: bool  # it goes before all that is not
    hushed: bool = False  # it waits for the end of quiet hours
    late_ms: int = 0  # and for so long after that, where they may acknowledge the alert
    org: str = ""  # who pays
    follows: bool = (
        False  # it goes to exactly those who were told before, whatever that costs: an update goes to others, too
    )


class MessageCache:
    """Renders and prepares, and remembers for as long as the alert is of the same revision: what it says may be restricted, and its
    end put off, while it is sent.
    """

    def __init__(self, alerts: Alerts, renderer: Renderer, texts: Texts, clock: Clock) -> None:
        self._alerts = alerts
        self._renderer = renderer
        self._texts = texts
        self._clock = clock
        self._kept: SingleFlightCache[Ready | None] = SingleFlightCache(KEPT)
        self._read: SingleFlightCache[tuple[AlertRecord, Alert, OwnTexts] | None] = SingleFlightCache(READ)
        self._looks: dict[str, tuple[int, float]] = {}  # by alert: its revision, and when that was looked at

    async def ready(self, alert_id: str, alike: BatchKey, carrier: Carrier) -> Ready | None:
        """The message, or None when its document is gone (purged) or cannot be told this way, which is told once."""
        rev = await self._rev(alert_id)
        name = (alert_id, rev, alike, carrier.name)
        return await self._kept.once(None, name, lambda: self._make(alert_id, rev, alike, carrier))

    async def _rev(self, alert_id: str) -> int:
        """The revision of an alert, as it was a moment ago."""
        rev, looked = self._looks.get(alert_id, (0, -LOOK_S))
        now = self._clock.monotonic()
        if now - looked < LOOK_S:
            return rev
        rev = await self._alerts.rev(alert_id)
        self._looks = {one: look for one, look in self._looks.items() if now - look[1] < LOOK_S} | {
            alert_id: (rev, now)
        }
        return rev

    async def _told(self, alert_id: str) -> tuple[AlertRecord, Alert, OwnTexts] | None:
        """An alert as it is told, with the texts of its organisation; None when its document is gone. Raises whatever is wrong with it."""
        record = await self._alerts.get(alert_id)
        if record is None or not record.document:
            return None
        return record, alert_of(record), await self._texts.of(record.org, record.texts)

    async def _make(self, alert_id: str, rev: int, alike: BatchKey, carrier: Carrier) -> Ready | None:
        """Raises what keeps this process from reading the alert: what it says is not known, and another process may read it."""
        read = await self._read.once(None, (alert_id, rev), lambda: self._told(alert_id))
        if read is None:
            return None
        record, alert, own = read
        loudness = _loud(record, alike) or loudness_of(alert, alike.ring)
        # Whoever was not told before an update is told the alert.
        telling = THE_ALERT if record.update and not alike.again else telling_of(record)
        try:
            message = rendered(
                alert, alert_id, alike, self._renderer, sent_ms=record.times.start, own=own, countries=record.target.countries.split(),
                telling=telling, loud=loudness,
            )  # fmt: skip
            prepared = carrier.channel.prepare(message)
        except Exception as error:  # noqa: BLE001  whatever is wrong, it is wrong with this message alone
            tell(alert_id, alike, error)
            return None
        loud = loudness is Loudness.LOUD
        takes_back = hides(record) and alike.channel in ON_SCREEN  # a child's name leaves the phones of those who sleep
        kind = None if takes_back and loudness is Loudness.SILENT else record.kind
        return Ready(
            prepared, rev, kind, record.expires, loud,
            hushed=not loud and not takes_back, late_ms=1_000 * alert.policy.after_s * alike.unheard, org=record.org,
            follows=bool(record.follow_up) and not record.update,
        )  # fmt: skip
