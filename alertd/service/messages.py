"""Messages, made once for all who get the same: per version, channel, language and format."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from alertd.clock import Clock
from alertd.documents import Alert, loudness
from alertd.errors import Fault
from alertd.ids import chain_of, new_id, sequence_of
from alertd.kinds import ON_SCREEN, Notify
from alertd.rendering import THE_ALERT, Renderer, Telling
from alertd.rendering.own_texts import NONE, OwnTexts
from alertd.service.carriers import Carrier, Carriers
from alertd.service.kept import Kept
from alertd.service.notices import hides, telling_of
from alertd.service.texts import Texts
from alertd.store.alerts import AlertRecord, Alerts
from alertd.store.codec import SealError
from alertd.store.connection import StoreUnavailableError
from alertd.store.work_records import Alike
from channels.base import Loudness, Message, Prepared, Stamp

#: How old what is known of an alert's revision may be: with the half second of `send_until`, nothing that was taken out of it is sent a
#: second later.
LOOK_S = 0.25
READ = 64  # alerts in memory: what is sent of one at once is in several languages and to several rings
KEPT = 256  # prepared messages in memory: 20 alerts in 12 languages on one channel


def stamp_of(
    alert: Alert, alert_id: str, language: str, *, sent_ms: int, ring: int = 0, loud: Loudness | None = None
) -> Stamp:
    """What goes with each message of an alert in one language and ring, as loud as it is there unless something else is said."""
    return Stamp(
        chain=chain_of(alert_id),
        version=alert_id,
        sequence=sequence_of(alert_id),
        sent_s=sent_ms // 1000,
        expires_s=int(alert.expires.timestamp()),
        loudness=loud or loudness(alert, ring),
        language=language,
    )


def rendered(
    alert: Alert, alert_id: str, alike: Alike, renderer: Renderer, *, sent_ms: int, own: OwnTexts = NONE,
    countries: Sequence[str] = (), telling: Telling = THE_ALERT,
) -> Message:  # fmt: skip
    """The message for one channel in one of the alert's languages. Raises whatever is wrong with it."""
    stamp = stamp_of(alert, alert_id, alike.language, sent_ms=sent_ms, ring=alike.ring)
    return renderer.render(
        alert, channel=alike.channel, language=alike.language, stamp=stamp, telling=telling, own=own,
        countries=countries,
    )  # fmt: skip


def impossible(
    alert: Alert, carriers: Carriers, renderer: Renderer, own: OwnTexts = NONE, *, now_ms: int,
    countries: Sequence[str] = (), telling: Telling = THE_ALERT,
) -> list[Fault]:  # fmt: skip
    """The channels of an alert whose message cannot be made, or cannot be taken by its carrier, in some language that a
    reader may get.
    """
    faults = []
    for i, channel in enumerate(alert.channels):
        failing = [
            _failing(alert, channel, carrier, renderer, own, now_ms, countries, telling)
            for carrier in carriers.of(channel)
        ]
        if languages := sorted({language for languages in failing for language in languages}):
            sentence = (
                f"The {channel} message cannot be made in {', '.join(languages)}: shorten names, texts and links."
            )
            faults.append(Fault(f"/channels/{i}", sentence))
    return faults


def _failing(
    alert: Alert, channel: str, carrier: Carrier, renderer: Renderer, own: OwnTexts, now_ms: int,
    countries: Sequence[str], telling: Telling,
) -> list[str]:  # fmt: skip
    failing, alert_id = [], new_id(now_ms)
    ring = max(range(len(alert.target.rings) + 1), key=lambda ring: loudness(alert, ring) is Loudness.LOUD)
    for language in renderer.languages(alert):
        try:
            # Where it is loud it has one word more than elsewhere.
            alike = Alike(channel=channel, language=language, ring=ring)
            message = rendered(
                alert, alert_id, alike, renderer, sent_ms=now_ms, own=own, countries=countries, telling=telling
            )
            carrier.channel.prepare(message)
        except Exception as error:  # noqa: BLE001  whatever is wrong, it would be wrong when it is to be sent
            _tell(alert_id, Alike(channel=channel, language=language), error)
            failing.append(language)
    return failing


