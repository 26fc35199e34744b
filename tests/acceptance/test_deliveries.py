"""From the command line: what may not have arrived is sent again, and why somebody was told is answered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.commands import alertd, done, refused
from tests.acceptance.conftest import Served

pytestmark = pytest.mark.shares


def test_the_refused_are_told_and_everybody_is_explained(served: Served, alert: dict[str, Any], bea: str):
    """The carrier refuses all; they are sent again and told; the ledger's word about one of them is shown without an address."""
    served.control("push", {"rules": [{"prefix": "", "do": "bad-request"}]})
    alert_id = served.approved({**alert, "channels": ["push"]})
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    failed = served.progress(alert_id)["channels"]["push"]["failed"]
    served.control("push", {"rules": []})
    assert "states" in refused(served, "alerts", "resend", alert_id, "--state", "accepted", key=bea)
    assert done(served, "alerts", "resend", alert_id, "--state", "failed", key=bea)["resent"] == failed > 0
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    counts = served.progress(alert_id)["channels"]["push"]
    assert (counts["failed"], counts["accepted"]) == (0, failed)
    people = served.call("GET", "/v1/subscribers?limit=200")[1]["subscribers"]
    explained = [done(served, "subscribers", "explain", person["id"], "--alert", alert_id) for person in people[:12]]
    assert {"has-messages", "outside"} & {each["why"] for each in explained}
    told = alertd(served, "subscribers", "explain", people[0]["id"], "--alert", alert_id)
    assert told.returncode == 0, told.stderr.decode()
    assert b"in_audience" in told.stdout
    assert not [word for word in (b"sample-token", b"+346", b"@people") if word in told.stdout]
