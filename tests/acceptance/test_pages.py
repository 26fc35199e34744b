"""The README and the pages beside it say what is true: their calls run word for word, their configuration loads."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from alertd.config import settings
from alertd.config.carriers import CARRIERS
from tests.acceptance.conftest import Served
from tests.pages import DOCS, ROOT, WALK
from tests.pictures import drawn, written

#: Those that may show configuration.
CONFIGURED = [ROOT / "README.md", *sorted(ROOT.joinpath("ops").rglob("*.md"))]
#: Between the outputs of two blocks; no answer holds it.
SEPARATOR = "\x1e"
#: What differs each time, wherever it stands in a text: ids of alerts, photos, events and webhooks, times, secrets, ids of requests and of keys.
VARYING = re.compile(
    r"\b[0-9A-HJKMNP-TV-Z]{26}\b|\bmed_[\w-]+|\d{4}-\d\d-\d\dT[\d:.]+Z|\b(?:live|test)_[\w-]+|\bevt_\w+|\bwh_\w+|\bwhsec_\S+|\b[0-9a-f]{32}\b|\b[0-9a-f]{12}\b"
)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block, with the answer that directly follows it, if there is one."""

    language: str
    text: str
    answer: str = ""
    answer_language: str = ""


def blocks(language: str, pages: Sequence[Path] = WALK) -> list[Block]:
    """The blocks of one language, in order."""
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    found = re.findall(r"^```(\w+)\n(.*?)^```\n(?:```(json|text)\n(.*?)^```\n)?", text, re.DOTALL | re.MULTILINE)
    return [Block(name, text, answer, kind) for name, text, kind, answer in found if name == language]


@pytest.fixture(scope="module")
def outputs(served: Served, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each `sh` block printed, run in order in one shell."""
    script = f"\nprintf '{SEPARATOR}'\n".join(block.text for block in blocks("sh"))
    environment = {
        **os.environ,
        "ALERTD_URL": served.url,
        "ALERTD_KEY": served.key,
        "METRICS_URL": served.metrics,
        "DATA": str(served.directory),
    }
    folder = tmp_path_factory.mktemp("shell")
    (folder / "lucia.jpg").write_bytes(written(drawn(1200, 1600)))
    done = subprocess.run(
        ["bash", "-e"],
        input=script,
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.split(SEPARATOR)


def test_calls_answer_as_the_pages_show(outputs: list[str]):
    """Each call answers what is shown: the same keys and words; ids, times and keys may differ, and numbers in value."""
    shown = blocks("sh")
    assert len(outputs) == len(shown) > 10
    wrong = [
        f"{block.text.strip()}\n  " + "\n  ".join(faults)
        for block, output in zip(shown, outputs, strict=True)
        if (faults := list(_faults(block, output)))
    ]
    assert not wrong, "\n\n".join(wrong)


def test_the_start_of_the_api_s_page_submits_approves_follows_and_ends(served: Served, tmp_path: Path):
    """The commands at the top of /docs run word for word; the alert has eight members and its answer is the one shown."""
    page = urllib.request.urlopen(f"{served.url}/docs", timeout=30).read().decode()
    runs, (shown,) = (
        [html.unescape(text) for text in re.findall(rf'<code class="{name}">(.*?)</code>', page, re.DOTALL)]
        for name in ("run", "answer")
    )
    assert len(runs) == 5
    done = subprocess.run(
        ["bash", "-e"],
        input=f"\nprintf '{SEPARATOR}'\n".join(runs),
        env={**os.environ, "ALERTD_URL": served.url, "ALERTD_KEY": served.key},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, submitted, approved, followed, ended = done.stdout.split(SEPARATOR)
    assert list(differences(json.loads(shown), json.loads(submitted))) == []
    assert json.loads(approved)["approver"] == "bea@centre.example"
    last = json.loads(followed.rpartition("data: ")[2])
    assert (last["state"], last["nobody"]) == ("sent", False)
    assert json.loads(ended)["state"] == "stood_down"
    request = json.loads(re.sub(r"'\$\(.*?\)'", "…", runs[1][runs[1].index("{") : runs[1].rindex("}") + 1]))
    assert len(request) == 8


def test_configuration_that_is_shown_is_accepted(tmp_path: Path):
    """Every TOML block loads, and every kind of carrier is shown."""
    (tmp_path / "secret").write_text("secret\n")
    texts = [
        re.sub(r'(?<=_file = )"[^"]*"', f'"{tmp_path}/secret"', block.text) for block in blocks("toml", CONFIGURED)
    ]
    kinds: set[type] = set()
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.toml"
        file.write_text(text, encoding="utf-8")
        kinds |= {type(carrier) for carrier in settings.load(file).carriers.values()}
    assert kinds == set(CARRIERS)


def test_metrics_that_are_named_are_served(served: Served, outputs: list[str]):
    """Every metric on these pages is a family of /metrics or /metrics/fleet."""
    assert outputs  # the walk is over, so that every series has had its chance
    with_key = {"Authorization": f"Bearer {served.key}"}
    served_text = "".join(
        urllib.request.urlopen(urllib.request.Request(served.metrics + path, headers=with_key), timeout=30)
        .read()
        .decode()
        for path in ("/metrics", "/metrics/fleet")
    )
    families = set(re.findall(r"^# TYPE (\S+)", served_text, re.MULTILINE))
    named = {
        name
        for page in (*WALK, *DOCS.rglob("*.md"))
        for name in re.findall(r"`(alertd_[a-z_]+)`", page.read_text(encoding="utf-8"))
    }
    volumes = {
        f"alertd_{name}"
        for name in yaml.safe_load((ROOT / "ops" / "compose.yaml").read_text(encoding="utf-8"))["volumes"]
    }
    assert len(named) > 20
    assert named - volumes <= families


def _faults(block: Block, output: str) -> Iterator[str]:
    """How the output of a block differs from what is shown."""
    begun = output.strip().replace('"state":"sending"', '"state":"approved"')  # of a slow call, it may be
    lines = begun.splitlines() or [""]
    if block.answer_language == "json":
        try:
            came = json.loads(lines[-1])
        except ValueError:
            yield f"this is no JSON: {output}"
        else:
            yield from differences(json.loads(block.answer), came)
    elif block.answer_language == "text":
        if NUMBER.sub("0", block.answer.strip()) != NUMBER.sub("0", begun):
            yield f"shown {block.answer}, came {output}"
    elif output.strip():
        yield f"nothing is shown, came {output}"


def differences(shown: Any, came: Any, where: str = "") -> Iterator[str]:
    """Where an answer has other keys, another length or other words than the one that is shown. "…" stands for anything."""
    if shown == "…":
        return
    if isinstance(shown, dict) and isinstance(came, dict):
        if shown.keys() != came.keys():
            yield f"{where or '/'}: shown {sorted(shown)}, came {sorted(came)}"
        for name in shown.keys() & came.keys():
            yield from differences(shown[name], came[name], f"{where}/{name}")
    elif isinstance(shown, list) and isinstance(came, list):
        if len(shown) != len(came):
            yield f"{where}: shown {len(shown)} members, came {came}"
        for index, (one, other) in enumerate(zip(shown, came, strict=False)):
            yield from differences(one, other, f"{where}/{index}")
    elif _alike(shown) != _alike(came):
        yield f"{where}: shown {shown!r}, came {came!r}"


def _alike(value: Any) -> Any:
    """The same for all values that may stand for each other."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)) or value in {"<20", "<100"}:  # small counts
        return 0
    return VARYING.sub("…", value)
