"""What operators copy works: the commands and variables of the image, of compose.yaml and of the pages exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from alertd import cli
from alertd.api.application import OPERATIONS
from alertd.common.log_events import EVENTS
from alertd.config import settings
from alertd.model import registration, rules

ROOT = Path(__file__).parents[2]
PAGES = (*(ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md")), *sorted((ROOT / "ops").rglob("*.md")))
LIMITS = ROOT / "ops" / "docs" / "explain" / "limits.md"
COMPOSE = yaml.safe_load((ROOT / "ops" / "compose.yaml").read_text(encoding="utf-8"))
UNIT = (ROOT / "ops" / "alertd.service").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMMAND = re.compile(r"(?:^\$ |`)alertd ([^`\n]*)", re.MULTILINE)
#: Read by the command line itself, not options of the file.
OTHER_VARIABLES = {"ALERTD_CONFIG", "ALERTD_KEY", "ALERTD_URL"}


def unknown_in(words: list[str]) -> str | None:
    """The first word of a command line that is neither a command nor an option of it, None when all are known."""
    command = typer.main.get_command(cli.app)
    known = {"--help"}
    for word in words:
        known |= {option for parameter in command.params for option in parameter.opts}
        if word.startswith("--"):
            if word.partition("=")[0] not in known:
                return word
        elif isinstance(command, TyperGroup):  # else it is an argument
            found = command.get_command(typer.Context(command), word)
            if found is None:
                return word
            command = found
    return None


def shown() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in COMMAND.findall(page.read_text(encoding="utf-8")):
            yield page.name, line
    [healthcheck] = re.findall(r"CMD \[(.*)\]\nENTRYPOINT", DOCKERFILE)
    yield "Dockerfile", shlex.join(healthcheck.replace('"', "").split(", ")[1:])
    [service] = re.findall(r"^ExecStart=/opt/alertd/bin/alertd (.*)$", UNIT, re.MULTILINE)
    yield "alertd.service", service
    [start] = re.findall(r"^CMD \[(.*)\]$", DOCKERFILE, re.MULTILINE)
    yield "Dockerfile", start.strip('"')


@pytest.mark.parametrize(("page", "line"), sorted(set(shown())))
def test_command_exists(page: str, line: str):
    """Each `alertd ...` that a page shows is a command with these options."""
    assert unknown_in(shlex.split(line, comments=True)) is None, page


def test_an_invented_command_would_be_found():
    """The check above can fail."""
    assert unknown_in(["alerts", "resurrect", "1"]) == "resurrect"
    assert unknown_in(["serve", "--sandpit"]) == "--sandpit"


def no_operations(text: str) -> list[str]:
    """The calls to /v1 that a page names, with or without a method, and that the API does not have."""
    known = [(one.method, re.sub(r"\\{.*?\\}", "[^/]+", re.escape(one.path))) for one in OPERATIONS]
    calls = re.findall(r"(?:\b(GET|POST|PUT|PATCH|DELETE) )?(/v1/[^\s`\"'),?]*)", text)
    return [
        f"{method} {path}"
        for method, path in calls
        if not any(method in {"", one} and re.fullmatch(form, path.rstrip(".:;/")) for one, form in known)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_calls_exist(page: Path):
    """Whoever writes a program by a page is not answered 404."""
    assert no_operations(page.read_text(encoding="utf-8")) == []
    assert no_operations("`DELETE /v1/alerts/{id}`, /v1/resumptions and `POST /v1/alerts/{id}/found`") == [
        "DELETE /v1/alerts/{id}",
        " /v1/resumptions",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_exist(page: Path):
    """Each `section.option` that a page names, where it is no file, no act of the audit and no log event."""
    named = {tuple(name.split(".")) for name in re.findall(r"`(\w+\.\w+)`", page.read_text(encoding="utf-8"))}
    others = {("store", "restore"), ("alerts", "py"), *(tuple(name.split(".")) for name in EVENTS)}
    fields = settings.Settings.model_fields
    assert [
        name for name in sorted(named - others) if name[0] in fields and not is_option(f"ALERTD_{'__'.join(name)}")
    ] == []


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each command that does something, by its words."""
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, f"{path} {name}".strip())


def test_every_command_answers_in_json():
    """But those that run until they are stopped, and the script for a shell."""
    mute = [
        path
        for path, command in commands(typer.main.get_command(cli.app))
        if not any("--json" in parameter.opts for parameter in command.params)
    ]
    assert mute == ["serve", "api", "worker", "sandbox", "completion"]


