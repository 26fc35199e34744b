"""Names of metrics are a promise to dashboards: each is in the list here, with its labels, and says what it is."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = {"Counter": "_total", "Gauge": "", "Histogram": ""}

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
    "alertd_breaker_open": ["channel", "carrier"],
    "alertd_queue_references": ["channel", "lane"],
    "alertd_queue_oldest_seconds": ["channel", "lane"],
    "alertd_pending_oldest_seconds": [],
    "alertd_audience_seconds": [],
    "alertd_audience_people": [],
    "alertd_plan_seconds": [],
    "alertd_duplicates_total": ["channel"],
    "alertd_receipts_total": ["channel", "carrier", "state"],
    "alertd_optouts_total": ["channel"],
    "alertd_subscribers": [],
    "alertd_http_request_seconds": ["route", "method", "status"],
    "alertd_webhooks_total": ["outcome"],
    "alertd_audit_entries_total": [],
}


def metrics() -> list[tuple[str, str, list[str]]]:
    """Every metric that the program makes: name as it is scraped, help text, labels."""
    found = []
    for file in (ROOT / "alertd").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match call:
                case ast.Call(
                    func=ast.Name(id="Counter" | "Gauge" | "Histogram" as kind),
                    args=[ast.Constant(value=str(name)), ast.Constant(value=str(text)), *labels],
                ):
                    found.append((name + KINDS[kind], text, ast.literal_eval(labels[0]) if labels else []))
    return found


def test_every_metric_has_a_promised_name_and_its_labels():
    """Made once, and with no label more or less, so that a query that works goes on working."""
    made = [(name, labels) for name, _, labels in metrics()]
    assert len(made) > 10
    assert len(dict(made)) == len(made), "one is made twice"
    assert [metric for metric in made if PROMISED.get(metric[0]) != metric[1]] == []


def test_every_metric_says_what_it_is():
    """The help text is a phrase of its own, not the name again."""
    assert [name for name, text, _ in metrics() if len(text.split()) < 2 or name in text] == []
