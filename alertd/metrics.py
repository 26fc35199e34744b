"""Defines all metrics: base units, closed label sets, and series that exist with 0 from the start where the labels are
known. No metric contains an id or an address of a person.

Each process has its own `Metrics`; `alertd serve` merges those of all its processes for `/metrics`. For
`/metrics/fleet`, `fleet_text` computes the metrics of the whole fleet from the store at the scrape. Among them are the
references in each state, which add up to the planned ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from alertd.model.kinds import ON_SCREEN
from alertd.model.states import CHANNELS, AlertState, State
from channels.base import Loudness

#: Upper bounds of histogram buckets: seconds of quick steps, seconds of long ones, and numbers of people.
_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600)
_PEOPLE = (0, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7)


class Metrics:
    """The counters, gauges and histograms of one process, in a registry of their own."""

    def __init__(self) -> None:
        # A `_created` twin of every series would only repeat the start time of the process.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        carrier = "channel carrier"
        self.outcomes = self._counter("outcomes", "Answers of carriers", f"{carrier} outcome reason")
        self.receipts = self._counter("receipts", "Late reports", f"{carrier} state")
        self.duplicates = self._counter(
            "duplicates", "Messages sent although an earlier try may have arrived", "channel"
        )
        self.optouts = self._counter("optouts", "Opt-outs by channel", "channel")
        self.unplaced = self._counter("unplaced", "Answers STOP and START from numbers with no known owner", "carrier")
        self.audit_entries = self._counter("audit_entries", "Entries written into the audit", "")
        self.webhooks = self._counter("webhooks", "Webhook delivery attempts, and webhooks turned off", "outcome")
        self.pages = self._counter("pages", "Tries to page a person on call", "channel outcome")
        self.unanswered = self._counter(
            "unanswered", "Alerts that wait with no person on duty, or after every page was in vain", "reason"
        )
        self.distributions = self._counter("distributions", "Messages to distributors by outcome", "outcome")
        self.limit_rate = self._gauge(
            "limit_rate", "Messages or SMS segments a second that a carrier may get (0: no limit)", carrier
        )
        self.limit_wait_seconds = self._histogram("limit_wait_seconds", "Waiting for a carrier's permits", carrier)
        self.domain_waits = self._counter(
            "domain_waits", "Mails that waited for their domain's limit", "carrier domain"
        )
        self.send_seconds = self._histogram("send_seconds", "One chunk, from first write to last answer", carrier)
        self.first_send_seconds = self._histogram(
            "first_send_seconds", "From the start of an alert to its first hand-over", buckets=_LONG
        )
        self.last_send_seconds = self._histogram(
            "last_send_seconds", "From the start of an alert to its last hand-over", buckets=_LONG
        )
        self.delivery_seconds = self._histogram(
            "delivery_seconds", "Hand-over to the report that it arrived", "channel", buckets=_LONG
        )
        self.audience_seconds = self._histogram("audience_seconds", "Finding an audience")
        self.audience_people = self._histogram(
            "audience_people", "Audiences by the order of magnitude of their people", buckets=_PEOPLE
        )
        self.plan_seconds = self._histogram(
            "plan_seconds", "From an alert's start until its whole audience is planned", buckets=_LONG
        )
        self.http_request_seconds = self._histogram(
            "http_request_seconds", "Requests to the API", "route method status"
        )
        self._show()

    def _show(self) -> None:
        """Creates the series whose labels are known, so that a scrape shows them with 0 before anything happens."""
        for outcome in ("told", "again", "never", "off"):
            self.webhooks.labels(outcome)
        for reason in ("nobody", "in_vain"):
            self.unanswered.labels(reason)
        for outcome in ("accepted", "acknowledged", "refused", "given_up", "again"):
            self.distributions.labels(outcome)
        for channel in CHANNELS:
            for outcome in ("accepted", "retry", "never", "unknown", "withheld"):
                self.pages.labels(channel, outcome)
            self.optouts.labels(channel)
            self.duplicates.labels(channel)
            self.delivery_seconds.labels(channel)
        for channel in ON_SCREEN:
            for state in ("delivered", "seen"):
                self.receipts.labels(channel, "app", state)

    def _counter(self, name: str, says: str, labels: str) -> Counter:
        """Registers a counter `alertd_NAME_total`. `says`: its description; `labels`: names, separated by spaces."""
        return Counter(f"alertd_{name}", says, labels.split(), registry=self.registry)

    def _gauge(self, name: str, says: str, labels: str) -> Gauge:
        return Gauge(f"alertd_{name}", says, labels.split(), registry=self.registry)

    def _histogram(self, name: str, says: str, labels: str = "", *, buckets: Sequence[float] = _QUICK) -> Histogram:
        return Histogram(f"alertd_{name}", says, labels.split(), buckets=buckets, registry=self.registry)

    def show_carrier(self, channel: str, carrier: str, rate: float | None, domains: Iterable[str] = ()) -> None:
        """Creates a carrier's series, so that a scrape shows them with 0 before anything happens, and sets its rate:
        permits per second, None for no limit (shown as 0). `domains`: the mail domains with a limit of their own.
        """
        self.limit_rate.labels(channel, carrier).set(rate or 0)
        self.send_seconds.labels(channel, carrier)
        self.limit_wait_seconds.labels(channel, carrier)
        for domain in domains:
            self.domain_waits.labels(carrier, domain)
        for outcome in ("accepted", "retry", "never", "unknown", "withheld"):
            self.outcomes.labels(channel, carrier, outcome, "none")
        for state in (State.DELIVERED, State.FAILED):
            self.receipts.labels(channel, carrier, state.word)

    def text(self) -> bytes:
        """Returns this process's series in Prometheus' text format."""
        return generate_latest(self.registry)


class _Merged(Collector):
    """Merges the metrics of several processes, for a registry. Adds counters and histograms. Takes the highest value of
    a gauge, because gauges here are settings and equal in all processes.
    """

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = defaultdict(dict)
        for family in families:
            self._families.setdefault(family.name, family)
            for sample in family.samples:
                self._add(family, sample.name, tuple(sorted(sample.labels.items())), sample.value)

    def _add(self, family: Metric, name: str, labels: tuple[tuple[str, str], ...], value: float) -> None:
        """Adds one process's value to the series with this name and labels; of a gauge, keeps the higher value."""
        values = self._values[family.name]
        before = values.get((name, labels))
        if before is None:
            values[name, labels] = value
        else:
            values[name, labels] = max(before, value) if family.type == "gauge" else before + value

    def collect(self) -> Iterator[Metric]:
        """Yields the merged series, for the registry."""
        for family in self._families.values():
            merged = Metric(family.name, family.documentation, family.type)
            for (name, labels), value in self._values[family.name].items():
                merged.add_sample(name, dict(labels), value)
            yield merged


