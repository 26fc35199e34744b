"""`alertd keys rotate-master` against a service that sends an alert: nobody is lost, and the old key opens nothing any more."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from alertd.store.engine import keys
from alertd.store.engine.codec import NEXT_KEY, Codec, Keys, SealError, mark_of
from tests.acceptance.commands import alertd, done, environment, refused
from tests.acceptance.conftest import CHANNELS, STORE_KEYS, Served, first_key, start
from tests.sampling import sampled

PEOPLE = 3_000
SLOW = {"rules": [{"prefix": "", "do": "slow", "delay_s": 0.2}]}
NUMBER = "+34600123456"


def rotating(served: Served, *words: str) -> subprocess.Popen[str]:
    """The command as it runs, at no terminal."""
    command = [sys.executable, "-m", "alertd", "keys", "rotate-master", *words]
    return subprocess.Popen(command, env=environment(served), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def subscriber(number: str) -> dict[str, Any]:
    return {
        "languages": ["es"],
        "kinds": ["missing-child"],
        "places": {"home": {"point": [-5.98, 37.39]}},
        "addresses": [{"channel": "sms", "number": number}],
        "consent": {"at": "2026-01-01T00:00:00Z", "source": "app"},
    }


def old_seals(served: Served, mark: bytes) -> list[str]:
    """The keys of the store with a value that begins as those of a key do; but for the audit's, which nothing can rewrite."""
    with Redis(unix_socket_path=str(served.directory / "server.sock")) as store:
        found = []
        for raw in store.scan_iter(count=1_000):
            match store.type(raw):
                case b"string":
                    blob = store.get(raw)
                    values = [blob, blob[4:]]
                case b"hash":
                    values = store.hvals(raw)
                case _:
                    values = []
            if any(value.startswith(mark) for value in values):
                found.append(raw.decode())
        return found


def test_the_master_key_rotates_while_an_alert_is_sent(
    installation: Callable[..., Served], alert: dict[str, Any], tmp_path: Path
):
    """People stay found by address, id and number; evidence, audit, sessions and a restart work; old copies need their old keys."""
    served = installation(PEOPLE)
    assert served.call("PUT", "/v1/subscribers/eva", subscriber(NUMBER))[0] in {200, 201}
    ended = served.approved({**alert, "channels": ["mail"]})
    served.wait_for(lambda: served.progress(ended)["state"] == "sent")
    (tmp_path / "key.pem").write_text(served.call("GET", "/v1/evidence/key")[1]["pem"])
    (tmp_path / "evidence.json").write_text(json.dumps(served.call("GET", f"/v1/alerts/{ended}/evidence")[1]))
    done(served, "backup", str(tmp_path / "backup"), "--keys", str(tmp_path / "keys"))
    old = Keys.load(served.directory)
    assert old_seals(served, mark_of(old.master))
    for channel in CHANNELS:
        served.control(channel, SLOW)
    alert_id = served.approved({**alert, "external_id": "second", "case": {**alert["case"], "number": "SE-2026-2"}})
    with rotating(served) as command:
        served.wait_for((served.directory / NEXT_KEY).exists)
        assert "being rotated" in refused(served, "backup", str(tmp_path / "half"))
        told, remarks = command.communicate(timeout=240)
    assert command.returncode == 0, remarks
    assert "Sealing all values again under the new master key" in told
    assert "The master key and the hashing secret are rotated" in told.splitlines()[-1]
    assert "Delete those backups" in remarks
    for channel in CHANNELS:
        served.control(channel, {"rules": []})
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    for counts in served.progress(alert_id)["channels"].values():
        assert counts.get("accepted", 0) + counts.get("delivered", 0) == counts["targeted"] > 0, counts
    works(served, tmp_path)
    assert old_seals(served, mark_of(old.master)) == []
    new = Keys.load(served.directory)
    assert new.master != old.master
    assert new.hashing != old.hashing
    assert files_with(served.directory, old.hashing or b"") == []
    key = served.call("GET", "/v1/evidence/key")[1]
    assert [one["pem"] for one in key["earlier"]] == [(tmp_path / "key.pem").read_text()]
    assert not (served.directory / NEXT_KEY).exists()
    assert served.stop() == 0
    served.start()
    works(served, tmp_path)
    assert served.progress(alert_id)["state"] == "sent"
    errors = [line for line in served.log.read_text().splitlines() if '"level": "error"' in line or "Traceback" in line]
    assert errors == []
    assert served.stop() == 0
    shutil.move(served.directory, tmp_path / "replaced")
    copy = str(tmp_path / "backup")
    assert "other keys" in refused(served, "restore", copy, "--nothing-purged", "--keys", str(tmp_path / "replaced"))
    done(served, "restore", copy, "--nothing-purged", "--keys", str(tmp_path / "keys"))
    served.start()
    works(served, tmp_path)


