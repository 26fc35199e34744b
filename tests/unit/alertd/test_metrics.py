"""Metrics: every series from the start, no person in a label, processes shown as one."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from alertd.metrics import Metrics, Succession, merged_text


def test_series_of_a_carrier_are_there_before_it_sends():
    """A dashboard sees zeros, not gaps."""
    metrics = Metrics()
    metrics.show_carrier("push", "fcm", 100.0, ["big.example"])
    text = metrics.text().decode()
    assert 'alertd_domain_waits_total{carrier="fcm",domain="big.example"} 0.0' in text
    for name in ("alertd_outcomes_total", "alertd_send_seconds_count", "alertd_limit_wait_seconds_count"):
        assert any(line.startswith(name + "{") for line in text.splitlines()), name
    for state in ("delivered", "failed"):
        assert f'alertd_receipts_total{{carrier="fcm",channel="push",state="{state}"}} 0.0' in text
    for state in ("delivered", "seen"):  # what an app says of its phone's message
        assert f'alertd_receipts_total{{carrier="app",channel="push",state="{state}"}} 0.0' in text


def test_two_processes_show_as_one():
    """Counters add up."""
    one, two = Metrics(), Metrics()
    for metrics, times in ((one, 2), (two, 3)):
        metrics.show_carrier("push", "fcm", None)
        metrics.outcomes.labels("push", "fcm", "accepted", "none").inc(times)
    merged = merged_text([one.text(), two.text()]).decode()
    samples = [
        s for f in text_string_to_metric_families(merged) for s in f.samples if s.name == "alertd_outcomes_total"
    ]
    assert sum(s.value for s in samples if s.labels["outcome"] == "accepted" and s.labels["reason"] == "none") == 5


def test_a_process_shows_its_own_series_as_if_they_were_read():
    """What is not written to be read again says the same, in the same order: counters, settings and each bucket."""
    own, other = Metrics(), Metrics()
    for metrics in (own, other):
        metrics.show_carrier("push", "fcm", 9000, ["example.org"])
        metrics.http_request_seconds.labels("/v1/alerts", "POST", 202).observe(0.02)
        metrics.audience_people.observe(40)
    assert merged_text([other.text()], own) == merged_text([own.text(), other.text()])


def accepted(*texts: bytes) -> float:
    """How many messages were accepted, by all of these together."""
    families = text_string_to_metric_families(merged_text(texts).decode())
    return sum(s.value for f in families for s in f.samples if s.name == "alertd_outcomes_total")


def test_counters_do_not_fall_when_a_worker_is_replaced():
    """Nor while it does not answer: Prometheus would take what is left of the others for new, and wake somebody."""
    worker = Succession()
    assert accepted(*worker.texts) == 0
    for life, counts in (("a", (2, 3)), ("b", (1, 4)), ("c", (1,))):
        metrics = Metrics()
        for count in counts:
            metrics.outcomes.labels("push", "fcm", "accepted", "none").inc(count)
            worker.take(life, metrics.text())
    assert accepted(*worker.texts) == 5 + 5 + 1


def test_no_series_tells_when_the_process_began():
    """Each counter and histogram would have a `_created` twin, which no alarm needs."""
    metrics = Metrics()
    metrics.show_carrier("push", "fcm", None)
    assert b"_created" not in merged_text([metrics.text(), metrics.text()])


def test_two_instances_share_nothing():
    """No global registry: what one counts the other does not show."""
    one, two = Metrics(), Metrics()
    one.outcomes.labels("push", "fcm", "accepted", "none").inc()
    assert 'carrier="fcm"' not in two.text().decode()
