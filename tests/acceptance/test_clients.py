"""Clients that generators write from the API's document, by the commands of ops/docs/integrate/clients.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.acceptance.api_samples import the_alert
from tests.acceptance.conftest import Served
from tests.pages import DOCS, ROOT, text_of

pytestmark = [pytest.mark.peer, pytest.mark.shares]  # ops/test installs the generators apart

PEERS = ROOT / ".cache" / "peers"
PAGE = text_of(DOCS / "integrate" / "clients.md")
#: Commands that fetch packages: the locks have the same ones.
INSTALLS = ("python3 -m venv", "client/bin/pip install", "npm install")
#: What the program of each language prints: the alert as it was submitted, and at the end.
PRINTED = re.compile(r"^(\w{26}) pending\n\1 sent\n\Z")

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


def block(language: str) -> str:
    """The block of the page in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def commands(heading: str) -> list[str]:
    """The commands below a heading of the page, without installations."""
    (section,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return [line for line in re.findall(r"^\$ (.+)$", section, re.MULTILINE) if not line.startswith(INSTALLS)]


def test_the_page_names_the_versions_that_the_locks_have():
    """So the test runs what a reader installs."""
    python = re.findall(r"openapi-python-client==(\S+)", PAGE)
    assert python == re.findall(r"^openapi-python-client==(\S+)", text_of(ROOT / "ops/locks/client.txt"), re.MULTILINE)
    locked = json.loads(text_of(ROOT / "ops/locks/node/package.json"))["dependencies"]
    node = dict(re.findall(r"([@\w/-]+)@([\d.]+)", "".join(re.findall(r"^\$ (npm .+)$", PAGE, re.MULTILINE))))
    assert set(node) == {"@types/node", "openapi-fetch", "openapi-typescript", "typescript"}
    assert [name for name, version in node.items() if f"{locked[name]}.".find(f"{version}.") != 0] == []


@pytest.fixture(scope="module")
def folder(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run: the programs of the page, and the packages of the locks where the page installs them."""
    assert (PEERS / "client").exists(), "openapi-python-client is missing: run ops/test"
    folder = tmp_path_factory.mktemp("clients")
    bin_folder = folder / "client" / "bin"
    bin_folder.mkdir(parents=True)
    for name, module in (("python", ""), ("openapi-python-client", " -m openapi_python_client")):
        script = f'#!/bin/sh\nPYTHONPATH={PEERS / "client"}:$PWD exec {sys.executable} -S{module} "$@"\n'
        (bin_folder / name).write_text(script, encoding="utf-8")
        (bin_folder / name).chmod(0o755)
    (folder / "node_modules").symlink_to(PEERS / "node_modules")
    for file, language in (("client.yaml", "yaml"), ("submit.py", "python"), ("submit.mts", "ts")):
        (folder / file).write_text(block(language), encoding="utf-8")
    return folder


def ran(served: Served, folder: Path, lines: list[str]) -> str:
    """What these commands printed, in one shell after those that make the keys."""
    keys = [line.replace("http://127.0.0.1:8080", served.url) for line in commands("Generate a client")]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "ALERTD_KEY": served.key, "npm_config_offline": "true"}
    done = subprocess.run(
        ["bash", "-e"],
        input="\n".join([*keys, *lines]),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def generated(served: Served, folder: Path) -> Path:
    """The Python client, made by the commands of the page."""
    ran(served, folder, [line for line in commands("Python") if "submit.py" not in line])
    return folder / "alertd_client"


def test_the_python_program_submits_approves_and_sees_the_end(served: Served, folder: Path, generated: Path):
    assert generated.exists()
    assert PRINTED.match(ran(served, folder, ["client/bin/python submit.py"]))


def test_the_typescript_program_submits_approves_and_sees_the_end(served: Served, folder: Path):
    lines = commands("TypeScript")
    assert any("tsc --strict" in line for line in lines)
    assert PRINTED.search(ran(served, folder, lines).partition("alertd.d.ts")[2].partition("\n")[2])


def test_the_python_client_has_every_operation(served: Served, generated: Path):
    document = served.call("GET", "/openapi.json")[1]
    made = {file.stem for file in (generated / "api").glob("*/*.py")}
    assert {
        operation["operationId"] for operations in document["paths"].values() for operation in operations.values()
    } <= made


def test_a_generated_client_sends_the_readme_s_alert(served: Served, ana: str, bea: str, folder: Path, generated: Path):
    """It submits twice under one key, is refused its own approval, and sees the end."""
    (generated.parent / "readme.py").write_text(PROGRAM, encoding="utf-8")
    alert = {**the_alert(datetime.now(UTC)), "target": {"regions": ["41091"]}}
    (folder / "alert.json").write_text(json.dumps(alert), encoding="utf-8")
    program = f'client/bin/python readme.py {served.url} {ana} {bea} "$(cat alert.json)"'
    told = json.loads(ran(served, folder, [program]))
    assert told["state"] == "sent"
    counts = told["progress"]["channels"]["push"]
    assert counts["targeted"] == counts["accepted"] > 300
