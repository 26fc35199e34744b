"""An alert whose sending takes long enough to interrupt it."""

from __future__ import annotations

from tests.acceptance.conftest import CHANNELS, Served

SLOW_S = 0.2  # so that an alert lasts long enough to be interrupted


def slowed(served: Served, delay_s: float = SLOW_S) -> None:
    for channel in CHANNELS:
        served.control(channel, {"rules": [{"prefix": "", "do": "slow", "delay_s": delay_s}]})


def settled(served: Served, alert_id: str) -> int:
    """How many a worker has settled: without text messages, which their carrier reports as well, when whoever sent them is dead."""
    channels = served.progress(alert_id)["channels"]
    return sum(counts["accepted"] + counts["delivered"] for name, counts in channels.items() if name != "sms")


def begun(served: Served, alert_id: str) -> bool:
    return settled(served, alert_id) > 0
