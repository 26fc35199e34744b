"""`alertd keys recover`: a new administrator's key, made on the machine of the store by whoever has its files."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from alertd.store.engine.codec import Keys
from tests.acceptance.commands import done, refused
from tests.acceptance.conftest import STORE_KEYS, Served, start

pytestmark = pytest.mark.shares

RECOVER = ("keys", "recover")


def recovered(directory: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command without any key, as on the machine itself."""
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(directory), **variables}
    command = [sys.executable, "-m", "alertd", *RECOVER, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_lost_administrators_key_is_recovered_on_the_machine(served: Served):
    """The new key administers. The audit says who asked for it, an event says so to the organisation's programs, and the list of keys, which the
    console shows, marks it until it is revoked.
    """
    ran = recovered(served.directory, "--subject", "ana@centre.example")
    assert ran.returncode == 0, ran.stderr
    token = re.search(r"export ALERTD_KEY=(live_\S+)\n$", ran.stdout)
    assert token, ran.stdout
    key = token[1].split("_")[1]
    assert f"alertd keys revoke {key}" in ran.stderr
    me = served.call("GET", "/v1/me", key=token[1])[1]
    assert (me["subject"], me["scopes"], me["organisation"]) == ("ana@centre.example", ["admin"], "default")
    marked = [one for one in served.call("GET", "/v1/keys")[1]["keys"] if one["recovered"]]
    assert [one["key"] for one in marked] == [key]
    acts = [one for one in served.call("GET", "/v1/audit")[1]["entries"] if one["act"] == "key.recover"]
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert [(one["outcome"], one["object"], one["facts"]) for one in acts] == [
        ("done", key, {"holder": "ana@centre.example", "machine_user": user}),
        ("begun", None, {}),
    ]
    assert served.call("GET", "/v1/audit/verify")[1]["broken"] is None
    events = [one for one in served.call("GET", "/v1/events")[1]["events"] if one["type"] == "key.recovered"]
    assert [one["data"] for one in events] == [{"key": key}]
    assert done(served, "keys", "revoke", key) == {"revoked": key}
    assert all(one["recovered"] is None for one in served.call("GET", "/v1/keys")[1]["keys"])


def test_a_key_is_recovered_for_a_person_alone(served: Served):
    """A name that no key could have is refused, and no key is made."""
    before = served.call("GET", "/v1/keys")[1]
    assert "--subject must be the name of a person" in refused(served, *RECOVER, "--subject", "")
    assert served.call("GET", "/v1/keys")[1] == before


def test_a_store_that_does_not_run_makes_no_key(tmp_path: Path):
    """It says what to start, and makes no store of its own."""
    ran = recovered(tmp_path / "data")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"no store runs on {tmp_path / 'data'}: start alertd there" in ran.stderr
    assert not (tmp_path / "data").exists()


def test_a_server_that_is_gone_and_a_store_without_data_get_no_key(valkey: str, tmp_path: Path):
    """What a killed server left behind is no store; and an empty store, as of a wrong address, stays empty."""
    data = tmp_path / "data"
    data.mkdir()
    Keys.load_or_make(data)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(data / "server.sock"))
    ran = recovered(data)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "the store does not answer" in ran.stderr
    ran = recovered(data, ALERTD_STORE__URL=valkey, **STORE_KEYS)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "the store has no data of alertd" in ran.stderr
    with Redis.from_url(valkey) as store:
        assert store.dbsize() == 0


def test_a_key_of_a_store_of_ones_own_is_recovered_with_the_stores_keys(valkey: str, tmp_path: Path):
    """With `store.url` the store's address and master key are what the machine has; another master key opens nothing."""
    environment = {"ALERTD_STORE__URL": valkey, **STORE_KEYS}
    api = start(
        "api",
        {**environment, "ALERTD_STORE__DIRECTORY": str(tmp_path / "data"), "ALERTD_API__PORT": "0"},
        tmp_path / "api",
    )
    assert api.stdout is not None
    url = api.stdout.readline().split()[-1]
    ran = recovered(tmp_path / "data", "--json", **environment)
    assert ran.returncode == 0, ran.stderr
    listed: Any = subprocess.run(
        [sys.executable, "-m", "alertd", "keys", "list", "--url", url],
        env={**os.environ, "ALERTD_KEY": re.findall(r"live_[\w-]+", ran.stdout)[0]},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert listed.stdout.count("administrator") == 2
    wrong = recovered(
        tmp_path / "data", **{**environment, "ALERTD_STORE__MASTER_KEY": STORE_KEYS["ALERTD_STORE__HASH_KEY"]}
    )
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "other keys" in wrong.stderr
    api.send_signal(signal.SIGTERM)
    assert api.wait(60) == 0
    api.stdout.close()
