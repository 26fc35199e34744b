"""A newcomer sets up one carrier of each kind with a mistake in each: the command line, the metrics and the check name each one's cause."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from tests.acceptance.carrier_logins import SECRET, carriers, is_known, mistaken, plain_http, running, sandbox
from tests.acceptance.commands import alertd
from tests.acceptance.configured import Configured

__all__ = ["mistaken", "plain_http", "running", "sandbox"]

#: By carrier, what its cause has to say.
CAUSES = {
    "relay": ("refused the login: 535 5.7.8", "carriers.relay.user and carriers.relay.password."),
    "down-here": ("refused the connection", "carriers.down-here.host and carriers.down-here.port."),
    "centre": ("refused the login: invalid password (0x0E)", "carriers.centre.system_id, carriers.centre.password"),
    "texts": ("refused the login: HTTP 401", "carriers.texts.account and carriers.texts.password."),
    "phones": ("speaks plain HTTP, not HTTPS", "carriers.phones.endpoint."),
}
OWN = {"mail": "me@centre.example", "sms": "+34600000001", "push": "token-of-mine"}


def test_every_mistake_is_named_before_the_first_message(running: Configured, tmp_path: Path):
    """With host, port, the carrier's words and the settings, in the list, in each test, in the metrics and by the check; without a password."""
    running.wait_for(lambda: is_known(running))
    listed = alertd(running, "carriers", "list", ALERTD_URL=running.url)
    assert listed.returncode == 0
    lines = {line.split()[0]: line for line in listed.stdout.decode().splitlines()}
    with urllib.request.urlopen(f"{running.metrics}/metrics/fleet", timeout=30) as answer:
        metrics = answer.read().decode()
    checked = alertd(running, "--config", str(tmp_path / "alertd.toml"), "check", "--json")
    assert checked.returncode == 1
    found = {one["part"]: one for one in json.loads(checked.stdout)["findings"]}
    for name, (says, settings) in CAUSES.items():
        one = carriers(running)[name]
        assert says in lines[name], lines[name]
        assert settings in lines[name], lines[name]
        assert f'carrier="{name}",channel="{one["channel"]}",state="{one["state"]}"}} 0.0' in metrics
        assert not found[f"carrier {name}"]["ok"]
        assert says in found[f"carrier {name}"]["says"]
        tested = alertd(running, "carriers", "test", name, OWN[one["channel"]], ALERTD_URL=running.url)
        assert tested.returncode == 1
        assert says in tested.stderr.decode(), tested.stderr
        assert settings in tested.stderr.decode()
        assert "in a while" not in tested.stderr.decode()
    assert SECRET not in listed.stdout.decode() + checked.stdout.decode() + metrics


def test_the_check_finds_mistakes_before_the_service_is_started(mistaken: Configured, tmp_path: Path):
    """It logs in itself, at the SMS centre too while no worker is bound; and what is right works."""
    checked = alertd(mistaken, "--config", str(tmp_path / "alertd.toml"), "check", "--json")
    found = {one["part"]: one for one in json.loads(checked.stdout)["findings"]}
    told = {name: found[f"carrier {name}"] for name in CAUSES}
    assert {name: one["ok"] for name, one in told.items()} == dict.fromkeys(CAUSES, False)
    assert CAUSES["centre"][0] in told["centre"]["says"]
    text = (tmp_path / "alertd.toml").read_text().replace(json.dumps(SECRET), json.dumps("sandbox"))
    (tmp_path / "alertd.toml").write_text(text)
    checked = alertd(mistaken, "--config", str(tmp_path / "alertd.toml"), "check", "--json")
    found = {one["part"]: one for one in json.loads(checked.stdout)["findings"]}
    assert [name for name in CAUSES if found[f"carrier {name}"]["ok"]] == ["centre", "texts"]
    assert found["carrier centre"]["says"].endswith("; works")
