"""The life of a case through the API alone, and what is changed while its alert is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alertd.service.reach import about
from tests.acceptance.cap_calls import published
from tests.acceptance.conftest import Served
from tests.acceptance.photo_calls import hand_in, look
from tests.pictures import drawn, written
from tests.unit.alertd.samples import changed

AT_SEA = [-20.0, 44.0]
NAME_AND_PHOTO = ("Lucía".encode(), b"\xff\xd8\xff\xe0\x00\x10JFIF")
WIDER = {"regions": ["41091", "ES"], "circles": [{"center": AT_SEA, "radius_km": 50}]}


def test_a_restricted_alert_tells_nothing_of_the_child(served: Served, alert: dict[str, Any], ana: str):
    """The told hear once more, at the address of now; photo, API and CAP have nothing any more; saying it again changes nothing."""
    before = served.total("push")
    photo = hand_in(served, written(drawn()))[1]["id"]
    document = changed(alert, "case/children/0/photos", [{"media": photo}])
    alert_id = served.approved({**document, "channels": ["push"], "target": {"regions": ["41091"]}})
    path = f"/v1/alerts/{alert_id}"
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    assert look(served, photo)[0] == 200
    told = served.total("push") - before
    status, answer = served.call("POST", f"{path}/restrict", {"reason": "Her identity is protected"}, ana)
    assert (status, answer["state"], answer["restricted"], answer["told_by"]) == (200, "sent", True, f"{alert_id}-2")
    assert look(served, photo)[0] == look(served, photo, ana)[0] == 410
    shown = served.call("GET", path, key=ana)[1]
    assert shown["alert"]["case"]["children"][0]["name"] is None
    assert "Luc" not in str(shown)
    assert "Luc" not in str(published(served, alert_id, ana))
    served.wait_for(lambda: served.progress(f"{alert_id}-2")["state"] == "sent")
    assert served.total("push") == before + 2 * told
    assert served.call("POST", f"{path}/restrict", {"reason": "again"}, ana)[1]["told_by"] == f"{alert_id}-2"
    assert served.call("POST", f"{path}/restrict", {}, ana)[0] == 400
    entry = next(
        one for one in served.call("GET", "/v1/audit?limit=12")[1]["entries"] if one["act"] == "alert.restrict"
    )
    assert entry["object"] == alert_id
    assert served.call("POST", f"{path}/close", {"outcome": "x"}, ana)[0] == 200
    served.wait_for(lambda: served.progress(f"{alert_id}-3")["state"] == "sent")


def test_an_alert_is_extended_and_nobody_hears_of_it(served: Served, alert: dict[str, Any], ana: str, bea: str):
    """By the second person; its author is refused, and so is an end that is none."""
    before = served.total("push")
    alert_id = served.approved({**alert, "channels": ["push"], "target": {"regions": ["41091"]}})
    path = f"/v1/alerts/{alert_id}"
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    told = served.total("push") - before
    ends = datetime.fromisoformat(served.call("GET", path)[1]["expires"]) + timedelta(hours=5)
    body = {"expires": ends.isoformat(), "reason": "Still missing"}
    status, problem = served.call("POST", f"{path}/extend", body, ana)
    assert (status, problem["type"]) == (403, "/problems/same-person")
    status, answer = served.call("POST", f"{path}/extend", body, bea)
    assert (status, answer["state"], datetime.fromisoformat(answer["expires"])) == (200, "sent", ends)
    assert published(served, alert_id, ana).infos[0].expires == ends.replace(microsecond=0)
    status, problem = served.call("POST", f"{path}/extend", {"expires": "2020-01-01T00:00:00Z", "reason": "x"}, bea)
    assert (status, problem["errors"][0]["pointer"]) == (400, "/expires")
    assert served.call("POST", f"{path}/extend", {"expires": "tomorrow", "reason": "x"}, bea)[0] == 400
    assert served.call("POST", f"{path}/close", {"outcome": "x"}, ana)[0] == 200
    served.wait_for(lambda: served.progress(f"{alert_id}-2")["state"] == "sent")
    assert served.total("push") == before + 2 * told


def test_the_life_of_a_case(installation: Callable[..., Served], alert: dict[str, Any], tmp_path: Path):
    """Draft, returned, submitted, previewed, approved by another, sent, updated with a wider area, extended, stood down, reopened, stood down,
    closed, purged. Those who were told were told again, at a token rotated in between, and whoever was newly inside from then on, too;
    afterwards no file, no answer, no feed and no backup that is put back has her name or photo.
    """
    served = installation(300)
    ana, bea = served.person("ana@centre.example"), served.person("bea@centre.example")
    photo = hand_in(served, written(drawn()))[1]["id"]
    document = changed(alert, "case/children/0/photos", [{"media": photo}]) | {"channels": ["push"]}
    document["publish"] = {"page": False, "feed": True, "area": "regions"}
    alert_id = _approved_at_last(served, document, ana, bea)
    path = f"/v1/alerts/{alert_id}"
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    served.wait_for(lambda: "Lucía" in _public(served, "/feed.atom"))
    assert photo in _public(served, f"/cap/{alert_id}.xml")
    told = served.recorded("push")
    assert served.call("PUT", "/v1/subscribers/maria", _person("after"))[0] == 200
    assert served.call("PUT", "/v1/subscribers/pedro", _person("since"))[0] == 201
    assert served.call("PUT", "/v1/subscribers/newly", _person("newly", at=AT_SEA))[0] == 201
    assert served.call("PUT", "/v1/subscribers/nobody", _person("nobody", at=[13.4, 52.5]))[0] == 201
    _updated(served, alert_id, {**document, "target": WIDER}, len(told), ana, bea)
    told = {**told, "newly": 1, "since": 1}
    ends = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    assert served.call("POST", f"{path}/extend", {"expires": ends, "reason": "Still missing"}, bea)[0] == 200
    for n, step in enumerate(("stand-down", "reopen", "stand-down", "close"), 3):
        body = {"outcome": "Found, well"} if step == "close" else {"reason": "x"}
        status, answer = served.call("POST", f"{path}/{step}", body, bea)
        assert (status, answer["told_by"]) == (200, f"{alert_id}-{n}")
        served.wait_for(lambda: served.progress(answer["told_by"])["state"] == "sent")  # noqa: B023
        served.wait_for(lambda: (step == "reopen") == ("Lucía" in _public(served, "/feed.atom")))  # noqa: B023
    heard = served.recorded("push")
    assert heard == {**dict.fromkeys(told, 6), "before": 1, "after": 5, "newly": 5, "since": 5}

    backup, taken = tmp_path / "backup", tmp_path / "taken"
    taken.touch()
    assert _command(served, "backup", backup, "--keys", taken)[0] == 1
    assert not backup.exists()
    assert _command(served, "backup", backup, "--keys", tmp_path / "keys") == (0, "")
    _proved(served, alert_id, len(told), tmp_path, bea)
    assert served.call("POST", f"{path}/purge", {"reason": "because"}, bea)[0] == 400
    assert served.call("POST", f"{path}/hold", {"reason": "A court asks for it"}, ana)[1]["held"]
    assert served.call("POST", f"{path}/purge", {"reason": "retention"}, bea)[0] == 409
    assert served.call("POST", f"{path}/release", key=ana)[1]["type"] == "/problems/same-person"
    assert not served.call("POST", f"{path}/release", key=bea)[1]["held"]
    status, answer = served.call("POST", f"{path}/purge", {"reason": "retention"}, bea)
    assert (status, answer["state"]) == (200, "purged")
    _rewritten(served, 1)
    _shows_nothing(served, alert_id, photo, ana)
    assert "another alertd" in _command(served, "restore", backup)[1]
    served.stop()
    assert "holds appendonlydir" in _command(served, "restore", backup)[1]
    shutil.rmtree(served.directory)
    assert "--keys" in _command(served, "restore", backup)[1]
    assert _command(served, "restore", backup, "--keys", tmp_path / "keys")[0] == 0
    served.start()
    _rewritten(served, 2)
    _shows_nothing(served, alert_id, photo, ana)
    entries = served.call("GET", "/v1/audit?limit=2")[1]["entries"]
    assert [(one["act"], one["by"]) for one in entries] == 2 * [("store.restore", "alertd restore")]


def _proved(served: Served, alert_id: str, told: int, folder: Path, key: str) -> None:
    """A report says what it came to; evidence is exported and checked, and is none any more when one letter is changed."""
    report = served.call("GET", f"/v1/alerts/{alert_id}/report", key=key)[1]
    assert [one["occasion"] for one in report["versions"]] == [
        "alert",
        "update",
        "stand-down",
        "update",
        "stand-down",
        "close",
    ]
    assert report["outcome"] == "Found, well"
    assert report["people"] >= told == sum(one["channels"]["push"]["accepted"] for one in report["versions"][-1:])
    assert {"alert.submit", "alert.return", "alert.approve", "alert.close"} <= {
        one["act"] for one in report["decisions"]
    }
    (folder / "key.pem").write_text(served.call("GET", "/v1/evidence/key")[1]["pem"])
    signed = json.dumps(served.call("GET", f"/v1/alerts/{alert_id}/evidence", key=key)[1])
    for text, code in ((signed, 0), (signed.replace('"payload": "eyJt', '"payload": "eyJu'), 1)):
        (folder / "evidence.json").write_text(text)
        assert _command(served, "evidence", "verify", folder / "evidence.json", "--key", folder / "key.pem")[0] == code


def _command(served: Served, *words: str | Path) -> tuple[int, str]:
    """A command on the machine of an installation: its exit code, and what it says beside its answer."""
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(served.directory)}
    done = subprocess.run(
        [sys.executable, "-m", "alertd", *words], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def _updated(served: Served, alert_id: str, document: dict[str, Any], told: int, ana: str, bea: str) -> None:
    """By Ana, seen by Bea, refused to Ana, approved by Bea; said twice it is one; told to its end."""
    path, body = f"/v1/alerts/{alert_id}/updates", {**document, "notify": "full"}
    assert served.call("POST", path, document, ana)[0] == 400
    status, counted = served.call("POST", f"{path}?dry_run=true", body, ana)
    assert (status, counted["update"]["of"]) == (202, alert_id), counted
    status, update = served.call("POST", path, body, ana)
    assert (status, update["id"], update["state"]) == (202, f"{alert_id}-2", "pending")
    assert served.call("POST", path, body, ana)[1]["id"] == update["id"]
    assert served.call("POST", path, {**body, "notify": "none"}, ana)[1]["type"] == "/problems/precondition-failed"
    shown = served.call("GET", f"/v1/alerts/{update['id']}", key=bea)[1]
    assert shown["update"] == {"of": alert_id, "notify": "full", "told_again": about(told), "newly_inside": "<100"}
    assert update["id"] in {one["id"] for one in served.call("GET", "/v1/alerts?state=pending", key=bea)[1]["alerts"]}
    assert served.call("POST", f"/v1/alerts/{update['id']}/approve", {}, ana)[1]["type"] == "/problems/same-person"
    assert served.call("POST", f"/v1/alerts/{update['id']}/approve", {}, bea)[0] == 200
    served.wait_for(lambda: served.progress(update["id"])["state"] == "sent")
    assert published(served, alert_id, ana).msg_type == "Update"
    acts = [one["act"] for one in served.call("GET", "/v1/audit?limit=20")[1]["entries"]]
    assert {"alert.update", "alert.approve"} <= set(acts)


def _person(token: str, at: Sequence[float] = (-5.98, 37.39)) -> dict[str, Any]:
    return {
        "languages": ["es"], "kinds": ["missing-child"], "places": {"home": {"point": list(at)}},
        "addresses": [{"channel": "push", "token": token}],
        "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "app"},
    }  # fmt: skip


def _approved_at_last(served: Served, document: dict[str, Any], ana: str, bea: str) -> str:
    """Kept as a draft by Ana, submitted, returned by Bea, changed, submitted again, looked at, and approved."""
    assert served.call("PUT", "/v1/subscribers/maria", _person("before"))[0] == 201
    status, draft = served.call("POST", "/v1/alerts", {**document, "state": "draft"}, ana)
    assert (status, draft["state"]) == (202, "draft")
    path = f"/v1/alerts/{draft['id']}"
    assert served.call("POST", f"{path}/submit", key=ana)[1]["state"] == "pending"
    assert served.call("POST", f"{path}/return", {"reason": "Wider"}, bea)[1]["state"] == "returned"
    assert served.call("PATCH", path, {"target": {"regions": ["41091", "ES"]}}, ana)[0] == 200
    assert served.call("POST", f"{path}/submit", key=ana)[1]["state"] == "pending"
    status, preview = served.call(
        "POST", "/v1/targets/preview", {"target": {"regions": ["ES"]}, "kind": "missing-child"}, bea
    )
    assert status == 200, preview
    assert served.call("POST", f"{path}/approve", {}, ana)[1]["type"] == "/problems/same-person"
    assert served.call("POST", f"{path}/approve", {}, bea)[0] == 200
    return str(draft["id"])


def _public(served: Served, path: str) -> str:
    """What everybody may read, without a key; '' for what is not there."""
    try:
        with urllib.request.urlopen(served.url + path, timeout=30) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return ""


def _rewritten(served: Served, times: int) -> None:
    """The append-only file was rewritten so often because of a purge, and that has ended."""
    served.wait_for(lambda: served.log.read_bytes().count(b"store.rewrite_requested") >= times)
    served.wait_for(lambda: not any(served.directory.rglob("temp-*")))


def _shows_nothing(served: Served, alert_id: str, photo: str, key: str) -> None:
    """Neither the API nor CAP, nor what everybody may read, nor any file of the data directory or the log."""
    assert alert_id not in _public(served, "/feed.atom")
    assert _public(served, f"/cap/{alert_id}.xml") == ""
    shown = served.call("GET", f"/v1/alerts/{alert_id}", key=key)[1]
    assert (shown["state"], shown["alert"], shown["reason"]) == ("purged", None, None)
    assert served.call("GET", f"/v1/alerts/{alert_id}.cap", key=key)[0] == 404
    assert look(served, photo, key)[0] == 410
    files = [file for file in (*served.directory.rglob("*"), served.log) if file.is_file()]
    assert [file.name for file in files if any(one in file.read_bytes() for one in NAME_AND_PHOTO)] == []