def merged_text(texts: Iterable[bytes], own: Metrics | None = None) -> bytes:
    """Merges metrics of several processes, given in Prometheus' text format, with those of `own`; returns that format.

    Takes `own`, the metrics of the calling process, as an object: an API has a series for each status of each route,
    and writing and parsing them took most of a second.
    """
    read = chain.from_iterable(text_string_to_metric_families(text.decode()) for text in texts)
    registry = CollectorRegistry()
    registry.register(_Merged(chain(own.registry.collect() if own else (), read)))
    return generate_latest(registry)


class Succession:
    """Joins the metrics of processes that replace each other, such as a restarted worker. Counters continue from the
    last value of the previous process, and stand still while no process answers. A counter must never fall, because
    Prometheus reads a lower value as a reset and counts it again.
    """

    def __init__(self) -> None:
        self._process = ""
        self._before = self._last = b""

    def take(self, process: str, text: bytes) -> None:
        """Stores `text`, the metrics that the process with the name `process` has now. If the name is new, the previous
        process has ended, and its last metrics are added to those of earlier processes.
        """
        if process != self._process:
            self._before, self._process = merged_text([self._before, self._last]), process
        self._last = text

    @property
    def texts(self) -> tuple[bytes, bytes]:
        """Returns the merged metrics of the earlier processes, and those of the present one, for
        `merged_text` to add.
        """
        return self._before, self._last


