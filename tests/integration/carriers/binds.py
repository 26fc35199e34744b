"""Workers that share the binds of an SMS centre."""

from __future__ import annotations

from alertd.service.container import Container
from channels.smpp.bind import Bind


def bind_of(parts: Container) -> Bind:
    return parts.carriers.named("centre").channel._senders[0]


def answers(parts: Container) -> dict[tuple[str, str], float]:
    """What its carriers answered a process, how often, by answer and reason."""
    samples = [one for metric in parts.metrics.registry.collect() for one in metric.samples]
    found = {(one.labels["outcome"], one.labels["reason"]): one.value for one in samples
             if one.name == "alertd_outcomes_total"}  # fmt: skip
    return {what: times for what, times in found.items() if times}
