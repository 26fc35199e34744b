"""Messages, made once for all who get the same: per version, channel, language and format."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import structlog

from alertd.documents import Alert
from alertd.ids import chain_of
from alertd.rendering import Renderer
from alertd.service.carriers import Carrier
from alertd.store.alerts import Alerts
from alertd.store.work import Alike
from channels.base import Loudness, Prepared, Stamp

KEPT = 256  # prepared messages in memory: 20 alerts in 12 languages on one channel


@dataclass(frozen=True, slots=True)
class Ready:
    """A message as its carrier takes it."""

    prepared: Prepared
    kind: str
    expires_ms: int


class Messages:
    """Renders and prepares, and remembers. A version's text never changes, so nothing here goes stale."""

    def __init__(self, alerts: Alerts, renderer: Renderer) -> None:
        self._alerts = alerts
        self._renderer = renderer
        self._kept: OrderedDict[tuple[str, Alike, str], Ready | None] = OrderedDict()

    async def ready(self, alert_id: str, alike: Alike, carrier: Carrier) -> Ready | None:
        """The message, or None when its document is gone (purged) or cannot be told this way, which is told once."""
        name = (alert_id, alike, carrier.name)
        if name not in self._kept:
            self._kept[name] = await self._make(alert_id, alike, carrier)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return self._kept[name]

    async def _make(self, alert_id: str, alike: Alike, carrier: Carrier) -> Ready | None:
        record = await self._alerts.get(alert_id)
        if record is None or not record.document:
            return None
        stamp = Stamp(
            chain=chain_of(alert_id),
            version=alert_id,
            sent_s=record.start // 1000,
            expires_s=record.expires // 1000,
            loudness=Loudness(record.loudness),
            language=alike.language,
        )
        try:
            alert = Alert.model_validate_json(record.document)
            message = self._renderer.render(alert, channel=alike.channel, language=alike.language, stamp=stamp)
            prepared = carrier.channel.prepare(message)
        except Exception as error:  # noqa: BLE001  whatever is wrong, it is wrong with this message alone
            structlog.get_logger().error(
                "message cannot be made", alert=alert_id, channel=alike.channel, language=alike.language,
                error=type(error).__name__,
            )  # fmt: skip
            return None
        return Ready(prepared, record.kind, record.expires)
