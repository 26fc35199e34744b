"""The command line as its users have it: a child process that calls a running service, and answers in words and numbers."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.api_samples import the_alert
from tests.acceptance.commands import alertd, done, environment, refused
from tests.acceptance.conftest import CHANNELS, Served
from tests.ports import free_port

HARBOUR = [[[-6.02, 37.33], [-5.98, 37.33], [-5.98, 37.36], [-6.02, 37.36], [-6.02, 37.33]]]
CONSENT = {"at": "2026-01-10T12:00:00+01:00", "source": "paper"}
CSV = """id;languages;kinds;sms;mail;home.lon;home.lat;school.region;consent.at;consent.source
csv-1;es|en;missing-child;+34 600 11 22 33;ana@correo.example;-5.98;37.39;41091;2026-01-10T12:00:00+01:00;paper
csv-2;es;missing-child;+34;;east;37.39;;2026-01-10T12:00:00+01:00;paper
"""


@pytest.fixture(scope="module")
def bea(served: Served) -> str:
    """A key of a second person."""
    return str(done(served, "keys", "create", "--subject", "bea@centre.example", "--scope", "admin")["token"])


@pytest.fixture(scope="module")
def ana(served: Served) -> str:
    """A key of the author."""
    return str(done(served, "keys", "create", "--subject", "ana@centre.example", "--scope", "admin")["token"])


def test_alert_is_sent_by_one_approved_by_another_and_watched(
    served: Served, ana: str, bea: str, alert: dict[str, Any], tmp_path: Path
):
    """`send --watch` says who must act, refuses the author's own approval, and stays until everyone is told; an update of it says how many
    are told again, and waits for another person, too.
    """
    file = tmp_path / "alert.json"
    file.write_text(json.dumps(alert))
    command = [sys.executable, "-m", "alertd", "send", str(file), "--watch", "--json"]
    with subprocess.Popen(command, env=environment(served, ana), stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        taken = json.loads(watching.stdout.readline())
        assert taken["state"] == "pending"
        review = alertd(served, "alerts", "show", taken["id"], key=bea).stdout.decode()
        for fact in ("Policía Nacional", "useful-information", "push, sms, mail", "ES", "Lucía P.", "116000"):
            assert fact in review
        assert alertd(served, "alerts", "approve", taken["id"], key=bea).returncode == 2
        assert "(same-person)" in refused(served, "alerts", "approve", taken["id"], "--seen", "1", key=ana)
        approved = alertd(served, "alerts", "approve", taken["id"], "--seen", "1", key=bea)
        assert approved.returncode == 0
        assert approved.stdout.decode().startswith(f"Alert {taken['id']} is approved: ")
        events = [json.loads(line) for line in watching.stdout]
        assert watching.wait(60) == 0
    assert events[0]["state"] == "pending"
    assert events[-1]["state"] == "sent"
    assert served.total("push") == events[-1]["channels"]["push"]["accepted"] > 0
    shown = done(served, "alerts", "show", taken["id"])
    assert (shown["state"], shown["approver"]) == ("sent", "bea@centre.example")
    assert taken["id"] in [each["id"] for each in done(served, "alerts", "list", "--state", "sent")["alerts"]]
    order = ("alerts", "update", taken["id"], "-", "--notify")
    assert "  /notify: " in refused(served, *order, "loud", key=ana, given=file.read_bytes())
    assert alertd(served, *order, "full", key=ana, given=b"no JSON").returncode == 2
    said = alertd(served, *order, "none", "--dry-run", key=ana, given=file.read_bytes()).stdout.decode()
    assert "told again" in said
    assert "newly inside" in said
    update = done(served, *order, "none", key=ana, given=file.read_bytes())
    assert (update["id"], update["state"]) == (f"{taken['id']}-2", "pending")
    review = alertd(served, "alerts", "show", update["id"], "--language", "es", key=bea).stdout.decode()
    assert "told_again" in review
    assert "push, es:\n  Actualización" in review
    assert done(served, "alerts", "approve", update["id"], "--seen", "1", key=bea)["update"]["of"] == taken["id"]


def test_a_test_that_had_nobody_to_notify_says_so_and_how_to_register_a_tester(
    served: Served, ana: str, alert: dict[str, Any]
):
    """The command ends with 3, and API and log say it, too. With the printed recipe the next Test reaches its tester, and ends with 0."""
    at_sea = {"circles": [{"center": [-9.5, 43.5], "radius_km": 5}]}

    def sent(external_id: str) -> subprocess.CompletedProcess[bytes]:
        document = {**alert, "status": "Test", "external_id": external_id, "target": at_sea}
        return alertd(served, "send", "-", "--watch", key=ana, given=json.dumps(document).encode())

    ran = sent("nobody-1")
    told = ran.stderr.decode()
    assert (ran.returncode, "There was no one to notify." in told) == (3, True), told
    (listed,) = done(served, "alerts", "list", "--external-id", "nobody-1")["alerts"]
    assert (listed["state"], listed["nobody"], served.progress(listed["id"])["nobody"]) == ("sent", True, True)
    assert f'"alert": "{listed["id"]}", "status": "Test", "event": "alert.sent_to_nobody"' in served.log.read_text()
    (line,) = re.findall(r"echo '(.*)' >tester.ndjson", told)
    tester = line.replace("LONGITUDE, LATITUDE", "-9.5, 43.5").replace("YOU@EXAMPLE.ORG", "tester@centre.example")
    assert done(served, "subscribers", "import", "-", given=tester.encode())
    again = sent("nobody-2")
    assert again.returncode == 0, again.stderr.decode()
    (listed,) = done(served, "alerts", "list", "--external-id", "nobody-2")["alerts"]
    assert (listed["nobody"], served.progress(listed["id"])["channels"]["mail"]["targeted"]) == (False, 1)


def test_alert_of_which_nothing_comes(served: Served, ana: str, bea: str, alert: dict[str, Any]):
    """A dry run keeps nothing; the same word for it sends it once; returned, submitted again, rejected, it is watched to its end with 1."""
    document = json.dumps({**alert, "external_id": "cli-1"}).encode()
    assert done(served, "send", "-", "--dry-run", key=ana, given=document)["audience"]["people"] > 20
    assert done(served, "alerts", "list", "--external-id", "cli-1")["alerts"] == []
    first, second = (
        done(served, "send", "-", "--idempotency-key", "cli-1", key=ana, given=document)["id"] for _ in range(2)
    )
    assert first == second
    twin = done(served, "send", "-", key=ana, given=document.replace(b"cli-1", b"cli-2"))["id"]
    assert f"has another alert: {twin} is pending, " in alertd(served, "alerts", "show", first, key=bea).stderr.decode()
    assert done(served, "alerts", "reject", twin, "--reason", "twice", key=bea)["state"] == "rejected"
    assert twin not in alertd(served, "alerts", "show", first, key=bea).stderr.decode()
    seen = str(done(served, "alerts", "show", first, key=bea)["version"])
    assert (
        done(served, "alerts", "return", first, "--reason", "wrong area", "--seen", seen, key=bea)["state"]
        == "returned"
    )
    assert done(served, "alerts", "submit", first, key=ana)["state"] == "pending"
    assert "changed since you read it" in refused(served, "alerts", "approve", first, "--seen", seen, key=bea)
    assert done(served, "alerts", "reject", first, "--reason", "found", key=bea)["state"] == "rejected"
    assert "ended as rejected" in refused(served, "alerts", "watch", first)
    assert "(precondition-failed)" in refused(served, "alerts", "submit", first, key=ana)


def test_send_says_that_an_alert_is_the_repeat_of_an_earlier_one(served: Served, ana: str, alert: dict[str, Any]):
    """Beside the answer, which is that of the first alert. Nobody looks for a second one."""
    document = json.dumps({**alert, "external_id": "repeat-1"}).encode()
    first, second = (alertd(served, "send", "-", "--json", key=ana, given=document) for _ in range(2))
    alert_id = json.loads(first.stdout)["id"]
    remark = f"Alert {alert_id} was submitted before and is pending. The service stored nothing now."
    assert json.loads(second.stdout)["id"] == alert_id
    assert (remark in first.stderr.decode(), remark in second.stderr.decode()) == (False, True)


def test_an_alert_is_paused_resumed_and_accounted_for(served: Served, ana: str, bea: str, alert: dict[str, Any]):
    """By the commands that ops/docs/run names: it waits while it is paused, and its ledger and report say what became of it."""
    taken = done(served, "send", "-", key=ana, given=json.dumps(alert).encode())["id"]
    slow = {"rules": [{"prefix": "", "do": "slow", "delay_s": 2}]}
    for channel in CHANNELS:
        served.control(channel, slow)
    assert done(served, "alerts", "approve", taken, "--seen", "1", key=bea)["state"] == "approved"
    said = alertd(served, "alerts", "pause", taken, key=bea)
    for channel in CHANNELS:
        served.control(channel, {"rules": []})
    assert (said.returncode, f"alertd alerts resume {taken}" in said.stdout.decode()) == (0, True), said.stderr.decode()
    assert done(served, "alerts", "show", taken)["paused"]
    [row] = [one for one in alertd(served, "alerts", "list").stdout.decode().splitlines() if one.startswith(taken)]
    assert "sending, paused" in row
    assert "sending, paused" in alertd(served, "alerts", "report", taken).stdout.decode()
    assert served.call("GET", f"/v1/alerts/{taken}/progress")[1]["paused"]
    resumed = alertd(served, "alerts", "resume", taken, key=bea)
    assert resumed.stdout.decode().startswith(f"Alert {taken} goes on, it is ")
    assert alertd(served, "alerts", "watch", taken, key=bea).returncode == 0
    rows = [json.loads(line) for line in alertd(served, "alerts", "ledger", taken, "--json").stdout.splitlines()]
    report = done(served, "alerts", "report", taken)
    targeted = {name: counts["targeted"] for name, counts in report["versions"][0]["channels"].items()}
    assert {name: sum(row["channel"] == name for row in rows) for name in targeted} == targeted
    told = alertd(served, "alerts", "ledger", taken, "--channel", "mail", "--limit", "3")
    lines = told.stdout.decode().splitlines()
    assert (len(lines), " mail " in lines[1], " push " in told.stdout.decode()) == (4, True, False)
    assert told.stderr.decode() == f"{targeted['mail'] - 3:,} more rows: --limit shows them, --json prints all.\n"
    assert alertd(served, "alerts", "ledger", taken, "--state", "failed").stdout.decode().count("\n") == 1
    assert alertd(served, "alerts", "ledger", taken, "--state", "faild").returncode == 2
    shown = alertd(served, "alerts", "report", taken).stdout.decode()
    for fact in (f"{taken}, alert, sent:", f"targeted {targeted['push']:,}", "alert.approve", "bea@centre.example"):
        assert fact in shown
    assert "(not-found)" in refused(
        served, "alerts", "ledger", f"{taken[:-1]}0" if taken[-1] != "0" else f"{taken[:-1]}1"
    )
    assert done(served, "alerts", "review") == {"alerts": []}
    assert alertd(served, "alerts", "review").stdout.decode().split() == [
        "id", "status", "level", "people", "author", "expires",
    ]  # fmt: skip


def test_addresses_are_put_on_the_suppression_list_and_taken_off(served: Served, tmp_path: Path):
    """One a line; a single address may come by standard input, where no list of processes shows it."""
    file = tmp_path / "told-stop"
    file.write_text("+34600990011\n\n+34600990012\n")
    assert "(not-found)" in refused(served, "suppressions", "show", "sms", "+34600990011")
    assert done(served, "suppressions", "add", "sms", str(file)) == {"listed": 2, "stopped": 0}
    assert done(served, "suppressions", "add", "sms", "-", given=file.read_bytes()) == {"listed": 0, "stopped": 0}
    said = alertd(served, "suppressions", "show", "sms", "-", given=b"+34600990011\n")
    assert said.stdout.decode().startswith("It is on the list since 20")
    lift = ("suppressions", "remove", "sms", "+34600990011", "--reason")
    assert alertd(served, *lift, "mistake").returncode == 2
    assert done(served, *lift, "error") == {"lifted": True, "active": 0}
    assert alertd(served, *lift, "error").stdout.decode() == "It was not on the list.\n"
    file.write_text("fax")
    assert "  /addresses/0/number: " in refused(served, "suppressions", "add", "sms", str(file))
    file.write_bytes(b"\xff")
    assert "UTF-8" in refused(served, "suppressions", "add", "sms", str(file))


def test_refusal_has_every_fault_with_its_place(served: Served):
    """All faults of a document are told at once, each behind its JSON pointer."""
    said = refused(served, "send", "-", given=b'{"kind": "flood", "channels": ["fax"]}')
    assert said.startswith("alertd: The request is not valid (invalid-request): ")
    for pointer in ("/kind", "/level", "/expires", "/channels/0"):
        assert f"\n  {pointer}: " in said
    assert "its root must be the element alert" in refused(served, "send", "-", given=b"<?xml version='1.0'?><alert/>")


@pytest.mark.parametrize(
    "words",
    [(), ("nonsense",), ("send",), ("send", "no-such-file"), ("alerts", "reject", "x"), ("keys", "create", "--bogus")],
)
def test_wrong_usage_is_told_apart_from_a_refusal(served: Served, words: tuple[str, ...]):
    """A command that makes no sense ends with 2."""
    assert alertd(served, *words).returncode == 2


def test_key_that_is_missing_or_revoked_is_refused(served: Served):
    """Without a key one learns where to put it; a revoked one is known no more; a key can be given in a file."""
    assert "ALERTD_KEY" in alertd(served, "keys", "list", ALERTD_KEY="").stderr.decode()
    made = done(served, "keys", "create", "--subject", "cy", "--scope", "alerts:read", "--test")
    assert [c["channel"] for c in done(served, "carriers", "list", key=made["token"])["carriers"]] == list(CHANNELS)
    assert "scope" in refused(served, "keys", "list", key=made["token"])
    assert made["key"] in [each["key"] for each in done(served, "keys", "list")["keys"]]
    again = done(served, "keys", "rotate", made["key"], "--overlap-s", "0")
    assert "not known" in refused(served, "carriers", "list", key=made["token"])
    assert done(served, "carriers", "list", key=again["token"])["carriers"]
    assert done(served, "keys", "revoke", made["key"]) == {"revoked": made["key"]}
    assert "not known" in refused(served, "carriers", "list", key=made["token"])


def test_organisations_are_written_and_what_they_send_unattended_is_seen(served: Served):
    """Each with its keys and its ground; what `show` tells is what `set` takes; `check` warns of what needs no second person."""
    police = {
        "name": "Police", "jurisdiction": {"regions": ["ES-SE"]},
        "unattended": {"levels": ["information"], "people": 2000, "alerts_per_hour": 4},
    }  # fmt: skip
    assert done(served, "organisations", "set", "police", "-", given=json.dumps(police).encode())["id"] == "police"
    shown = done(served, "organisations", "show", "police")
    assert shown["organisation"]["unattended"] == police["unattended"]
    for given in (shown, shown["organisation"]):
        written = done(served, "organisations", "set", "police", "-", given=json.dumps(given).encode())
        assert written["organisation"] == shown["organisation"]
    assert "its organisation is null" in refused(
        served, "organisations", "set", "police", "-", given=b'{"organisation": null}'
    )
    assert "ES-SE" in alertd(served, "organisations", "show", "police").stdout.decode()
    assert {one["id"] for one in done(served, "organisations", "list")["organisations"]} == {"default", "police"}
    options = ("--rate-per-min", "60", "--region", "41091", "--expires", "2100-01-01T00:00:00Z")
    made = done(served, "keys", "create", "--subject", "cy", "--scope", "admin", "--organisation", "police", *options)
    assert (made["organisation"], made["rate_per_min"]) == ("police", 60)
    assert "/name" in refused(served, "organisations", "set", "army", "-", given=b'{"name": ""}')
    assert "information to at most 2,000 people, 4 an hour" in warned(served, "organisation police")
    alone = {**police, "unattended": None, "break_glass": {"levels": ["child-alert"], "after_min": 10}}
    done(served, "organisations", "set", "police", "-", given=json.dumps(alone).encode(), key=made["token"])
    assert "child-alert may be approved by their own authors, after 10 min" in warned(served, "organisation police")
    attended = json.dumps({**police, "unattended": None}).encode()
    own = done(served, "organisations", "set", "police", "-", given=attended, key=made["token"])
    assert own["unattended_by"] == "cy"
    assert "without a second person" not in warned(served, "organisation police")


def test_check_warns_of_an_organisation_with_nobody_on_call(served: Served):
    """Where nobody wrote a rota, and where nobody of it is on duty; not where somebody is."""
    assert "no person is on call" in warned(served, "organisation default")
    today, address = datetime.now(UTC).weekday(), {"channel": "sms", "number": "+34600000000"}
    other = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[(today + 3) % 7]
    hours = {"days": [other], "from": "10:00", "to": "11:00"}
    for shifts, words in (([hours], "no person is on call at this hour"), ([], "")):
        person = {"name": "Desk", "addresses": [address], "hours": shifts}
        rota = {"time_zone": "UTC", "steps": [{"people": [person]}]}
        assert served.call("PUT", "/v1/oncall", rota)[0] == 200
        assert words in warned(served, "organisation default")
    assert "on call" not in warned(served, "organisation default")


def test_who_is_on_call_is_written_and_who_has_an_alert_says_so(served: Served):
    """The rota as it is shown can be written; what waits is listed with who was called, until somebody has it."""
    desk = {"name": "Desk", "addresses": [{"channel": "sms", "number": "+34600000000"}]}
    rota = {"time_zone": "Europe/Madrid", "steps": [{"people": [desk]}]}
    assert done(served, "oncall", "set", "-", given=json.dumps(rota).encode())["rota"]["times"] == 3
    again = done(served, "oncall", "show")
    assert done(served, "oncall", "set", "-", given=json.dumps(again).encode())["rota"] == again["rota"]
    assert done(served, "oncall", "set", "-", given=json.dumps(again["rota"]).encode())["rota"] == again["rota"]
    assert "Desk" in alertd(served, "oncall", "show").stdout.decode()
    document = {**the_alert(datetime.now(UTC)), "external_id": "cli-oncall"}
    taken = served.call("POST", "/v1/alerts", document, served.person("ana@centre.example"))[1]
    served.wait_for(lambda: any(one["pages"] for one in done(served, "oncall", "alerts")["calls"]))
    bea = served.person("bea@centre.example")
    assert done(served, "oncall", "take", taken["id"], key=bea)["taken"]["by"] == "bea@centre.example"
    assert "bea@centre.example" in alertd(served, "oncall", "alerts").stdout.decode()
    assert served.call("POST", f"/v1/alerts/{taken['id']}/reject", {"reason": "A test"}, bea)[0] == 200
    assert "waits for no decision" in refused(served, "oncall", "take", taken["id"], key=bea)
    assert done(served, "oncall", "set", "-", given=json.dumps({**again["rota"], "steps": []}).encode())["now"] == []


def warned(served: Served, part: str) -> str:
    """What `check` warns of about one part."""
    found = done(served, "check")["findings"]
    return "; ".join(one["says"] for one in found if one["part"] == part and one["warns"])


def test_operators_are_added_invited_and_removed(served: Served):
    """The way in is told once, and again with another code; who was removed is listed no more."""
    order = ("--subject", "eva@centre.example", "--name", "Eva Solís", "--role", "author", "--role", "approver")
    made = done(served, "operators", "add", *order)
    assert made["url"].endswith(f"/console#/enrol/{made['code']}")
    assert "operator already" in refused(served, "operators", "add", *order)
    assert done(served, "operators", "invite", made["id"], "--replace")["code"] != made["code"]
    assert made["id"] in alertd(served, "operators", "list").stdout.decode()
    key = done(served, "keys", "create", "--subject", made["subject"], "--scope", "alerts:read")["key"]
    assert done(served, "operators", "remove", made["id"]) == {"removed": made["id"], "keys": [key]}
    assert made["id"] not in [one["id"] for one in done(served, "operators", "list")["operators"]]


def test_people_come_from_ndjson_and_go(served: Served, tmp_path: Path):
    """An import tells its counts, can be sent again, and whoever it brought can be shown, counted and forgotten."""
    person = {
        "languages": ["es"],
        "kinds": ["missing-child"],
        "places": {"home": {"point": [-5.98, 37.39]}},
        "consent": CONSENT,
    }
    file = tmp_path / "people.ndjson"
    file.write_text("\n\n".join(json.dumps({"id": f"cli-{i}", **person}) for i in range(1200)))
    before = done(served, "subscribers", "count", "--in", "41091")["audience"]["people"]
    for _ in range(2):
        assert done(served, "subscribers", "import", str(file)) == {"written": 1200, "refused": 0}
    assert done(served, "subscribers", "count", "--in", "41091")["audience"]["people"] == pytest.approx(
        before + 1200, abs=250
    )
    assert done(served, "subscribers", "show", "cli-7")["registration"]["languages"] == ["es"]
    assert done(served, "subscribers", "forget", "cli-7") == {"forgotten": "cli-7"}
    assert "(not-found)" in refused(served, "subscribers", "show", "cli-7")
    area = json.dumps({"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": HARBOUR}})
    assert done(served, "subscribers", "count", "--in", area)["area"]["km2"] == pytest.approx(11.8, abs=0.1)


def test_people_come_from_a_spreadsheet(served: Served, tmp_path: Path):
    """Rows become registrations; what is wrong in a row is told with its line and place, and the rest is written."""
    file = tmp_path / "people.csv"
    file.write_text(CSV, encoding="utf-8-sig")
    ran = alertd(served, "subscribers", "import", str(file))
    assert ran.returncode == 1
    assert ran.stdout.decode() == "1 written, 1 refused.\n"
    said = ran.stderr.decode()
    assert said.startswith("line 3: ")
    assert "\n  /places/home/point/0: " in said
    assert "\n  /addresses/0/number: " in said
    kept = done(served, "subscribers", "show", "csv-1")["registration"]
    assert kept["languages"] == ["es", "en"]
    assert kept["places"] == {"home": {"point": [-5.98, 37.39]}, "school": {"region": "41091"}}
    assert [address.get("number") for address in kept["addresses"]] == ["+34600112233", None]
    file.write_text("id,langauges\nx,es\n")
    assert "did you mean languages?" in refused(served, "subscribers", "import", str(file))


def test_regions_are_found(served: Served):
    """By name, at a point and by code, with the outline on demand; an unknown code is refused."""
    assert "41091" in [r["code"] for r in done(served, "regions", "search", "sevilla")["regions"]]
    assert [r["code"] for r in done(served, "regions", "list", "--at", "-5.98,37.39")["regions"]][:2] == [
        "41091",
        "ES-SE",
    ]
    assert done(served, "regions", "show", "41091", "--geometry", "none")["geometry"] is None
    assert done(served, "regions", "show", "41091")["geometry"]["type"] == "MultiPolygon"
    assert "(not-found)" in refused(served, "regions", "show", "nowhere")


def test_regions_of_ones_own_are_tried_before_they_are_stored(served: Served, tmp_path: Path):
    """A dry run checks everything and writes nothing; a fault is told with its row; then they are in the data directory."""
    feature = {
        "type": "Feature",
        "properties": {"id": "PORT-1", "title": "Muelle"},
        "geometry": {"type": "Polygon", "coordinates": HARBOUR},
    }
    file = tmp_path / "port.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    words = ("regions", "import", str(file), "--kind", "city", "--code-field", "id", "--name-field", "title")
    assert done(served, *words, "--dry-run")["regions"] == 1
    assert not (served.directory / "regions").exists()
    assert "no column 'name'" in refused(served, *words[:-1], "name")
    assert "within seconds" in alertd(served, *words).stdout.decode()
    assert (served.directory / "regions" / "port.regions").is_file()
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature, feature]}))
    assert "row 2 (PORT-1) has the code of row 1" in refused(served, *words)


def test_a_carrier_is_tested_from_the_command_line(served: Served):
    """By the service that runs, which has the carriers; what it refuses ends with 1 and says why."""
    assert done(served, "carriers", "test", "sandbox-sms", "+34600000008")["answer"] == "accepted"
    assert served.recorded("sms")["+34600000008"] == 1
    assert "no carrier nobody" in refused(served, "carriers", "test", "nobody", "+34600000008")


def test_health_check_tells_ready_from_not(served: Served):
    """`check --ready` needs no key; it ends with 0 when the service is ready and with 1 when nobody is there."""
    assert alertd(served, "check", "--ready", ALERTD_KEY="").returncode == 0
    with socket.socket() as held:  # bound and not listening: nobody can be there
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        gone = alertd(served, "--url", url, "check", "--ready", "--json")
    assert gone.returncode == 1
    assert json.loads(gone.stdout)["ready"] is False
    assert b"nobody answers" in gone.stderr


def test_installation_is_looked_at_without_being_started(served: Served, tmp_path: Path):
    """`check` names what would keep a service from starting, and does not touch one that runs."""
    assert {f["ok"] for f in done(served, "check")["findings"]} == {True}
    file = tmp_path / "alertd.toml"
    file.write_text('[carriers.push]\nkind = "fcm"\ncredentials = "/nowhere/key.json"\n')
    looked = alertd(served, "--config", str(file), "check")
    assert looked.returncode == 1
    lines = [" ".join(line.split()) for line in looked.stdout.decode().splitlines()]
    assert "FAULT carrier push carriers.push.credentials: there is no file /nowhere/key.json" in lines
    assert re.fullmatch(r"alertd: 1 of \d+ are at fault\n", looked.stderr.decode())
    file.write_text("[api]\nprot = 1\n")
    assert "did you mean port?" in refused(served, "--config", str(file), "check")
    silent = {"ALERTD_OIDC__ISSUER": f"http://127.0.0.1:{free_port()}", "ALERTD_OIDC__CLIENT_ID": "alertd"}
    told = alertd(served, "check", "--json", **silent)
    assert json.loads(told.stdout)["findings"]  # what is logged meanwhile goes elsewhere
    assert b"sign_in_provider.failed" in told.stderr
