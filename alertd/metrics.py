"""All metrics in one table: base units, closed label sets, and every series present from the start. No metric contains
an id or an address.

Each process has its own `Metrics`; `alertd serve` merges those of all its processes. Metrics of the whole fleet come
from the store (among them the references in each state, which add up to the planned ones). They are computed at each
scrape of `/metrics/fleet`.
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

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600)
_PEOPLE = (0, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7)


class Metrics:
    """The metrics of one process."""

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
        self.optouts = self._counter("optouts", "People who left by a channel", "channel")
        self.unplaced = self._counter("unplaced", "Answers STOP and START from numbers with no known owner", "carrier")
        self.audit_entries = self._counter("audit_entries", "Entries written into the audit", "")
        self.webhooks = self._counter("webhooks", "Tries to tell a webhook, and webhooks turned off", "outcome")
        self.pages = self._counter("pages", "Tries to page a person on call", "channel outcome")
        self.unanswered = self._counter(
            "unanswered", "Alerts that wait with no person on duty, or after every page was in vain", "reason"
        )
        self.distributions = self._counter(
            "distributions", "Messages to distributors, by what became of each", "outcome"
        )
        self.limit_rate = self._gauge("limit_rate", "Permits a second a carrier allows", carrier)
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
        """Creates the series whose labels are known, so that they are visible before they count anything."""
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
        return Counter(f"alertd_{name}", says, labels.split(), registry=self.registry)

    def _gauge(self, name: str, says: str, labels: str) -> Gauge:
        return Gauge(f"alertd_{name}", says, labels.split(), registry=self.registry)

    def _histogram(self, name: str, says: str, labels: str = "", *, buckets: Sequence[float] = _QUICK) -> Histogram:
        return Histogram(f"alertd_{name}", says, labels.split(), buckets=buckets, registry=self.registry)

    def show_carrier(self, channel: str, carrier: str, rate: float | None, domains: Iterable[str] = ()) -> None:
        """Creates a carrier's series, so that they are visible before they count anything. Sets its rate (permits a
        second).
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
        """Returns the series in Prometheus' text format."""
        return generate_latest(self.registry)


class _Merged(Collector):
    """Merges the series of several processes: counts are added; settings are equal in all processes."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = defaultdict(dict)
        for family in families:
            self._families.setdefault(family.name, family)
            for sample in family.samples:
                self._add(family, sample.name, tuple(sorted(sample.labels.items())), sample.value)

    def _add(self, family: Metric, name: str, labels: tuple[tuple[str, str], ...], value: float) -> None:
        values = self._values[family.name]
        before = values.get((name, labels))
        if before is None:
            values[name, labels] = value
        else:
            values[name, labels] = max(before, value) if family.type == "gauge" else before + value

    def collect(self) -> Iterator[Metric]:
        for family in self._families.values():
            merged = Metric(family.name, family.documentation, family.type)
            for (name, labels), value in self._values[family.name].items():
                merged.add_sample(name, dict(labels), value)
            yield merged


def merged_text(texts: Iterable[bytes], own: Metrics | None = None) -> bytes:
    """Returns the text formats of several processes as one, together with the series of `own`. `own` is not serialised
    and parsed again: an API has a series for each status of each route, which took most of a second.
    """
    read = chain.from_iterable(text_string_to_metric_families(text.decode()) for text in texts)
    registry = CollectorRegistry()
    registry.register(_Merged(chain(own.registry.collect() if own else (), read)))
    return generate_latest(registry)


class Succession:
    """Joins the series of processes that follow one another. Counters continue from the last value of the previous
    process, and stand still while no process answers. Prometheus reads a lower counter as a reset, and would count its
    value again.
    """

    def __init__(self) -> None:
        self._process = ""
        self._before = self._last = b""

    def take(self, process: str, text: bytes) -> None:
        """Stores the series `text` of the process that runs now. A new `process` name means that the previous process
        has ended.
        """
        if process != self._process:
            self._before, self._process = merged_text([self._before, self._last]), process
        self._last = text

    @property
    def texts(self) -> tuple[bytes, bytes]:
        """Returns the text formats of the earlier processes and of the present one, to be merged with others."""
        return self._before, self._last


class CarrierStanding(Protocol):
    """The state of a carrier, as the metrics need it."""

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

    work: bytes  # of what is being sent
    counts: bytes  # subscribers, and alerts by state: only for readers with a key

    @property
    def whole(self) -> bytes:
        """Returns the series of both fields."""
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
    """Returns the fleet's series, computed from the store's data. `counts`: references of all live alerts by channel and state. `queues`:
    by channel and loudness, the queued references and the seconds since the oldest of their alerts started. `carriers`: by name. `at_work`:
    by channel, whether a worker sends. `seals`: how often each current key has sealed a value.
    """
    r, counting = CollectorRegistry(), CollectorRegistry()
    targeted = Gauge("alertd_targeted", "References planned, live alerts", ["channel"], registry=r)
    references = Gauge("alertd_references", "References by state, live alerts", ["channel", "state"], registry=r)
    lanes = ["channel", "lane"]
    queued = Gauge("alertd_queue_references", "References queued, by their alert's loudness", lanes, registry=r)
    oldest = Gauge("alertd_queue_oldest_seconds", "Since the oldest alert with some started", lanes, registry=r)
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
    is_open = Gauge("alertd_breaker_open", "1: fails, and rests", ["channel", "carrier"], registry=r)
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
