"""The API's document against the API itself: what schemathesis makes up from it, and a client that a program writes from it."""

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

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / ".cache" / "peers" / "client"

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

#: What the generator knows nothing of: bytes to it.
BYTES = (
    "application/octet-stream",
    "application/x-ndjson",
    "text/event-stream",
    "application/cap+xml",
    "application/xml",
    "text/xml",
    "text/plain",
    "image/jpeg",
)

#: A stream is answered as it comes: 200, and in it each line that was refused.
TAKEN_LINE_BY_LINE = ["import_subscribers"]

#: Sends the README's alert with the generated client and reads its progress to the end. Prints one JSON object.
PROGRAM = """
import json, sys, time
from alertd_client import AuthenticatedClient
from alertd_client.api.alerts_approve import approve_alert
from alertd_client.api.alerts_follow import alert_progress, show_alert
from alertd_client.api.alerts_submit import create_alert
from alertd_client.models import AlertRequest, Approve, ProgressReply, Submitted

url, ana, bea, document = sys.argv[1:]
author, approver = (AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True) for key in (ana, bea))
body = AlertRequest.from_dict(json.loads(document))
made = create_alert.sync(client=author, body=body, idempotency_key="once")
assert isinstance(made, Submitted), made
assert create_alert.sync(client=author, body=body, idempotency_key="once").id == made.id
own = approve_alert.sync(made.id, client=author, body=Approve(rev=made.rev))
assert own.type_ == "/problems/same-person", own
assert approve_alert.sync(made.id, client=approver, body=Approve(people=made.audience.people, rev=made.rev)).state in {"approved", "sending", "sent"}
for _ in range(600):
    progress = alert_progress.sync(made.id, client=approver)
    assert isinstance(progress, ProgressReply), progress
    if progress.state == "sent":
        break
    time.sleep(0.1)
shown = show_alert.sync(made.id, client=approver)
print(json.dumps({"id": made.id, "state": shown.state, "progress": progress.to_dict()}))
"""


@pytest.mark.peer
def test_a_generated_client_sends_the_readme_s_alert(served: Served, ana: str, bea: str, tmp_path: Path):
    """Every operation is in a client that openapi-python-client makes; it submits, is refused its own approval, and sees the end."""
    assert CLIENT.exists(), "openapi-python-client is missing: run ops/test"
    document = served.call("GET", "/openapi.json")[1]
    (tmp_path / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    overrides = dict.fromkeys(BYTES, "application/octet-stream")
    settings = {"project_name_override": "alertd-client", "content_type_overrides": overrides, "post_hooks": []}
    (tmp_path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    generated = tmp_path / "alertd_client"
    order = ["generate", "--path", tmp_path / "openapi.json", "--config", tmp_path / "settings.json"]
    _ran(["-m", "openapi_python_client", *order, "--meta", "none", "--output-path", generated, "--fail-on-warning"])
    made = {file.stem for file in (generated / "api").glob("*/*.py")}
    assert {
        operation["operationId"] for operations in document["paths"].values() for operation in operations.values()
    } <= made
    alert = {**the_alert(datetime.now(UTC)), "target": {"regions": ["41091"]}}
    told = json.loads(_ran(["-c", PROGRAM, served.url, ana, bea, json.dumps(alert)], tmp_path))
    assert told["state"] == "sent"
    counts = told["progress"]["channels"]["push"]
    assert counts["targeted"] == counts["accepted"] > 300


def _ran(arguments: list[Any], *folders: Path) -> str:
    """What a Python with the client's packages alone printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (CLIENT, *folders)))}
    command = [sys.executable, "-S", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
    assert "request failed" not in served.log.read_text()


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