def files_with(directory: Path, key: bytes) -> list[str]:
    """The files of a data directory that show a key."""
    forms = (key, base64.b64encode(key), key.hex().encode())
    files = [file for file in directory.rglob("*") if file.is_file()]
    return [file.name for file in files if any(form in content(file) for form in forms)]


def content(file: Path) -> bytes:
    """What is in a file; nothing if a rewrite of the append-only file deleted it meanwhile."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def works(served: Served, folder: Path) -> None:
    """What was there before the rotation is found and holds."""
    status, found = served.call("POST", "/v1/subscribers/lookup", {"channel": "sms", "value": NUMBER})
    assert (status, found.get("id")) == (200, "eva"), found
    status, found = served.call("GET", "/v1/subscribers/eva")
    assert status == 200
    assert NUMBER in json.dumps(found)
    status, refusal = served.call("PUT", "/v1/subscribers/another", subscriber(NUMBER))
    assert (status, refusal["type"]) == (409, "/problems/duplicate-address")
    assert alertd(served, "audit", "verify").returncode == 0
    assert (
        alertd(served, "evidence", "verify", str(folder / "evidence.json"), "--key", str(folder / "key.pem")).returncode
        == 0
    )


@pytest.mark.parametrize("phase", sampled([("sealing",), ("naming",)], lambda phase: phase == "naming"))
def test_a_rotation_goes_on_after_everything_was_killed(installation: Callable[..., Served], phase: str):
    """Whoever runs the command again follows it to its end."""
    served = installation(500)
    old = Keys.load(served.directory)
    done(served, "keys", "rotate-master", "--no-wait")
    served.wait_for(lambda: served.call("GET", "/v1/master-key/rotation")[1]["state"] == phase)
    served.process.kill()
    served.ended()
    served.start()
    with rotating(served, "--json") as command:
        told, remarks = command.communicate(timeout=240)
    assert command.returncode == 0, remarks
    assert json.loads(told.splitlines()[-1])["state"] == "done"
    assert old_seals(served, mark_of(old.master)) == []
    assert served.call("GET", "/v1/subscribers/sample-1-1")[0] == 200
    assert alertd(served, "audit", "verify").returncode == 0


def test_a_rotation_that_stops_names_the_values_that_do_not_open(installation: Callable[..., Served]):
    """And keeps the old key until somebody gives them up."""
    served = installation(10)
    name = keys.subscriber(1)
    with Redis(unix_socket_path=str(served.directory / "server.sock")) as store:
        sealed = store.get(name)
        store.set(name, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    said = refused(served, "keys", "rotate-master")
    assert f"by their keys in the store: {name}." in " ".join(said.split())
    assert served.call("GET", "/v1/master-key/rotation")[1]["unreadable_keys"] == [name]
    assert (served.directory / NEXT_KEY).exists()
    assert alertd(served, "keys", "rotate-master", "--give-up-unreadable").returncode == 0
    assert not (served.directory / NEXT_KEY).exists()


def test_a_shared_store_waits_for_every_process_and_needs_no_restart(valkey: str, tmp_path: Path):
    """The new key appears in a file that the processes were told of, on one machine after the other."""
    files = [tmp_path / f"next-{kind}.key" for kind in ("api", "worker")]
    common = {
        **STORE_KEYS,
        "ALERTD_STORE__URL": valkey,
        "ALERTD_STORE__DIRECTORY": str(tmp_path),
        "ALERTD_API__PORT": "0",
    }
    api = Served(tmp_path / "api", 0)
    running = []
    try:
        for kind, file in zip(("api", "worker"), files, strict=True):
            variables = {**common, "ALERTD_STORE__NEXT_MASTER_KEY_FILE": str(file)}
            running.append(start(kind, variables, tmp_path / f"{kind}.log"))
            if kind == "api":
                api.process = running[0]
                api.url = api._said(r"listens on (\S+)")
                api.key = first_key(api._said(r"first sign-in are in (.+), which"))
        assert "store.next_master_key_file" in refused(api, "keys", "rotate-master")
        files[0].write_text("00" * 31 + "01")
        with Redis.from_url(valkey) as store:
            api.wait_for(lambda: store.hlen(keys.PROCESSES) == 2)
            assert done(api, "keys", "rotate-master", "--no-wait")["waiting_for"] == 1
            assert api.call("GET", "/v1/master-key/rotation")[1]["state"] == "spreading"
            files[1].write_text("00" * 31 + "01")
            api.wait_for(lambda: api.call("GET", "/v1/master-key/rotation")[1]["state"] == "done")
            sealed = next(store.get(raw) for raw in store.scan_iter("{k:*") if not raw.endswith(b":used"))
            name = next(raw.decode() for raw in store.scan_iter("{k:*") if not raw.endswith(b":used"))
        assert Codec(Keys(master=bytes(31) + b"\1", hashing=b"h" * 32)).master.open(sealed, name)
        with pytest.raises(SealError):
            Codec(Keys(master=b"m" * 32, hashing=b"h" * 32)).master.open(sealed, name)
    finally:
        for process in running:
            process.terminate()
            process.communicate(timeout=60)
