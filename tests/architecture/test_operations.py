"""What operators copy works: the commands and variables of the image, of compose.yaml and of the pages exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

from alertd import cli, config

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "ops").rglob("*.md")))
COMPOSE = yaml.safe_load((ROOT / "ops" / "compose.yaml").read_text(encoding="utf-8"))
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


def is_option(variable: str) -> bool:
    """Whether `ALERTD_SECTION__NAME`, or that with `_FILE`, is an option."""
    section, _, name = variable.removeprefix("ALERTD_").lower().partition("__")
    field = config.Settings.model_fields.get(section)
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
