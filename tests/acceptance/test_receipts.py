"""Carriers' reports find the service wherever it listens."""

from __future__ import annotations

from typing import Any

from tests.acceptance.conftest import Served


def test_a_report_reaches_a_service_on_any_port(served: Served, alert: dict[str, Any]):
    """Without `api.public_url` carriers are told where the API really listens: every SMS ends as delivered."""
    alert_id = served.approved(alert)

    def all_delivered() -> bool:
        sms = served.progress(alert_id)["channels"].get("sms", {})
        return 0 < sms.get("targeted", 0) == sms["delivered"]

    served.wait_for(all_delivered)
