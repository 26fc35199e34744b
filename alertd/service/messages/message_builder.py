"""Builds a message of an alert, and checks that every message of an alert can be built."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from alertd.common.errors import Fault
from alertd.common.ids import SOME_PUBLIC_ID, chain_of, new_id, sequence_of
from alertd.model.alert import Alert, loudness
from alertd.rendering import THE_ALERT, Renderer, Telling
from alertd.rendering.own_texts import NONE, OwnTexts
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.store.delivery.work_records import BatchKey
from channels.base import Loudness, Message, Stamp


def stamp_of(
    alert: Alert, alert_id: str, language: str, *, sent_ms: int, ring: int = 0, loud: Loudness | None = None
) -> Stamp:
    """Returns the data that go with each message of an alert in one language and ring. `loud` replaces the loudness of
    the ring. `sent_ms` is UNIX ms.
    """
    return Stamp(
        chain=chain_of(alert_id),
        version=alert_id,
        sequence=sequence_of(alert_id),
        sent_s=sent_ms // 1000,
        expires_s=int(alert.expires.timestamp()),
        loudness=loud or loudness(alert, ring),
        language=language,
    )


def rendered(  # noqa: PLR0913  each argument is a separate fact
    alert: Alert, alert_id: str, alike: BatchKey, renderer: Renderer, *, sent_ms: int, own: OwnTexts = NONE,
    countries: Sequence[str] = (), telling: Telling = THE_ALERT, loud: Loudness | None = None, public_id: str = "",
) -> Message:  # fmt: skip
    """Returns the message for one channel in one of the alert's languages. The check and the sender both use it. Raises
    every error of rendering.
    """
    stamp = stamp_of(alert, alert_id, alike.language, sent_ms=sent_ms, ring=alike.ring, loud=loud)
    return renderer.render(
        alert, channel=alike.channel, language=alike.language, stamp=stamp, telling=telling, own=own,
        countries=countries, url=renderer.link(alert, public_id),
    )  # fmt: skip


def impossible(
    alert: Alert, carriers: Carriers, renderer: Renderer, own: OwnTexts = NONE, *, now_ms: int,
    countries: Sequence[str] = (), telling: Telling = THE_ALERT,
) -> list[Fault]:  # fmt: skip
    """Returns a fault for each channel on which a message cannot be made in a language of the alert, or cannot be
    prepared for a carrier.
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
    """Returns the languages in which a channel's message cannot be rendered, or prepared for this carrier. Logs each
    error. Tests the message of a part of the target (a ring or the rest) that is alerted loudly, if any, because it is
    longer.
    """
    failing, alert_id = [], new_id(now_ms)
    ring = max(range(len(alert.target.rings) + 1), key=lambda ring: loudness(alert, ring) is Loudness.LOUD)
    for language in renderer.languages(alert):
        try:
            # A loud message has one word more.
            alike = BatchKey(channel=channel, language=language, ring=ring)
            message = rendered(
                alert, alert_id, alike, renderer, sent_ms=now_ms, own=own, countries=countries, telling=telling,
                public_id=SOME_PUBLIC_ID,
            )  # fmt: skip
            carrier.channel.prepare(message)
        except Exception as error:  # noqa: BLE001  any error here would also occur at the send
            log_render_failure(alert_id, BatchKey(channel=channel, language=language), error)
            failing.append(language)
    return failing


def log_render_failure(alert_id: str, alike: BatchKey, error: Exception) -> None:
    """Logs that a message cannot be made, without the error's text."""
    structlog.get_logger().error(
        "message.render_failed", alert=alert_id, channel=alike.channel, language=alike.language,
        error=type(error).__name__,
    )  # fmt: skip