def _loud(record: AlertRecord, alike: Alike) -> Loudness | None:
    """What follows an alert is as loud as it says; an update as the alert is, but whoever is told in silence. None: as the alert is."""
    if not record.notify:
        return Loudness(record.loudness) if record.occasion else None
    return Loudness.SILENT if alike.again and record.notify == Notify.SILENT else None


def _seen_as(record: AlertRecord) -> list[str]:
    """The versions under which whoever is told of this one may have it on a screen: an update that tells nobody there again was shown as
    what came before.
    """
    if record.notify not in {Notify.NONE, Notify.NEWLY}:
        return [record.id]
    chain = chain_of(record.id)
    return [chain, *(f"{chain}-{n}" for n in range(2, sequence_of(record.id) + 1))]


def _telling(record: AlertRecord, alike: Alike) -> Telling:
    """Whoever was not told before an update is told the alert."""
    return THE_ALERT if record.notify and not alike.again else telling_of(record)


def _tell(alert_id: str, alike: Alike, error: Exception) -> None:
    structlog.get_logger().error(
        "message cannot be made", alert=alert_id, channel=alike.channel, language=alike.language,
        error=type(error).__name__,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ready:
    """A message as its carrier takes it."""

    prepared: Prepared
    kind: str
    expires_ms: int
    loud: bool  # it goes before all that is not
    hushed: bool = False  # it waits for the end of quiet hours
    org: str = ""  # who pays
    seen_as: Sequence[str] = ()  # whoever acknowledged one of these versions has it on a screen


class Messages:
    """Renders and prepares, and remembers for as long as the alert is of the same revision: what it says may be restricted, and its
    end put off, while it is sent.
    """

    def __init__(self, alerts: Alerts, renderer: Renderer, texts: Texts, clock: Clock) -> None:
        self._alerts = alerts
        self._renderer = renderer
        self._texts = texts
        self._clock = clock
        self._kept: OrderedDict[tuple[str, Alike, str], tuple[int, Ready | None]] = OrderedDict()
        self._read: Kept[tuple[AlertRecord, Alert, OwnTexts] | None] = Kept(READ)
        self._looks: dict[str, tuple[int, float]] = {}  # by alert: its revision, and when that was looked at

    async def ready(self, alert_id: str, alike: Alike, carrier: Carrier) -> Ready | None:
        """The message, or None when its document is gone (purged) or cannot be told this way, which is told once."""
        name, rev = (alert_id, alike, carrier.name), await self._rev(alert_id)
        kept_rev, ready = self._kept.pop(name, (-1, None))
        if kept_rev != rev:
            ready = await self._make(alert_id, rev, alike, carrier)
        self._kept[name] = (rev, ready)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return ready

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
        alert = Alert.model_validate_json(record.document)
        if record.occasion:
            alert = alert.model_copy(update={"expires": datetime.fromtimestamp(record.expires / 1000, UTC)})
        return record, alert, await self._texts.of(record.org, record.texts)

    async def _make(self, alert_id: str, rev: int, alike: Alike, carrier: Carrier) -> Ready | None:
        try:
            read = await self._read.once(None, (alert_id, rev), lambda: self._told(alert_id))
            if read is None:
                return None
            record, alert, own = read
            stamp = stamp_of(
                alert, alert_id, alike.language, sent_ms=record.start, ring=alike.ring, loud=_loud(record, alike)
            )
            message = self._renderer.render(
                alert, channel=alike.channel, language=alike.language, stamp=stamp, telling=_telling(record, alike), own=own,
                countries=record.countries.split(),
            )  # fmt: skip
            prepared = carrier.channel.prepare(message)
        except (StoreUnavailableError, SealError):
            raise  # it is not known what it says
        except Exception as error:  # noqa: BLE001  whatever is wrong, it is wrong with this message alone
            _tell(alert_id, alike, error)
            return None
        loud = stamp.loudness is Loudness.LOUD
        takes_back = hides(record) and alike.channel in ON_SCREEN  # a child's name leaves the phones of those who sleep
        return Ready(
            prepared, record.kind, record.expires, loud,
            hushed=not loud and not takes_back, org=record.org, seen_as=_seen_as(record),
        )  # fmt: skip
