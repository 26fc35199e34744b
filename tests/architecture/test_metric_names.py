"""Names of metrics are a promise to dashboards: each is in the list here, with its labels, and says what it is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from alertd.common.log_events import EVENTS
from alertd.metrics import Metrics, fleet_text
from alertd.service.carriers.states import CarrierState

ENDING = {"counter": "_total"}
#: The pages for operators.
RUN = sorted((Path(__file__).parents[2] / "ops" / "docs" / "run").glob("*.md"))
FLEET = fleet_text(
    {},
    {},
    {},
    {"fcm": CarrierState("push", "works", rests=False)},
    {"push": True},
    {"master": 0},
    subscribers=0,
    pending_oldest_s=0.0,
    webhooks_off=0,
    reviews_pending=0,
    takedowns_open=0,
    takedowns_refused=0,
)

#: Name -> labels. Add freely; a name that was published stays.
PROMISED = {
    "alertd_alerts": ["state"],
    "alertd_targeted": ["channel"],
    "alertd_references": ["channel", "state"],
    "alertd_outcomes_total": ["channel", "carrier", "outcome", "reason"],
    "alertd_send_seconds": ["channel", "carrier"],
    "alertd_first_send_seconds": [],
    "alertd_last_send_seconds": [],
    "alertd_delivery_seconds": ["channel"],
    "alertd_limit_wait_seconds": ["channel", "carrier"],
    "alertd_limit_rate": ["channel", "carrier"],
    "alertd_domain_waits_total": ["carrier", "domain"],
    "alertd_breaker_open": ["channel", "carrier"],
    "alertd_carrier_works": ["channel", "carrier", "state"],
    "alertd_channel_at_work": ["channel"],
    "alertd_queue_references": ["channel", "lane"],
    "alertd_queue_oldest_seconds": ["channel", "lane"],
    "alertd_pending_oldest_seconds": [],
    "alertd_reviews_pending": [],
    "alertd_pages_total": ["channel", "outcome"],
    "alertd_unanswered_total": ["reason"],
    "alertd_audience_seconds": [],
    "alertd_audience_people": [],
    "alertd_plan_seconds": [],
    "alertd_duplicates_total": ["channel"],
    "alertd_receipts_total": ["channel", "carrier", "state"],
    "alertd_optouts_total": ["channel"],
    "alertd_unplaced_total": ["carrier"],
    "alertd_subscribers": [],
    "alertd_http_request_seconds": ["route", "method", "status"],
    "alertd_webhooks_total": ["outcome"],
    "alertd_webhooks_off": [],
    "alertd_distributions_total": ["outcome"],
    "alertd_distributor_takedowns_open": [],
    "alertd_distributor_takedowns_refused": [],
    "alertd_audit_entries_total": [],
    "alertd_key_seals": ["key"],
}


def metrics() -> dict[str, tuple[str, list[str]]]:
    """Every metric that the program makes: its name as it is scraped, its help text and its labels."""
    own = [metric for metric in vars(Metrics()).values() if isinstance(metric, MetricWrapperBase)]
    made = {each.name + ENDING.get(each.type, ""): each.documentation for metric in own for each in metric.collect()}
    labels = [list(metric._labelnames) for metric in own]
    fleet = {each.name: each for each in text_string_to_metric_families(FLEET.whole.decode())}
    found = {name: (text, names) for (name, text), names in zip(made.items(), labels, strict=True)}
    return found | {name: (each.documentation, sorted(each.samples[0].labels)) for name, each in fleet.items()}


def test_every_metric_has_a_promised_name_and_its_labels():
    """None and no label more or less, so that a query that works goes on working."""
    made = {name: sorted(labels) for name, (_, labels) in metrics().items()}
    assert made == {name: sorted(labels) for name, labels in PROMISED.items()}


def test_every_metric_says_what_it_is():
    """The help text is a phrase of its own, not the name again."""
    assert [name for name, (text, _) in metrics().items() if len(text.split()) < 2 or name in text] == []


def test_the_pages_for_operators_name_metrics_that_there_are():
    """An alarm on a name that nobody makes never rings."""
    ops = Path(__file__).parents[2] / "ops"
    volumes = {
        f"alertd_{name}" for name in yaml.safe_load((ops / "compose.yaml").read_text(encoding="utf-8"))["volumes"]
    }
    text = "".join(page.read_text(encoding="utf-8") for page in RUN)
    named = {re.sub("_(bucket|count|sum)$", "", name) for name in re.findall(r"alertd_[a-z_]+", text)}
    assert len(named) > 5
    assert named - metrics().keys() - volumes == set()


def test_the_pages_for_operators_name_log_events_that_there_are():
    """Whoever is on call searches the log for them, word by word."""
    text = " ".join(" ".join(page.read_text(encoding="utf-8") for page in RUN).split())
    named = set(re.findall('"event": "([^"]+)"', text))
    index = (Path(__file__).parents[2] / "ops" / "docs" / "run" / "index.md").read_text(encoding="utf-8")
    named |= set(re.findall(r"`([a-z_]+\.[a-z_]+)`", index))
    assert len(named) > 20
    assert sorted(named - EVENTS.keys()) == []


def test_the_page_on_monitoring_has_every_metric():
    """Whoever looks for one finds it in the table, and nothing else."""
    text = (Path(__file__).parents[2] / "ops" / "docs" / "run" / "monitor-alertd.md").read_text(encoding="utf-8")
    [table] = re.findall(r"^\| metric \| says \|\n(.*?)^$", text, re.MULTILINE | re.DOTALL)
    assert set(re.findall("`(alertd_[a-z_]+)`", table)) == metrics().keys()