class CarrierStanding(Protocol):
    """The facts about a carrier that the metrics show: channel, state, whether it rests after failures, whether it can
    send.
    """

    @property
    def channel(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def rests(self) -> bool: ...
    @property
    def works(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class FleetText:
    """The metrics of the whole fleet in Prometheus' text format."""

    work: bytes  # series about sending
    counts: bytes  # series with the number of subscribers, and of alerts by state: only for keys with metrics:read

    @property
    def whole(self) -> bytes:
        """Returns all series: those about sending, then those with counts."""
        return self.work + self.counts


def fleet_text(  # noqa: PLR0913  one a thing that is measured
    counts: dict[str, dict[str, int]],
    queues: Mapping[tuple[str, str], tuple[int, float]],
    alerts: dict[str, int],
    carriers: Mapping[str, CarrierStanding],
    at_work: Mapping[str, bool],
    seals: Mapping[str, int],
    *,
    subscribers: int,
    pending_oldest_s: float,
    webhooks_off: int,
    reviews_pending: int,
    takedowns_open: int,
    takedowns_refused: int,
) -> FleetText:
    """Returns the fleet's metrics from the data of the store, which the caller has read.

    `counts`: ledger rows of all live alerts by channel and state, and all of them under "targeted". `queues`: by
    channel and loudness, the queued rows and the seconds since the oldest of their alerts started. `alerts`: number by
    state. `carriers`: by name. `at_work`: by channel, whether a worker sends. `seals`: how often each current key has
    sealed a value.
    """
    r, counting = CollectorRegistry(), CollectorRegistry()
    targeted = Gauge("alertd_targeted", "References planned, live alerts", ["channel"], registry=r)
    references = Gauge("alertd_references", "References by state, live alerts", ["channel", "state"], registry=r)
    lanes = ["channel", "lane"]
    queued = Gauge("alertd_queue_references", "References queued, by their alert's loudness", lanes, registry=r)
    oldest = Gauge(
        "alertd_queue_oldest_seconds", "Age in seconds of the oldest alert with queued references", lanes, registry=r
    )
    by_state = Gauge("alertd_alerts", "Alerts by state", ["state"], registry=counting)
    for channel in CHANNELS:
        found = counts.get(channel, {})
        targeted.labels(channel).set(found.get("targeted", 0))
        for state in State:
            references.labels(channel, state.word).set(found.get(state.word, 0))
        for lane in Loudness:
            many, oldest_s = queues.get((channel, lane), (0, 0.0))
            queued.labels(channel, lane).set(many)
            oldest.labels(channel, lane).set(oldest_s)
    for alert_state in AlertState:
        by_state.labels(alert_state).set(alerts.get(alert_state, 0))
    is_open = Gauge(
        "alertd_breaker_open",
        "1: alertd sends it nothing for a while after failures",
        ["channel", "carrier"],
        registry=r,
    )
    can_send = Gauge(
        "alertd_carrier_works", "1: it can send, as far as is known; 0: the state says why not",
        ["channel", "carrier", "state"], registry=r,
    )  # fmt: skip
    for name, one in carriers.items():
        is_open.labels(one.channel, name).set(one.rests)
        can_send.labels(one.channel, name, one.state).set(one.works)
    works = Gauge("alertd_channel_at_work", "1: a worker sends by this channel", ["channel"], registry=r)
    for name, is_so in at_work.items():
        works.labels(name).set(is_so)
    sealed = Gauge("alertd_key_seals", "Seals of the current key; rotate it from 2^31 on", ["key"], registry=r)
    for key, count in seals.items():
        sealed.labels(key).set(count)
    for registry, name, says, value in (
        (counting, "subscribers", "Registered subscribers", subscribers),
        (counting, "reviews_pending", "Alerts approved alone that await their review", reviews_pending),
        (counting, "pending_oldest_seconds", "How long the oldest alert waits for a second person", pending_oldest_s),
        (r, "webhooks_off", "Webhooks that were turned off", webhooks_off),
        (r, "distributor_takedowns_open", "Take-downs that a distributor has not confirmed", takedowns_open),
        (
            r, "distributor_takedowns_refused",
            "Of the take-downs that are not confirmed, those that were refused or never taken: nothing more is tried", takedowns_refused,
        ),
    ):  # fmt: skip
        Gauge(f"alertd_{name}", says, registry=registry).set(value)
    return FleetText(generate_latest(r), generate_latest(counting))
