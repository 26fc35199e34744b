"""The API's document against the API itself: what schemathesis makes up from it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alertd.common.ids import TokenPurpose
from tests.acceptance.api_samples import MARIA, the_alert
from tests.acceptance.conftest import Served

#: Statuses that are no verdict on the form of a request: who asks, what there is, how it stands (409, 410, 412, 428), and what a
#: well-formed request may still not ask for (422: the catalogue's own kinds, and an Idempotency-Key used before).
NO_VERDICT = ["2xx", "3xx", 401, 403, 404, 409, 410, 412, 422, 428, 429, "5xx"]
#: Operations that may answer 400 to what the schema allows, because JSON Schema cannot say it. `hooks.py` checks that each
#: place at fault is named then.
BEYOND_SCHEMA = {
    "list_alerts": "times are within 1900 and 2199",
    "list_regions": "west comes before east; `parent` is a region",
    "preview_target": "what is understood and not done yet",
    "create_alert": "what a kind of alert needs; phone numbers; time zones; exactly one way of a contact",
    "approve_alert": "a count is written without a point: 273.0 is a whole number to JSON Schema alone",
    "break_glass": "a count as in approve_alert",
    "grant_permission": "a count as in approve_alert",
    "rotate_key": "seconds as the count in approve_alert",
    "patch_alert": "a merge patch is judged by what comes of it",
    "update_alert": "as create_alert",
    "preview_messages": "as create_alert; languages and channels in one text",
    "create_cap": "CAP has a schema of its own",
    "extend_alert": "times are within 1900 and 2199",
    "create_media": "the file is a photo; texts are not of spaces alone",
    "put_organisation": "a jurisdiction names a region or a polygon; names are not of spaces alone; a rule can be met; contacts as in create_alert",
    "put_oncall": "phone numbers, mailboxes, time zones; hours end at another time than they begin; nothing twice; names have a visible character",
    "create_key": "names of people have no control characters; a key ends in the future; one that speaks for others approves nothing; a jurisdiction as in put_organisation",
    "put_subscriber": "a place is a point or a region; phone numbers, mailboxes, time zones; nothing twice",
    "patch_subscriber": "a merge patch is judged by what comes of it",
    "put_place": "a place is a point or a region",
    "put_address": "phone numbers and mailboxes",
    "lookup_subscriber": "phone numbers and mailboxes",
    "suppress_addresses": "phone numbers and mailboxes; web push is not handled yet",
    "lookup_suppression": "phone numbers and mailboxes",
    "lift_suppression": "phone numbers and mailboxes",
    "put_text": "texts have a visible character and no control characters",
    "draw_region": "texts have a visible character and no control characters",
    "create_operator": "names of people have a visible character and no control characters",
    "change_operator": "names of people have a visible character and no control characters",
    "test_carrier": "an address is one of the carrier's channel",
    "stop_sending": "a key is named where `what` is `key`",
    "resume_sending": "a key is named where `what` is `key`",
    "create_webhook": "the URL is of the public internet; types are those of events",
    "replay_webhook": "a cursor or an event",
    "create_distributor": "as create_webhook; a jurisdiction as in put_organisation; names are not of spaces alone",
    "put_distributor": "as create_distributor",
    "take_distributor_receipt": "CAP has a schema of its own",
    "take_receipt": "what a carrier posts is the carrier's",
    "take_mail_reports": "what a relay posts is the relay's",
}

#: A stream is answered as it comes: 200, and in it each line that was refused.
TAKEN_LINE_BY_LINE = ["import_subscribers"]


@pytest.mark.timeout(3600)
def test_schemathesis_finds_no_failure_in_any_operation(
    served: Served, ana: str, bea: str, tmp_path: Path, is_long: bool
):
    """Every operation, valid and invalid calls, in the long run of every phase, all checks: no 5xx, nothing undocumented, nothing wrong taken."""
    few = ["--max-examples", "3", "--generation-deterministic", "--phases", "examples,fuzzing"]
    bounds = ["--max-examples", "50"] if is_long else few
    operations = _schemathesis(served, tmp_path, _there(served, ana, bea), bounds)
    document = served.call("GET", "/openapi.json")[1]
    assert operations == sum(len(methods) for methods in document["paths"].values())
    assert "request.failed" not in served.log.read_text()


def _there(served: Served, ana: str, bea: str) -> dict[str, Any]:
    """An alert that is told and one that waits, a subscriber, a webhook: what calls can be about."""
    alert = the_alert(datetime.now(UTC))
    told, waiting = (
        served.call("POST", "/v1/alerts", {**alert, "external_id": f"cms-{number}"}, ana)[1]["id"] for number in (1, 2)
    )
    assert served.call("POST", f"/v1/alerts/{told}/approve", {}, bea)[0] == 200
    assert served.call("PUT", "/v1/subscribers/maria", MARIA)[0] == 201
    order = {"subject": "eva@centre.example", "name": "Eva", "roles": ["viewer"]}
    eva = served.call("POST", "/v1/operators", order)[1]["id"]
    hook = served.call("POST", "/v1/webhooks", {"url": "https://cases.centre.example/alertd"})[1]["id"]
    radio = served.call("POST", "/v1/distributors", {"name": "Radio", "url": "https://gateway.radio.example/cap"})[1][
        "id"
    ]
    return {
        "/v1/alerts/": {"id": [told, waiting], "distributor": [radio]},
        "/v1/distributors/": {"id": [radio]},
        "/v1/subscribers/": {"id": ["maria"], "n": ["0", "1"], "name": ["home"]},
        "/v1/regions/": {"code": ["41091", "PATROL-1"]},
        "/v1/organisations/": {"org": ["default"]},
        "/v1/webhooks/": {"id": [hook]},
        "/v1/operators/": {"id": [eva]},
        "/v1/receipts/": {"carrier": ["sandbox-sms", "sandbox-mail"]},
        "/r/": {"tag": [served.tags().make(told, 0, TokenPurpose.ACK)]},
    }


def _schemathesis(served: Served, folder: Path, there: dict[str, Any], bounds: list[str]) -> int:
    """Runs it; how many operations it tried. Its findings are in what is raised."""
    settings = f"[checks.positive_data_acceptance]\nexpected-statuses = {json.dumps(NO_VERDICT)}\n"
    settings += f"[[operations]]\ninclude-operation-id = {json.dumps(sorted(BEYOND_SCHEMA))}\n"
    settings += f"[operations.checks.positive_data_acceptance]\nexpected-statuses = {json.dumps([400, *NO_VERDICT])}\n"
    settings += f"[[operations]]\ninclude-operation-id = {json.dumps(TAKEN_LINE_BY_LINE)}\n"
    settings += f"[operations.checks.negative_data_rejection]\nexpected-statuses = {json.dumps(['4xx', 200])}\n"
    (folder / "schemathesis.toml").write_text(settings, encoding="utf-8")
    hooks = Path(__file__).with_name("fuzz") / "hooks.py"
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": str(hooks),
        "THERE": json.dumps(there),
        "PYTHONWARNINGS": "ignore",
    }
    program = Path(sys.executable).with_name("st")
    command = [program, "--config-file", folder / "schemathesis.toml", "run", f"{served.url}/openapi.json"]
    command += [
        "-H",
        f"Authorization: Bearer {served.key}",
        "--continue-on-failure",
        "--no-color",
        "--no-shrink",
        *bounds,
    ]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=3500, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested, done.stdout
    return int(tested[1])
