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
    "down-relay": ("refused the connection", "carriers.down-relay.host and carriers.down-relay.port."),
    "centre": ("refused the login: invalid password (0x0E)", "carriers.centre.system_id, carriers.centre.password"),
    "texts": ("refused the login: HTTP 401", "carriers.texts.account and carriers.texts.password."),
    "phones": ("speaks plain HTTP, not HTTPS", "carriers.phones.endpoint."),
}
OWN = {"mail": "me@centre.example", "sms": "+34600000001", "push": "token-of-mine"}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Carriers in a thread of their own. The relay lets in nobody with a wrong password."""
    (tmp_path / "carriers").mkdir()
    running = Sandbox(tmp_path / "carriers")
    running.mail.account = ("alertd", "the right one")
    with in_a_thread(running):
        yield running


@pytest.fixture
def plain_http() -> Iterator[int]:
    """The port of a server that speaks HTTP without TLS."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(30)


@pytest.fixture
def mistaken(tmp_path: Path, sandbox: Sandbox, plain_http: int) -> Configured:
    """An installation with a mistake in each carrier, not started yet."""
    ends = sandbox.endpoints
    of_relay = {**ends["mail"], "kind": "smtp", "sender": "alerts@centre.example"}
    tables: dict[str, dict[str, Any]] = {
        "store": {"directory": str(tmp_path / "data"), "reserve_mb": 1}, "api": {"port": 0},
        "worker": {"processes": 1},
        "carriers.relay": {**of_relay, "user": "alertd", "password": SECRET},
        "carriers.down-relay": {**of_relay, "port": 1},
        "carriers.centre": {**ends["smpp"], "kind": "smpp", "password": SECRET},
        "carriers.texts": {
            "kind": "twilio", "account": ends["sms"]["account"], "password": SECRET, "sender": "+15005550006",
            "endpoint": ends["sms"]["endpoint"], "ca_file": ends["sms"]["ca_file"],
        },
        "carriers.phones": {**ends["push"], "kind": "fcm", "endpoint": f"https://127.0.0.1:{plain_http}"},
    }  # fmt: skip
    (tmp_path / "alertd.toml").write_text("".join(f"[{name}]\n{in_toml(table)}" for name, table in tables.items()))
    return Configured(tmp_path, 0)


@pytest.fixture
def running(mistaken: Configured) -> Iterator[Configured]:
    """The same, started: a mistake in a carrier keeps no service from starting."""
    mistaken.start()
    mistaken.metrics = mistaken._said(r"Metrics are at (\S+)/metrics and")
    yield mistaken
    assert mistaken.stop() == 0


def carriers(served: Configured) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in served.call("GET", "/v1/carriers")[1]["carriers"]}


def is_known(served: Configured) -> bool:
    return all(one["cause"] and one["state"] != "no_worker" for one in carriers(served).values())


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