def test_what_is_refused_so_far_is_told():
    """The list has every field that is understood and not honoured yet, and no other."""
    text = LIMITS.read_text(encoding="utf-8")
    [part] = re.findall(r"^## Not supported yet$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    named = re.findall("`([a-z/.]+)`", part)
    assert sorted(named) == sorted(path.replace("/", ".") for path, *_ in (*rules.NOT_YET, *registration.NOT_YET))


def is_option(variable: str) -> bool:
    """Whether `ALERTD_SECTION__NAME`, or that with `_FILE`, is an option."""
    section, _, name = variable.removeprefix("ALERTD_").lower().partition("__")
    field = settings.Settings.model_fields.get(section)
    if field is None or not name:
        return field is not None
    names = field.annotation.model_fields
    return name in names or name.removesuffix("_file") in names


def test_variables_are_options():
    """Those that the image and compose.yaml set mean something to alertd."""
    image = set(re.findall(r"\b(ALERTD_[A-Z_]+)=", DOCKERFILE))
    composed = set(COMPOSE["services"]["alertd"]["environment"])
    assert image >= {"ALERTD_CONFIG", "ALERTD_STORE__DIRECTORY"}
    assert {name for name in image | composed if not is_option(name)} <= OTHER_VARIABLES


def test_compose_keeps_secrets_in_files_and_ports_at_home():
    """Every secret that is used is a file, no variable holds one, and nothing is reached from outside this machine."""
    services = COMPOSE["services"]
    assert {secret for service in services.values() for secret in service["secrets"]} == set(COMPOSE["secrets"])
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    values = services["alertd"]["environment"].values()
    assert set(values) <= {f"/run/secrets/{name}" for name in COMPOSE["secrets"]}
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_makes_the_store_keep_what_was_acknowledged():
    """The directives are those that a start would warn about if they were weaker."""
    words = COMPOSE["services"]["valkey"]["command"]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    wanted = {"--appendonly": "yes", "--appendfsync": "always", "--maxmemory-policy": "noeviction"}
    assert given | wanted == given


def test_compose_asks_the_store_with_its_password_which_is_no_argument(tmp_path: Path):
    """A store that loads says NOAUTH to strangers; to those it knows it says LOADING, which is not healthy yet."""
    [_, check] = COMPOSE["services"]["valkey"]["healthcheck"]["test"]
    (tmp_path / "conf").write_text("requirepass secret\n")
    client = tmp_path / "valkey-cli"
    client.write_text('#!/bin/sh\n[ "$*" = ping ] && [ "$REDISCLI_AUTH" = secret ] && cat "$ANSWER"\n')
    client.chmod(0o700)
    command = check.replace("$$", "$").replace("/run/secrets/valkey_conf", str(tmp_path / "conf"))
    for answer, code in (("PONG", 0), ("LOADING Valkey is loading the dataset in memory", 1), ("NOAUTH", 1)):
        (tmp_path / "answer").write_text(f"{answer}\n")
        variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ANSWER": str(tmp_path / "answer")}
        assert subprocess.run(["sh", "-c", command], env=variables, check=False, timeout=10).returncode == code, answer


def test_unit_ends_alertd_in_order_and_gives_it_a_folder_of_its_own():
    """systemd signals the first process alone and waits as long as ops/docs/run/start-and-stop.md says; nothing of it is root's."""
    lines = [line for line in UNIT.splitlines() if line and not line.startswith(("#", "["))]
    said = dict(line.split("=", 1) for line in lines)
    wanted = {
        "User": "alertd",
        "StateDirectory": "alertd alertd-tombstones",
        "KillMode": "mixed",
        "TimeoutStopSec": "90",
    }
    assert said | wanted == said
    assert said["ProtectSystem"] == "strict"
    variables = dict(one.split("=") for one in said["Environment"].split())
    data, tombstones = (f"/var/lib/{folder}" for folder in said["StateDirectory"].split())
    assert variables["ALERTD_STORE__DIRECTORY"] == data
    assert Path(variables["ALERTD_STORE__TOMBSTONES"]).parent == Path(
        tombstones
    )  # what may be written, and no copy of the data holds
    assert {name for name in variables if not is_option(name)} <= OTHER_VARIABLES
    assert len(said) == len(lines)
